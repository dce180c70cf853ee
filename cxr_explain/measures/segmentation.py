"""From a map to a mask: min-max, then Otsu's threshold or a fixed one, as CheXlocalize does.

A constant map points nowhere, and gives an empty mask by either threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from skimage.filters import threshold_otsu

from cxr_explain.errors import OptionError
from cxr_explain.reference.chexlocalize import chexlocalize_pathology
from cxr_explain.support.arrays import Map, Mask, as_map

CHEXLOCALIZE_THRESHOLDS: Mapping[str, float] = MappingProxyType(
    {
        "Enlarged Cardiomediastinum": 0.2,
        "Cardiomegaly": 0.2,
        "Lung Lesion": 0.7,
        "Lung Opacity": 0.4,
        "Edema": 0.4,
        "Consolidation": 0.4,
        "Atelectasis": 0.4,
        "Pneumothorax": 0.6,
        "Effusion": 0.6,
        "Support Devices": 0.4,
    }
)
"""Thresholds that CheXlocalize tuned on its validation set, for its own models' min-max normalised maps."""

Threshold = float | Literal["otsu"]
"""Of a map from 0 to 1."""


def min_max(saliency: ArrayLike) -> Map:
    """A map scaled so that it reaches from 0 to 1; a constant map becomes 0 everywhere.

    Args:
        saliency: (H, W), signed.

    Raises:
        OptionError: another shape, or values that are not finite.

    >>> min_max([[-1.0, 0.0, 3.0]]).tolist(), min_max([[2.0, 2.0]]).tolist()
    ([[0.0, 0.25, 1.0]], [[0.0, 0.0]])
    """
    values = as_map(saliency)
    # By a power of two, which rounds nothing: the range of very large values would overflow.
    values = np.ldexp(values, -np.frexp(np.abs(values).max())[1])
    span = values.max() - values.min()
    return (values - values.min()) / span if span > 0 else np.zeros_like(values)


def segment(saliency: ArrayLike, threshold: Threshold = "otsu") -> Mask:
    """The pixels of a map above a threshold.

    Args:
        saliency: (H, W), signed, at the resolution the mask is wanted at.
        threshold: level of the min-max normalised map, from 0 to below 1, or "otsu". Otsu's is found, and
            applied, in 256 grey levels, rounded down, as in CheXlocalize.

    Returns:
        (H, W) bool: what is greater than the threshold. Never the whole map.

    Raises:
        OptionError: a threshold out of range, or a map that is not finite.

    Source:
        Otsu, A Threshold Selection Method from Gray-Level Histograms, IEEE Trans. SMC 9 (1979) 62; Saporta et
        al., Benchmarking saliency methods for chest X-ray interpretation, Nature Machine Intelligence 4
        (2022) 867.

    >>> segment([[0.0, 1.0, 8.0, 10.0]]).tolist(), segment([[0.0, 1.0, 8.0, 10.0]], 0.8).tolist()
    ([[False, False, True, True]], [[False, False, False, True]])
    """
    scaled = min_max(saliency)
    if threshold == "otsu":
        return _above_otsu(scaled)
    if isinstance(threshold, str) or not 0 <= threshold < 1:
        raise OptionError(f"the threshold {threshold!r}", expected="'otsu', or 0 to below 1")
    return np.asarray(scaled > threshold)


def chexlocalize_threshold(pathology: str) -> float:
    """CheXlocalize's threshold for a pathology, under any name that it has.

    Raises:
        ReferenceLabelError: a pathology that CheXlocalize does not localise.

    >>> chexlocalize_threshold("Pleural Effusion"), chexlocalize_threshold("Airspace Opacity")
    (0.6, 0.4)
    """
    return CHEXLOCALIZE_THRESHOLDS[chexlocalize_pathology(pathology)]


def _above_otsu(scaled: Map) -> Mask:
    grey = (255 * scaled).astype(np.uint8)
    if not grey.any():  # constant: Otsu would divide nothing into two
        return np.zeros(grey.shape, bool)
    return np.asarray(grey > threshold_otsu(grey))
