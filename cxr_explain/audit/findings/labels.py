"""Patients whose reference labels contradict the model far more than those of others do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cxr_explain.audit.findings.finding import AuditFinding


def rule(document: Mapping[str, Any]) -> Iterator[AuditFinding]:
    """The patients who are most contradicted; their p are adjusted for all patients already.

    Args:
        document: the statistics of the audit.
    """
    for found in document["compared"]["labels"]["found"]:
        images, labels = found["images"], found["labels"]
        yield AuditFinding(
            "labels",
            f"Are the labels of one patient swapped? {found['opposed']:,} of {labels:,} oppose the model, "
            f"{100 * found['usual']:.0f} % in other patients.",
            {"of": "share opposed", "value": found["opposed"] / labels, "low": None, "high": None},
            {"images": len(images), "labels": labels},
            size=found["evidence"],
            p=found["p"],
            adjusted=True,
            cases={"patient": images[0]},
            images=images,
        )
