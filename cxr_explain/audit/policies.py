"""What the statistics would be if uncertain reference labels counted as something else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.measures import Measure, Scored
from cxr_explain.options import Uncertain
from cxr_explain.reference.states import UNCERTAIN

POLICY_MEASURES: tuple[Measure, ...] = ("auroc", "auprc", "sensitivity", "specificity")

POLICIES: tuple[Uncertain, ...] = get_args(Uncertain)


@dataclass(frozen=True, eq=False)
class PolicyCase:
    """One pathology under one policy.

    Args:
        policy: what an uncertain reference label counts as.
        scored: the images that count.
    """

    policy: Uncertain
    scored: Scored

    @property
    def head(self) -> dict[str, Any]:
        """What the statistics' document says of it, without its estimates."""
        counts = self.scored.counts
        return {
            "pathology": self.scored.pathology,
            "policy": self.policy,
            "positive": counts["positive"],
            "negative": counts["negative"],
        }


def policy_cases(cases: Cases) -> Iterator[PolicyCase]:
    """Each pathology that has an uncertain reference label, under each policy.

    Args:
        cases: images of the audit with their probabilities and reference labels.
    """
    for pathology in cases.pathologies:
        if (cases.states_of(pathology) == UNCERTAIN).any():
            for policy in POLICIES:
                yield PolicyCase(policy, Scored.of(cases, pathology, policy=policy))
