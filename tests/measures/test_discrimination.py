"""AUROC and thresholds: known answers, all pairs one by one, and MONAI's implementation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_explain.errors import OptionError
from cxr_explain.measures.statistics.discrimination import (
    GroupedScores,
    auroc,
    average_precision,
    operate,
    youden,
)

cases = st.lists(st.tuples(st.integers(0, 5).map(float), st.booleans()), min_size=1, max_size=25)


def slow_auroc(scores: list[float], positives: list[bool]) -> float | None:
    """Compare each positive with each negative."""
    pairs = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high, there in zip(scores, positives, strict=True)
        if there
        for low, also in zip(scores, positives, strict=True)
        if not also
    ]
    return sum(pairs) / len(pairs) if pairs else None


def test_the_order_alone_counts() -> None:
    there = np.array([False, False, True, True])
    assert auroc([1, 2, 3, 4], there) == 1.0
    assert auroc([4, 3, 2, 1], there) == 0.0
    assert auroc([7, 7, 7, 7], there) == 0.5
    assert auroc(np.exp([1, 2, 3, 4]), there) == 1.0


@pytest.mark.parametrize("there", [[True, True], [False, False]])
def test_one_class_alone_is_not_estimable(there: list[bool]) -> None:
    assert auroc([0, 1], there) is operate([0, 1], there, 0.5) is youden([0, 1], there) is None


def test_no_image_at_all_is_not_estimable() -> None:
    assert auroc([], []) is None


@given(cases)
def test_auroc_is_its_definition(case: list[tuple[float, bool]]) -> None:
    scores, there = map(list, zip(*case, strict=True))
    assert auroc(scores, there) == pytest.approx(slow_auroc(scores, there))


def test_auroc_is_monais() -> None:
    import torch
    from monai.metrics.rocauc import compute_roc_auc

    draws = np.random.default_rng(5)
    scores, there = draws.integers(0, 40, 300).astype(float), draws.random(300) < 0.2
    assert auroc(scores, there) == pytest.approx(compute_roc_auc(torch.tensor(scores), torch.tensor(there)))


@given(cases)
def test_youdens_threshold_is_the_lowest_of_the_best(case: list[tuple[float, bool]]) -> None:
    scores, there = map(list, zip(*case, strict=True))
    found = youden(scores, there)
    if found is None:
        return
    tried = [operate(scores, there, threshold) for threshold in sorted(set(scores))]
    gains = [round(o.sensitivity + o.specificity, 9) for o in tried if o]
    assert found == tried[gains.index(max(gains))]


@pytest.mark.parametrize(
    ("scores", "there"),
    [([0.0, np.nan], [True, False]), ([0.0], [True, False]), ([0.0, 1.0], [0, 1]), ([[0.0]], [[True]])],
)
def test_what_does_not_fit_is_refused(scores: list[float], there: list[bool]) -> None:
    with pytest.raises(OptionError):
        auroc(scores, there)


def slow_average_precision(scores: list[float], positives: list[bool]) -> float | None:
    """From the highest threshold down: the gain in recall times the precision there."""
    there = sum(positives)
    if there in (0, len(positives)):
        return None
    area = recall = 0.0
    for threshold in sorted(set(scores), reverse=True):
        called = [also for score, also in zip(scores, positives, strict=True) if score >= threshold]
        area += (sum(called) / there - recall) * sum(called) / len(called)
        recall = sum(called) / there
    return area


@given(cases)
def test_average_precision_is_its_definition_and_scikit_learns(case: list[tuple[float, bool]]) -> None:
    from sklearn.metrics import average_precision_score

    scores, there = map(list, zip(*case, strict=True))
    found = average_precision(scores, there)
    assert found == pytest.approx(slow_average_precision(scores, there), abs=1e-12)
    if found is not None:
        assert found == pytest.approx(average_precision_score(there, scores), abs=1e-12)


def test_average_precision_of_known_orders() -> None:
    there = [False, False, True, True]
    assert average_precision([1, 2, 3, 4], there) == 1.0
    assert average_precision([7, 7, 7, 7], there) == 0.5  # all equal: the prevalence
    assert average_precision([4, 3, 2, 1], there) == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert average_precision([1, 2], [True, True]) is average_precision([1, 2], [False, False]) is None


@given(cases, st.lists(st.integers(0, 3), min_size=3, max_size=3))
def test_weighing_groups_is_repeating_their_cases(case: list[tuple[float, bool]], drawn: list[int]) -> None:
    scores, there = (np.array(column) for column in zip(*case, strict=True))
    group = np.arange(len(scores)) % 3
    weighed = GroupedScores.of(scores, there, group, 3).weighed(np.array(drawn, float)[:, None])
    index = np.repeat(np.arange(len(scores)), np.array(drawn)[group])
    for ours, slow in ((weighed.auroc(), slow_auroc), (weighed.average_precision(), slow_average_precision)):
        expected = slow(scores[index].tolist(), there[index].tolist())
        assert ours.item() == pytest.approx(np.nan if expected is None else expected, nan_ok=True)
