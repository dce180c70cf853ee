"""Labels on a picture, laid out in inches at the moment they are drawn, so that none covers another.

Matplotlib settles the size of axes late (subplots, constrained layout, a window that is resized), and text
keeps its size whatever the axes have. What must not overlap is therefore placed when it is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, cast

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from cxr_explain.figures.artists import Samples, TextLine
from cxr_explain.figures.lettering import Face
from cxr_explain.figures.palette import ClassStyle, Dashes
from cxr_explain.figures.placement import Placement
from cxr_explain.figures.style import BODY, Style, small_size

SHADOW = [withStroke(linewidth=1.8, foreground=(0, 0, 0, 0.45))]
"""Around lines on a radiograph, which has every grey."""

Spot = tuple[float, float]
DrawMark = Callable[["Field"], None]

_BADGE = 0.135
_BADGE_EDGE = "#101010"
_LABEL_LINE = 0.116
_MOVED = 0.6  # of a badge: from here on a line leads to its place
_NICE_LENGTHS = (200, 100, 50, 20, 10, 5, 2, 1)  # of a scale bar, in mm


class Field:
    """What axes show, measured from its top left corner, at the size that they have now.

    Lengths are inches where ordinary text has 7.4 points, and grow with it, as on a `Page`.

    Args:
        axes: the axes.
        style: how text and lines look.
    """

    def __init__(self, axes: Axes, style: Style) -> None:
        self.axes, self.style = axes, style
        self.artists: list[Artist] = []
        self.under: list[Artist] = []
        box = axes.bbox
        self.unit = axes.figure.dpi * style.scale
        self.width, self.height = box.width / self.unit, box.height / self.unit
        self.placement = Placement(self.width, self.height)
        self._to_display = Affine2D().scale(self.unit, -self.unit).translate(box.x0, box.y1)

    @cached_property
    def small(self) -> float:
        """Size of text that matters less, in points where ordinary text has 7.4."""
        return small_size(self.style) / self.style.scale

    def at(self, point: Spot) -> Spot:
        """Where a point of the axes' coordinates is."""
        x, y = self._to_display.inverted().transform(self.axes.transData.transform(point)).tolist()
        return x, y

    def draw(self, artist: Artist, *, under: bool = False) -> None:
        """Add an artist whose coordinates are lengths of this field; `under` all that is not."""
        artist.set_figure(self.axes.figure)
        artist.set_transform(self._to_display)
        (self.under if under else self.artists).append(artist)

    def text(self, x: float, y: float, text: str, *, size: float, **look: Any) -> None:
        """Draw one line of text, centred unless another `align` and `vertical` are given."""
        # What is turned has no baseline to be centred on.
        turned = "center" if look.get("rotation") else "center_baseline"
        look = {"align": "center", "vertical": turned, "colour": self.style.ink, **look}
        typeface = self.style.typeface
        line = typeface.clean(text, look.get("face", "regular"))
        if line:
            self.draw(TextLine(x, y, line, size=size * self.style.scale, typeface=typeface, **look))

    def text_width(self, text: str, size: float, face: Face = "regular") -> float:
        """Width of one line of text."""
        return self.style.typeface.width(text, size, face)

    def line(
        self,
        x: Sequence[float],
        y: Sequence[float],
        *,
        colour: str,
        weight: float,
        dashes: Dashes = "solid",
        shadow: bool = True,
        under: bool = False,
    ) -> None:
        """Draw a line through points; the weight is in points."""
        effects = SHADOW if shadow else None
        weight *= self.style.scale * self.style.line_width
        line = Line2D(x, y, color=colour, linewidth=weight, linestyle=dashes, path_effects=effects)
        self.draw(line, under=under)

    def box(self, x: float, y: float, width: float, height: float, **look: Any) -> None:
        """Draw a rectangle from its top left corner; the look is Matplotlib's."""
        if "linewidth" in look:
            look["linewidth"] *= self.style.scale * self.style.line_width
        self.draw(Rectangle((x, y), width, height, **look))

    def plate(self, x: float, y: float, width: float, height: float, *, edge: str = "none") -> None:
        """Darken what is behind a label that is centred at (x, y)."""
        look = {"facecolor": (0, 0, 0, 0.62), "edgecolor": edge, "linewidth": 0.7}
        self.box(x - width / 2, y - height / 2, width, height, **look)

    def image(self, pixels: NDArray[np.uint8], x: float, y: float, width: float, height: float) -> None:
        """Draw an image (h, w, 3) from its top left corner."""
        self.draw(Samples(self.axes, pixels, (x, x + width, y + height, y)))

    def samples(self, length: float) -> int:
        """How many pixels of a figure with 300 in an inch a length covers."""
        return max(1, round(length * self.style.scale * 300))

    def dot(self, x: float, y: float, diameter: float, *, face_colour: str, edge_colour: str) -> None:
        """Draw a filled circle."""
        self.draw(dot(x, y, diameter * self.style.scale, face_colour=face_colour, edge_colour=edge_colour))


class Marks(Artist):
    """Labels of one picture, placed in the order in which they were added.

    Args:
        axes: axes whose coordinates are the radiograph's pixels.
        style: how text and lines look.
    """

    zorder = 4

    def __init__(self, axes: Axes, style: Style) -> None:
        super().__init__()
        self.style = style
        self.marks: list[DrawMark] = []
        self._state: tuple[Any, ...] = ()
        self._children: list[Artist] = []
        self.set_in_layout(False)
        axes.add_artist(self)

    def add(self, mark: Callable[..., None], **options: Any) -> None:
        """Add a mark: a function of this module, and what it draws."""
        self.marks.append(partial(mark, **options))

    def get_children(self) -> list[Artist]:
        """What there is to draw at the size that the axes have now."""
        axes = cast("Axes | None", self.axes)
        if axes is None:
            return []
        state = (axes.bbox.bounds, axes.viewLim.bounds, axes.figure.dpi, len(self.marks))
        if state != self._state:
            field = Field(axes, self.style)
            for mark in self.marks:
                mark(field)
            self._state, self._children = state, field.under + field.artists
        return self._children

    def draw(self, renderer: RendererBase) -> None:
        """Spot and draw all of them."""
        if self.get_visible():
            for artist in self.get_children():
                artist.draw(renderer)
        self.stale = False


def side(field: Field, *, text: str, at_right: bool) -> None:
    """The direction that an edge of the image points to, as a viewer marks it."""
    edge, width = field.width if at_right else 0.0, 0.1 + 0.08 * len(text)
    x, y = field.placement.centred(edge, field.height / 2, width, 0.2)
    field.text(x, y, text, size=BODY + 1.5, face="bold", colour="white", halo="black")


def badge(field: Field, *, point: Spot, style: ClassStyle, text: str | None = None) -> None:
    """A pathology's number, or another text, at its strongest cell; with an arrow where that is not shown."""
    true_x, true_y = field.at(point)
    inside = -1e-6 <= true_x <= field.width + 1e-6 and -1e-6 <= true_y <= field.height + 1e-6
    if inside:
        x, y = field.placement.centred(true_x, true_y, _BADGE, _BADGE)
        if math.hypot(x - true_x, y - true_y) > _MOVED * _BADGE:
            field.line([true_x, x], [true_y, y], colour=style.colour, weight=0.9, under=True)
            field.draw(
                dot(
                    true_x,
                    true_y,
                    0.05 * field.style.scale,
                    face_colour=style.colour,
                    edge_colour=_BADGE_EDGE,
                ),
                under=True,
            )
    else:
        room = _BADGE * 1.75
        x, y = field.placement.centred(
            min(max(true_x, room / 2), field.width - room / 2),
            min(max(true_y, room / 2), field.height - room / 2),
            room,
            room,
        )
        field.draw(arrow_head((x, y), (true_x - x, true_y - y), style.colour))
    field.dot(x, y, _BADGE, face_colour=style.colour, edge_colour=_BADGE_EDGE)
    field.text(x, y, text or str(style.rank), size=field.small - 0.2, face="bold", colour=style.ink)


def link(field: Field, *, points: tuple[Spot, Spot], colour: str) -> None:
    """A thin line from one point to another."""
    (x0, y0), (x1, y1) = map(field.at, points)
    field.line([x0, x1], [y0, y1], colour=colour, weight=0.7, under=True)


def box_label(field: Field, *, corners: tuple[float, float, float, float], text: str, colour: str) -> None:
    """The name of a reference box, at the corner of it that is free."""
    text = field.style.typeface.shorten(text, field.width - 0.1, field.small)
    w, h = field.text_width(text, field.small) + 0.08, _LABEL_LINE + 0.03
    (x0, y0), (x1, y1) = field.at(corners[:2]), field.at(corners[2:])
    left, right = x0 + w / 2, x1 - w / 2
    top, bottom = y0 - h / 2 - 0.02, y1 + h / 2 + 0.02
    centres = [(a, b) for b in (top, bottom, top + h + 0.04, bottom - h - 0.04) for a in (left, right)]
    centres += [(left, top - n * h) for n in range(1, 6)] + [(left, bottom + n * h) for n in range(1, 6)]
    x, y = field.placement.first(centres, w, h)
    # White on black reads on any grey; some pathologies' colours are too dark for text, so they frame it.
    field.plate(x, y, w, h, edge=colour)
    field.text(x, y, text, size=field.small, colour="white")


def strip_label(field: Field, *, corners: tuple[float, float, float, float], text: str) -> None:
    """A label along a strip of the image, where that has room for it: beside the strip it would be untrue."""
    (x0, y0), (x1, y1) = field.at(corners[:2]), field.at(corners[2:])
    upright = y1 - y0 > x1 - x0
    thickness, extent = (x1 - x0, y1 - y0) if upright else (y1 - y0, x1 - x0)
    length = field.text_width(text, field.small) + 0.1
    if thickness < _LABEL_LINE * 1.15 or length > extent:
        return
    along = max(extent * 0.26, length / 2)
    at = ((x0 + x1) / 2, y0 + along) if upright else ((x0 + x1) / 2, (y0 + y1) / 2)
    size = (_LABEL_LINE, length) if upright else (length, _LABEL_LINE)
    look: dict[str, Any] = {"colour": "white", "halo": "#202020", "rotation": 90.0 if upright else 0.0}
    if spot := field.placement.inside((x0, y0, x1, y1), at, *size):
        field.text(*spot, text, size=field.small, **look)


def message(field: Field, *, text: str) -> None:
    """What there is to say in place of a map."""
    lines = field.style.typeface.wrap(text, field.width - 0.24, BODY, "bold", lines=4)
    w = max(field.text_width(line, BODY, "bold") for line in lines) + 0.16
    h = 0.14 * len(lines) + 0.12
    x, y = field.placement.centred(field.width / 2, field.height / 2, w, h)
    field.plate(x, y, w, h)
    for at, line in enumerate(lines):
        middle = y + 0.14 * (at - (len(lines) - 1) / 2)
        field.text(x, middle, line, size=BODY, face="bold", colour="white")


def notice(field: Field, *, text: str) -> None:
    """A notice on a plate at the upper left."""
    line = field.style.typeface.shorten(text, field.width - 0.16, field.small, "bold")
    w, h = field.text_width(line, field.small, "bold") + 0.1, _LABEL_LINE + 0.04
    x, y = field.placement.centred(w / 2 + 0.03, h / 2 + 0.03, w, h)
    field.plate(x, y, w, h)
    field.text(x, y, line, size=field.small, face="bold", colour="white")


def scale_bar(field: Field, *, spacing: float) -> None:
    """A bar of a round length at the lower right, at most a third of the width.

    Args:
        field: what the axes show.
        spacing: mm from one pixel of the radiograph to the next across.
    """
    shown = abs(field.axes.viewLim.width) * spacing
    fitting = [length for length in _NICE_LENGTHS if length <= shown / 3]
    if not fitting:
        return
    length = fitting[0]
    text = f"{length} mm" if length < 10 else f"{length // 10} cm"
    across = length / shown * field.width
    w, h = max(across, field.text_width(text, field.small)) + 0.1, _LABEL_LINE + 0.12
    x, y = field.placement.centred(field.width - w / 2 - 0.04, field.height - h / 2 - 0.04, w, h)
    bottom = y + h / 2 - 0.03
    field.line([x - across / 2, x + across / 2], [bottom, bottom], colour="white", weight=2.0)
    field.text(x, bottom - 0.1, text, size=field.small, colour="white", halo="black")


def ring(field: Field, *, point: Spot, colour: str) -> None:
    """An open circle around the strongest cell, where colour alone would be overlooked."""
    x, y = field.at(point)
    circle = dot(x, y, 0.2 * field.style.scale, face_colour="none", edge_colour=colour)
    circle.set(markeredgewidth=1.0 * field.style.scale, path_effects=SHADOW)
    field.draw(circle)


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


def arrow_head(start: Spot, direction: Spot, colour: str) -> Polygon:
    """A triangle beside a badge, that points on."""
    length = math.hypot(*direction) or 1.0
    dx, dy = direction[0] / length, direction[1] / length
    near, far, half = _BADGE * 0.42, _BADGE * 0.88, _BADGE * 0.36
    base_x, base_y = start[0] + dx * near, start[1] + dy * near
    tip = (start[0] + dx * far, start[1] + dy * far)
    wings = [(base_x - dy * half, base_y + dx * half), (base_x + dy * half, base_y - dx * half)]
    look = {"facecolor": colour, "edgecolor": _BADGE_EDGE, "linewidth": 0.6}
    return Polygon([wings[0], tip, wings[1]], closed=True, **look)
