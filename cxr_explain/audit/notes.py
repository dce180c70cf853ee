"""What a reader of an audit's statistics must know first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.subgroups import SMALL
from cxr_explain.measures.statistics.basis import LEAST_FOR_SHARES, LEAST_PATIENTS


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
    few = [each["pathology"] for each in labelled if each["small"]]
    if few:
        yield f"Fewer than {SMALL} positive patients, or negative; not to be relied on: {', '.join(few)}."
    small = sum(each["small"] for each in document["subgroups"])
    if small:
        yield f"{small} of {len(document['subgroups'])} cells of subgroups are that small."
    if any(each["withheld"] for each in _estimates(document)):
        yield (
            "An interval is withheld where none holds: of a share of images with fewer than "
            f"{LEAST_FOR_SHARES} patients, of a mean with fewer than {LEAST_PATIENTS}, of an area under a "
            f"curve with fewer than {LEAST_PATIENTS} positive or negative ones, of ECE always."
        )
    if document["images"]:
        yield (
            "Intervals are by patient: Wilson's, for as many independent cases as have the standard error "
            "that is found when patients are left out in turns."
        )


def _estimates(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for section in ("pathologies", "subgroups", "policies", "localisation"):
        for each in document[section]:
            yield from each["estimates"].values()
    yield from (each["estimate"] for each in document["where"])
