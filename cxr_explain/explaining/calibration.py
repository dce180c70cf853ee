"""From a score to a probability that is as often right as it says, for one pathology."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_explain.errors import OptionError


@dataclass(frozen=True)
class Calibration:
    """A calibration that was fitted: a temperature, or the knots of an isotonic curve.

    Args:
        temperature: T of sigmoid(logit / T), above 0; None for an isotonic curve.
        knots: (logit, probability) between which the isotonic curve is linear, by rising logit; beyond the
            first and the last it is flat. () for a temperature.

    Raises:
        OptionError: neither of both or both, or numbers that are no temperature or no rising curve.

    Source:
        Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2, for the temperature;
        Zadrozny and Elkan, KDD 2002, for the isotonic curve.

    >>> Calibration(temperature=2.0).probabilities([0.0, 2.0]).round(3).tolist()
    [0.5, 0.731]
    >>> Calibration(knots=((-1.0, 0.1), (1.0, 0.5))).probabilities([-9.0, 0.0, 9.0]).round(3).tolist()
    [0.1, 0.3, 0.5]
    """

    temperature: float | None = None
    knots: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if (self.temperature is None) != bool(self.knots) or not (self._is_warm or self._is_rising):
            raise OptionError(
                "a calibration that is neither a temperature nor a rising curve",
                expected="a temperature above 0, or (logit, probability) by rising logit",
            )

    @property
    def _is_warm(self) -> bool:
        return self.temperature is not None and 0 < self.temperature < math.inf

    @property
    def _is_rising(self) -> bool:
        if not self.knots:
            return False
        at, heights = np.array(self.knots, np.float64).T
        finite = np.isfinite(at).all() and heights[0] >= 0 and heights[-1] <= 1
        return bool(finite and (np.diff(at) > 0).all() and (np.diff(heights) >= 0).all())

    def probabilities(self, logits: ArrayLike) -> NDArray[np.float64]:
        """The calibrated probabilities of logits, of any shape."""
        from scipy.special import expit  # here, as explaining one file does without SciPy

        scores = np.asarray(logits, np.float64)
        if self.temperature is not None:
            return np.asarray(expit(scores / self.temperature))
        at, heights = np.array(self.knots, np.float64).T
        return np.asarray(np.interp(scores, at, heights))

    def log_odds(self, score: float) -> float:
        """The log odds of the calibrated probability of one logit; of a temperature without rounding to 1."""
        if self.temperature is not None:
            return score / self.temperature
        from scipy.special import logit

        return float(logit(self.probabilities(score)))
