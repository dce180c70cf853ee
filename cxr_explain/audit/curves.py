"""The curves of one pathology, in few enough points to draw: ROC, precision-recall and calibration."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_explain.audit.measures import Scored
from cxr_explain.measures.statistics.calibration import calibration_curve
from cxr_explain.measures.statistics.discrimination import scored as checked
from cxr_explain.support.arrays import Points

MOST_POINTS = 300
"""Of a curve in the statistics' document."""


def roc_points(scores: ArrayLike, positives: ArrayLike) -> Points:
    """The ROC curve at every threshold that makes a difference, from (0, 0) to (1, 1).

    Args:
        scores: (n,), of any scale.
        positives: (n,) bool.

    Returns:
        (m, 2): 1 - specificity and sensitivity; (0, 2) where one of both kinds is missing.

    Raises:
        OptionError: shapes that differ, or scores that are not finite.

    Source:
        Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27 (2006) 861, algorithm 1:
        equal scores are called together, which makes a slanting line.

    >>> roc_points([0.1, 0.4, 0.35, 0.8], [False, False, True, True]).tolist()
    [[0.0, 0.0], [0.0, 0.5], [0.5, 0.5], [0.5, 1.0], [1.0, 1.0]]
    """
    right, wrong = _called(scores, positives)
    if not len(right):
        return np.empty((0, 2))
    points = np.column_stack([wrong / wrong[-1], right / right[-1]])
    return np.vstack([[[0.0, 0.0]], points])


def precision_recall_points(scores: ArrayLike, positives: ArrayLike) -> Points:
    """Precision and recall at every threshold, from the highest: a curve of steps, not to be interpolated.

    There is no point at recall 0 unless some negative scores highest: precision is not estimable there.

    Args:
        scores: (n,), of any scale.
        positives: (n,) bool.

    Returns:
        (m, 2): recall and precision; (0, 2) where one of both kinds is missing.

    Raises:
        OptionError: shapes that differ, or scores that are not finite.

    Source:
        Davis and Goadrich, The Relationship Between Precision-Recall and ROC Curves, ICML 2006, section 2.

    >>> precision_recall_points([0.1, 0.4, 0.35, 0.8], [False, False, True, True]).round(3).tolist()
    [[0.5, 1.0], [0.5, 0.5], [1.0, 0.667], [1.0, 0.5]]
    """
    right, wrong = _called(scores, positives)
    if not len(right):
        return np.empty((0, 2))
    return np.column_stack([right / right[-1], right / (right + wrong)])


def thinned(points: Points, most: int = MOST_POINTS) -> Points:
    """Some points of a curve, evenly spread along it; its ends are kept.

    Args:
        points: (m, 2).
        most: number of points that may be left, 2 or more.

    >>> thinned(np.array([[0.0, 0.0], [0.1, 0.0], [0.5, 0.0], [1.0, 0.0]]), 3).tolist()
    [[0.0, 0.0], [0.5, 0.0], [1.0, 0.0]]
    """
    if len(points) <= most:
        return points
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(points, axis=0)).sum(axis=1))])
    chosen = np.searchsorted(way, np.linspace(0, way[-1], most)[:-1], side="left")
    return points.take(np.unique([*chosen.tolist(), len(points) - 1]), axis=0)


def curves_of(scored: Scored, *, level: float) -> dict[str, list[Any]]:
    """All curves of a pathology, as the statistics' document has them; [] where one is not estimable.

    Args:
        scored: the images that count.
        level: confidence level of the calibration's intervals, between 0 and 1.
    """
    given = scored.probabilities, scored.positive
    bins = calibration_curve(*given, groups=scored.patients.tolist(), level=level)
    return {
        "roc": thinned(_without_straights(roc_points(*given))).tolist(),
        "pr": thinned(precision_recall_points(*given)).tolist(),
        "calibration": [
            {"images" if name == "cases" else name: value for name, value in vars(each).items()}
            for each in bins
        ],
    }


def _called(scores: ArrayLike, positives: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True and false positives at each different score, from the highest; empty if a kind is missing."""
    values, there = checked(scores, positives)
    if there.all() or not there.any():
        return np.empty(0), np.empty(0)
    order = np.argsort(-values, kind="stable")
    last = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)
    right = np.cumsum(there[order])[last].astype(np.float64)
    return right, last + 1 - right


def _without_straights(points: Points) -> Points:
    """Without points that lie on the line between their neighbours, along an axis."""
    steps = np.diff(points, axis=0) > 0
    turns = (steps[1:] != steps[:-1]).any(axis=1) | steps[1:].all(axis=1)
    return points[np.concatenate([[True], turns, [True]])] if len(points) > 2 else points
