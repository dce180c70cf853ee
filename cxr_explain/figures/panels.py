"""The two large panels: the radiograph as it is, and the same with the fused map over it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from cxr_explain.figures import overlay
from cxr_explain.figures.artists import TextLine
from cxr_explain.figures.content import Content
from cxr_explain.figures.image_captions import overlay_caption, radiograph_caption
from cxr_explain.figures.page import SMALL, Page, dot
from cxr_explain.figures.palette import UNKNOWN_BOX, Dashes
from cxr_explain.figures.placement import Placement
from cxr_explain.figures.style import BODY, Style
from cxr_explain.pathologies import ReferenceBox

HATCH_PERIOD = 0.075

_TITLE = 0.2
_CAPTION = 0.17
_NARROWEST = 1.75
_BADGE = 0.135
_LINE = SMALL / 72 * 1.3
_SHADOW = [withStroke(linewidth=1.8, foreground=(0, 0, 0, 0.45))]  # around lines
BOX_DASHES: Dashes = (0, (3.2, 2.2))


@dataclass
class Panels:
    """Radiograph and overlay side by side.

    Args:
        content: the content of the figure.
        panel_width: width of each image in inches.
        panel_height: height of each image in inches.
        gap: space between the two in inches.
    """

    content: Content
    panel_width: float
    panel_height: float
    gap: float

    @property
    def height(self) -> float:
        """Height in inches, titles and captions included."""
        lines = max(1, *(len(caption) for caption in self._captions))
        return _TITLE + self.panel_height + _CAPTION + _LINE * (lines - 1)

    @property
    def width(self) -> float:
        """Width in inches."""
        return 2 * self.room + self.gap

    @property
    def room(self) -> float:
        """Width of one image, or more for what is written around a narrow one."""
        return max(self.panel_width, _NARROWEST)

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw both panels and what is written around them."""
        shape = (page.samples(self.panel_height), page.samples(self.panel_width))
        background = overlay.grey(self.content.radiograph.display, shape)
        plain = np.repeat(overlay.to_bytes(background)[..., None], 3, axis=2)
        explanation, opacity = self.content.explanation, self.content.max_opacity
        fused = overlay.maps_over(
            background, explanation, self.content.styles, page.samples(HATCH_PERIOD), max_opacity=opacity
        )
        second = x + self.room + self.gap
        self._titles(page, x, second, y)
        for left, pixels, has_map in ((x, plain, False), (second, fused.rgb, True)):
            panel = self._panel(page, left, y + _TITLE, pixels)
            panel.sides(self.content)
            if has_map:
                panel.evidence(self.content)
            panel.reference_boxes(self.content)
            if has_map and (message := _message(self.content, fused.peak)):
                panel.message(message)
        for left, caption in zip((x, second), self._captions, strict=True):
            for number, line in enumerate(caption):
                baseline = y + _TITLE + self.panel_height + 0.125 + _LINE * number
                page.text(left, baseline, line, size=SMALL, colour=page.style.quiet)

    def _panel(self, page: Page, x: float, y: float, pixels: NDArray[np.uint8]) -> _Panel:
        height, width_ = self.content.radiograph.shape
        extent = (0.0, float(width_), float(height), 0.0)
        axes = page.panel(pixels, x, y, self.panel_width, self.panel_height, extent)
        placement = Placement(self.panel_width, self.panel_height)
        return _Panel(axes, placement, width_ / self.panel_width, self.content.look)

    def _titles(self, page: Page, first: float, second: float, y: float) -> None:
        words, k = self.content.words, self.content.explanation.ranking.k
        page.heading(first, y - 0.01, self.content.subject, room=self.room)
        title = "overlay" if k <= 1 else "fused overlay" if self.content.fused else "overlay of class maps"
        how_many = {0: "nothing to explain", 1: "one pathology"}.get(k, "several pathologies")
        aside = words(how_many, k=k)
        page.heading(second, y - 0.01, words(title), aside=aside, room=self.room)

    @cached_property
    def _captions(self) -> tuple[list[str], list[str]]:
        texts = radiograph_caption(self.content, self.panel_width), overlay_caption(self.content)
        first, second = (self.content.look.typeface.wrap(text, self.room, SMALL, lines=6) for text in texts)
        return first, second


@dataclass
class _Panel:
    """One large image; the axes are in the radiograph's pixels, the placement in inches."""

    axes: Axes
    placement: Placement
    scale: float  # radiograph pixels in an inch
    look: Style

    def sides(self, content: Content) -> None:
        """Mark the patient's sides, as a viewer does; nothing where the header does not say."""
        for text, edge in zip(content.sides or (), (0.0, self.placement.width), strict=False):
            x, y = self.placement.centred(edge, self.placement.height / 2, 0.1 + 0.08 * len(text), 0.2)
            self._text(x, y, text, size=BODY + 1.5, face="bold", colour="white", halo="black")

    def evidence(self, content: Content) -> None:
        """The crop box, outlines and numbers of each pathology."""
        explanation = content.explanation
        self._unseen(content)
        faint = overlay.FAINT * explanation.maps.max(initial=0)
        for style, values in zip(content.styles, explanation.maps, strict=True):
            drawn = content.contours and values.max(initial=0) >= faint
            for line in overlay.outlines(values, explanation.geometry) if drawn else []:
                self._line(line[:, 0], line[:, 1], style.colour, style.dashes, 0.9)
        for style, values in zip(content.styles, explanation.maps, strict=True):
            if (point := overlay.peak_point(values, explanation.geometry)) is not None:
                self._badge(point, style.rank, style.colour, style.ink)

    def reference_boxes(self, content: Content) -> None:
        """Dashed outlines with their names."""
        for box in content.boxes:
            style = content.style_of(box.pathology)
            colour = style.colour if style else UNKNOWN_BOX
            self._frame(box.x, box.y, box.x + box.width, box.y + box.height, colour, BOX_DASHES, 1.2)
            self._box_label(box, colour)

    def message(self, text: str) -> None:
        """Say in words why there is no overlay, or none that shows where."""
        line = self.look.typeface.shorten(text, self.placement.width - 0.2, BODY, "bold")
        size = self.look.typeface.width(line, BODY, "bold") + 0.16
        x, y = self.placement.centred(self.placement.width / 2, self.placement.height / 2, size, 0.26)
        self._plate(x, y, size, 0.26)
        self._text(x, y, line, size=BODY, face="bold", colour="white")

    def _unseen(self, content: Content) -> None:
        geometry = content.explanation.geometry
        if geometry.sees_everything:
            return
        left, top, right, bottom = geometry.seen_box
        self._frame(left, top, right, bottom, "white", "solid", 0.7)
        height, width_ = geometry.radiograph_shape
        for strip in ((0, left), (right, width_)):
            self._strip_label(strip, upright=True)
        for strip in ((0, top), (bottom, height)):
            self._strip_label(strip, upright=False)

    def _strip_label(self, strip: tuple[int, int], *, upright: bool) -> None:
        """Label a strip if it is thick and long enough; the caption and the key name it in any case."""
        thickness = (strip[1] - strip[0]) / self.scale
        unseen = self.look.words("not seen by the model")
        length = self.look.typeface.width(unseen, SMALL) + 0.1
        extent = self.placement.height if upright else self.placement.width
        if thickness < _LINE * 1.15 or length > extent:
            return
        middle = (strip[0] + strip[1]) / 2 / self.scale
        along = max(extent * 0.26, length / 2)
        at, size = ((middle, along), (_LINE, length)) if upright else ((extent / 2, middle), (length, _LINE))
        x, y = self.placement.centred(*at, *size)
        rotation = 90.0 if upright else 0.0
        self._text(x, y, unseen, size=SMALL, colour="white", halo="#202020", rotation=rotation)

    def _badge(self, point: tuple[float, float], rank: int, colour: str, ink: str) -> None:
        x, y = self.placement.centred(point[0] / self.scale, point[1] / self.scale, _BADGE, _BADGE)
        place = (x * self.scale, y * self.scale)
        self.axes.add_line(dot(*place, _BADGE * self.look.scale, face_colour=colour, edge_colour="#101010"))
        self._text(x, y, str(rank), size=SMALL - 0.2, face="bold", colour=ink)

    def _box_label(self, box: ReferenceBox, colour: str) -> None:
        named = self.look.words("reference box of", pathology=self.look.name_of(box.pathology))
        text = self.look.typeface.shorten(named, self.placement.width - 0.1, SMALL)
        w, h = self.look.typeface.width(text, SMALL) + 0.08, _LINE + 0.03
        left, right = box.x / self.scale + w / 2, (box.x + box.width) / self.scale - w / 2
        top, bottom = box.y / self.scale - h / 2 - 0.02, (box.y + box.height) / self.scale + h / 2 + 0.02
        centres = [(a, b) for b in (top, bottom, top + h + 0.04, bottom - h - 0.04) for a in (left, right)]
        centres += [(left, top - n * h) for n in range(1, 6)] + [(left, bottom + n * h) for n in range(1, 6)]
        x, y = self.placement.first(centres, w, h)
        # White on black reads on any grey; some pathologies' colours are too dark for text, so they frame it.
        self._plate(x, y, w, h, edge=colour)
        self._text(x, y, text, size=SMALL, colour="white")

    def _plate(self, x: float, y: float, w: float, h: float, *, edge: str = "none") -> None:
        corner = ((x - w / 2) * self.scale, (y - h / 2) * self.scale)
        plate = Rectangle(
            corner,
            w * self.scale,
            h * self.scale,
            facecolor=(0, 0, 0, 0.62),
            edgecolor=edge,
            linewidth=self._weight(0.7),
        )
        plate.set_zorder(3)
        self.axes.add_patch(plate)

    def _frame(
        self, left: float, top: float, right: float, bottom: float, colour: str, dashes: Dashes, weight: float
    ) -> None:
        x, y = np.array([left, right, right, left, left]), np.array([top, top, bottom, bottom, top])
        self._line(x, y, colour, dashes, weight)

    def _line(
        self, x: NDArray[np.float64], y: NDArray[np.float64], colour: str, dashes: Dashes, weight: float
    ) -> None:
        line = Line2D(
            x, y, color=colour, linewidth=self._weight(weight), linestyle=dashes, path_effects=_SHADOW
        )
        self.axes.add_line(line)

    def _text(self, x: float, y: float, text: str, **style: Any) -> None:
        place = (x * self.scale, y * self.scale)
        # What is turned has no baseline to be centred on.
        style = {"vertical": "center" if style.get("rotation") else "center_baseline", "zorder": 4, **style}
        style["size"] *= self.look.scale
        typeface = self.look.typeface
        line = TextLine(*place, typeface.clean(text), align="center", typeface=typeface, **style)
        self.axes.add_artist(line)

    def _weight(self, points: float) -> float:
        return points * self.look.scale * self.look.line_width


def _message(content: Content, peak: float) -> str:
    """Why there is no overlay, or none that shows where; '' where there is one."""
    explanation, words = content.explanation, content.words
    if explanation.ranking.k == 0:
        return words("no pathology to explain")
    if len(explanation.without_gradient) == explanation.ranking.k:
        return words("no gradient reaches this layer")
    if explanation.maps.shape[1:] == (1, 1):
        return words("one value for the whole image")
    if peak:
        return ""
    if explanation.maps.max() > 0:  # what is shown has none, but the model saw more
        return words("evidence in the margin alone")
    maps = "class map" if explanation.ranking.k == 1 else "fused map" if content.fused else "class maps"
    return words(f"no positive evidence in the {maps}")
