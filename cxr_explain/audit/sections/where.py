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

QUANTILES = {"0.05": "5 %", "0.5": "Median", "0.95": "95 %"}
"""Of the shares, and the heads of their columns."""

IN_WHERE = ("mean", "uniform", "above_uniform")


def section(statistics: Mapping[str, Any]) -> Section:
    """The section of the report.

    Args:
        statistics: the statistics of the audit, as `statistics.json` has them.
    """
    title = "Where the model looks"
    heads = ("Saliency", "Images", "Patients", NOT_ESTIMABLE.capitalize(), *QUANTILES.values(), "Flagged")
    rows = [_row(found) for found in statistics["where"]]
    flagged_from = next((found["flagged_from"] for found in statistics["where"]), 0.25)
    basis = (
        "Share of each image's fused saliency, from an estimate of the anatomy. An even map is the same "
        "everywhere in what the model saw: its share is how large the region is there. An image is flagged "
        f"where its share is above an even map's by {flagged_from:.0%} or more of what an even map has "
        "elsewhere, so that an even map is never flagged. A flag is a question to look at, not a verdict."
    ).replace("%", " %")
    return Section("where", title, [basis], [EstimateTable(title, heads, IN_WHERE, rows)])


def _row(found: Mapping[str, Any]) -> TableRow:
    counts = (f"{found[key]:,}" for key in ("images", "patients", "missing"))
    return TableRow(
        (
            REGION_WORDS.get(found["share"], found["share"]),
            *counts,
            *(_share(found["quantiles"][level]) for level in QUANTILES),
            f"{found['flagged']:,}",
        ),
        tuple(ShownEstimate.of(found[key]) for key in ("estimate", *IN_WHERE[1:])),
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
