"""Deletion and insertion: the curves read aloud, known answers of a score that is linear in its pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from cxr_explain.errors import ModelError, OptionError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.measures.adcc import adcc
from cxr_explain.measures.faithfulness import STEPS, Curve, deletion, insertion, pearson
from cxr_explain.measures.order import random_maps
from cxr_explain.measures.road import road
from cxr_explain.measures.subject import BATCH, Baseline, Score
from cxr_explain.study.cases import phantom_cases

FIRST = torch.tensor([[0]])
REGION = torch.zeros(6, 6, dtype=torch.float64)
REGION[1:4, 2:4] = 1  # 6 of 36 pixels
BRIGHT = torch.full((1, 1, 6, 6), 1024.0, dtype=torch.float64)
LOW, HIGH = 0.1, 0.9
both = pytest.mark.parametrize("curve_of", [deletion, insertion])


def linear(inputs: Tensor) -> Tensor:
    """(N, 1): the logit of a probability that rises from 0.1 to 0.9 with the mean of the region."""
    shown = ((inputs + 1024) / 2048 * REGION).sum(dim=(2, 3)) / REGION.sum()
    return torch.logit(LOW + (HIGH - LOW) * shown)


def crooked(inputs: Tensor) -> Tensor:
    """(N, 3) of fixed weights, with a square so that pixels interact."""
    side = inputs.shape[-1]
    draws = torch.randn((side * side, 3), dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    flat = inputs.flatten(1).double() / 1024
    return flat @ draws + (flat**2) @ draws.flip(1) / 3


def scans(count: int, side: int, seed: int = 0) -> Tensor:
    """Inputs of chance, float64 in [-1024, 1024]."""
    return random_maps((count, 1, side, side), seed=seed) * 2048 - 1024


def slow_curve(
    probability: Callable[[np.ndarray], float],
    image: np.ndarray,
    blank: np.ndarray,
    saliency: np.ndarray,
    steps: int,
) -> tuple[list[float], list[float], list[float]]:
    """Fractions, scores and mean saliencies: list the cells of a positive map without equals, blank them."""
    I, J = saliency.shape  # noqa: E741
    H, W = image.shape
    cells = sorted(np.ndindex(I, J), key=lambda cell: -saliency[cell])
    steps = min(steps, len(cells))
    current = image.copy()
    fractions, scores, means = [0.0], [probability(current)], []
    gone = 0
    for t in range(steps):
        values = []
        for place, (i, j) in enumerate(cells):
            if place * steps // len(cells) != t:
                continue
            for row, column in np.ndindex(H, W):
                if int((row + 0.5) * I / H) == i and int((column + 0.5) * J / W) == j:
                    current[row, column] = blank[row, column]
                    values.append(float(saliency[i, j]))
        gone += len(values)
        fractions.append(gone / (H * W))
        scores.append(probability(current))
        means.append(math.fsum(values) / len(values))
    return fractions, scores, means


def slow_area(fractions: list[float], scores: list[float]) -> float:
    """The trapezoids one by one."""
    return math.fsum(
        (fractions[t + 1] - fractions[t]) * (scores[t + 1] + scores[t]) / 2 for t in range(len(scores) - 1)
    )


def slow_pearson(one: list[float], other: list[float]) -> float:
    """Covariance over the product of the standard deviations."""
    n = len(one)
    means = math.fsum(one) / n, math.fsum(other) / n
    parts = [(x - means[0], y - means[1]) for x, y in zip(one, other, strict=True)]
    variances = math.fsum(x * x for x, _ in parts) * math.fsum(y * y for _, y in parts)
    return math.fsum(x * y for x, y in parts) / math.sqrt(variances)


@both
@pytest.mark.parametrize(
    ("side", "cells", "steps"), [(8, (4, 4), 196), (9, (4, 2), 3), (7, (7, 7), 10), (5, (3, 4), 5)]
)
def test_a_curve_is_its_definition(
    curve_of: Callable[..., Curve], side: int, cells: tuple[int, int], steps: int
) -> None:
    inputs, classes = scans(2, side), torch.tensor([[0, 2], [1, 1]])
    maps = random_maps((2, 2, *cells), seed=5) * 3
    curve = curve_of(crooked, inputs, classes, maps, baseline="black", steps=steps)
    sign = 1 if curve_of is insertion else -1
    for b, k in np.ndindex(2, 2):

        def probability(pixels: np.ndarray, index: int = int(classes[b, k])) -> float:
            logit = float(crooked(torch.from_numpy(pixels)[None, None])[0, index])
            return 1 / (1 + math.exp(-logit))

        pair = [inputs[b, 0].numpy(), np.full((side, side), -1024.0)][::-sign]
        fractions, scores, means = slow_curve(probability, *pair, maps[b, k].numpy(), steps)
        np.testing.assert_allclose(curve.fractions[b, k], fractions, rtol=1e-12)
        np.testing.assert_allclose(curve.scores[b, k], scores, rtol=1e-9)
        np.testing.assert_allclose(curve.saliency[b, k], means, rtol=1e-12)
        assert curve.area[b, k] == pytest.approx(slow_area(fractions, scores), rel=1e-9)
        change = [sign * (scores[t + 1] - scores[t]) for t in range(len(means))]
        assert curve.correlation[b, k] == pytest.approx(slow_pearson(means, change), rel=1e-7)


@both
def test_what_speaks_against_a_class_is_no_saliency(curve_of: Callable[..., Curve]) -> None:
    maps = random_maps((1, 1, 4, 4), seed=2) - 0.5
    inputs = scans(1, 8)
    found, clamped = (curve_of(crooked, inputs, FIRST, each, seed=4) for each in (maps, maps.clamp(min=0)))
    np.testing.assert_array_equal(found.scores, clamped.scores)
    np.testing.assert_array_equal(found.saliency, clamped.saliency)
    assert found.saliency.min() == 0


@pytest.mark.parametrize("baseline", ["black", "blur", "mean"])
def test_insertion_ends_where_deletion_begins(baseline: Baseline) -> None:
    inputs, maps = scans(1, 8), random_maps((1, 1, 4, 4), seed=0)
    gone = deletion(crooked, inputs, FIRST, maps, baseline=baseline)
    come = insertion(crooked, inputs, FIRST, maps, baseline=baseline)
    assert not gone.inserted
    assert come.inserted
    assert gone.scores[0, 0, 0] == come.scores[0, 0, -1]
    assert gone.scores[0, 0, -1] == come.scores[0, 0, 0]


def test_what_goes_last_comes_first() -> None:
    """To insert by a map is to delete by its inverse, read backwards."""
    inputs, maps = scans(1, 8), random_maps((1, 1, 4, 4), seed=0)
    gone = deletion(crooked, inputs, FIRST, maps, baseline="blur")
    come = insertion(crooked, inputs, FIRST, 1 - maps)
    np.testing.assert_allclose(gone.scores, come.scores[..., ::-1])
    np.testing.assert_allclose(gone.area, come.area)


def test_a_perfect_map_and_its_inverse_have_the_areas_of_their_geometry() -> None:
    """The region is 1/6 of the image: the score falls within the first sixth, or within the last."""
    perfect, inverse = REGION[None, None], 1 - REGION[None, None]
    early, late = LOW + (HIGH - LOW) / 12, HIGH - (HIGH - LOW) / 12
    for maps, area in ((perfect, early), (inverse, late)):
        gone = deletion(linear, BRIGHT, FIRST, maps, baseline="black").area.item()
        assert gone == pytest.approx(area)
        come = insertion(linear, BRIGHT, FIRST, maps, baseline="black").area.item()
        assert come == pytest.approx(LOW + HIGH - area)
    for curve_of in (deletion, insertion):
        r = [
            curve_of(linear, BRIGHT, FIRST, maps, baseline="black").correlation.item()
            for maps in (perfect, inverse)
        ]
        assert r == pytest.approx([1, -1])


def test_no_order_beats_the_perfect_map_nor_falls_behind_its_inverse() -> None:
    """All 720 orders of 2 x 3 cells, of which two hold the region."""
    orders = torch.tensor(list(permutations(range(6)))).double().reshape(1, 720, 2, 3) + 1
    region = (
        torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
        .double()
        .repeat_interleave(2, 1)
        .repeat_interleave(3, 0)
    )

    def score(inputs: Tensor) -> Tensor:
        shown = ((inputs + 1024) / 2048 * region).sum(dim=(2, 3)) / region.sum()
        return torch.logit(LOW + (HIGH - LOW) * shown)

    classes = torch.zeros(1, 720, dtype=torch.int64)
    gone = deletion(score, BRIGHT, classes, orders, baseline="black").area[0]
    come = insertion(score, BRIGHT, classes, orders, baseline="black").area[0]
    best = (orders[0, :, :, 1].amin(dim=-1) >= 5).numpy()  # the region's cells go first
    worst = (orders[0, :, :, 1].amax(dim=-1) <= 2).numpy()
    assert best.sum() == worst.sum() == 48
    np.testing.assert_allclose(gone[best], gone.min())
    np.testing.assert_allclose(gone[worst], gone.max())
    np.testing.assert_allclose(come[best], come.max())
    np.testing.assert_allclose(come[worst], come.min())
    assert gone[best].max() < gone[~best].min()
    assert come[best].min() > come[~best].max()
    assert gone.mean() == pytest.approx((LOW + HIGH) / 2)  # what chance is worth


@both
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0, -2.0])
def test_an_even_and_an_empty_map_are_worth_chance(curve_of: Callable[..., Curve], value: float) -> None:
    maps = torch.full((1, 1, 6, 6), value, dtype=torch.float64)
    curves = [
        curve_of(linear, BRIGHT, FIRST, maps, baseline="black", seed=seed, batch_size=64)
        for seed in range(100)
    ]
    areas = np.array([curve.area.item() for curve in curves])
    assert areas.mean() == pytest.approx(0.5, abs=4 * areas.std() / 100**0.5)
    assert areas.std() > 0.01  # the order is drawn, and not that of the rows
    assert all(np.isnan(curve.correlation).all() for curve in curves)


@both
def test_equals_are_worth_the_mean_over_their_orders(curve_of: Callable[..., Curve]) -> None:
    """Half of the region, and as many pixels outside of it, share the second value."""
    maps = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
    maps[0, 0, 1:4, 2] = 2
    maps[0, 0, 1:4, 3:5] = 1
    areas = [
        curve_of(linear, BRIGHT, FIRST, maps, baseline="black", seed=seed).area.item() for seed in range(100)
    ]
    # pixels 1 to 3 are the region's; of pixels 4 to 9 half are: all 6 count 1/6, at these mean places
    fall = [1 / 6] * 3 + [1 / 12] * 6 + [0] * 27
    shown = 1 - np.concatenate([[0], np.cumsum(fall)])
    expected = float(LOW + (HIGH - LOW) * (shown[1:] + shown[:-1]).sum() / 72)
    expected = expected if curve_of is deletion else LOW + HIGH - expected
    assert np.mean(areas) == pytest.approx(expected, abs=4 * np.std(areas) / 10)


@both
def test_one_cell_goes_at_once(curve_of: Callable[..., Curve]) -> None:
    curve = curve_of(linear, BRIGHT, FIRST, torch.ones(1, 1, 1, 1), baseline="black")
    assert curve.fractions.tolist() == [[[0.0, 1.0]]]
    assert curve.area.item() == pytest.approx(0.5)
    assert np.isnan(curve.correlation).all()


@both
def test_a_map_as_fine_as_the_image_takes_no_more_steps_than_told(curve_of: Callable[..., Curve]) -> None:
    inputs, maps = scans(1, 16), random_maps((1, 1, 16, 16), seed=1)
    assert curve_of(crooked, inputs, FIRST, maps).scores.shape == (1, 1, STEPS + 1)
    few = curve_of(crooked, inputs, FIRST, maps, steps=8)
    np.testing.assert_array_equal(few.fractions[0, 0], np.arange(9) / 8)
    assert (np.diff(few.saliency) < 0).all()
    every = curve_of(crooked, inputs, FIRST, maps, steps=256)
    np.testing.assert_allclose(every.scores[..., ::32], few.scores)


@both
def test_cells_of_unequal_size_count_by_their_pixels(curve_of: Callable[..., Curve]) -> None:
    """Three cells over eight pixels hold the centres of 3, 2 and 3."""
    maps = torch.tensor([[[[3.0, 2.0, 1.0]]]])
    curve = curve_of(crooked, scans(1, 8), FIRST, maps)
    np.testing.assert_allclose(curve.fractions[0, 0], [0, 3 / 8, 5 / 8, 1])
    np.testing.assert_allclose(curve.saliency[0, 0], [3, 2, 1])
    two = curve_of(crooked, scans(1, 8), FIRST, maps, steps=2)  # cells 0 and 1 together, then 2
    np.testing.assert_allclose(two.fractions[0, 0], [0, 5 / 8, 1])
    np.testing.assert_allclose(two.saliency[0, 0], [(3 * 3 + 2 * 2) / 5, 1])


@both
def test_many_images_and_classes_are_each_as_alone(curve_of: Callable[..., Curve]) -> None:
    inputs, classes = scans(3, 8), torch.tensor([[0, 1], [2, 0], [1, 1]])
    maps = random_maps((3, 2, 4, 4), seed=2).sub(0.5)  # half of it equals
    together = curve_of(crooked, inputs, classes, maps, seed=9)
    for b, k in np.ndindex(3, 2):
        one = (slice(b, b + 1), slice(k, k + 1))
        alone = curve_of(crooked, inputs[b : b + 1], classes[one], maps[one], seed=9)
        np.testing.assert_allclose(together.scores[one], alone.scores)
        np.testing.assert_allclose(together.area[one], alone.area)
        np.testing.assert_allclose(together.correlation[one], alone.correlation)


@both
@pytest.mark.parametrize("batch_size", [1, 3, 17, 1000])
def test_the_batch_size_changes_nothing_but_the_memory(
    curve_of: Callable[..., Curve], batch_size: int
) -> None:
    inputs, classes, maps = scans(2, 8), torch.tensor([[0], [2]]), random_maps((2, 1, 4, 4), seed=2)
    sizes: list[int] = []

    def score(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return crooked(images)

    found = curve_of(score, inputs, classes, maps, batch_size=batch_size)
    np.testing.assert_allclose(
        found.scores, curve_of(crooked, inputs, classes, maps, batch_size=BATCH).scores
    )
    assert max(sizes) <= batch_size
    assert sum(sizes) == 2 * 1 * 17  # B K (T + 1)


@both
def test_a_curve_leaves_what_it_was_given(curve_of: Callable[..., Curve]) -> None:
    given_ = scans(1, 8), FIRST.clone(), random_maps((1, 1, 4, 4), seed=2) - 0.5
    kept = [each.clone() for each in given_]
    curve_of(crooked, *given_)
    assert all(map(torch.equal, given_, kept))


@both
def test_the_same_seed_gives_the_same_curve(curve_of: Callable[..., Curve]) -> None:
    maps = torch.zeros(1, 1, 6, 6)
    one, again, other = (
        curve_of(linear, BRIGHT, FIRST, maps, baseline="black", seed=seed).scores.tolist()
        for seed in (1, 1, 2)
    )
    assert one == again != other


@given(arrays(np.float64, (2, 7), elements=st.integers(-9, 9).map(float)))
def test_pearson_is_its_definition(pair: np.ndarray) -> None:
    one, other = pair
    r = pearson(one, other)
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert np.isnan(r)
    else:
        assert float(r) == pytest.approx(slow_pearson(one.tolist(), other.tolist()), abs=1e-12)


@pytest.mark.parametrize("factor", [1e-320, 1e-200, 1.0, 1e200, -3e307])
def test_pearson_does_not_depend_on_the_scale(factor: float) -> None:
    values = np.array([1.0, 2.0, 5.0, 4.0])
    assert float(pearson(values * factor, values)) == pytest.approx(math.copysign(1, factor), abs=1e-3)


@pytest.mark.parametrize("value", [0.0, 0.1, -0.3, 1e300, 5e-324])
def test_pearson_of_a_constant_is_no_number_whatever_its_rounding(value: float) -> None:
    constant = np.full(50, value)
    constant[::3] = np.nextafter(constant[::3], np.inf) if abs(value) > 1e-300 else value
    assert np.isnan(pearson(constant, np.arange(50.0)))
    assert np.isnan(pearson(np.arange(50.0), constant))


@pytest.mark.parametrize("steps", [2, 3, 7, 20])
def test_an_even_map_has_no_correlation_whatever_its_value(steps: int) -> None:
    """Few steps of many cells: the means of each step are rounded apart."""
    values = torch.tensor([0.1, 0.3, 1 / 3, 0.7, 7.7, 123.4], dtype=torch.float64)
    maps = values[None, :, None, None].expand(1, 6, 41, 43)
    curve = deletion(crooked, scans(1, 64), torch.zeros(1, 6, dtype=torch.int64), maps, steps=steps)
    assert np.isnan(curve.correlation).all()


@both
def test_what_does_not_fit_is_refused(curve_of: Callable[..., Curve]) -> None:
    maps = torch.ones(1, 1, 4, 4)
    for refused, options in (
        ((BRIGHT, FIRST, torch.ones(1, 2, 4, 4)), {}),
        ((BRIGHT, FIRST, torch.ones(2, 1, 4, 4)), {}),
        ((BRIGHT, FIRST, maps * math.nan), {}),
        ((BRIGHT, FIRST, torch.ones(1, 1, 7, 6)), {}),  # finer than the image
        ((BRIGHT, FIRST, torch.ones(1, 1, 6, 7)), {}),
        ((BRIGHT, FIRST + 1, maps), {}),  # the model has one class
        ((BRIGHT, FIRST, maps), {"steps": 0}),
        ((BRIGHT, FIRST, maps), {"batch_size": 0}),
        ((BRIGHT, FIRST, maps), {"baseline": "white"}),
    ):
        with pytest.raises(OptionError, match="expected"):
            curve_of(linear, *refused, **options)


@both
def test_scores_that_are_no_numbers_are_refused(curve_of: Callable[..., Curve]) -> None:
    with pytest.raises(ModelError, match="NaN"):
        curve_of(lambda x: x.mean(dim=(2, 3)) * math.nan, BRIGHT, FIRST, torch.ones(1, 1, 4, 4))


SIDE, DRAWS = 7, 2  # cells of a side of the maps, and maps of each kind of chance
BETTER = {"DAUC": -1, "IAUC": 1, "DC": 1, "IC": 1, "average drop": -1, "ROAD": 1}
Table = dict[str, dict[str, np.ndarray]]


def judged(score: Score, inputs: Tensor, index: int, maps: Tensor, seed: int) -> dict[str, np.ndarray]:
    """Each measure of K maps (K, I, J) of one class of one image."""
    classes = torch.full((1, len(maps)), index)
    chosen = {"steps": 10, "seed": seed}
    gone, come = (
        curve_of(score, inputs, classes, maps[None], **chosen) for curve_of in (deletion, insertion)
    )
    parts = adcc(score, lambda _, of: torch.ones(*of.shape, SIDE, SIDE), inputs, classes, maps[None])
    shares = road(score, inputs, classes, maps[None], percentages=(20, 50), seed=seed)
    columns = gone.area, come.area, gone.correlation, come.correlation, parts.average_drop, shares
    return dict(zip(BETTER, (column[0] for column in columns), strict=True))


def kinds_of_maps(mask: Tensor, seed: int) -> dict[str, Tensor]:
    """The reference mask, maps of chance, the mask's own cells elsewhere, and a map that says nothing."""
    generator = torch.Generator().manual_seed(seed)
    elsewhere = [mask.flatten()[torch.randperm(mask.numel(), generator=generator)] for _ in range(DRAWS)]
    return {
        "reference": mask[None],
        "random": random_maps((DRAWS, SIDE, SIDE), seed=seed),
        "shuffled": torch.stack(elsewhere).reshape(DRAWS, SIDE, SIDE),
        "even": torch.zeros(1, SIDE, SIDE),
    }


@pytest.fixture(scope="module")
def phantoms() -> Table:
    """For each measure and kind of map, the mean of each finding that the bundled model sees."""
    explainer = Explainer.from_pretrained("phantom")
    names, score = explainer.classifier.pathologies, explainer.classifier.logits
    table: Table = {measure: {} for measure in BETTER}
    for seed, case in enumerate(phantom_cases(6, seed=10_000_000)):
        prepared = explainer.prepare(case.radiograph)
        inputs = prepared.tensor[None]
        seen = torch.sigmoid(score(inputs))[0] > 0.5
        for index in (names.index(name) for name in case.masks if name in names):
            if not seen[index]:
                continue
            mask = torch.from_numpy(prepared.geometry.maps_to_model(case.masks[names[index]], SIDE)).double()
            kinds = kinds_of_maps(mask, seed)
            found = judged(score, inputs, index, torch.cat(list(kinds.values())), seed)
            for measure, values in found.items():
                parts = np.split(values, np.cumsum([len(maps) for maps in kinds.values()])[:-1])
                for kind, part in zip(kinds, parts, strict=True):
                    own = table[measure].get(kind, np.empty(0))
                    table[measure][kind] = np.append(own, part.mean())
    return table


def standard_errors(differences: np.ndarray) -> float:
    """How many standard errors the mean is away from 0."""
    return float(differences.mean() / (differences.std(ddof=1) / len(differences) ** 0.5))


@pytest.mark.slow
@pytest.mark.parametrize("measure", [measure for measure in BETTER if measure != "average drop"])
def test_reference_masks_of_phantoms_are_better_than_chance(phantoms: Table, measure: str) -> None:
    kinds = phantoms[measure]
    for chance in ("random", "shuffled"):
        assert BETTER[measure] * standard_errors(kinds["reference"] - kinds[chance]) > 2


@pytest.mark.slow
def test_the_average_drop_tells_only_maps_that_show_as_much(phantoms: Table) -> None:
    """A map of chance shows half of everything and loses little; a mask hides all but a few per cent.

    The same cells elsewhere show as much as the mask does, and lose more.
    """
    kinds = phantoms["average drop"]
    assert standard_errors(kinds["shuffled"] - kinds["reference"]) > 2


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["DAUC", "IAUC", "ROAD"])
def test_maps_of_chance_of_phantoms_are_worth_what_an_even_map_is(phantoms: Table, measure: str) -> None:
    kinds = phantoms[measure]
    assert abs(standard_errors(kinds["random"] - kinds["even"])) < 4


@pytest.mark.slow
def test_road_of_chance_is_0_on_phantoms(phantoms: Table) -> None:
    for kind in ("random", "shuffled", "even"):
        assert abs(standard_errors(phantoms["ROAD"][kind])) < 4
