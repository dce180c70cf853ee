"""Probabilities that are too high or too low in this set as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from cxr_explain.audit.findings.finding import AuditFinding
from cxr_explain.audit.findings.pathologies import patient_counts
from cxr_explain.figures.lettering import display_name


def rule(document: Mapping[str, Any]) -> Iterator[AuditFinding]:
    """Compare the mean probability of each pathology with its share of positives.

    Args:
        document: the statistics of the audit.
    """
    for entry in document["pathologies"]:
        name = entry["pathology"]
        found = document["compared"]["pathologies"][name].get("calibration")
        if found is None:
            continue
        too_high = found["value"] > 1
        times = found["value"] if too_high else 1 / found["value"]
        yield AuditFinding(
            "calibration",
            f"{display_name(name)}: the mean probability is {found['mean']:.3f}, the share of positives "
            f"{found['share']:.3f}: {times:.1f} times too {'high' if too_high else 'low'}.",
            {"of": "ratio"} | {key: found[key] for key in ("value", "low", "high")},
            patient_counts(entry),
            size=abs(math.log(found["value"])),
            p=found["p"],
            cases={"subject": name},
        )
