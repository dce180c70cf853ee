"""How well the fixed rules find lungs, thorax and markers of phantoms, whose anatomy is known.

    python -m benchmarks.regions_accuracy

The references follow from the solids that were rendered, not from the pixels. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label
from skimage.morphology import convex_hull_image

from benchmarks.facts import machine
from cxr_explain.chest.places import places_of
from cxr_explain.chest.regions import Regions, regions_of
from cxr_explain.phantom import Finding, Patient, Side, render, sample_findings, sample_patient, to_radiograph
from cxr_explain.phantom.anatomy import SIDES, core_of, dome_of, hull_of
from cxr_explain.phantom.chest import Chest, chest_of
from cxr_explain.phantom.devices import device_attenuation
from cxr_explain.phantom.patient import Device
from cxr_explain.radiograph import Radiograph

Mask = NDArray[np.bool_]
PARTS = ("lung", "heart", "diaphragm", "chest wall", "outside")
LUNG_MM, SOLID_MM = 30, 15
"""A pixel shows lung if its ray passes 30 mm of lung, and less than 15 of heart and 30 of diaphragm."""


@dataclass
class Measured:
    """One phantom."""

    findings: tuple[str, ...]
    lungs: float | None
    thorax: float | None
    markers: int = 0
    markers_found: int = 0
    boxes: int = 0
    boxes_right: int = 0
    milliseconds: float = 0.0
    reason: str = ""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Accuracy of the regions on phantoms.")
    parser.add_argument("--phantoms", type=int, default=100)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--places", action="store_true", help="only the words for 1,024 points of each")
    asked = parser.parse_args(arguments)
    seeds = range(asked.first, asked.first + asked.phantoms)
    if asked.places:
        print(places_markdown(sum((places_of_phantom(seed, asked.size) for seed in seeds), Counter())))
        return
    print(markdown([measured(seed, asked.size) for seed in seeds]))


def measured(seed: int, size: int) -> Measured:
    """Render one phantom, find its regions and compare them."""
    patient, findings = sample_patient(seed), sample_findings(seed)
    radiograph = to_radiograph(render(patient, findings, size=size))
    regions_of(radiograph)  # warm caches
    start = time.perf_counter()
    regions = regions_of(radiograph)
    spent = (time.perf_counter() - start) * 1e3
    lungs = lung_fields(patient, findings, size)
    result = Measured(
        tuple(finding.pathology for finding in findings),
        dice(regions.lungs, _reduced(lungs, regions)),
        dice(regions.thorax, _reduced(convex_hull_image(lungs), regions)),
        milliseconds=spent,
        reason=regions.reasons.get("outside_lungs", ""),
    )
    _count_markers(result, regions, written(patient, size))
    return result


def lung_fields(patient: Patient, findings: tuple[Finding, ...], size: int) -> Mask:
    """(H, W) the lung fields as a reader would outline them: not behind heart or diaphragm."""
    chest = chest_of(patient, size)
    sizes = {finding.pathology: finding.size for finding in findings}
    heart = patient.heart * (1.22 + 0.28 * sizes["Cardiomegaly"] if "Cardiomegaly" in sizes else 1)
    flattened = 12 + 20 * sizes["Emphysema"] if "Emphysema" in sizes else 0.0
    core = hull_of(core_of(replace(patient, heart=heart)), chest.grid).length * patient.stature
    return np.logical_or.reduce([_lung_field(chest, side, core, flattened) for side in SIDES])


def places_of_phantom(seed: int, size: int) -> Counter[tuple[str, str]]:
    """Points of a phantom by what lies there, and what is found; none where it is not recognised."""
    patient, findings = sample_patient(seed), sample_findings(seed)
    radiograph = to_radiograph(render(patient, findings, size=size))
    return place_confusion(true_parts(patient, findings, size), radiograph, regions_of(radiograph))


def places_markdown(counts: Counter[tuple[str, str]]) -> str:
    lines = ["| lies there | points | " + " | ".join(PARTS) + " |", "|:--|--:|" + "--:|" * len(PARTS)]
    for part in PARTS:
        row = [counts[part, found] for found in PARTS]
        shares = " | ".join(f"{count / max(sum(row), 1):.3f}" for count in row)
        lines.append(f"| {part} | {sum(row):,} | {shares} |")
    return "\n".join(lines)


def true_parts(
    patient: Patient, findings: tuple[Finding, ...], size: int, *, side: Side | None = None
) -> NDArray[np.str_]:
    """(H, W) what lies at each pixel of a phantom, in the words of `cxr_explain.chest.places`.

    The heart is the heart with the mediastinum, which the solids do not tell apart.

    Args:
        side: of whose lung alone the field is wanted.
    """
    chest = chest_of(patient, size)
    core = hull_of(core_of(patient), chest.grid).length * patient.stature
    fields = {each: _lung_field(chest, each, core, 0.0) for each in SIDES}
    lungs = lung_fields(patient, findings, size)
    hull = convex_hull_image(lungs)
    domes = [dome_of(patient, each).along(chest.grid).length * patient.stature for each in SIDES]
    parts = np.where(hull, "chest wall", "outside")
    parts[hull & (core >= SOLID_MM)] = "heart"
    parts[hull & (np.maximum(*domes) >= LUNG_MM)] = "diaphragm"
    parts[lungs if side is None else fields[side]] = "lung"
    return parts


def place_confusion(
    true: NDArray[np.str_], radiograph: Radiograph, regions: Regions
) -> Counter[tuple[str, str]]:
    """How many of 32 x 32 points lie in one part and are found in another, by both."""
    height, width = true.shape
    y, x = ((np.arange(32) + 0.5) * extent / 32 for extent in (height, width))
    points = [(float(column), float(row)) for row in y for column in x]
    places = places_of(points, regions, orientation=radiograph.patient_orientation)
    return Counter(
        (str(true[int(row), int(column)]), "heart" if place.part == "mediastinum" else place.part)
        for (column, row), place in zip(points, places, strict=True)
        if place is not None and place.part != "marker"
    )


def _lung_field(chest: Chest, side: object, core: NDArray[np.floating], flattened: float) -> Mask:
    dome = dome_of(chest.patient, side, flattened=flattened).along(chest.grid)  # type: ignore[arg-type]
    space = replace(chest.spaces[side], dome=dome)  # type: ignore[index]
    scale = chest.patient.stature
    return (space.length * scale > LUNG_MM) & (core < SOLID_MM) & (dome.length * scale < LUNG_MM)


def written(patient: Patient, size: int) -> list[Mask]:
    """(H, W) of each letter group that was burned in, within what the collimator left."""
    masks = []
    for device in {Device.MARKER, Device.TEXT} & set(patient.devices):
        only = device_attenuation(replace(patient, devices=(device,)), chest_of(patient, size).grid)
        mask = (only > 0.05) & _open_field(patient, size)
        if mask.sum() > 0.5 * (only > 0.05).sum() > 0:
            masks.append(mask)
    return masks


def _open_field(patient: Patient, size: int) -> Mask:
    left, top, right, bottom = (round(width * size / patient.field_of_view) for width in patient.collimation)
    exposed = np.zeros((size, size), bool)
    exposed[top : size - bottom, left : size - right] = True
    return exposed


def _count_markers(result: Measured, regions: Regions, letters: list[Mask]) -> None:
    """A marker is found if half of its ink is covered; a box is right if it touches ink."""
    covered = regions.markers if regions.markers is not None else np.zeros(regions.shape, bool)
    reduced = [_reduced(mask, regions, most=False) for mask in letters]
    result.markers = len(letters)
    result.markers_found = sum(bool(covered[mask].mean() >= 0.5) for mask in reduced)
    ink = np.logical_or.reduce(reduced) if reduced else np.zeros(regions.shape, bool)
    groups, result.boxes = label(covered)
    result.boxes_right = sum(bool(ink[groups == k].any()) for k in range(1, result.boxes + 1))


def _reduced(mask: Mask, regions: Regions, *, most: bool = True) -> Mask:
    """The mask in the regions' cells: where most of a cell is covered, or any of it."""
    h, w = regions.shape
    rows, columns = (
        np.arange(extent) * cells // extent for extent, cells in zip(mask.shape, (h, w), strict=True)
    )
    counts, sums = np.zeros((h, w)), np.zeros((h, w))
    np.add.at(counts, (rows[:, None], columns), 1)
    np.add.at(sums, (rows[:, None], columns), mask)
    return sums >= 0.5 * counts if most else sums > 0


def dice(found: Mask | None, reference: Mask) -> float | None:
    """2 |A and B| / (|A| + |B|)."""
    if found is None:
        return None
    return float(2 * (found & reference).sum() / (found.sum() + reference.sum()))


def markdown(results: list[Measured]) -> str:
    groups = {"all": results, "no finding": [r for r in results if not r.findings]}
    for name in sorted({name for r in results for name in r.findings}):
        groups[name] = [r for r in results if name in r.findings]
    lines = [
        "Machine: " + ", ".join(f"{name} {value}" for name, value in machine().items()) + ".",
        "",
        "| phantoms | n | recognised | lungs: median Dice (5 %) | thorax: median Dice (5 %) |",
        "|---|---:|---:|---:|---:|",
        *(_line(name, group) for name, group in groups.items() if group),
        "",
        _markers_line(results),
        f"Median time: {statistics.median(r.milliseconds for r in results):.1f} ms.",
        *sorted({f"Not recognised: {r.reason}" for r in results if r.lungs is None}),
    ]
    return "\n".join(lines)


def _line(name: str, group: list[Measured]) -> str:
    lungs, thorax = ([getattr(r, what) for r in group if r.lungs is not None] for what in ("lungs", "thorax"))
    return f"| {name} | {len(group)} | {len(lungs)} | {_spread(lungs)} | {_spread(thorax)} |"


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{np.median(values):.3f} ({np.quantile(values, 0.05):.3f})"


def _markers_line(results: list[Measured]) -> str:
    found, there, right, boxes = (
        sum(getattr(r, name) for r in results)
        for name in ("markers_found", "markers", "boxes_right", "boxes")
    )
    return f"Markers: {found} of {there} found; {right} of {boxes} boxes touch one."


if __name__ == "__main__":
    main()
