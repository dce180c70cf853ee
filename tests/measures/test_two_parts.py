"""Intervals and p of differences of two shares: against a literal reading, and published examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import fisher_exact
from scipy.stats import t as student

from cxr_explain.measures.statistics.intervals import IndependentCases
from cxr_explain.measures.statistics.jackknife import LeftOut
from cxr_explain.measures.statistics.two_parts import ShareDifferences, correlation_of, fewer_hits_p

Share = tuple[float, float, float]
"""A value, a number of cases, and degrees of freedom."""

MANY = 1e9


def wilson(share: Share, level: float) -> tuple[float, float]:
    """The two roots p of (v - p)^2 = t^2 p (1 - p) / n, by the formula for quadratic equations."""
    value, cases, freedom = share
    square = student.ppf((1 + level) / 2, freedom) ** 2
    a, b, c = 1 + square / cases, -(2 * value + square / cases), value * value
    root = math.sqrt(max(b * b - 4 * a * c, 0.0))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def literal(first: Share, second: Share, correlation: float, level: float) -> tuple[float, float]:
    """Zou and Donner's equation 10, term by term."""
    (l1, u1), (l2, u2) = wilson(first, level), wilson(second, level)
    p1, p2 = first[0], second[0]
    below = (p1 - l1) ** 2 + (u2 - p2) ** 2 - 2 * correlation * (p1 - l1) * (u2 - p2)
    above = (u1 - p1) ** 2 + (p2 - l2) ** 2 - 2 * correlation * (u1 - p1) * (p2 - l2)
    return max(-1.0, p1 - p2 - math.sqrt(below)), min(1.0, p1 - p2 + math.sqrt(above))


def difference(first: Share, second: Share, correlation: float = 0.0) -> ShareDifferences:
    one, other = (IndependentCases(*(np.array([number]) for number in each)) for each in (first, second))
    return ShareDifferences(one, other, np.array([correlation]))


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [  # Newcombe (1998), table II, method 10
        ((56 / 70, 70, MANY), (48 / 80, 80, MANY), 0.0524, 0.3339),
        ((9 / 10, 10, MANY), (3 / 10, 10, MANY), 0.1705, 0.8090),
        ((10 / 10, 10, MANY), (0 / 20, 20, MANY), 0.6791, 1.0000),
        ((0 / 10, 10, MANY), (0 / 10, 10, MANY), -0.2775, 0.2775),
    ],
)
def test_newcombes_examples(first: Share, second: Share, low: float, high: float) -> None:
    found = difference(first, second).interval(0.95)
    assert [end.item() for end in found] == pytest.approx([low, high], abs=6e-5)


CASES = [
    ((0.9, 40.0, 12.0), (0.7, 300.5, 80.0), 0.0),
    ((0.2, 25.5, 9.0), (0.6, 90.0, 40.0), 0.3),
    ((0.0, 11.0, 10.0), (0.25, 120.0, 60.0), -0.2),
    ((1.0, 30.0, 29.0), (0.5, 15.0, 7.0), 0.1),
]


@pytest.mark.parametrize(("first", "second", "correlation"), CASES)
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_an_interval_is_the_literal_one(
    first: Share, second: Share, correlation: float, level: float
) -> None:
    found = difference(first, second, correlation).interval(level)
    expected = literal(first, second, correlation, level)
    assert [end.item() for end in found] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("first", "second", "correlation"), CASES)
def test_p_is_the_level_at_which_the_interval_ends_at_zero(
    first: Share, second: Share, correlation: float
) -> None:
    end = 0 if first[0] > second[0] else 1

    def reaches(level: float) -> float:
        return literal(first, second, correlation, level)[end]

    expected = 1 - brentq(reaches, 1e-6, 1 - 1e-12, xtol=1e-13)
    assert difference(first, second, correlation).p().item() == pytest.approx(expected, rel=1e-6)


def test_p_without_a_difference_and_without_a_share() -> None:
    assert difference((0.5, 20, 19), (0.5, 30, 29)).p().item() == 1.0
    assert np.isnan(difference((np.nan, 20, 19), (0.5, 30, 29)).p()).all()
    assert np.isnan(difference((0.5, np.nan, 19), (0.5, 30, 29)).interval(0.95)).all()


def test_ten_of_ten_missed_beside_a_rare_hit_is_no_certainty() -> None:
    """No patient moves 0 of 10: a jackknife alone would have no error, and a p of 0."""
    assert 0.05 < difference((0.0, 10, 9), (0.2, 400, 399)).p().item() < 0.2


def test_a_correlation_narrows_the_difference_of_the_same_patients() -> None:
    apart, together = (difference((0.8, 50, 49), (0.7, 50, 49), r).interval(0.95) for r in (0.0, 0.8))
    assert together[0] > apart[0]
    assert together[1] < apart[1]


def test_the_correlation_is_numpys() -> None:
    one, other = np.random.default_rng(0).normal(size=(2, 3, 40))
    found = correlation_of(LeftOut(np.zeros(3), one), LeftOut(np.zeros(3), other))
    assert found == pytest.approx([np.corrcoef(a, b)[0, 1] for a, b in zip(one, other, strict=True)])
    still = LeftOut(np.zeros(1), np.ones((1, 40)))
    assert correlation_of(still, LeftOut(np.zeros(1), other[:1])).tolist() == [0.0]


@pytest.mark.parametrize(
    "table", [(1, 10, 11, 14), (0, 16, 79, 93), (8, 10, 3, 12), (0, 5, 0, 7), (5, 5, 7, 7)]
)
def test_fishers_test_is_scipys(table: tuple[int, int, int, int]) -> None:
    hits, cases, other_hits, other_cases = table
    square = [[hits, cases - hits], [other_hits, other_cases - other_hits]]
    assert fewer_hits_p(*table) == pytest.approx(fisher_exact(square, "less").pvalue, rel=1e-9)


def test_fishers_test_of_many_cases_is_quick_and_finite() -> None:
    assert 0 <= fewer_hits_p(20_000, 40_000, 60_000, 80_000) < 1e-300
    assert fewer_hits_p(30_000, 40_000, 60_000, 80_000) == pytest.approx(0.5, abs=0.01)
