"""Whether scores tell images with a finding from images without it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_explain.errors import OptionError


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
    values, there = scored(scores, positives)
    if there.all() or not there.any():
        return None
    negatives = np.sort(values[~there])
    below, not_above = (np.searchsorted(negatives, values[there], side) for side in ("left", "right"))
    return float((below + not_above).mean() / (2 * len(negatives)))


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
