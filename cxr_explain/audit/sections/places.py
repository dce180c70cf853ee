"""Where the peaks of the class maps lie in the frame of the thorax, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxr_explain.audit.sections.tables import (
    EstimateTable,
    Section,
    SectionPicture,
    ShownEstimate,
    TableRow,
)
from cxr_explain.figures.lettering import display_name

_BASIS = (
    "Of the class maps of the ranked pathologies, in the frame of the thorax: the box around it is the same "
    "in all images. The place is the one of sixteen above and beside the box in which peaks most clearly "
    "pile up; “even” is an even map's share of it. Left and right are the image's; an image that a header "
    "says is mirrored is turned back."
)
_PICTURES = (
    "Pictures: the mean of the maps, of which an even map is 1: dark is 0, grey 1, bright 5 and more. The "
    "square is the box around the thorax, with a typical pair of lungs; the area of a ring is the share of "
    "the peaks in that place."
)
IN_PLACES = ("peak_in_lungs", "peak_outside", "peak_in_place")


def section(statistics: Mapping[str, Any]) -> Section:
    """The section of the report.

    Args:
        statistics: the statistics of the audit, as `statistics.json` has them.
    """
    title = "Peaks of the class maps"
    heads = ("Pathology", "Place", "Maps", "Patients", "Even")
    found = statistics.get("places", [])
    basis = [_BASIS]
    if found:
        left_out = found[0]
        basis.append(
            f"Left out: {left_out['without_thorax']:,} images whose thorax was not recognised, and "
            f"{left_out['without_peak']:,} maps without a single peak."
        )
    table = EstimateTable(title, heads, IN_PLACES, [_row(each) for each in found], words=2, plotted=False)
    pictures = [
        SectionPicture(named(each["pathology"]), each["mean_map"], each["peaks"], _seen_in(each))
        for each in found
    ]
    return Section("places", title, basis, [table], pictures=pictures, about_pictures=_PICTURES)


def _row(found: Mapping[str, Any]) -> TableRow:
    place = found["place"]
    return TableRow(
        (
            named(found["pathology"]),
            place["words"] if place["share"] else "–",
            f"{found['maps']:,}",
            f"{found['patients']:,}",
            f"{place['even']:.3f}",
        ),
        tuple(ShownEstimate.of(found["estimates"].get(key)) for key in IN_PLACES),
    )


def _seen_in(found: Mapping[str, Any]) -> str:
    """What the picture shows, for who cannot see it."""
    peaks = found["peaks"]
    (row, column), most = max(
        (((row, column), count) for row, line in enumerate(peaks) for column, count in enumerate(line)),
        key=lambda each: each[1],
    )
    return (
        f"Mean class map of {named(found['pathology'])} over {found['maps']:,} images; most peaks, {most:,}, "
        f"in row {row + 1} and column {column + 1} of {len(peaks)} by {len(peaks)} places"
    )


def named(pathology: str | None) -> str:
    """A pathology, or all of them."""
    return "All pathologies" if pathology is None else display_name(pathology)
