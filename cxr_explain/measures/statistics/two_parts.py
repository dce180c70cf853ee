"""Differences of shares and areas between two parts of a sample, with intervals that hold near 0 and 1.

The interval is made of the two parts' own, by the method of variance estimates recovery: each end of the
difference is as far away as the two ends of the parts that it comes from, squared and added, less what both
parts owe to the same patients. A part's own interval is that of `intervals`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from cxr_explain.measures.statistics.intervals import IndependentCases
from cxr_explain.measures.statistics.jackknife import LeftOut

_Numbers = NDArray[np.float64]

_LEAST_P = 1e-15
_HALVINGS = 60


@dataclass(frozen=True, eq=False)
class ShareDifferences:
    """M differences of two parts: the first less the second.

    Args:
        first: shares of the one part.
        second: shares of the other.
        correlation: (M,) of the two, as they vary over patients that are in both; 0 without such patients.

    >>> first = IndependentCases(*np.array([[0.0], [10], [9]]))
    >>> found = ShareDifferences(first, IndependentCases(*np.array([[0.2], [400], [399]])), np.zeros(1))
    >>> [each.round(2).tolist() for each in (found.value, *found.interval(0.95), found.p())]
    [[-0.2], [-0.24], [0.14], [0.15]]
    """

    first: IndependentCases
    second: IndependentCases
    correlation: _Numbers

    @property
    def value(self) -> _Numbers:
        """(M,); NaN where one of both is not estimable."""
        return self.first.value - self.second.value

    def interval(self, level: ArrayLike) -> tuple[_Numbers, _Numbers]:
        """Both ends, (M,) each; NaN where the difference is not estimable.

        Args:
            level: confidence level, between 0 and 1; one, or one for each difference.

        Source:
            Newcombe, Statistics in Medicine 17 (1998) 873, method 10; with a correlation, Zou and Donner,
            Statistics in Medicine 27 (2008) 1693, equation 10.
        """
        one, other = self.first.value, self.second.value
        (low, high), (other_low, other_high) = self.first.ends(level), self.second.ends(level)
        below = _joint(one - low, other_high - other, self.correlation)
        above = _joint(high - one, other - other_low, self.correlation)
        return np.maximum(self.value - below, -1.0), np.minimum(self.value + above, 1.0)

    def p(self) -> _Numbers:
        """(M,), two-sided: one less the level of the interval that ends at 0; not below 1e-15."""
        small, large = np.full_like(self.value, np.log(_LEAST_P)), np.zeros_like(self.value)
        for _ in range(_HALVINGS):
            middle = (small + large) / 2
            low, high = self.interval(1 - np.exp(middle))
            holds_zero = (low <= 0) & (high >= 0)
            small, large = np.where(holds_zero, middle, small), np.where(holds_zero, large, middle)
        return np.where(np.isnan(self.value), np.nan, np.where(self.value == 0, 1.0, np.exp(large)))


def fewer_hits_p(hits: int, cases: int, other_hits: int, other_cases: int) -> float:
    """One-sided p of hits being as rare in one part as in another, given how many there are in both.

    It never claims more than it knows, also where a p is far below 0.05 and cases are few; the p of
    :class:`ShareDifferences` may be several times too small there.

    Args:
        hits: number of hits in the first part.
        cases: number of cases in the first part.
        other_hits: number of hits in the second part.
        other_cases: number of cases in the second part.

    Source:
        Fisher, J. R. Stat. Soc. 98 (1935) 39: the hypergeometric distribution.

    >>> round(fewer_hits_p(1, 10, 11, 14), 5)
    0.00138
    """
    total = hits + other_hits
    count = np.arange(max(0, total - other_cases), hits + 1)
    logs = (
        _log_ways(cases, count)
        + _log_ways(other_cases, total - count)
        - _log_ways(cases + other_cases, np.array(total))
    )
    return float(min(1.0, np.exp(logs).sum()))


def _log_ways(cases: int, chosen: NDArray[np.intp]) -> _Numbers:
    """Logarithm of the number of ways to choose."""
    return np.asarray(gammaln(cases + 1) - gammaln(chosen + 1) - gammaln(cases - chosen + 1))


def correlation_of(first: LeftOut, second: LeftOut) -> _Numbers:
    """(M,) correlation of two statistics as patients are left out; 0 where one of them never changes.

    >>> here = LeftOut(np.zeros(1), np.array([[0.0, 1.0, 2.0]]))
    >>> correlation_of(here, LeftOut(np.zeros(1), np.array([[5.0, 3.0, 1.0]]))).tolist()
    [-1.0]
    """
    one, other = (each.without - each.without.mean(axis=1, keepdims=True) for each in (first, second))
    size = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    together = (one * other).sum(axis=1)
    return np.where(size > 0, np.clip(together / np.where(size > 0, size, 1), -1, 1), 0.0)


def _joint(first: _Numbers, second: _Numbers, correlation: _Numbers) -> _Numbers:
    return np.sqrt(np.maximum(first**2 + second**2 - 2 * correlation * first * second, 0))
