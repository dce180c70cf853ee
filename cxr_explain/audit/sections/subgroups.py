"""How well they agree in parts of the data set, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxr_explain.audit.sections.tables import COUNTS, EstimateTable, Section, TableRow, row_of

IN_SUBGROUPS = ("auroc", "sensitivity", "specificity")


def section(statistics: Mapping[str, Any]) -> Section:
    """The section of the report.

    Args:
        statistics: the statistics of the audit, as `statistics.json` has them.
    """
    rows: dict[str, list[TableRow]] = {}
    for found in statistics["subgroups"]:
        row = row_of(found, ["pathology", "value"], list(COUNTS), IN_SUBGROUPS)
        rows.setdefault(str(found["column"]), []).append(row)
    tables = [
        EstimateTable(
            f"Subgroups by {column}",
            ("Pathology", column, *COUNTS.values()),
            IN_SUBGROUPS,
            sorted(each, key=lambda row: row.heads[0]),
            words=2,
        )
        for column, each in rows.items()
    ]
    basis = (
        "A difference between subgroups can come from the model, from the labels, or from who is in them. "
        f"Marked “few”: fewer than {statistics['small']} positive patients, or fewer than "
        f"{statistics['small']} negative ones; not to be relied on."
    )
    return Section("subgroups", "Subgroups", [basis], tables)
