"""Intervals of any statistic of a sample, and comparisons of two, by resampling cases or whole groups.

Images of one patient belong together: resampled one by one, they pretend to be more than they are. With
`groups`, whole groups are drawn with replacement, as many as there are.

Whether an estimate has an interval is decided for all of them by :func:`percentile_interval`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from cxr_explain.errors import OptionError
from cxr_explain.measures.statistics.basis import Basis

Statistic = Callable[[NDArray[np.intp]], float | None]
"""From indices into the sample, repeated or not, to a number; None where it is not estimable."""

Groups = Sequence[object]
"""For each case the name of its group, for example its patient."""

Multiplicities = NDArray[np.floating[Any]]
"""How often each group was drawn, (groups, b) for b resamples: whole numbers. float32 holds them exactly up
to 16.7 million, and is fetched in half of the time."""

WeightedStatistics = Callable[[Multiplicities], NDArray[np.float64]]
"""From how often each group was drawn, (groups, b) for b resamples, to the measures, (measures, b); NaN where
one is not estimable."""

LEAST_ESTIMABLE = 0.5
"""Share of the resamples in which a measure must be estimable to have an interval."""

_NO_INTERVAL = {"low": None, "high": None}
_ROUNDING = 1e-12  # of the largest number: means of equal numbers differ by less
_AT_ONCE = 16  # resamples: enough to be fast, few enough that a hundred thousand groups stay in the cache


@dataclass(frozen=True)
class Estimate:
    """A statistic of a sample and its interval.

    Args:
        value: statistic of the whole sample; None where it is not estimable.
        low: lower end of the interval; None where it is withheld.
        high: upper end of the interval; None where it is withheld.
        resamples: number of resamples in which the statistic was estimable; 0 where the value is None.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    resamples: int = 0

    @classmethod
    def of(cls, value: float | None, draws: NDArray[np.float64], level: float, **more: Any) -> Self:
        """An estimate from its resamples.

        Args:
            value: statistic of the whole sample; None or NaN where it is not estimable.
            draws: (b,), the statistic of each resample; NaN where it is not estimable.
            level: share of the resamples that the interval holds.
            more: other fields of the class.
        """
        if value is None or np.isnan(value):
            return cls(None, **more)
        low, high = percentile_interval(draws, level)
        return cls(float(value), low, high, int((~np.isnan(draws)).sum()), **more)


@dataclass(frozen=True)
class MeanEstimate(Estimate):
    """The mean over cases, its interval, and how much it rests on.

    Args:
        value: None where no case has a number.
        low: lower end of the interval; None where it is withheld.
        high: upper end of the interval; None where it is withheld.
        resamples: number of resamples in which a case had a number.
        cases: number of cases with a number.
        groups: number of groups that these cases belong to; None where cases were resampled one by one.
        asked: number of cases with or without a number.

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
        low: lower end of the interval of the difference; None where it is withheld.
        high: upper end of the interval of the difference; None where it is withheld.
        resamples: number of resamples in which both statistics were estimable.
        below: share of these resamples with a difference below zero; None without a resample.
        p: two-sided; None without a resample. Never 0: it cannot be below 2 / (resamples + 1).
    """

    below: float | None = None
    p: float | None = None


def percentile_interval(
    draws: NDArray[np.float64], level: float = 0.95
) -> tuple[float, float] | tuple[None, None]:
    """The interval between two percentiles of the resamples, where it says no more than is known.

    It is withheld where fewer than half of the resamples have a number (`LEAST_ESTIMABLE`), since it would
    describe the lucky ones; and where it has no width, as for five hits of five, since it would claim
    certainty.

    Args:
        draws: (b,), the statistic of each resample; NaN where it is not estimable.
        level: share of the resamples that the interval holds.

    Returns:
        Its ends; None twice where it is withheld.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.

    >>> percentile_interval(np.arange(101.0), 0.5)
    (25.0, 75.0)
    >>> percentile_interval(np.array([1.0, 1.0, 1.0])), percentile_interval(np.array([1.0, np.nan, np.nan]))
    ((None, None), (None, None))
    """
    numbers = draws[~np.isnan(draws)]
    if not len(numbers) or len(numbers) < LEAST_ESTIMABLE * len(draws):
        return None, None
    low, high = np.quantile(numbers, [(1 - level) / 2, (1 + level) / 2])
    if high - low <= _ROUNDING * np.abs(numbers).max():
        return None, None
    return float(low), float(high)


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
        n: number of cases in the sample.
        groups: (n,), what belongs together, such as the patient of each image; each case by itself without.
        resamples: number of resamples; those in which the statistic is not estimable are left out.
        level: share of the resamples that the interval holds.
        seed: seed of the bootstrap's random draws.

    Raises:
        OptionError: a level outside of (0, 1), no resample, or groups of another number.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3; for groups, Davison and
        Hinkley, Bootstrap Methods and their Application (1997), section 3.8, the first of the two strategies.

    >>> data = np.arange(101.0)
    >>> bootstrap(lambda index: float(data[index].mean()), 101)
    Estimate(value=50.0, low=44..., high=55..., resamples=1000)
    """
    _check(level, resamples)
    value, draws = _replicated(statistic, n, groups, resamples, seed)
    return Estimate.of(value, draws, level)


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
        values: one for each case; None, "not estimable", is left out of the mean, and of every resample.
        groups: (n,), what belongs together; all cases are resampled, with or without a number.
        resamples: number of resamples.
        level: share of the resamples that the interval holds.
        seed: seed of the bootstrap's random draws.

    Raises:
        OptionError: values that are NaN or infinite, a level outside of (0, 1), no resample, or groups of
            another number.

    >>> print(mean_estimate([1.0, None, 0.0, 1.0], groups=["a", "a", "b", "b"]))
    0.667 (no interval; 3 of 4 cases in 2 groups)
    """
    numbers = np.array([value for value in values if value is not None], np.float64)
    if not np.isfinite(numbers).all():
        raise OptionError("values that are NaN or infinite", expected="finite values, or None")
    column = np.array([[np.nan if value is None else value] for value in values], np.float64)
    (found,) = mean_estimates(
        column.reshape(-1, 1), groups=groups, resamples=resamples, level=level, seed=seed
    )
    return found


def mean_estimates(
    values: NDArray[np.float64],
    *,
    groups: Groups | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[MeanEstimate]:
    """The means of many measures of the same cases, each as :func:`mean_estimate` gives it, at one go.

    Differences of two columns are paired comparisons. An interval takes as many groups as in an audit, see
    :mod:`~cxr_explain.measures.statistics.basis`.

    Args:
        values: (n, M), a row for each case; NaN, "not estimable", is left out of the column's mean.
        groups: (n,), what belongs together; all cases are resampled, with or without a number.
        resamples: number of resamples, the same ones for all columns.
        level: share of the resamples that an interval holds.
        seed: seed of the bootstrap's random draws.

    Returns:
        M estimates.

    Raises:
        OptionError: infinite values, a level outside of (0, 1), no resample, or groups of another number.

    >>> [str(each) for each in mean_estimates(np.array([[1.0, 0.0], [3.0, np.nan]]))]
    ['2.000 (1.000 to 3.000; 2 of 2 cases)', '0.000 (no interval; 1 of 2 cases)']
    """
    n, there = len(values), ~np.isnan(values)
    if np.isinf(values).any():
        raise OptionError("infinite values", expected="finite values, or NaN")
    _check_groups(groups, n)
    member = numbered(range(n) if groups is None else groups)
    number = int(member.max(initial=-1)) + 1
    means = grouped_means(values, member, number)
    (found,) = bootstrap_weighted([means], number, resamples=resamples, level=level, seed=seed)
    return [
        MeanEstimate(
            **vars(each) | (_NO_INTERVAL if groups is not None and basis.lacks else {}),
            cases=int(column.sum()),
            groups=None if groups is None else basis.patients,
            asked=n,
        )
        for each, basis, column in zip(found, means.bases, there.T, strict=True)
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
        first: takes indices below n: n of them, or those of all cases of the groups drawn.
        second: takes the same indices as `first`.
        n: number of cases in the sample.
        groups: (n,), what belongs together, such as the patient of each image; each case by itself without.
        resamples: number of resamples; those in which one of both is not estimable are left out.
        level: share of the resamples that the interval of the difference holds.
        seed: seed of the bootstrap's random draws.

    Returns:
        The difference and its interval; p is twice the smaller of the shares of resamples at or below zero
        and at or above zero, each with one added to its count and to their number, and at most 1.

    Raises:
        OptionError: a level outside of (0, 1), no resample, or groups of another number.

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

    value, draws = _replicated(difference, n, groups, resamples, seed)
    numbers = draws[~np.isnan(draws)]
    if not len(numbers):
        return Comparison(value)
    fewer = min(int((numbers <= 0).sum()), int((numbers >= 0).sum()))
    return Comparison.of(
        value,
        draws,
        level,
        below=float((numbers < 0).mean()),
        p=min(1.0, 2 * (fewer + 1) / (len(numbers) + 1)),
    )


def multiplicities(
    n: int, *, resamples: int = 1000, seed: int = 0, at_once: int = _AT_ONCE
) -> Iterator[Multiplicities]:
    """How often each of n groups is drawn in each resample; the draws are those of :func:`bootstrap`.

    A statistic that is a function of sums over groups needs no indices, and many statistics can share the
    draws, which makes them paired.

    Args:
        n: number of groups, or of cases that are resampled one by one.
        resamples: number of resamples.
        seed: seed of the bootstrap's random draws.
        at_once: number of resamples in a block.

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
) -> list[list[Estimate]]:
    """Many statistics with their percentile intervals, all on the same resamples of groups.

    The draws, the values and the intervals are those of :func:`bootstrap`.

    Args:
        statistics: functions of how often each group was drawn; see `WeightedStatistics`.
        groups: number of groups.
        resamples: number of resamples; those in which a measure is not estimable are left out of
            that measure's interval.
        level: share of the resamples that an interval holds.
        seed: seed of the bootstrap's random draws.

    Returns:
        For each statistic its measures, in their order.

    Raises:
        OptionError: a level outside of (0, 1), or no resample.

    >>> values = np.array([1.0, 2.0, 3.0, 6.0])
    >>> mean = lambda counts: (values @ counts / counts.sum(axis=0))[None]
    >>> bootstrap_weighted([mean], 4, resamples=200)
    [[Estimate(value=3.0, low=1.5, high=4.75, resamples=200)]]
    """
    _check(level, resamples)
    values = [statistic(np.ones((groups, 1)))[:, 0] for statistic in statistics]
    found: list[list[NDArray[np.float64]]] = [[] for _ in statistics]
    for counts in multiplicities(groups, resamples=resamples, seed=seed):
        for statistic, blocks in zip(statistics, found, strict=True):
            blocks.append(statistic(counts))
    return [
        [Estimate.of(*each, level) for each in zip(value, np.hstack(blocks), strict=True)]
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
        row: (n,), the row of each case, from 0.
        group: (n,), the group of each case, from 0.
        shape: numbers of rows and of groups.
        values: (n,); 1 for each case by default.

    Returns:
        A sparse array (rows, groups), float32 where cases are counted, for :func:`weighed_sums`.

    >>> summed(np.array([0, 0, 1]), np.array([0, 0, 1]), (2, 2)).toarray().tolist()
    [[2.0, 0.0], [0.0, 1.0]]
    """
    numbers = np.ones(len(row), np.float32) if values is None else values
    return csr_array((numbers, (row, group)), shape=shape)


def weighed_sums(sums: Any, drawn: Multiplicities) -> NDArray[np.float64]:
    """The sums of :func:`summed`, each group as often as drawn; (rows, groups), (groups, b) -> (rows, b).

    >>> weighed_sums(summed(np.array([0, 0]), np.array([0, 1]), (1, 2)), np.array([[2.0, 0.0], [1.0, 1.0]]))
    array([[3., 1.]])
    """
    return np.asarray(sums @ drawn, np.float64)


def ratio(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums by their counts; NaN, "not estimable", where nothing was counted.

    >>> ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0])).tolist()
    [0.5, nan]
    """
    return np.where(counts > 0, sums / np.where(counts > 0, counts, 1), np.nan)


@dataclass(frozen=True, eq=False)
class GroupedMeans:
    """Means over cases as a function of how often each group counts, (groups, b) -> (M, b).

    Args:
        sums: (M, groups), sums over the cases of each group that have a number.
        counts: (M, groups), how many these are.
        bases: M, what each mean rests on.
    """

    sums: Any
    counts: Any
    bases: tuple[Basis, ...]

    def __call__(self, drawn: Multiplicities) -> NDArray[np.float64]:
        """The means, each group as often as drawn."""
        return ratio(weighed_sums(self.sums, drawn), weighed_sums(self.counts, drawn))


def grouped_means(
    values: NDArray[np.float64], member: NDArray[np.intp], groups: int, *, patient: str = "patient"
) -> GroupedMeans:
    """Means over cases as a function of how often each group counts.

    Args:
        values: (n, M), a row for each case; NaN, "not estimable", is left out of the column's mean.
        member: (n,), the group of each case, from 0.
        groups: number of groups.
        patient: what a group is called where there are too few for an interval.

    Returns:
        A function from (groups, b) to (M, b).

    >>> mean = grouped_means(np.array([[1.0], [np.nan], [3.0]]), np.array([0, 0, 1]), 2)
    >>> mean(np.array([[1.0, 2.0], [1.0, 0.0]])).tolist()
    [[2.0, 1.0]]
    """
    there = ~np.isnan(values)
    case, column = np.nonzero(there)
    shape = values.shape[1], groups
    bases = (
        Basis.of(
            np.bincount(member[known], minlength=groups),
            patient,
            of_hits=bool(np.isin(numbers[known], (0, 1)).all()),
            bounded=bool(((numbers[known] >= 0) & (numbers[known] <= 1)).all()),
        )
        for numbers, known in zip(values.T, there.T, strict=True)
    )
    return GroupedMeans(
        summed(column, member[case], shape, values[there]), summed(column, member[case], shape), tuple(bases)
    )


def numbered(groups: Iterable[object]) -> NDArray[np.intp]:
    """(n,): the number of each case's group, by first appearance.

    >>> numbered(["b", "a", "b"]).tolist()
    [0, 1, 0]
    """
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], np.intp)


def _check(level: float, resamples: int) -> None:
    if not 0 < level < 1 or resamples < 1:
        raise OptionError(f"level {level} of {resamples} resamples", expected="a level in (0, 1), 1 or more")


def _check_groups(groups: Groups | None, n: int) -> None:
    if groups is not None and len(groups) != n:
        raise OptionError(f"{len(groups)} groups", expected=f"{n}, one for each case")


def _replicated(
    statistic: Statistic, n: int, groups: Groups | None, resamples: int, seed: int
) -> tuple[float | None, NDArray[np.float64]]:
    """The statistic of the whole sample, and of each resample, NaN where it is not estimable."""
    _check_groups(groups, n)
    value = statistic(np.arange(n))
    if value is None:
        return None, np.empty(0)
    member = numbered(range(n) if groups is None else groups)
    counts = np.bincount(member)
    together = np.split(np.argsort(member, kind="stable"), np.cumsum(counts)[:-1])
    found = (
        statistic(chosen if groups is None else np.concatenate([together[at] for at in chosen]))
        for chosen in _drawn(len(counts), resamples, seed)
    )
    return value, np.array([np.nan if number is None else number for number in found], np.float64)


def _drawn(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.intp]]:
    draws = np.random.default_rng(seed)
    return (draws.integers(n, size=n) for _ in range(resamples))
