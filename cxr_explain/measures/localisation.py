"""Where a map points, against the masks of what is there.

Maps and masks are (H, W) in the same pixels. What the model did not see is to be cut off both first. Sums are
taken in float64.

The peak of a map is every pixel that has its largest value. A peak of several pixels hits by the share of
them that lie in the mask, which is the expected hit of one drawn among them: so a constant map is worth as
much as a random peak, wherever a library's `argmax` would have put it. A map without a positive value has no
peak: whether it hits is not estimable.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import distance_transform_edt

from cxr_explain.errors import OptionError
from cxr_explain.support.arrays import Mask, as_map_of, as_maps_of, as_mask


def peak_hit(saliency: ArrayLike, mask: ArrayLike) -> float | None:
    """The pointing game: 1 where the peak of the map lies in the mask, else 0.

    With :func:`within` around the mask, it is the tolerant pointing game.

    Args:
        saliency: (H, W), signed; only what is positive can be a peak.
        mask: (H, W) bool.

    Returns:
        0 to 1, a fraction for a peak of several pixels; None for an empty mask, and for a map without a
        positive value.

    Raises:
        OptionError: shapes that differ, or a map that is not finite.

    Source:
        Zhang et al., Top-down Neural Attention by Excitation Backprop, IJCV 126 (2018) 1084, section 4.2.

    >>> mask = [[True, False], [False, False]]
    >>> peak_hit([[2, 1], [0, 0]], mask), peak_hit([[1, 1], [0, 0]], mask), peak_hit([[0, 0], [0, 0]], mask)
    (1.0, 0.5, None)
    """
    inside = as_mask(mask)
    values = as_map_of(saliency, inside.shape)
    highest = values.max()
    return float(inside[values == highest].mean()) if inside.any() and highest > 0 else None


def random_hit(mask: ArrayLike) -> float | None:
    """The expected :func:`peak_hit` of a peak drawn uniformly: the mask's share of the area; None if empty.

    >>> random_hit([[True, False], [False, False]])
    0.25
    """
    inside = as_mask(mask)
    return float(inside.mean()) if inside.any() else None


def centre_hit(mask: ArrayLike) -> float | None:
    """The :func:`peak_hit` of a peak at the image's centre, whatever the image; None if the mask is empty.

    The centre of an even number of pixels lies between two of them, and both count by half.

    >>> centre_hit([[True, True], [False, False]])
    0.5
    """
    inside = as_mask(mask)
    rows, columns = (slice((extent - 1) // 2, extent // 2 + 1) for extent in inside.shape)
    return float(inside[rows, columns].mean()) if inside.any() else None


def within(mask: ArrayLike, distance: float, spacing: tuple[float, float] = (1.0, 1.0)) -> Mask:
    """The pixels whose centre is no further than `distance` from the centre of a pixel of the mask.

    Args:
        mask: (H, W) bool.
        distance: Euclidean, in the unit of `spacing`. A peak within half a cell of the map of the mask cannot
            be told from one in it.
        spacing: distance of two pixels, down and across.

    Raises:
        OptionError: a negative distance.

    >>> within([[True, False, False]], 1).tolist(), within([[True, False, False]], 1, (2.0, 2.0)).tolist()
    ([[True, True, False]], [[True, False, False]])
    """
    if not distance >= 0:
        raise OptionError(f"a distance of {distance}", expected="0 or more pixels")
    inside = as_mask(mask)
    if not inside.any():
        return inside.copy()
    return np.asarray(distance_transform_edt(~inside, sampling=spacing) <= distance)


def class_share(maps: ArrayLike, k: int, mask: ArrayLike) -> float | None:
    """How much of what a reader sees within a mask has the colour of class k.

    sum of max(m_k, 0) over the mask, divided by the sum over the mask and all K classes. Of fused maps, that
    is the saliency whose winner is k. Where all of it lies outside of the mask, the share is 0.

    Args:
        maps: (K, H, W), for example a fused map by class; negatives (ELU, GELU) are no evidence.
        k: the class whose mask it is.
        mask: (H, W) bool.

    Returns:
        0 to 1; None for an empty mask, and for maps without any positive value.

    Raises:
        OptionError: shapes that do not fit, maps that are not finite, or no such class.

    >>> class_share([[[3.0, 0.0]], [[0.0, 1.0]]], 0, [[True, True]])
    0.75
    """
    inside = as_mask(mask)
    values = as_maps_of(maps, inside.shape)
    if not 0 <= k < len(values):
        raise OptionError(f"class {k} of {len(values)}", expected=f"0 to {len(values) - 1}")
    if not inside.any() or not (values > 0).any():
        return None
    sums = np.maximum(values[:, inside], 0).sum(axis=1)
    return float(sums[k] / sums.sum()) if sums.any() else 0.0


def own_pixels(masks: ArrayLike, k: int) -> Mask:
    """The pixels of mask k that belong to no other mask; (K, H, W) bool -> (H, W).

    >>> own_pixels([[[True, True]], [[False, True]]], 0).tolist()
    [[True, False]]
    """
    stack = np.asarray(masks, bool)
    return np.asarray(stack[k] & (stack.sum(axis=0) == 1))
