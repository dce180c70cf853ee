"""A page measured from its top left corner, on which blocks put text, shapes and images.

Lengths are inches of a page whose ordinary text has 7.4 points. A style with larger text scales them all.

One axes without decoration covers the page; images get their own. Nothing is laid out by Matplotlib: each
block knows its size before it draws, which is fast, and the same on every machine.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from cxr_explain.figures import overlay
from cxr_explain.figures.artists import Align, Samples, TextLine
from cxr_explain.figures.lettering import Face
from cxr_explain.figures.marks import dot
from cxr_explain.figures.output import ExplanationFigure
from cxr_explain.figures.palette import ClassStyle, Dashes
from cxr_explain.figures.style import BODY, LIGHT, Style

HEADING = 8.6
SMALL = 6.4
SMALLEST = 5.2
"""Size down to which the letters of a long name go before it is cut."""

_SWATCH_PERIOD = 0.045
_LONGEST = 500  # letters that are measured: no line has as many

_WHOLE = 1e-6  # of a pixel: what arithmetic may add to a width that is whole


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
        width: width of the page, rounded up to a whole pixel.
        height: height of the page, rounded up to a whole pixel.
        dpi: pixels in an inch of the figure, on which images are aligned.
        style: how the page looks; its size scales all lengths.
        kind: what the figure is.
    """

    def __init__(
        self,
        width: float,
        height: float,
        dpi: float,
        style: Style = LIGHT,
        kind: type[ExplanationFigure] = ExplanationFigure,
    ) -> None:
        self.style = style
        self.scale = style.scale
        self._pixels = dpi * self.scale  # in a unit of length
        self.width = math.ceil(width * self._pixels - _WHOLE) / self._pixels
        self.height = math.ceil(height * self._pixels - _WHOLE) / self._pixels
        size = (self.width * self.scale, self.height * self.scale)
        self.figure = kind(figsize=size, dpi=dpi, facecolor=style.paper)
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
        colour: str | None = None,
        align: Align = "left",
        room: float | None = None,
        smallest: float | None = None,
    ) -> None:
        """Put one line of text on the baseline y, in ink by default.

        Args:
            x: where it begins, or ends, or has its middle.
            y: the baseline.
            text: one line of text.
            size: size in points.
            face: face of the letters.
            colour: colour of the letters.
            align: which end of the line is at x.
            room: width to which it is cut.
            smallest: size that it may be set in before it is cut.
        """
        typeface = self.style.typeface
        line = typeface.clean(text, face)
        while room and smallest and size > smallest and typeface.width(line[:_LONGEST], size, face) > room:
            size = max(size - 0.2, smallest)
        line = line if room is None else typeface.shorten(line, room, size, face)
        if line:
            colour = colour or self.style.ink
            size *= self.scale
            self._add(
                TextLine(x, y, line, size=size, face=face, colour=colour, align=align, typeface=typeface)
            )

    def heading(self, x: float, y: float, text: str, *, aside: str = "", room: float) -> None:
        """A section's title with its baseline 0.12 inches below y; after it a quiet remark, where it fits."""
        self.text(x, y + 0.12, text, size=HEADING, face="bold", room=room)
        typeface = self.style.typeface
        used = typeface.width(typeface.clean(text), HEADING, "bold") + 0.09
        if aside and typeface.width(typeface.clean(aside), SMALL) <= room - used:
            self.text(x + used, y + 0.12, aside, size=SMALL, colour=self.style.quiet, room=room - used)

    def rule(
        self, x: float, y: float, length: float, *, colour: str | None = None, weight: float = 0.5
    ) -> None:
        """A horizontal rule."""
        self.line([x, x + length], [y, y], colour=colour or self.style.rule, weight=weight)

    def line(
        self, x: list[float], y: list[float], *, colour: str, weight: float, dashes: Dashes = "solid"
    ) -> None:
        """A line through points."""
        self._add(Line2D(x, y, color=colour, linewidth=self.weight(weight), linestyle=dashes))

    def box(self, x: float, y: float, width: float, height: float, **style: Any) -> None:
        """A rectangle; the style is Matplotlib's."""
        if "linewidth" in style:
            style["linewidth"] = self.weight(style["linewidth"])
        self._add(Rectangle((x, y), width, height, **style))

    def swatch(self, style: ClassStyle, x: float, y: float, width: float, height: float) -> None:
        """A pathology's colour, with its second sign."""
        if style.sign:
            shape = self.samples(height), self.samples(width)
            pixels = overlay.swatch(style, shape, self.samples(_SWATCH_PERIOD))
            self.image(pixels, x, y, width, height)
        else:
            self.box(x, y, width, height, facecolor=style.colour, linewidth=0)

    def dot(self, x: float, y: float, diameter: float, *, face_colour: str, edge_colour: str) -> None:
        """A filled circle."""
        self._add(dot(x, y, diameter * self.scale, face_colour=face_colour, edge_colour=edge_colour))

    def image(
        self,
        pixels: NDArray[np.uint8],
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        framed: bool = False,
    ) -> None:
        """An image (h, w, 3) with its top left corner at (x, y), aligned to whole pixels of the page.

        Args:
            pixels: the image.
            x: left edge.
            y: top edge.
            width: width of the image.
            height: height of the image.
            framed: with a hairline around it, for what may be as white as the page.
        """
        left, top, right, bottom = self._snap(x, y, width, height)
        self.axes.add_image(Samples(self.axes, pixels, (left, right, bottom, top)))
        if framed:
            size = right - left, bottom - top
            edge, weight = self.style.rule, self.weight(0.5)
            self._add(Rectangle((left, top), *size, facecolor="none", edgecolor=edge, linewidth=weight))

    def panel(
        self, x: float, y: float, width: float, height: float, extent: tuple[float, float, float, float]
    ) -> Axes:
        """Empty axes for an image, aligned to whole pixels of the page.

        Args:
            x: left edge.
            y: top edge.
            width: width of the image.
            height: height of the image.
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
        return axes

    def _add(self, artist: Artist) -> None:
        """Put something on the page; unlike `add_line` and `add_patch` not looking how far it reaches."""
        self.axes.add_artist(artist)

    def blank(self, x: float, y: float, width: float, height: float) -> Axes:
        """Empty axes for text and signs, exactly where they are asked for."""
        axes = self.figure.add_axes(
            (x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height)
        )
        axes.set_axis_off()
        return axes

    def upright(self, x: float, y: float, text: str, *, room: float) -> None:
        """Text that is turned to be read from below, with its middle at (x, y)."""
        typeface = self.style.typeface
        line = typeface.shorten(text, room, BODY)
        look: dict[str, Any] = {"align": "center", "vertical": "center", "rotation": 90.0}
        size, colour = BODY * self.scale, self.style.ink
        self.axes.add_artist(TextLine(x, y, line, size=size, colour=colour, typeface=typeface, **look))

    def weight(self, points: float) -> float:
        """The width of a line in points, as the style has it."""
        return points * self.scale * self.style.line_width

    def samples(self, length: float) -> int:
        """How many pixels of the page a length covers."""
        return max(1, round(length * self._pixels))

    def _snap(self, x: float, y: float, width: float, height: float) -> tuple[float, float, float, float]:
        """Left, top, right and bottom on whole pixels, as many of them as `samples` says."""
        left, top = round(x * self._pixels), round(y * self._pixels)
        right, bottom = left + self.samples(width), top + self.samples(height)
        pixels = self._pixels
        return left / pixels, top / pixels, right / pixels, bottom / pixels
