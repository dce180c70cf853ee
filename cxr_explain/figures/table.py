"""The table of predictions beside reference labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Literal

from cxr_explain.figures.comparison import Agreement, ComparisonRow
from cxr_explain.figures.content import ContentBlock
from cxr_explain.figures.lettering import Face
from cxr_explain.figures.page import SMALL, SMALLEST, Page
from cxr_explain.figures.style import BODY
from cxr_explain.figures.texts import format_probability, probability_text, side_of_point
from cxr_explain.pathologies import LabelState

_TITLE = 0.27
_HEAD = 0.19
_ROW = 0.178
_REMARK = 0.115
_MOST_ROWS = 40
_SIGNS = {Agreement.AGREES: "✓", Agreement.DISAGREES: "✗"}
_SILENT = (LabelState.NOT_MENTIONED, LabelState.NOT_LABELLED)
_NOTHING = "–"

# Widths of the columns in inches, where their words need no more.
_COLUMNS = {
    "rank": 0.34,
    "pathology": 1.58,
    "probability": 0.98,
    "operating point": 0.82,
    "prediction": 0.58,
    "reference label": 0.86,
    "agreement": 0.69,
}
TABLE_WIDTH = sum(_COLUMNS.values())
_GUTTER = 0.04
_NUMBER = 0.44  # of the probability's column: what stands before the bar
_SHORTEST_BAR = 0.2
_NARROWEST_NAME = 0.9

_Ink = Literal["ink", "quiet", "alert"]


@dataclass(frozen=True)
class _Cell:
    """What stands in a column, and across up to another one where it is wider."""

    text: str
    ink: _Ink = "ink"
    face: Face = "regular"
    to: str = ""


@dataclass
class PredictionTable(ContentBlock):
    """The ranked pathologies, and those with a reference label that are not among them."""

    width: float = TABLE_WIDTH

    @property
    def height(self) -> float:
        """Height in inches."""
        return _TITLE + _HEAD + _ROW * len(self._rows) + 0.08 + _REMARK * len(self._remarks)

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        page.heading(x, y, self.content.words("predictions and reference labels"), room=self.width)
        y += _TITLE
        for name, (left, room) in self._places.items():
            head = self.content.words(name)
            quiet = page.style.quiet
            page.text(x + left, y + 0.10, head, size=SMALL, colour=quiet, room=room, smallest=SMALLEST)
        page.rule(x, y + _HEAD - 0.035, self.width, colour=page.style.ink, weight=0.7)
        y += _HEAD
        for index, row in enumerate(self._rows):
            if index and row.rank is None and self._rows[index - 1].rank is not None:
                page.rule(x, y, self.width, colour=page.style.quiet, weight=0.5)
            self._row(page, x, y, row)
            y += _ROW
            page.rule(x, y, self.width, weight=0.35)
        for number, remark in enumerate(self._remarks):
            baseline = y + 0.125 + _REMARK * number
            page.text(x, baseline, remark, size=SMALL, colour=page.style.quiet, room=self.width)

    @property
    def _rows(self) -> tuple[ComparisonRow, ...]:
        return self.content.rows[:_MOST_ROWS]

    def _row(self, page: Page, x: float, y: float, row: ComparisonRow) -> None:
        baseline = y + _ROW / 2 + 0.037
        self._rank(page, x, y, baseline, row)
        if row.prediction is not None:
            left, room = self._places["probability"]
            value = row.prediction.probability
            page.text(x + left + 0.37, baseline, format_probability(value), align="right")
            length = room - _NUMBER - 0.06
            _bar(page, x + left + _NUMBER, y, length, value, row.prediction.operating_point)
        for name, cell in self._cells(row).items():
            left, room = self._places[name]
            if cell.to:
                room = sum(self._places[cell.to]) - left
            colour = getattr(page.style, cell.ink)
            look = {"colour": colour, "face": cell.face}
            page.text(x + left, baseline, cell.text, room=room, smallest=SMALLEST, **look)

    def _rank(self, page: Page, x: float, y: float, baseline: float, row: ComparisonRow) -> None:
        if row.rank is None:
            page.text(x + 0.23, baseline, _NOTHING, colour=page.style.quiet, align="right")
            return
        style = self.content.styles[row.rank - 1]
        page.swatch(style, x, y + _ROW / 2 - 0.04, 0.08, 0.08)
        page.text(x + 0.27, baseline, str(row.rank), face="bold", align="right")

    def _cells(self, row: ComparisonRow) -> dict[str, _Cell]:
        """The words of a row, by column."""
        words = self.content.words
        known = row.state is not None and row.state not in _SILENT
        state = words("none given" if row.state is None else row.state)
        return {
            "pathology": _Cell(self.content.look.name_of(row.pathology)),
            **self._prediction(row),
            "reference label": _Cell(state, "ink" if known else "quiet"),
            "agreement": self._agreement(row.agreement),
        }

    def _prediction(self, row: ComparisonRow) -> dict[str, _Cell]:
        words, prediction = self.content.words, row.prediction
        if prediction is None:
            return {"probability": _Cell(words("not predicted"), "quiet", to="prediction")}
        if prediction.operating_point is None:
            return {"operating point": _Cell(words("no operating point"), "quiet", to="prediction")}
        side = side_of_point(prediction.above, words)
        return {
            "operating point": _Cell(format_probability(prediction.operating_point)),
            "prediction": _Cell(side, face="bold" if prediction.above else "regular"),
        }

    def _agreement(self, agreement: Agreement) -> _Cell:
        if agreement not in _SIGNS:
            return _Cell(_NOTHING, "quiet")
        ink: _Ink = "alert" if agreement is Agreement.DISAGREES else "ink"
        return _Cell(f"{_SIGNS[agreement]} {self.content.words(agreement)}", ink)

    @cached_property
    def _places(self) -> dict[str, tuple[float, float]]:
        """Left edge and room of each column: what its words need more comes from the names and the bars."""
        widths = {name: max(usual, self._needed(name)) for name, usual in _COLUMNS.items()}
        bar = max(_NUMBER + _SHORTEST_BAR + 0.1, self._needed("probability"))
        steps = [
            ("pathology", self._needed("pathology")),
            ("probability", bar),
            ("pathology", _NARROWEST_NAME),
        ]
        for column, least in steps:
            excess = max(sum(widths.values()) - self.width, 0.0)
            widths[column] -= min(excess, max(widths[column] - least, 0.0))
        lefts = accumulate(widths.values(), initial=0.0)
        return {
            name: (left, width - (_GUTTER if name != "agreement" else 0.0))
            for (name, width), left in zip(widths.items(), lefts, strict=False)
        }

    def _needed(self, column: str) -> float:
        """Width of a column's widest words, with the space after them."""
        cells = [cell for row in self._rows if (cell := self._cells(row).get(column)) and not cell.to]
        typeface = self.content.look.typeface
        widths = [typeface.width(typeface.clean(cell.text, cell.face), BODY, cell.face) for cell in cells]
        return max([typeface.width(self.content.words(column), SMALL), *widths]) + _GUTTER

    @cached_property
    def _remarks(self) -> list[str]:
        """Where the labels come from, what is left out, and what the signs mean that are there."""
        words = self.content.words
        shown = {row.pathology for row in self._rows}
        hidden = sum(p.pathology not in shown for p in self.content.explanation.ranking.predictions)
        cut = len(self.content.rows) - len(self._rows)
        typeface = self.content.look.typeface
        source = self.content.labels.source if self.content.labels.states else words("none given")
        source = typeface.shorten(source, self.width, SMALL)
        about = [words("source of labels", source=source)]
        about += [words("predictions not shown", count=hidden)] if hidden else []
        about += [words("rows left out", count=cut)] if cut else []
        return [
            line
            for text in (" ".join(about), *self._legend)
            for line in typeface.wrap(text, self.width, SMALL, lines=2)
        ]

    @property
    def _legend(self) -> list[str]:
        words, rows = self.content.words, self._rows
        predictions = [row.prediction for row in rows if row.prediction is not None]
        bar = probability_text(self.content.explanation.provenance.probability_kind, words)
        signs = [words("bar", what=bar)] if predictions else []
        if any(prediction.operating_point is not None for prediction in predictions):
            signs.append(words("tick"))
        dashes = [words("rank: –")] if any(row.rank is None for row in rows) else []
        if any(row.agreement is Agreement.UNDEFINED for row in rows):
            dashes.append(words("agreement: –"))
        silent = [state for state in _SILENT if any(row.state is state for row in rows)]
        dashes += [words(f"{state}, explained") for state in silent]
        return [" ".join(texts) for texts in (signs, dashes) if texts]


def _bar(page: Page, x: float, y: float, length: float, value: float, tick: float | None) -> None:
    top = y + _ROW / 2 - 0.03
    page.box(x, top, length, 0.06, facecolor=page.style.track, linewidth=0)
    page.box(x, top, length * min(max(value, 0.0), 1.0), 0.06, facecolor=page.style.bar, linewidth=0)
    if tick is not None:
        at = x + length * min(max(tick, 0.0), 1.0)
        page.line([at, at], [top - 0.022, top + 0.082], colour=page.style.ink, weight=0.9)
