"""Results as a table for a terminal: a line for each image, or for each pathology beside its label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cxr_explain.figures.comparison import Agreement, ComparisonRow
from cxr_explain.figures.lettering import display_name
from cxr_explain.figures.texts import DISCLAIMER, format_probability, probability_text
from cxr_explain.pages.index_page import IndexEntry

_PLAIN: tuple[str, ...] = ("image", "top pathologies (probability)", "reference positive", "figure")
_LABELLED = ("image", "", "pathology", "prob.", "prediction", "reference", "agreement")

_BRIEFLY = {"+": "+ at or above its operating point", "-": "- below its operating point"}
_IN_FULL = (
    "above: at or above its operating point",
    "– before a name: labelled, but not among the top K",
    "– as agreement: without an operating point, or without a positive or negative label",
)

MOST_LABELLED = 100
"""Images in a table with a line for each pathology; the others are counted."""


class ResultTable:
    """Collects the results of a run; memory stays flat where each image takes several lines.

    Args:
        labelled: whether reference labels were given, which are then shown beside each prediction.

    >>> ResultTable(labelled=True).columns
    ('image', '', 'pathology', 'prob.', 'prediction', 'reference', 'agreement')
    """

    def __init__(self, *, labelled: bool) -> None:
        self.labelled = labelled
        self.columns = _LABELLED if labelled else _PLAIN
        self._table = Table(*self.columns, box=None, pad_edge=False)
        self._agreements: Counter[Agreement] = Counter()
        self._meanings: set[str] = set()
        self._probabilities: dict[str, None] = {}
        self._shown = self._left_out = 0
        self._table.columns[0].overflow = "fold"
        if labelled:
            _, rank, _, probability, side, _, agreement = self._table.columns
            rank.justify = probability.justify = "right"
            for column in (rank, probability, side, agreement):
                column.no_wrap = True
        else:
            self._table.columns[3].overflow = "fold"

    def add(self, card: IndexEntry) -> None:
        """One more explained image."""
        self._probabilities[probability_text(card.provenance.probability_kind)] = None
        if not self.labelled:
            top = "  ".join(map(_briefly, card.explained)) or "none above its operating point"
            self._meanings.update(meaning for row in card.explained if (meaning := _BRIEFLY.get(_sign(row))))
            positives = ", ".join(map(display_name, card.positives)) or "none given"
            self._table.add_row(*map(escape, (card.id, top, positives, card.figure)))
            return
        self._agreements.update(row.agreement for row in card.rows)
        if self._shown == MOST_LABELLED:
            self._left_out += 1
            return
        self._shown += 1
        for number, row in enumerate(card.rows):
            self._meanings.update(_meanings(row))
            self._table.add_row("" if number else f"[bold]{escape(card.id)}[/]", *_cells(row))

    def print(self, console: Console) -> None:
        """Print the table and what its signs mean; nothing where nothing was explained."""
        if not self._table.row_count:
            return
        console.print(self._table)
        for line in self._remarks():
            console.print(f"[dim]{line}[/]")

    def _remarks(self) -> Sequence[str]:
        meanings = "; ".join(text for text in (*_BRIEFLY.values(), *_IN_FULL) if text in self._meanings)
        are = f"Probability: {'; '.join(self._probabilities)}. {DISCLAIMER}."
        closing = f"{meanings}. {are}" if meanings else are
        if not self.labelled:
            return [closing]
        agrees, disagrees = (self._agreements[a] for a in (Agreement.AGREES, Agreement.DISAGREES))
        more = [f"{self._left_out} more images are in the output folder."] if self._left_out else []
        return [
            *more,
            f"{agrees} agree with their reference label, {disagrees} disagree, among pathologies that the "
            "model's own ranking chose: no measure of its accuracy.",
            closing,
        ]


def _cells(row: ComparisonRow) -> tuple[str, ...]:
    prediction = row.prediction
    agreement = str(row.agreement)
    return (
        "–" if row.rank is None else str(row.rank),
        escape(display_name(row.pathology)),
        "" if prediction is None else format_probability(prediction.probability),
        "none" if prediction is None else _side(prediction.above),
        "not given" if row.state is None else str(row.state),
        f"[bold]{agreement}[/]" if row.agreement is Agreement.DISAGREES else agreement,
    )


def _meanings(row: ComparisonRow) -> list[str]:
    """What the signs of a row stand for, of those that say it not by themselves."""
    above = None if row.prediction is None else row.prediction.above
    there = (above is True, row.rank is None, row.agreement is Agreement.UNDEFINED)
    return [meaning for meaning, is_there in zip(_IN_FULL, there, strict=True) if is_there]


def _briefly(row: ComparisonRow) -> str:
    name = display_name(row.pathology)
    return f"{name} {row.prediction.probability:.2f}{_sign(row)}" if row.prediction else name


def _sign(row: ComparisonRow) -> str:
    above = None if row.prediction is None else row.prediction.above
    return {True: "+", False: "-", None: ""}[above]


def _side(above: bool | None) -> str:
    return {True: "above", False: "below", None: "no point"}[above]
