"""Whether scores tell images with a finding from images without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_explain.errors import OptionError
from cxr_explain.measures.statistics.bootstrap import Multiplicities, ratio, summed, weighed_sums


@dataclass(frozen=True)
class Operation:
    """A classifier at one threshold.

    Args:
        threshold: scores from here on are called positive.
        sensitivity: share of the images with the finding that are called positive.
        specificity: share of the images without it that are called negative.
    """

    threshold: float
    sensitivity: float
    specificity: float


def auroc(scores: ArrayLike, positives: ArrayLike) -> float | None:
    """Area under the ROC curve: the chance that a positive scores above a negative; ties count by half.

    Args:
        scores: (n,), of any scale.
        positives: (n,) bool.

    Returns:
        None where one of both kinds is missing.

    Raises:
        OptionError: shapes that differ, or scores that are not finite.

    Source:
        Hanley and McNeil, Radiology 143 (1982) 29: the Mann-Whitney statistic of all pairs.

    >>> auroc([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.75
    """
    return _number(_once(scores, positives).auroc())


def average_precision(scores: ArrayLike, positives: ArrayLike) -> float | None:
    """Area under the precision-recall curve, in steps: the precision at each positive's score, averaged.

    All cases that score as high count as called, so that the order among equals does not matter. A score
    without any information is worth the share of positives.

    Args:
        scores: (n,), of any scale.
        positives: (n,) bool.

    Returns:
        None where one of both kinds is missing.

    Raises:
        OptionError: shapes that differ, or scores that are not finite.

    Source:
        Davis and Goadrich, The Relationship Between Precision-Recall and ROC Curves, ICML 2006, on why the
        points are not joined by straight lines; AP = sum over thresholds of (R_n - R_(n-1)) P_n.

    >>> average_precision([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    0.8333333333333333
    """
    return _number(_once(scores, positives).average_precision())


@dataclass(frozen=True, eq=False)
class GroupedScores:
    """Scores and labels as sums by group, to measure them quickly under many weightings of the groups.

    The negatives are counted between the scores of the positives: that is all that the order of cases tells
    about the area under a curve. A resample of the groups is a weighting by how often each was drawn.

    Args:
        positives: (L, groups), how many positives of each group have the l-th of the L scores of positives.
        negatives: (2 L + 1, groups), how many negatives of each group lie below the first of them, tie with
            it, lie between it and the second, and so on.
    """

    positives: Any
    negatives: Any

    @classmethod
    def of(cls, scores: ArrayLike, positives: ArrayLike, group: ArrayLike, groups: int) -> Self:
        """Count.

        Args:
            scores: (n,), of any scale.
            positives: (n,) bool.
            group: (n,) number of each case's group, from 0.
            groups: number of groups, those without a case included.

        Raises:
            OptionError: shapes that differ, or scores that are not finite.
        """
        values, there = scored(scores, positives)
        member = np.asarray(group, np.intp)
        levels, at = np.unique(values[there], return_inverse=True)
        low, high = (np.searchsorted(levels, values[~there], side) for side in ("left", "right"))
        shape = len(levels), groups
        return cls(
            summed(at, member[there], shape),
            summed(low + high, member[~there], (2 * shape[0] + 1, groups)),
        )

    def weighed(self, drawn: Multiplicities) -> WeighedScores:
        """The cases, each as often as its group was drawn.

        Args:
            drawn: (groups, b), how often each group was drawn.
        """
        negatives = np.cumsum(weighed_sums(self.negatives, drawn), axis=0)
        positives = weighed_sums(self.positives, drawn)
        return WeighedScores(positives, negatives[:-1:2], negatives[1::2], negatives[-1])


@dataclass(frozen=True, eq=False)
class WeighedScores:
    """:class:`GroupedScores` under b weightings.

    Args:
        positives: (L, b), of each score of positives.
        below: (L, b), negatives below that score.
        not_above: (L, b), negatives up to that score.
        negatives: (b,), all of them.
    """

    positives: NDArray[np.float64]
    below: NDArray[np.float64]
    not_above: NDArray[np.float64]
    negatives: NDArray[np.float64]

    def auroc(self) -> NDArray[np.float64]:
        """:func:`auroc`, (b,); NaN where one of both kinds has no weight."""
        won = (self.positives * (self.below + self.not_above)).sum(axis=0) / 2
        return ratio(won, self.positives.sum(axis=0) * self.negatives)

    def average_precision(self) -> NDArray[np.float64]:
        """:func:`average_precision`, (b,); NaN where one of both kinds has no weight."""
        right = np.cumsum(self.positives[::-1], axis=0)[::-1]
        called = right + self.negatives - self.below
        steps = self.positives * right / np.where(called > 0, called, 1)
        return ratio(steps.sum(axis=0), np.where(self.negatives > 0, self.positives.sum(axis=0), 0))


def operate(scores: ArrayLike, positives: ArrayLike, threshold: float) -> Operation | None:
    """Sensitivity and specificity at a threshold; None where one of both kinds is missing.

    >>> operate([0.1, 0.4, 0.35, 0.8], [False, False, True, True], 0.4)
    Operation(threshold=0.4, sensitivity=0.5, specificity=0.5)
    """
    values, there = scored(scores, positives)
    if there.all() or not there.any():
        return None
    called = values >= threshold
    return Operation(float(threshold), float(called[there].mean()), float((~called[~there]).mean()))


def youden(scores: ArrayLike, positives: ArrayLike) -> Operation | None:
    """The threshold with the largest sensitivity + specificity - 1; the lowest of several.

    Chosen and measured on the same images, it flatters the classifier, a little where there are many.

    Returns:
        None where one of both kinds is missing.

    Source:
        Youden, Index for rating diagnostic tests, Cancer 3 (1950) 32.

    >>> youden([0.1, 0.4, 0.35, 0.8], [False, False, True, True])
    Operation(threshold=0.35, sensitivity=1.0, specificity=0.5)
    """
    values, there = scored(scores, positives)
    if there.all() or not there.any():
        return None
    thresholds = np.unique(values)
    sensitivity = _reached(values[there], thresholds)
    # Rounded, so that two equal sums of different fractions are equal.
    best = int(np.argmax(np.round(sensitivity - _reached(values[~there], thresholds), 12)))
    return operate(values, there, float(thresholds[best]))


def _reached(values: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of the values that reach each threshold."""
    return 1 - np.searchsorted(np.sort(values), thresholds, side="left") / len(values)


def _once(scores: ArrayLike, positives: ArrayLike) -> WeighedScores:
    """Each case once."""
    together = np.zeros(np.size(scores), np.intp)
    return GroupedScores.of(scores, positives, together, 1).weighed(np.ones((1, 1)))


def _number(values: NDArray[np.float64]) -> float | None:
    return None if np.isnan(values[0]) else float(values[0])


def scored(scores: ArrayLike, positives: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores and labels, checked; (n,) float64 and (n,) bool.

    Raises:
        OptionError: shapes that differ, labels that are not bool, or scores that are not finite.
    """
    values, there = np.asarray(scores, np.float64), np.asarray(positives)
    if values.ndim != 1 or there.shape != values.shape or (there.dtype != np.bool_ and there.size):
        raise OptionError(
            f"scores of shape {values.shape} for {there.dtype} labels of shape {there.shape}",
            expected="(n,) scores and (n,) bool",
        )
    if not np.isfinite(values).all():
        raise OptionError("scores that are NaN or infinite", expected="finite scores")
    return values, there.astype(bool)
