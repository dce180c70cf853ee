"""What a reader of an audit's statistics must know first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.subgroups import SMALL, is_small

_FAMILIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "NIH ChestX-ray14": ("nih", "chestx-ray", "chestxray", "rsna", "siim", "google"),
        "CheXpert": ("chexpert", "chexlocalize"),
        "MIMIC-CXR": ("mimic",),
        "PadChest": ("padchest",),
        "OpenI": ("openi", "indiana"),
        "VinDr-CXR": ("vindr",),
    }
)
"""Names of data sets by whose images they have: RSNA, SIIM and Google relabelled images of NIH's."""


def image_sources(text: str) -> set[str]:
    """Whose images a data set has, by its name or a sentence about it.

    >>> sorted(image_sources("RSNA Pneumonia Detection Challenge, stage_2_train_labels.csv"))
    ['NIH ChestX-ray14']
    """
    folded = text.casefold()
    return {family for family, names in _FAMILIES.items() if any(name in folded for name in names)}


def not_complete(there: int, rows: int) -> list[str]:
    """Whether images of an audit are missing because it is not finished, in a sentence; [] if none are.

    Args:
        there: number of images that were explained, or that failed.
        rows: number of rows of the manifest.

    >>> print(*not_complete(128, 5000))
    This audit is not complete: 128 of 5,000 images are in it. Run the same command again to go on.
    """
    if there >= rows:
        return []
    return [
        f"This audit is not complete: {there:,} of {rows:,} images are in it. Run the same command again to "
        "go on."
    ]


def training_overlap(training_sets: Sequence[str], source: str) -> list[str]:
    """Whether the model may have been trained on what is audited, in a sentence; [] if nothing says so.

    Args:
        training_sets: names of the data sets that the weights were trained on.
        source: what the manifest says of where the images come from.

    >>> print(*training_overlap(["PadChest", "RSNA"], "NIH ChestX-ray14, Data_Entry_2017.csv"))
    Possible training overlap: the weights were trained on RSNA, which shares images with the data set ...
    """
    audited = image_sources(source)
    shared = [name for name in training_sets if image_sources(name) & audited]
    if not shared:
        return []
    return [
        f"Possible training overlap: the weights were trained on {', '.join(shared)}, which shares images "
        f"with the data set audited ({', '.join(sorted(audited))}). Agreement with the reference labels may "
        "be too high."
    ]


def data_notes(cases: Cases, without_patient: int) -> Iterator[str]:
    """What the images and their reference labels lack.

    Args:
        cases: images of the audit with their reference labels.
        without_patient: number of images whose patient is not known.
    """
    if without_patient:
        yield (
            f"The patient of {without_patient} images is not known: each counts as a patient of its own, and "
            "intervals may be too narrow."
        )
    unlabelled = [name for name in cases.pathologies if name not in cases.labels]
    if unlabelled:
        yield f"No reference labels: {', '.join(unlabelled)}. Not labelled is never counted as negative."
    unknown = [name for name in cases.labels if name not in cases.pathologies]
    if unknown:
        yield f"Reference labels without a trained output of the model, not scored: {', '.join(unknown)}."
    pointless = [
        name for name, point in zip(cases.pathologies, cases.operating_points, strict=True) if point is None
    ]
    if pointless:
        yield f"No operating point, hence no sensitivity or the like: {', '.join(pointless)}."


def result_notes(document: Mapping[str, Any]) -> Iterator[str]:
    """What limits the numbers of a statistics document.

    Args:
        document: the statistics document, with "pathologies" and "subgroups".
    """
    labelled = [each for each in document["pathologies"] if each["positive"] + each["negative"]]
    few = [each["pathology"] for each in labelled if is_small(each)]
    if few:
        yield f"Fewer than {SMALL} positives, or negatives; not to be relied on: {', '.join(few)}."
    small = sum(each["small"] for each in document["subgroups"])
    if small:
        yield f"{small} of {len(document['subgroups'])} cells of subgroups are that small."
    if any(each["value"] is not None and each["low"] is None for each in _estimates(document)):
        yield (
            "No interval is given where fewer than half of the resamples were estimable, or where all of "
            "them agree, as for five hits of five."
        )
    if any(each["curves"]["calibration"] for each in labelled):
        yield (
            "Intervals of the calibration curve are Wilson's, for the effective number of images given the "
            "patients; all others are percentiles of the bootstrap over patients."
        )


def _estimates(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for section in ("pathologies", "subgroups", "policies", "localisation"):
        for each in document[section]:
            yield from each["estimates"].values()
    yield from (each["estimate"] for each in document["where"])
