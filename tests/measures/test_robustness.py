"""Maps when nothing that matters changes: toy rules that are exactly equivariant, and some that are not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from cxr_explain.cam.views import equalise
from cxr_explain.errors import OptionError
from cxr_explain.measures.robustness import (
    Perturbed,
    flip_equivariance,
    repeatability,
    shift_equivariance,
    under_equalisation,
    under_exposure,
    under_gamma,
    under_noise,
)
from cxr_explain.measures.similarity import Similarity, similarity

SIZE, GRID = 64, 8
CLASSES = torch.tensor([[0, 1], [2, 0], [1, 2]])
GAINS = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def scans(count: int = 3, size: int = SIZE, seed: int = 0) -> Tensor:
    """Inputs of chance, float64 in [-700, 700]: a hundredth more stays clear of black and white."""
    draws = torch.rand(
        count, 1, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return draws * 1400 - 700


def pooled(inputs: Tensor, classes: Tensor) -> Tensor:
    """The mean of each cell, times the class's gain: mirrors and shifts with the image, exactly."""
    cells = F.avg_pool2d(inputs, SIZE // GRID)
    return cells * GAINS[classes][..., None, None]


def neighbours(inputs: Tensor, classes: Tensor) -> Tensor:
    """A cell and the eight around it, zeros beyond the border: wrong by one cell at each new border."""
    return F.avg_pool2d(pooled(inputs, classes), 3, stride=1, padding=1)


def placed(inputs: Tensor, classes: Tensor) -> Tensor:
    """A map that knows where it is and not what it sees."""
    ramp = torch.arange(GRID * GRID, dtype=inputs.dtype).view(GRID, GRID)
    return ramp.expand(*classes.shape, GRID, GRID)


def nothing(inputs: Tensor, classes: Tensor) -> Tensor:
    """Maps of zeros."""
    return torch.zeros(*classes.shape, GRID, GRID, dtype=inputs.dtype)


def mean_logits(inputs: Tensor) -> Tensor:
    """(B, 3): the mean grey times each gain."""
    return inputs.mean(dim=(2, 3)) * GAINS


def everything_is_one(found: Similarity) -> bool:
    return all(np.allclose(each, 1, rtol=0, atol=1e-9) for each in astuple(found))


# Repetition


def test_a_rule_without_chance_repeats_itself_exactly() -> None:
    found = repeatability(pooled, scans(), CLASSES)
    assert [each.tolist() for each in astuple(found)] == [[[0.0] * 2] * 3] * 3


def test_a_rule_with_chance_does_not() -> None:
    generator = torch.Generator().manual_seed(0)

    def noisy(inputs: Tensor, classes: Tensor) -> Tensor:
        maps = pooled(inputs, classes)
        return maps + 0.1 * torch.randn(maps.shape, generator=generator, dtype=maps.dtype) * maps.abs().max()

    found = repeatability(noisy, scans(), CLASSES)
    assert all((each > 0.05).all() and (each <= 2).all() for each in astuple(found))


def test_a_rule_that_looks_at_its_neighbours_in_the_batch_is_found_out() -> None:
    """Repeated it is the same, and in the opposite order, too; alone it is not."""

    def by_batch(inputs: Tensor, classes: Tensor) -> Tensor:
        return pooled(inputs, classes) + inputs.mean()

    found = repeatability(by_batch, scans() + 50 * torch.arange(3).view(3, 1, 1, 1), CLASSES)
    assert (found.again == 0).all()
    np.testing.assert_allclose(found.reversed, 0, atol=1e-12)
    assert (found.alone > 0.01).all()


def test_a_rule_that_looks_at_the_place_in_the_batch_is_found_out() -> None:
    def by_place(inputs: Tensor, classes: Tensor) -> Tensor:
        return pooled(inputs, classes) * (1 + torch.arange(len(inputs)).view(-1, 1, 1, 1))

    found = repeatability(by_place, scans(), CLASSES)
    assert (found.again == 0).all()
    np.testing.assert_allclose(found.alone, [[0, 0], [1 / 2, 1 / 2], [2 / 3, 2 / 3]], atol=1e-12)
    np.testing.assert_allclose(found.reversed, [[2 / 3, 2 / 3], [0, 0], [2 / 3, 2 / 3]], atol=1e-12)


def test_the_difference_is_a_share_of_the_larger_peak() -> None:
    calls = []

    def halved(inputs: Tensor, classes: Tensor) -> Tensor:
        calls.append(len(inputs))
        maps = torch.zeros(len(inputs), 1, 2, 2)
        maps[..., 0, 0], maps[..., 1, 1] = -8.0, 3.0
        return maps if len(calls) == 1 else maps / 4

    found = repeatability(halved, scans(2), CLASSES[:2, :1])
    assert sorted(calls) == [1, 1, 2, 2, 2]
    assert [each.tolist() for each in astuple(found)] == [[[0.75], [0.75]]] * 3


def test_maps_of_zeros_repeat_themselves() -> None:
    found = repeatability(nothing, scans(), CLASSES)
    assert all((each == 0).all() for each in astuple(found))


# Noise and exposure


def test_no_noise_changes_nothing() -> None:
    found = under_noise(mean_logits, pooled, scans(), CLASSES, sigma=0)
    assert everything_is_one(found.similarity)
    assert (found.map_change == 0).all()
    assert (found.logit_change == 0).all()


def test_noise_is_the_same_for_every_image_whatever_its_batch() -> None:
    inputs = scans()
    together = under_noise(mean_logits, pooled, inputs, CLASSES, sigma=100, seed=4)
    for b in range(3):
        alone = under_noise(mean_logits, pooled, inputs[b : b + 1], CLASSES[b : b + 1], sigma=100, seed=4)
        np.testing.assert_allclose(alone.map_change[0], together.map_change[b], rtol=1e-12)
        np.testing.assert_allclose(alone.logit_change[0], together.logit_change[b], rtol=1e-9)
    other = under_noise(mean_logits, pooled, inputs, CLASSES, sigma=100, seed=5)
    assert (other.map_change != together.map_change).all()


def test_noise_has_the_deviation_that_was_asked_for_and_no_mean() -> None:
    seen = []

    def looking(inputs: Tensor, classes: Tensor) -> Tensor:
        seen.append(inputs)
        return pooled(inputs, classes)

    inputs = scans()
    under_noise(mean_logits, looking, inputs, CLASSES, sigma=20)
    noise = seen[1] - seen[0]
    assert torch.equal(seen[0], inputs)
    torch.testing.assert_close(noise[0], noise[2], rtol=0, atol=1e-9)
    assert float(noise[0].std()) == pytest.approx(20, rel=0.05)
    assert abs(float(noise[0].mean())) < 1


def test_more_noise_leaves_less() -> None:
    found = [under_noise(mean_logits, pooled, scans(), CLASSES, sigma=sigma) for sigma in (10, 100, 700)]
    changes = [each.map_change.mean() for each in found]
    assert changes == sorted(changes)
    ranks = [each.similarity.spearman.mean() for each in found]
    assert ranks == sorted(ranks, reverse=True)
    assert ranks[0] > 0.99 > 0.9 > ranks[-1]


def test_exposure_scales_a_linear_rule_and_its_logits() -> None:
    """Contrast c: the map times c, so that its norm changes by 1 - c and its ranks do not."""
    inputs = scans()
    found = under_exposure(mean_logits, pooled, inputs, CLASSES, contrast=0.8)
    assert everything_is_one(found.similarity)
    np.testing.assert_allclose(found.map_change, 0.2, rtol=1e-12)
    before = mean_logits(inputs).gather(1, CLASSES).numpy()
    np.testing.assert_allclose(found.logit_change, -0.2 * before, rtol=1e-9, atol=1e-12)


def test_brightness_adds_the_same_to_each_pixel() -> None:
    inputs = scans()
    found = under_exposure(mean_logits, pooled, inputs, CLASSES, contrast=1, brightness=30)
    np.testing.assert_allclose(found.logit_change, 30 * GAINS[CLASSES].numpy(), rtol=1e-9)
    norms = np.linalg.norm(pooled(inputs, CLASSES).numpy(), axis=(-2, -1))
    expected = 30 * np.abs(GAINS[CLASSES].numpy()) * GRID / norms
    np.testing.assert_allclose(found.map_change, expected, rtol=1e-9)
    np.testing.assert_allclose(found.similarity.pearson, 1, atol=1e-9)


def test_nothing_gets_darker_than_black_or_brighter_than_white() -> None:
    extremes: list[tuple[float, float]] = []

    def looking(inputs: Tensor, classes: Tensor) -> Tensor:
        extremes.append((float(inputs.min()), float(inputs.max())))
        return pooled(inputs, classes)

    inputs = torch.full((3, 1, SIZE, SIZE), 1000.0, dtype=torch.float64)
    inputs[..., ::2] = -1000
    under_noise(mean_logits, looking, inputs, CLASSES, sigma=200)
    under_exposure(mean_logits, looking, inputs, CLASSES, contrast=3)
    under_exposure(mean_logits, looking, inputs, CLASSES, brightness=-5000)
    assert extremes[1::2] == [(-1024, 1024), (-1024, 1024), (-1024, -1024)]


def test_a_map_may_stay_while_its_score_moves() -> None:
    found = under_exposure(mean_logits, placed, scans(), CLASSES, brightness=100)
    assert everything_is_one(found.similarity)
    assert (found.map_change == 0).all()
    assert (np.abs(found.logit_change) > 10).all()


def test_the_change_of_a_map_of_zeros_is_not_estimable() -> None:
    found = under_noise(mean_logits, nothing, scans(), CLASSES)
    assert np.isnan(found.map_change).all()
    assert all(np.isnan(each).all() for each in astuple(found.similarity))
    assert np.isfinite(found.logit_change).all()


@pytest.mark.parametrize("sigma", [-1, math.inf, math.nan])
def test_noise_of_no_deviation_is_refused(sigma: float) -> None:
    with pytest.raises(OptionError, match="sigma="):
        under_noise(mean_logits, pooled, scans(), CLASSES, sigma=sigma)


@pytest.mark.parametrize(
    ("contrast", "brightness"), [(0, 0), (-1, 0), (math.inf, 0), (math.nan, 0), (1, math.inf), (1, math.nan)]
)
def test_an_exposure_that_is_none_is_refused(contrast: float, brightness: float) -> None:
    with pytest.raises(OptionError, match="contrast"):
        under_exposure(mean_logits, pooled, scans(), CLASSES, contrast=contrast, brightness=brightness)


def test_scores_and_inputs_are_left_alone() -> None:
    inputs = scans().requires_grad_()
    copy = inputs.detach().clone()
    results: list[Perturbed] = [
        under_noise(mean_logits, pooled, inputs, CLASSES),
        under_exposure(mean_logits, pooled, inputs, CLASSES),
    ]
    shift_equivariance(pooled, inputs.detach(), CLASSES)
    assert torch.equal(inputs.detach(), copy)
    assert all(each.logit_change.shape == each.map_change.shape == (3, 2) for each in results)


# Mirroring and shifts


@pytest.mark.parametrize("rule", [pooled, neighbours])
def test_a_rule_that_mirrors_with_the_image_keeps_its_map(
    rule: Callable[[Tensor, Tensor], Tensor],
) -> None:
    assert everything_is_one(flip_equivariance(rule, scans(), CLASSES))


def test_a_rule_that_knows_left_from_right_does_not() -> None:
    found = flip_equivariance(placed, scans(), CLASSES)
    mirrored = np.arange(GRID * GRID).reshape(GRID, GRID)[:, ::-1]
    expected = similarity(np.arange(GRID * GRID).reshape(GRID, GRID), mirrored).spearman
    np.testing.assert_allclose(found.spearman, np.full((3, 2), expected))
    assert expected < 0.99

    def leaning(inputs: Tensor, classes: Tensor) -> Tensor:
        return torch.arange(GRID).double().expand(*classes.shape, GRID, GRID)

    np.testing.assert_allclose(flip_equivariance(leaning, scans(), CLASSES).spearman, -1)


def test_mirroring_is_left_to_right_and_not_upside_down() -> None:
    def falling(inputs: Tensor, classes: Tensor) -> Tensor:
        return torch.arange(GRID).double()[:, None].expand(*classes.shape, GRID, GRID)

    assert everything_is_one(flip_equivariance(falling, scans(), CLASSES))


SHIFTS = [(0, 1), (1, 0), (0, -1), (-1, 0), (2, -3), (-3, 2), (3, 3), (-1, -1)]


@pytest.mark.parametrize("cells", SHIFTS)
@pytest.mark.parametrize("rule", [pooled, neighbours])
def test_a_rule_that_shifts_with_the_image_keeps_its_map(
    rule: Callable[[Tensor, Tensor], Tensor], cells: tuple[int, int]
) -> None:
    """`neighbours` sees one cell across the new border: that cell is left out."""
    found = shift_equivariance(rule, scans(), CLASSES, cells=cells)
    np.testing.assert_allclose(astuple(found)[1:], 1, rtol=0, atol=1e-9)
    some = ~np.isnan(found.ssim)  # the least that is left, 3 x 5 cells, may have no positive part
    assert some.sum() >= 5
    np.testing.assert_allclose(found.ssim[some], 1, rtol=0, atol=1e-9)


def test_a_rule_that_sees_two_cells_across_the_border_does_not_pass() -> None:
    def further(inputs: Tensor, classes: Tensor) -> Tensor:
        return F.avg_pool2d(pooled(inputs, classes), 5, stride=1, padding=2)

    found = shift_equivariance(further, scans(), CLASSES, cells=(0, 2))
    assert (found.pearson < 0.999).all()


def test_a_rule_that_knows_its_place_does_not_pass() -> None:
    def where(inputs: Tensor, classes: Tensor) -> Tensor:
        checks = (torch.arange(GRID)[:, None] + torch.arange(GRID)).remainder(2).double()
        return (checks + 0.5).expand(*classes.shape, GRID, GRID)

    np.testing.assert_allclose(shift_equivariance(where, scans(), CLASSES).spearman, -1)
    np.testing.assert_allclose(shift_equivariance(where, scans(), CLASSES, cells=(1, 1)).spearman, 1)


@pytest.mark.parametrize("cells", SHIFTS)
def test_exactly_the_cells_that_both_maps_show_are_compared(cells: tuple[int, int]) -> None:
    """Cell by cell: (i, j) of the map before is (i + down, j + right) of the map after."""
    down, right = cells
    seen: list[np.ndarray] = []

    def numbered(inputs: Tensor, classes: Tensor) -> Tensor:
        maps = pooled(inputs, classes) ** 2 + placed(inputs, classes) * (len(seen) + 1) * 100
        seen.append(maps.numpy())
        return maps

    found = shift_equivariance(numbered, scans(), CLASSES, cells=cells)
    before, after = seen

    def inside(place: int, by: int) -> bool:
        low, high = max(by, 0), GRID - 1 + min(by, 0)  # where the shifted image lies
        margin = 1 if by else 0
        return low + margin <= place + by <= high - margin

    rows = [i for i in range(GRID) if inside(i, down)]
    columns = [j for j in range(GRID) if inside(j, right)]
    was = np.array([[before[..., i, j] for j in columns] for i in rows]).transpose(2, 3, 0, 1)
    moved = np.array([[after[..., i + down, j + right] for j in columns] for i in rows]).transpose(2, 3, 0, 1)
    for one, other in zip(astuple(found), astuple(similarity(was, moved)), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cells", SHIFTS)
def test_the_image_moves_by_whole_cells_and_black_comes_in(cells: tuple[int, int]) -> None:
    seen = []

    def looking(inputs: Tensor, classes: Tensor) -> Tensor:
        seen.append(inputs)
        return pooled(inputs, classes)

    shift_equivariance(looking, scans(1), CLASSES[:1], cells=cells)
    before, after = (each[0, 0].numpy() for each in seen)
    by = tuple(n * SIZE // GRID for n in cells)
    expected = np.full((SIZE, SIZE), -1024.0)
    for i, j in np.ndindex(SIZE, SIZE):
        if 0 <= i + by[0] < SIZE and 0 <= j + by[1] < SIZE:
            expected[i + by[0], j + by[1]] = before[i, j]
    np.testing.assert_array_equal(after, expected)


@pytest.mark.parametrize("cells", [(0, 0), (0, 4), (-4, 0), (8, 0), (0, -9), (1, 5)])
def test_a_shift_that_is_none_or_leaves_too_little_is_refused(cells: tuple[int, int]) -> None:
    with pytest.raises(OptionError, match=r"a shift by 1 to I - 5 cells"):
        shift_equivariance(pooled, scans(), CLASSES, cells=cells)


def test_the_largest_shift_leaves_three_cells() -> None:
    assert everything_is_one(shift_equivariance(pooled, scans(), CLASSES, cells=(GRID - 5, 5 - GRID)))


def test_a_cell_that_is_no_whole_number_of_pixels_is_refused_along_the_shift_alone() -> None:
    def tall(inputs: Tensor, classes: Tensor) -> Tensor:
        maps = F.adaptive_avg_pool2d(inputs, (7, GRID))
        return maps.expand(-1, classes.shape[1], -1, -1)

    with pytest.raises(OptionError, match="a multiple of the maps"):
        shift_equivariance(tall, scans(), CLASSES, cells=(1, 0))
    assert everything_is_one(shift_equivariance(tall, scans(), CLASSES, cells=(0, 1)))


def test_gamma_and_equalisation_change_greys_and_nothing_else() -> None:
    """The maps of a rule that looks at pixels are those of the changed image, written out."""
    inputs = scans()
    unit = (inputs.numpy() + 1024) / 2048
    for found, changed in (
        (under_gamma(mean_logits, pooled, inputs, CLASSES, gamma=2), torch.from_numpy(unit**2 * 2048 - 1024)),
        (under_equalisation(mean_logits, pooled, inputs, CLASSES), equalise(inputs)),
    ):
        before, after = (mean_logits(images).gather(1, CLASSES).numpy() for images in (inputs, changed))
        np.testing.assert_allclose(found.logit_change, after - before, rtol=1e-9, atol=1e-9)
        maps = [pooled(images, CLASSES).numpy() for images in (inputs, changed)]
        moved, norm = (np.linalg.norm(each, axis=(-2, -1)) for each in (maps[1] - maps[0], maps[0]))
        np.testing.assert_allclose(found.map_change, moved / norm, rtol=1e-9)


@pytest.mark.parametrize("gamma", [0, -1, math.inf, math.nan])
def test_a_gamma_that_is_none_is_refused(gamma: float) -> None:
    with pytest.raises(OptionError, match="gamma="):
        under_gamma(mean_logits, pooled, scans(), CLASSES, gamma=gamma)
