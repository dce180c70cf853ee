"""Findings on regions: the saliency lies outside of the thorax, in the border, over markers, above chance.

The rule: the mean share of the saliency is above an even map's in the same images by more than
`audit.where.LEAST_DIFFERENCE`, by Student's t on the paired differences, with the jackknife's standard error
over patients.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cxr_explain.audit.findings.finding import AuditFinding

_QUEUES = {"outside_thorax": "outside", "border": "edges", "markers": "edges"}
_ASKED = {
    "outside_thorax": "outside the thorax",
    "border": "on the image's border",
    "markers": "on markers or text",
}


def rule(document: Mapping[str, Any]) -> Iterator[AuditFinding]:
    """One for each region that is no anatomy, with the p of the comparison with an even map.

    What lies outside of the lungs is no comparison: heart and mediastinum are there.

    Args:
        document: the statistics of the audit.
    """
    for found in document["where"]:
        words, mean, even = _ASKED.get(found["share"]), found["estimate"], found["uniform"]
        if words is None or found["p"] is None or mean["value"] is None or even["value"] is None:
            continue
        above = found["above_uniform"]
        yield AuditFinding(
            kind="region",
            text=(
                f"The saliency lies {words} more than an even map's would: a share of {mean['value']:.3f}, "
                f"against {even['value']:.3f} in the same images; {found['flagged']:,} of "
                f"{found['images']:,} images are flagged."
            ),
            estimate={key: above[key] for key in ("value", "low", "high")},
            counts={"images": found["images"], "patients": found["patients"]},
            size=above["value"],
            p=found["p"],
            cases={"queue": _QUEUES[found["share"]]},
        )
