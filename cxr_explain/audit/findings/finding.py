"""A finding: one sentence with its number, its interval, what it rests on, and the cases to open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

FindingKind = Literal[
    "pathology", "subgroup", "operating point", "localisation", "place", "region", "calibration", "labels",
    "failures",
]  # fmt: skip
"""What a finding is about, in the order in which findings are told."""


@dataclass(frozen=True)
class AuditFinding:
    """What one comparison found, before it is adjusted for the number of comparisons.

    Args:
        kind: what it is about.
        text: the finding in one plain sentence, with its number; never a verdict.
        estimate: "value", "low" and "high" of the number, as the statistics have them; and "of", what it is
            of, where the sentence has several numbers.
        counts: what it rests on, such as {"positive patients": 12}.
        size: how far the number is from what it would be without the fault, for the order within a kind.
        p: probability of such a number by chance, before it is adjusted; None where the rule is no test, as
            for failures.
        adjusted: whether p is adjusted already for the number of comparisons of this kind.
        cases: the filter of the report's list that shows the cases, by the names of the controls, such as
            {"queue": "disagreements", "subject": "Mass"}.
        images: names of the images that it is about, where they are few; never a patient's.
        enough: whether there are enough cases to say anything; if not, the text is only what was not
            compared and why, such as "Hernia (3 positive patients)", and the finding is never shown as one.
    """

    kind: FindingKind
    text: str
    estimate: Mapping[str, Any]
    counts: Mapping[str, int]
    size: float
    p: float | None = None
    adjusted: bool = False
    cases: Mapping[str, str] = field(default_factory=dict)
    images: Sequence[str] = ()
    enough: bool = True
