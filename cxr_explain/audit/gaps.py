"""Gaps: what the model does otherwise in one part of the data set than in the rest, or in another part.

What is compared: how well the model tells images with a pathology from those without (AUROC), how many of
either it calls rightly at its operating point, and of how many images with a finding it misses any. A patient
may be in both parts, by view for example: both are computed again without each patient, or each block of
patients, and so is their difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.gap_ranges import GapRanges
from cxr_explain.audit.group_measures import (
    GAP_MEASURES,
    MISSED,
    Audited,
    GroupMeasures,
    MeanOverPathologies,
    PathologyByGroup,
)
from cxr_explain.audit.groups import GroupPair, pairs_of
from cxr_explain.measures.statistics.intervals import IndependentCases
from cxr_explain.measures.statistics.two_parts import ShareDifferences, correlation_of
from cxr_explain.options import LabelPolicyLike

_KEYS = ("value", "low", "high", "p", "here", "there")


def gaps_of(
    cases: Cases,
    *,
    policy: LabelPolicyLike,
    level: float = 0.95,
    references: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """All gaps of an audit, as the statistics' document has them.

    An estimate is {"value", "low", "high", "p", "here", "there"}: the difference, its interval, its two-sided
    p, and what it is a difference of.

    Args:
        cases: images of the audit with their probabilities and reference labels.
        policy: what reference labels count as.
        level: confidence level of the intervals, between 0 and 1.
        references: by column, the value that the column's other values are compared with, besides the rest.

    Returns:
        "gaps", an entry for each comparison and pathology, and one for all pathologies, whose "pathology" is
        None: the mean over pathologies, and the share of images with any finding missed; "gap_ranges", an
        entry for each column and pathology; "gaps_left_out", what was left out, by reason.

    Raises:
        OptionError: a reference that no image has.

    >>> cases = Cases(
    ...     ids=tuple(map(str, range(80))), patients=np.arange(80), pathologies=("Mass",),
    ...     operating_points=(0.5,), probabilities=np.tile([[0.1], [0.4], [0.6], [0.9]], (20, 1)),
    ...     labels=("Mass",), states=np.repeat([[0], [1]], 40, axis=0).astype(np.int8),
    ...     columns={"ward": tuple("AAAB" * 20)},
    ... )
    >>> mass, _ = gaps_of(cases, policy="ignore")["gaps"]
    >>> mass["value"], mass["against"], round(mass["estimates"]["sensitivity"]["value"], 3)
    ('B', 'A', 0.667)
    """
    chosen = pairs_of(cases, references or {})
    audited, compared, ranges = Audited(cases), _GapsToFind(), GapRanges()
    means = [MeanOverPathologies(audited.blocks) for _ in chosen.pairs]
    for name in cases.pathologies:
        pathology = PathologyByGroup(audited, name, policy)
        for pair, mean in zip(chosen.pairs, means, strict=True):
            both = pathology[pair.group], pathology[pair.others]
            compared.add(pair, name, both, GAP_MEASURES)
            mean.add(*both)
            ranges.add(pair, name, *(each.shares for each in both))
    for pair, mean in zip(chosen.pairs, means, strict=True):
        missed = audited.missed(pair.group), audited.missed(pair.others)
        one, other = (each.beside(its) for each, its in zip(mean.means(), missed, strict=True))
        compared.add(pair, None, (one, other), (*GAP_MEASURES, MISSED))
    return {
        "gaps": list(compared.entries(level)),
        "gap_ranges": list(ranges.entries()),
        "gaps_left_out": {
            "few": list(compared.few.values()),
            "groups": chosen.groups_left_out,
            "intersections": chosen.intersections_left_out,
        },
    }


class _GapsToFind:
    """Comparisons, gathered so that all intervals are found at one go."""

    def __init__(self) -> None:
        self.few: dict[GroupPair, dict[str, Any]] = {}
        self._heads: list[dict[str, Any]] = []
        self._shares: tuple[list[IndependentCases], list[IndependentCases]] = ([], [])
        self._related: list[NDArray[np.float64]] = []
        self._names: list[Sequence[str]] = []

    def add(
        self,
        pair: GroupPair,
        pathology: str | None,
        both: tuple[GroupMeasures, GroupMeasures],
        names: Sequence[str],
    ) -> None:
        """Keep a comparison with a measure that is estimable in both groups."""
        group, others = both
        if np.isnan(group.left.value - others.left.value).all():
            if pathology is not None and group.counts["images"] and others.counts["images"]:
                self.few.setdefault(pair, {**pair.head, "pathologies": []})["pathologies"].append(pathology)
            return
        head = {**pair.head, "pathology": pathology, **group.counts, "others": dict(others.counts)}
        self._heads.append(head)
        for shares, each in zip(self._shares, both, strict=True):
            shares.append(each.shares)
        self._related.append(correlation_of(group.left, others.left))
        self._names.append(names)

    def entries(self, level: float) -> Iterator[dict[str, Any]]:
        """The document's entries."""
        if not self._heads:
            return
        one, other = map(IndependentCases.together, self._shares)
        found = ShareDifferences(one, other, np.concatenate(self._related))
        columns = found.value, *found.interval(level), found.p(), one.value, other.value
        rows = iter(np.stack(columns, axis=1).tolist())
        for head, names in zip(self._heads, self._names, strict=True):
            cells = {name: next(rows) for name in names}
            yield head | {"estimates": {name: _estimate(numbers) for name, numbers in cells.items()}}


def _estimate(numbers: Sequence[float]) -> dict[str, float | None]:
    """A difference as the document has it; without a difference, nothing."""
    known = not math.isnan(numbers[0])
    return {
        key: number if known and not math.isnan(number) else None
        for key, number in zip(_KEYS, numbers, strict=True)
    }
