"""The choice of an operating point against scikit-learn's ROC curve and against every threshold by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from cxr_explain.audit.operating_points.goals import Candidates, Goal
from cxr_explain.errors import OptionError

SEEDS = range(12)


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities with ties, and labels that go with them."""
    draws = np.random.default_rng(seed)
    positive = draws.random(80) < (0.1, 0.3, 0.6)[seed % 3]
    positive[:2] = True, False
    chances = 1 / (1 + np.exp(-draws.normal(positive * 1.2, 1.0).round(seed % 3)))
    return chances, positive


def called_at(point: float, chances: np.ndarray, positive: np.ndarray) -> tuple[int, int]:
    right = sum(bool(p >= point and y) for p, y in zip(chances, positive, strict=True))
    wrong = sum(bool(p >= point and not y) for p, y in zip(chances, positive, strict=True))
    return right, wrong


@pytest.mark.parametrize("seed", SEEDS)
def test_the_candidates_are_the_roc_curve(seed: int) -> None:
    chances, positive = drawn(seed)
    found = Candidates.of(chances, positive)
    wrong, right, _ = roc_curve(positive, chances, drop_intermediate=False)
    np.testing.assert_allclose(found.sensitivity, right, rtol=1e-15)
    np.testing.assert_allclose(1 - found.specificity, wrong, rtol=0, atol=1e-15)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_candidate_calls_whom_it_says(seed: int) -> None:
    chances, positive = drawn(seed)
    found = Candidates.of(chances, positive)
    for point, right, wrong in zip(found.points, found.right, found.wrong, strict=True):
        assert called_at(point, chances, positive) == (right, wrong)
    assert (np.diff(found.points) < 0).all()


def best_by_hand(goal: Goal, chances: np.ndarray, positive: np.ndarray) -> tuple[int, int] | None:
    """The (right, wrong) of the best of all thresholds, in words of the definition: strictest first."""
    P, N = int(positive.sum()), int((~positive).sum())
    every = [called_at(point, chances, positive) for point in sorted({1.0, 0.0, *chances}, reverse=True)]
    if chances.max() < 1:
        every.insert(0, (0, 0))

    def worth(at: tuple[int, int]) -> float:
        right, wrong = at
        sensitivity, specificity = right / P, (N - wrong) / N
        if goal.name == "youden":
            return sensitivity + specificity - 1
        if goal.name == "cost":
            return -(goal.value * (P - right) + wrong)
        if goal.name == "sensitivity":
            return specificity if sensitivity >= goal.value else -math.inf
        return sensitivity if specificity >= goal.value else -math.inf

    if goal.name == "specificity":
        every.reverse()  # of several as good the least strict
    best = max(every, key=lambda at: round(worth(at), 12))
    return None if worth(best) == -math.inf else best


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "text",
    ["youden", "sensitivity=0.9", "sensitivity=1", "specificity=0.9", "specificity=1", "cost=1", "cost=12.5"],
)
def test_the_choice_is_that_of_the_definition(text: str, seed: int) -> None:
    chances, positive = drawn(seed)
    found, goal = Candidates.of(chances, positive), Goal.parse(text)
    at = found.chosen(goal)
    expected = best_by_hand(goal, chances, positive)
    assert (None if at is None else (found.right[at], found.wrong[at])) == expected


def test_youden_is_the_maximum_of_scikit_learns_curve() -> None:
    chances, positive = drawn(4)
    wrong, right, thresholds = roc_curve(positive, chances)
    best = int(np.argmax(right - wrong))
    found = Candidates.of(chances, positive)
    at = found.chosen(Goal("youden"))
    assert (found.sensitivity[at], 1 - found.specificity[at]) == pytest.approx((right[best], wrong[best]))
    assert np.array_equal(chances >= found.points[at], chances >= thresholds[best])


def test_a_point_lies_half_way_in_log_odds_so_that_no_temperature_moves_it() -> None:
    logits, positive = np.array([-3.0, -1.0, 0.5, 2.0]), np.array([False, False, True, True])
    at_once = Candidates.of(1 / (1 + np.exp(-logits)), positive).points
    cooled = Candidates.of(1 / (1 + np.exp(-logits / 3)), positive).points
    odds = np.log(at_once[1:-1] / (1 - at_once[1:-1]))
    np.testing.assert_allclose(odds, [1.25, -0.25, -2.0], rtol=1e-12)
    np.testing.assert_allclose(np.log(cooled[1:-1] / (1 - cooled[1:-1])), odds / 3, rtol=1e-12)


def test_where_an_image_has_the_probability_one_nobody_can_be_left_uncalled() -> None:
    found = Candidates.of([0.0, 1.0, 1.0], [True, False, True])
    assert found.points.tolist() == [0.5, 0.0]
    assert found.chosen(Goal("specificity", 1.0)) is None


@pytest.mark.parametrize("text", ["youden", "sensitivity=0.9", "specificity=0.85", "cost=10"])
def test_a_goal_reads_as_it_is_written(text: str) -> None:
    assert str(Goal.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "f1", "youden=1", "sensitivity", "sensitivity=0", "sensitivity=1.1", "specificity=nan", "cost=-1",
     "cost=inf", "cost=ten", "sensitivity=0,9", "cost=1=2"],
)  # fmt: skip
def test_another_goal_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(
        OptionError, match=r"expected youden, sensitivity=0\.9, specificity=0\.9 or cost=10"
    ) as told:
        Goal.parse(text)
    assert "\n" not in str(told.value)
