"""A page measured in inches from its top left corner, on which blocks put text, shapes and images.

One axes without decoration covers the page; images get their own. Nothing is laid out by Matplotlib: each
block knows its size before it draws, which is fast, and the same on every machine.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from cxr_explain.figures.artists import Align, Samples, TextLine
from cxr_explain.figures.lettering import Face, clean, shorten
from cxr_explain.figures.lettering import width as text_width
from cxr_explain.figures.output import ExplanationFigure
from cxr_explain.figures.palette import INK, QUIET, RULE, Dashes

HEADING = 8.6
BODY = 7.4
SMALL = 6.4


class Block(Protocol):
    """A part of the page that knows its height and can draw itself at a place."""

    @property
    def height(self) -> float:
        """Height in inches."""

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw with the top left corner at (x, y)."""


class Page:
    """An empty page.

    Args:
        width: width of the page in inches, rounded up to a whole pixel.
        height: height of the page in inches, rounded up to a whole pixel.
        dpi: pixels in an inch, on which images are aligned.
    """

    def __init__(self, width: float, height: float, dpi: float) -> None:
        self.dpi = dpi
        self.width = math.ceil(width * dpi) / dpi
        self.height = math.ceil(height * dpi) / dpi
        self.figure = ExplanationFigure(figsize=(self.width, self.height), dpi=dpi, facecolor="white")
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        self.axes.set_xlim(0, self.width)
        self.axes.set_ylim(self.height, 0)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = BODY,
        face: Face = "regular",
        colour: str = INK,
        align: Align = "left",
        room: float | None = None,
    ) -> None:
        """Put one line of text on the baseline y, cut to `room` inches where given."""
        line = clean(text, face) if room is None else shorten(text, room, size, face)
        if line:
            self.axes.add_artist(TextLine(x, y, line, size=size, face=face, colour=colour, align=align))

    def heading(self, x: float, y: float, text: str, *, aside: str = "", room: float) -> None:
        """A section's title with its baseline 0.12 inches below y, and a quiet remark after it."""
        self.text(x, y + 0.12, text, size=HEADING, face="bold", room=room)
        used = text_width(clean(text), HEADING, "bold") + 0.09
        if aside and room - used > 0.3:
            self.text(x + used, y + 0.12, aside, size=SMALL, colour=QUIET, room=room - used)

    def rule(self, x: float, y: float, length: float, *, colour: str = RULE, weight: float = 0.5) -> None:
        """A horizontal rule."""
        self.line([x, x + length], [y, y], colour=colour, weight=weight)

    def line(
        self, x: list[float], y: list[float], *, colour: str, weight: float, dashes: Dashes = "solid"
    ) -> None:
        """A line through points."""
        self.axes.add_line(Line2D(x, y, color=colour, linewidth=weight, linestyle=dashes))

    def box(self, x: float, y: float, width: float, height: float, **style: Any) -> None:
        """A rectangle; the style is Matplotlib's."""
        self.axes.add_patch(Rectangle((x, y), width, height, **style))

    def dot(self, x: float, y: float, diameter: float, *, face_colour: str, edge_colour: str) -> None:
        """A filled circle."""
        self.axes.add_line(dot(x, y, diameter, face_colour=face_colour, edge_colour=edge_colour))

    def image(self, pixels: NDArray[np.uint8], x: float, y: float, width: float, height: float) -> None:
        """An image (h, w, 3) with its top left corner at (x, y), aligned to whole pixels of the page."""
        left, top, right, bottom = self._snap(x, y, width, height)
        self.axes.add_image(Samples(self.axes, pixels, (left, right, bottom, top)))

    def panel(
        self,
        pixels: NDArray[np.uint8],
        x: float,
        y: float,
        width: float,
        height: float,
        extent: tuple[float, float, float, float],
    ) -> Axes:
        """An image in axes of its own, aligned to whole pixels of the page.

        Args:
            pixels: (h, w, 3) red, green and blue.
            x: left edge in inches.
            y: top edge in inches.
            width: width of the image in inches.
            height: height of the image in inches.
            extent: left, right, bottom and top in the coordinates that the axes shall have.
        """
        left, top, right, bottom = self._snap(x, y, width, height)
        axes = self.figure.add_axes(
            (
                left / self.width,
                1 - bottom / self.height,
                (right - left) / self.width,
                (bottom - top) / self.height,
            )
        )
        axes.set_axis_off()
        axes.set_xlim(*extent[:2])
        axes.set_ylim(*extent[2:])
        axes.add_image(Samples(axes, pixels, extent))
        return axes

    def samples(self, inches: float) -> int:
        """How many pixels of the page a length covers."""
        return max(1, round(inches * self.dpi))

    def _snap(self, x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
        """Left, top, right and bottom on whole pixels, as many of them as `samples` says."""
        left, top = round(x * self.dpi), round(y * self.dpi)
        right, bottom = left + self.samples(width), top + self.samples(height)
        return left / self.dpi, top / self.dpi, right / self.dpi, bottom / self.dpi


def dot(x: float, y: float, diameter: float, *, face_colour: str, edge_colour: str) -> Line2D:
    """A filled circle of a diameter in inches around a point in any axes."""
    return Line2D(
        [x],
        [y],
        marker="o",
        linestyle="none",
        markersize=diameter * 72 - 0.6,
        markerfacecolor=face_colour,
        markeredgecolor=edge_colour,
        markeredgewidth=0.6,
    )
