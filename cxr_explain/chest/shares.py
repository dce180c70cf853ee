"""Where the model looks: the shares of the saliency outside of the chest, in the border, over markers.

The regions are estimates (:mod:`~cxr_explain.chest.regions`). A large share is a question to look at the
image, never a verdict on the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from cxr_explain.chest.regions import Regions, Segment, Share, regions_of
from cxr_explain.errors import OptionError
from cxr_explain.geometry import Geometry
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.arrays import Map, Shape, as_maps

BORDER = 0.04
"""Width of the border, as a share of each side of what the model saw within the margins."""

FLAGGED_FROM = 0.25
"""An image is flagged where a share exceeds an even map's by so much of what the even map has elsewhere."""


@dataclass(frozen=True)
class SaliencyShares:
    """Shares of the fused saliency, 0 to 1; None where not estimable.

    Args:
        outside_thorax: share that is not over the chest.
        outside_lungs: share that is not over the lungs; includes the heart and the mediastinum.
        border: share in the outer band of what the model saw, or in margins that show nothing.
        markers: share over burned-in text and markers.
        reasons: why a share is None, by the share's name.
    """

    outside_thorax: float | None
    outside_lungs: float | None
    border: float | None
    markers: float | None
    reasons: Mapping[Share, str] = field(default_factory=lambda: MappingProxyType({}))


def saliency_shares(
    maps: ArrayLike, geometry: Geometry, radiograph: Radiograph, *, segment: Segment | None = None
) -> SaliencyShares:
    """Which share of the fused saliency lies outside of the chest, in the border, over markers.

    The saliency is the sum over the K classes of the positive part of the fused maps, interpolated
    bilinearly over the radiograph; what the model did not see has none.

    Args:
        maps: (K, I, J) fused map by class, over the model's square.
        geometry: where the model's square lies in the radiograph.
        radiograph: the radiograph that was explained.
        segment: takes the place of the fixed rules for lungs and thorax; see
            :func:`~cxr_explain.chest.regions.regions_of`.

    Raises:
        OptionError: maps that are not finite, or a geometry of another radiograph.

    >>> flat = Radiograph.from_array(np.zeros((100, 100), np.float32))
    >>> shares = saliency_shares(np.ones((1, 7, 7)), Geometry.fit_square((100, 100), 224), flat)
    >>> round(shares.border, 4), shares.outside_lungs
    (0.1536, None)
    """
    return shares_in(regions_of(radiograph, segment=segment), maps, geometry)


def shares_in(regions: Regions, maps: ArrayLike, geometry: Geometry) -> SaliencyShares:
    """Measure the shares of the saliency within regions that were found before.

    Args:
        regions: the regions of the radiograph, from `regions_of`.
        maps: (K, I, J) fused maps.
        geometry: where the maps lie on the radiograph.

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
        return SaliencyShares(None, None, None, None, dict.fromkeys(get_args(Share), "no saliency"))
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


def uniform_shares(regions: Regions, geometry: Geometry) -> SaliencyShares:
    """The shares of an even map: how large the regions are in what the model saw.

    Args:
        regions: the regions of the radiograph, from `regions_of`.
        geometry: where the maps lie on the radiograph.

    Raises:
        OptionError: a geometry of another radiograph.

    >>> flat = Radiograph.from_array(np.zeros((100, 100), np.float32))
    >>> round(uniform_shares(regions_of(flat), Geometry.fit_square((100, 100), 224)).border, 4)
    0.1536
    """
    return shares_in(regions, np.ones((1, 1, 1)), geometry)


def excess_over_uniform(shares: ArrayLike, uniform: ArrayLike) -> Map:
    """How far shares of the saliency are above those of an even map in the same images.

    (share - uniform) / (1 - uniform): 0 for an even map, 1 where all of the saliency lies in the region,
    negative where less of it does than of an even map's. It is the form of Cohen's kappa, with an even map as
    chance. An image is flagged from `FLAGGED_FROM` on, so that an even map is flagged nowhere.

    Args:
        shares: shares of the saliency, 0 to 1; NaN where not estimable.
        uniform: those of an even map; NaN where not known.

    Returns:
        The excess of each; NaN where one of both is not known, or where an even map lies in the region alone.

    >>> excess_over_uniform([0.7, 0.6, 1.0], [0.6, 0.6, 1.0]).round(2).tolist()
    [0.25, 0.0, nan]
    """
    share, even = np.asarray(shares, np.float64), np.asarray(uniform, np.float64)
    elsewhere = 1 - even
    known = elsewhere > 0
    return np.where(known, (share - even) / np.where(known, elsewhere, 1), np.nan)


def _saliency(maps: Map, geometry: Geometry, shape: Shape) -> Map | None:
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


def _hats(cells: int, extent: int, seen: tuple[int, int], n: int, square: tuple[int, int]) -> Map:
    """(cells, n): bilinear weights of a map's n rows in the middle of what is seen of each cell.

    Args:
        cells: number of the grid's cells along one axis.
        extent: length of the radiograph along that axis, in pixels.
        seen: first and last pixel along it that the model saw.
        n: number of the map's rows along it.
        square: start and side of the model's square, in pixels.
    """
    edges = np.arange(cells + 1) * (extent / cells)
    low, high = np.maximum(edges[:-1], seen[0]), np.minimum(edges[1:], seen[1])
    position = np.clip(((low + high) / 2 - square[0]) * (n / square[1]) - 0.5, 0, n - 1)
    hats = np.clip(1 - np.abs(position[:, None] - np.arange(n)), 0, None)
    return np.asarray(hats * np.clip(high - low, 0, None)[:, None])


def _border_share(saliency: Map, geometry: Geometry, regions: Regions) -> float:
    """The saliency that is not within the border's inner edge; cells that it cuts count in part."""
    (left, top, right, bottom), seen = regions.inside, geometry.seen_box
    left, top = max(left, seen[0]), max(top, seen[1])
    right, bottom = min(right, seen[2]), min(bottom, seen[3])
    dx, dy = BORDER * max(right - left, 0), BORDER * max(bottom - top, 0)
    (h, w), (height, width) = regions.shape, regions.radiograph_shape
    rows = _covered((top + dy, bottom - dy), (seen[1], seen[3]), h, height)
    columns = _covered((left + dx, right - dx), (seen[0], seen[2]), w, width)
    return float(np.clip(1 - rows @ saliency @ columns, 0, 1))


def _covered(span: tuple[float, float], seen: tuple[int, int], cells: int, extent: int) -> Map:
    """(cells,): the share of what is seen of each cell that lies within a span of the axis."""
    edges = np.arange(cells + 1) * (extent / cells)
    within, whole = (
        np.clip(np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start), 0, None)
        for start, stop in (span, seen)
    )
    return np.asarray(np.divide(within, whole, out=np.zeros(cells), where=whole > 0))
