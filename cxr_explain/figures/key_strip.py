"""A strip with the colours of the pathologies and what a picture may be used for, as wide as the picture."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures.banner import notice_of
from cxr_explain.figures.output import own_style
from cxr_explain.figures.page import SMALL, Page
from cxr_explain.figures.palette import ClassStyle
from cxr_explain.figures.style import Style
from cxr_explain.figures.texts import format_probability

WIDTH = 3.6
"""Inches of a page that is as wide as the picture: letters grow with the picture."""

_ROW = 0.14
_SWATCH = 0.1
_EDGE = 0.05

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class KeyStrip:
    """What stands below a picture, or on its edge.

    Args:
        explanation: what the picture shows.
        styles: how each pathology is drawn; none for a strip without a key.
        style: how text looks.
        notice: say what the picture may be used for, and that it is a phantom where it is one.
        phantom: the picture shows a phantom.
        probabilities: name them beside the pathologies.
        remarks: further lines.
    """

    explanation: Explanation
    styles: Sequence[ClassStyle]
    style: Style
    notice: bool = True
    phantom: bool = False
    probabilities: bool = False
    remarks: Sequence[str] = ()

    def height(self, inches: float = WIDTH) -> float:
        """Height in inches of a strip of a width in inches; 0 where there is nothing to say."""
        lines = len(list(self._rows(inches))) + len(list(self._lines(inches)))
        return _ROW * lines + 0.06 if lines else 0.0

    def drawn(self, width: int, inches: float = WIDTH) -> Pixels:
        """(h, w, 3); no height where there is nothing to say.

        Args:
            width: in pixels.
            inches: the same width on the page, where letters are 6.4 points high.
        """
        height, right = self.height(inches), inches - _EDGE
        if not height:
            return np.zeros((0, width, 3), np.uint8)
        dpi = width / inches
        with own_style():
            page = Page((width - 0.01) / dpi, height, dpi / self.style.scale, self.style)
            y = 0.03
            for row in self._rows(inches):
                for x, each in row:
                    self._entry(page, x, y, each, room=right - x - _SWATCH)
                y += _ROW
            for line, colour in self._lines(inches):
                page.text(_EDGE, y + 0.105, line, size=SMALL, face="bold", colour=colour)
                y += _ROW
            with Image.open(io.BytesIO(page.figure.to_bytes("png"))) as image:
                return np.asarray(image.convert("RGB"))

    def _rows(self, inches: float) -> Iterator[list[tuple[float, ClassStyle]]]:
        """Entries with their left edges, as many in a row as there is room for."""
        row: list[tuple[float, ClassStyle]] = []
        x, right = _EDGE, inches - _EDGE
        for each in self.styles:
            length = min(_SWATCH + 0.11 + self.style.typeface.width(self._label(each), SMALL), right)
            if row and x + length > right:
                yield row
                row, x = [], _EDGE
            row.append((x, each))
            x += length
        if row:
            yield row

    def _lines(self, inches: float) -> Iterator[tuple[str, str]]:
        """Lines with their colours."""
        words, said = self.style.words, [(text, self.style.ink) for text in self.remarks]
        if self.notice:
            phantom_only = self.explanation.provenance.phantom_only
            told = notice_of(phantom=self.phantom, phantom_only=phantom_only, words=words)
            alerts = [words("research use only"), *([told.title] if told else [])]
            said += [(text, self.style.alert) for text in alerts]
        for text, colour in said:
            for line in self.style.typeface.wrap(text, inches - 2 * _EDGE, SMALL, "bold"):
                yield line, colour

    def _entry(self, page: Page, x: float, y: float, style: ClassStyle, *, room: float) -> None:
        if style.pathology in self.explanation.shown_nowhere:
            look = {"facecolor": "none", "edgecolor": style.colour, "linewidth": 0.6}
            page.box(x, y + 0.03, _SWATCH, 0.085, **look)
        else:
            page.swatch(style, x, y + 0.03, _SWATCH, 0.085)
        page.text(x + _SWATCH + 0.03, y + 0.105, self._label(style), size=SMALL, room=room)

    def _label(self, style: ClassStyle) -> str:
        label = f"{style.rank} {self.style.name_of(style.pathology)}"
        if not self.probabilities:
            return label
        probability = self.explanation.ranking.top[style.rank - 1].probability
        return f"{label} {format_probability(probability)}"
