"""Intervals of statistics from 0 to 1, by patient; none where none holds.

All are Wilson's, for as many independent cases as would have the statistic's jackknifed standard error, with
Student's t in place of the normal distribution where that error rests on few patients. The ends stay between
0 and 1, and a statistic of 0 or 1 has an interval, too. `benchmarks.interval_coverage` says how often they
hold the truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

from cxr_explain.errors import OptionError
from cxr_explain.measures.statistics.basis import Basis
from cxr_explain.measures.statistics.bootstrap import Multiplicities, ratio
from cxr_explain.measures.statistics.jackknife import COUNTING, LeftOut

_NOT_WITHOUT_ONE = "not estimable without one patient"
_MANY = 1e9  # degrees of freedom, from which on Student's t is normal
_ROUNDING = 1e-12


class RestingStatistics(Protocol):
    """Statistics as a function of how often each group counts, which know what each of them rests on."""

    @property
    def bases(self) -> Sequence[Basis]:
        """One for each statistic."""

    def __call__(self, drawn: Multiplicities, /) -> NDArray[np.float64]:
        """(groups, b) -> (M, b); see `WeightedStatistics`."""


@dataclass(frozen=True)
class ClusteredEstimate:
    """A statistic of a sample of patients, and its interval.

    Args:
        value: statistic of the whole sample; None where it is not estimable.
        low: lower end of the interval; None where it is withheld.
        high: upper end of the interval; None where it is withheld.
        withheld: why there is no interval, in few words; None where there is one, or no value.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    withheld: str | None = None


def estimates(found: LeftOut, bases: Sequence[Basis], *, level: float = 0.95) -> list[ClusteredEstimate]:
    """Statistics with their intervals.

    Args:
        found: M statistics, and without each block of patients.
        bases: M, what each rests on.
        level: confidence level of the intervals, between 0 and 1.

    Raises:
        OptionError: a level outside of (0, 1).

    >>> hits, images = np.array([2, 1, 0, 3, 1, 2, 1, 2]), np.array([2, 2, 1, 3, 3, 2, 1, 2])
    >>> estimates(shares_left_out(hits, images), [Basis.of(images, "positive patient")])
    [ClusteredEstimate(value=0.75, low=0.446..., high=0.917..., withheld=None)]
    >>> estimates(shares_left_out(hits[:3], images[:3]), [Basis.of(images[:3], "positive patient")])
    [ClusteredEstimate(value=0.6, low=None, high=None, withheld='3 positive patients')]
    """
    check_level(level)
    lows, highs = ends(found, bases, level=level)
    columns = found.value.tolist(), lows.tolist(), highs.tolist(), bases
    return [_estimate(*each) for each in zip(*columns, strict=True)]


def ends(
    found: LeftOut, bases: Sequence[Basis], *, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper ends of M intervals, (M,) each, also where so few patients should have none.

    Args:
        found: M statistics, and without each block of patients.
        bases: M, what each rests on.
        level: confidence level of the intervals, between 0 and 1.

    Returns:
        NaN where the statistic is not estimable, or not without some block.
    """
    low, high = IndependentCases.of(found, bases).ends(level)
    plain_low, plain_high = found.interval(level)
    is_bounded = np.array([each.bounded for each in bases], bool)
    return np.where(is_bounded, low, plain_low), np.where(is_bounded, high, plain_high)


@dataclass(frozen=True, eq=False)
class IndependentCases:
    """M statistics from 0 to 1, and how many independent cases would tell as much of each.

    Args:
        value: (M,); NaN where not estimable.
        cases: (M,); NaN where the statistic is not estimable without some block.
        freedom: (M,) degrees of freedom of Student's t.
    """

    value: NDArray[np.float64]
    cases: NDArray[np.float64]
    freedom: NDArray[np.float64]

    @classmethod
    def of(cls, found: LeftOut, bases: Sequence[Basis]) -> Self:
        """Count them.

        Their number is v (1 - v) / e^2 of the value v and its standard error e; for hits P / (P - 1) times
        that, of P patients, and no more than there are. Where e is 0 or v is 0 or 1, it cannot be seen, and
        patients count as `Basis.effective` says.
        The degrees of freedom are those of the error, by the square of how much of the information hangs on
        the patients: none does where each has one image that is a hit or a miss, and Wilson's own interval is
        left.

        Args:
            found: M statistics, and without each block of patients.
            bases: M, what each rests on.

        Source:
            Korn and Graubard, Survey Methodology 24 (1998) 193, for the number of cases and Student's t;
            Kottas, Kuss and Zapf, BMC Med. Res. Methodol. 14 (2014) 26, for the area under the ROC curve.
        """
        value, error = found.value, found.standard_error
        patients, effective, images = (
            np.array([math.inf if number is None else number for number in column], np.float64)
            for column in zip(*((each.patients, each.effective, each.images) for each in bases), strict=True)
        )
        spread = value * (1 - value)
        is_seen = (error > _ROUNDING) & (spread > _ROUNDING)
        unbiased = np.where(np.isfinite(images), spread * patients / np.maximum(patients - 1, 1), spread)
        independent = np.where(is_seen, unbiased / np.where(is_seen, error, 1) ** 2, effective)
        freedom = np.where(is_seen, found.degrees_of_freedom, np.fmin(COUNTING * effective, patients) - 1)
        hanging = np.maximum(1 - effective / np.where(images > 0, images, 1), 0)
        freedom = np.maximum(freedom, 1) / np.maximum(hanging**2, 1 / _MANY)
        cases = np.where(np.isnan(error), np.nan, np.minimum(independent, images))
        return cls(value, cases, np.minimum(freedom, _MANY))

    @classmethod
    def together(cls, parts: Sequence[IndependentCases]) -> Self:
        """Several, one after the other."""
        return cls(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)))

    def ends(self, level: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper ends of Wilson's intervals, (M,) each.

        Args:
            level: confidence level between 0 and 1; one, or one for each statistic.

        >>> found = IndependentCases(np.array([1.0]), np.array([5.0]), np.array([1e9]))
        >>> [end.round(3).tolist() for end in found.ends(0.95)]
        [[0.566], [1.0]]
        """
        return wilson_ends(self.value, self.cases, stdtrit(self.freedom, (1 + np.asarray(level)) / 2))


def shares_left_out(hits: ArrayLike, images: ArrayLike) -> LeftOut:
    """Shares of images, and without each patient; NaN where no image is left.

    Args:
        hits: (groups,) hits of each patient; or (M, groups) of M shares.
        images: as many, images of each patient.

    >>> found = shares_left_out([1, 0, 0], [1, 1, 1])
    >>> found.value.round(3).tolist(), found.without.tolist()
    ([0.333], [[0.0, 0.5, 0.5]])
    """
    numbers, counts = (np.atleast_2d(np.asarray(each, np.float64)) for each in (hits, images))
    sums, total = numbers.sum(axis=1, keepdims=True), counts.sum(axis=1, keepdims=True)
    return LeftOut(ratio(sums, total)[:, 0], ratio(sums - numbers, total - counts))


def share_estimate(
    positives: NDArray[np.bool_], group: NDArray[np.intp], *, level: float = 0.95
) -> ClusteredEstimate:
    """The share of cases that are positive, with its interval by group.

    Args:
        positives: (n,) bool.
        group: (n,) number of each case's group.
        level: confidence level of the interval, between 0 and 1.

    >>> found = share_estimate(np.arange(20) < 18, np.arange(20))
    >>> round(found.low, 6), round(found.high, 6), [round(end, 6) for end in wilson(0.9, 20)]
    (0.698966, 0.972134, [0.698966, 0.972134])
    """
    _, member = np.unique(group, return_inverse=True)
    images = np.bincount(member)
    found = shares_left_out(np.bincount(member, positives), images)
    return estimates(found, [Basis.of(images, "patient")], level=level)[0]


def wilson_ends(
    share: NDArray[np.float64], cases: NDArray[np.float64], t: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both ends of Wilson's interval; the share is always inside, also where rounding would have it outside.

    Args:
        share: (M,) shares that were observed, 0 to 1.
        cases: (M,) number of cases; more than 0, not necessarily a whole number.
        t: (M,) standard errors that the share is away from each end, under that end.

    Source:
        Wilson, J. Am. Stat. Assoc. 22 (1927) 209.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        more = np.square(t) / cases
        centre = (share + more / 2) / (1 + more)
        half = np.sqrt(more * (share * (1 - share) + more / 4)) / (1 + more)
    return np.minimum(share, np.maximum(0, centre - half)), np.maximum(share, np.minimum(1, centre + half))


def wilson(share: float, cases: float, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a share of independent cases.

    Args:
        share: share that was observed, 0 to 1.
        cases: number of cases that it was observed in; more than 0, not necessarily a whole number.
        level: confidence level of the interval, between 0 and 1.

    Raises:
        OptionError: a share, number or level out of range.

    Source:
        Wilson, J. Am. Stat. Assoc. 22 (1927) 209.

    >>> [round(end, 3) for end in wilson(1.0, 5)]
    [0.566, 1.0]
    """
    check_level(level)
    if not (0 <= share <= 1 and cases > 0):
        raise OptionError(f"a share of {share} of {cases} cases", expected="0 to 1 of more than 0")
    given = (np.array(each, np.float64) for each in (share, cases, ndtri((1 + level) / 2)))
    low, high = wilson_ends(*given)
    return float(low), float(high)


def check_level(level: float) -> None:
    """Refuse what is no confidence level.

    Raises:
        OptionError: a level outside of (0, 1).
    """
    if not 0 < level < 1:
        raise OptionError(f"level {level}", expected="a level in (0, 1)")


def _estimate(value: float, low: float, high: float, basis: Basis) -> ClusteredEstimate:
    if math.isnan(value):
        return ClusteredEstimate(None)
    withheld = basis.lacks or (_NOT_WITHOUT_ONE if math.isnan(low) else None)
    return ClusteredEstimate(value, withheld=withheld) if withheld else ClusteredEstimate(value, low, high)
