"""Operating points that do not suit the set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cxr_explain.audit.findings.finding import AuditFinding
from cxr_explain.audit.findings.pathologies import patient_counts
from cxr_explain.figures.lettering import display_name
from cxr_explain.figures.texts import format_probability


def rule(document: Mapping[str, Any]) -> Iterator[AuditFinding]:
    """Compare each operating point with a fitted one, and its sensitivity and specificity with their bar.

    Args:
        document: the statistics of the audit.
    """
    for entry in document["pathologies"]:
        found = document["compared"]["pathologies"][entry["pathology"]].get("operating_point")
        if found is None:
            continue
        rates = {name: entry["estimates"][name] for name in ("sensitivity", "specificity")}
        lower = min(rates, key=lambda name: rates[name]["value"])
        sensitivity, specificity = (each["value"] for each in rates.values())
        in_vain, missed = ({"side": side, "agreement": "disagrees"} for side in ("above", "below"))
        yield AuditFinding(
            "operating point",
            f"{display_name(entry['pathology'])}: at its operating point "
            f"{format_probability(entry['operating_point'])}, "
            f"sensitivity {sensitivity:.3f} and specificity {specificity:.3f}; a fitted one reaches "
            f"{found['sensitivity']:.3f} and {found['specificity']:.3f}.",
            {"of": lower} | rates[lower],
            patient_counts(entry),
            size=found["reached"] - (sensitivity + specificity - 1),
            p=found["p"],
            cases={"subject": entry["pathology"], **(missed if lower == "sensitivity" else in_vain)},
        )
