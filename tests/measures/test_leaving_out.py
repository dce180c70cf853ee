"""Areas and shares of parts of a sample without each block, in one pass: against loops, and `leave_out`."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxr_explain.errors import OptionError
from cxr_explain.measures.statistics.discrimination import GroupedScores
from cxr_explain.measures.statistics.jackknife import blocks_of, leave_out
from cxr_explain.measures.statistics.leaving_out import RankedScores, left_out_shares

N, PATIENTS, BLOCKS = 400, 90, 30


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores with many ties, labels, patients and their blocks."""
    rng = np.random.default_rng(3)
    patients = rng.integers(0, PATIENTS, N)
    there = rng.random(N) < 0.3
    scores = np.round(rng.normal(size=N) + there, 1)
    return scores, there, patients, blocks_of(PATIENTS, most_blocks=BLOCKS)[patients]


@pytest.mark.parametrize("share", [1.0, 0.5, 0.1])
def test_the_area_of_a_part_is_scikit_learns_whichever_block_is_left_out(
    share: float, sample: tuple[np.ndarray, ...]
) -> None:
    scores, there, _, block = sample
    among = np.random.default_rng(1).random(N) < share
    found = RankedScores.of(scores, there, block, BLOCKS).auroc(among)
    assert found.value[0] == pytest.approx(roc_auc_score(there[among], scores[among]), abs=1e-12)
    for left in range(BLOCKS):
        kept = among & (block != left)
        expected = roc_auc_score(there[kept], scores[kept])
        assert found.without[0, left] == pytest.approx(expected, abs=1e-12)


def test_it_is_what_leave_out_gives(sample: tuple[np.ndarray, ...]) -> None:
    scores, there, patients, block = sample
    grouped = GroupedScores.of(scores, there, patients, PATIENTS)
    (slow,) = leave_out([lambda drawn: grouped.weighed(drawn).auroc()[None]], PATIENTS, most_blocks=BLOCKS)
    quick = RankedScores.of(scores, there, block, BLOCKS).auroc(np.ones(N, bool))
    assert np.abs(quick.value - slow.value).max() < 1e-14
    assert np.abs(quick.without - slow.without).max() < 1e-14


def test_shares_are_those_of_the_cases_that_are_left(sample: tuple[np.ndarray, ...]) -> None:
    scores, there, _, block = sample
    found = left_out_shares(scores > 0.5, there, block, BLOCKS)
    assert found.value[0] == (scores[there] > 0.5).mean()
    for left in range(BLOCKS):
        assert found.without[0, left] == pytest.approx((scores[there & (block != left)] > 0.5).mean())


def test_what_is_not_estimable_is_nan() -> None:
    block = np.array([0, 0, 1])
    ranked = RankedScores.of([0.1, 0.2, 0.3], [True, False, False], block, 3)
    whole = ranked.auroc(np.ones(3, bool))
    assert whole.value.tolist() == [0.0]
    assert np.isnan(whole.without).tolist() == [[True, False, False]]  # without block 0 no positive is left
    assert np.isnan(ranked.auroc(np.array([True, False, False])).value).all()
    assert np.isnan(ranked.auroc(np.zeros(3, bool)).without).all()
    nobody = left_out_shares(np.ones(3, bool), np.zeros(3, bool), block, 3)
    assert np.isnan(nobody.value).all()
    assert np.isnan(nobody.without).all()


def test_scores_that_are_not_finite_are_refused() -> None:
    with pytest.raises(OptionError, match="NaN or infinite"):
        RankedScores.of([np.nan], [True], np.zeros(1, np.intp), 1)


def test_blocks_are_those_of_leave_out() -> None:
    """A statistic that tells who is left out: each group's number, squared, so that sums are unique."""
    weights = 2.0 ** np.arange(10)
    (found,) = leave_out([lambda drawn: (weights @ drawn)[None]], 10, most_blocks=4, seed=2)
    block = blocks_of(10, most_blocks=4, seed=2)
    expected = [weights[block != left].sum() for left in range(4)]
    assert found.without[0].tolist() == expected
