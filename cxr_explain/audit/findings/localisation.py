"""Class maps that point no better than a random point does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cxr_explain.audit.findings.finding import AuditFinding
from cxr_explain.figures.lettering import display_name


def rule(document: Mapping[str, Any]) -> Iterator[AuditFinding]:
    """Compare the peak of each pathology's map with a random point.

    Args:
        document: the statistics of the audit.
    """
    for entry in document["localisation"]:
        found = document["compared"]["localisation"][entry["pathology"]]
        name = display_name(entry["pathology"])
        if "p" not in found:
            few = f"{name} ({found['patients']:,} patients with an outline)"
            yield AuditFinding("localisation", few, {}, {}, size=0.0, enough=False)
            continue
        peak, chance = entry["estimates"]["peak_hit"], found["random"]
        said = "no better" if peak["value"] <= chance else "hardly better"
        yield AuditFinding(
            "localisation",
            f"{name}: the peak of its map lies inside the outline in {peak['value']:.3f} of the images, a "
            f"random point in {chance:.3f}: {said} than chance.",
            {"of": "peak inside"} | peak,
            {"outlined patients": found["patients"]},
            size=chance - peak["value"],
            p=found["p"],
            cases={"subject": entry["pathology"], "state": "positive"},
        )
