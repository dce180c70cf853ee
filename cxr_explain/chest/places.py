"""Where in the chest a point lies, in words: lung, heart, diaphragm or outside; its side; its zone.

Fixed rules on the regions of a radiograph (:mod:`~cxr_explain.chest.regions`), estimates themselves:

- A lung is divided at thirds of the height into the upper, the middle and the lower zone.
- Between the lungs lies the mediastinum, and in the lower half of their height the heart; where a
  segmentation has found the heart, it lies there, before a lung, too.
- Below the lungs' lower edge, and still within the thorax, lies the diaphragm.
- What is left of the thorax is the chest wall.
- A side is the patient's where the header's Patient Orientation says which it is, and else the image's. The
  view alone does not say whether an image was mirrored.

The peak of a class map is the middle of a cell, which may be as wide as a seventh of the image: the
words are no finer than that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_explain.chest.orientation import image_sides
from cxr_explain.chest.regions import Regions
from cxr_explain.geometry import Geometry
from cxr_explain.support.arrays import Mask

ChestPart = Literal["lung", "heart", "mediastinum", "diaphragm", "chest wall", "marker", "outside"]
"""What lies at a point."""

ChestSide = Literal["right", "left", "image right", "image left"]
"""The patient's side, or the image's."""

ChestZone = Literal["upper", "middle", "lower", "above", "beside", "below"]
"""Third of a lung's height; or where a point outside of the thorax lies."""

_BEYOND: Mapping[ChestPart, str] = {"outside": "outside the thorax", "marker": "on a marker or text"}
_WITHOUT_SIDE = frozenset({"heart", "mediastinum"})
_LOWER_EDGE = (0.4, 0.8)  # of a lung's width, from the middle: where its lower edge is the diaphragm


@dataclass(frozen=True)
class ChestPlace:
    """A place in a radiograph of a chest.

    Args:
        part: what lies there.
        side: on which side; None in heart and mediastinum.
        zone: third of the lung's height, or where it lies from the thorax; None where neither is meant.

    >>> print(ChestPlace("lung", "right", "lower"))
    right lung, lower zone
    >>> print(ChestPlace("outside", "image left", "above"))
    outside the thorax, above it, image left
    """

    part: ChestPart
    side: ChestSide | None = None
    zone: ChestZone | None = None

    def __str__(self) -> str:
        of_patient = self.side in ("right", "left")
        if self.part in _BEYOND:
            what = "the thorax" if self.part == "marker" else "it"
            side = f"{self.side} side" if of_patient else self.side
            words = [_BEYOND[self.part], self.zone and f"{self.zone} {what}", side]
        else:
            name = f"{self.side} {self.part}" if of_patient else self.part
            words = [name, self.zone and f"{self.zone} zone", None if of_patient else self.side]
        return ", ".join(filter(None, words))


def peak_places(
    maps: ArrayLike,
    geometry: Geometry,
    regions: Regions,
    *,
    orientation: tuple[str, str] | None = None,
) -> list[ChestPlace | None]:
    """Where in the chest each map has its peak.

    Args:
        maps: (K, I, J) maps that cover the model's square.
        geometry: where the maps lie on the radiograph.
        regions: the regions of that radiograph.
        orientation: Patient Orientation of the radiograph; None where it is not known.

    Returns:
        For each map its place; None where the map has no positive value or several peaks of the same height,
        and where lungs and thorax are not known.

    >>> from cxr_explain.chest.regions import regions_of
    >>> from cxr_explain.phantom import render, sample_patient, to_radiograph
    >>> radiograph = to_radiograph(render(sample_patient(42), size=128))
    >>> maps = np.zeros((1, 7, 7)); maps[0, 3, 2] = 1
    >>> geometry = Geometry.fit_square(radiograph.shape, 224)
    >>> orientation = radiograph.patient_orientation
    >>> print(*peak_places(maps, geometry, regions_of(radiograph), orientation=orientation))
    right lung, lower zone
    """
    points = [_peak(each, geometry) for each in np.asarray(maps)]
    found = iter(places_of([point for point in points if point], regions, orientation=orientation))
    return [next(found) if point else None for point in points]


def places_of(
    points: Sequence[tuple[float, float]],
    regions: Regions,
    *,
    orientation: tuple[str, str] | None = None,
) -> list[ChestPlace | None]:
    """Where in the chest points lie.

    Args:
        points: x and y in radiograph pixels; one beyond the radiograph is outside of the thorax.
        regions: the regions of that radiograph.
        orientation: Patient Orientation of the radiograph; None where it is not known.

    Returns:
        For each point its place; None where lungs and thorax are not known, or one lung alone is.

    >>> from cxr_explain.chest.regions import regions_of
    >>> from cxr_explain.phantom import render, sample_patient, to_radiograph
    >>> radiograph = to_radiograph(render(sample_patient(42), size=128))
    >>> print(*places_of([(-5.0, 60.0)], regions_of(radiograph)))
    outside the thorax, beside it, image left
    """
    if regions.lungs is None or regions.thorax is None or not regions.lungs.any():
        return [None] * len(points)
    chest = _Chest(regions.lungs, regions.thorax, regions.markers, regions.heart, _sides(orientation))
    if not all(lung.mask.any() for lung in chest.halves):
        return [None] * len(points)
    (height, width), (h, w) = regions.radiograph_shape, regions.shape
    return [chest.place(int(np.floor(y * h / height)), int(np.floor(x * w / width))) for x, y in points]


def _peak(values: NDArray[np.floating], geometry: Geometry) -> tuple[float, float] | None:
    return geometry.peak_of(values) if (values == values.max(initial=0)).sum() == 1 else None


def _sides(orientation: tuple[str, str] | None) -> tuple[ChestSide, ChestSide]:
    """What is on the image's left and on its right."""
    left, right = image_sides(orientation) or ("", "")
    if "R" in left and "L" in right:
        return "right", "left"
    if "L" in left and "R" in right:
        return "left", "right"
    return "image left", "image right"


@dataclass(frozen=True, eq=False)
class _Lung:
    """The lung on one side, in cells.

    Args:
        mask: (h, w) bool, cells of the lung.
        is_left: whether it is the one on the image's left.
    """

    mask: Mask
    is_left: bool

    @cached_property
    def rows(self) -> NDArray[np.intp]:
        return np.flatnonzero(self.mask.any(axis=1))

    @property
    def top(self) -> float:
        """The row of the apex."""
        return float(self.rows[0])

    @cached_property
    def floor(self) -> float:
        """The row of the lower edge, beside the heart and above the diaphragm."""
        columns = np.flatnonzero(self.mask.any(axis=0))
        outwards = columns[::-1] if self.is_left else columns
        low, high = (round(share * (len(outwards) - 1)) for share in _LOWER_EDGE)
        chosen = self.mask[:, outwards[low : high + 1]]
        return float(np.median(len(chosen) - 1 - chosen[::-1].argmax(axis=0)))

    def zone(self, row: int) -> ChestZone:
        """Of three equal ones from its first row to its last."""
        third = int((row - self.rows[0]) * 3 // (self.rows[-1] - self.rows[0] + 1))
        return ("upper", "middle", "lower")[min(max(third, 0), 2)]

    def is_towards_middle(self, row: int, column: int) -> bool:
        """Whether a cell beside the lung lies on the heart's side; above it, by the lung's inner edge."""
        columns = np.flatnonzero(self.mask[row])
        if not len(columns):
            columns = np.flatnonzero(self.mask.any(axis=0))
        return bool(column > columns[-1] if self.is_left else column < columns[0])


@dataclass(frozen=True, eq=False)
class _Chest:
    """What `places_of` goes by, in cells."""

    lungs: Mask
    thorax: Mask
    markers: Mask | None
    heart: Mask | None
    sides: tuple[ChestSide, ChestSide]

    def place(self, row: int, column: int) -> ChestPlace:
        """Of one cell, which need not lie within the radiograph."""
        side = self.sides[column >= self.middle]
        inside = 0 <= row < self.thorax.shape[0] and 0 <= column < self.thorax.shape[1]
        beyond = None if inside and self.thorax[row, column] else self._direction(row)
        if inside and self.markers is not None and self.markers[row, column]:
            return ChestPlace("marker", side, beyond)
        if beyond:
            return ChestPlace("outside", side, beyond)
        lung = self.halves[column >= self.middle]
        part = self._part(row, column, lung)
        return ChestPlace(
            part,
            None if part in _WITHOUT_SIDE else side,
            lung.zone(row) if part in ("lung", "chest wall") else None,
        )

    def _part(self, row: int, column: int, lung: _Lung) -> ChestPart:
        if self.heart is not None and self.heart[row, column]:
            return "heart"
        if lung.mask[row, column]:
            return "lung"
        if row > lung.floor:
            return "diaphragm"
        if not lung.is_towards_middle(row, column):
            return "chest wall"
        if self.heart is not None:
            return "mediastinum"
        top, floor = (np.mean([getattr(each, end) for each in self.halves]) for end in ("top", "floor"))
        return "heart" if row > (top + floor) / 2 else "mediastinum"

    def _direction(self, row: int) -> ChestZone:
        rows = np.flatnonzero(self.thorax.any(axis=1))
        return "above" if row < rows[0] else "below" if row > rows[-1] else "beside"

    @cached_property
    def middle(self) -> float:
        """The column halfway between the middles of the two lungs."""
        columns = np.nonzero(self.lungs)[1]
        middle = columns.mean()
        left, right = columns[columns < middle], columns[columns >= middle]
        return float((left.mean() + right.mean() + 1) / 2) if len(left) else float(middle)

    @cached_property
    def halves(self) -> tuple[_Lung, _Lung]:
        """The lung on the image's left, and the one on its right."""
        is_left = np.arange(self.lungs.shape[1]) < self.middle
        return _Lung(self.lungs & is_left, True), _Lung(self.lungs & ~is_left, False)
