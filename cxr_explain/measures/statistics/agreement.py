"""How far readers agree on categories, beyond what chance would give.

Each function gives a statistic of how often each group, such as a patient, counts: for a jackknife or a
bootstrap that keeps a group's cases together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxr_explain.measures.statistics.bootstrap import (
    Multiplicities,
    WeightedStatistics,
    ratio,
    summed,
    weighed_sums,
)

MISSING = -1
"""The category of a case that a reader did not read."""


def same_category(
    first: NDArray[np.intp], second: NDArray[np.intp], member: NDArray[np.intp], groups: int
) -> WeightedStatistics:
    """The share of cases that two readers put in the same category.

    Args:
        first: (n,) categories by one reader, from 0.
        second: (n,) by another.
        member: (n,) the group of each case, from 0.
        groups: number of groups.

    Returns:
        A function from (groups, b) to (1, b); NaN without cases.

    >>> share = same_category(np.array([0, 1]), np.array([0, 0]), np.array([0, 1]), 2)
    >>> share(np.ones((2, 1))).tolist()
    [[0.5]]
    """
    rows = np.zeros(len(member), np.intp)
    equal = summed(rows, member, (1, groups), (first == second).astype(np.float64))
    every = summed(rows, member, (1, groups))
    return lambda drawn: ratio(weighed_sums(equal, drawn), weighed_sums(every, drawn))


def cohen_kappa(
    first: NDArray[np.intp], second: NDArray[np.intp], member: NDArray[np.intp], groups: int
) -> WeightedStatistics:
    """Cohen's kappa of two readers: (p_o - p_e) / (1 - p_e), of observed and expected agreement.

    Args:
        first: (n,) categories by one reader, from 0.
        second: (n,) by another.
        member: (n,) the group of each case, from 0.
        groups: number of groups.

    Returns:
        A function from (groups, b) to (1, b); NaN where both readers use one category alone.

    Source:
        Cohen, Educational and Psychological Measurement 20 (1960) 37.

    >>> kappa = cohen_kappa(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.arange(4), 4)
    >>> kappa(np.ones((4, 1))).tolist()
    [[0.5]]
    """
    size = 1 + int(max(first.max(initial=0), second.max(initial=0)))
    table = summed(first * size + second, member, (size * size, groups))

    def statistic(drawn: Multiplicities) -> NDArray[np.float64]:
        counts = weighed_sums(table, drawn).reshape(size, size, -1)
        n = counts.sum(axis=(0, 1))
        expected = (counts.sum(axis=0) * counts.sum(axis=1)).sum(axis=0)
        same = np.trace(counts)
        return ratio((n * same - expected)[None], (n * n - expected)[None])

    return statistic


def krippendorff_alpha(
    categories: NDArray[np.intp], member: NDArray[np.intp], groups: int
) -> WeightedStatistics:
    """Krippendorff's alpha of two or more readers, for categories without an order: 1 - D_o / D_e.

    Cases that fewer than two readers read say nothing about agreement, and do not count.

    Args:
        categories: (n, R) by each of R readers, from 0; `MISSING` where one did not read the case.
        member: (n,) the group of each case, from 0.
        groups: number of groups.

    Returns:
        A function from (groups, b) to (1, b); NaN where all readers use one category alone.

    Source:
        Hayes and Krippendorff, Communication Methods and Measures 1 (2007) 77, with the nominal metric.

    >>> two = np.array([[0, 0], [0, 1], [1, 1], [1, MISSING]])
    >>> krippendorff_alpha(two, np.arange(4), 4)(np.ones((4, 1))).round(3).tolist()
    [[0.444]]
    """
    counts = (categories[..., None] == np.arange(1 + int(categories.max(initial=0)))).sum(axis=1)
    read = counts.sum(axis=1)
    counts, read, member = counts[read > 1], read[read > 1], member[read > 1]
    differing = (read**2 - (counts**2).sum(axis=1)) / np.maximum(read - 1, 1)
    case, category = np.nonzero(counts)
    of_category = summed(
        category, member[case], (counts.shape[1], groups), counts[case, category].astype(np.float64)
    )
    differences = summed(np.zeros(len(member), np.intp), member, (1, groups), differing)

    def statistic(drawn: Multiplicities) -> NDArray[np.float64]:
        values = weighed_sums(of_category, drawn)
        n = values.sum(axis=0, keepdims=True)
        pairs = n**2 - (values**2).sum(axis=0, keepdims=True)
        return 1 - ratio((n - 1) * weighed_sums(differences, drawn), pairs)

    return statistic
