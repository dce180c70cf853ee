"""What uncertain reference labels do to the statistics, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxr_explain.audit.sections.tables import BY_LABEL, EstimateTable, Section, row_of

IN_POLICIES = ("auroc", "auprc", "sensitivity", "specificity")


def section(statistics: Mapping[str, Any]) -> Section:
    """The section of the report.

    Args:
        statistics: the statistics of the audit, as `statistics.json` has them.
    """
    title = "Uncertain reference labels"
    rows = [
        row_of(found, ["pathology", "policy"], list(BY_LABEL), IN_POLICIES)
        for found in statistics["policies"]
    ]
    table = EstimateTable(title, ("Pathology", "Policy", *BY_LABEL.values()), IN_POLICIES, rows, words=2)
    basis = (
        "The same statistics, with uncertain labels left out (ignore), counted as negative (zeros) or as "
        "positive (ones)."
    )
    return Section("policies", title, [basis], [table])
