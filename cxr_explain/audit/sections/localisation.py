"""Where class maps point, against reference boxes and masks, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxr_explain.audit.sections.tables import EstimateTable, Section, row_of

IN_LOCALISATION = ("peak_hit", "random_hit", "centre_hit", "energy", "iobb_0.1", "iobb_0.5")


def section(statistics: Mapping[str, Any]) -> Section:
    """The section of the report.

    Args:
        statistics: the statistics of the audit, as `statistics.json` has them.
    """
    title = "Class maps against the reference standard"
    rows = [
        row_of(found, ["pathology"], ["images", "patients"], IN_LOCALISATION)
        for found in statistics["localisation"]
    ]
    heads = ("Pathology", "Images", "Patients")
    table = EstimateTable(title, heads, IN_LOCALISATION, rows, plotted=False)
    basis = (
        "Of each pathology's own class map, where the reference standard has a box or a mask. A random point "
        "and the image's centre stand beside the peak: a map must beat them."
    )
    return Section("localisation", title, [basis], [table])
