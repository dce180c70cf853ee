"""Brier score and calibration error: known answers and the definitions read aloud."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_explain.errors import OptionError
from cxr_explain.evaluation.calibration import brier, expected_calibration_error

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
