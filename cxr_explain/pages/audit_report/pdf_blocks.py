"""Blocks of the PDF: paragraphs, tables and curves, each of which knows its height before it draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cxr_explain.audit.sections.tables import NOT_ESTIMABLE, EstimateTable, ShownEstimate, TableRow
from cxr_explain.figures.artists import Align
from cxr_explain.figures.lettering import Face
from cxr_explain.figures.page import HEADING, SMALL, Page
from cxr_explain.figures.palette import INK, OKABE_ITO, QUIET, RULE
from cxr_explain.figures.style import BODY, LIGHT
from cxr_explain.pages.audit_report.overview import CurvePoint, Curves

MARK = OKABE_ITO[6]

_LINE = 0.135
_DASHES = (0, (3, 2))
_TICKS = ((0.0, "0"), (0.5, "0.5"), (1.0, "1"))
_PLOT = 1.3
_WIDTHS = {
    "Pathology": 1.6,
    "Readers": 2.6,
    "Saliency": 1.5,
    "Images": 0.6,
    "Patients": 0.7,
    "Policy": 0.8,
    "Not estimable": 0.8,
    "Flagged": 0.9,
    "Patients⁺ (others)": 1.1,
    "Patients⁻ (others)": 1.1,
    "Patients⁺": 0.56,
    "Patients⁻": 0.56,
}
_WORDS, _NUMBER = 1.2, 0.45
"""Widths of columns in inches: by their heads, and of all others with words or with numbers."""

_SMALLEST = 4.4  # points: what a text may shrink to before it is cut


@dataclass
class Title:
    """A heading with a rule below it.

    Args:
        text: the heading.
        width: width of the block in inches.
        size: size of the letters in points.
        listed: whether the contents name it.
    """

    text: str
    width: float
    size: float = HEADING + 1.5
    listed: bool = False

    keeps_with_next: bool = field(default=True, init=False)

    @property
    def height(self) -> float:
        """Height in inches."""
        return self.size / 72 + 0.26

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        baseline = y + 0.1 + self.size / 72
        page.text(x, baseline, self.text, size=self.size, face="bold", room=self.width)
        page.rule(x, baseline + 0.06, self.width)


@dataclass
class Paragraph:
    """Text in as many lines as it takes, up to eight.

    Args:
        text: text of any length.
        width: width of the block in inches.
        colour: colour of the letters.
        face: face of the letters.
        indent: how far all lines are moved to the right, in inches.
        keeps_with_next: whether it may not be parted from the block below.
    """

    text: str
    width: float
    colour: str = QUIET
    face: Face = "regular"
    indent: float = 0.0
    keeps_with_next: bool = False

    @cached_property
    def _lines(self) -> list[str]:
        return LIGHT.typeface.wrap(self.text, self.width - self.indent, BODY, self.face, lines=8)

    @property
    def height(self) -> float:
        """Height in inches."""
        return _LINE * len(self._lines) + 0.06

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        for number, line in enumerate(self._lines, start=1):
            page.text(
                x + self.indent,
                y + _LINE * number - 0.02,
                line,
                size=BODY,
                face=self.face,
                colour=self.colour,
            )


@dataclass
class ContentsLine:
    """A line of the contents: in each column what is listed, and its page.

    Args:
        entries: for each column a text, and by what its page is found.
        pages: the pages, which may be filled in until it is drawn.
        width: width of the block in inches.
        columns: number of columns.
        space_below: inches that are left empty below it.
    """

    entries: Sequence[tuple[str, Any]]
    pages: Mapping[Any, int]
    width: float
    columns: int
    space_below: float = 0.0

    @property
    def height(self) -> float:
        """Height in inches."""
        return 0.17 + self.space_below

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        each = self.width / self.columns
        for at, (text, key) in enumerate(self.entries):
            left, right = x + at * each, x + (at + 1) * each - 0.25
            page.text(left, y + 0.12, text, size=BODY, room=right - left - 0.4)
            page.text(right, y + 0.12, str(self.pages[key]), size=BODY, align="right")
            page.rule(left, y + 0.155, right - left, colour="#E8E8E8", weight=0.4)


@dataclass
class TableHead:
    """The heads of a table's columns, drawn again on each page.

    Args:
        table: the table.
        width: width of the table in inches.
    """

    table: EstimateTable
    width: float

    height: float = field(default=0.26, init=False)
    keeps_with_next: bool = field(default=True, init=False)

    @cached_property
    def plot(self) -> tuple[float, float]:
        """Left edge and length in inches of the line that the first estimate is drawn on; 0 long without."""
        return sum(self._heads) + 0.1, _PLOT - 0.3 if self.table.plotted else 0.0

    @cached_property
    def columns(self) -> list[tuple[float, float]]:
        """Left edge and width in inches of each column with text."""
        heads, k = self._heads, len(self.table.estimates)
        first = sum(heads) + (_PLOT if self.table.plotted else 0.0)
        each = (self.width - first) / k
        texts = [(sum(heads[:at]), width - 0.06) for at, width in enumerate(heads)]
        return [*texts, *((first + at * each, each - 0.04) for at in range(k))]

    @property
    def _heads(self) -> list[float]:
        words = self.table.words
        return [
            _WIDTHS.get(head, _WORDS if at < words else _NUMBER) for at, head in enumerate(self.table.heads)
        ]

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        heads = (*self.table.heads, *self.table.estimate_heads)
        for text, (left, room) in zip(heads, self.columns, strict=True):
            page.text(x + left, y + 0.17, text, size=SMALL, face="bold", room=room)
        left, length = self.plot
        for share, label in _TICKS if length else ():
            at = x + left + share * length
            page.text(at, y + 0.17, label, size=SMALL - 1, colour=QUIET, align="center")
        page.rule(x, y + 0.23, self.width, colour=INK, weight=0.8)


@dataclass
class TableLine:
    """A row of a table, as a block.

    Args:
        row: what it says.
        head: the table's head, which knows where the columns are.
    """

    row: TableRow
    head: TableHead

    @property
    def height(self) -> float:
        """Height in inches."""
        return 0.29 if any(estimate.beneath for estimate in self.row.estimates) else 0.19

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        colour = QUIET if self.row.few else INK
        texts = [*((text, "") for text in self.row.heads), *((e.text, e.beneath) for e in self.row.estimates)]
        for (text, spread), (left, room) in zip(texts, self.head.columns, strict=True):
            page.text(x + left, y + 0.12, text, size=BODY, colour=colour, room=room, smallest=_SMALLEST)
            page.text(
                x + left, y + 0.23, spread, size=SMALL - 0.6, colour=QUIET, room=room, smallest=_SMALLEST
            )
        left, length = self.head.plot
        if length:
            draw_estimate(page, self.row.estimates[0], x + left, y + 0.1, length)
        page.rule(x, y + self.height - 0.015, self.head.width, colour="#E8E8E8", weight=0.4)


def draw_estimate(page: Page, estimate: ShownEstimate, x: float, y: float, length: float) -> None:
    """A point and its interval on a line from 0 to 1, `length` inches long."""
    for share, _ in _TICKS:
        page.line([x + share * length] * 2, [y - 0.07, y + 0.07], colour=RULE, weight=0.4)
    if estimate.low is not None and estimate.high is not None:
        page.line([x + estimate.low * length, x + estimate.high * length], [y, y], colour=MARK, weight=1.1)
    if estimate.value is not None:
        page.dot(x + estimate.value * length, y, 0.055, face_colour=MARK, edge_colour=MARK)


@dataclass
class CurvePlots:
    """ROC, precision-recall and calibration curves of up to two pathologies side by side.

    Args:
        pathologies: the curves of one or two pathologies.
        width: width of the block in inches.
    """

    pathologies: Sequence[Curves]
    width: float

    height: float = field(default=2.12, init=False)

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        for each in self.pathologies:
            page.heading(x, y + 0.04, each.pathology, aside=each.about, room=self.width / 2 - 0.2)
            chance = None if each.prevalence is None else [(0.0, each.prevalence), (1.0, each.prevalence)]
            squares = [_Square(page, x + 0.3 + number * 1.72, y + 0.36) for number in range(3)]
            roc, pr, calibration = squares
            roc.frame("ROC curve", "1 − specificity", "sensitivity")
            roc.curve(each.roc, [(0.0, 0.0), (1.0, 1.0)])
            pr.frame("Precision–recall curve", "recall", "precision")
            pr.curve(each.pr, chance)
            calibration.frame("Calibration", "mean probability", "share positive")
            calibration.curve([], [(0.0, 0.0), (1.0, 1.0)], told=not each.calibration)
            for found in each.calibration:
                calibration.bar(
                    found["mean"], found["observed"], found["observed_low"], found["observed_high"]
                )
            x += self.width / 2


@dataclass
class _Square:
    """The unit square on the page, with its top left corner at (x, y)."""

    page: Page
    x: float
    y: float
    side: float = 1.25

    def frame(self, title: str, across: str, up: str) -> None:
        x, y, side = self.x, self.y, self.side
        self.page.text(x, y - 0.06, title, size=SMALL, colour=QUIET)
        self.page.line([x, x, x + side], [y, y + side, y + side], colour=INK, weight=0.6)
        for share, label in _TICKS:
            self._label(x + share * side, y + side + 0.11, label)
            self._label(x - 0.04, y + (1 - share) * side + 0.03, label, align="right")
        self._label(x + side / 2, y + side + 0.23, f"{across} → · {up} ↑", size=SMALL - 0.8)

    def curve(
        self, points: Sequence[CurvePoint], chance: Sequence[CurvePoint] | None, *, told: bool = True
    ) -> None:
        """The curve, and a dashed one of a model that knows nothing; if `told`, that there is none."""
        if chance:
            self._line(chance, colour=QUIET, weight=0.5, dashes=_DASHES)
        if points:
            self._line(points, colour=MARK, weight=1.1)
        elif told:
            self._label(*self._at(0.5, 0.5), NOT_ESTIMABLE, size=SMALL)

    def bar(self, x: float, y: float, low: float | None, high: float | None) -> None:
        """A point and its interval upwards, where it has one."""
        if low is not None and high is not None:
            self._line([(x, low), (x, high)], colour=MARK, weight=0.9)
        self.page.dot(*self._at(x, y), 0.045, face_colour=MARK, edge_colour=MARK)

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return self.x + x * self.side, self.y + (1 - y) * self.side

    def _line(self, points: Sequence[CurvePoint], **style: Any) -> None:
        across, down = zip(*(self._at(x, y) for x, y in points), strict=True)
        self.page.line(list(across), list(down), **style)

    def _label(
        self, x: float, y: float, text: str, *, size: float = SMALL - 1, align: Align = "center"
    ) -> None:
        self.page.text(x, y, text, size=size, colour=QUIET, align=align)
