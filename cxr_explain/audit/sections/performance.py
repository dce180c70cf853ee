"""How well the predictions of each pathology agree with the reference labels, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cxr_explain.audit.sections.tables import BY_LABEL, EstimateTable, Section, row_of
from cxr_explain.options import LabelPolicy

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
        "patient, or why there is none.",
        labels_text(statistics),
        "n⁺ and n⁻: images with a positive and with a negative reference label; Patients⁺ and Patients⁻: "
        f"patients with such an image. Marked “few”: fewer than {statistics['small']} patients of either "
        "kind. Sensitivity, specificity, PPV and NPV at the operating point: positive from it on. Brier "
        "score and ECE (calibration error, 10 bins of equal width) of the probability: low is good. ECE "
        "is above 0 by chance alone; beside it stands what a calibrated model would show.",
        *_basis_of_values(statistics["pathologies"], statistics["images"]),
    )
    table = EstimateTable(PERFORMANCE, ("Pathology", *BY_LABEL.values()), IN_PERFORMANCE, rows)
    return Section("performance", PERFORMANCE, basis, [table], statistics["notes"])


def labels_text(statistics: Mapping[str, Any]) -> str:
    """What reference labels count as, and how many of them count as nothing, or as something else."""
    policy = LabelPolicy(**statistics["policy"])
    words = policy.words()
    sentences = [
        f"{words[0].upper()}{words[1:]} (policy “{policy.name}”)",
        "What is not labelled never counts",
        *_told("Reference labels that count as neither positive nor negative", statistics, "excluded"),
        *_told("Reference labels that count as something else than they say", statistics, "changed"),
    ]
    return "".join(f"{sentence}. " for sentence in sentences).rstrip()


def _told(what: str, statistics: Mapping[str, Any], key: str) -> Iterator[str]:
    """How many reference labels there are of a kind, by reason, over all pathologies."""
    reasons: Counter[str] = Counter()
    for found in statistics["pathologies"]:
        reasons.update(found[key])
    told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
    if told:
        yield f"{what}: {told}"


def _basis_of_values(pathologies: Sequence[Mapping[str, Any]], images: int) -> Iterator[str]:
    """On which images those measures stand that depend on how many are positive."""
    shares = [(found["positive"] + found["negative"]) / images for found in pathologies if images]
    if shares and min(shares) < 1:
        yield (
            "PPV, NPV, Brier score and ECE stand on the images with a label that counts, by pathology "
            f"{100 * min(shares):.0f} to {100 * max(shares):.0f} % of all: they are not those of all images, "
            "among which positive ones may be rarer."
        )
