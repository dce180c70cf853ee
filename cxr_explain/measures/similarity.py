"""How alike two stacks of class maps are, image by image and class by class.

Rows are kept: maps (..., I, J) give numbers (...), NaN where one is not estimable. That is so where a map is
flat: where its values differ by no more than a millionth of the largest, which is what rounding in float32
leaves of a constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from cxr_explain.errors import OptionError
from cxr_explain.measures.faithfulness import Rows
from cxr_explain.measures.faithfulness import pearson as _pearson

_FLAT = 1e-6
_WINDOWS = (3, 11)  # the smallest that has a variance in both directions; Wang's own


@dataclass(frozen=True, eq=False)
class Similarity:
    """How alike maps are; each (...), 1 for equal maps, NaN where it is not estimable.

    The signed maps' ranks are the number to look at first. SSIM sees what a reader sees, and rewards two maps
    for the empty background that they share: compare it with that of `unrelated` maps.

    Args:
        ssim: structural similarity of the positive parts.
        spearman: rank correlation of the signed maps.
        spearman_absolute: rank correlation of the magnitudes, whatever they speak for.
        pearson: linear correlation of the signed maps.
    """

    ssim: Rows
    spearman: Rows
    spearman_absolute: Rows
    pearson: Rows


def similarity(one: ArrayLike, other: ArrayLike) -> Similarity:
    """Compare maps in all four ways.

    Args:
        one: (..., I, J), signed.
        other: of the same shape.

    Raises:
        OptionError: shapes that differ, or values that are not finite.

    Source:
        Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, section 3: ranks with and without the
        sign, and SSIM.

    >>> found = similarity(np.eye(8), -np.eye(8))
    >>> [round(each.item(), 9) for each in (found.spearman, found.spearman_absolute, found.ssim)]
    [-1.0, 1.0, nan]
    """
    return Similarity(
        ssim(one, other),
        spearman(one, other),
        spearman(*(np.abs(each) for each in _pair(one, other))),
        pearson(one, other),
    )


def unrelated(maps: ArrayLike) -> Similarity:
    """Compare each image's maps with the next image's: how alike maps are by chance.

    A map that changed until it is no more like the original than this has lost what it said of its image.

    Args:
        maps: (B, ..., I, J), of different images; the last is compared with the first.

    Raises:
        OptionError: fewer than two images, or values that are not finite.

    Source:
        Arun et al., Radiology: Artificial Intelligence 3 (2021) e200267, figure 3: the randomisation
        baseline, there over 50 random pairs.

    >>> unrelated(np.stack([np.eye(8), np.eye(8)[::-1]])).spearman.shape
    (2,)
    """
    values = np.asarray(maps)
    if values.ndim < 3 or len(values) < 2:
        raise OptionError(f"maps of shape {values.shape}", expected="those of B >= 2 images, (B, ..., I, J)")
    return similarity(values, np.roll(values, -1, axis=0))


def spearman(one: ArrayLike, other: ArrayLike) -> Rows:
    """Spearman's rank correlation of the positions, equal values sharing their mean rank.

    >>> spearman([[1.0, 2.0, 3.0]], [[1.0, 4.0, 9.0]]).item()
    1.0
    """
    a, b = (rankdata(each, axis=-1) for each in _rows_of_pair(one, other))
    return _pearson(a, b)


def pearson(one: ArrayLike, other: ArrayLike) -> Rows:
    """Pearson's correlation of the positions.

    >>> pearson([[1.0, 2.0, 3.0]], [[-1e-20, -2e-20, -3e-20]]).item()
    -1.0
    """
    a, b = _rows_of_pair(one, other)
    return _pearson(a, b)


def ssim(one: ArrayLike, other: ArrayLike) -> Rows:
    """Structural similarity of what a figure shows: the positive parts, each stretched to [0, 1].

    The window is square and flat, of an odd width of about a quarter of the map's shorter side, 3 at least
    (maps of 7 x 7 and 14 x 14; 7 for 28 x 28) and 11 at most: what is local is relative to the map. Variances
    are unbiased, windows lie within the map, K1 is 0.01 and K2 is 0.03.

    NaN where either map has no positive part, or a flat one, or a side below 3.

    Source:
        Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, IEEE TIP 13
        (2004) 600, equation 13.

    >>> ssim(np.eye(8), 5 * np.eye(8)).item()
    1.0
    """
    a, b = (_stretched(np.maximum(each, 0)) for each in _pair(one, other))
    if min(a.shape[-2:]) < _WINDOWS[0]:
        return np.full(a.shape[:-2], np.nan)
    width = window(*a.shape[-2:])
    unbiased = width**2 / (width**2 - 1)
    mean_a, mean_b = _local(a, width), _local(b, width)
    variances = unbiased * (_local(a**2, width) - mean_a**2 + _local(b**2, width) - mean_b**2)
    covariance = unbiased * (_local(a * b, width) - mean_a * mean_b)
    luminance = (2 * mean_a * mean_b + 0.01**2) / (mean_a**2 + mean_b**2 + 0.01**2)
    structure = (2 * covariance + 0.03**2) / (variances + 0.03**2)
    return np.asarray((luminance * structure).mean(axis=(-2, -1)))


def window(height: int, width: int) -> int:
    """The width of `ssim`'s window for maps of this size.

    >>> [window(side, side) for side in (7, 14, 16, 28, 224)]
    [3, 3, 5, 7, 11]
    """
    odd = min(height, width) // 8 * 2 + 1
    return min(max(odd, _WINDOWS[0]), _WINDOWS[1])


def _local(maps: Rows, width: int) -> Rows:
    """The mean in each window that lies within the map."""
    return np.asarray(sliding_window_view(maps, (width, width), axis=(-2, -1)).mean(axis=(-2, -1)))


def _stretched(maps: Rows) -> Rows:
    """Each map from 0 to 1; a flat one is NaN all over, and so is whatever is made of it."""
    low, high = maps.min(axis=(-2, -1), keepdims=True), maps.max(axis=(-2, -1), keepdims=True)
    return np.asarray((maps - low) / np.where(_flat(maps), np.nan, high - low))


def _flat(maps: Rows) -> NDArray[np.bool_]:
    """Whether nothing is left of a map but rounding, (..., 1, 1)."""
    low, high = maps.min(axis=(-2, -1), keepdims=True), maps.max(axis=(-2, -1), keepdims=True)
    largest = np.maximum(np.abs(low), np.abs(high))
    return np.asarray(high / 2 - low / 2 <= _FLAT * largest / 2)  # halves: a sum might overflow


def _rows_of_pair(one: ArrayLike, other: ArrayLike) -> tuple[Rows, Rows]:
    """Both as (..., I J), the largest magnitude 1, flat ones 0: no product underflows or overflows."""
    rows = []
    for maps in _pair(one, other):
        largest = np.abs(maps).max(axis=(-2, -1), keepdims=True)
        scaled = np.where(_flat(maps), 0.0, maps / np.where(largest > 0, largest, 1))
        rows.append(scaled.reshape(*maps.shape[:-2], maps.shape[-2] * maps.shape[-1]))
    return rows[0], rows[1]


def _pair(one: ArrayLike, other: ArrayLike) -> tuple[Rows, Rows]:
    a, b = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if a.shape != b.shape or a.ndim < 2 or 0 in a.shape[-2:]:
        raise OptionError(f"maps of shape {a.shape} and {b.shape}", expected="two of one shape, (..., I, J)")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise OptionError("maps with NaN or infinite values", expected="finite maps")
    return a, b
