"""Where the model looks: the share of the saliency outside of the chest, in the border, over markers.

The regions come from fixed rules on a small copy of the radiograph, not from a trained model:
:mod:`~cxr_explain.chest.lung_template` finds the lungs,
:mod:`~cxr_explain.chest.lung_outlines` draws them, :mod:`~cxr_explain.chest.margins` and
:mod:`~cxr_explain.chest.markers` find what is no anatomy.
They are approximate. A large share is a question to look at the image, never a verdict on the model.

Measured, and no more is claimed:

- 100 phantoms of 512 pixels (`python -m benchmarks.regions_accuracy`): 89 recognised; median Dice 0.93 of
  the lungs and 0.96 of the thorax, worst twentieth below 0.82 and 0.88. Edema is mostly not recognised, and a
  large effusion is often cut off the lung. Of 129 burned-in letters and words, which are faint, 63 were
  found; of 73 boxes, 72 touched one.
- 80 radiographs of NIH ChestX-ray14, drawn at random and judged by eye, by no radiologist: 75 recognised,
  lungs acceptable in about 69. Wrong were a lung over the liver or cut in its middle. About 85 % of the
  markers were found, and about one box in six was none: a cable, jewellery, a chin, an arm.
- 34 of them with boxes of findings, at 1024 pixels: 27 recognised. What is refused is mostly a white lung, so
  that shares are not missing at random: the sicker a patient, the more often there is none.
- Of 150 such radiographs, none was recognised after a quarter turn, 3 with inverted grey levels, but about
  one in three upside down. Limbs beside a white shutter have been taken for chests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_explain.chest.lung_template import Points
from cxr_explain.chest.margins import margins_of
from cxr_explain.chest.markers import MarkerBox, marker_boxes
from cxr_explain.chest.thorax import SMALLEST, TOO_SMALL, Chest, chest_by_masks, chest_by_rules
from cxr_explain.chest.thumbnail import thumbnail_of
from cxr_explain.errors import OptionError
from cxr_explain.geometry import Geometry
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.arrays import Mask, as_maps

Share = Literal["outside_thorax", "outside_lungs", "border", "markers"]
"""What a share is of."""

Region = Literal["lungs", "thorax", "markers"]
"""What has an outline."""

Segment = Callable[[Radiograph], Mapping[str, ArrayLike]]
"""A segmentation: (h, w) masks of "Left Lung" and "Right Lung" of the whole radiograph, at any resolution."""

BORDER = 0.04
"""Width of the border, of each side of what the model saw within the margins."""

_SHARES: tuple[Share, ...] = ("outside_thorax", "outside_lungs", "border", "markers")
_CENTRE = 0.2  # of the sides: how far from the edges a chest that is not recognised may begin


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions of one radiograph, in cells of a small grid that covers it.

    Args:
        shape: (h, w) of the grid.
        radiograph_shape: (H, W).
        lungs: (h, w) bool, both lung fields; None where not recognised.
        thorax: (h, w) bool, their hull with the chest wall; None likewise.
        markers: (h, w) bool, boxes around burned-in text and markers; None where too few pixels show letters.
        inside: (left, top, right, bottom) in radiograph pixels, within margins that show nothing.
        reasons: by share, why it cannot be estimated.
        outlines: by region, polygons (n, 2) x and y in radiograph pixels, to draw; () for what is None.
    """

    shape: tuple[int, int]
    radiograph_shape: tuple[int, int]
    lungs: Mask | None = field(repr=False)
    thorax: Mask | None = field(repr=False)
    markers: Mask | None = field(repr=False)
    inside: tuple[float, float, float, float]
    reasons: Mapping[Share, str]
    outlines: Mapping[Region, tuple[Points, ...]] = field(repr=False)


@dataclass(frozen=True)
class SaliencyShares:
    """Shares of the fused saliency, 0 to 1; None where not estimable.

    Args:
        outside_thorax: not over the chest.
        outside_lungs: not over the lungs; includes the heart and the mediastinum.
        border: in the outer band of what the model saw, or in margins that show nothing.
        markers: over burned-in text and markers.
        reasons: by share, why it is None.
    """

    outside_thorax: float | None
    outside_lungs: float | None
    border: float | None
    markers: float | None
    reasons: Mapping[Share, str] = field(default_factory=lambda: MappingProxyType({}))


def regions_of(radiograph: Radiograph, *, segment: Segment | None = None) -> Regions:
    """Find the regions of one radiograph.

    Args:
        radiograph: a frontal view, at any size.
        segment: takes the place of the fixed rules for lungs and thorax.

    Raises:
        OptionError: masks of the segmentation that are missing or not two-dimensional.

    >>> regions = regions_of(Radiograph.from_array(np.zeros((200, 200), np.float32)))
    >>> regions.lungs is None, regions.reasons["outside_lungs"]
    (True, 'no place where the image resembles two lungs')
    """
    thumbnail = thumbnail_of(radiograph)
    if segment is None:
        chest = chest_by_rules(radiograph, thumbnail)
    else:
        chest = chest_by_masks(segment(radiograph), thumbnail)
    small = min(radiograph.shape) < SMALLEST
    boxes = () if small else marker_boxes(thumbnail.values, _without_markers(chest, thumbnail.shape))
    left, top, right, bottom = margins_of(thumbnail.values)
    (h, w), (x, y) = thumbnail.shape, thumbnail.cell
    return Regions(
        shape=thumbnail.shape,
        radiograph_shape=radiograph.shape,
        lungs=None if isinstance(chest, str) else chest.lungs,
        thorax=None if isinstance(chest, str) else chest.thorax,
        markers=None if small else _cells_of(boxes, thumbnail.shape),
        inside=(left * x, top * y, (w - right) * x, (h - bottom) * y),
        reasons=_reasons(chest, small),
        outlines=_in_pixels(chest, boxes, thumbnail.cell),
    )


def saliency_shares(
    maps: ArrayLike, geometry: Geometry, radiograph: Radiograph, *, segment: Segment | None = None
) -> SaliencyShares:
    """Which share of the fused saliency lies outside of the chest, in the border, over markers.

    The saliency is the sum over the K classes of the positive part of the fused maps, interpolated
    bilinearly over the radiograph; what the model did not see has none.

    Args:
        maps: (K, I, J) fused map by class, over the model's square.
        geometry: where that square lies in the radiograph.
        radiograph: that was explained.
        segment: takes the place of the fixed rules for lungs and thorax, see :func:`regions_of`.

    Raises:
        OptionError: maps that are not finite, or a geometry of another radiograph.

    >>> flat = Radiograph.from_array(np.zeros((100, 100), np.float32))
    >>> shares = saliency_shares(np.ones((1, 7, 7)), Geometry.fit_square((100, 100), 224), flat)
    >>> round(shares.border, 4), shares.outside_lungs
    (0.1536, None)
    """
    return shares_in(regions_of(radiograph, segment=segment), maps, geometry)


def shares_in(regions: Regions, maps: ArrayLike, geometry: Geometry) -> SaliencyShares:
    """The same, within regions that were found before.

    Raises:
        OptionError: maps that are not finite, or a geometry of another radiograph.

    >>> flat = Radiograph.from_array(np.zeros((100, 100), np.float32))
    >>> regions, geometry = regions_of(flat), Geometry.fit_square((100, 100), 224)
    >>> even, diagonal = np.ones((1, 7, 7)), np.eye(7)[None]
    >>> [round(shares_in(regions, maps, geometry).border, 4) for maps in (even, diagonal)]
    [0.1536, 0.1375]
    """
    if geometry.radiograph_shape != regions.radiograph_shape:
        raise OptionError(
            f"a geometry of {geometry.radiograph_shape} pixels", expected=f"{regions.radiograph_shape}"
        )
    saliency = _saliency(as_maps(maps), geometry, regions.shape)
    if saliency is None:
        return SaliencyShares(None, None, None, None, dict.fromkeys(_SHARES, "no saliency"))
    thorax, lungs, markers = (
        None if mask is None else min(float(saliency[mask].sum()), 1.0)
        for mask in (regions.thorax, regions.lungs, regions.markers)
    )
    return SaliencyShares(
        outside_thorax=None if thorax is None else 1 - thorax,
        outside_lungs=None if lungs is None else 1 - lungs,
        border=_border_share(saliency, geometry, regions),
        markers=markers,
        reasons=regions.reasons,
    )


def _reasons(chest: Chest | str, small: bool) -> Mapping[Share, str]:
    reasons: dict[Share, str] = {}
    if isinstance(chest, str):
        reasons |= {"outside_thorax": chest, "outside_lungs": chest}
    if small:
        reasons["markers"] = TOO_SMALL
    return MappingProxyType(reasons)


def _without_markers(chest: Chest | str, shape: tuple[int, int]) -> Mask:
    """Where no markers are looked for: the thorax; where it is not known, the middle of the image."""
    if not isinstance(chest, str):
        return chest.thorax
    h, w = shape
    middle = np.zeros(shape, bool)
    middle[round(_CENTRE * h) : round((1 - _CENTRE) * h), round(_CENTRE * w) : round((1 - _CENTRE) * w)] = (
        True
    )
    return middle


def _cells_of(boxes: tuple[MarkerBox, ...], shape: tuple[int, int]) -> Mask:
    mask = np.zeros(shape, bool)
    for box in boxes:
        mask[box.top : box.bottom, box.left : box.right] = True
    return mask


def _in_pixels(
    chest: Chest | str, boxes: tuple[MarkerBox, ...], cell: tuple[float, float]
) -> Mapping[Region, tuple[Points, ...]]:
    """All outlines in the radiograph's pixels."""
    outlines: dict[Region, tuple[Points, ...]] = {"lungs": (), "thorax": ()}
    outlines["markers"] = tuple(box.corners for box in boxes)
    if not isinstance(chest, str):
        outlines |= {"lungs": chest.lung_outlines, "thorax": (chest.thorax_outline,)}
    return {region: tuple(line * cell for line in lines) for region, lines in outlines.items()}


def _saliency(
    maps: NDArray[np.float64], geometry: Geometry, shape: tuple[int, int]
) -> NDArray[np.float64] | None:
    """(h, w) shares of the saliency in the cells of a grid, of sum 1; None where there is none."""
    positive = np.maximum(maps, 0).sum(axis=0)
    if not positive.any():
        return None
    (left, top, right, bottom), (height, width) = geometry.seen_box, geometry.radiograph_shape
    I, J = positive.shape  # noqa: E741
    rows = _hats(shape[0], height, (top, bottom), I, (geometry.top, geometry.side))
    columns = _hats(shape[1], width, (left, right), J, (geometry.left, geometry.side))
    cells = rows @ (positive / positive.max()) @ columns.T
    return np.asarray(cells / cells.sum())


def _hats(
    cells: int, extent: int, seen: tuple[int, int], n: int, square: tuple[int, int]
) -> NDArray[np.float64]:
    """(cells, n): bilinear weights of a map's n rows in the middle of what is seen of each cell.

    Args:
        cells: of the grid, along one axis.
        extent: of the radiograph along it, in pixels.
        seen: first and last of its pixels that the model saw.
        n: rows of the map.
        square: start and side of the model's square, in pixels.
    """
    edges = np.arange(cells + 1) * (extent / cells)
    low, high = np.maximum(edges[:-1], seen[0]), np.minimum(edges[1:], seen[1])
    position = np.clip(((low + high) / 2 - square[0]) * (n / square[1]) - 0.5, 0, n - 1)
    hats = np.clip(1 - np.abs(position[:, None] - np.arange(n)), 0, None)
    return np.asarray(hats * np.clip(high - low, 0, None)[:, None])


def _border_share(saliency: NDArray[np.float64], geometry: Geometry, regions: Regions) -> float:
    """The saliency that is not within the border's inner edge; cells that it cuts count in part."""
    (left, top, right, bottom), seen = regions.inside, geometry.seen_box
    left, top = max(left, seen[0]), max(top, seen[1])
    right, bottom = min(right, seen[2]), min(bottom, seen[3])
    dx, dy = BORDER * max(right - left, 0), BORDER * max(bottom - top, 0)
    (h, w), (height, width) = regions.shape, regions.radiograph_shape
    rows = _covered((top + dy, bottom - dy), (seen[1], seen[3]), h, height)
    columns = _covered((left + dx, right - dx), (seen[0], seen[2]), w, width)
    return float(np.clip(1 - rows @ saliency @ columns, 0, 1))


def _covered(
    span: tuple[float, float], seen: tuple[int, int], cells: int, extent: int
) -> NDArray[np.float64]:
    """(cells,): the share of what is seen of each cell that lies within a span of the axis."""
    edges = np.arange(cells + 1) * (extent / cells)
    within, whole = (
        np.clip(np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start), 0, None)
        for start, stop in (span, seen)
    )
    return np.asarray(np.divide(within, whole, out=np.zeros(cells), where=whole > 0))
