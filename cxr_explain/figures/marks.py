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
from cxr_explain.figures.fitting import fitted, smallest
from cxr_explain.figures.lettering import Face
from cxr_explain.figures.palette import ClassStyle, Dashes
from cxr_explain.figures.placement import Placement
from cxr_explain.figures.style import BODY, SMALLEST, Style, small_size

SHADOW = [withStroke(linewidth=1.8, foreground=(0, 0, 0, 0.45))]
"""Around lines on a radiograph, which has every grey."""

Spot = tuple[float, float]
DrawMark = Callable[["Field"], None]

_BADGE = 0.135
_BADGE_SHARE = 0.075  # of the shorter side of a picture, at most
_BADGE_OF_TEXT = 1.62  # diameter of the smallest badge, of the smallest letters' size
_NUMBER = 0.62  # size of a badge's number, of the diameter
_SMALL_FINDING = 1.2  # of a badge: what is smaller has the badge beside it
_SMALL_PICTURE = 1.6  # below, signs of sides and scale are smaller
_SMALLEST_SIGN = 0.65
_LABEL_SHARE = 0.5  # of the width of a picture, at most
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
    def share(self) -> float:
        """Size of the signs of sides and scale: 1, and less in a small picture."""
        return min(1.0, max(_SMALLEST_SIGN, min(self.width, self.height) / _SMALL_PICTURE))

    @cached_property
    def badge(self) -> float:
        """Diameter of a badge: a small share of a small picture, as long as its number can be read."""
        least = _BADGE_OF_TEXT * SMALLEST / 72 / self.style.scale
        return min(_BADGE, max(least, _BADGE_SHARE * min(self.width, self.height)))

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

    `explained` is the SHA-256 of the radiograph that the axes show, where they show one.
    """

    zorder = 4

    def __init__(self, axes: Axes, style: Style) -> None:
        super().__init__()
        self.style = style
        self.marks: list[partial[None]] = []
        self.explained = ""
        self._state: tuple[Any, ...] = ()
        self._children: list[Artist] = []
        self.set_in_layout(False)
        axes.add_artist(self)

    @classmethod
    def of(cls, axes: Axes, style: Style) -> Marks:
        """Those that the axes have, so that labels of one picture keep clear of each other; or new ones."""
        there = [child for child in axes.artists if isinstance(child, cls) and child.style == style]
        return there[0] if there else cls(axes, style)

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle has: what there is to draw, and not how it was drawn at one size."""
        return {**cast("dict[str, Any]", super().__getstate__()), "_state": (), "_children": []}

    def add(self, mark: Callable[..., None], *, first: bool = False, **options: Any) -> None:
        """Add a mark: a function, and what it draws, once; all others keep clear of the first."""
        if not any(each.func is mark and each.keywords == options for each in self.marks):
            self.marks.insert(0 if first else len(self.marks), partial(mark, **options))

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
    """The direction that an edge of the image points to, as a viewer marks it, at no other place."""
    width, height = (0.1 + 0.08 * len(text)) * field.share, 0.2 * field.share
    edge, steps = field.width if at_right else 0.0, range(1, 13)
    moved = [way * step * height / 2 for step in steps for way in (-1, 1)]
    centres = [(edge, field.height / 2 + by) for by in (0.0, *moved)]
    x, y = field.placement.first(centres, width, height)
    size = (BODY + 1.5) * field.share
    field.text(x, y, text, size=size, face="bold", colour="white", halo="black")


def badge(
    field: Field, *, point: Spot, style: ClassStyle, text: str | None = None, extent: float | None = None
) -> None:
    """A pathology's number, or another text, at its strongest cell; with an arrow where that is not shown.

    Args:
        field: what the axes show.
        point: the strongest cell.
        style: how the pathology is drawn.
        text: what stands in it; the rank by default.
        extent: size of the region around the cell, in the axes' coordinates; beside a small one the badge
            stands aside, and a line leads to it.
    """
    true_x, true_y = field.at(point)
    inside = -1e-6 <= true_x <= field.width + 1e-6 and -1e-6 <= true_y <= field.height + 1e-6
    size = field.badge
    if inside:
        x, y = field.placement.centred(*_beside(field, point, extent), size, size)
        if math.hypot(x - true_x, y - true_y) > _MOVED * size:
            field.line([true_x, x], [true_y, y], colour=style.colour, weight=0.9, under=True)
            diameter = 0.05 * field.style.scale * size / _BADGE
            end = dot(true_x, true_y, diameter, face_colour=style.colour, edge_colour=_BADGE_EDGE)
            field.draw(end, under=True)
    else:
        room = size * 1.75
        x, y = field.placement.centred(
            min(max(true_x, room / 2), field.width - room / 2),
            min(max(true_y, room / 2), field.height - room / 2),
            room,
            room,
        )
        field.draw(arrow_head((x, y), (true_x - x, true_y - y), style.colour, size))
    field.dot(x, y, size, face_colour=style.colour, edge_colour=_BADGE_EDGE)
    letters = min(field.small - 0.2, _NUMBER * 72 * size) if size < _BADGE else field.small - 0.2
    field.text(x, y, text or str(style.rank), size=letters, face="bold", colour=style.ink)


def _beside(field: Field, point: Spot, extent: float | None) -> Spot:
    """Where a badge is to stand: on its place, or above to the right of a region that it would hide."""
    x, y = field.at(point)
    if extent is None:
        return x, y
    across = abs(field.at((point[0] + extent, point[1]))[0] - x)
    if across >= _SMALL_FINDING * field.badge:
        return x, y
    away = (across / 2 + 0.7 * field.badge) / math.sqrt(2)
    return x + (away if x + away < field.width else -away), y - (away if y > away else -away)


def link(field: Field, *, points: tuple[Spot, Spot], colour: str) -> None:
    """A thin line from one point to another."""
    (x0, y0), (x1, y1) = map(field.at, points)
    field.line([x0, x1], [y0, y1], colour=colour, weight=0.7, under=True)


def box_label(
    field: Field,
    *,
    corners: tuple[float, float, float, float],
    texts: Sequence[str],
    colour: str,
) -> None:
    """The name of a reference box, at the corner of it that is free; none in a picture that it would cover.

    Args:
        field: what the axes show.
        corners: left, top, right and bottom of the box.
        texts: what it may say; the first that is short enough is taken.
        colour: colour of the box.
    """
    (x0, y0), (x1, y1) = field.at(corners[:2]), field.at(corners[2:])
    if x1 <= 0 or y1 <= 0 or x0 >= field.width or y0 >= field.height:
        return
    cleaned = map(field.style.typeface.clean, texts)
    text = next((t for t in cleaned if field.text_width(t, field.small) <= _LABEL_SHARE * field.width), "")
    if not text:
        return
    w, h = field.text_width(text, field.small) + 0.08, _LABEL_LINE + 0.03
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
    fitting = max(1, int((field.height - 0.16) / 0.14))
    lines, size = fitted(field.style, text, max(field.width - 0.24, 0.1), BODY, "bold", lines=min(4, fitting))
    pitch = 0.14 * size / BODY
    w = max(field.text_width(line, size, "bold") for line in lines) + 0.16
    h = pitch * len(lines) + 0.12
    x, y = field.placement.centred(field.width / 2, field.height / 2, w, h)
    field.plate(x, y, w, h)
    for at, line in enumerate(lines):
        middle = y + pitch * (at - (len(lines) - 1) / 2)
        field.text(x, middle, line, size=size, face="bold", colour="white")


def notice(field: Field, *, text: str) -> None:
    """A notice on a plate at the upper left; its first words, where there is no room for all of them.

    Args:
        field: what the axes show.
        text: what it says, its parts with " · " between them.
    """
    room = max(field.width - 0.16, 0.1)
    lines, size = fitted(field.style, text, room, field.small, "bold")
    if len(lines) > 2 or len(lines) * _LABEL_LINE * size / field.small > field.height / 4:
        line = field.style.typeface.clean(text.split(" · ")[0], "bold")
        lines, size = [line], min(size, size * room / field.text_width(line, size, "bold"))
    pitch = _LABEL_LINE * size / field.small
    w = max(field.text_width(line, size, "bold") for line in lines) + 0.1
    h = pitch * len(lines) + 0.04
    x, y = field.placement.centred(w / 2 + 0.03, h / 2 + 0.03, w, h)
    field.plate(x, y, w, h)
    for at, line in enumerate(lines):
        middle = y + pitch * (at - (len(lines) - 1) / 2)
        field.text(x - w / 2 + 0.05, middle, line, size=size, face="bold", colour="white", align="left")


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
    size = max(smallest(field.style, field.small), field.small * field.share)
    w, h = max(across, field.text_width(text, size)) + 0.1, _LABEL_LINE * size / field.small + 0.12
    x, y = field.placement.centred(field.width - w / 2 - 0.04, field.height - h / 2 - 0.04, w, h)
    bottom = y + h / 2 - 0.03
    field.line([x - across / 2, x + across / 2], [bottom, bottom], colour="white", weight=2.0 * field.share)
    above = 0.04 + 0.06 * size / field.small
    field.text(x, bottom - above, text, size=size, colour="white", halo="black")


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


def arrow_head(start: Spot, direction: Spot, colour: str, size: float = _BADGE) -> Polygon:
    """A triangle beside a badge of a diameter, that points on."""
    length = math.hypot(*direction) or 1.0
    dx, dy = direction[0] / length, direction[1] / length
    near, far, half = size * 0.42, size * 0.88, size * 0.36
    base_x, base_y = start[0] + dx * near, start[1] + dy * near
    tip = (start[0] + dx * far, start[1] + dy * far)
    wings = [(base_x - dy * half, base_y + dx * half), (base_x + dy * half, base_y - dx * half)]
    look = {"facecolor": colour, "edgecolor": _BADGE_EDGE, "linewidth": 0.6}
    return Polygon([wings[0], tip, wings[1]], closed=True, **look)
