"""Percentile intervals: as wide as theory says, the same each time, honest about what is missing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cxr_explain.errors import OptionError
from cxr_explain.measures.statistics.bootstrap import (
    Comparison,
    Estimate,
    MeanEstimate,
    Statistic,
    bootstrap,
    bootstrap_weighted,
    compare,
    mean_estimate,
    mean_estimates,
    multiplicities,
    numbered,
    summed,
    weighed_sums,
)


def test_the_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    data = np.random.default_rng(1).normal(size=400)
    found = bootstrap(lambda index: float(data[index].mean()), 400, resamples=2000)
    assert found.low is not None
    assert found.high is not None
    assert found.value == data.mean()
    assert found.high - found.low == pytest.approx(2 * 1.96 * data.std() / 20, rel=0.1)
    assert found == bootstrap(lambda index: float(data[index].mean()), 400, resamples=2000)


def test_it_is_scipys_percentile_interval() -> None:
    from scipy.stats import bootstrap as peer

    data = np.random.default_rng(2).exponential(size=80)
    ours = bootstrap(lambda index: float(np.median(data[index])), 80, resamples=4000)
    theirs = peer((data,), np.median, n_resamples=4000, method="percentile").confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=0.1)


def test_what_is_not_estimable_is_left_out() -> None:
    assert bootstrap(lambda index: None, 5) == Estimate(None)
    some = bootstrap(lambda index: float(index.sum()) if 0 in index else None, 3, resamples=200)
    assert some.low is not None
    assert 100 < some.resamples < 200
    first_alone = iter([1.0, None, None])
    assert bootstrap(lambda index: next(first_alone), 3, resamples=2) == Estimate(1.0)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(OptionError):
        bootstrap(lambda index: 0.0, 3, level=1)
    with pytest.raises(OptionError):
        bootstrap(lambda index: 0.0, 3, resamples=0)


PATIENTS = ["a", "a", "b", "c", "c", "c"]
VALUES = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])


def mean_of(values: np.ndarray) -> Statistic:
    return lambda index: float(values[index].mean())


def test_groups_are_drawn_whole() -> None:
    drawn: list[list[int]] = []

    def note(index: np.ndarray) -> float:
        drawn.append(sorted(index.tolist()))
        return 0.0

    bootstrap(note, 6, groups=PATIENTS, resamples=200)
    assert drawn.pop(0) == list(range(6))
    for index in drawn:
        counts = [index.count(case) for case in range(6)]
        assert counts[0] == counts[1]
        assert counts[3] == counts[4] == counts[5]
        assert counts[0] + counts[2] + counts[3] == 3  # as many groups as there are
    assert len({tuple(index) for index in drawn}) == 10  # all multisets of three out of three


def test_the_clustered_interval_is_the_one_over_all_draws() -> None:
    """Three patients give 27 draws; their quantiles are those of the means, listed one by one."""
    members = [[0, 1], [2], [3, 4, 5]]
    everything = []
    for i, j, k in np.ndindex(3, 3, 3):
        index = members[i] + members[j] + members[k]
        everything.append(sum(float(VALUES[case]) for case in index) / len(index))
    found = bootstrap(mean_of(VALUES), 6, groups=PATIENTS, resamples=4000, level=0.6)
    assert found.value == VALUES.mean()
    expected = np.quantile(everything, [0.2, 0.8], method="inverted_cdf")
    assert (found.low, found.high) == pytest.approx(tuple(expected))


def test_groups_of_one_are_no_groups_and_groups_widen_the_interval() -> None:
    data = np.repeat(np.random.default_rng(4).normal(size=50), 8)
    alone = bootstrap(mean_of(data), 400)
    assert alone == bootstrap(mean_of(data), 400, groups=range(400))
    together = bootstrap(mean_of(data), 400, groups=np.repeat(np.arange(50), 8).tolist())
    ratio = (together.high - together.low) / (alone.high - alone.low)  # type: ignore[operator]
    assert ratio == pytest.approx(math.sqrt(8), rel=0.15)  # eight copies are one


def test_the_mean_says_what_it_rests_on() -> None:
    found = mean_estimate([1.0, None, 3.0, None], groups=["a", "b", "a", "c"])
    assert (found.value, found.cases, found.groups, found.asked) == (2.0, 2, 1, 4)
    assert str(found) == "2.000 (no interval; 2 of 4 cases in 1 group)"  # every resample says 2
    assert str(mean_estimate([None] * 12)) == "not estimable (0 of 12 cases)"
    assert mean_estimate([]) == MeanEstimate(None)
    plain = mean_estimate(VALUES.tolist())
    expected = bootstrap(mean_of(VALUES), 6)
    assert (plain.value, plain.low, plain.high) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )
    assert plain.groups is None


def test_a_comparison_uses_the_same_resamples_for_both() -> None:
    draws = np.random.default_rng(5)
    first = draws.normal(size=300)
    second = first - 0.02 * draws.random(300)  # hardly less, but always
    found = compare(mean_of(first), mean_of(second), 300)
    assert found.value == pytest.approx((first - second).mean())
    assert found.below == 0
    assert found.p == pytest.approx(2 / 1001)
    assert found.low > 0  # type: ignore[operator]
    turned = compare(mean_of(second), mean_of(first), 300)
    assert (turned.below, turned.p) == (1.0, found.p)
    difference = bootstrap(mean_of(first - second), 300)
    assert (found.low, found.high) == pytest.approx((difference.low, difference.high))


def test_a_comparison_with_itself_finds_nothing() -> None:
    found = compare(mean_of(VALUES), mean_of(VALUES), 6, groups=PATIENTS)
    assert found == Comparison(0.0, resamples=1000, below=0.0, p=1.0)


def test_the_p_of_no_difference_is_even() -> None:
    draws = np.random.default_rng(6)
    found = []
    for _ in range(200):
        first, second = draws.normal(size=(2, 60))
        found.append(compare(mean_of(first), mean_of(second), 60, resamples=200).p)
    assert np.mean(np.array(found) < 0.2) == pytest.approx(0.2, abs=0.08)
    assert np.mean(np.array(found) < 0.5) == pytest.approx(0.5, abs=0.1)


def test_the_p_is_its_definition() -> None:
    differences = iter([3.0, -1.0, 0.0, 2.0, 5.0, 4.0, 6.0, 7.0, 8.0, 9.0, None])
    found = compare(lambda index: next(differences), lambda index: 0.0, 4, resamples=10)
    assert (found.value, found.resamples, found.below) == (3.0, 9, 1 / 9)
    assert found.p == pytest.approx(2 * (2 + 1) / (9 + 1))  # two of nine are at or below zero
    assert compare(lambda index: None, lambda index: 0.0, 4) == Comparison(None)
    once = iter([1.0, None])
    assert compare(lambda index: next(once), lambda index: 0.0, 4, resamples=1) == Comparison(1.0)


def test_groups_and_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(OptionError):
        bootstrap(lambda index: 0.0, 3, groups=["a", "b"])
    with pytest.raises(OptionError):
        compare(lambda index: 0.0, lambda index: 0.0, 3, level=0)
    with pytest.raises(OptionError):
        mean_estimate([1.0, math.nan])


@pytest.mark.parametrize("grouped", [False, True])
def test_many_means_at_once_are_each_the_mean_estimate(grouped: bool) -> None:
    draws = np.random.default_rng(5)
    values = draws.normal(size=(40, 6))
    values[draws.random(values.shape) < 0.3] = np.nan
    values[:, 4] = np.nan
    groups = [f"patient {number // 3}" for number in range(40)] if grouped else None
    for column, found in zip(values.T, mean_estimates(values, groups=groups, resamples=50), strict=True):
        cells = [None if math.isnan(value) else float(value) for value in column]
        slow = mean_estimate(cells, groups=groups, resamples=50)
        assert (found.cases, found.groups, found.asked) == (slow.cases, slow.groups, slow.asked)
        for ours, theirs in ((found.value, slow.value), (found.low, slow.low), (found.high, slow.high)):
            assert (ours is None) == (theirs is None)
            assert ours is None or ours == pytest.approx(theirs, abs=1e-12)


def test_many_means_refuse_what_mean_estimate_refuses() -> None:
    with pytest.raises(OptionError, match="infinite"):
        mean_estimates(np.array([[np.inf]]))
    with pytest.raises(OptionError, match="2 groups"):
        mean_estimates(np.ones((3, 1)), groups=["a", "b"])
    assert mean_estimates(np.ones((0, 2)), resamples=3) == [MeanEstimate(None)] * 2


@pytest.mark.parametrize("at_once", [1, 7, 16])
def test_multiplicities_are_the_draws_of_the_bootstrap(at_once: int) -> None:
    drawn: list[list[int]] = []

    def note(index: np.ndarray) -> float:
        drawn.append(np.bincount(index, minlength=9).tolist())
        return 0.0

    bootstrap(note, 9, resamples=20, seed=4)
    blocks = list(multiplicities(9, resamples=20, seed=4, at_once=at_once))
    assert np.hstack(blocks).T.tolist() == drawn[1:]  # the first is the whole sample
    assert max(block.shape[1] for block in blocks) == at_once


@pytest.mark.parametrize("grouped", [False, True])
def test_weighted_means_are_the_mean_estimates(grouped: bool) -> None:
    draws = np.random.default_rng(7)
    values = draws.normal(size=(60, 3))
    values[draws.random(values.shape) < 0.2] = np.nan
    groups = (draws.integers(0, 20, 60) if grouped else np.arange(60)).tolist()
    member = numbered(groups)

    def means(weights: np.ndarray) -> np.ndarray:
        there = ~np.isnan(values)
        return (np.where(there, values, 0).T @ weights[member]) / (there.T.astype(float) @ weights[member])

    (found,) = bootstrap_weighted([means], len(set(groups)), resamples=90, seed=3)
    for ours, theirs in zip(found, mean_estimates(values, groups=groups, resamples=90, seed=3), strict=True):
        assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.value, theirs.low, theirs.high))
        assert ours.resamples == 90


def test_all_statistics_share_the_draws() -> None:
    seen: list[list[np.ndarray]] = [[], []]
    statistics = [lambda weights, at=at: (seen[at].append(weights), weights[:1])[1] for at in (0, 1)]
    first, second = bootstrap_weighted(statistics, 5, resamples=40)
    assert first == second
    assert all(np.array_equal(one, other) for one, other in zip(*seen, strict=True))


@pytest.mark.parametrize(("estimable", "told"), [(50, True), (49, False), (0, False)])
def test_an_interval_needs_half_of_the_resamples(estimable: int, told: bool) -> None:
    numbers = iter(
        [np.array([[0.5]])] + [np.array([[float(n) if n < estimable else np.nan]]) for n in range(100)]
    )

    def next_block(weights: np.ndarray) -> np.ndarray:
        return np.hstack([next(numbers) for _ in range(weights.shape[1])])

    ((found,),) = bootstrap_weighted([next_block], 3, resamples=100)
    assert (found.value, found.resamples) == (0.5, estimable)
    assert (found.low is not None) == (found.high is not None) == told


def test_one_rule_withholds_every_interval_that_has_no_width() -> None:
    """Five hits of five would claim certainty, and so would five times a tenth, which sums round apart."""
    for value in (1.0, 0.1, -0.3):
        values = np.full(5, value)
        for found in (
            bootstrap(mean_of(values), 5, resamples=50),
            mean_estimate(values.tolist(), resamples=50),
            *mean_estimates(values[:, None], resamples=50),
            compare(mean_of(values), mean_of(3 * values), 5, resamples=50),
        ):
            assert found.value is not None
            assert (found.low, found.high, found.resamples) == (None, None, 50)


def test_one_rule_withholds_every_interval_of_the_lucky_resamples() -> None:
    """What needs the first case and the second is estimable in 42 % of the resamples of five."""

    def needs_both(index: np.ndarray) -> float | None:
        first, second = (index == 0).mean(), (index == 1).mean()
        return float(first - second) if first * second > 0 else None

    for found in (bootstrap(needs_both, 5), compare(needs_both, lambda index: 0.0, 5)):
        assert found.resamples == pytest.approx(420, abs=50)
        assert (found.value, found.low, found.high) == (0.0, None, None)


def test_an_interval_without_width_is_withheld() -> None:
    ((found,),) = bootstrap_weighted([lambda weights: np.ones((1, weights.shape[1]))], 3, resamples=10)
    assert found == Estimate(1.0, None, None, resamples=10)
    ((missing,),) = bootstrap_weighted([lambda weights: np.full((1, weights.shape[1]), np.nan)], 3)
    assert missing == Estimate(None)
    with pytest.raises(OptionError):
        bootstrap_weighted([], 3, level=1.5)


def test_sums_by_row_and_group_are_their_definition() -> None:
    draws = np.random.default_rng(8)
    row, group, values = draws.integers(0, 4, 30), draws.integers(0, 6, 30), draws.normal(size=30)
    weights = draws.integers(0, 3, (6, 5)).astype(float)
    expected = np.zeros((4, 5))
    for r, g, v in zip(row, group, values, strict=True):
        expected[r] += v * weights[g]
    assert weighed_sums(summed(row, group, (4, 6), values), weights) == pytest.approx(expected)


@pytest.mark.parametrize("images", [1, 9])
def test_one_patient_has_no_interval(images: int) -> None:
    """However many images: every resample draws the same patient, and says 1.00 (1.00 to 1.00)."""
    hits, patients = np.arange(images) % 2 == 0, np.zeros(images, int)
    found = mean_estimate(hits.astype(float), groups=patients)
    assert (found.value, found.low, found.high) == (hits.mean(), None, None)
    drawn = bootstrap(lambda index: float(hits[index].mean()), images, groups=patients)
    assert (drawn.value, drawn.low, drawn.high) == (hits.mean(), None, None)
