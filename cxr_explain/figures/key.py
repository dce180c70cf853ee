"""The colour key: what a colour, a number, an outline and an opacity mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cxr_explain.figures import overlay
from cxr_explain.figures.content import ContentBlock
from cxr_explain.figures.marks import arrow_head
from cxr_explain.figures.page import SMALL, SMALLEST, Page
from cxr_explain.figures.palette import ClassStyle
from cxr_explain.figures.pieces import BOX_DASHES, HATCH_PERIOD, has_peak_beyond
from cxr_explain.figures.texts import format_probability
from cxr_explain.geometry import Geometry
from cxr_explain.support.arrays import Shape

_TITLE = 0.27
_LINE = 0.155
_WRAPPED = 0.11  # from one line of a text to the next
_SWATCH = 0.26
_BAND = 0.062
_MOST_BANDS = 7  # of full height; more are as high together
_INSET = 0.022
_TEXT = _SWATCH + 0.1
_COLUMN_GAP = 0.3
_RAMP_GREY = 0.45


@dataclass
class ColourKey(ContentBlock):
    """Beside the overlay: the pathologies by rank, with their colours."""

    @property
    def height(self) -> float:
        """Height in inches."""
        lines = len(self._hollow_lines)
        hollow = _LINE + _WRAPPED * (lines - 1) if lines else 0.0
        return _TITLE + self._row * max(1, len(self.content.styles)) + hollow

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        page.heading(x, y - 0.01, self.content.words("colour key"), room=self.width)
        aside = self.content.words("probability") if self.content.styles else ""
        page.text(x + self.width, y + 0.11, aside, size=SMALL, colour=page.style.quiet, align="right")
        y += _TITLE - 0.03
        if not self.content.styles:
            page.text(
                x,
                y + 0.11,
                self.content.words("nothing in the key"),
                colour=page.style.quiet,
                face="oblique",
                room=self.width,
            )
        for style in self.content.styles:
            self._pathology(page, x, y, style)
            y += self._row
        if self._hollow_lines:
            _hollow(page, x, y + _LINE / 2, page.style.quiet)
        for number, line in enumerate(self._hollow_lines):
            page.text(x + _TEXT, y + 0.11 + _WRAPPED * number, line, size=SMALL, colour=page.style.quiet)

    @cached_property
    def _hollow_lines(self) -> list[str]:
        """Why a pathology has no colour in the map; nothing where each has."""
        if not self.content.explanation.shown_nowhere:
            return []
        text = self.content.words(f"hollow: {self._why_hollow}")
        return self.content.look.typeface.wrap(text, self.width - _TEXT, SMALL)

    @property
    def _why_hollow(self) -> str:
        explanation = self.content.explanation
        if not explanation.without_evidence:
            return "no gradient"
        fused = self.content.fused
        if explanation.without_gradient:
            return "no gradient, or wins nowhere" if fused else "no gradient, or no evidence"
        return "wins nowhere" if fused else "no evidence"

    @property
    def _row(self) -> float:
        return 0.235 if len(self.content.styles) <= 9 else 0.163

    def _pathology(self, page: Page, x: float, y: float, style: ClassStyle) -> None:
        prediction = self.content.explanation.ranking.top[style.rank - 1]
        middle = y + self._row / 2
        baseline = middle + 0.037
        absent = prediction.pathology in self.content.explanation.shown_nowhere
        if absent:
            _hollow(page, x, middle, style.colour)
        else:
            _swatch(page, x, middle, style, outlined=self.content.contours)
        page.text(x + _SWATCH + 0.21, baseline, str(style.rank), face="bold", align="right")
        left = _SWATCH + 0.27
        colour = page.style.quiet if absent else page.style.ink
        room = self.width - left - 0.40
        name = self.content.look.name_of(prediction.pathology)
        page.text(x + left, baseline, name, colour=colour, room=room, smallest=SMALLEST)
        value = format_probability(prediction.probability)
        page.text(x + self.width, baseline, value, colour=colour, align="right")


@dataclass
class Legend(ContentBlock):
    """The opacity scale and the marks: below the colour key, or in a strip below the images.

    Args:
        columns: number of columns: 1 below the key; more in a strip, where the first holds the scale.
    """

    columns: int = 1

    @property
    def height(self) -> float:
        """Height in inches; 0 where there is nothing to explain."""
        heights = [sum(map(_mark_height, column)) for column in self._mark_columns]
        if self.columns == 1:
            return self._scale_height + sum(heights)
        return max(self._scale_height, *heights)

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        if self._shown:
            self._scale(page, x, y)
        if self.columns == 1:
            y += self._scale_height
        for turn, column in enumerate(self._mark_columns):
            left = x + (turn + (self.columns > 1)) * (self._column + _COLUMN_GAP)
            top = y
            for mark, lines in column:
                middle = top + _LINE / 2
                _MARKS[mark](page, left, middle)
                for number, line in enumerate(lines):
                    baseline = middle + 0.032 + _WRAPPED * number
                    page.text(left + _TEXT, baseline, line, size=SMALL, colour=page.style.quiet)
                top += _mark_height((mark, lines))

    @property
    def _column(self) -> float:
        """Width of a column in inches."""
        return (self.width - _COLUMN_GAP * (self.columns - 1)) / self.columns

    @cached_property
    def _mark_columns(self) -> list[list[tuple[str, list[str]]]]:
        """Marks and the lines beside them, by column."""
        wrap = self.content.look.typeface.wrap
        marks = [(mark, wrap(text, self._column - _TEXT, SMALL)) for mark, text in self._marks]
        each = math.ceil(len(marks) / max(self.columns - 1, 1)) or 1
        return [marks[start : start + each] for start in range(0, len(marks), each)] or [[]]

    @property
    def _shown(self) -> tuple[ClassStyle, ...]:
        """The styles of the pathologies that the overlay shows somewhere."""
        nowhere = self.content.explanation.shown_nowhere
        return tuple(style for style in self.content.styles if style.pathology not in nowhere)

    @property
    def _scale_height(self) -> float:
        return self._ramps_height + 0.35 if self._shown else 0.0

    @property
    def _ramps_height(self) -> float:
        return _BAND * min(len(self._shown), _MOST_BANDS)

    @property
    def _marks(self) -> list[tuple[str, str]]:
        """What is drawn, and what it means."""
        words, geometry = self.content.words, self.content.explanation.geometry
        marks = [("number", words("strongest cell"))] if self._shown else []
        if has_peak_beyond(self.content.explanation.maps, geometry):
            marks.append(("beyond", words("strongest cell beyond the edge")))
        outlined = self._outlined
        if any(map(self._reaches_the_image, outlined)):
            faint = len(outlined) < len(self._shown)
            marks.append(("outline", words("outline, unless faint" if faint else "outline")))
        if any(style.sign for style in self._shown):
            outlined_too = ("sign", words("second sign"))
            marks.append(
                outlined_too if self.content.contours else ("hatch", words("second sign, no outlines"))
            )
        if not geometry.sees_everything:
            marks.append(("unseen", words("not seen by the model")))
        if self.content.boxes:
            marks.append(("box", words("reference box")))
        return marks

    @property
    def _outlined(self) -> tuple[ClassStyle, ...]:
        """The styles of the pathologies that have an outline."""
        strong = overlay.strong(self.content.explanation.maps)
        outlined = tuple(style for style in self._shown if strong[style.rank - 1])
        return outlined if self.content.contours else ()

    def _reaches_the_image(self, style: ClassStyle) -> bool:
        """Whether a map reaches half of the peak somewhere in the radiograph, and not in the margin alone."""
        values = self.content.explanation.maps[style.rank - 1]
        seen = self.content.explanation.geometry.seen_shares((values.shape[0], values.shape[1]))
        return bool((values[seen > 0] >= values.max() / 2).any())

    def _scale(self, page: Page, x: float, y: float) -> None:
        words, quiet, width = self.content.words, page.style.quiet, self._column
        page.text(x, y + 0.08, words("opacity"), size=SMALL, room=width)
        height = self._ramps_height
        shape = page.samples(height), page.samples(width)
        pixels = ramp_pixels(self._shown, self.content.max_opacity, shape, page.samples(HATCH_PERIOD))
        page.image(pixels, x, y + 0.12, width, height)
        page.text(x, y + height + 0.22, words("none"), size=SMALL, colour=quiet)
        page.text(
            x + width, y + height + 0.22, words("strongest here"), size=SMALL, colour=quiet, align="right"
        )


def _mark_height(mark: tuple[str, list[str]]) -> float:
    return _LINE + _WRAPPED * (len(mark[1]) - 1)


def ramp_pixels(
    styles: Sequence[ClassStyle], max_opacity: float, shape: Shape, period: int
) -> NDArray[np.uint8]:
    """One band for each colour, from no evidence to the strongest, over mid grey, by the overlay's code.

    Args:
        styles: one for each band, from the top.
        max_opacity: opacity of the strongest evidence.
        shape: height and width of all bands together, in samples.
        period: distance in samples of the lines of a second sign.
    """
    grey = np.full(shape, _RAMP_GREY, np.float32)
    strength = np.tile(np.linspace(0, 1, shape[1], dtype=np.float32), (shape[0], 1))
    band = np.arange(shape[0]) * len(styles) // shape[0]
    maps = (np.where((band == at)[:, None], strength, 0) for at in range(len(styles)))
    colours, signs = [style.rgb for style in styles], [style.sign for style in styles]
    return overlay.fuse_over(grey, maps, colours, signs=signs, period=period, max_opacity=max_opacity).rgb


def _swatch(page: Page, x: float, middle: float, style: ClassStyle, *, outlined: bool = True) -> None:
    """A pathology's colour; a second sign is in a frame of the same dashes."""
    inset = _INSET if style.sign and outlined else 0.0
    page.swatch(style, x + inset, middle - 0.05 + inset, _SWATCH - 2 * inset, 0.1 - 2 * inset)
    if inset:
        frame = {"facecolor": "none", "edgecolor": style.colour, "linestyle": style.dashes, "linewidth": 0.9}
        page.box(x, middle - 0.05, _SWATCH, 0.1, **frame)


def _sign(page: Page, x: float, middle: float) -> None:
    _swatch(page, x, middle, ClassStyle("", 1, page.style.quiet, 1))


def _hatch(page: Page, x: float, middle: float) -> None:
    _swatch(page, x, middle, ClassStyle("", 1, page.style.quiet, 1), outlined=False)


def _hollow(page: Page, x: float, middle: float, colour: str) -> None:
    style = {"facecolor": "none", "edgecolor": colour, "linewidth": 0.9}
    page.box(x + 0.006, middle - 0.044, _SWATCH - 0.012, 0.088, **style)


def _number(page: Page, x: float, middle: float) -> None:
    page.dot(x + _SWATCH / 2, middle, 0.115, face_colour=page.style.paper, edge_colour=page.style.quiet)
    page.text(
        x + _SWATCH / 2,
        middle + 0.022,
        "n",
        size=SMALL - 1.2,
        face="bold",
        colour=page.style.quiet,
        align="center",
    )


def _beyond(page: Page, x: float, middle: float) -> None:
    _number(page, x, middle)
    page.axes.add_patch(arrow_head((x + _SWATCH / 2, middle), (1.0, 0.0), page.style.quiet))


def _unseen(page: Page, x: float, middle: float) -> None:
    """The hatch as it is drawn on the image, by the same code."""
    rows, columns = page.samples(0.1), page.samples(_SWATCH)
    nothing_seen = Geometry((rows, columns), 1, columns, rows, 1)
    grey = np.full((rows, columns, 3), 128, np.uint8)
    pixels = overlay.mark_unseen(grey, nothing_seen, page.samples(HATCH_PERIOD))
    page.image(pixels, x, middle - 0.05, _SWATCH, 0.1)


def _box(page: Page, x: float, middle: float) -> None:
    style = {"facecolor": "none", "edgecolor": page.style.ink, "linewidth": 0.9, "linestyle": BOX_DASHES}
    page.box(x, middle - 0.045, _SWATCH, 0.09, **style)


def _outline(page: Page, x: float, middle: float) -> None:
    page.line([x, x + _SWATCH], [middle, middle], colour=page.style.ink, weight=1.0)


_MARKS: dict[str, Callable[[Page, float, float], None]] = {
    "number": _number,
    "beyond": _beyond,
    "unseen": _unseen,
    "box": _box,
    "outline": _outline,
    "sign": _sign,
    "hatch": _hatch,
}
