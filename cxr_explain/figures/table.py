"""The table of predictions beside reference labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cxr_explain.figures.comparison import Agreement, ComparisonRow
from cxr_explain.figures.content import ContentBlock
from cxr_explain.figures.lettering import Face
from cxr_explain.figures.page import SMALL, Page
from cxr_explain.figures.texts import format_probability, probability_text, side_of_point

_TITLE = 0.27
_HEAD = 0.19
_ROW = 0.178
_MOST_ROWS = 40
_SIGNS = {Agreement.AGREES: "✓", Agreement.DISAGREES: "✗"}
_AGREEMENT_INKS = {Agreement.AGREES: "ink", Agreement.DISAGREES: "alert", Agreement.UNDEFINED: "quiet"}

# Left edges of the columns in inches.
_COLUMNS = {
    "rank": 0.0,
    "pathology": 0.34,
    "probability": 1.92,
    "operating point": 2.90,
    "prediction": 3.72,
    "reference label": 4.30,
    "agreement": 5.16,
}
TABLE_WIDTH = 5.85
_ORDER = (*_COLUMNS, "")
_GUTTER = 0.04


@dataclass
class PredictionTable(ContentBlock):
    """The ranked pathologies, and those with a reference label that are not among them."""

    width: float = TABLE_WIDTH

    @property
    def height(self) -> float:
        """Height in inches."""
        return _TITLE + _HEAD + _ROW * len(self._rows) + 0.08 + 0.115 * len(self._remarks)

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        page.heading(x, y, self.content.words("predictions and reference labels"), room=self.width)
        y += _TITLE
        self._head(page, x, y)
        y += _HEAD
        for index, row in enumerate(self._rows):
            if index and row.rank is None and self._rows[index - 1].rank is not None:
                page.rule(x, y, self.width, colour=page.style.quiet, weight=0.5)
            self._row(page, x, y, row)
            y += _ROW
            page.rule(x, y, self.width, weight=0.35)
        for number, remark in enumerate(self._remarks):
            page.text(
                x, y + 0.125 + 0.115 * number, remark, size=SMALL, colour=page.style.quiet, room=self.width
            )

    @property
    def _rows(self) -> tuple[ComparisonRow, ...]:
        return self.content.rows[:_MOST_ROWS]

    @property
    def _remarks(self) -> list[str]:
        provenance = self.content.explanation.provenance
        shown = {row.pathology for row in self._rows}
        hidden = sum(p.pathology not in shown for p in self.content.explanation.ranking.predictions)
        cut = len(self.content.rows) - len(self._rows)
        words = self.content.words
        source = self.content.labels.source if self.content.labels.states else words("none given")
        rest = [words("predictions not shown", count=hidden)] if hidden else []
        more = [words("rows left out", count=cut)] if cut else []
        return [
            " ".join([words("source of labels", source=source), *rest, *more]),
            words("bar", what=probability_text(provenance.output_kind, words)),
        ]

    def _head(self, page: Page, x: float, y: float) -> None:
        for name in _COLUMNS:
            if name != "rank":
                self._cell(
                    page, x, y + 0.10, name, self.content.words(name), size=SMALL, colour=page.style.quiet
                )
        page.text(x, y + 0.10, self.content.words("rank"), size=SMALL, colour=page.style.quiet)
        page.rule(x, y + _HEAD - 0.035, self.width, colour=page.style.ink, weight=0.7)

    def _row(self, page: Page, x: float, y: float, row: ComparisonRow) -> None:
        baseline = y + _ROW / 2 + 0.037
        self._rank(page, x, y, baseline, row)
        self._cell(page, x, baseline, "pathology", self.content.look.name_of(row.pathology))
        self._prediction(page, x, y, baseline, row)
        known = row.state in ("positive", "negative", "uncertain")
        state = self.content.words("none given" if row.state is None else row.state)
        self._cell(
            page, x, baseline, "reference label", state, colour=page.style.ink if known else page.style.quiet
        )
        colour = getattr(page.style, _AGREEMENT_INKS[row.agreement])
        sign = _SIGNS.get(row.agreement)
        text = f"{sign} {self.content.words(row.agreement)}" if sign else "–"
        self._cell(page, x, baseline, "agreement", text, colour=colour)

    def _rank(self, page: Page, x: float, y: float, baseline: float, row: ComparisonRow) -> None:
        if row.rank is None:
            page.text(x + 0.21, baseline, "–", colour=page.style.quiet, align="right")
            return
        style = self.content.styles[row.rank - 1]
        page.box(x, y + _ROW / 2 - 0.04, 0.08, 0.08, facecolor=style.colour, linewidth=0)
        page.text(x + 0.25, baseline, str(row.rank), face="bold", align="right")

    def _prediction(self, page: Page, x: float, y: float, baseline: float, row: ComparisonRow) -> None:
        prediction = row.prediction
        if prediction is None:
            self._cell(
                page,
                x,
                baseline,
                "probability",
                self.content.words("not predicted"),
                to="prediction",
                colour=page.style.quiet,
            )
            return
        left, room = self._place("probability")
        page.text(x + left + 0.37, baseline, format_probability(prediction.probability), align="right")
        _bar(page, x + left + 0.44, y, room - 0.5, prediction.probability, prediction.operating_point)
        if prediction.operating_point is None:
            self._cell(
                page,
                x,
                baseline,
                "operating point",
                self.content.words("no operating point"),
                to="prediction",
                colour=page.style.quiet,
            )
            return
        self._cell(page, x, baseline, "operating point", format_probability(prediction.operating_point))
        face: Face = "bold" if prediction.above else "regular"
        side = side_of_point(prediction.above, self.content.words)
        self._cell(page, x, baseline, "prediction", side, face=face)

    def _cell(
        self, page: Page, x: float, baseline: float, name: str, text: str, *, to: str = "", **style: Any
    ) -> None:
        """Write into a column, or across from one column to another."""
        left, room = self._place(name)
        if to:
            room = sum(self._place(to)) - left
        page.text(x + left, baseline, text, room=room, **style)

    def _place(self, name: str) -> tuple[float, float]:
        """Left edge and room of a column in inches."""
        start = _COLUMNS[name]
        following = _ORDER[_ORDER.index(name) + 1]
        return start, _COLUMNS.get(following, self.width) - start - (_GUTTER if following else 0.0)


def _bar(page: Page, x: float, y: float, length: float, value: float, tick: float | None) -> None:
    top = y + _ROW / 2 - 0.03
    page.box(x, top, length, 0.06, facecolor=page.style.track, linewidth=0)
    page.box(x, top, length * min(max(value, 0.0), 1.0), 0.06, facecolor=page.style.bar, linewidth=0)
    if tick is not None:
        at = x + length * min(max(tick, 0.0), 1.0)
        page.line([at, at], [top - 0.022, top + 0.082], colour=page.style.ink, weight=0.9)
