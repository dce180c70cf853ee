"""Lungs and thorax of a frontal radiograph, by fixed rules or from a segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import ConvexHull
from skimage.measure import find_contours

from cxr_explain.chest.lung_outlines import lung_outlines
from cxr_explain.chest.lung_plausibility import implausible
from cxr_explain.chest.thumbnail import Thumbnail
from cxr_explain.errors import OptionError
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.arrays import Mask, Points, Shape

CHEST_WALL = 0.03
"""How far the thorax reaches beyond the lungs' hull on each side, as a share of the hull's width."""

LUNGS = ("Right Lung", "Left Lung")
"""Names of the masks that are used of a segmentation, as TorchXRayVision's PSPNet has them."""

HEART = "Heart"
"""Name of the mask of the heart, where a segmentation has one."""

SMALLEST = 64
"""Fewest pixels of the shorter side in which anything can be recognised."""

TOO_SMALL = f"an image of fewer than {SMALLEST} pixels a side"
"""Why nothing is recognised in a small image."""

_FRONTAL = frozenset({"PA", "AP"})
_LONGEST = 1.6  # times the shorter side


@dataclass(frozen=True, eq=False)
class LungsAndThorax:
    """Lungs and thorax in cells of a thumbnail.

    Args:
        lungs: (h, w) bool.
        thorax: (h, w) bool: the lungs' hull with the chest wall; the heart is in it.
        lung_outlines: polygons (n, 2) around the lungs, x and y in cells.
        thorax_outline: polygon (n, 2) around the thorax, x and y in cells.
    """

    lungs: Mask = field(repr=False)
    thorax: Mask = field(repr=False)
    lung_outlines: tuple[Points, ...] = field(repr=False)
    thorax_outline: Points = field(repr=False)

    @classmethod
    def within(cls, outlines: tuple[Points, ...], shape: Shape) -> LungsAndThorax:
        """Lungs with these outlines, in cells of a thumbnail of (h, w) cells."""
        return cls.of(filled(outlines, shape), outlines)

    @classmethod
    def of(cls, lungs: Mask, outlines: tuple[Points, ...]) -> LungsAndThorax:
        """Lungs (h, w) that are known with their outlines, and the thorax around them."""
        hull = thorax_around(np.concatenate(outlines))
        return cls(lungs, filled((hull,), lungs.shape), outlines, hull)


def find_lungs(radiograph: Radiograph, thumbnail: Thumbnail) -> LungsAndThorax | str:
    """Find the lungs by :mod:`~cxr_explain.chest.lung_outlines`.

    Returns:
        Lungs and thorax, or why there are none to be seen.
    """
    reason = unsuitable(radiograph)
    if reason:
        return reason
    image = thumbnail.halved()
    found = lung_outlines(image)
    return implausible(found, image.shape) or LungsAndThorax.within(tuple(found.points * 2), thumbnail.shape)


def lungs_from_masks(masks: Mapping[str, ArrayLike], thumbnail: Thumbnail) -> LungsAndThorax | str:
    """Take the lungs from masks (h, w) over the whole radiograph, at any resolution.

    Raises:
        OptionError: a lung that is missing, or a mask that is not two-dimensional.
    """
    lungs = np.zeros(thumbnail.shape, bool)
    for name in LUNGS:
        if name not in masks:
            raise OptionError(f"masks of {', '.join(masks) or 'nothing'}", expected=f"a mask of {name}")
        lungs |= resampled(masks[name], thumbnail.shape)
    if not lungs.any():
        return "no lungs in the segmentation"
    outlines = tuple(line[:, ::-1] - 0.5 for line in find_contours(np.pad(lungs, 1).astype(float), 0.5))
    return LungsAndThorax.of(lungs, outlines)


def thorax_around(points: Points) -> Points:
    """The widened convex hull of the lungs' points (n, 2), on both sides down to the lower angle.

    A lung that ends higher is more often covered, by the heart or by fluid, than it has a higher diaphragm.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    on_left = points[:, 0] < (low[0] + high[0]) / 2
    angles = [half[half[:, 1].argmax(), 0] for half in (points[on_left], points[~on_left])]
    corners = np.array([(x, high[1]) for x in angles])
    hull = np.concatenate([points, corners])
    hull = hull[ConvexHull(hull).vertices]
    middle, extent = (low + high) / 2, high - low
    return np.asarray(middle + (hull - middle) * (1 + 2 * CHEST_WALL * extent[0] / np.maximum(extent, 1e-9)))


def filled(polygons: tuple[Points, ...], shape: Shape) -> Mask:
    """(h, w) bool, the cells whose centres lie within any of the polygons, x and y in cells.

    >>> filled((np.array([[0.4, 0.0], [2.6, 0.0], [2.6, 1.0], [0.4, 1.0]]),), (2, 4)).astype(int).tolist()
    [[1, 1, 1, 0], [0, 0, 0, 0]]
    """
    return np.asarray(np.logical_or.reduce([_filled(polygon, shape) for polygon in polygons]))


def _filled(polygon: Points, shape: Shape) -> Mask:
    """Row by row, every edge that is crossed turns outside into inside, and back."""
    (x, y), (x_next, y_next) = polygon.T, np.roll(polygon, -1, axis=0).T
    middle = np.arange(shape[0])[:, None] + 0.5
    rows, edges = np.nonzero((y <= middle) != (y_next <= middle))
    slope = (x_next - x)[edges] / (y_next - y)[edges]
    at = x[edges] + slope * (middle[rows, 0] - y[edges])
    turns = np.zeros((shape[0], shape[1] + 1), np.uint8)
    np.add.at(turns, (rows, np.clip(np.ceil(at - 0.5), 0, shape[1]).astype(np.intp)), 1)
    return np.asarray(np.bitwise_and(turns.cumsum(axis=1, dtype=np.uint8)[:, :-1], 1).astype(bool))


def unsuitable(radiograph: Radiograph) -> str | None:
    """Why no lungs are looked for in a radiograph; None for one that may be a frontal chest."""
    height, width = radiograph.shape
    if radiograph.view is not None and radiograph.view.upper() not in _FRONTAL:
        return f"a view that is not frontal: {radiograph.view}"
    if min(height, width) < SMALLEST:
        return TOO_SMALL
    if max(height, width) > _LONGEST * min(height, width):
        return "an image too narrow for a frontal chest"
    return None


def resampled(mask: ArrayLike, shape: Shape) -> Mask:
    """A mask over the whole radiograph, at any resolution, at the centres of cells.

    Raises:
        OptionError: a mask that is not two-dimensional.

    >>> resampled(np.eye(4, dtype=bool), (2, 2)).tolist()
    [[True, False], [False, True]]
    """
    values = np.asarray(mask, bool)
    if values.ndim != 2 or not values.size:
        raise OptionError(f"a mask of shape {values.shape}", expected="(h, w)")
    rows, columns = (
        (2 * np.arange(cells) + 1) * extent // (2 * cells)
        for cells, extent in zip(shape, values.shape, strict=True)
    )
    return np.asarray(values[rows][:, columns])
