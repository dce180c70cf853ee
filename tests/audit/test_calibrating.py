"""Temperature and isotonic calibration against scipy, scikit-learn and literal loops, in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from cxr_explain.audit.operating_points.calibrating import calibration_of, isotonic, temperature
from cxr_explain.errors import OptionError
from cxr_explain.explaining.calibration import Calibration
from cxr_explain.explaining.ranking import rank


def drawn(seed: int, true_temperature: float = 2.5, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    draws = np.random.default_rng(seed)
    logits = draws.normal(0, 3, n).round(1)  # with ties
    return logits, draws.random(n) < 1 / (1 + np.exp(-logits / true_temperature))


def log_loss_by_hand(warm: float, logits: np.ndarray, positive: np.ndarray) -> float:
    total = 0.0
    for z, y in zip(logits, positive, strict=True):
        p = 1 / (1 + math.exp(-z / warm))
        total -= math.log(p) if y else math.log(1 - p)
    return total


@pytest.mark.parametrize("seed", range(4))
def test_the_temperature_is_that_of_the_greatest_likelihood(seed: int) -> None:
    logits, positive = drawn(seed)
    found = temperature(logits, positive).temperature
    least = minimize(
        lambda at: log_loss_by_hand(math.exp(at[0]), logits, positive),
        [0.0],
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-11},
    )
    assert found == pytest.approx(math.exp(least.x[0]), rel=1e-6)
    for other in (0.99, 1.01):
        assert log_loss_by_hand(found, logits, positive) < log_loss_by_hand(found * other, logits, positive)


@pytest.mark.parametrize("seed", range(4))
def test_the_temperature_is_scikit_learns_slope_without_an_intercept(seed: int) -> None:
    logits, positive = drawn(seed)
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=10_000)
    slope = model.fit(logits[:, None], positive).coef_[0, 0]
    assert temperature(logits, positive).temperature == pytest.approx(1 / slope, rel=1e-6)


def test_a_temperature_that_was_planted_is_found() -> None:
    logits, positive = drawn(7, true_temperature=1.7, n=60_000)
    assert temperature(logits, positive).temperature == pytest.approx(1.7, rel=0.03)


@pytest.mark.parametrize(
    ("logits", "positive"),
    [
        ([-2.0, -1.0, 1.0, 2.0], [True, True, False, False]),  # higher scores are less often right
        ([-2.0, -1.0, 1.0, 2.0], [False, False, True, True]),  # parted at 0
    ],
)
def test_where_no_temperature_is_best_there_is_none(logits: list[float], positive: list[bool]) -> None:
    assert temperature(logits, positive) is None
    assert calibration_of("temperature", logits, positive) == (
        None,
        "no temperature makes its probabilities likelier",
    )


@pytest.mark.parametrize("seed", range(6))
def test_the_isotonic_curve_is_scikit_learns(seed: int) -> None:
    logits, positive = drawn(seed, n=150)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(logits, positive)
    ours = isotonic(logits, positive)
    at, heights = np.array(ours.knots).T
    np.testing.assert_array_equal(at, theirs.X_thresholds_)
    np.testing.assert_allclose(heights, theirs.y_thresholds_, rtol=1e-12, atol=1e-15)
    everywhere = np.linspace(-12, 12, 977)
    expected = theirs.predict(everywhere)
    np.testing.assert_allclose(ours.probabilities(everywhere), expected, rtol=1e-11, atol=1e-14)


def pooled_by_hand(shares: list[float], weights: list[int]) -> list[float]:
    """Adjacent blocks that violate the order are pooled until none does."""
    blocks = [[share, weight, 1] for share, weight in zip(shares, weights, strict=True)]
    at = 0
    while at + 1 < len(blocks):
        one, two = blocks[at], blocks[at + 1]
        if one[0] > two[0]:
            weight = one[1] + two[1]
            blocks[at : at + 2] = [[(one[0] * one[1] + two[0] * two[1]) / weight, weight, one[2] + two[2]]]
            at = max(at - 1, 0)
        else:
            at += 1
    return [share for share, _, count in blocks for _ in range(count)]


def test_the_isotonic_curve_pools_neighbours_that_fall() -> None:
    logits, positive = drawn(11, n=120)
    distinct = sorted(set(logits.tolist()))
    weights = [int((logits == each).sum()) for each in distinct]
    shares = [float(positive[logits == each].mean()) for each in distinct]
    found = isotonic(logits, positive).probabilities(distinct)
    np.testing.assert_allclose(found, pooled_by_hand(shares, weights), rtol=1e-12, atol=1e-15)


def test_a_ranking_goes_by_calibrated_probabilities() -> None:
    curve = Calibration(knots=((0.0, 0.2), (4.0, 0.6)))
    ranking = rank(
        [3.0, 1.0, 0.5],
        ["Mass", "Edema", "Hernia"],
        [0.4, 0.5, None],
        calibrations=[curve, None, Calibration(temperature=0.25)],
    )
    found = {each.pathology: each.probability for each in ranking.top}
    expected = {"Hernia": 1 / (1 + math.exp(-2.0)), "Edema": 1 / (1 + math.exp(-1.0)), "Mass": 0.5}
    assert list(found) == list(expected)
    assert found == pytest.approx(expected, rel=1e-15)
    assert [each.above for each in ranking.top] == [None, True, True]
    assert ranking["Mass"].logit == 3.0
    assert ranking["Mass"].calibrated == pytest.approx(1 - 0.5 / 1.2)


def test_a_ranking_by_temperature_does_not_round_to_one() -> None:
    cold = [Calibration(temperature=0.01), Calibration(temperature=0.01)]
    assert rank([8.0, 9.0], ["Mass", "Edema"], calibrations=cold, top_k=1).pathologies == ("Edema",)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"temperature": math.inf},
        {"temperature": math.nan},
        {"temperature": 1.0, "knots": ((0.0, 0.5),)},
        {"knots": ((0.0, 0.5), (0.0, 0.6))},
        {"knots": ((1.0, 0.5), (0.0, 0.6))},
        {"knots": ((0.0, 0.5), (1.0, 0.4))},
        {"knots": ((0.0, -0.1), (1.0, 0.4))},
        {"knots": ((0.0, 0.1), (1.0, 1.4))},
        {"knots": ((0.0, math.nan), (1.0, 0.4))},
        {"knots": ((-math.inf, 0.1), (1.0, 0.4))},
    ],
)
def test_what_is_no_calibration_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="neither a temperature nor a rising curve"):
        Calibration(**given)
