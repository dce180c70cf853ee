"""Blocks of the PDF: paragraphs, facts, tables and curves, each of which knows its height before it draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from cxr_explain.figures.lettering import Face, display_name, wrap
from cxr_explain.figures.page import BODY, HEADING, SMALL, Page
from cxr_explain.figures.palette import ALERT, INK, OKABE_ITO, QUIET, RULE
from cxr_explain.pages.audit_report.overview import Cell, Fact, PathologyStatistics
from cxr_explain.pages.audit_report.plots import SIDE, STRIP, Interval

MARK = OKABE_ITO[6]

_LINE = 0.135
_GAP = 0.1


@dataclass
class Title:
    """A heading with a rule below it.

    Args:
        text: of the heading.
        width: in inches.
        size: of the letters in points.
    """

    text: str
    width: float
    size: float = HEADING + 1.5

    @property
    def height(self) -> float:
        """In inches."""
        return self.size / 72 + 0.26

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        baseline = y + 0.1 + self.size / 72
        page.text(x, baseline, self.text, size=self.size, face="bold", room=self.width)
        page.rule(x, baseline + 0.06, self.width)


@dataclass
class Paragraph:
    """Text in as many lines as it takes.

    Args:
        text: of any length.
        width: in inches.
        colour: of the letters.
        face: of the letters.
    """

    text: str
    width: float
    colour: str = QUIET
    face: Face = "regular"

    @cached_property
    def _lines(self) -> list[str]:
        return wrap(self.text, self.width, BODY, self.face, lines=8)

    @property
    def height(self) -> float:
        """In inches."""
        return _LINE * len(self._lines) + 0.06

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        for number, line in enumerate(self._lines, start=1):
            page.text(x, y + _LINE * number - 0.02, line, size=BODY, face=self.face, colour=self.colour)


@dataclass
class Alert(Paragraph):
    """A paragraph that must not be missed."""

    colour: str = ALERT
    face: Face = "bold"


@dataclass
class FactColumns:
    """Lists of facts beside each other.

    Args:
        columns: title and facts of each.
        width: in inches.
    """

    columns: Sequence[tuple[str, Sequence[Fact]]]
    width: float

    @property
    def _room(self) -> float:
        return self.width / len(self.columns) - 0.25

    @cached_property
    def _wrapped(self) -> list[tuple[str, list[tuple[str, list[str]]]]]:
        return [
            (title, [(name, wrap(text, self._room, BODY, lines=4) or ["–"]) for name, text in facts])
            for title, facts in self.columns
        ]

    @property
    def height(self) -> float:
        """In inches."""
        return 0.3 + max(
            sum(0.13 + _LINE * len(lines) + 0.05 for _, lines in facts) for _, facts in self._wrapped
        )

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        for title, facts in self._wrapped:
            page.text(x, y + 0.15, title, size=HEADING, face="bold", room=self._room)
            below = y + 0.3
            for name, lines in facts:
                page.text(x, below + 0.06, name, size=SMALL, colour=QUIET, room=self._room)
                for number, line in enumerate(lines, start=1):
                    page.text(x, below + 0.06 + _LINE * number, line, size=BODY)
                below += 0.13 + _LINE * len(lines) + 0.05
            x += self.width / len(self.columns)


@dataclass(frozen=True)
class Line:
    """A line of a table.

    Args:
        heads: texts.
        cells: estimates; the first one is plotted.
        quiet: not to be relied on.
    """

    heads: Sequence[str]
    cells: Sequence[Cell] = ()
    quiet: bool = False


@dataclass
class TableHead:
    """The heads of a table's columns, drawn again on each page.

    Args:
        texts: of the columns; the estimates' last.
        shape: where the columns are.
    """

    texts: Sequence[str]
    shape: TableShape

    height: float = 0.26

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        for text, left, room in zip(self.texts, self.shape.lefts, self.shape.rooms, strict=True):
            page.text(x + left, y + 0.17, text, size=SMALL, face="bold", room=room)
        strip = self.shape.strip
        if strip is not None:
            for share, label in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
                at = x + strip[0] + share * strip[1]
                page.text(at, y + 0.17, label, size=SMALL - 1, colour=QUIET, align="center")
        page.rule(x, y + 0.23, self.shape.width, colour=INK, weight=0.8)


@dataclass(frozen=True)
class TableShape:
    """Where a table's columns are, in inches.

    Args:
        heads: widths of the text columns.
        cells: how many estimates follow.
        width: of the table.
        plotted: width of the plot between them; 0 without one.
    """

    heads: Sequence[float]
    cells: int
    width: float
    plotted: float = 1.3

    @cached_property
    def strip(self) -> tuple[float, float] | None:
        """Left edge and length of the plot."""
        return (sum(self.heads) + 0.1, self.plotted - 0.3) if self.plotted else None

    @cached_property
    def _each(self) -> float:
        return (self.width - sum(self.heads) - self.plotted) / max(self.cells, 1)

    @cached_property
    def lefts(self) -> list[float]:
        """Left edges of the columns with text."""
        heads = [sum(self.heads[:at]) for at in range(len(self.heads))]
        first = sum(self.heads) + self.plotted
        return [*heads, *(first + at * self._each for at in range(self.cells))]

    @cached_property
    def rooms(self) -> list[float]:
        """Widths of the columns with text."""
        return [*(width - 0.06 for width in self.heads), *[self._each - 0.04] * self.cells]


@dataclass
class TableLine:
    """A line of a table, as a block.

    Args:
        line: what it says.
        shape: where the columns are.
    """

    line: Line
    shape: TableShape

    @property
    def height(self) -> float:
        """In inches."""
        return 0.29 if any(cell.spread for cell in self.line.cells) else 0.19

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        columns = list(zip(self.shape.lefts, self.shape.rooms, strict=True))
        colour = QUIET if self.line.quiet else INK
        for text, (left, room) in zip(self.line.heads, columns, strict=False):
            page.text(x + left, y + 0.12, text, size=BODY, colour=colour, room=room)
        for cell, (left, room) in zip(self.line.cells, columns[len(self.line.heads) :], strict=True):
            page.text(x + left, y + 0.12, cell.text, size=BODY, colour=colour, room=room)
            page.text(x + left, y + 0.23, cell.spread, size=SMALL - 0.6, colour=QUIET, room=room)
        if self.shape.strip is not None and self.line.cells:
            draw_interval(
                page, self.line.cells[0].interval, x + self.shape.strip[0], y + 0.1, self.shape.strip[1]
            )
        page.rule(x, y + self.height - 0.015, self.shape.width, colour="#E8E8E8", weight=0.4)


def draw_interval(page: Page, interval: Interval | None, x: float, y: float, length: float) -> None:
    """A point and its interval on a line from 0 to 1."""
    for share in (0.0, 0.5, 1.0):
        page.line([x + share * length] * 2, [y - 0.07, y + 0.07], colour=RULE, weight=0.4)
    if interval is None:
        return
    scale = length / STRIP
    if interval.low is not None and interval.high is not None:
        page.line([x + interval.low * scale, x + interval.high * scale], [y, y], colour=MARK, weight=1.1)
    page.dot(x + interval.value * scale, y, 0.055, face_colour=MARK, edge_colour=MARK)


@dataclass
class Curves:
    """ROC, precision-recall and calibration curves of up to two pathologies side by side.

    Args:
        pathologies: one or two of them.
        width: in inches.
    """

    pathologies: Sequence[PathologyStatistics]
    width: float

    _SIDE = 1.25
    _STEP = 1.72

    height: float = 2.12

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        for each in self.pathologies:
            name = display_name(each.name)
            about = f"{each.positive:,} positive, {each.negative:,} negative"
            page.heading(x, y + 0.04, name, aside=about, room=self.width / 2 - 0.2)
            for number, (title, across, up, curve) in enumerate(_curves(each)):
                left = x + 0.3 + number * self._STEP
                self._frame(page, left, y + 0.36, title, across, up)
                self._draw_curve(page, left, y + 0.36, curve, number, each)
            x += self.width / 2

    def _frame(self, page: Page, x: float, y: float, title: str, across: str, up: str) -> None:
        side = self._SIDE
        page.text(x, y - 0.06, title, size=SMALL, colour=QUIET)
        page.line([x, x, x + side], [y, y + side, y + side], colour=INK, weight=0.6)
        for share, label in ((0.0, "0"), (0.5, "0.5"), (1.0, "1")):
            page.text(x + share * side, y + side + 0.11, label, size=SMALL - 1, colour=QUIET, align="center")
            page.text(
                x - 0.04, y + (1 - share) * side + 0.03, label, size=SMALL - 1, colour=QUIET, align="right"
            )
        page.text(
            x + side / 2,
            y + side + 0.23,
            f"{across} → · {up} ↑",
            size=SMALL - 0.8,
            colour=QUIET,
            align="center",
        )

    def _draw_curve(
        self, page: Page, x: float, y: float, curve: str, number: int, each: PathologyStatistics
    ) -> None:
        scale = self._SIDE / SIDE
        if number != 1:
            page.line([x, x + self._SIDE], [y + self._SIDE, y], colour=QUIET, weight=0.5, dashes=(0, (3, 2)))
        elif each.prevalence is not None:
            page.line(
                [x, x + self._SIDE],
                [y + each.prevalence * self._SIDE] * 2,
                colour=QUIET,
                weight=0.5,
                dashes=(0, (3, 2)),
            )
        if number == 2:
            self._draw_bins(page, x, y, each)
        elif curve:
            points = [tuple(map(float, point.split(","))) for point in curve.split()]
            page.line(
                [x + at[0] * scale for at in points],
                [y + at[1] * scale for at in points],
                colour=MARK,
                weight=1.1,
            )
        else:
            page.text(
                x + self._SIDE / 2,
                y + self._SIDE / 2,
                "not estimable",
                size=SMALL,
                colour=QUIET,
                align="center",
            )

    def _draw_bins(self, page: Page, x: float, y: float, each: PathologyStatistics) -> None:
        scale = self._SIDE / SIDE
        for found in each.calibration:
            left = x + found.x * scale
            if found.top is not None and found.bottom is not None:
                page.line(
                    [left, left], [y + found.top * scale, y + found.bottom * scale], colour=MARK, weight=0.9
                )
            page.dot(left, y + found.y * scale, 0.045, face_colour=MARK, edge_colour=MARK)


def _curves(each: PathologyStatistics) -> Iterator[tuple[str, str, str, str]]:
    yield "ROC curve", "1 − specificity", "sensitivity", each.roc
    yield "Precision–recall curve", "recall", "precision", each.pr
    yield "Calibration", "mean probability", "share positive", ""
