"""The images in which two audits part most: where one is right and the other wrong, and where maps differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cxr_explain.audit.cases import Cases
from cxr_explain.audit.comparison.maps import FUSED, MapsAlike
from cxr_explain.audit.comparison.matching import MatchedRuns, Pair
from cxr_explain.audit.comparison.paired import number

PARTINGS: Mapping[str, str] = {
    "a_right": "A agrees with the reference label, B does not",
    "b_right": "B agrees with the reference label, A does not",
    "probability": "The probabilities are farthest apart",
    "maps": "The fused maps are least alike",
}
"""In which way two audits part, and that in words."""

_ROUNDING = 1e-6  # of a correlation: maps of a float16 that are the same


class Parting(NamedTuple):
    """One image, and how far two audits part in it.

    Args:
        size: how far; the larger, the sooner it is shown.
        image: number of the common image.
        pathology: where it is about one; its number among those that both predict.
    """

    size: float
    image: int
    pathology: int | None = None


def parting_cases(found: MatchedRuns, alike: MapsAlike, *, most: int) -> dict[str, dict[str, Any]]:
    """For each of `PARTINGS`, how many images there are, and those in which the audits part most.

    An image stands once in a list, with the pathology for which it parts most, and a patient once.

    Args:
        found: the two audits.
        alike: how alike the maps of each common image are.
        most: number of images in each list, at most.
    """
    candidates = {
        "a_right": list(_right(found, 0)),
        "b_right": list(_right(found, 1)),
        "probability": list(_probabilities(found)),
        "maps": [
            Parting(1 - maps[FUSED].correlation, image)
            for image, maps in enumerate(alike)
            if FUSED in maps and maps[FUSED].correlation < 1 - _ROUNDING
        ],
    }
    return {
        name: {
            "images": len({each.image for each in partings}),
            "cases": [_case(found, alike, each) for each in _first(found, partings, most)],
        }
        for name, partings in candidates.items()
    }


def _right(found: MatchedRuns, which: int) -> Iterator[Parting]:
    """Where this audit is on the side of the reference label, and the other is not."""
    probabilities = found.probabilities
    for column, name in enumerate(found.pathologies):
        points = [_point(cases, name) for cases in found.cases]
        reference = found.reference(name)
        right = [
            (each[:, column] >= point) == reference.positive
            for each, point in zip(probabilities, points, strict=True)
            if point is not None
        ]
        if len(right) < len(points):
            continue
        apart = np.abs(probabilities.a[:, column] - probabilities.b[:, column])
        for image in np.flatnonzero(reference.included & right[which] & ~right[1 - which]).tolist():
            yield Parting(float(apart[image]), image, column)


def _probabilities(found: MatchedRuns) -> Iterator[Parting]:
    apart = np.abs(found.probabilities.a - found.probabilities.b)
    for image, column in enumerate(apart.argmax(axis=1).tolist()):
        if apart[image, column] > 0:
            yield Parting(float(apart[image, column]), image, column)


def _first(found: MatchedRuns, partings: Sequence[Parting], most: int) -> list[Parting]:
    """Those that part most, one a patient."""
    chosen: dict[int, Parting] = {}
    for each in sorted(partings, key=lambda each: (-each.size, each.image)):
        if len(chosen) == most:
            break
        chosen.setdefault(int(found.patients[each.image]), each)
    return list(chosen.values())


def _point(cases: Cases, name: str) -> float | None:
    return cases.operating_points[cases.pathologies.index(name)]


def _case(found: MatchedRuns, alike: MapsAlike, parting: Parting) -> dict[str, Any]:
    """As the document has it."""
    image, fused = parting.image, alike[parting.image].get(FUSED)
    known = {
        "image_id": _both([cases.ids[image] for cases in found.cases]),
        "correlation": None if fused is None else number(fused.correlation),
    }
    if parting.pathology is None:
        return known
    name = found.pathologies[parting.pathology]
    reference = found.reference(name)
    state = "positive" if reference.positive[image] else "negative"
    return known | {
        "pathology": name,
        "reference": state if reference.included[image] else None,
        "probability": _both([float(each[image, parting.pathology]) for each in found.probabilities]),
        "operating_point": _both([_point(cases, name) for cases in found.cases]),
    }


def _both(values: Sequence[Any]) -> dict[str, Any]:
    """What JSON has of both audits."""
    return dict(zip(Pair._fields, values, strict=True))
