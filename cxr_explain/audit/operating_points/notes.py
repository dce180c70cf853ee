"""What a reader must know of an audit whose operating points were fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxr_explain.audit.operating_points.split import split_overlap
from cxr_explain.figures.texts import tuning_lines

if TYPE_CHECKING:
    from cxr_explain.audit.record import Record
    from cxr_explain.audit.store import AuditRun


def tuning_notes(run: AuditRun) -> list[str]:
    """What a reader must know of an audit whose operating points were fitted on some of it; [] if not."""
    overlap = split_overlap(run)
    if overlap is None:
        return []
    return [
        f"The operating points were fitted on images of this audit: found {overlap}. What is at an operating "
        "point, and what is calibrated, looks better than it will be."
    ]


def points_notes(record: Record) -> list[str]:
    """How the operating points of an audit were fitted, in a sentence; [] where they are the weights' own."""
    if record.tuning is None:
        return []
    said = "; ".join(tuning_lines(record.tuning, record.operating_points_sha256))
    found = [f"Operating points: {said}."]
    if record.tuning.calibrated:
        found.append(
            "Probabilities are calibrated where a calibration was fitted, and all statistics are of these. "
            "Scores that an isotonic curve makes equal count as equal."
        )
    return found
