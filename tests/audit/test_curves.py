"""Curves against scikit-learn's, thinned without leaving them, and intervals of a reliability diagram."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from cxr_explain.audit.curves import MOST_POINTS, curves_of, precision_recall_points, roc_points, thinned
from cxr_explain.audit.measures import Scored

samples = st.lists(st.tuples(st.integers(0, 9).map(lambda k: k / 9), st.booleans()), min_size=1, max_size=40)


def both_kinds(there: np.ndarray) -> bool:
    return bool(there.any() and not there.all())


@given(samples)
def test_the_roc_curve_is_scikit_learns(sample: list[tuple[float, bool]]) -> None:
    scores, there = (np.array(column) for column in zip(*sample, strict=True))
    points = roc_points(scores, there)
    if not both_kinds(there):
        assert len(points) == 0
        return
    fpr, tpr, _ = metrics.roc_curve(there, scores, drop_intermediate=False)
    assert points == pytest.approx(np.column_stack([fpr, tpr]))


@given(samples)
def test_the_precision_recall_curve_is_scikit_learns_without_its_made_up_end(
    sample: list[tuple[float, bool]],
) -> None:
    """scikit-learn adds (recall 0, precision 1), which no threshold gives."""
    scores, there = (np.array(column) for column in zip(*sample, strict=True))
    points = precision_recall_points(scores, there)
    if not both_kinds(there):
        assert len(points) == 0
        return
    precision, recall, _ = metrics.precision_recall_curve(there, scores)
    assert points == pytest.approx(np.column_stack([recall, precision])[:-1][::-1])


def scored_of(chances: np.ndarray, there: np.ndarray, patients: np.ndarray | None = None) -> Scored:
    patients = np.arange(len(there)) if patients is None else patients
    return Scored("Mass", chances, there, patients, len(there), 0.5, {})


@pytest.mark.parametrize("decimals", [1, 12])
def test_curves_are_thinned_without_leaving_them(decimals: int) -> None:
    rng = np.random.default_rng(0)
    there = rng.random(5000) < 0.1
    chances = np.round(1 / (1 + np.exp(-rng.normal(size=5000) - there)), decimals)
    curves = curves_of(scored_of(chances, there), level=0.95)
    roc = np.array(curves["roc"])
    assert len(roc) <= MOST_POINTS
    assert len(curves["pr"]) <= MOST_POINTS
    assert roc[0].tolist() == [0, 0]
    assert roc[-1].tolist() == [1, 1]
    assert (np.diff(roc, axis=0) >= 0).all()
    on_the_curve = {tuple(point) for point in roc_points(chances, there).tolist()}
    assert {tuple(point) for point in roc.tolist()} <= on_the_curve
    assert np.trapezoid(roc[:, 1], roc[:, 0]) == pytest.approx(
        metrics.roc_auc_score(there, chances), abs=2e-3
    )
    assert curves["pr"][-1] == [1.0, pytest.approx(there.mean())]


def test_thinning_keeps_what_is_short() -> None:
    points = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert thinned(points) is points
    assert len(thinned(np.random.default_rng(0).random((1000, 2)), 7)) <= 7


def test_the_calibration_curve_counts_each_image_once() -> None:
    rng = np.random.default_rng(4)
    chances = rng.random(500)
    there = rng.random(500) < chances
    bins = curves_of(scored_of(chances, there), level=0.95)["calibration"]
    assert sum(each["images"] for each in bins) == 500
    assert len(bins) == 10
    for each in bins:
        inside = (chances >= each["low"]) & (chances < each["high"])
        assert each["mean"] == pytest.approx(chances[inside].mean())
        assert each["observed"] == pytest.approx(there[inside].mean())
        assert 0 <= each["observed_low"] <= each["observed"] <= each["observed_high"] <= 1
    assert all(math.isfinite(number) for each in bins for number in each.values())


def test_nothing_to_draw() -> None:
    nothing = curves_of(scored_of(np.empty(0), np.empty(0, bool)), level=0.95)
    assert nothing == {"roc": [], "pr": [], "calibration": []}
