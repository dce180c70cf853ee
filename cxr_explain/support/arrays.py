"""Types of arrays that every room shares, and checks of maps and masks: (H, W) in the same pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_explain.errors import OptionError

Shape = tuple[int, int]
"""Height and width of an array, (H, W)."""

Mask = NDArray[np.bool_]
"""(H, W): which pixels belong to something."""

Map = NDArray[np.float64]
"""(H, W), or (K, H, W): how much each pixel counts, by class."""

Points = NDArray[np.float64]
"""(..., 2): points as x and y."""

Floats = NDArray[np.float32]
"""Grey levels, strengths or scores, of any shape."""


def as_mask(mask: ArrayLike) -> Mask:
    """A mask as a bool array (H, W).

    Raises:
        OptionError: another type or shape, or no pixel at all.

    >>> as_mask([[True, False]]).shape
    (1, 2)
    """
    inside = np.asarray(mask)
    if inside.ndim != 2 or inside.dtype != np.bool_ or not inside.size:
        raise OptionError(f"a {inside.dtype} mask of shape {inside.shape}", expected="bool (H, W)")
    return inside


def as_mask_pair(first: ArrayLike, second: ArrayLike) -> tuple[Mask, Mask]:
    """Two masks of one shape.

    Raises:
        OptionError: masks of another type, or of shapes that differ.
    """
    one, other = as_mask(first), as_mask(second)
    if one.shape != other.shape:
        raise OptionError(f"masks of shapes {one.shape} and {other.shape}", expected="the same pixels")
    return one, other


def as_map(saliency: ArrayLike, shape: tuple[int, ...] | None = None) -> Map:
    """A map as a float64 array (H, W).

    Args:
        saliency: (H, W).
        shape: (H, W) of the mask that it is measured against; any without.

    Raises:
        OptionError: another shape, no pixel at all, or values that are not finite.

    >>> as_map([[1, 2]]).dtype
    dtype('float64')
    """
    return _checked(saliency, "(H, W)", shape)


def as_maps(maps: ArrayLike, shape: tuple[int, ...] | None = None) -> Map:
    """Maps of K classes as a float64 array (K, H, W).

    Args:
        maps: (K, H, W).
        shape: (H, W) of the mask that they are measured against; any without.

    Raises:
        OptionError: another shape, no pixel at all, or values that are not finite.
    """
    return _checked(maps, "(K, H, W)", shape)


def evidence(maps: Map) -> Map:
    """The positive part of maps, divided by its largest value so that no sum of it overflows.

    >>> evidence(np.array([-1.0, 2.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    positive = np.maximum(maps, 0)
    largest = positive.max(initial=0)
    return np.asarray(positive / largest if largest > 0 else positive)


def _checked(maps: ArrayLike, axes: str, shape: tuple[int, ...] | None) -> Map:
    values = np.asarray(maps, np.float64)
    if values.ndim != axes.count(",") + 1 or 0 in values.shape[-2:]:
        raise OptionError(f"a map of shape {values.shape}", expected=axes)
    if shape is not None and values.shape[-2:] != shape:
        raise OptionError(f"a map of {values.shape[-2:]} pixels", expected=f"{shape}, as its mask")
    if not np.isfinite(values).all():
        raise OptionError("a map with NaN or infinite values", expected="finite values")
    return values
