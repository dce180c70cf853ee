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
from scipy.interpolate import PchipInterpolator

Image = NDArray[np.float32]
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
        return np.maximum(self.front - self.back, 0)

    def __and__(self, other: Interval) -> Interval:
        return Interval(np.maximum(self.back, other.back), np.minimum(self.front, other.front))

    def hull(self, other: Interval) -> Interval:
        """The union, with what lies between two solids that do not touch."""
        mine, theirs = _FAR * (self.front <= self.back), _FAR * (other.front <= other.back)
        back = np.minimum(self.back + mine, other.back + theirs)  # where one misses, the other decides
        return Interval(back, np.maximum(self.front - mine, other.front - theirs))


def length_outside(solid: Interval, removed: tuple[Interval, ...]) -> Image:
    """Path length inside `solid` and outside of every solid in `removed`, by inclusion and exclusion.

    >>> column = lambda back, front: Interval(np.float32([[back]]), np.float32([[front]]))
    >>> length_outside(column(0, 10), (column(2, 5), column(4, 6))).item()
    6.0
    """
    if not removed:
        return solid.length
    head, *tail = removed
    rest = tuple(tail)
    return length_outside(solid, rest) - length_outside(solid & head, rest)


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
        cos, sin = np.cos(np.radians(self.turn)), np.sin(np.radians(self.turn))
        dx, dy = grid.x - np.float32(self.centre[0]), grid.y - np.float32(self.centre[1])
        along = (dx * np.float32(cos) + dy * np.float32(sin)) / np.float32(self.radii[0])
        across = (dy * np.float32(cos) - dx * np.float32(sin)) / np.float32(self.radii[1])
        half = np.sqrt(np.maximum(1 - along**2 - across**2, 0)) * np.float32(self.radii[2])
        return Interval.around(self.centre[2], half)


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
        curves = PchipInterpolator(self.y, np.stack([self.left, self.right, self.depth], axis=1))
        left, right, depth = np.moveaxis(curves(np.clip(y, self.y[0], self.y[-1])).astype(np.float32), -1, 0)
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
