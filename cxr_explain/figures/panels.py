"""The two large panels: the radiograph as it is, and the same with the fused map over it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from cxr_explain.figures.content import Content
from cxr_explain.figures.image_captions import overlay_caption, radiograph_caption
from cxr_explain.figures.page import SMALL, Page
from cxr_explain.figures.pieces import HATCH_PERIOD, Pieces, message_of

_TITLE = 0.2
_CAPTION = 0.17
_NARROWEST = 1.75
_LINE = SMALL / 72 * 1.3


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
        second = x + self.room + self.gap
        self._titles(page, x, second, y)
        plain = self._pieces(page, x, y + _TITLE)
        plain.radiograph()
        plain.sides()
        plain.reference_boxes()
        plain.frame()
        self._overlay(self._pieces(page, second, y + _TITLE, like=plain))
        for left, caption in zip((x, second), self._captions, strict=True):
            for number, line in enumerate(caption):
                baseline = y + _TITLE + self.panel_height + 0.125 + _LINE * number
                page.text(left, baseline, line, size=SMALL, colour=page.style.quiet)

    def _overlay(self, pieces: Pieces) -> None:
        maps, styles = self.content.explanation.maps, self.content.styles
        peak = pieces.overlay()
        pieces.sides()
        pieces.unseen()
        if self.content.contours:
            pieces.outlines(maps, styles)
        pieces.peaks(maps, styles)
        pieces.reference_boxes()
        if text := message_of(self.content, peak):
            pieces.message(text)
        pieces.frame()

    def _pieces(self, page: Page, x: float, y: float, *, like: Pieces | None = None) -> Pieces:
        """Empty axes for an image; `like` has a background that need not be made again."""
        height, width = self.content.radiograph.shape
        extent = (0.0, float(width), float(height), 0.0)
        axes = page.panel(x, y, self.panel_width, self.panel_height, extent)
        shape = (page.samples(self.panel_height), page.samples(self.panel_width))
        pieces = Pieces(axes, self.content, shape, page.samples(HATCH_PERIOD))
        if like is not None:
            pieces.background = like.background
        return pieces

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
