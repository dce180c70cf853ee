"""What the statistics would be if reference labels counted as something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from cxr_explain.audit.cases import Cases, counting_as
from cxr_explain.audit.measures import Measure, Scored
from cxr_explain.options import LabelPolicy, LabelsAs, Uncertain

POLICY_MEASURES: tuple[Measure, ...] = ("auroc", "auprc", "sensitivity", "specificity")

_AS_TRIED: tuple[LabelsAs, ...] = ("strict", "chexpert")

POLICIES: tuple[LabelPolicy, ...] = (
    *(LabelPolicy.of(name).but(uncertain=each) for name in _AS_TRIED for each in get_args(Uncertain)),
    LabelPolicy.of("xrv"),
)
"""Strict and CheXpert's with uncertain labels left out, as negatives and as positives; TorchXRayVision's."""


def policy_cases(cases: Cases, chosen: LabelPolicy) -> Iterator[tuple[dict[str, Any], Scored]]:
    """Each pathology whose reference labels count differently under different policies, under each of these.

    Policies that count every image alike stand in one entry.

    Args:
        cases: images of the audit with their probabilities and reference labels.
        chosen: the policy of the other statistics.

    Yields:
        What the statistics' document says beside the estimates, and the images that count.
    """
    for pathology in cases.pathologies:
        states, absent = cases.states_of(pathology), cases.absent(pathology)
        alike: dict[bytes, list[LabelPolicy]] = {}
        for policy in dict.fromkeys((*POLICIES, chosen)):
            alike.setdefault(counting_as(states, policy, absent).tobytes(), []).append(policy)
        for policies in alike.values() if len(alike) > 1 else ():
            scored = Scored.of(cases, pathology, policy=policies[0])
            head: dict[str, Any] = {"pathology": pathology, "policies": [policy.name for policy in policies]}
            head |= {"chosen": chosen in policies, **scored.counts, "changed": dict(scored.changed)}
            yield head, scored
