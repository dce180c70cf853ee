"""Intervals of any statistic of a sample, by resampling it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_explain.errors import OptionError

Statistic = Callable[[NDArray[np.intp]], float | None]
"""From indices into the sample, repeated or not, to a number; None where it is not estimable."""


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


def bootstrap(
    statistic: Statistic, n: int, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Estimate:
    """A statistic with its percentile interval.

    Resample whole cases, such as images or patients, so that what belongs together stays together.

    Args:
        statistic: takes n indices below n.
        n: size of the sample.
        resamples: how many; those in which the statistic is not estimable are left out.
        level: of the interval.
        seed: of the draws.

    Raises:
        OptionError: a level outside of (0, 1), or no resample.

    Source:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 13.3.

    >>> data = np.arange(101.0)
    >>> bootstrap(lambda index: float(data[index].mean()), 101)
    Estimate(value=50.0, low=44..., high=55...)
    """
    if not 0 < level < 1 or resamples < 1:
        raise OptionError(f"level {level} of {resamples} resamples", expected="a level in (0, 1), 1 or more")
    value = statistic(np.arange(n))
    if value is None:
        return Estimate(None)
    draws = np.random.default_rng(seed)
    found = [statistic(draws.integers(n, size=n)) for _ in range(resamples)]
    estimable = [number for number in found if number is not None]
    if not estimable:
        return Estimate(value)
    low, high = np.quantile(estimable, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))
