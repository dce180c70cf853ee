"""Brier score and calibration error: known answers and the definitions read aloud."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_explain.errors import OptionError
from cxr_explain.measures.statistics.calibration import (
    GroupedCalibration,
    brier,
    calibration_curve,
    error_by_chance,
    expected_calibration_error,
)
from cxr_explain.measures.statistics.intervals import wilson

cases = st.lists(st.tuples(st.integers(0, 16).map(lambda k: k / 16), st.booleans()), min_size=1, max_size=30)


def slow_calibration_error(chances: list[float], there: list[bool], bins: int) -> float:
    """Fill the bins one by one."""
    total = 0.0
    for b in range(bins):
        members = [
            (p, y)
            for p, y in zip(chances, there, strict=True)
            if b <= p * bins < b + 1 or (b == bins - 1 and p == 1)
        ]
        if members:
            confidence = sum(p for p, _ in members) / len(members)
            share = sum(y for _, y in members) / len(members)
            total += len(members) / len(chances) * abs(confidence - share)
    return total


def test_certain_and_right_or_wrong() -> None:
    there = [True, False]
    assert (brier([1, 0], there), expected_calibration_error([1, 0], there)) == (0.0, 0.0)
    assert (brier([0, 1], there), expected_calibration_error([0, 1], there)) == (1.0, 1.0)


def test_a_prevalence_is_calibrated_but_not_sharp() -> None:
    there = np.arange(100) < 25
    chances = np.full(100, 0.25)
    assert expected_calibration_error(chances, there) == pytest.approx(0)
    assert brier(chances, there) == pytest.approx(0.25 * 0.75)


def test_no_image_at_all_is_not_estimable() -> None:
    assert brier([], []) is expected_calibration_error([], []) is None


@given(cases, st.sampled_from([1, 4, 8, 10]))
def test_the_calibration_error_is_its_definition(case: list[tuple[float, bool]], bins: int) -> None:
    chances, there = map(list, zip(*case, strict=True))
    found = expected_calibration_error(chances, there, bins=bins)
    assert found == pytest.approx(slow_calibration_error(chances, there, bins), abs=1e-12)


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(OptionError, match="probabilities in"):
        brier([1.5], [True])
    with pytest.raises(OptionError, match="1 or more"):
        expected_calibration_error([0.5], [True], bins=0)
    with pytest.raises(OptionError, match="1 or more"):
        calibration_curve([0.5], [True], bins=0)
    with pytest.raises(OptionError, match="one for each case"):
        calibration_curve([0.5], [True], groups=["a", "b"])


@given(cases, st.sampled_from([1, 4, 10]))
def test_the_curve_adds_up_to_the_calibration_error(case: list[tuple[float, bool]], bins: int) -> None:
    chances, there = map(list, zip(*case, strict=True))
    curve = calibration_curve(chances, there, bins=bins)
    assert sum(each.cases for each in curve) == len(chances)
    error = sum(each.cases * abs(each.mean - each.observed) for each in curve) / len(chances)
    assert error == pytest.approx(expected_calibration_error(chances, there, bins=bins), abs=1e-12)
    for each in curve:
        assert each.low <= each.mean <= each.high
        if each.observed_low is not None and each.observed_high is not None:
            assert 0 <= each.observed_low <= each.observed <= each.observed_high <= 1


def test_the_curve_is_scikit_learns() -> None:
    """Where no probability lies on an edge: those are in the bin below there, in the one above here."""
    from sklearn.calibration import calibration_curve as peer

    draws = np.random.default_rng(3)
    chances = draws.random(400) ** 2
    there = draws.random(400) < chances
    observed, mean = peer(there, chances, n_bins=10)
    ours = calibration_curve(chances, there)
    assert [each.observed for each in ours] == pytest.approx(observed.tolist())
    assert [each.mean for each in ours] == pytest.approx(mean.tolist())


def test_groups_widen_the_interval_of_the_curve() -> None:
    there = np.repeat([True, False, True, False, False, True, False, False, True, False], 8)
    alone, together = (
        calibration_curve(np.full(80, 0.4), there, groups=groups)[0]
        for groups in (None, np.repeat(np.arange(10), 8).tolist())
    )
    assert (alone.observed_low, alone.observed_high) == pytest.approx(wilson(0.4, 80))
    low, high = wilson(0.4, 10)
    assert together.observed_low is not None
    assert together.observed_high is not None
    assert together.observed_low < low  # by Student's t
    assert together.observed_high > high


def test_a_bin_of_few_groups_has_no_interval() -> None:
    groups = np.repeat(np.arange(7), 2).tolist()
    seven = calibration_curve(np.full(14, 0.4), np.arange(14) < 7, groups=groups)[0]
    assert (seven.observed, seven.observed_low, seven.observed_high) == (0.5, None, None)


def slow_error_by_chance(chances: list[float], there: list[bool], groups: list[int], bins: int) -> float:
    """Bin by bin: the sum over groups of the square of what its cases lie off the bin's mean."""
    total = 0.0
    for b in range(bins):
        inside = [i for i, p in enumerate(chances) if min(int(p * bins), bins - 1) == b]
        if inside:
            mean = sum(chances[i] - there[i] for i in inside) / len(inside)
            sums = [
                sum(chances[i] - there[i] - mean for i in inside if groups[i] == group)
                for group in sorted(set(groups))
            ]
            total += math.sqrt(sum(each**2 for each in sums))
    return math.sqrt(2 / math.pi) * total / len(chances)


@given(cases, st.sampled_from([1, 4, 10]))
def test_the_error_by_chance_is_its_definition(case: list[tuple[float, bool]], bins: int) -> None:
    chances, there = map(list, zip(*case, strict=True))
    groups = [number % 4 for number in range(len(chances))]
    expected = slow_error_by_chance(chances, there, groups, bins)
    assert error_by_chance(chances, there, groups=groups, bins=bins) == pytest.approx(expected, abs=1e-9)


def test_the_error_by_chance_is_what_a_calibrated_model_shows() -> None:
    draws = np.random.default_rng(5)
    found, expected = np.zeros((2, 200))
    for at in range(200):
        chances = draws.random(400)
        there = draws.random(400) < chances
        found[at] = expected_calibration_error(chances, there)
        expected[at] = error_by_chance(chances, there)
    assert found.min() > 0
    assert expected.mean() == pytest.approx(found.mean(), rel=0.05)
    assert error_by_chance([], []) is None


@given(cases, st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_weighing_groups_is_repeating_their_cases(case: list[tuple[float, bool]], drawn: list[int]) -> None:
    chances, there = (np.array(column) for column in zip(*case, strict=True))
    group = np.arange(len(chances)) % 3
    grouped = GroupedCalibration.of(chances, there, group, 3)
    weights = np.array(drawn, float)[:, None]
    index = np.repeat(np.arange(len(chances)), np.array(drawn)[group])
    for ours, slow in (
        (grouped.brier(weights), brier),
        (grouped.expected_calibration_error(weights), expected_calibration_error),
    ):
        expected = slow(chances[index], there[index])
        assert ours.item() == pytest.approx(np.nan if expected is None else expected, abs=1e-12, nan_ok=True)
