"""One image for its page: pixels, maps, boxes, and how it was read and prepared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from cxr_explain.audit.store import AuditRun, StoredCase
from cxr_explain.errors import CxrExplainError
from cxr_explain.pages.audit_report.contents import reason_of
from cxr_explain.pages.viewer.case import thumbnail_of, viewer_case, viewer_image
from cxr_explain.pathologies import ReferenceLabels
from cxr_explain.support.arrays import Mask

T = TypeVar("T")


@dataclass(frozen=True)
class CasePage:
    """What the page of one explained image shows, and the picture of it in the list.

    Args:
        data: what the page's script reads.
        thumbnail: address of a small picture with the fused map; None without pixels.
    """

    data: dict[str, Any]
    thumbnail: str | None


def case_page(run: AuditRun, position: int) -> CasePage:
    """What the page of one explained image shows, beside what the listing says of it.

    An image that cannot be read again, or whose bytes have changed, leaves the page without pixels and with
    the reason; so do boxes and masks that do not fit or cannot be read.

    Args:
        run: the audit.
        position: in its results.
    """
    case = run.case(position)
    problems: list[str] = []
    labels = _or(ReferenceLabels(), lambda: case.reference_labels, problems)
    masks: Mapping[str, Mask] = _or({}, lambda: case.reference_masks, problems)
    image, thumbnail = _pictures(case)
    data = {
        "image": image,
        **viewer_case(case.explanation, labels.boxes, masks, reference=case.reference_explanation),
        "labelSource": labels.source if labels.states else None,
        "problem": " ".join(problems) or None,
        **_facts(case),
    }
    return CasePage(data, thumbnail)


def _pictures(case: StoredCase) -> tuple[dict[str, Any], str | None]:
    try:
        radiograph = case.radiograph()
        return viewer_image(radiograph.display), thumbnail_of(case.explanation, radiograph)
    except CxrExplainError as error:
        return {"missing": reason_of(error)}, None


def _or(otherwise: T, made: Callable[[], T], problems: list[str]) -> T:
    """What is made, or what there is otherwise, with the reason among the problems."""
    try:
        return made()
    except CxrExplainError as error:
        problems.append(reason_of(error))
        return otherwise


def _facts(case: StoredCase) -> dict[str, Any]:
    provenance = case.explanation.provenance
    return {
        "file": case.row["format"] or "unknown",
        "sha256": provenance.radiograph_sha256,
        "headerView": provenance.view,
        "laterality": provenance.laterality,
        "method": provenance.method,
        "phantom": provenance.phantom,
        "steps": list(provenance.steps),
        "notes": list(dict.fromkeys((*provenance.warnings, *provenance.notes))),
    }
