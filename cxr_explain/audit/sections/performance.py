"""How well the predictions of each pathology agree with the reference labels, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cxr_explain.audit.sections.tables import BY_LABEL, EstimateTable, Section, row_of

PERFORMANCE = "Performance by pathology"

IN_PERFORMANCE = ("auroc", "auprc", "sensitivity", "specificity", "ppv", "npv", "brier", "ece")


def section(statistics: Mapping[str, Any]) -> Section:
    """The section of the report.

    Args:
        statistics: the statistics of the audit, as `statistics.json` has them.
    """
    rows = [
        row_of(found, ["pathology"], list(BY_LABEL), IN_PERFORMANCE) for found in statistics["pathologies"]
    ]
    basis = (
        f"{statistics['images']:,} images of {statistics['patients']:,} patients, "
        f"{statistics['failures']:,} failed. Values with {100 * statistics['level']:g} % intervals by "
        f"patient, or why there is none. Uncertain reference labels: policy “{statistics['policy']}”.",
        "n⁺ and n⁻: images with a positive and with a negative reference label; Patients⁺ and Patients⁻: "
        f"patients with such an image. Marked “few”: fewer than {statistics['small']} patients of either "
        "kind. Sensitivity, specificity, PPV and NPV at the operating point: positive from it on. Brier "
        "score and ECE (calibration error, 10 bins of equal width) of the raw probability: low is good. ECE "
        "is above 0 by chance alone; beside it stands what a calibrated model would show.",
        *_excluded(statistics["pathologies"], statistics["images"]),
    )
    table = EstimateTable(PERFORMANCE, ("Pathology", *BY_LABEL.values()), IN_PERFORMANCE, rows)
    return Section("performance", PERFORMANCE, basis, [table], statistics["notes"])


def _excluded(pathologies: Sequence[Mapping[str, Any]], images: int) -> Iterator[str]:
    """How many reference labels are neither positive nor negative, and which numbers that touches."""
    reasons: Counter[str] = Counter()
    for found in pathologies:
        reasons.update(found["excluded"])
    told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
    if not told:
        return
    yield f"Reference labels that count as neither: {told}."
    shares = [(found["positive"] + found["negative"]) / images for found in pathologies if images]
    if shares and min(shares) < 1:
        yield (
            "PPV, NPV, Brier score and ECE stand on the images with a label that counts, by pathology "
            f"{100 * min(shares):.0f} to {100 * max(shares):.0f} % of all: they are not those of all images, "
            "among which positive ones may be rarer."
        )
