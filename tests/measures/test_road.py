"""ROAD: its definition with the equations of the imputation solved directly, and known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve
from torch import Tensor

from cxr_explain.errors import ModelError, OptionError
from cxr_explain.measures.order import random_maps
from cxr_explain.measures.road import PERCENTAGES, road

FIRST = torch.tensor([[0]])
REGION = torch.zeros(8, 8, dtype=torch.float64)
REGION[2:5, 3:6] = 1
LOW, HIGH = 0.1, 0.9
BRIGHT = (-1024 + 2048 * REGION)[None, None]  # the finding is all there is
QUICK = (20, 50)


def linear(inputs: Tensor) -> Tensor:
    """(N, 1): the logit of a probability that rises from 0.1 to 0.9 with the mean of the region."""
    shown = ((inputs + 1024) / 2048 * REGION).sum(dim=(2, 3)) / REGION.sum()
    return torch.logit(LOW + (HIGH - LOW) * shown)


def crooked(inputs: Tensor) -> Tensor:
    """(N, 3) of fixed weights, with a square so that pixels interact."""
    count = inputs.shape[-2] * inputs.shape[-1]
    draws = torch.randn((count, 3), dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    flat = inputs.flatten(1).double() / 1024
    return (flat @ draws + (flat**2) @ draws.flip(1)) / 3


def scans(count: int, side: int, seed: int = 0) -> Tensor:
    """Inputs of chance, float64 in [-1024, 1024]."""
    return random_maps((count, 1, side, side), seed=seed) * 2048 - 1024


def slow_fill(image: np.ndarray, gone: set[tuple[int, int]]) -> np.ndarray:
    """Each pixel that is gone is the mean of its neighbours, the four beside it counted twice."""
    unknown = sorted(gone)
    matrix, right = lil_matrix((len(unknown), len(unknown))), np.zeros(len(unknown))
    for n, (row, column) in enumerate(unknown):
        for i, j in np.ndindex(image.shape):
            distance = (row - i) ** 2 + (column - j) ** 2
            if distance not in (1, 2):
                continue
            weight = 3 - distance
            matrix[n, n] += weight
            if (i, j) in gone:
                matrix[n, unknown.index((i, j))] -= weight
            else:
                right[n] += weight * image[i, j]
    result = image.copy()
    values = spsolve(matrix.tocsc(), right)
    for n, index in enumerate(unknown):
        result[index] = values[n]
    return result


def slow_road(image: np.ndarray, index: int, fine: np.ndarray, percentages: tuple[int, ...]) -> float:
    """Half the mean distance of the two scores; `fine` is a map of the image's pixels without equals."""
    listed = sorted(np.ndindex(image.shape), key=lambda pixel: -fine[pixel])
    distances = []
    for percentage in percentages:
        count = round(image.size * percentage / 100)
        scores = []
        for gone in (listed[len(listed) - count :], listed[:count]):
            filled = torch.from_numpy(slow_fill(image, set(gone)))[None, None]
            scores.append(1 / (1 + math.exp(-float(crooked(filled)[0, index]))))
        distances.append(scores[0] - scores[1])
    return math.fsum(distances) / len(percentages) / 2


@pytest.mark.parametrize("percentages", [PERCENTAGES, (30,), (5, 95)])
def test_road_is_its_definition(percentages: tuple[int, ...]) -> None:
    inputs, classes = scans(2, 7), torch.tensor([[0, 2], [1, 1]])
    maps = random_maps((2, 2, 7, 7), seed=1)
    found = road(crooked, inputs, classes, maps, percentages=percentages, noise=0)
    for b, k in np.ndindex(2, 2):
        expected = slow_road(inputs[b, 0].numpy(), int(classes[b, k]), maps[b, k].numpy(), percentages)
        assert found[b, k] == pytest.approx(expected, abs=5e-4)  # the tolerance of the imputation


def test_no_map_of_chance_beats_a_perfect_one_nor_falls_behind_its_inverse() -> None:
    perfect = REGION[None, None]
    best = road(linear, BRIGHT, FIRST, perfect).item()
    worst = road(linear, BRIGHT, FIRST, 1 - perfect).item()
    chance = road(linear, BRIGHT, FIRST.expand(1, 50), random_maps((1, 50, 8, 8), seed=0))
    assert worst < chance.min() <= chance.max() < best
    # 20 % are more than the region's 9 pixels of 64, and nothing of it comes back from the black around
    few = road(linear, BRIGHT, FIRST, perfect, percentages=QUICK, noise=0).item()
    assert few == pytest.approx((HIGH - LOW) / 2, abs=1e-2)
    assert worst == pytest.approx(-best, abs=1e-2)


def test_an_inverted_map_has_the_opposite_sign() -> None:
    maps = random_maps((1, 2, 8, 8), seed=3)
    one, other = (
        road(crooked, scans(1, 8), torch.tensor([[0, 1]]), each, percentages=(25, 50), seed=5)
        for each in (maps, 1 - maps)
    )
    np.testing.assert_allclose(one, -other)


@pytest.mark.parametrize(("value", "cells"), [(0.0, 4), (0.3, 4), (-1.0, 8)])
def test_an_even_and_an_empty_map_are_worth_chance(value: float, cells: int) -> None:
    maps = torch.full((1, 1, cells, cells), value, dtype=torch.float64)
    found = np.array(
        [road(linear, BRIGHT, FIRST, maps, percentages=QUICK, seed=seed).item() for seed in range(40)]
    )
    assert found.mean() == pytest.approx(0, abs=4 * found.std() / 40**0.5)
    assert found.std() > 0.01  # the order is drawn, and not that of the rows


def test_maps_of_chance_are_worth_chance() -> None:
    found = road(linear, BRIGHT, FIRST.expand(1, 40), random_maps((1, 40, 4, 4), seed=1), percentages=QUICK)
    assert found.mean() == pytest.approx(0, abs=4 * found.std() / 40**0.5)


def test_what_speaks_against_a_class_is_no_saliency() -> None:
    maps = random_maps((1, 1, 8, 8), seed=2) - 0.5
    one, other = (road(crooked, scans(1, 8), FIRST, each, seed=1) for each in (maps, maps.clamp(min=0)))
    np.testing.assert_array_equal(one, other)


def test_one_cell_says_nothing() -> None:
    """Whatever it is: its pixels are equals."""
    values = [torch.full((1, 1, 1, 1), value) for value in (-1.0, 0.0, 0.4)]
    found = [road(linear, BRIGHT, FIRST, maps, percentages=(50,)).item() for maps in values]
    assert found[0] == found[1] == found[2]


def test_an_even_image_loses_nothing() -> None:
    """All that is filled is as before, and without noise so is the score."""
    even = torch.full((1, 1, 8, 8), 300.0, dtype=torch.float64)
    found = road(crooked, even, FIRST, random_maps((1, 1, 4, 4), seed=0), noise=0).item()
    assert found == pytest.approx(0, abs=1e-3)


def test_the_noise_is_as_large_as_told_and_only_where_pixels_went() -> None:
    seen: list[Tensor] = []

    def score(images: Tensor) -> Tensor:
        seen.append(images.clone())
        return images.mean(dim=(2, 3))

    image = torch.full((1, 1, 64, 64), 100.0, dtype=torch.float64)
    road(score, image, FIRST, random_maps((1, 1, 64, 64), seed=0), percentages=(50,), noise=8)
    for of_chance in seen[0]:
        changed = (of_chance - 100).abs() > 1e-3
        assert changed.double().mean().item() == pytest.approx(0.5, abs=1e-3)
        assert of_chance[changed].std().item() == pytest.approx(8, rel=0.08)
    least, most = (image[0] != 100 for image in seen[0])
    assert not (least & most).any()


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_batch_size_changes_nothing_but_the_memory(batch_size: int) -> None:
    inputs, classes, maps = scans(2, 12), torch.tensor([[0, 1], [2, 2]]), random_maps((2, 2, 5, 5), seed=0)
    sizes: list[int] = []

    def score(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return crooked(images)

    found = road(score, inputs, classes, maps, batch_size=batch_size)
    np.testing.assert_allclose(found, road(crooked, inputs, classes, maps), atol=1e-9)
    assert max(sizes) <= batch_size
    assert sum(sizes) == 2 * 2 * 2 * 9  # 2 B K times the percentages


def test_many_images_and_classes_are_each_as_alone() -> None:
    inputs, classes = scans(2, 12), torch.tensor([[0, 1], [2, 2]])
    maps = random_maps((2, 2, 5, 5), seed=0).sub(0.5)  # half of it equals
    together = road(crooked, inputs, classes, maps, percentages=QUICK, seed=4)
    for b, k in np.ndindex(2, 2):
        one = (slice(b, b + 1), slice(k, k + 1))
        alone = road(crooked, inputs[b : b + 1], classes[one], maps[one], percentages=QUICK, seed=4)
        np.testing.assert_allclose(together[one], alone, atol=1e-9)


def test_road_leaves_what_it_was_given_and_depends_on_its_seed_alone() -> None:
    given = scans(1, 8), FIRST.clone(), torch.zeros(1, 1, 4, 4)
    kept = [each.clone() for each in given]
    one, again, other = (road(crooked, *given, seed=seed).item() for seed in (1, 1, 2))
    assert all(map(torch.equal, given, kept))
    assert one == again != other


def test_a_map_finer_than_the_image_is_read_all_the_same() -> None:
    fine = REGION.repeat_interleave(2, 0).repeat_interleave(2, 1)[None, None]
    one, other = (road(linear, BRIGHT, FIRST, each).item() for each in (fine, REGION[None, None]))
    assert one == pytest.approx(other, abs=0.02)


@pytest.mark.parametrize(
    "options",
    [
        {"percentages": ()},
        {"percentages": (0,)},
        {"percentages": (50, 100)},
        {"percentages": (-5,)},
        {"batch_size": 0},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="expected"):
        road(linear, BRIGHT, FIRST, torch.ones(1, 1, 4, 4), **options)  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused() -> None:
    maps = torch.ones(1, 1, 4, 4)
    for refused in (
        (BRIGHT, FIRST, torch.ones(1, 2, 4, 4)),
        (BRIGHT, FIRST, torch.ones(2, 1, 4, 4)),
        (BRIGHT, FIRST, maps * math.inf),
        (BRIGHT, FIRST + 1, maps),
    ):
        with pytest.raises(OptionError, match="expected"):
            road(linear, *refused)
    with pytest.raises(ModelError, match="NaN"):
        road(lambda x: x.mean(dim=(2, 3)) * math.nan, BRIGHT, FIRST, maps)
