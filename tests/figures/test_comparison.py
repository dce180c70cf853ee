from __future__ import annotations

import pytest
from synthetic import synthetic_explanation

from cxr_explain.chest.orientation import image_sides
from cxr_explain.explaining.ranking import rank
from cxr_explain.figures.comparison import Agreement, agreement, comparison_rows
from cxr_explain.figures.texts import format_probability
from cxr_explain.pathologies import LabelState, ReferenceLabels

POSITIVE, NEGATIVE = LabelState.POSITIVE, LabelState.NEGATIVE


@pytest.mark.parametrize(
    ("above", "state", "expected"),
    [
        (True, POSITIVE, Agreement.AGREES),
        (False, NEGATIVE, Agreement.AGREES),
        (True, NEGATIVE, Agreement.DISAGREES),
        (False, POSITIVE, Agreement.DISAGREES),
        *(
            (above, state, Agreement.UNDEFINED)
            for above in (True, False, None)
            for state in (LabelState.UNCERTAIN, LabelState.NOT_MENTIONED, LabelState.NOT_LABELLED, None)
        ),
        (None, POSITIVE, Agreement.UNDEFINED),
        (None, NEGATIVE, Agreement.UNDEFINED),
    ],
)
def test_agreement(above, state, expected):
    assert agreement(above, state) is expected


def test_rows_are_the_ranked_then_the_labelled_then_the_unpredicted():
    ranking = rank([3.0, 2.0, 1.0, 0.0], ["Edema", "Mass", "Effusion", "Hernia"], top_k=1)
    labels = ReferenceLabels.from_text("Support Devices|Pleural Effusion|Mass=uncertain|Hernia=negative")
    rows = comparison_rows(ranking, labels)
    assert [(row.pathology, row.rank, row.prediction is None) for row in rows] == [
        ("Edema", 1, False),
        ("Effusion", None, False),
        ("Mass", None, False),
        ("Support Devices", None, True),
    ]
    assert rows[0].state is LabelState.NOT_LABELLED


def test_without_labels_there_is_no_state():
    ranking = rank([1.0], ["Edema"], [0.1])
    (row,) = comparison_rows(ranking, ReferenceLabels.coerce(None))
    assert row.state is None
    assert row.agreement is Agreement.UNDEFINED


def test_without_ranked_pathologies_the_most_probable_come_first():
    rows = comparison_rows(synthetic_explanation(k=0).ranking, ReferenceLabels.coerce(None))
    assert [row.rank for row in rows] == [None] * 5
    assert rows[0].pathology == "Effusion"


@pytest.mark.parametrize(
    ("orientation", "sides"),
    [
        (("L", "F"), ("R", "L")),
        (("R", "F"), ("L", "R")),
        (("P", "F"), ("A", "P")),
        (("LA", "F"), ("RP", "LA")),
        (None, None),
        (("", ""), None),
        (("X", "F"), None),
    ],
)
def test_sides_follow_the_row_direction_and_are_never_guessed(orientation, sides):
    assert image_sides(orientation) == sides


@pytest.mark.parametrize("value", [0.0, 5e-5, 2e-4, 0.00225, 0.0123, 0.5, 0.9994, 0.99951, 1.0])
def test_a_probability_is_never_shown_as_0_or_1_unless_it_is(value):
    shown = format_probability(value)
    assert (float(shown.strip("<>")) in (0.0, 1.0)) == (value in (0.0, 1.0))
