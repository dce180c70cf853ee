"""Maps and masks of the measures, checked: (H, W) in the same pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_explain.errors import OptionError

Map = NDArray[np.float64]
Mask = NDArray[np.bool_]


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


def as_map(saliency: ArrayLike) -> Map:
    """A map as a float64 array (H, W).

    Raises:
        OptionError: another shape, no pixel at all, or values that are not finite.

    >>> as_map([[1, 2]]).dtype
    dtype('float64')
    """
    values = np.asarray(saliency, np.float64)
    if values.ndim != 2 or not values.size:
        raise OptionError(f"a map of shape {values.shape}", expected="(H, W)")
    _check_finite(values)
    return values


def as_map_of(saliency: ArrayLike, shape: tuple[int, ...]) -> Map:
    """A map (H, W) in the pixels of a mask.

    Raises:
        OptionError: another shape than the mask's, or values that are not finite.
    """
    return _as_maps(saliency, shape, f"{shape}, as its mask")


def as_maps(maps: ArrayLike) -> Map:
    """Maps of K classes as a float64 array (K, H, W).

    Raises:
        OptionError: another shape, no pixel at all, or values that are not finite.
    """
    values = np.asarray(maps, np.float64)
    if values.ndim != 3 or 0 in values.shape[1:]:
        raise OptionError(f"maps of shape {values.shape}", expected="(K, H, W)")
    _check_finite(values)
    return values


def evidence(maps: Map) -> Map:
    """The positive part of maps, divided by its largest value so that no sum of it overflows.

    >>> evidence(np.array([-1.0, 2.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    positive = np.maximum(maps, 0)
    largest = positive.max(initial=0)
    return np.asarray(positive / largest if largest > 0 else positive)


def as_maps_of(maps: ArrayLike, shape: tuple[int, ...]) -> Map:
    """Maps (K, H, W) of K classes in the pixels of a mask.

    Raises:
        OptionError: another shape than the mask's, or values that are not finite.
    """
    K = len(np.atleast_1d(np.asarray(maps)))
    return _as_maps(maps, (K, *shape), f"(K, {shape[0]}, {shape[1]}), as its mask")


def _as_maps(maps: ArrayLike, shape: tuple[int, ...], expected: str) -> Map:
    values = np.asarray(maps, np.float64)
    if values.shape != shape:
        raise OptionError(f"a map of shape {values.shape}", expected=expected)
    _check_finite(values)
    return values


def _check_finite(values: Map) -> None:
    if not np.isfinite(values).all():
        raise OptionError("a map with NaN or infinite values", expected="finite values")
