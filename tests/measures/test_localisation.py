"""The pointing game and the class share: known answers, and the definitions read aloud."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cxr_explain.errors import OptionError
from cxr_explain.measures.localisation import (
    centre_hit,
    class_share,
    own_pixels,
    peak_hit,
    random_hit,
    within,
)

MASK = np.zeros((6, 8), bool)
MASK[1:3, 5:7] = True

masks = arrays(bool, (5, 6))
maps = arrays(np.float64, (5, 6), elements=st.integers(-2, 3).map(float))


def slow_peak_hit(saliency: np.ndarray, mask: np.ndarray) -> float | None:
    """Draw each pixel of the peak in turn."""
    if not any(mask[index] for index in np.ndindex(mask.shape)):
        return None
    best = max(float(value) for value in saliency.flat)
    if best <= 0:
        return None
    hits = [bool(mask[index]) for index in np.ndindex(mask.shape) if saliency[index] == best]
    return sum(hits) / len(hits)


def slow_within(mask: np.ndarray, distance: float, spacing: tuple[float, float]) -> np.ndarray:
    """Measure the distance of every pixel to every pixel of the mask."""
    result = np.zeros_like(mask)
    for i, j in np.ndindex(mask.shape):
        for k, m in np.ndindex(mask.shape):
            if mask[k, m] and math.hypot((i - k) * spacing[0], (j - m) * spacing[1]) <= distance:
                result[i, j] = True
    return result


def slow_class_share(values: np.ndarray, k: int, mask: np.ndarray) -> float | None:
    """Add up pixel by pixel."""
    inside = [index for index in np.ndindex(mask.shape) if mask[index]]
    if not inside or not any(float(value) > 0 for value in values.flat):
        return None
    own = math.fsum(max(float(values[k][index]), 0.0) for index in inside)
    everything = math.fsum(max(float(of_class[index]), 0.0) for of_class in values for index in inside)
    return own / everything if everything else 0.0


def test_a_perfect_map_hits_and_an_inverted_one_misses() -> None:
    assert peak_hit(MASK.astype(float), MASK) == 1.0
    assert peak_hit(1.0 - MASK, MASK) == 0.0
    assert peak_hit(-1.0 * ~MASK, MASK) is None  # nothing positive: no peak
    assert peak_hit(np.zeros(MASK.shape), MASK) is None


def test_a_constant_map_is_worth_a_random_peak() -> None:
    assert peak_hit(np.ones(MASK.shape), MASK) == random_hit(MASK) == 4 / 48


def test_a_peak_just_beside_the_mask_hits_within_the_tolerance_alone() -> None:
    saliency = np.zeros(MASK.shape)
    saliency[1, 3] = 1
    assert [peak_hit(saliency, within(MASK, distance)) for distance in (0, 1.9, 2)] == [0.0, 0.0, 1.0]


def test_the_expected_hit_of_a_random_peak_is_the_mean_over_all_peaks() -> None:
    hits = []
    for index in np.ndindex(MASK.shape):
        saliency = np.zeros(MASK.shape)
        saliency[index] = 1
        hits.append(peak_hit(saliency, within(MASK, 1.5)))
    assert np.mean(hits) == pytest.approx(random_hit(within(MASK, 1.5)))


def test_the_centre_of_odd_and_even_images() -> None:
    odd = np.zeros((3, 3), bool)
    odd[1, 1] = True
    assert (centre_hit(odd), centre_hit(~odd)) == (1.0, 0.0)
    even = np.zeros((4, 3), bool)
    even[2, 1] = True
    assert centre_hit(even) == 0.5


def test_an_empty_mask_gives_no_number() -> None:
    empty = np.zeros((3, 3), bool)
    assert peak_hit(np.ones((3, 3)), empty) is random_hit(empty) is centre_hit(empty) is None
    assert class_share(np.ones((2, 3, 3)), 0, empty) is None
    assert not within(empty, 5).any()


def test_the_share_of_a_perfect_an_inverted_an_even_and_an_empty_map() -> None:
    perfect = np.stack([MASK, ~MASK]).astype(float)
    assert (class_share(perfect, 0, MASK), class_share(perfect, 1, MASK)) == (1.0, 0.0)
    assert class_share(np.ones((4, *MASK.shape)), 2, MASK) == 0.25
    assert class_share(np.zeros((2, *MASK.shape)), 0, MASK) is None
    assert class_share(np.stack([~MASK, -1.0 * MASK]), 1, MASK) == 0.0  # none of it in the mask
    assert class_share(np.stack([MASK * 3.0, MASK * -5.0]), 0, MASK) == 1.0


def test_own_pixels_belong_to_no_other_mask() -> None:
    other = np.zeros(MASK.shape, bool)
    other[2:, 6:] = True
    own = own_pixels([MASK, other], 0)
    assert own.sum() == 3
    assert not own[2, 6]
    assert not own_pixels([MASK, MASK], 0).any()


@given(maps, masks)
def test_the_pointing_game_is_its_definition(saliency: np.ndarray, mask: np.ndarray) -> None:
    assert peak_hit(saliency, mask) == pytest.approx(slow_peak_hit(saliency, mask))


@given(masks, st.sampled_from([0, 1, 1.5, 2.3]), st.sampled_from([(1.0, 1.0), (0.7, 1.3)]))
def test_the_tolerance_is_its_definition(
    mask: np.ndarray, distance: float, spacing: tuple[float, float]
) -> None:
    np.testing.assert_array_equal(within(mask, distance, spacing), slow_within(mask, distance, spacing))


@given(st.lists(maps, min_size=1, max_size=3), masks)
def test_the_class_share_is_its_definition(values: list[np.ndarray], mask: np.ndarray) -> None:
    stack = np.stack(values)
    for k in range(len(stack)):
        assert class_share(stack, k, mask) == pytest.approx(slow_class_share(stack, k, mask))


@pytest.mark.parametrize(
    "call",
    [
        lambda: peak_hit(np.zeros((2, 2)), MASK),
        lambda: peak_hit(np.full(MASK.shape, np.nan), MASK),
        lambda: peak_hit(np.zeros(MASK.shape), MASK.astype(float)),
        lambda: random_hit(np.zeros((0, 0), bool)),
        lambda: within(MASK, -1),
        lambda: within(MASK, math.nan),
        lambda: class_share(MASK.astype(float), 0, MASK),
        lambda: class_share(np.ones((2, *MASK.shape)), 2, MASK),
    ],
)
def test_what_does_not_fit_is_refused(call: object) -> None:
    with pytest.raises(OptionError):
        call()  # type: ignore[operator]
