"""Analytic solids that a ray meets once: where it enters, where it leaves, and lengths between.

The beam is parallel and runs along z. x grows to the right of the image (the patient's left), y downwards,
z towards the patient's front; all in millimetres. Along one ray a convex solid is an interval of depths,
so path lengths through solids, their overlaps and their differences have a closed form.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Image = NDArray[np.float32]
Knots = NDArray[np.float64]
PixelWindow = tuple[slice, slice]
_FAR = np.float32(1e6)


@dataclass(frozen=True)
class Grid:
    """A square detector: one ray through the centre of each pixel.

    Args:
        size: pixels a side.
        extent: millimetres a side.
        centre: x and y in mm of the image's centre.

    >>> Grid(4, 400.0).x.ravel().tolist()
    [-150.0, -50.0, 50.0, 150.0]
    """

    size: int
    extent: float
    centre: tuple[float, float] = (0.0, 0.0)

    @property
    def pitch(self) -> float:
        """Millimetres from one pixel to the next."""
        return self.extent / self.size

    @cached_property
    def x(self) -> Image:
        """(1, W): millimetres of each column."""
        return self._axis[None, :] + np.float32(self.centre[0])

    @cached_property
    def y(self) -> Image:
        """(H, 1): millimetres of each row."""
        return self._axis[:, None] + np.float32(self.centre[1])

    def window(self, left: float, top: float, right: float, bottom: float) -> PixelWindow:
        """The rows and columns of the pixels whose rays pass through a rectangle.

        >>> Grid(4, 400.0).window(-60, -200, 60, 0)
        (slice(0, 2, None), slice(1, 3, None))
        """
        rows = np.searchsorted(self.y[:, 0], (top, bottom))
        columns = np.searchsorted(self.x[0], (left, right))
        return slice(int(rows[0]), int(rows[1])), slice(int(columns[0]), int(columns[1]))

    @cached_property
    def _axis(self) -> Image:
        return (((np.arange(self.size) + 0.5) / self.size - 0.5) * self.extent).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Interval:
    """Where each ray is inside a solid: back <= z <= front; a ray that misses has back >= front."""

    back: Image
    front: Image

    @classmethod
    def around(cls, centre: float, half: Image) -> Interval:
        """The interval centre +- half; a ray with half <= 0 misses."""
        return cls(np.float32(centre) - half, np.float32(centre) + half)

    @property
    def length(self) -> Image:
        """(H, W) path length in mm, 0 where the ray misses."""
        depth = self.front - self.back
        return np.asarray(np.maximum(depth, 0, out=depth))

    def __getitem__(self, window: PixelWindow) -> Interval:
        """The same for the rays of a window."""
        return Interval(self.back[window], self.front[window])

    def __and__(self, other: Interval) -> Interval:
        return Interval(np.maximum(self.back, other.back), np.minimum(self.front, other.front))

    def hull(self, other: Interval) -> Interval:
        """The union, with what lies between two solids that do not touch."""
        mine, theirs = self.front > self.back, other.front > other.back
        near = np.where(mine, self.back, _FAR)  # where one misses, the other decides
        far = np.where(mine, self.front, -_FAR)
        np.minimum(near, other.back, out=near, where=theirs)
        np.maximum(far, other.front, out=far, where=theirs)
        return Interval(near, far)


def length_outside(solid: Interval, removed: tuple[Interval, ...]) -> Image:
    """Path length inside `solid` and outside of every solid in `removed`, by inclusion and exclusion.

    >>> column = lambda back, front: Interval(np.float32([[back]]), np.float32([[front]]))
    >>> length_outside(column(0, 10), (column(2, 5), column(4, 6))).item()
    6.0
    """
    length = solid.length
    window = window_around(length > 0)
    if removed and length[window].size:
        head, *rest = (other[window] for other in removed)
        inside = solid[window]
        length[window] = length_outside(inside, tuple(rest)) - length_outside(inside & head, tuple(rest))
    return length


def window_around(mask: NDArray[np.bool_]) -> PixelWindow:
    """The rows and columns from the first to the last pixel of a mask.

    >>> window_around(np.eye(4, dtype=bool)[:, 1:3])
    (slice(1, 3, None), slice(0, 2, None))
    """
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return _span(rows), _span(columns)


def _span(at: NDArray[np.intp]) -> slice:
    return slice(int(at[0]), int(at[-1]) + 1) if len(at) else slice(0, 0)


def total(images: Iterable[Image], grid: Grid) -> Image:
    """The sum of images, zeros if there are none.

    >>> total([], Grid(1, 1.0)).tolist()
    [[0.0]]
    """
    return reduce(np.add, images, np.zeros((grid.size, grid.size), np.float32))


class Solid(Protocol):
    """Anything that a ray meets once."""

    def along(self, grid: Grid) -> Interval:
        """Where each ray of the grid is inside."""


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid, turned in the image plane.

    Args:
        centre: x, y, z in mm.
        radii: half axes in mm, before the turn.
        turn: degrees, clockwise as seen in the image (y points down).

    >>> float(Ellipsoid((50, 50, 0), (60, 60, 30)).along(Grid(2, 200.0)).length[1, 1])
    60.0
    """

    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    turn: float = 0.0

    def along(self, grid: Grid) -> Interval:
        """Where each ray is inside: half depth = c sqrt(1 - (x'/a)^2 - (y'/b)^2)."""
        (x, y, z), (a, b, c) = self.centre, self.radii
        cos, sin = np.cos(np.radians(self.turn)), np.sin(np.radians(self.turn))
        wide, high = np.hypot(a * cos, b * sin), np.hypot(a * sin, b * cos)
        rows, columns = grid.window(x - wide, y - high, x + wide, y + high)
        dx, dy = grid.x[:, columns] - np.float32(x), grid.y[rows] - np.float32(y)
        along = dx * np.float32(cos / a) + dy * np.float32(sin / a)
        across = dy * np.float32(cos / b) - dx * np.float32(sin / b)
        half = np.zeros((grid.size, grid.size), np.float32)
        half[rows, columns] = np.sqrt(np.maximum(1 - along * along - across * across, 0)) * np.float32(c)
        return Interval.around(z, half)


@dataclass(frozen=True)
class Dome:
    """A round hill on an endless upright cylinder: a hemidiaphragm and all that lies below it.

    Its surface is (x/a)^2 + (y/b)^2 + (z/c)^4 = 1 above the centre: steep at the rim, as a diaphragm is.

    Args:
        centre: x, y, z of the hill; its top is at y - rise.
        left, right: the half axis a on each side of the centre.
        rise: b, the height of the hill.
        depth: c.
    """

    centre: tuple[float, float, float]
    left: float
    right: float
    rise: float
    depth: float

    def along(self, grid: Grid) -> Interval:
        """Where each ray is inside; below the centre the section no longer changes."""
        dx = grid.x - np.float32(self.centre[0])
        u = dx / np.where(dx < 0, np.float32(self.left), np.float32(self.right))
        v = np.minimum((grid.y - np.float32(self.centre[1])) / np.float32(self.rise), 0)
        half = np.sqrt(np.sqrt(np.maximum(1 - u * u - v * v, 0))) * np.float32(self.depth)
        return Interval.around(self.centre[2], half)


@dataclass(frozen=True)
class Column:
    """A stack of superelliptic sections, |x/w|^p + |z/d|^p = 1, whose centre and half axes follow y.

    Args:
        y: heights of the knots, increasing; outside of them there is nothing.
        left, right: edges in x at the knots.
        depth: half depth d at the knots.
        z: depth of the centre, for all sections.
        power: p, 2 for ellipses, 4 for something more like a box.
    """

    y: tuple[float, ...]
    left: tuple[float, ...]
    right: tuple[float, ...]
    depth: tuple[float, ...]
    z: float = 0.0
    power: Literal[2, 4] = 2

    def edges(self, y: Image) -> tuple[Image, Image, Image]:
        """Left edge, right edge and half depth at the heights `y`; the depth is 0 outside of the knots."""
        knots = np.array([self.left, self.right, self.depth], np.float64)
        left, right, depth = monotone(np.array(self.y, np.float64), knots, y)
        inside = (y >= self.y[0]) & (y <= self.y[-1])
        return left, right, np.where(inside, depth, np.float32(0))

    def along(self, grid: Grid) -> Interval:
        """Where each ray is inside: half depth = d (1 - |x/w|^p)^(1/p)."""
        left, right, depth = self.edges(grid.y)
        width = np.maximum((right - left) / 2, np.float32(1e-3))
        u = (grid.x - (left + right) / 2) / width
        square = u * u
        if self.power == 4:
            half = depth * np.sqrt(np.sqrt(np.maximum(1 - square * square, 0)))
        else:
            half = depth * np.sqrt(np.maximum(1 - square, 0))
        return Interval.around(self.z, half)


def monotone(x: Knots, values: Knots, at: Image) -> tuple[Image, ...]:
    """Monotone cubic interpolation (Fritsch and Butland 1984), constant outside of the knots.

    scipy's `PchipInterpolator` is the same curve; to build one costs as much as the whole solid.

    Args:
        x: (K,) knots, increasing.
        values: (C, K) of C curves.
        at: where to interpolate, of any shape.
    """
    step, slope = np.diff(x), np.diff(values) / np.diff(x)
    tangent = _tangents(step, slope)
    place = np.clip(at, x[0], x[-1])
    k = np.clip(np.searchsorted(x, place, side="right") - 1, 0, len(step) - 1)
    t = (place - x[k]) / step[k]
    bend = (tangent[:, :-1] + tangent[:, 1:] - 2 * slope) * step
    rise, start = (slope - tangent[:, :-1]) * step, tangent[:, :-1] * step
    curves = values[:, k] + t * (start[:, k] + t * ((rise - bend)[:, k] + t * bend[:, k]))
    return tuple(curves.astype(np.float32))


def _tangents(step: Knots, slope: Knots) -> Knots:
    """Weighted harmonic means of the slopes on both sides of a knot, 0 at a turning point."""
    if len(step) == 1:
        return np.repeat(slope, 2, axis=1)
    left, right = 2 * step[1:] + step[:-1], step[1:] + 2 * step[:-1]
    before, after = slope[:, :-1], slope[:, 1:]
    rising = before * after > 0
    safe_before, safe_after = np.where(rising, before, 1), np.where(rising, after, 1)
    inner = np.where(rising, (left + right) / (left / safe_before + right / safe_after), 0)
    first = _end_tangent(step[0], step[1], slope[:, 0], slope[:, 1])
    last = _end_tangent(step[-1], step[-2], slope[:, -1], slope[:, -2])
    return np.concatenate([first[:, None], inner, last[:, None]], axis=1)


def _end_tangent(near: float, far: float, slope: Knots, next_slope: Knots) -> Knots:
    """The three-point formula, bounded so that the curve keeps its shape."""
    tangent = ((2 * near + far) * slope - near * next_slope) / (near + far)
    steep = (slope * next_slope < 0) & (np.abs(tangent) > 3 * np.abs(slope))
    return np.where(tangent * slope <= 0, 0, np.where(steep, 3 * slope, tangent))
