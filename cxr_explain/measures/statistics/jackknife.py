"""What a statistic becomes without each patient, for intervals and tests of any statistic, alone or paired.

The patients are left out one by one, or, where there are many, in blocks of as many as possible. The same
blocks serve all statistics of an audit, so that a difference of two of them is paired: its value without a
block is the difference of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from cxr_explain.measures.statistics.bootstrap import WeightedStatistics

MOST_BLOCKS = 400
"""Blocks that are left out in turns: more would tell the standard error no better."""

COUNTING = 1.6
"""k of `LeftOut.degrees_of_freedom`. Of 1 to 3 it was best: with more, intervals held the truth too
seldom where a few patients with many images decide, and with less, too often."""

_AT_ONCE = 16  # blocks: as many as the bootstrap has resamples
_ROUNDING = 1e-12  # of the statistic: statistics of equal numbers differ by less


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Statistics of a sample, and without each block of patients.

    Args:
        value: (M,), of the whole sample; NaN where not estimable.
        without: (M, B), without each block; NaN where not estimable.
    """

    value: NDArray[np.float64]
    without: NDArray[np.float64]

    def __sub__(self, other: Self) -> Self:
        """The paired differences."""
        return type(self)(self.value - other.value, self.without - other.without)

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """(M,), NaN where the statistic is not estimable without some block.

        Source:
            Efron and Tibshirani, An Introduction to the Bootstrap (1993), equation 11.5; Kott, Journal of
            Official Statistics 17 (2001) 521, for blocks.
        """
        blocks = self.without.shape[1]
        squares = (self._deviations**2).sum(axis=1)
        return np.sqrt((blocks - 1) / blocks * squares) if blocks else np.full(len(squares), np.nan)

    @property
    def degrees_of_freedom(self) -> NDArray[np.float64]:
        """(M,), of the standard error, 1 or more: few where few patients decide.

        With d_b, what the statistic without block b lies off their mean, k (sum d_b^2)^2 / sum d_b^4 blocks
        count, and no more than those that move the statistic; one less is left. For normal d_b and k = 3 this
        is Welch's number for two groups; k is `COUNTING`.

        Source:
            Satterthwaite, Biometrics Bulletin 2 (1946) 110.
        """
        squares = self._deviations**2
        moving = (self.without != self.value[:, None]).sum(axis=1)
        fourths = (squares**2).sum(axis=1)
        counting = COUNTING * squares.sum(axis=1) ** 2 / np.where(fourths > 0, fourths, np.nan)
        return np.asarray(np.maximum(np.fmin(counting, moving) - 1, 1))

    def interval(self, level: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper ends, (M,) each, by Student's t; NaN where no interval holds.

        That is so where the statistic is not estimable without some block, as with one patient alone, and
        where no block moves it.

        Args:
            level: confidence level of the interval, between 0 and 1.

        >>> found = LeftOut(np.array([3.0]), np.array([[4.0, 3.5, 1.5]]))
        >>> [end.round(2).item() for end in found.interval()]
        [-3.57, 9.57]
        """
        half = self._width * stdtrit(self.degrees_of_freedom, (1 + level) / 2)
        return self.value - half, self.value + half

    def p(self, expected: float = 0.0) -> NDArray[np.float64]:
        """(M,), two-sided, of the statistic being what is expected, by Student's t; NaN as for `interval`.

        Args:
            expected: what the statistic would be, such as 0 for a difference.

        >>> LeftOut(np.array([3.0]), np.array([[4.0, 3.5, 1.5]])).p().round(3).item()
        0.188
        """
        away = -np.abs(self.value - expected) / self._width
        return np.asarray(2 * stdtr(self.degrees_of_freedom, away))

    @property
    def _deviations(self) -> NDArray[np.float64]:
        blocks = max(self.without.shape[1], 1)
        return np.asarray(self.without - self.without.sum(axis=1, keepdims=True) / blocks)

    @property
    def _width(self) -> NDArray[np.float64]:
        """The standard error; NaN in place of 0, which would claim certainty."""
        error = self.standard_error
        return np.where(error > _ROUNDING * np.maximum(1, np.abs(self.value)), error, np.nan)


def leave_out(
    statistics: Sequence[WeightedStatistics], groups: int, *, most_blocks: int = MOST_BLOCKS, seed: int = 0
) -> list[LeftOut]:
    """Compute statistics of a sample, and without each block of groups.

    Args:
        statistics: functions of how often each group counts; see `WeightedStatistics`.
        groups: number of groups, such as patients.
        most_blocks: number of blocks, where there are more groups than that.
        seed: seed of the draw that puts groups into blocks.

    Returns:
        For each statistic its measures.

    >>> values = np.array([1.0, 2.0, 6.0])
    >>> mean = lambda counts: (values @ counts / counts.sum(axis=0))[None]
    >>> (found,) = leave_out([mean], 3)
    >>> found.value.tolist(), found.without.tolist(), found.standard_error.round(3).tolist()
    ([3.0], [[4.0, 3.5, 1.5]], [1.528])
    """
    block_of = blocks_of(groups, most_blocks=most_blocks, seed=seed)
    blocks = int(block_of.max(initial=-1)) + 1
    values = [statistic(np.ones((groups, 1), np.float32))[:, 0] for statistic in statistics]
    found: list[list[NDArray[np.float64]]] = [[np.empty((len(value), 0))] for value in values]
    for first in range(0, blocks, _AT_ONCE):
        left_out = np.arange(first, min(first + _AT_ONCE, blocks))
        counts = (block_of[:, None] != left_out).astype(np.float32)
        for statistic, parts in zip(statistics, found, strict=True):
            parts.append(statistic(counts))
    return [LeftOut(value, np.hstack(parts)) for value, parts in zip(values, found, strict=True)]


def blocks_of(groups: int, *, most_blocks: int = MOST_BLOCKS, seed: int = 0) -> NDArray[np.intp]:
    """(groups,): the block that each group is left out with, from 0; one for each where they are few.

    Args:
        groups: number of groups, such as patients.
        most_blocks: number of blocks, where there are more groups than that.
        seed: seed of the draw that puts groups into blocks.

    >>> blocks_of(3).tolist(), sorted(blocks_of(5, most_blocks=2).tolist())
    ([0, 1, 2], [0, 0, 0, 1, 1])
    """
    block_of = np.arange(groups) % max(min(groups, most_blocks), 1)
    if most_blocks < groups:
        np.random.default_rng(seed).shuffle(block_of)
    return block_of
