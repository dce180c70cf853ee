"""Uncertain labels counted as nothing, as negatives and as positives, side by side."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.statistics import statistics
from cxr_explain.options import Uncertain


def cases() -> Cases:
    rng = np.random.default_rng(0)
    n = 120
    uncertain = rng.choice([1, 0, -1, -2, -3], n).astype(np.int8)
    certain = rng.choice([1, 0, -2], n).astype(np.int8)
    return Cases(
        ids=tuple(map(str, range(n))),
        patients=np.arange(n),
        pathologies=("Mass", "Nodule"),
        probabilities=rng.random((n, 2)),
        operating_points=(0.5, 0.5),
        labels=("Mass", "Nodule"),
        states=np.column_stack([uncertain, certain]),
    )


def test_the_three_policies_of_a_pathology_with_an_uncertain_label() -> None:
    given = cases()
    found = statistics(given).document["policies"]
    assert [(each["pathology"], each["policy"]) for each in found] == [
        ("Mass", "ignore"), ("Mass", "zeros"), ("Mass", "ones"),
    ]  # fmt: skip
    states, chances = given.states_of("Mass"), given.probabilities[:, 0]
    for each, positive, kept in zip(
        found,
        (states == 1, states == 1, abs(states) == 1),
        (states >= 0, states >= -1, states >= -1),
        strict=True,
    ):
        assert each["positive"] == positive.sum()
        assert each["positive"] + each["negative"] == kept.sum()
        estimates = each["estimates"]
        assert estimates["auroc"]["value"] == pytest.approx(
            metrics.roc_auc_score(positive[kept], chances[kept])
        )
        assert estimates["sensitivity"]["value"] == pytest.approx((chances[positive] >= 0.5).mean())


@pytest.mark.parametrize("policy", ["ignore", "zeros", "ones"])
def test_the_chosen_policy_is_the_one_shown_beside_the_others(policy: Uncertain) -> None:
    document = statistics(cases(), policy=policy).document
    mass = document["pathologies"][0]
    beside = next(each for each in document["policies"] if each["policy"] == policy)
    assert document["policy"] == policy
    assert (mass["positive"], mass["negative"]) == (beside["positive"], beside["negative"])
    for name, estimate in beside["estimates"].items():
        assert mass["estimates"][name] == estimate  # without the same patients in turns
    assert (mass["excluded"]["uncertain"] > 0) == (policy == "ignore")
