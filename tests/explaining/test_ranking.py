"""Ranking against a literal sort, and TorchXRayVision's own `op_norm`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cxr_explain import PATHOLOGIES, rank
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.explaining.ranking import calibrate, sigmoid
from cxr_explain.support.torchvision_repair import ensure_torchvision_imports
from cxr_explain.weights import ENTRIES, WeightsEntry

logit = st.one_of(st.floats(-50, 50), st.integers(-2, 2).map(float))


def heads(size: int = 18) -> st.SearchStrategy[tuple[list[float], list[str], list[float | None]]]:
    """Scores, names (some of them '') and operating points (some of them None or NaN)."""
    point = st.one_of(st.none(), st.just(math.nan), st.floats(0.001, 0.999))
    return st.tuples(
        st.lists(logit, min_size=size, max_size=size),
        st.lists(st.booleans(), min_size=size, max_size=size).map(
            lambda trained: [name if there else "" for name, there in zip(PATHOLOGIES, trained, strict=True)]
        ),
        st.lists(point, min_size=size, max_size=size),
    )


@given(heads(), st.integers(1, 20))
def test_equals_a_literal_selection(
    head: tuple[list[float], list[str], list[float | None]], top_k: int
) -> None:
    logits, names, points = head
    left = [index for index, name in enumerate(names) if name]
    expected = []
    while left and len(expected) < top_k:
        best = left[0]
        for index in left:
            if logits[index] > logits[best]:
                best = index
        expected.append(best)
        left.remove(best)
    ranking = rank(logits, names, points, top_k=top_k)
    assert [p.index for p in ranking.top] == expected
    assert ranking.k == len(expected)
    assert ranking.pathologies == tuple(names[index] for index in expected)
    assert [p.pathology for p in ranking.predictions] == [name for name in names if name]
    probabilities = [p.probability for p in ranking.top]
    assert probabilities == sorted(probabilities, reverse=True)


@given(heads(), st.sampled_from(["softmax", "log-softmax", "softmax-logits"]))
def test_where_exactly_one_output_is_true_the_probability_is_the_softmax_over_all(
    head: Any, kind: Any
) -> None:
    logits, names, points = head
    ranking = rank(logits, names, points, kind=kind, top_k=18)
    expected = torch.tensor(logits, dtype=torch.float64).softmax(0)
    for prediction in ranking.predictions:
        assert prediction.probability == pytest.approx(
            float(expected[prediction.index]), rel=1e-12, abs=1e-300
        )
    sigmoids = rank(logits, names, points, top_k=18)
    assert [p.index for p in ranking.top] == [p.index for p in sigmoids.top]
    assert rank(logits, names, points, kind="sigmoids", top_k=18) == sigmoids


@given(heads())
def test_calibrated_ranks_by_the_calibrated_value_alone(
    head: tuple[list[float], list[str], list[float | None]],
) -> None:
    ranking = rank(*head, top_k=18, rank_by="calibrated")
    values = [p.calibrated for p in ranking.top]
    assert None not in values
    assert values == sorted(values, reverse=True)
    assert ranking.by == "calibrated"
    assert {p.index for p in ranking.top} == {
        p.index for p in ranking.predictions if p.calibrated is not None
    }


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_calibrated_equals_torchxrayvision(entry: WeightsEntry) -> None:
    ensure_torchvision_imports()
    from torchxrayvision.models import op_norm

    torch.manual_seed(0)
    logits = torch.randn(200, 18) * 4 - 3
    points = torch.tensor([[math.nan if p is None else p for p in entry.operating_points]])
    probabilities = logits.sigmoid()
    theirs = op_norm(probabilities, points)
    for scores, row, sigmoids in zip(logits.tolist(), theirs.tolist(), probabilities.tolist(), strict=True):
        for prediction in rank(scores, entry.pathologies, entry.operating_points).predictions:
            assert prediction.probability == pytest.approx(sigmoids[prediction.index], rel=1e-5)
            if prediction.operating_point is None:
                assert prediction.calibrated is None
                assert prediction.above is None
            else:
                assert prediction.calibrated == pytest.approx(row[prediction.index], abs=1e-6)
                assert prediction.above == (row[prediction.index] >= 0.5)


def test_untrained_outputs_never_rank_whatever_they_score() -> None:
    ranking = rank([99.0, -99.0, math.nan, math.inf], ["", "Mass", "", ""], top_k=4)
    assert ranking.pathologies == ("Mass",)
    assert len(ranking.predictions) == 1


def test_ties_keep_the_order_of_the_head() -> None:
    assert rank([1.0, 2.0, 1.0, 2.0], ["A", "B", "C", "D"], top_k=4).pathologies == ("B", "D", "A", "C")


def test_saturated_sigmoids_are_still_told_apart() -> None:
    assert rank([40.0, 50.0], ["A", "B"]).pathologies == ("B", "A")


def test_calibrated_order_differs_from_the_order_of_probabilities() -> None:
    arguments = ([0.0, -2.0], ["A", "B"], [0.9, 0.05])
    assert rank(*arguments).pathologies == ("A", "B")
    assert rank(*arguments, rank_by="calibrated").pathologies == ("B", "A")


@pytest.mark.parametrize(
    "only", ["Edema", ["Edema"], ("Pulmonary fibrosis", " edema "), iter(["Edema", "Edema"])]
)
def test_only_these(only: object) -> None:
    ranking = rank([3.0, 1.0, 2.0], ["Mass", "Edema", "Fibrosis"], pathologies=only)
    assert "Mass" not in ranking.pathologies
    assert "Edema" in ranking.pathologies
    assert len(ranking.predictions) == 3


def test_only_finds_outputs_named_otherwise_and_all_of_them() -> None:
    names = ["Pleural Effusion", "Effusion", "Mass"]
    ranking = rank([1.0, 2.0, 3.0], names, pathologies="Effusion")
    assert ranking.pathologies == ("Effusion", "Pleural Effusion")


def test_only_of_nothing_ranks_nothing() -> None:
    assert rank([1.0], ["Mass"], pathologies=()).k == 0


def test_above_the_operating_point_may_leave_nothing() -> None:
    ranking = rank([-5.0, 5.0], ["A", "B"], [0.5, None], above_operating_point=True, top_k=2)
    assert ranking.k == 0
    assert ranking.notes == (
        "2 pathologies left out: below or without an operating point",
        "K cut from 2 to 0: no more pathologies to rank",
    )
    at_it = rank([0.0], ["A"], [0.5], above_operating_point=True, top_k=1)
    assert at_it.pathologies == ("A",)
    assert at_it.notes == ()


def test_k_is_cut_with_a_note() -> None:
    ranking = rank([1.0, 2.0], ["A", "B"], top_k=5)
    assert ranking.k == 2
    assert ranking.notes == ("K cut from 5 to 2: no more pathologies to rank",)
    assert rank([1.0, 2.0], ["A", "B"], top_k=2).notes == ()


def test_a_prediction_is_found_by_any_of_its_names() -> None:
    ranking = rank([1.0, 2.0], ["Effusion", "Airspace Opacity"])
    assert ranking["Pleural Effusion"].index == 0
    assert ranking["Lung Opacity"].index == 1
    assert ranking["airspace opacity"].index == 1
    with pytest.raises(KeyError, match="Mass"):
        ranking["Mass"]
    both = rank([1.0, 2.0], ["Pleural Effusion", "Effusion"])
    assert both["Effusion"].index == 1
    assert both["Pleural Effusion"].index == 0


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_are_an_error(score: float) -> None:
    with pytest.raises(ModelError, match=r"NaN or infinite.*finite logits.*value range"):
        rank([1.0, score], ["A", "B"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k=0.*at least 1"),
        ({"top_k": 2.0}, "top_k=2.0"),
        ({"top_k": -1}, "top_k=-1"),
        ({"rank_by": "logit"}, "rank_by='logit'.*probability, calibrated"),
        ({"pathologies": "Hernia"}, r"Hernia.*A, B"),
        ({"operating_points": [0.5]}, "2 scores, 2 pathologies and 1 operating points"),
    ],
)
def test_errors_say_what_is_there_instead(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        rank([1.0, 2.0], ["A", "B"], **options)  # type: ignore[arg-type]


def test_lengths_that_differ_are_an_error() -> None:
    with pytest.raises(OptionError, match="3 scores, 2 pathologies"):
        rank([1.0, 2.0, 3.0], ["A", "B"])


@given(st.floats(-1e6, 1e6))
def test_sigmoid_neither_overflows_nor_leaves_its_range(value: float) -> None:
    assert 0 <= sigmoid(value) <= 1
    assert sigmoid(value) + sigmoid(-value) == pytest.approx(1)
    assert sigmoid(value) == pytest.approx(
        torch.tensor(value, dtype=torch.float64).sigmoid().item(), abs=1e-15
    )


@given(st.floats(0.001, 0.999), st.floats(0, 1), st.floats(0, 1))
def test_calibration_keeps_the_order_and_its_fixed_points(point: float, low: float, high: float) -> None:
    low, high = sorted((low, high))
    assert calibrate(low, point) <= calibrate(high, point) + 1e-12
    assert (calibrate(0, point), calibrate(point, point), calibrate(1, point)) == pytest.approx((0, 0.5, 1))


def test_numpy_scores_are_fine() -> None:
    assert rank(np.array([1.0, 2.0]), ["A", "B"]).pathologies == ("B", "A")
