"""Plots as numbers for the templates: curves in the unit square, intervals on a line from 0 to 1.

They are drawn as SVG by `templates/plots.html`, with the page's own colours and letters, so that they stay
small, sharp and readable by machines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SIDE = 132.0
"""Units of the square that a curve is drawn in."""

STRIP = 160.0
"""Units of the line that an interval is drawn on."""

Point = Sequence[float]


@dataclass(frozen=True)
class Interval:
    """An estimate on a line.

    Args:
        value: its place in units, from the left.
        low: of the interval; None without one.
        high: likewise.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Bin:
    """A bin of a calibration curve, in units from the top left corner.

    Args:
        x: mean probability.
        y: observed share.
        top: upper end of the interval; None without one.
        bottom: lower end.
        label: in words.
    """

    x: float
    y: float
    top: float | None
    bottom: float | None
    label: str


def polyline(points: Sequence[Point]) -> str:
    """Points (x, y) of the unit square as SVG has them: y grows downwards.

    >>> polyline([[0, 0], [0.5, 1], [2, 1]])
    '0,132 66,0 132,0'
    """
    return " ".join(f"{_unit(x) * SIDE:.4g},{(1 - _unit(y)) * SIDE:.4g}" for x, y in points)


def steps(points: Sequence[Point]) -> str:
    """Points of a curve that must not be interpolated: each holds back to the one before.

    Source:
        Davis and Goadrich, ICML 2006, section 2, on precision over recall.

    >>> steps([[0.5, 1], [1, 0.5]])
    '0,0 66,0 66,66 132,66'
    """
    before = [0.0, *(x for x, _ in points)]
    return polyline(
        [corner for at, (x, y) in zip(before, points, strict=False) for corner in ((at, y), (x, y))]
    )


def interval(estimate: Mapping[str, float | None] | None) -> Interval | None:
    """An estimate between 0 and 1 on its line; None where it is not estimable.

    >>> interval({"value": 0.5, "low": 0.25, "high": None})
    Interval(value=80.0, low=None, high=None)
    >>> interval({"value": None, "low": None, "high": None}) is None
    True
    """
    value, low, high = (None if estimate is None else estimate.get(key) for key in ("value", "low", "high"))
    if value is None:
        return None
    if low is None or high is None:
        return Interval(_along(value), None, None)
    return Interval(_along(value), _along(low), _along(high))


def bins(found: Sequence[Mapping[str, Any]]) -> list[Bin]:
    """The bins of a calibration curve that hold any image."""
    return [
        Bin(
            x=_unit(each["mean"]) * SIDE,
            y=(1 - _unit(each["observed"])) * SIDE,
            top=_down(each.get("observed_high")),
            bottom=_down(each.get("observed_low")),
            label=f"{each['images']} images, mean probability {each['mean']:.3f}, "
            f"observed {each['observed']:.3f}",
        )
        for each in found
        if each.get("mean") is not None and each.get("observed") is not None
    ]


def _down(value: float | None) -> float | None:
    return None if value is None else (1 - _unit(value)) * SIDE


def _along(value: float) -> float:
    return round(_unit(value) * STRIP, 2)


def _unit(value: float) -> float:
    return min(max(float(value), 0.0), 1.0)
