"""Findings on places: the peaks of a pathology's class maps pile up in one place that is no anatomy.

The rule: outside of the thorax, in one place of the frame around it, lie more than `audit.peaks.PILE` of the
peaks, more than an even map would have there, and more than the other pathologies' maps have; p is that of
`audit.peaks.place_entries`, for the number of places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cxr_explain.audit.findings.finding import AuditFinding
from cxr_explain.chest.thorax_frame import COARSE_CELLS
from cxr_explain.figures.lettering import display_name


def rule(document: Mapping[str, Any]) -> Iterator[AuditFinding]:
    """One for each pathology with maps, and one for all of them together.

    Args:
        document: the statistics of the audit.
    """
    for found in document["places"]:
        place, name = found["place"], found["pathology"]
        estimate = found["estimates"]["peak_in_place"]
        expected = place["even"] if place["others"] is None else max(place["even"], place["others"])
        yield AuditFinding(
            kind="place",
            text=_text(found),
            estimate={key: estimate[key] for key in ("value", "low", "high")},
            counts={"maps": found["maps"], "patients": found["patients"]},
            size=place["share"] - expected,
            p=place["p"],
            cases=_cases(name, place["row"]),
        )


def _cases(name: str | None, row: int) -> dict[str, str]:
    """The images whose map peaks on the same side of the thorax: above, beside or below it."""
    zone = {0: "above", COARSE_CELLS - 1: "below"}.get(row, "beside")
    return {"zone": zone} if name is None else {"subject": name, "zone": zone}


def _text(found: Mapping[str, Any]) -> str:
    place, name = found["place"], found["pathology"]
    whose = "The class maps of all pathologies" if name is None else f"{display_name(name)}: the class maps"
    others = "" if place["others"] is None else f"{place['others']:.0%} for the other pathologies, "
    return (
        f"{whose} peak in one place outside of the thorax ({place['words']}) in {place['share']:.0%} of "
        f"patients' maps ({others}{place['even']:.0%} for an even map). Is there a marker or another device?"
    ).replace("%", " %")
