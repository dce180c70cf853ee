"""One image for its page: pixels, maps, boxes, and how it was read and prepared."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.audit.store import AuditRun, StoredCase
from cxr_explain.errors import CxrExplainError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures.content import image_sides
from cxr_explain.figures.overlay import peak_point
from cxr_explain.geometry import Geometry
from cxr_explain.pages.audit_report.contents import reason_of
from cxr_explain.pages.audit_report.images import case_jpeg
from cxr_explain.pages.audit_report.script_data import column
from cxr_explain.pages.templating import image_url
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
        **_maps(case.explanation),
        "referenceMaps": _reference_maps(case.reference_explanation),
        "boxes": [[box.pathology, box.x, box.y, box.width, box.height] for box in labels.boxes],
        "labelSource": labels.source if labels.states else None,
        "problem": problem,
        **_facts(case),
    }


def _image(case: StoredCase) -> dict[str, Any]:
    try:
        jpeg, (width, height) = case_jpeg(case.radiograph().display)
    except CxrExplainError as error:
        return {"missing": reason_of(error)}
    return {"url": image_url(jpeg, "jpeg"), "width": width, "height": height}


def _reference(case: StoredCase) -> tuple[ReferenceLabels, str | None]:
    try:
        return case.reference_labels, None
    except CxrExplainError as error:
        return ReferenceLabels(), reason_of(error)


def _maps(explanation: Explanation) -> dict[str, Any]:
    """The maps as the explainer fused them: the page interpolates and colours, and computes nothing anew."""
    geometry = explanation.geometry
    return {
        "shape": list(geometry.radiograph_shape),
        "square": [geometry.left, geometry.top, geometry.side],
        "seen": list(geometry.seen_box),
        "ranked": list(explanation.ranking.pathologies),
        "cells": list(explanation.maps.shape),
        "maps": column(explanation.maps, "float32"),
        "classMaps": column(explanation.class_maps, "float32"),
        "peaks": _peaks(explanation.maps, geometry),
        "withoutEvidence": list(explanation.without_evidence),
    }


def _peaks(maps: NDArray[np.float32], geometry: Geometry) -> list[list[float] | None]:
    points = [peak_point(of_class, geometry) for of_class in maps]
    return [None if point is None else [round(value, 2) for value in point] for point in points]


def _reference_maps(explanation: Explanation | None) -> dict[str, Any] | None:
    if explanation is None:
        return None
    return {
        "pathologies": list(explanation.ranking.pathologies),
        "cells": list(explanation.class_maps.shape),
        "classMaps": column(explanation.class_maps, "float32"),
    }


def _facts(case: StoredCase) -> dict[str, Any]:
    provenance = case.explanation.provenance
    sides = image_sides(provenance.patient_orientation)
    return {
        "file": case.row["format"] or "unknown",
        "sha256": provenance.radiograph_sha256,
        "headerView": provenance.view,
        "laterality": provenance.laterality,
        "sides": None if sides is None else list(sides),
        "method": provenance.method,
        "phantom": provenance.phantom,
        "steps": list(provenance.steps),
        "notes": list(dict.fromkeys((*provenance.warnings, *provenance.notes))),
    }
