"""Agreement of readers, against literal readings of the definitions and scikit-learn's kappa."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from cxr_explain.measures.statistics.agreement import (
    MISSING,
    cohen_kappa,
    krippendorff_alpha,
    same_category,
)


def value_of(statistic: Any, counts: np.ndarray) -> float:
    return float(statistic(counts[:, None].astype(float))[0, 0])


def literal_kappa(first: list[int], second: list[int]) -> float:
    """Cohen (1960): observed agreement, and that of two readers who answer independently."""
    n = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    chance = sum((first.count(c) / n) * (second.count(c) / n) for c in set(first + second))
    return (observed - chance) / (1 - chance) if chance < 1 else math.nan


def literal_alpha(units: list[list[int]]) -> float:
    """Hayes and Krippendorff (2007): the coincidences of all ordered pairs within a unit, pair by pair."""
    coincidences: dict[tuple[int, int], float] = {}
    for unit in units:
        read = [value for value in unit if value != MISSING]
        for a, b in permutations(range(len(read)), 2):
            pair = (read[a], read[b])
            coincidences[pair] = coincidences.get(pair, 0.0) + 1 / (len(read) - 1)
    values = {value for pair in coincidences for value in pair}
    total = {c: sum(n for pair, n in coincidences.items() if pair[0] == c) for c in values}
    n = sum(total.values())
    observed = sum(count for (a, b), count in coincidences.items() if a != b) / n
    expected = sum(total[a] * total[b] for a, b in permutations(values, 2)) / (n * (n - 1))
    return 1 - observed / expected if expected else math.nan


@pytest.fixture
def draws() -> np.random.Generator:
    return np.random.default_rng(11)


@pytest.mark.parametrize("n", [2, 7, 60])
def test_kappa_is_that_of_the_definition_and_of_scikit_learn(draws: np.random.Generator, n: int) -> None:
    for _ in range(20):
        first, second = draws.integers(0, 4, (2, n))
        second = np.where(draws.random(n) < 0.5, first, second)
        counts = draws.integers(0, 3, n)
        found = value_of(cohen_kappa(first, second, np.arange(n), n), counts)
        a, b = np.repeat(first, counts), np.repeat(second, counts)
        if not len(a):
            assert math.isnan(found)
            continue
        assert found == pytest.approx(literal_kappa(a.tolist(), b.tolist()), abs=1e-12, nan_ok=True)
        if not math.isnan(found):
            assert found == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)
        same = value_of(same_category(first, second, np.arange(n), n), counts)
        assert same == pytest.approx((a == b).mean(), abs=1e-12)


def test_one_category_alone_has_no_kappa() -> None:
    ones = np.zeros(5, np.intp)
    assert math.isnan(value_of(cohen_kappa(ones, ones, np.arange(5), 5), np.ones(5)))
    assert math.isnan(value_of(krippendorff_alpha(np.zeros((5, 3), np.intp), np.arange(5), 5), np.ones(5)))


@pytest.mark.parametrize("readers", [2, 3, 5])
def test_alpha_is_that_of_the_definition(draws: np.random.Generator, readers: int) -> None:
    for _ in range(20):
        n = 30
        truth = draws.integers(0, 4, (n, 1))
        read = np.where(draws.random((n, readers)) < 0.6, truth, draws.integers(0, 4, (n, readers)))
        read = np.where(draws.random((n, readers)) < 0.3, MISSING, read)
        counts = draws.integers(0, 3, n)
        found = value_of(krippendorff_alpha(read, np.arange(n), n), counts)
        units = np.repeat(read, counts, axis=0).tolist()
        assert found == pytest.approx(literal_alpha(units), abs=1e-12)


def test_alpha_of_the_published_example() -> None:
    """Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, example C: nominal alpha 0.743."""
    readers = ("123321412...", "1233224125.3", ".3332342251.", "12332441251.")
    units = zip(*readers, strict=True)
    read = np.array([[MISSING if each == "." else int(each) for each in unit] for unit in units])
    found = value_of(krippendorff_alpha(read, np.arange(12), 12), np.ones(12))
    assert found == pytest.approx(0.743, abs=5e-4)


def test_a_group_counts_as_often_as_it_is_drawn(draws: np.random.Generator) -> None:
    """Cases of one patient are left out together."""
    first, second = draws.integers(0, 3, (2, 40))
    member = draws.integers(0, 9, 40)
    counts = draws.integers(0, 4, 9)
    rows = np.repeat(np.arange(40), counts[member])
    found = value_of(cohen_kappa(first, second, member, 9), counts)
    assert found == pytest.approx(cohen_kappa_score(first[rows], second[rows]), abs=1e-12)
