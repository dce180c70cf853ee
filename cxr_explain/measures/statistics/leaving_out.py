"""Statistics of parts of a sample without each block of patients, for many parts in little time.

What `jackknife.leave_out` computes of any statistic, weighting by weighting, is found here in one pass over
the cases: to leave out a block takes away the wins that it has a part in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_explain.measures.statistics.bootstrap import ratio
from cxr_explain.measures.statistics.discrimination import scored
from cxr_explain.measures.statistics.jackknife import LeftOut


@dataclass(frozen=True, eq=False)
class RankedScores:
    """Scores and labels in order, for the area under the ROC curve of any part of the cases.

    Args:
        levels: (n,) the place of each score among the different scores, from 0.
        positives: (n,) bool.
        block: (n,) number of the block that each case is left out with.
        blocks: number of blocks.
        by_score: (n,) the cases by score.
        by_block: (n,) the cases by block, then by score.
    """

    levels: NDArray[np.intp]
    positives: NDArray[np.bool_]
    block: NDArray[np.intp]
    blocks: int
    by_score: NDArray[np.intp]
    by_block: NDArray[np.intp]

    @classmethod
    def of(cls, scores: ArrayLike, positives: ArrayLike, block: NDArray[np.intp], blocks: int) -> Self:
        """Put them in order.

        Args:
            scores: (n,), of any scale.
            positives: (n,) bool.
            block: (n,) number of each case's block, from 0.
            blocks: number of blocks, those without a case included.

        Raises:
            OptionError: shapes that differ, or scores that are not finite.
        """
        values, there = scored(scores, positives)
        levels = np.unique(values, return_inverse=True)[1].reshape(-1)
        by_score = np.argsort(levels, kind="stable")
        by_block = by_score[np.argsort(block[by_score], kind="stable")]
        return cls(levels, there, block, blocks, by_score, by_block)

    def auroc(self, among: NDArray[np.bool_]) -> LeftOut:
        """The area under the ROC curve of a part of the cases, and without each block.

        The wins of positives over negatives, ties by half, less those of the block's positives, less those
        over the block's negatives, and once more those within the block, which were taken away twice.

        Args:
            among: (n,) bool, the part.

        >>> ranked = RankedScores.of([0.1, 0.4, 0.35, 0.8], [False, False, True, True], np.arange(4), 4)
        >>> found = ranked.auroc(np.ones(4, bool))
        >>> found.value.tolist(), found.without.tolist()
        ([0.75], [[0.5, 1.0, 1.0, 0.5]])
        """
        at, within = self.by_score[among[self.by_score]], self.by_block[among[self.by_block]]
        there, block = self.positives[at], self.block[at]
        won, lost = _wins(self.levels[at], there, np.zeros(len(at), np.intp))
        won_within, _ = _wins(self.levels[within], self.positives[within], self.block[within])
        of_block = _summed(block, won, self.blocks) + _summed(block, lost, self.blocks)
        twice = _summed(self.block[within], won_within, self.blocks)
        positives = _summed(block, there, self.blocks)
        negatives = _summed(block, ~there, self.blocks)
        P, N, total = positives.sum(), negatives.sum(), won.sum()
        left = ratio(total - of_block + twice, (P - positives) * (N - negatives))
        return LeftOut(ratio(np.array([total]), np.array([P * N])), left[None])


def left_out_shares(
    hits: NDArray[np.bool_], of: NDArray[np.bool_], block: NDArray[np.intp], blocks: int
) -> LeftOut:
    """A share of cases, and without each block; NaN where no case is left.

    Args:
        hits: (n,) bool, what is counted.
        of: (n,) bool, the cases that the share is of.
        block: (n,) number of each case's block, from 0.
        blocks: number of blocks.

    >>> every = np.ones(3, bool)
    >>> found = left_out_shares(np.array([True, False, False]), every, np.arange(3), 3)
    >>> found.value.round(3).tolist(), found.without.tolist()
    ([0.333], [[0.0, 0.5, 0.5]])
    """
    sums, counts = _summed(block[of], hits[of], blocks), _summed(block[of], hits[of] | True, blocks)
    left = ratio(sums.sum() - sums, counts.sum() - counts)
    return LeftOut(ratio(sums.sum(keepdims=True), counts.sum(keepdims=True)), left[None])


def _wins(
    levels: NDArray[np.intp], there: NDArray[np.bool_], segment: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How many negatives of the segment each positive wins over, and to how many positives a negative loses.

    Both are (n,), and ties count by half; the cases come by segment, then by score.
    """
    if not len(levels):
        return np.empty(0), np.empty(0)
    new_segment = np.append(True, segment[1:] != segment[:-1])
    run = np.cumsum(np.append(True, levels[1:] != levels[:-1]) | new_segment) - 1
    of_segment = np.cumsum(new_segment) - 1
    found = []
    for other in (~there, there):
        tied = np.bincount(run, other)
        below = np.cumsum(tied) - tied
        sums = np.bincount(of_segment, other)
        before = (np.cumsum(sums) - sums)[of_segment]
        found.append((below[run] - before, tied[run], sums[of_segment]))
    (below, tied, _), (positives_below, positives_tied, positives) = found
    won = np.where(there, below + tied / 2, 0.0)
    lost = np.where(there, 0.0, positives - positives_below - positives_tied / 2)
    return won, lost


def _summed(block: NDArray[np.intp], values: NDArray[np.generic], blocks: int) -> NDArray[np.float64]:
    return np.bincount(block, values, minlength=blocks).astype(np.float64)
