"""Where small labels go on an image, so that none covers another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product

Rect = tuple[float, float, float, float]


@dataclass
class Placement:
    """Labels on a field of a given size, in inches from its top left corner.

    >>> placement = Placement(2.0, 2.0)
    >>> placement.centred(0.0, 1.0, 0.2, 0.2), placement.centred(0.0, 1.0, 0.2, 0.2) == (0.1, 1.0)
    ((0.1, 1.0), False)
    """

    width: float
    height: float
    taken: list[Rect] = field(default_factory=list)

    def centred(self, x: float, y: float, width: float, height: float) -> tuple[float, float]:
        """The centre nearest to (x, y) at which a label fits the field and covers no other."""
        return self.first(self._around(x, y, width, height), width, height)

    def first(
        self, centres: Iterable[tuple[float, float]], width: float, height: float
    ) -> tuple[float, float]:
        """The first centre that is free, each moved into the field; where none is, the first of all."""
        fallback: tuple[float, float] | None = None
        for x, y in centres:
            x, y = _within(x, width, self.width), _within(y, height, self.height)
            fallback = fallback or (x, y)
            rect = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            if not any(_overlap(rect, other) for other in self.taken):
                self.taken.append(rect)
                return x, y
        if fallback is None:
            raise ValueError("no centre to choose from")
        return fallback

    def inside(
        self, rect: Rect, centre: tuple[float, float], width: float, height: float
    ) -> tuple[float, float] | None:
        """The centre nearest to another at which a label lies in a rectangle and covers no other, if any.

        >>> placement = Placement(2.0, 1.0, taken=[(0.0, 0.4, 0.2, 0.6)])
        >>> placement.inside((0.0, 0.0, 0.5, 1.0), (0.25, 0.5), 0.4, 0.1)
        (0.25, 0.35)
        >>> placement.inside((0.0, 0.0, 0.3, 1.0), (0.15, 0.5), 0.4, 0.1) is None
        True
        """
        left, top, right, bottom = rect
        if right - left < width or bottom - top < height:
            return None
        spots = product(
            _steps(left + width / 2, right - width / 2, centre[0]),
            _steps(top + height / 2, bottom - height / 2, centre[1]),
        )
        for x, y in sorted(spots, key=lambda spot: math.dist(spot, centre)):
            place = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            if not any(_overlap(place, other) for other in self.taken):
                self.taken.append(place)
                return x, y
        return None

    def _around(self, x: float, y: float, width: float, height: float) -> Iterator[tuple[float, float]]:
        yield x, y
        for ring in range(1, 9):
            for step in range(8 * ring):
                angle = 2 * math.pi * step / (8 * ring)
                yield x + 0.6 * ring * width * math.cos(angle), y + 0.6 * ring * height * math.sin(angle)


def _within(centre: float, size: float, extent: float) -> float:
    return extent / 2 if size >= extent else min(max(centre, size / 2), extent - size / 2)


def _steps(start: float, end: float, wanted: float) -> list[float]:
    """Places from a start to an end, and the one nearest to the place that is wanted."""
    return [start + (end - start) * step / 12 for step in range(13)] + [min(max(wanted, start), end)]


def _overlap(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
