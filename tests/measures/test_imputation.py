"""Filling what was taken away: the equations solved directly, and what is known of their solution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve
from torch import Tensor

from cxr_explain.errors import OptionError
from cxr_explain.measures.imputation import TOLERANCE, fill_in

TIGHT = 1e-9
WEIGHTS = {(i, j): 1 / 6 if i == 0 or j == 0 else 1 / 12 for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j}


def direct(image: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """One equation for each pixel that is gone: its weights times it = the weighted sum of its neighbours."""
    unknown = [(int(i), int(j)) for i, j in np.argwhere(gone)]
    matrix, right = lil_matrix((len(unknown), len(unknown))), np.zeros(len(unknown))
    for n, (row, column) in enumerate(unknown):
        for (i, j), weight in WEIGHTS.items():
            at = (row + i, column + j)
            if not (0 <= at[0] < image.shape[0] and 0 <= at[1] < image.shape[1]):
                continue
            matrix[n, n] += weight
            if gone[at]:
                matrix[n, unknown.index(at)] -= weight
            else:
                right[n] += weight * image[at]
    result = image.copy()
    result[gone] = spsolve(matrix.tocsc(), right)
    return result


def scan(*shape: int, seed: int = 0) -> Tensor:
    """An input of chance, float64 in [-1024, 1024]."""
    draws = torch.rand((1, 1, *shape), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return draws * 2048 - 1024


def holes(*shape: int, share: float, seed: int = 0) -> Tensor:
    """Pixels of chance that are gone."""
    draws = torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(seed))
    return draws < share


@settings(max_examples=25)
@given(
    arrays(np.float64, (5, 6), elements=st.integers(-1024, 1024).map(float)),
    arrays(bool, (5, 6)).filter(lambda gone: 0 < gone.sum() < 30),
)
def test_small_images_are_filled_as_the_equations_say(image: np.ndarray, gone: np.ndarray) -> None:
    filled = fill_in(torch.from_numpy(image)[None, None], torch.from_numpy(gone)[None, None], tolerance=TIGHT)
    np.testing.assert_allclose(filled[0, 0], direct(image, gone), atol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_images_with_coarser_starts_are_filled_as_the_equations_say(share: float) -> None:
    image, gone = scan(21, 26), holes(21, 26, share=share)
    filled = fill_in(image, gone, tolerance=TIGHT)
    np.testing.assert_allclose(filled[0, 0], direct(image[0, 0].numpy(), gone[0, 0].numpy()), atol=1e-5)


def test_a_large_hole_is_filled_to_the_tolerance_in_single_precision() -> None:
    """All of 224 x 224 but a frame on two sides: what is far from the frame converges last."""
    image, gone = scan(224, 224).float(), torch.ones(1, 1, 224, 224, dtype=torch.bool)
    gone[..., :3, :] = gone[..., :3] = False
    filled = fill_in(image, gone).double()
    padded = torch.nn.functional.pad(filled, (1, 1, 1, 1), value=float("nan"))[0, 0]
    around = torch.stack([padded[1 + i : 225 + i, 1 + j : 225 + j] for i, j in WEIGHTS])
    weights = torch.tensor(list(WEIGHTS.values()), dtype=torch.float64)[:, None, None] * ~around.isnan()
    means = (around.nan_to_num() * weights).sum(dim=0) / weights.sum(dim=0)
    assert (filled[0, 0] - means)[gone[0, 0]].abs().max() <= 1.05 * TOLERANCE  # 5 %: single precision


def test_one_pixel_is_the_weighted_mean_of_its_neighbours() -> None:
    image, gone = scan(3, 3), torch.zeros(1, 1, 3, 3, dtype=torch.bool)
    gone[0, 0, 1, 1] = True
    expected = sum(weight * image[0, 0, 1 + i, 1 + j] for (i, j), weight in WEIGHTS.items())
    assert fill_in(image, gone, tolerance=TIGHT)[0, 0, 1, 1].item() == pytest.approx(float(expected))


def test_a_pixel_in_the_corner_has_three_neighbours() -> None:
    image, gone = scan(3, 3), torch.zeros(1, 1, 3, 3, dtype=torch.bool)
    gone[0, 0, 0, 0] = True
    own = image[0, 0]
    expected = (2 * own[0, 1] + 2 * own[1, 0] + own[1, 1]) / 5
    assert fill_in(image, gone, tolerance=TIGHT)[0, 0, 0, 0].item() == pytest.approx(float(expected))


def test_what_is_left_stays_bit_by_bit() -> None:
    image, gone = scan(20, 20), holes(20, 20, share=0.5)
    filled = fill_in(image, gone)
    assert torch.equal(filled[~gone], image[~gone])
    assert torch.equal(fill_in(image, torch.zeros_like(gone)), image)


def test_what_was_taken_away_leaves_no_trace() -> None:
    image, gone = scan(20, 20), holes(20, 20, share=0.5)
    other = torch.where(gone, scan(20, 20, seed=1), image)
    assert torch.equal(fill_in(image, gone), fill_in(other, gone))


def test_nothing_filled_is_beyond_what_is_left() -> None:
    image, gone = scan(30, 30), holes(30, 30, share=0.8)
    filled = fill_in(image, gone, tolerance=TIGHT)
    assert image[~gone].min() <= filled.min()
    assert filled.max() <= image[~gone].max()


def test_a_slope_is_filled_without_a_seam() -> None:
    """A plane is the mean of its neighbours wherever all eight are there."""
    rows, columns = torch.meshgrid(torch.arange(24.0).double(), torch.arange(24.0).double(), indexing="ij")
    plane = (30 * rows - 20 * columns)[None, None]
    gone = torch.zeros(1, 1, 24, 24, dtype=torch.bool)
    gone[..., 4:20, 3:17] = True
    np.testing.assert_allclose(fill_in(plane, gone, tolerance=TIGHT), plane, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (6, 6), (12, 12)])
def test_an_image_with_nothing_left_becomes_its_own_mean(shape: tuple[int, int]) -> None:
    image = scan(*shape)
    filled = fill_in(image, torch.ones(1, 1, *shape, dtype=torch.bool))
    np.testing.assert_allclose(filled, torch.full_like(image, float(image.mean())))


def test_one_pixel_left_fills_the_whole_image() -> None:
    image, gone = scan(40, 40), torch.ones(1, 1, 40, 40, dtype=torch.bool)
    gone[0, 0, 31, 3] = False
    filled = fill_in(image, gone, tolerance=TIGHT)
    np.testing.assert_allclose(filled, image[0, 0, 31, 3].expand_as(image), atol=1e-4)


def test_each_image_of_a_batch_is_filled_as_alone() -> None:
    """Also to a loose tolerance, where those that converge late must not go on with the others."""
    images = torch.cat([scan(40, 40, seed=seed) for seed in range(4)])
    gone = torch.cat([holes(40, 40, share=share) for share in (0.05, 0.5, 0.97)] + [holes(40, 40, share=2)])
    together = fill_in(images, gone)
    for n in range(4):
        alone = fill_in(images[n : n + 1], gone[n : n + 1])
        np.testing.assert_allclose(together[n : n + 1], alone, atol=1e-9)


def test_no_image_is_filled_into_no_image() -> None:
    none = torch.zeros(0, 1, 12, 12)
    assert fill_in(none, none.bool()).shape == (0, 1, 12, 12)


@pytest.mark.parametrize(
    ("images", "gone"),
    [
        ((1, 1, 4, 4), (1, 1, 4, 5)),
        ((1, 3, 4, 4), (1, 3, 4, 4)),
        ((4, 4), (4, 4)),
        ((2, 1, 4, 4), (1, 1, 4, 4)),
    ],
)
def test_shapes_that_differ_are_refused(images: tuple[int, ...], gone: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match=r"expected \(N, 1, H, W\) of both"):
        fill_in(torch.zeros(images), torch.zeros(gone, dtype=torch.bool))
