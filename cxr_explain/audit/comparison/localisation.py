"""Where the class maps of two audits point, against the same reference boxes and masks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from cxr_explain.audit.comparison.matching import MatchedRuns, Positions
from cxr_explain.audit.comparison.paired import paired
from cxr_explain.audit.localisation import LOCALISATION_MEASURES, localisation_of
from cxr_explain.audit.store import AuditRun
from cxr_explain.measures.statistics.bootstrap import grouped_means

POINTING = tuple(name for name in LOCALISATION_MEASURES if not name.startswith(("random", "centre")))
"""What a map decides; what a point drawn at random would hit is the same for both."""

_Measured = dict[str, dict[int, tuple[float, ...]]]
"""By pathology and common image, the `POINTING` numbers."""


def localisation_differences(
    found: MatchedRuns, *, level: float, progress: Callable[[str], None] | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """The mean of each measure over the class maps that can be measured in both audits, and the difference.

    Args:
        found: the two audits.
        level: confidence level of the intervals.
        progress: called with how far it is, in words.

    Returns:
        An entry for each pathology with boxes or masks; and what a reader must know.
    """
    notes: list[str] = []
    both = []
    for run, at in zip(found.runs, found.at, strict=True):
        measured, said = _measured(run, at, progress)
        both.append(measured)
        notes += [note for note in said if note not in notes]
    names = [name for name in sorted(both[0]) if name in both[1]]
    return [_entry(found, name, both[0][name], both[1][name], level) for name in names], notes


def _measured(
    run: AuditRun, at: Positions, progress: Callable[[str], None] | None
) -> tuple[_Measured, list[str]]:
    chosen = [LOCALISATION_MEASURES.index(name) for name in POINTING]
    image_of = {place: image for image, place in enumerate(at.tolist())}
    localisation = localisation_of(run, progress=progress)
    measured: _Measured = defaultdict(dict)
    for each in localisation.located:
        if each.at in image_of:
            measured[each.pathology][image_of[each.at]] = tuple(each.values[column] for column in chosen)
    return measured, localisation.notes


def _entry(
    found: MatchedRuns,
    pathology: str,
    a: dict[int, tuple[float, ...]],
    b: dict[int, tuple[float, ...]],
    level: float,
) -> dict[str, Any]:
    images = [image for image in a if image in b]
    one, other = (
        np.array([each[image] for image in images], np.float64).reshape(-1, len(POINTING)) for each in (a, b)
    )
    there = ~np.isnan(one) & ~np.isnan(other)
    patients = found.patients[images] if images else np.empty(0, np.intp)
    first, second = (
        grouped_means(np.where(there, each, np.nan), patients, found.groups) for each in (one, other)
    )
    cells = paired(first, second, found.groups, level=level)
    return {
        "pathology": pathology,
        "images": len(images),
        "patients": len(np.unique(patients)),
        "differences": dict(zip(POINTING, cells, strict=True)),
    }
