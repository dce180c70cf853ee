"""What is measured of a group of images for its gaps, and what it becomes without each block of patients."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.groups import Group
from cxr_explain.audit.measures import Scored
from cxr_explain.measures.statistics.basis import LEAST_PATIENTS, Basis
from cxr_explain.measures.statistics.intervals import IndependentCases
from cxr_explain.measures.statistics.jackknife import LeftOut, blocks_of
from cxr_explain.measures.statistics.leaving_out import RankedScores, left_out_shares
from cxr_explain.options import LabelPolicyLike

GAP_MEASURES = ("auroc", "sensitivity", "specificity")
"""Of a pathology; the last two at its operating point."""

MISSED = "missed"
"""The share of images with any finding missed. An image counts if at least one pathology that has an
operating point is positive in it; a finding is missed if one of these lies below its operating point."""

_Mask = NDArray[np.bool_]

_NOBODY = Basis("patient", 0, 0.0, None, LEAST_PATIENTS)


@dataclass(frozen=True, eq=False)
class GroupMeasures:
    """M measures of one group of images.

    Args:
        counts: how many images and patients the group has, as the document says it.
        left: the measures, and without each block of patients; NaN where not estimable.
        bases: M, what each measure rests on.
    """

    counts: Mapping[str, int]
    left: LeftOut
    bases: tuple[Basis, ...]

    @classmethod
    def of(cls, counts: Mapping[str, int], measures: Sequence[LeftOut], bases: Sequence[Basis]) -> Self:
        """Put measures together; what rests on fewer than `LEAST_PATIENTS` becomes NaN.

        Args:
            counts: how many images and patients the group has.
            measures: M times one measure, and without each block.
            bases: M, what each measure rests on.
        """
        enough = np.array([each.patients >= LEAST_PATIENTS for each in bases])
        return cls(counts, _where(enough, _stacked(measures), math.nan), tuple(bases))

    @cached_property
    def shares(self) -> IndependentCases:
        """The measures, and how many independent cases would tell as much."""
        return IndependentCases.of(self.left, self.bases)

    def beside(self, other: GroupMeasures) -> GroupMeasures:
        """These measures, then others of the same group; the counts are those of the latter."""
        return GroupMeasures(other.counts, _stacked([self.left, other.left]), (*self.bases, *other.bases))


class Audited:
    """The images of an audit, and the block that each patient is left out with.

    Args:
        cases: images of the audit with their probabilities and reference labels.
    """

    def __init__(self, cases: Cases) -> None:
        self.cases = cases
        # With each image as a patient of its own, `Scored.patients` says which images count.
        self.by_image = replace(cases, patients=np.arange(len(cases)))
        self.block = blocks_of(cases.groups)[cases.patients]
        self.blocks = int(self.block.max(initial=-1)) + 1
        self._with_finding = np.zeros(len(cases), bool)
        self._with_missed = np.zeros(len(cases), bool)

    def images_of(self, images: _Mask | NDArray[np.intp]) -> NDArray[np.intp]:
        """(patients,): how many of some images each patient has."""
        return np.bincount(self.cases.patients[images], minlength=self.cases.groups)

    def add_findings(self, positive: NDArray[np.intp], below: NDArray[np.intp]) -> None:
        """Note images with a finding.

        Args:
            positive: images with a pathology that has an operating point.
            below: those of them that lie below it.
        """
        self._with_finding[positive] = True
        self._with_missed[below] = True

    def missed(self, group: Group) -> GroupMeasures:
        """The share of the group's images with a finding of which any is missed."""
        there = group.images & self._with_finding
        positive, negative = self.images_of(there), self.images_of(group.images & ~self._with_finding)
        share = left_out_shares(self._with_missed, there, self.block, self.blocks)
        basis = Basis.of(positive, "patient with a finding")
        return GroupMeasures.of(_counts(positive, negative), [share], [basis])


class PathologyByGroup:
    """The `GAP_MEASURES` of one pathology in any group; each group is measured once.

    Args:
        audited: images of the audit, which come to know in which of them the pathology is, and is missed.
        pathology: one that the model was trained for.
        policy: what reference labels count as.
    """

    def __init__(self, audited: Audited, pathology: str, policy: LabelPolicyLike) -> None:
        scored = Scored.of(audited.by_image, pathology, policy=policy)
        point, probabilities = scored.operating_point, scored.probabilities
        self._audited = audited
        self._at = scored.patients
        self._positive = scored.positive
        self._block = audited.block[self._at]
        self._ranked = RankedScores.of(probabilities, self._positive, self._block, audited.blocks)
        self._called = None if point is None else probabilities >= point
        self._measured: dict[Group, GroupMeasures] = {}
        if self._called is not None:
            below = self._at[self._positive & ~self._called]
            audited.add_findings(self._at[self._positive], below)

    def __getitem__(self, group: Group) -> GroupMeasures:
        if group not in self._measured:
            self._measured[group] = self._measure(group.images[self._at])
        return self._measured[group]

    def _measure(self, among: _Mask) -> GroupMeasures:
        there, without = among & self._positive, among & ~self._positive
        positive, negative = (self._audited.images_of(self._at[each]) for each in (there, without))
        kinds = (positive, "positive patient"), (negative, "negative patient")
        rarer = min((Basis.of(*kind, of_hits=False) for kind in kinds), key=lambda basis: basis.patients)
        bases = rarer, *(Basis.of(*kind) for kind in kinds)
        nothing = LeftOut(np.full(1, np.nan), np.full((1, self._audited.blocks), np.nan))
        area = self._ranked.auroc(among) if rarer.patients >= LEAST_PATIENTS else nothing
        rates = [nothing, nothing]
        if self._called is not None:
            blocks = self._block, self._audited.blocks
            rates = [
                left_out_shares(self._called, there, *blocks),
                left_out_shares(~self._called, without, *blocks),
            ]
        return GroupMeasures.of(_counts(positive, negative), [area, *rates], bases)


class MeanOverPathologies:
    """The `GAP_MEASURES` of two groups, averaged over the pathologies in which both are estimable.

    Args:
        blocks: number of blocks that are left out.
    """

    def __init__(self, blocks: int) -> None:
        M = len(GAP_MEASURES)
        self._count = np.zeros(M)
        self._sums = [LeftOut(np.zeros(M), np.zeros((M, blocks))) for _ in range(2)]
        self._bases: list[list[Basis]] = [[_NOBODY] * M for _ in range(2)]

    def add(self, *pair: GroupMeasures) -> None:
        """Count in one pathology.

        Args:
            pair: what was measured of it in the one group, and in the other.
        """
        known = ~np.isnan(pair[0].left.value - pair[1].left.value)
        self._count += known
        for sums, bases, each in zip(self._sums, self._bases, pair, strict=True):
            now = _where(known, each.left, 0.0)
            sums.value[:] += now.value
            sums.without[:] += now.without
            for at in np.flatnonzero(known).tolist():
                fewer = bases[at] is not _NOBODY and bases[at].effective < each.bases[at].effective
                bases[at] = bases[at] if fewer else replace(each.bases[at], images=None)

    def means(self) -> list[GroupMeasures]:
        """Of the one group and of the other, without their counts; NaN with fewer than two pathologies.

        A mean rests on the patients of the pathology that has the fewest.
        """
        count = np.where(self._count > 1, self._count, np.nan)
        return [
            GroupMeasures({}, LeftOut(sums.value / count, sums.without / count[:, None]), tuple(bases))
            for sums, bases in zip(self._sums, self._bases, strict=True)
        ]


def _counts(positive: NDArray[np.intp], negative: NDArray[np.intp]) -> dict[str, int]:
    """The document's counts, from the images of either kind that each patient has."""
    return {
        "images": int(positive.sum() + negative.sum()),
        "patients": int(np.count_nonzero(positive + negative)),
        "positive_patients": int(np.count_nonzero(positive)),
        "negative_patients": int(np.count_nonzero(negative)),
    }


def _where(kept: _Mask, found: LeftOut, otherwise: float) -> LeftOut:
    return LeftOut(np.where(kept, found.value, otherwise), np.where(kept[:, None], found.without, otherwise))


def _stacked(found: Sequence[LeftOut]) -> LeftOut:
    return LeftOut(
        np.concatenate([each.value for each in found]), np.concatenate([each.without for each in found])
    )
