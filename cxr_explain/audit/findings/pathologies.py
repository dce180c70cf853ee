"""Pathologies that the model does not tell from others: their AUROC lies below a bar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cxr_explain.audit.findings.finding import AuditFinding
from cxr_explain.figures.lettering import display_name

CHANCE = 0.5


def rule(document: Mapping[str, Any]) -> Iterator[AuditFinding]:
    """Compare the AUROC of each pathology with the bar.

    Args:
        document: the statistics of the audit.
    """
    for entry in document["pathologies"]:
        found = document["compared"]["pathologies"][entry["pathology"]]
        name = display_name(entry["pathology"])
        if "auroc" not in found:
            if entry["positive"] + entry["negative"]:
                yield AuditFinding(
                    "pathology", f"{name} ({_patients(entry)})", {}, {}, size=0.0, enough=False
                )
            continue
        area, bar = entry["estimates"]["auroc"], found["auroc"]["bar"]
        yield AuditFinding(
            "pathology",
            f"{name}: AUROC {area['value']:.3f}, below {bar:g}{_against_chance(area)}.",
            {"of": "AUROC"} | area,
            patient_counts(entry),
            size=bar - area["value"],
            p=found["auroc"]["p"],
            cases=disagreements(entry),
        )


def patient_counts(entry: Mapping[str, Any]) -> dict[str, int]:
    """What the comparisons of a pathology rest on."""
    return {f"{sign} patients": entry[f"{sign}_patients"] for sign in ("positive", "negative")}


def disagreements(entry: Mapping[str, Any]) -> dict[str, str]:
    """The list of a pathology's confident disagreements; all images where it has no operating point."""
    queue = {} if entry["operating_point"] is None else {"queue": "disagreements"}
    return {**queue, "subject": entry["pathology"]}


def _patients(entry: Mapping[str, Any]) -> str:
    return f"{entry['positive_patients']:,} patients with, {entry['negative_patients']:,} without"


def _against_chance(area: Mapping[str, Any]) -> str:
    if area["low"] is None or area["low"] > CHANCE:
        return ""
    if area["high"] < CHANCE:
        return " and worse than chance: images with it score lower than others"
    return ", not told from chance (0.5)"
