"""The display shutter: which pixels of an image are not to be seen (PS3.3 C.7.6.11).

What lies behind a shutter is no image: it is left out of the contrast and shown black, in MONOCHROME1, too. A
visible pixel is one whose centre is within every shape that the header names, or on its edge; the first row
and the first column are 1. A shutter that contradicts itself, or would leave nothing to see, is named and not
applied.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.multival import MultiValue

from cxr_explain.loaders.header import element, given, numbers
from cxr_explain.support.shares import percent

_Mask: TypeAlias = NDArray[np.bool_]
_KEYWORDS: Final = (
    *("ShutterLeftVerticalEdge", "ShutterRightVerticalEdge"),
    *("ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge"),
    *("CenterOfCircularShutter", "RadiusOfCircularShutter", "VerticesOfThePolygonalShutter"),
)
# Millimetres taken for pixels leave 1 to 4 %.
_LITTLE = 0.05
_MAX_COORDINATE, _MAX_VALUES = 2**31, 20_000
# That the edges of a polygon cross, all in all.
_MOST_ROWS = 5_000_000


@dataclass(frozen=True)
class Shutter:
    """A display shutter that is applied.

    Args:
        shapes: its shapes, in small letters.
        hidden: (rows, columns), true for pixels that are not to be seen.
    """

    shapes: tuple[str, ...]
    hidden: _Mask

    def describe(self) -> str:
        """One line for the record of steps."""
        share = f"{100 * self.hidden.mean():.1f} % of the pixels"
        return f"display shutter ({', '.join(self.shapes)}): {share} left out, shown black"


def read_shutter(dataset: pydicom.Dataset, rows: int, columns: int, warnings: list[str]) -> Shutter | None:
    """Read the shutter of the header; None where there is none that can be applied.

    Args:
        dataset: the data set.
        rows: height of the image.
        columns: width of the image.
        warnings: what is not applied is added here.
    """
    visible, applied = np.ones((rows, columns), np.bool_), []
    for shape in _shapes(dataset, warnings):
        seen = _SHAPES[shape](dataset, rows, columns)
        if seen is None:
            warnings.append(f"the {shape.lower()} display shutter of the header is invalid: not applied")
        elif not (visible & seen).any():
            warnings.append(f"the {shape.lower()} display shutter would hide the whole image: not applied")
        else:
            visible &= seen
            applied.append(shape.lower())
    if visible.mean() < _LITTLE:
        share = f"{percent(visible.mean())} of the image"
        warnings.append(f"the display shutter of the header leaves {share}: are its numbers pixels?")
    return Shutter(tuple(applied), ~visible) if applied else None


def _shapes(dataset: pydicom.Dataset, warnings: list[str]) -> list[str]:
    value = element(dataset, "ShutterShape")
    named = [str(v).strip().upper() for v in (value if isinstance(value, MultiValue) else [value or ""])]
    if named == [""] and any(given(dataset, keyword) for keyword in _KEYWORDS):
        warnings.append("a display shutter without a shape in the header: not applied")
    if "BITMAP" in named:
        warnings.append("the bitmap display shutter of the header is not applied")
    if set(named) - {"", "BITMAP", *_SHAPES}:
        warnings.append("a display shutter of an unknown shape in the header: not applied")
    return [shape for shape in _SHAPES if shape in named]


def _rectangle(dataset: pydicom.Dataset, rows: int, columns: int) -> _Mask | None:
    left, right, upper, lower = (numbers(dataset, keyword) for keyword in _KEYWORDS[:4])
    if any(len(edge) != 1 for edge in (left, right, upper, lower)) or left > right or upper > lower:
        return None
    row, column = np.ogrid[1 : rows + 1, 1 : columns + 1]
    return (row >= upper[0]) & (row <= lower[0]) & (column >= left[0]) & (column <= right[0])


def _circle(dataset: pydicom.Dataset, rows: int, columns: int) -> _Mask | None:
    center, radius = numbers(dataset, "CenterOfCircularShutter"), numbers(dataset, "RadiusOfCircularShutter")
    if len(center) != 2 or len(radius) != 1 or radius[0] < 0:
        return None
    # The radius is in pixels along a row, so that pixels that are not square make an ellipse of it.
    row, column = np.ogrid[1 : rows + 1, 1 : columns + 1]
    down, across = (row - center[0]) * _height_of_pixels(dataset), column - center[1]
    return np.asarray(across**2 <= radius[0] ** 2 - down**2)


def _height_of_pixels(dataset: pydicom.Dataset) -> float:
    """Height of a pixel by its width, from the spacing or the aspect ratio; 1 where neither is usable."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        pair = numbers(dataset, keyword)
        if len(pair) == 2 and min(pair) > 0:
            return pair[0] / pair[1]
    return 1.0


def _polygon(dataset: pydicom.Dataset, rows: int, columns: int) -> _Mask | None:
    """Count crossings row by row, in whole numbers: inside is an odd count, or on an edge."""
    values = numbers(dataset, "VerticesOfThePolygonalShutter")
    if not 6 <= len(values) <= _MAX_VALUES or len(values) % 2 or max(map(abs, values)) > _MAX_COORDINATE:
        return None
    corners = [(int(row) - 1, int(column) - 1) for row, column in zip(values[::2], values[1::2], strict=True)]
    heights = [min(max(row, 0), rows) for row, _ in corners]
    if sum(abs(a - b) for a, b in zip(heights, heights[1:] + heights[:1], strict=True)) > _MOST_ROWS:
        return None
    turns = np.zeros((rows, columns + 1), np.bool_)
    on_edge = np.zeros((rows, columns), np.bool_)
    for ends in zip(corners, corners[1:] + corners[:1], strict=True):
        _draw_edge(ends, turns, on_edge)
    return np.logical_xor.accumulate(turns, axis=1)[:, :columns] | on_edge


def _draw_edge(ends: Sequence[tuple[int, int]], turns: _Mask, on_edge: _Mask) -> None:
    """Mark the pixels whose centre is on an edge, and in each row the first one to the right of the edge."""
    (row, column), (end_row, end_column) = sorted(ends)
    rows, columns = on_edge.shape
    if row == end_row:
        if 0 <= row < rows:
            on_edge[row, max(column, 0) : max(end_column + 1, 0)] = True
        return
    span = np.arange(max(row, 0), min(end_row, rows - 1) + 1)
    crossing = column * (end_row - row) + (span - row) * (end_column - column)
    at, rest = np.divmod(crossing, end_row - row)
    on = (rest == 0) & (at >= 0) & (at < columns)
    on_edge[span[on], at[on]] = True
    below = span < end_row
    turns[span[below], np.clip(at + (rest > 0), 0, columns)[below]] ^= True


_SHAPES: Final[dict[str, Callable[[pydicom.Dataset, int, int], _Mask | None]]] = {
    "RECTANGULAR": _rectangle,
    "CIRCULAR": _circle,
    "POLYGONAL": _polygon,
}
