"""Intervals of any statistic of a sample, and comparisons of two, by resampling cases or whole groups.

Images of one patient belong together: resampled one by one, they pretend to be more than they are. With
`groups`, whole groups are drawn with replacement, as many as there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from cxr_explain.errors import OptionError

Statistic = Callable[[NDArray[np.intp]], float | None]
"""From indices into the sample, repeated or not, to a number; None where it is not estimable."""

Groups = Sequence[object]
"""For each case the name of its group, for example its patient."""

Weights = NDArray[np.floating[Any]]
"""How often each group was drawn, (groups, b) for b resamples: whole numbers. float32 holds them exactly up
to 16.7 million, and is fetched in half of the time."""

WeightedStatistics = Callable[[Weights], NDArray[np.float64]]
"""From how often each group was drawn, (groups, b) for b resamples, to the measures, (measures, b); NaN where
one is not estimable."""

LEAST_ESTIMABLE = 0.5
"""Share of the resamples in which a measure must be estimable to have an interval."""

_AT_ONCE = 16  # resamples: enough to be fast, few enough that a hundred thousand groups stay in the cache


@dataclass(frozen=True)
class Estimate:
    """A statistic and its interval.

    Args:
        value: of the whole sample; None where it is not estimable.
        low: lower end of the interval; None without one.
        high: upper end, likewise.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class MeanEstimate(Estimate):
    """The mean over cases, its interval, and how much it rests on.

    Args:
        value: None where no case has a number.
        low: lower end of the interval; None without one.
        high: upper end, likewise.
        cases: with a number.
        groups: that these cases belong to; None where cases were resampled one by one.
        asked: cases with or without a number.

    >>> print(MeanEstimate(0.5, 0.4, 0.6, cases=9, groups=7, asked=12))
    0.500 (0.400 to 0.600; 9 of 12 cases in 7 groups)
    >>> print(MeanEstimate(None, asked=12))
    not estimable (0 of 12 cases)
    """

    cases: int = 0
    groups: int | None = None
    asked: int = 0

    def __str__(self) -> str:
        count = f"{self.cases} of {self.asked} cases"
        if self.value is None:
            return f"not estimable ({count})"
        together = "" if self.groups is None else f" in {self.groups} group{'' if self.groups == 1 else 's'}"
        interval = "no interval" if self.low is None else f"{self.low:.3f} to {self.high:.3f}"
        return f"{self.value:.3f} ({interval}; {count}{together})"


@dataclass(frozen=True)
class Comparison(Estimate):
    """A difference of two statistics of the same cases.

    Args:
        value: the first less the second, of the whole sample; None where one of them is not estimable.
        low: lower end of the interval of the difference; None without one.
        high: upper end, likewise.
        below: share of the resamples with a difference below zero; None without a resample.
        p: two-sided; None without a resample. Never 0: it cannot be below 2 / (resamples + 1).
        resamples: in which both statistics were estimable.
    """

    below: float | None = None
    p: float | None = None
    resamples: int = 0


@dataclass(frozen=True)
class ResampledEstimate(Estimate):
    """A measure of the whole sample, its interval, and the resamples that the interval rests on.

    Args:
        value: None where it is not estimable.
        low: lower end of the interval; None without one.
        high: upper end, likewise.
        resamples: in which the measure was estimable.
    """

    resamples: int = 0


def bootstrap(
    statistic: Statistic,
    n: int,
    *,
    groups: Groups | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """A statistic with its percentile interval.

    Args:
        statistic: takes indices below n: n of them, or those of all cases of the groups drawn.
        n: size of the sample.
        groups: (n,), what belongs together, such as the patient of each image; each case by itself without.
        resamples: how many; those in which the statistic is not estimable are left out.
        level: of the interval.
        seed: of the draws.

    Raises:
        OptionError: a level outside of (0, 1), no resample, or groups of another number.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3; for groups, Davison and
        Hinkley, Bootstrap Methods and their Application (1997), section 3.8, the first of the two strategies.

    >>> data = np.arange(101.0)
    >>> bootstrap(lambda index: float(data[index].mean()), 101)
    Estimate(value=50.0, low=44..., high=55...)
    """
    _check(level, resamples)
    draws = _resampled(n, groups, resamples, seed)
    value = statistic(np.arange(n))
    if value is None:
        return Estimate(None)
    found = [statistic(index) for index in draws]
    return Estimate(value, *_interval([number for number in found if number is not None], level))


def mean_estimate(
    values: Sequence[float | None],
    *,
    groups: Groups | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> MeanEstimate:
    """The mean of what could be measured, with its interval.

    Args:
        values: one for each case; None, "not estimable", is left out of the mean, and of its resamples.
        groups: see :func:`bootstrap`; all cases are resampled, with or without a number.
        resamples: how many.
        level: of the interval.
        seed: of the draws.

    Raises:
        OptionError: see :func:`bootstrap`; or values that are not finite.

    >>> print(mean_estimate([1.0, None, 0.0, 1.0], groups=["a", "a", "b", "b"]))
    0.667 (0.500 to 1.000; 3 of 4 cases in 2 groups)
    """
    numbers = np.array([np.nan if value is None else value for value in values], np.float64)
    estimable = np.array([value is not None for value in values], bool)
    if not np.isfinite(numbers[estimable]).all():
        raise OptionError("values that are NaN or infinite", expected="finite values, or None")

    def mean(index: NDArray[np.intp]) -> float | None:
        chosen = index[estimable[index]]
        return float(numbers[chosen].mean()) if len(chosen) else None

    found = bootstrap(mean, len(numbers), groups=groups, resamples=resamples, level=level, seed=seed)
    return MeanEstimate(
        found.value,
        found.low,
        found.high,
        cases=int(estimable.sum()),
        groups=None
        if groups is None
        else len({group for group, there in zip(groups, estimable, strict=True) if there}),
        asked=len(numbers),
    )


def mean_estimates(
    values: NDArray[np.float64],
    *,
    groups: Groups | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[MeanEstimate]:
    """The means of many measures of the same cases, each as :func:`mean_estimate` gives it, at one go.

    Differences of two columns are paired comparisons.

    Args:
        values: (n, M), a row for each case; NaN, "not estimable", is left out of its column's mean.
        groups: see :func:`bootstrap`.
        resamples: how many, the same ones for all columns.
        level: of the intervals.
        seed: of the draws.

    Returns:
        M estimates.

    Raises:
        OptionError: see :func:`bootstrap`; or infinite values.

    >>> [str(each) for each in mean_estimates(np.array([[1.0, 0.0], [1.0, np.nan]]))]
    ['1.000 (1.000 to 1.000; 2 of 2 cases)', '0.000 (0.000 to 0.000; 1 of 2 cases)']
    """
    _check(level, resamples)
    n, there = len(values), ~np.isnan(values)
    if np.isinf(values).any():
        raise OptionError("infinite values", expected="finite values, or NaN")
    if groups is not None and len(groups) != n:
        raise OptionError(f"{len(groups)} groups", expected=f"{n}, one for each case")
    member = numbered(range(n) if groups is None else groups)
    sums, counts = (
        _by_group(each, member) for each in (np.where(there, values, 0.0), there.astype(np.float64))
    )
    means = ratio(sums.sum(axis=0), counts.sum(axis=0))
    drawn = np.stack([np.bincount(d, minlength=len(sums)) for d in _drawn(len(sums), resamples, seed)])
    draws = ratio(drawn @ sums, drawn @ counts)
    intervals = [_interval(column[~np.isnan(column)].tolist(), level) for column in draws.T]
    return [
        MeanEstimate(
            None if np.isnan(mean) else float(mean),
            low,
            high,
            cases=int(there[:, at].sum()),
            groups=None if groups is None else len(np.unique(member[there[:, at]])),
            asked=n,
        )
        for at, (mean, (low, high)) in enumerate(zip(means, intervals, strict=True))
    ]


def compare(
    first: Statistic,
    second: Statistic,
    n: int,
    *,
    groups: Groups | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Two statistics of the same cases, on the same resamples: the first less the second.

    Args:
        first: see :func:`bootstrap`.
        second: likewise.
        n: size of the sample.
        groups: see :func:`bootstrap`.
        resamples: how many; those in which one of both is not estimable are left out.
        level: of the interval of the difference.
        seed: of the draws.

    Returns:
        The difference and its interval; p is twice the smaller of the shares of resamples at or below zero
        and at or above zero, each with one added to its count and to their number, and at most 1.

    Raises:
        OptionError: see :func:`bootstrap`.

    Source:
        Efron and Tibshirani (1993), section 15.4: the achieved significance level from the percentile
        interval; Davison and Hinkley (1997), section 4.2, for the one that is added.

    >>> scores = np.array([0.9, 0.8, 0.7, 0.9])
    >>> compare(lambda i: float(scores[i].mean()), lambda i: float(scores[i].mean() - 0.1), 4).p
    0.001998001998001998
    """
    _check(level, resamples)

    def difference(index: NDArray[np.intp]) -> float | None:
        one, other = first(index), second(index)
        return None if one is None or other is None else one - other

    draws = _resampled(n, groups, resamples, seed)
    value = difference(np.arange(n))
    if value is None:
        return Comparison(None)
    found = [number for number in map(difference, draws) if number is not None]
    if not found:
        return Comparison(value)
    numbers = np.array(found)
    low, high = _interval(found, level)
    fewer = min(int((numbers <= 0).sum()), int((numbers >= 0).sum()))
    return Comparison(
        value,
        low,
        high,
        below=float((numbers < 0).mean()),
        p=min(1.0, 2 * (fewer + 1) / (len(found) + 1)),
        resamples=len(found),
    )


def multiplicities(
    n: int, *, resamples: int = 1000, seed: int = 0, at_once: int = _AT_ONCE
) -> Iterator[Weights]:
    """How often each of n groups is drawn in each resample; the draws are those of :func:`bootstrap`.

    A statistic that is a function of sums over groups needs no indices, and many statistics can share the
    draws, which makes them paired.

    Args:
        n: number of groups, or of cases that are resampled one by one.
        resamples: how many.
        seed: of the draws.
        at_once: resamples in a block.

    Yields:
        (n, b) float32, whole numbers that sum to n in each of the b columns; b is `at_once`, or what is left.

    >>> [block.sum(axis=0).tolist() for block in multiplicities(5, resamples=3, at_once=2)]
    [[5.0, 5.0], [5.0]]
    """
    draws = _drawn(n, resamples, seed)
    while block := list(itertools.islice(draws, at_once)):
        counts = np.empty((n, len(block)), np.float32)
        for column, drawn in enumerate(block):
            counts[:, column] = np.bincount(drawn, minlength=n)
        yield counts


def bootstrap_weighted(
    statistics: Sequence[WeightedStatistics],
    groups: int,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[list[ResampledEstimate]]:
    """Many statistics with their percentile intervals, all on the same resamples of groups.

    An interval is withheld where it would say more than is known: where fewer than half of the resamples have
    a number (`LEAST_ESTIMABLE`), so that it would describe the lucky ones; and where it has no width, as for
    five hits of five, since that would claim certainty.

    Args:
        statistics: of the multiplicities of the groups; see :data:`WeightedStatistics`.
        groups: how many there are.
        resamples: how many; those in which a measure is not estimable are left out of its interval.
        level: of the intervals.
        seed: of the draws.

    Returns:
        For each statistic its measures, in their order.

    Raises:
        OptionError: a level outside of (0, 1), or no resample.

    Source:
        See :func:`bootstrap`: the same draws, value and interval.

    >>> values = np.array([1.0, 2.0, 3.0, 6.0])
    >>> mean = lambda counts: (values @ counts / counts.sum(axis=0))[None]
    >>> bootstrap_weighted([mean], 4, resamples=200)
    [[ResampledEstimate(value=3.0, low=1.5, high=4.75, resamples=200)]]
    """
    _check(level, resamples)
    values = [statistic(np.ones((groups, 1)))[:, 0] for statistic in statistics]
    found: list[list[NDArray[np.float64]]] = [[] for _ in statistics]
    for counts in multiplicities(groups, resamples=resamples, seed=seed):
        for statistic, blocks in zip(statistics, found, strict=True):
            blocks.append(statistic(counts))
    return [
        [_resampled_estimate(*each, level) for each in zip(value, np.hstack(blocks), strict=True)]
        for value, blocks in zip(values, found, strict=True)
    ]


def summed(
    row: NDArray[np.intp],
    group: NDArray[np.intp],
    shape: tuple[int, int],
    values: NDArray[np.float64] | None = None,
) -> Any:
    """Values of cases, summed by row and group.

    Args:
        row: (n,) from 0.
        group: (n,) from 0.
        shape: rows and groups.
        values: (n,); 1 each by default.

    Returns:
        A sparse array of that shape, float32 where it counts, for :func:`weighed_sums`.

    >>> summed(np.array([0, 0, 1]), np.array([0, 0, 1]), (2, 2)).toarray().tolist()
    [[2.0, 0.0], [0.0, 1.0]]
    """
    numbers = np.ones(len(row), np.float32) if values is None else values
    return csr_array((numbers, (row, group)), shape=shape)


def weighed_sums(sums: Any, weights: Weights) -> NDArray[np.float64]:
    """The sums of :func:`summed`, each group as often as it weighs; (rows, groups), (groups, b) -> (rows, b).

    >>> weighed_sums(summed(np.array([0, 0]), np.array([0, 1]), (1, 2)), np.array([[2.0, 0.0], [1.0, 1.0]]))
    array([[3., 1.]])
    """
    return np.asarray(sums @ weights, np.float64)


def ratio(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums by their counts; NaN, "not estimable", where nothing was counted.

    >>> ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0])).tolist()
    [0.5, nan]
    """
    return np.where(counts > 0, sums / np.where(counts > 0, counts, 1), np.nan)


def numbered(groups: Iterable[object]) -> NDArray[np.intp]:
    """(n,): the number of each case's group, by first appearance.

    >>> numbered(["b", "a", "b"]).tolist()
    [0, 1, 0]
    """
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], np.intp)


def _resampled_estimate(value: float, draws: NDArray[np.float64], level: float) -> ResampledEstimate:
    if np.isnan(value):
        return ResampledEstimate(None)
    numbers = draws[~np.isnan(draws)]
    low, high = _interval(numbers.tolist(), level)
    told = low is not None and low != high and len(numbers) >= LEAST_ESTIMABLE * len(draws)
    ends = (low, high) if told else (None, None)
    return ResampledEstimate(float(value), *ends, resamples=len(numbers))


def _check(level: float, resamples: int) -> None:
    if not 0 < level < 1 or resamples < 1:
        raise OptionError(f"level {level} of {resamples} resamples", expected="a level in (0, 1), 1 or more")


def _resampled(n: int, groups: Groups | None, resamples: int, seed: int) -> Iterator[NDArray[np.intp]]:
    """The indices of each resample; checked at once, drawn one by one."""
    if groups is None:
        return (index for index in _drawn(n, resamples, seed))
    if len(groups) != n:
        raise OptionError(f"{len(groups)} groups", expected=f"{n}, one for each case")
    members: dict[object, list[int]] = {}
    for case, group in enumerate(groups):
        members.setdefault(group, []).append(case)
    together = [np.array(cases, np.intp) for cases in members.values()]
    drawn = _drawn(len(together), resamples, seed)
    return (np.concatenate([together[at] for at in chosen]) for chosen in drawn)


def _by_group(values: NDArray[np.float64], member: NDArray[np.intp]) -> NDArray[np.float64]:
    """(n, M) -> (groups, M), summed."""
    sums = np.zeros((member.max(initial=-1) + 1, values.shape[1]))
    np.add.at(sums, member, values)
    return sums


def _drawn(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.intp]]:
    draws = np.random.default_rng(seed)
    return (draws.integers(n, size=n) for _ in range(resamples))


def _interval(numbers: Sequence[float], level: float) -> tuple[float, float] | tuple[None, None]:
    if not numbers:
        return None, None
    low, high = np.quantile(numbers, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
