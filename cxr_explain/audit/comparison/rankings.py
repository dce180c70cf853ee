"""How alike two models rank pathologies, image by image."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.audit.comparison.matching import MatchedRuns
from cxr_explain.audit.comparison.paired import means


def rankings_of(found: MatchedRuns, *, level: float) -> dict[str, Any]:
    """How often the first pathology is the same, how many of the first K, and the order of all.

    "first" is the share of images whose first pathology is the same; "overlap" the mean share of the first K
    that are the same, K being the shorter of the two rankings of an image; "tau" the mean of
    :func:`kendall_tau`.

    Args:
        found: the two audits.
        level: confidence level of the intervals.
    """
    ranked = [
        run.columns(["ranking"])["ranking"].take(at).to_pylist()
        for run, at in zip(found.runs, found.at, strict=True)
    ]
    values = np.array([_alike(*each) for each in zip(*ranked, strict=True)], np.float64).reshape(-1, 2)
    tau = kendall_tau(*found.probabilities)
    cells = means(np.column_stack([values, tau]), found.patients, found.groups, level=level)
    longest = min(max(map(len, each), default=0) for each in ranked)
    return {"k": longest, **dict(zip(("first", "overlap", "tau"), cells, strict=True))}


def _alike(a: Sequence[str], b: Sequence[str]) -> tuple[float, float]:
    """Whether the first is the same, and the share of the first K; NaN where nothing is ranked."""
    k = min(len(a), len(b))
    if not k:
        return np.nan, np.nan
    return float(a[0] == b[0]), len(set(a[:k]) & set(b[:k])) / k


def kendall_tau(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kendall's tau-b of the scores of each image: 1 for the same order, -1 for the opposite one.

    Args:
        a: (n, P), scores of P pathologies by one model.
        b: (n, P), scores by the other.

    Returns:
        (n,); NaN where P is below 2, or all scores of a model are equal.

    Source:
        Kendall, The Treatment of Ties in Ranking Problems, Biometrika 33 (1945) 239.

    >>> kendall_tau(np.array([[0.1, 0.2, 0.3]]), np.array([[0.1, 0.9, 0.8]])).round(3).tolist()
    [0.333]
    """
    both, in_a, in_b = np.zeros((3, len(a)))
    for i, j in combinations(range(a.shape[1]), 2):
        one, other = np.sign(a[:, i] - a[:, j]), np.sign(b[:, i] - b[:, j])
        both += one * other
        in_a += one**2
        in_b += other**2
    untied = np.sqrt(in_a * in_b)
    return np.where(untied > 0, both / np.where(untied > 0, untied, 1), np.nan)
