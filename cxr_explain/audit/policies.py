"""What the statistics would be if uncertain reference labels counted as something else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.measures import Measure, Scored
from cxr_explain.options import Uncertain
from cxr_explain.reference.states import UNCERTAIN

POLICY_MEASURES: tuple[Measure, ...] = ("auroc", "auprc", "sensitivity", "specificity")

POLICIES: tuple[Uncertain, ...] = get_args(Uncertain)


def policy_cases(cases: Cases) -> Iterator[tuple[dict[str, Any], Scored]]:
    """Each pathology that has an uncertain reference label, under each policy.

    Args:
        cases: images of the audit with their probabilities and reference labels.

    Yields:
        What the statistics' document says beside the estimates, and the images that count.
    """
    for pathology in cases.pathologies:
        if (cases.states_of(pathology) == UNCERTAIN).any():
            for policy in POLICIES:
                scored = Scored.of(cases, pathology, policy=policy)
                yield {"pathology": pathology, "policy": policy, **scored.counts}, scored
