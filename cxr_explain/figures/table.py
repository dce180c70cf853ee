"""The table of predictions beside reference labels."""

from __future__ import annotations

from dataclasses import dataclass

from cxr_explain.figures.comparison import Agreement, ComparisonRow
from cxr_explain.figures.content import Content
from cxr_explain.figures.lettering import display_name
from cxr_explain.figures.page import SMALL, Page
from cxr_explain.figures.palette import ALERT, INK, QUIET

_TITLE = 0.27
_HEAD = 0.19
_ROW = 0.178
_MOST_ROWS = 40
_BAR_COLOUR = "#8FA3B5"
_MARKS = {Agreement.AGREES: "✓ agrees", Agreement.DISAGREES: "✗ disagrees", Agreement.UNDEFINED: "–"}

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
class PredictionTable:
    """The ranked pathologies, and those with a reference label that are not among them.

    Args:
        content: what to show.
    """

    content: Content
    width: float = TABLE_WIDTH

    @property
    def height(self) -> float:
        """In inches."""
        return _TITLE + _HEAD + _ROW * len(self._rows) + 0.08 + 0.115 * len(self._remarks)

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        page.heading(x, y, "Predictions and reference labels", room=self.width)
        y += _TITLE
        self._head(page, x, y)
        y += _HEAD
        for index, row in enumerate(self._rows):
            if index and row.rank is None and self._rows[index - 1].rank is not None:
                page.rule(x, y, self.width, colour="#8A8A8A", weight=0.5)
            self._row(page, x, y, row)
            y += _ROW
            page.rule(x, y, self.width, weight=0.35)
        for number, remark in enumerate(self._remarks):
            page.text(x, y + 0.125 + 0.115 * number, remark, size=SMALL, colour=QUIET, room=self.width)

    @property
    def _rows(self) -> tuple[ComparisonRow, ...]:
        return self.content.rows[:_MOST_ROWS]

    @property
    def _remarks(self) -> list[str]:
        shown = {row.pathology for row in self._rows}
        hidden = sum(p.pathology not in shown for p in self.content.explanation.ranking.predictions)
        cut = len(self.content.rows) - len(self._rows)
        source = f"Reference labels: {self.content.labels.source}."
        if not self.content.labels.states:
            source = "Reference labels: none given."
        rest = f" {hidden} more predictions are not shown." if hidden else ""
        more = f" {cut} more rows are left out." if cut else ""
        return [
            f"{source}{rest}{more}",
            "Bar: probability, the sigmoid of the model's score, not calibrated; tick: operating point.",
        ]

    def _head(self, page: Page, x: float, y: float) -> None:
        for name in _COLUMNS:
            left, room = self._place(name)
            label = "" if name == "rank" else name
            page.text(x + left, y + 0.10, label, size=SMALL, colour=QUIET, room=room)
        page.text(x, y + 0.10, "rank", size=SMALL, colour=QUIET)
        page.rule(x, y + _HEAD - 0.035, self.width, colour=INK, weight=0.7)

    def _row(self, page: Page, x: float, y: float, row: ComparisonRow) -> None:
        baseline = y + _ROW / 2 + 0.037
        self._rank(page, x, y, baseline, row)
        left, room = self._place("pathology")
        page.text(x + left, baseline, display_name(row.pathology), room=room)
        self._prediction(page, x, y, baseline, row)
        left, room = self._place("reference label")
        state = "none given" if row.state is None else str(row.state)
        known = row.state in ("positive", "negative", "uncertain")
        page.text(x + left, baseline, state, colour=INK if known else QUIET, room=room)
        left, room = self._place("agreement")
        disagrees = row.agreement is Agreement.DISAGREES
        colour = ALERT if disagrees else INK if row.agreement is Agreement.AGREES else QUIET
        page.text(x + left, baseline, _MARKS[row.agreement], colour=colour, room=room)

    def _rank(self, page: Page, x: float, y: float, baseline: float, row: ComparisonRow) -> None:
        if row.rank is None:
            page.text(x + 0.21, baseline, "–", colour=QUIET, align="right")
            return
        style = self.content.styles[row.rank - 1]
        page.box(x, y + _ROW / 2 - 0.04, 0.08, 0.08, facecolor=style.colour, linewidth=0)
        page.text(x + 0.25, baseline, str(row.rank), face="bold", align="right")

    def _prediction(self, page: Page, x: float, y: float, baseline: float, row: ComparisonRow) -> None:
        left, room = self._place("probability")
        if row.prediction is None:
            room = self._place("prediction")[0] + self._place("prediction")[1] - left
            page.text(x + left, baseline, "not predicted by this model", colour=QUIET, room=room)
            return
        prediction = row.prediction
        page.text(x + left + 0.37, baseline, format_probability(prediction.probability), align="right")
        _bar(page, x + left + 0.44, y, room - 0.5, prediction.probability, prediction.operating_point)
        left, room = self._place("operating point")
        if prediction.operating_point is None:
            room = self._place("prediction")[0] + self._place("prediction")[1] - left
            page.text(x + left, baseline, "no operating point", colour=QUIET, room=room)
            return
        page.text(x + left, baseline, format_probability(prediction.operating_point), room=room)
        left, room = self._place("prediction")
        page.text(
            x + left,
            baseline,
            "above" if prediction.above else "below",
            face="bold" if prediction.above else "regular",
            room=room,
        )

    def _place(self, name: str) -> tuple[float, float]:
        """Left edge and room of a column in inches."""
        start = _COLUMNS[name]
        following = _ORDER[_ORDER.index(name) + 1]
        return start, _COLUMNS.get(following, self.width) - start - (_GUTTER if following else 0.0)


def format_probability(value: float) -> str:
    """Three decimals; two significant digits where these would hide the value.

    >>> [format_probability(value) for value in (0.8312, 0.00225, 3e-7, 0.99999)]
    ['0.831', '0.0022', '<0.0001', '>0.999']
    """
    if 0 < value < 1e-4:
        return "<0.0001"
    if 0 < value < 0.01:
        return f"{value:.2g}" if value >= 0.001 else f"{value:.4f}"
    if 0.9995 <= value < 1:
        return ">0.999"
    return f"{value:.3f}"


def _bar(page: Page, x: float, y: float, length: float, value: float, tick: float | None) -> None:
    top = y + _ROW / 2 - 0.03
    page.box(x, top, length, 0.06, facecolor="#EDEDED", linewidth=0)
    page.box(x, top, length * min(max(value, 0.0), 1.0), 0.06, facecolor=_BAR_COLOUR, linewidth=0)
    if tick is not None:
        at = x + length * min(max(tick, 0.0), 1.0)
        page.line([at, at], [top - 0.022, top + 0.082], colour=INK, weight=0.9)
