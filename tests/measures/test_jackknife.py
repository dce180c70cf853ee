"""Statistics without each patient, against loops; the interval and the p of a difference, against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cxr_explain.measures.statistics.bootstrap import grouped_means
from cxr_explain.measures.statistics.jackknife import LeftOut, leave_out

PATIENTS = np.array([0, 0, 1, 2, 2, 2, 3])
VALUES = np.array([0.5, 0.25, 1.0, 0.0, 0.75, 0.125, 0.5])

numbers = st.lists(st.integers(0, 8).map(lambda k: k / 8), min_size=2, max_size=12)


def means(values: np.ndarray, patients: np.ndarray) -> LeftOut:
    groups = int(patients.max()) + 1
    return leave_out([grouped_means(values[:, None], patients, groups)], groups)[0]


def test_a_mean_without_each_patient_is_that_of_the_others() -> None:
    found = means(VALUES, PATIENTS)
    assert found.value[0] == pytest.approx(VALUES.mean())
    assert found.without[0].tolist() == pytest.approx([VALUES[k != PATIENTS].mean() for k in range(4)])


def test_many_patients_are_left_out_in_blocks_of_equal_size() -> None:
    draws = np.random.default_rng(0)
    values = draws.normal(size=1000)
    (found,) = leave_out([grouped_means(values[:, None], np.arange(1000), 1000)], 1000, most_blocks=40)
    assert found.without.shape == (1, 40)
    # Each case is in one block: 25 of them, so that sums over blocks are the sum over cases.
    assert (1000 * found.value[0] - 975 * found.without[0]).sum() == pytest.approx(values.sum())
    usual = values.std(ddof=1) / np.sqrt(1000)
    assert found.standard_error[0] == pytest.approx(usual, rel=0.35)  # three of its own standard errors


@given(numbers)
def test_the_interval_and_the_p_of_a_mean_are_students(values: list[float]) -> None:
    """Up to the degrees of freedom, which the test gives to SciPy."""
    found = means(np.array(values), np.arange(len(values)))
    low, high = found.interval(0.9)
    if np.ptp(values) == 0:
        assert np.isnan([low[0], high[0], found.p()[0]]).all()
        return
    freedom = slow_freedom(found)
    assert found.degrees_of_freedom[0] == pytest.approx(freedom)
    mean, error = np.mean(values), stats.sem(values)
    assert found.standard_error[0] == pytest.approx(error)
    assert (low[0], high[0]) == pytest.approx(stats.t.interval(0.9, freedom, mean, error))
    assert found.p(0.25)[0] == pytest.approx(2 * stats.t.sf(abs(mean - 0.25) / error, freedom))


def slow_freedom(found: LeftOut) -> float:
    """1.6 (sum d^2)^2 / sum d^4 blocks count, and no more than those that move the statistic."""
    without = found.without[0].tolist()
    mean = sum(without) / len(without)
    second = sum((each - mean) ** 2 for each in without)
    fourth = sum((each - mean) ** 4 for each in without)
    moving = sum(each != found.value[0] for each in without)
    return max(min(1.6 * second**2 / fourth, moving) - 1, 1)


def test_a_paired_difference_is_the_mean_of_differences() -> None:
    draws = np.random.default_rng(1)
    first = draws.normal(size=50)
    second = first + 0.1 + 0.05 * draws.normal(size=50)
    patients = np.arange(50)
    difference, together = means(first, patients) - means(second, patients), means(first - second, patients)
    assert difference.without == pytest.approx(together.without)
    assert difference.interval()[0] == pytest.approx(together.interval()[0])
    assert difference.p()[0] < 1e-6
    apart = means(first, patients).standard_error[0] + means(second, patients).standard_error[0]
    assert difference.standard_error[0] < 0.1 * apart


def test_few_patients_decide_few_degrees_of_freedom() -> None:
    values = np.zeros(100)
    values[:3] = 1.0
    assert means(values, np.arange(100)).degrees_of_freedom[0] == pytest.approx(4.0, abs=0.5)
    assert means(np.random.default_rng(0).normal(size=100), np.arange(100)).degrees_of_freedom[0] > 30


@pytest.mark.parametrize("without", [np.empty((1, 0)), np.full((1, 1), np.nan), np.ones((1, 3))])
def test_no_interval_and_no_p_where_nothing_is_known(without: np.ndarray) -> None:
    """No patient, one patient, and three without whom nothing changes."""
    found = LeftOut(np.ones(1), without)
    assert np.isnan([*found.interval(), found.p()]).all()


def test_the_p_of_no_difference_is_even() -> None:
    """2000 samples of 12 patients with one to four images that are alike."""
    draws = np.random.default_rng(2)
    images = draws.integers(1, 5, (2000, 12))
    sums = images * draws.normal(size=(2000, 12)) + np.sqrt(images) * draws.normal(size=(2000, 12))
    total = images.sum(axis=1, keepdims=True)
    found = LeftOut(
        sums.sum(axis=1) / total[:, 0], (sums.sum(axis=1, keepdims=True) - sums) / (total - images)
    )
    shares = [(found.p() < level).mean() for level in (0.05, 0.2, 0.5)]
    assert shares == pytest.approx([0.05, 0.2, 0.5], abs=0.035)
