"""Whether probabilities are as often right as they say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_explain.errors import OptionError
from cxr_explain.measures.statistics.bootstrap import (
    Groups,
    Multiplicities,
    numbered,
    ratio,
    summed,
    weighed_sums,
)
from cxr_explain.measures.statistics.discrimination import scored
from cxr_explain.measures.statistics.intervals import share_estimate
from cxr_explain.options import check_at_least

BINS = 10


@dataclass(frozen=True)
class CalibrationBin:
    """Predicted and observed, of the cases with about the same probability.

    Args:
        low: lower edge, which belongs to the bin.
        high: upper edge, which belongs to the next; to this one if it is 1.
        cases: number of cases in the bin, one or more.
        mean: mean probability of these cases.
        observed: share of positives among them.
        observed_low: lower end of the interval of `observed`; None where too few groups are in the bin.
        observed_high: upper end of the interval of `observed`; None as the lower one.
    """

    low: float
    high: float
    cases: int
    mean: float
    observed: float
    observed_low: float | None
    observed_high: float | None


def brier(probabilities: ArrayLike, positives: ArrayLike) -> float | None:
    """The mean squared difference of probability and outcome; 0 is best, None without any image.

    Args:
        probabilities: (n,) of the finding, in [0, 1].
        positives: (n,) bool.

    Raises:
        OptionError: shapes that differ, or values that are no probabilities.

    Source:
        Brier, Monthly Weather Review 78 (1950) 1, in its form for one event.

    >>> brier([0.5, 1.0], [False, True])
    0.125
    """
    chances, there = _chances(probabilities, positives)
    return float(np.mean((chances - there) ** 2)) if len(chances) else None


def expected_calibration_error(
    probabilities: ArrayLike, positives: ArrayLike, *, bins: int = BINS
) -> float | None:
    """The mean over images of abs(mean probability - share of positives) of the bin.

    The bins have equal widths over [0, 1] and hold their lower edge; 1 belongs to the last. None without any
    image.

    Args:
        probabilities: (n,) of the finding, in [0, 1].
        positives: (n,) bool.
        bins: number of bins, of equal widths over [0, 1].

    Raises:
        OptionError: shapes that differ, values that are no probabilities, or no bin.

    Source:
        Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015, for the
        probability of one event.

    >>> expected_calibration_error([0.5, 1.0], [False, True])
    0.25
    """
    chances, there = _chances(probabilities, positives)
    check_at_least(1, bins=bins)
    if not len(chances):
        return None
    gaps = np.bincount(_bin_of(chances, bins), weights=chances - there, minlength=bins)
    return float(np.abs(gaps).sum() / len(chances))


def calibration_curve(
    probabilities: ArrayLike,
    positives: ArrayLike,
    *,
    groups: Groups | None = None,
    bins: int = BINS,
    level: float = 0.95,
) -> tuple[CalibrationBin, ...]:
    """The reliability diagram: for each bin the mean probability and the share of positives.

    The interval of the share is by group, see :mod:`~cxr_explain.measures.statistics.intervals`; without
    groups it is Wilson's.

    Args:
        probabilities: (n,) of the finding, in [0, 1].
        positives: (n,) bool.
        groups: (n,), what belongs together, such as the patient of each image; each case by itself without.
        bins: number of bins, of equal widths over [0, 1].
        level: confidence level of the intervals, between 0 and 1.

    Returns:
        The bins with a case, from 0 to 1.

    Raises:
        OptionError: shapes that differ, values that are no probabilities, no bin, or groups of another
            number.

    >>> [(each.mean, each.observed) for each in calibration_curve([0.25, 0.25, 1.0], [False, True, True])]
    [(0.25, 0.5), (1.0, 1.0)]
    """
    chances, there = _chances(probabilities, positives)
    check_at_least(1, bins=bins)
    if groups is not None and len(groups) != len(chances):
        raise OptionError(f"{len(groups)} groups", expected=f"{len(chances)}, one for each case")
    which = _bin_of(chances, bins)
    names = np.arange(len(chances)) if groups is None else numbered(groups)
    found = []
    for number in np.unique(which):
        inside = which == number
        mean, observed = float(chances[inside].mean()), float(there[inside].mean())
        share = share_estimate(there[inside], names[inside], level=level)
        edges = float(number / bins), float((number + 1) / bins)
        found.append(CalibrationBin(*edges, int(inside.sum()), mean, observed, share.low, share.high))
    return tuple(found)


def error_by_chance(
    probabilities: ArrayLike, positives: ArrayLike, *, groups: Groups | None = None, bins: int = BINS
) -> float | None:
    """About the calibration error that a perfectly calibrated model would show on such images.

    The error of each bin is normal around 0, with the spread that the groups have in the bin, and its
    absolute value is sqrt(2 / pi) times that spread on average. None without any image.

    Args:
        probabilities: (n,) of the finding, in [0, 1].
        positives: (n,) bool.
        groups: (n,), what belongs together, such as the patient of each image; each case by itself without.
        bins: number of bins, of equal widths over [0, 1].

    Raises:
        OptionError: shapes that differ, values that are no probabilities, or no bin.

    Source:
        Kumar, Liang and Ma, Verified Uncertainty Calibration, NeurIPS 2019, section 5, on the bias of plug-in
        estimates.

    >>> round(error_by_chance([0.5, 0.5, 0.5, 0.5], [False, True, True, False]), 3)
    0.199
    """
    chances, there = _chances(probabilities, positives)
    check_at_least(1, bins=bins)
    if not len(chances):
        return None
    which = _bin_of(chances, bins)
    member = np.arange(len(chances)) if groups is None else numbered(groups)
    gaps = chances - there
    mean = np.bincount(which, gaps, bins) / np.maximum(np.bincount(which, minlength=bins), 1)
    by_group = summed(which, member, (bins, int(member.max()) + 1), gaps - mean[which])
    spread = np.sqrt((by_group**2).sum(axis=1))
    return float(math.sqrt(2 / math.pi) * spread.sum() / len(chances))


@dataclass(frozen=True, eq=False)
class GroupedCalibration:
    """Probabilities and labels as sums by group, to measure calibration under many weightings of the groups.

    Args:
        squares: (1, groups), squared differences of probability and outcome.
        gaps: (bins, groups), differences of probability and outcome.
        cases: (1, groups), how many.
    """

    squares: Any
    gaps: Any
    cases: Any

    @classmethod
    def of(
        cls,
        probabilities: ArrayLike,
        positives: ArrayLike,
        group: ArrayLike,
        groups: int,
        *,
        bins: int = BINS,
    ) -> Self:
        """Sum.

        Args:
            probabilities: (n,) of the finding, in [0, 1].
            positives: (n,) bool.
            group: (n,) number of each case's group, from 0.
            groups: number of groups, those without a case included.
            bins: number of bins, of equal widths over [0, 1].

        Raises:
            OptionError: shapes that differ, or values that are no probabilities.
        """
        chances, there = _chances(probabilities, positives)
        gap, member = chances - there, np.asarray(group, np.intp)
        first = np.zeros(len(gap), np.intp)
        return cls(
            summed(first, member, (1, groups), gap**2),
            summed(_bin_of(chances, bins), member, (bins, groups), gap),
            summed(first, member, (1, groups)),
        )

    def brier(self, drawn: Multiplicities) -> NDArray[np.float64]:
        """:func:`brier` of the cases, each as often as its group was drawn; (groups, b) -> (b,)."""
        return ratio(weighed_sums(self.squares, drawn)[0], weighed_sums(self.cases, drawn)[0])

    def expected_calibration_error(self, drawn: Multiplicities) -> NDArray[np.float64]:
        """:func:`expected_calibration_error` of the same cases; (groups, b) -> (b,)."""
        gaps = np.abs(weighed_sums(self.gaps, drawn))
        return ratio(gaps.sum(axis=0), weighed_sums(self.cases, drawn)[0])


def _bin_of(chances: NDArray[np.float64], bins: int) -> NDArray[np.intp]:
    return np.minimum((chances * bins).astype(np.intp), bins - 1)


def _chances(probabilities: ArrayLike, positives: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    chances, there = scored(probabilities, positives)
    if len(chances) and not (chances.min() >= 0 and chances.max() <= 1):
        raise OptionError(
            f"values from {chances.min():g} to {chances.max():g}", expected="probabilities in [0, 1]"
        )
    return chances, there
