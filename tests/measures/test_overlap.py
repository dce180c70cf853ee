"""IoU, mean IoU, energy in the mask, and their baselines: known answers, and the definitions read aloud."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cxr_explain.errors import OptionError
from cxr_explain.measures.overlap import (
    CaseMean,
    centre_map,
    energy_in_mask,
    iou,
    mean_iou,
    random_energy,
    random_iou,
)
from cxr_explain.measures.segmentation import segment

MASK = np.zeros((6, 8), bool)
MASK[1:3, 5:7] = True
EMPTY = np.zeros((6, 8), bool)

masks = arrays(bool, (4, 5))
maps = arrays(np.float64, (4, 5), elements=st.integers(-2, 3).map(float))


def slow_iou(prediction: np.ndarray, reference: np.ndarray) -> Fraction | None:
    """Count pixel by pixel."""
    both = either = there = 0
    for at in np.ndindex(reference.shape):
        both += bool(prediction[at]) and bool(reference[at])
        either += bool(prediction[at]) or bool(reference[at])
        there += bool(reference[at])
    return Fraction(both, either) if there else None


def slow_energy(saliency: np.ndarray, mask: np.ndarray) -> float | None:
    """Add up pixel by pixel."""
    if not any(bool(value) for value in mask.flat):
        return None
    inside = math.fsum(max(float(saliency[at]), 0.0) for at in np.ndindex(mask.shape) if mask[at])
    everything = math.fsum(max(float(value), 0.0) for value in saliency.flat)
    return inside / everything if everything else None


@given(masks, masks)
def test_the_iou_is_its_definition(prediction: np.ndarray, reference: np.ndarray) -> None:
    expected = slow_iou(prediction, reference)
    assert iou(prediction, reference) == (None if expected is None else float(expected))


@given(masks, masks)
def test_the_iou_is_scikit_learns(prediction: np.ndarray, reference: np.ndarray) -> None:
    """Theirs gives 0 (or 1, as asked) for two empty masks; here an empty reference mask gives no number."""
    metrics = pytest.importorskip("sklearn.metrics")
    if reference.any():
        theirs = metrics.jaccard_score(reference.ravel(), prediction.ravel())
        assert iou(prediction, reference) == pytest.approx(theirs)


@given(maps, masks)
def test_the_energy_is_its_definition(saliency: np.ndarray, mask: np.ndarray) -> None:
    assert energy_in_mask(saliency, mask) == pytest.approx(slow_energy(saliency, mask))


def test_the_iou_of_perfect_inverted_and_empty_masks() -> None:
    assert (iou(MASK, MASK), iou(~MASK, MASK), iou(EMPTY, MASK)) == (1.0, 0.0, 0.0)
    assert iou(~EMPTY, MASK) == 4 / 48
    assert iou(EMPTY, EMPTY) is iou(MASK, EMPTY) is None


def test_the_mean_iou_of_chexlocalize_and_the_plain_one() -> None:
    half = MASK.copy()
    half[1] = False
    pairs = [(MASK, MASK), (half, MASK), (EMPTY, MASK), (MASK, EMPTY), (EMPTY, EMPTY)]
    found = mean_iou(iter(pairs))
    assert found == CaseMean(0.75, 2, 2, 1, (1.0, 0.5, None, None, None))
    assert mean_iou(pairs, empty_prediction="zero") == CaseMean(0.5, 3, 2, 0, (1.0, 0.5, 0.0, None, None))
    assert str(found) == "0.750 (2 cases; left out: 2 without a reference mask, 1 without a predicted one)"


def test_no_case_is_not_estimable() -> None:
    assert mean_iou([]) == CaseMean(None, 0)
    assert str(mean_iou([(EMPTY, MASK)])) == (
        "not estimable (0 of 1 cases; left out: 1 without a predicted one)"
    )
    assert str(mean_iou([(MASK, MASK)])) == "1.000 (1 case)"


def test_the_energy_of_perfect_inverted_even_and_empty_maps() -> None:
    assert energy_in_mask(MASK * 2.0, MASK) == 1.0
    assert energy_in_mask(1.0 - MASK, MASK) == 0.0
    assert energy_in_mask(np.full(MASK.shape, 7.0), MASK) == pytest.approx(random_energy(MASK))
    assert energy_in_mask(-1.0 * MASK, MASK) is energy_in_mask(np.zeros(MASK.shape), MASK) is None
    assert energy_in_mask(np.ones(MASK.shape), EMPTY) is random_energy(EMPTY) is None
    assert energy_in_mask(np.full(MASK.shape, 1e308), MASK) == pytest.approx(4 / 48)


def test_random_maps_are_at_chance() -> None:
    draws = np.random.default_rng(0)
    mask = np.zeros((20, 20), bool)
    mask[3:9, 4:13] = True
    energies, ious = [], []
    for _ in range(300):
        saliency = draws.exponential(size=mask.shape)
        energies.append(energy_in_mask(saliency, mask))
        ious.append(iou(segment(saliency), mask) - random_iou(int(segment(saliency).sum()), mask))
    assert np.mean(energies) == pytest.approx(random_energy(mask), abs=0.005)
    assert np.mean(ious) == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize("pixels", range(7))
def test_the_random_iou_is_the_mean_over_all_draws(pixels: int) -> None:
    reference = np.array([[True, True, False], [False, False, False]])
    scores = []
    for chosen in itertools.combinations(range(6), pixels):
        prediction = np.zeros(6, bool)
        prediction[list(chosen)] = True
        scores.append(iou(prediction.reshape(2, 3), reference))
    assert random_iou(pixels, reference) == pytest.approx(np.mean(scores))


def test_the_random_iou_of_a_radiograph_is_quick_and_near_its_limit() -> None:
    reference = np.zeros((2000, 2500), bool)
    reference[:500, :500] = True  # 5 %: with 20 % predicted, 1 % over 24 %
    assert random_iou(1_000_000, reference) == pytest.approx(1 / 24, rel=1e-3)
    assert random_iou(0, reference) == 0.0
    assert random_iou(reference.size, reference) == pytest.approx(0.05)
    assert random_iou(3, np.zeros((2, 2), bool)) is None


def test_the_centre_map_peaks_in_the_middle_and_fits_any_shape() -> None:
    found = centre_map((5, 9))
    assert np.unravel_index(found.argmax(), found.shape) == (2, 4)
    np.testing.assert_allclose(found, found[::-1, ::-1])
    assert found[2, 8] == pytest.approx(math.exp(-(((4 / 9) / 0.25) ** 2) / 2))
    middle = np.zeros((100, 100), bool)
    middle[40:60, 40:60] = True
    assert energy_in_mask(centre_map((100, 100)), middle) > 2 * random_energy(middle)
    wide = energy_in_mask(centre_map((100, 100), spread=100), middle)
    assert wide == pytest.approx(random_energy(middle), rel=1e-3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: iou(MASK, MASK[:3]),
        lambda: iou(MASK.astype(int), MASK),
        lambda: mean_iou([], empty_prediction="ignore"),  # type: ignore[arg-type]
        lambda: energy_in_mask(np.zeros((2, 2)), MASK),
        lambda: energy_in_mask(np.full(MASK.shape, np.nan), MASK),
        lambda: random_iou(49, MASK),
        lambda: random_iou(-1, MASK),
        lambda: centre_map((0, 3)),
        lambda: centre_map((3, 3), spread=0),
        lambda: centre_map((3, 3), spread=math.nan),
    ],
)
def test_what_does_not_fit_is_refused(call: object) -> None:
    with pytest.raises(OptionError):
        call()  # type: ignore[operator]
