"""Calibrations that are fitted to the scores of one pathology."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq, isotonic_regression
from scipy.special import expit

from cxr_explain.explaining.calibration import Calibration
from cxr_explain.measures.statistics.discrimination import scored
from cxr_explain.options import CalibrationKind

_COOLEST, _HOTTEST = 1e-3, 1e3
"""Temperatures between which one is looked for: beyond them scores say next to nothing, or all of it."""


def temperature(logits: ArrayLike, positives: ArrayLike) -> Calibration | None:
    """The temperature of the greatest likelihood: the T that minimises the log loss of sigmoid(logit / T).

    The log loss is convex in 1 / T, so that its derivative, the sum of logit * (sigmoid(logit / T) - label),
    is zero at one place at most. There is none where higher scores are not more often right, or where the
    scores part positives from negatives at 0 without a fault.

    Args:
        logits: (n,) scores before the sigmoid.
        positives: (n,) bool.

    Returns:
        None where there is none.

    Raises:
        OptionError: shapes that differ, or logits that are not finite.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.

    >>> temperature([-4.0, -4.0, 4.0, 4.0, 4.0], [False, False, True, True, False]).temperature
    2.885...
    """
    scores, there = scored(logits, positives)

    def slope(coldness: float) -> float:
        return float(scores @ (expit(scores * coldness) - there))

    if not slope(1 / _HOTTEST) < 0 < slope(1 / _COOLEST):
        return None
    return Calibration(temperature=1 / brentq(slope, 1 / _HOTTEST, 1 / _COOLEST, xtol=1e-14, rtol=1e-14))


def isotonic(logits: ArrayLike, positives: ArrayLike) -> Calibration:
    """The rising curve that is nearest to the labels in squares, kept by the ends of the level parts.

    Equal scores are one score. Between two ends the curve is linear, as scikit-learn's IsotonicRegression
    predicts; beyond the first and the last it is level. It may give 0 and 1, and makes equal what it levels.

    Args:
        logits: (n,) scores before the sigmoid; one or more.
        positives: (n,) bool.

    Raises:
        OptionError: shapes that differ, or logits that are not finite.

    Source:
        Zadrozny and Elkan, Transforming Classifier Scores into Accurate Multiclass Probability Estimates, KDD
        2002, section 3.2; Barlow et al., Statistical Inference under Order Restrictions (1972).

    >>> isotonic([-2.0, -1.0, 0.0, 1.0], [False, True, False, True]).knots
    ((-2.0, 0.0), (-1.0, 0.5), (0.0, 0.5), (1.0, 1.0))
    """
    scores, there = scored(logits, positives)
    distinct, member, counts = np.unique(scores, return_inverse=True, return_counts=True)
    shares = np.bincount(member, weights=there) / counts
    curve = np.clip(isotonic_regression(shares, weights=counts).x, 0.0, 1.0)
    is_end = np.ones(len(curve), bool)
    is_end[1:-1] = (curve[1:-1] != curve[:-2]) | (curve[1:-1] != curve[2:])
    return Calibration(knots=tuple(zip(distinct[is_end].tolist(), curve[is_end].tolist(), strict=True)))


def calibration_of(
    kind: CalibrationKind, logits: ArrayLike, positives: ArrayLike
) -> tuple[Calibration | None, str]:
    """The calibration of a kind, and why there is none that was asked for; '' where there is, or none was."""
    if kind == "none":
        return None, ""
    if kind == "isotonic":
        return isotonic(logits, positives), ""
    found = temperature(logits, positives)
    return found, "" if found else "no temperature makes its probabilities likelier"
