"""Whether probabilities are as often right as they say."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_explain.errors import OptionError
from cxr_explain.evaluation.discrimination import scored

BINS = 10


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
    """The mean over images of |mean probability - share of positives| of the image's bin.

    The bins have equal widths over [0, 1] and hold their lower edge; 1 belongs to the last. None without any
    image.

    Args:
        probabilities: (n,) of the finding, in [0, 1].
        positives: (n,) bool.
        bins: how many.

    Raises:
        OptionError: shapes that differ, values that are no probabilities, or no bin.

    Source:
        Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015, for the
        probability of one event.

    >>> expected_calibration_error([0.5, 1.0], [False, True])
    0.25
    """
    chances, there = _chances(probabilities, positives)
    if bins < 1:
        raise OptionError(f"{bins} bins", expected="1 or more")
    if not len(chances):
        return None
    which = np.minimum((chances * bins).astype(int), bins - 1)
    gaps = np.bincount(which, weights=chances - there, minlength=bins)
    return float(np.abs(gaps).sum() / len(chances))


def _chances(probabilities: ArrayLike, positives: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    chances, there = scored(probabilities, positives)
    if len(chances) and not (chances.min() >= 0 and chances.max() <= 1):
        raise OptionError(
            f"values from {chances.min():g} to {chances.max():g}", expected="probabilities in [0, 1]"
        )
    return chances, there
