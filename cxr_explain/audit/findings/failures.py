"""Images that could not be explained, and whether that leaves out a kind of patient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cxr_explain.audit.findings.finding import AuditFinding
from cxr_explain.measures.statistics.intervals import wilson

FAILED_BAR = 0.01
"""The share of failed images from which it is told; no test."""


def rule(document: Mapping[str, Any]) -> Iterator[AuditFinding]:
    """The share of failed images, and each subgroup against the others.

    Args:
        document: the statistics of the audit.
    """
    failed = document["failures"]
    images = document["images"] + failed
    if failed and failed >= FAILED_BAR * images:
        share = failed / images
        yield AuditFinding(
            "failures",
            f"{failed:,} of {images:,} images ({100 * share:.1f} %) could not be explained.",
            _share_of(failed, images, document["level"]),
            {"images": images},
            size=share,
            cases={"queue": "failures"},
        )
    for found in document["compared"]["failures"]:
        counts = [found[key] for key in ("failed", "patients", "failed_elsewhere", "elsewhere")]
        failed_here, patients, failed_there, others = counts
        yield AuditFinding(
            "failures",
            f"Failures leave out {found['column']} “{found['value']}”: {failed_here:,} of {patients:,} "
            f"patients, {failed_there:,} of {others:,} others.",
            _share_of(failed_here, patients, document["level"]),
            {"patients": patients, "other patients": others},
            size=failed_here / patients - failed_there / others,
            p=found["p"],
            cases={"queue": "failures", found["column"]: found["value"]},
        )


def _share_of(failed: int, number: int, level: float) -> dict[str, Any]:
    low, high = wilson(failed / number, number, level=level)
    return {"of": "share failed", "value": failed / number, "low": low, "high": high}
