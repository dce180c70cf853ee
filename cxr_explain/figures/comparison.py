"""Predictions beside reference labels: which rows are shown, and where the two agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cxr_explain.explaining.ranking import Prediction, Ranking
from cxr_explain.pathologies import LabelState, ReferenceLabels, canonical_pathology

_UNRANKED_WITHOUT_TOP = 5


class Agreement(StrEnum):
    """Whether a prediction and a reference label say the same; undefined without both sides."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    UNDEFINED = "–"


@dataclass(frozen=True)
class ComparisonRow:
    """One pathology: what the model says and what the reference standard says.

    Args:
        pathology: name of the pathology.
        rank: rank from 1; None for a pathology that is not explained.
        prediction: what the model says; None where the model does not predict the pathology.
        state: the reference label; None where no reference labels were given at all.
    """

    pathology: str
    rank: int | None
    prediction: Prediction | None
    state: LabelState | None

    @property
    def agreement(self) -> Agreement:
        """Defined only with an operating point and a positive or negative label."""
        return agreement(None if self.prediction is None else self.prediction.above, self.state)


def agreement(above: bool | None, state: LabelState | None) -> Agreement:
    """Compare one side of an operating point with one reference label.

    >>> agreement(True, LabelState.POSITIVE)
    <Agreement.AGREES: 'agrees'>
    >>> agreement(False, LabelState.NOT_LABELLED)
    <Agreement.UNDEFINED: '–'>
    """
    if above is None or state not in (LabelState.POSITIVE, LabelState.NEGATIVE):
        return Agreement.UNDEFINED
    return Agreement.AGREES if above == (state is LabelState.POSITIVE) else Agreement.DISAGREES


def comparison_rows(ranking: Ranking, labels: ReferenceLabels) -> tuple[ComparisonRow, ...]:
    """The ranked pathologies, then those with a positive or uncertain label that are not among them.

    Where nothing is ranked, the most probable predictions come first instead, without a rank.

    >>> from cxr_explain.explaining.ranking import rank
    >>> ranking = rank([2.0, 0.0], ["Edema", "Mass"], top_k=1)
    >>> [row.pathology for row in comparison_rows(ranking, ReferenceLabels.from_text("Mass|Support Devices"))]
    ['Edema', 'Mass', 'Support Devices']
    """
    given = bool(labels.states)
    shown: list[tuple[int | None, Prediction]] = [*enumerate(ranking.top, start=1)]
    shown = shown or [(None, p) for p in _most_probable(ranking)]
    rows = [ComparisonRow(p.pathology, rank, p, labels[p.pathology] if given else None) for rank, p in shown]
    names = {canonical_pathology(row.pathology) for row in rows}
    predictions = {canonical_pathology(p.pathology): p for p in ranking.predictions}
    return (*rows, *_labelled_elsewhere(labels.states, names, predictions))


def _most_probable(ranking: Ranking) -> list[Prediction]:
    return sorted(ranking.predictions, key=lambda p: (-p.probability, -p.logit))[:_UNRANKED_WITHOUT_TOP]


def _labelled_elsewhere(
    states: Mapping[str, LabelState], names: set[str], predictions: Mapping[str, Prediction]
) -> list[ComparisonRow]:
    rows = [
        ComparisonRow(name, None, predictions.get(name), state)
        for name, state in states.items()
        if name not in names and state in (LabelState.POSITIVE, LabelState.UNCERTAIN)
    ]
    return sorted(rows, key=lambda row: row.prediction is None)
