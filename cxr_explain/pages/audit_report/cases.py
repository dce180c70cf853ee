"""One image for its page: pixels, maps, boxes, and how it was read and prepared."""

from __future__ import annotations

from typing import Any

from cxr_explain.audit.store import AuditRun, StoredCase
from cxr_explain.errors import CxrExplainError
from cxr_explain.pages.audit_report.contents import reason_of
from cxr_explain.pages.viewer.case import viewer_case, viewer_image
from cxr_explain.pathologies import ReferenceLabels


def case_data(run: AuditRun, position: int) -> dict[str, Any]:
    """What the page of one explained image shows, beside what the listing says of it.

    An image that cannot be read again, or whose bytes have changed, leaves the page without pixels and with
    the reason; so do boxes that do not fit.

    Args:
        run: the audit.
        position: in its results.
    """
    case = run.case(position)
    labels, problem = _reference(case)
    return {
        "image": _image(case),
        **viewer_case(case.explanation, labels.boxes, reference=case.reference_explanation),
        "labelSource": labels.source if labels.states else None,
        "problem": problem,
        **_facts(case),
    }


def _image(case: StoredCase) -> dict[str, Any]:
    try:
        display = case.radiograph().display
    except CxrExplainError as error:
        return {"missing": reason_of(error)}
    return viewer_image(display)


def _reference(case: StoredCase) -> tuple[ReferenceLabels, str | None]:
    try:
        return case.reference_labels, None
    except CxrExplainError as error:
        return ReferenceLabels(), reason_of(error)


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
