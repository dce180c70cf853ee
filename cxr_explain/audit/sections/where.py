"""Where the saliency lies, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxr_explain.audit.sections.tables import NOT_ESTIMABLE, EstimateTable, Section, ShownEstimate, TableRow

REGION_WORDS = {
    "outside_thorax": "outside the thorax",
    "outside_lungs": "outside the lungs",
    "border": "on the image's border",
    "markers": "on markers or text",
}
"""Keys of a share of the saliency, in words."""

QUANTILES = {"0.05": "5 %", "0.25": "25 %", "0.5": "Median", "0.75": "75 %", "0.95": "95 %"}


def section(statistics: Mapping[str, Any]) -> Section:
    """The section of the report.

    Args:
        statistics: the statistics of the audit, as `statistics.json` has them.
    """
    title = "Where the model looks"
    heads = ("Saliency", "Images", NOT_ESTIMABLE.capitalize(), *QUANTILES.values(), "Flagged")
    rows = [
        TableRow(
            (
                REGION_WORDS.get(found["share"], found["share"]),
                f"{found['images']:,}",
                f"{found['missing']:,}",
                *(_share(found["quantiles"][level]) for level in QUANTILES),
                f"{found['flagged']:,} (≥ {found['threshold']:g})",
            ),
            (ShownEstimate.of(found["estimate"]),),
        )
        for found in statistics["where"]
    ]
    basis = (
        "Share of each image's fused saliency, from an estimate of the anatomy. A flag is a question to look "
        "at, not a verdict."
    )
    return Section("where", title, [basis], [EstimateTable(title, heads, ["mean"], rows)])


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
