"""What only a fused map can be asked: entropy, kept evidence, saliency outside; ties, K = 1, nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy, spearmanr

from cxr_explain.cam.fusion import fuse
from cxr_explain.errors import OptionError
from cxr_explain.measures.fused import (
    KeptEvidence,
    kept_evidence,
    saliency_outside,
    winner_entropy,
    winner_shares,
)

blocks = st.integers(1, 4).flatmap(
    lambda k: arrays(np.float64, (k, 3, 4), elements=st.integers(-2, 3).map(float))
)


def slow_shares(maps: np.ndarray, weight: str) -> list[float] | None:
    """Visit cell by cell."""
    amounts = [0.0] * len(maps)
    for i, j in np.ndindex(maps.shape[1:]):
        values = [max(float(of_class[i, j]), 0.0) for of_class in maps]
        if weight == "saliency":
            amounts = [amount + value for amount, value in zip(amounts, values, strict=True)]
        elif max(values) > 0:
            amounts[values.index(max(values))] += 1
    return [amount / sum(amounts) for amount in amounts] if sum(amounts) else None


def slow_ranks(values: list[float]) -> list[float]:
    """Count who is below, and half of who is equal."""
    return [sum(b < a for b in values) + sum(b == a for b in values) / 2 for a in values]


def slow_correlation(a: list[float], b: list[float]) -> float | None:
    mean_a, mean_b = math.fsum(a) / len(a), math.fsum(b) / len(b)
    together = math.fsum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    alone = math.fsum((x - mean_a) ** 2 for x in a) * math.fsum((y - mean_b) ** 2 for y in b)
    return together / math.sqrt(alone) if alone else None


def slow_kept(layer: np.ndarray, own: np.ndarray) -> KeptEvidence:
    a = [max(float(value), 0.0) for value in layer.flat]
    b = [max(float(value), 0.0) for value in own.flat]
    norms = math.sqrt(math.fsum(x * x for x in a)) * math.sqrt(math.fsum(y * y for y in b))
    product = math.fsum(x * y for x, y in zip(a, b, strict=True))
    kept = math.fsum(y for x, y in zip(a, b, strict=True) if x > 0)
    return KeptEvidence(
        product / norms if norms else None,
        slow_correlation(slow_ranks(a), slow_ranks(b)),
        kept / math.fsum(b) if any(b) else None,
    )


def same(found: KeptEvidence, expected: KeptEvidence) -> bool:
    pairs = zip(vars(found).values(), vars(expected).values(), strict=True)
    return all(a == pytest.approx(b, abs=1e-12) for a, b in pairs)


@given(blocks, st.sampled_from(["saliency", "cells"]))
def test_the_shares_and_their_entropy_are_their_definition(maps: np.ndarray, weight: str) -> None:
    expected = slow_shares(maps, weight)
    found = winner_shares(maps, weight=weight)  # type: ignore[arg-type]
    bits = winner_entropy(maps, weight=weight)  # type: ignore[arg-type]
    if expected is None:
        assert found is bits is None
        return
    assert found == pytest.approx(expected)
    if len(maps) < 2:
        assert bits is None
    else:
        assert bits == pytest.approx(entropy(expected, base=2), abs=1e-12)
        share = winner_entropy(maps, weight=weight, normalised=True)  # type: ignore[arg-type]
        assert share == pytest.approx(bits / math.log2(len(maps)))


@given(blocks, st.sampled_from(["joint", "per-class", "released"]))
def test_the_kept_evidence_is_its_definition(class_maps: np.ndarray, normalisation: str) -> None:
    fused = fuse(torch.from_numpy(class_maps)[None], normalisation=normalisation)  # type: ignore[arg-type]
    layers = fused.maps[0].numpy()
    for found, layer, own in zip(kept_evidence(layers, class_maps), layers, class_maps, strict=True):
        assert same(found, slow_kept(layer, own))


def test_the_rank_correlation_is_scipys() -> None:
    draws = np.random.default_rng(0)
    a, b = draws.integers(0, 4, (2, 1, 6, 6)).astype(float)
    assert kept_evidence(a, b)[0].spearman == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)


def test_the_entropy_of_one_of_even_and_of_lopsided_maps() -> None:
    alone = np.zeros((4, 2, 2))
    alone[2] = 1
    assert winner_entropy(alone) == winner_entropy(alone, weight="cells") == 0.0
    even = np.eye(4).reshape(4, 2, 2)
    assert winner_entropy(even) == pytest.approx(2)
    assert winner_entropy(even, normalised=True) == pytest.approx(1)
    lopsided = even * np.array([6, 1, 1, 0])[:, None, None]
    assert winner_entropy(lopsided) == pytest.approx(-0.75 * math.log2(0.75) + 0.25 * 3)
    assert winner_entropy(lopsided, weight="cells") == pytest.approx(math.log2(3))


def test_ties_belong_to_the_better_rank() -> None:
    tied = np.ones((2, 3, 3))
    assert winner_shares(tied, weight="cells").tolist() == [1.0, 0.0]
    assert winner_shares(tied).tolist() == [0.5, 0.5]


def test_one_class_none_and_no_evidence() -> None:
    one = np.ones((1, 2, 2))
    assert winner_shares(one).tolist() == [1.0]
    assert winner_entropy(one) is winner_entropy(-np.ones((3, 2, 2))) is None
    assert winner_shares(np.zeros((3, 2, 2))) is winner_shares(np.zeros((0, 2, 2))) is None
    assert winner_entropy(np.zeros((0, 2, 2))) is None
    assert kept_evidence(np.zeros((0, 2, 2)), np.zeros((0, 2, 2))) == ()
    assert saliency_outside(np.zeros((0, 2, 2)), [np.ones((2, 2), bool)]) is None


def test_classes_that_do_not_meet_survive_whole() -> None:
    class_maps = np.zeros((2, 3, 4))
    class_maps[0, :, :2] = [[1, 2], [3, 4], [5, 6]]
    class_maps[1, :, 2:] = [[6, 5], [4, 3], [2, 1]]
    for normalisation in ("joint", "per-class"):
        fused = fuse(torch.from_numpy(class_maps)[None], normalisation=normalisation)  # type: ignore[arg-type]
        for found in kept_evidence(fused.maps[0].numpy(), class_maps):
            assert same(found, KeptEvidence(1.0, 1.0, 1.0))


def test_a_class_that_wins_nowhere() -> None:
    class_maps = np.stack([np.full((2, 2), 2.0), np.array([[1.0, 0.5], [1.0, 1.0]]), -np.ones((2, 2))])
    fused = fuse(torch.from_numpy(class_maps)[None]).maps[0].numpy()
    strongest, loser, against = kept_evidence(fused, class_maps)
    assert same(strongest, KeptEvidence(1.0, None, 1.0))  # constant: no ranks
    assert loser == KeptEvidence(None, None, 0.0)
    assert against == KeptEvidence(None, None, None)


def test_saliency_outside_of_perfect_inverted_even_and_random_maps() -> None:
    masks = np.zeros((2, 10, 10), bool)
    masks[0, :5, :5] = masks[1, 3:6, :5] = True  # 30 of 100 pixels, some of them in both
    union = masks.any(axis=0)
    assert saliency_outside(masks.astype(float), list(masks)) == 0.0
    assert saliency_outside((~union)[None] * 1.0, list(masks)) == 1.0
    assert saliency_outside(np.ones((3, 10, 10)), list(masks)) == pytest.approx(0.7)
    random = np.random.default_rng(0).exponential(size=(200, 3, 10, 10))
    found = [saliency_outside(maps, list(masks)) for maps in random]
    assert np.mean(found) == pytest.approx(0.7, abs=0.01)
    shared = saliency_outside(np.where(union, 3.0, -5.0)[None], list(masks))
    assert shared == 0.0  # negatives are no saliency


def test_without_a_mask_or_without_saliency_nothing_is_outside() -> None:
    empty = np.zeros((4, 4), bool)
    assert saliency_outside(np.ones((2, 4, 4)), []) is None
    assert saliency_outside(np.ones((2, 4, 4)), [empty]) is None
    assert saliency_outside(np.zeros((2, 4, 4)), [~empty]) is None


def test_huge_values_do_not_overflow() -> None:
    huge = np.full((2, 3, 3), 1e308)
    assert winner_entropy(huge) == pytest.approx(1)
    assert kept_evidence(huge, huge)[0].cosine == pytest.approx(1)
    assert saliency_outside(huge, [np.eye(3, dtype=bool)]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: winner_shares(np.zeros((2, 2))),
        lambda: winner_shares(np.full((1, 2, 2), np.nan)),
        lambda: winner_entropy(np.ones((2, 2, 2)), weight="area"),  # type: ignore[arg-type]
        lambda: kept_evidence(np.ones((2, 2, 2)), np.ones((3, 2, 2))),
        lambda: kept_evidence(np.ones((2, 2, 3)), np.ones((2, 2, 2))),
        lambda: saliency_outside(np.ones((2, 2, 2)), [np.ones((3, 2), bool)]),
        lambda: saliency_outside(np.ones((2, 2, 2)), [np.ones((2, 2))]),
    ],
)
def test_what_does_not_fit_is_refused(call: object) -> None:
    with pytest.raises(OptionError):
        call()  # type: ignore[operator]
