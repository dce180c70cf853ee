"""How well the predictions of each pathology agree with the reference labels, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cxr_explain.audit.sections.tables import EstimateTable, Section, row_of

PERFORMANCE = "Performance by pathology"

IN_PERFORMANCE = ("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "brier", "ece")


def section(statistics: Mapping[str, Any]) -> Section:
    """The section of the report.

    Args:
        statistics: the statistics of the audit, as `statistics.json` has them.
    """
    rows = [
        row_of(found, ["pathology"], ["positive", "negative"], IN_PERFORMANCE)
        for found in statistics["pathologies"]
    ]
    basis = (
        f"{statistics['images']:,} images of {statistics['patients']:,} patients, "
        f"{statistics['failures']:,} failed. Values with "
        f"{100 * statistics['level']:g} % intervals from {statistics['resamples']:,} resamples of patients "
        f"(seed {statistics['seed']}). Uncertain reference labels: policy “{statistics['policy']}”. "
        "Pathologies that are not mentioned or not labelled count as neither positive nor negative.",
        "n⁺ and n⁻: images with a positive and with a negative reference label. Sensitivity, specificity, "
        "PPV and NPV at the operating point: positive from it on. Brier score and ECE (calibration error, 10 "
        "bins of equal width) of the raw probability: low is good.",
        *_excluded(statistics["pathologies"]),
    )
    table = EstimateTable(PERFORMANCE, ("Pathology", "n⁺", "n⁻"), IN_PERFORMANCE, rows)
    return Section("performance", PERFORMANCE, basis, [table], statistics["notes"])


def _excluded(pathologies: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How many reference labels are neither positive nor negative, by reason."""
    reasons: Counter[str] = Counter()
    for found in pathologies:
        reasons.update(found["excluded"])
    told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
    if told:
        yield f"Reference labels that count as neither: {told}."
