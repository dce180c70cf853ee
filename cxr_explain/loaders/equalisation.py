"""Histogram equalisation, as the JPEGs of MIMIC-CXR-JPG and of CheXpert were made from DICOM.

Their authors' code, in words (MIT-LCP/mimic-cxr, issue 16; stanfordmlgroup/chexpert-labeler, issue 11): the
stored values are scaled to 8 bits, inverted where the image is MONOCHROME1, and given to OpenCV's
`equalizeHist`. No window or VOI LUT is applied, and neither a display shutter nor padding is looked for.

This is MIMIC-CXR-JPG's: the smallest value becomes 0, the largest 255, decimals are cut off. CheXpert's
scales from 0 instead, and rounds. Two things differ on purpose: pixels behind a shutter, and padding, do not
count in the histogram and are shown black; and a modality transform of the header is applied, since one that
falls would leave the image inverted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxr_explain.loaders.levels import FloatTable, Levels

_WHITE = 255
_BINS = 256
_LEVEL_BEFORE = 4
"""Of 255: an image none of whose grey levels moves further was equalised before, as far as one can tell. JPEG
compression at quality 95 moves those of an equalised image by up to 3."""


def to_eight_bits(levels: Levels) -> FloatTable:
    """Scale the values that occur to whole numbers from 0 to 255, and these to [0, 1].

    All pixels of one value become 0.

    Args:
        levels: the values, each with how many pixels have it.

    Returns:
        One entry for each value.

    >>> from cxr_explain.loaders.levels import count_levels
    >>> levels = count_levels(np.array([[100, 150, 200]], np.uint8), 0, 255)
    >>> (to_eight_bits(levels)[[100, 150, 200]] * 255).tolist()
    [0.0, 127.0, 255.0]
    """
    present = levels.values[levels.present]
    low, high = present.min(), present.max()
    if low == high:
        return np.zeros_like(levels.values)
    scaled: FloatTable = np.floor((levels.values - low) / (high - low) * _WHITE)
    return np.clip(scaled, 0, _WHITE) / _WHITE


def equalise(levels: Levels, values: FloatTable, steps: list[str], warnings: list[str]) -> FloatTable:
    """Equalise the histogram of grey levels.

    Args:
        levels: how many pixels have each entry, and which entries are padding.
        values: the grey level of each entry, one of 256 in [0, 1].
        steps: what was done is added here.
        warnings: what a reviewer should know is added here.

    Returns:
        The grey level of each entry, one of 256 in [0, 1].
    """
    grey = np.rint(values * _WHITE).astype(np.intp)
    present = levels.present
    histogram = np.zeros(_BINS, np.int64)
    np.add.at(histogram, grey[present], levels.counts[present])
    table = equalising_table(histogram)
    steps.append(f"histogram of {histogram.sum():,} pixels equalised, in 8 bits")
    occurs = np.flatnonzero(histogram)
    moved = np.abs(table[occurs].astype(int) - occurs).max()
    if len(occurs) > 1 and moved <= _LEVEL_BEFORE:
        warnings.append(
            f"equalised before, as it seems: no grey level moves by more than {moved} of 255; the JPEGs of "
            "MIMIC-CXR-JPG and CheXpert are to be read plain"
        )
    return table[grey] / _WHITE


def equalising_table(histogram: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The grey level that takes the place of each, as OpenCV's `equalizeHist` has it, bit for bit.

    Level v becomes 255 (c(v) - c(first)) / (n - c(first)), rounded, where c(v) counts the pixels up to v, the
    first is the darkest that occurs, and n counts all pixels. An image of one level stays as it is.

    Args:
        histogram: (256,) how many pixels have each level; at least one.

    Returns:
        (256,) uint8.

    >>> equalising_table(np.array([0, 2, 1, 1] + [0] * 252))[:4].tolist()
    [0, 0, 128, 255]
    """
    first = int(np.flatnonzero(histogram)[0])
    others = int(histogram.sum() - histogram[first])
    if others == 0:
        return np.arange(_BINS, dtype=np.uint8)
    above = np.cumsum(histogram) - histogram[first]
    above[:first] = 0
    scale = np.float32(_WHITE) / np.float32(others)  # OpenCV counts in single precision
    table: NDArray[np.uint8] = np.rint(above.astype(np.float32) * scale).astype(np.uint8)
    return table
