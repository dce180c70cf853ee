"""RSNA Pneumonia Detection Challenge (2018).

Source: Shih et al., Augmenting the NIH chest radiograph dataset with expert annotations of possible
pneumonia, Radiology: Artificial Intelligence 1 (2019) e180041.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np

from cxr_explain.pathologies import ReferenceBox
from cxr_explain.reference.data_sets.folders import first_file, folder_of, paths_of, required_file
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.problems import quoted
from cxr_explain.reference.states import NEGATIVE, POSITIVE
from cxr_explain.reference.table import CsvTable, read_pairs, reading

_SPACE = (1024, 1024)
_IMAGES = "stage_2_train_images"
_PATHOLOGY = "Lung Opacity"
_TARGETS = {"0": NEGATIVE, "1": POSITIVE}


def manifest_of_rsna(source: str | PathLike[str], *, images: str | PathLike[str] | None = None) -> Manifest:
    """The images of RSNA's training table: whether there is lung opacity, and a box around each.

    Rows are boxes there, and images here. `patientId` names an image; it is taken as the patient as well,
    since nothing else is known. The class of `stage_2_detailed_class_info.csv`, where that file is there,
    becomes the column `class`.

    Args:
        source: the folder with `stage_2_train_labels.csv`.
        images: the folder that the paths are relative to; `source` by default. The files are DICOM or of
            another format, in it or in a folder below.

    Raises:
        ManifestError: no table, or bad rows; all of them.
    """
    folder = folder_of(source)
    root = folder_of(images) if images else folder
    classes = read_pairs(first_file(folder, "stage_2_detailed_class_info.csv"), "patientId", "class")
    with reading(required_file(folder, "stage_2_train_labels.csv", "stage_2_train_labels.csv.gz")) as table:
        return _manifest(table, root, classes, is_default=root == folder)


def _manifest(table: CsvTable, images: Path, classes: dict[str, str], *, is_default: bool) -> Manifest:
    names = [cell.strip() for cell in table.column("patientId")]
    first = {name: row for row, name in reversed(list(enumerate(names)))}
    ids = list(dict.fromkeys(names))
    targets = [cell.strip().removesuffix(".0") for cell in table.column("Target")]
    rows = {name: row for row, name in enumerate(ids)}
    boxes: dict[int, tuple[ReferenceBox, ...]] = {}
    places = zip(*(table.column(name) for name in ("x", "y", "width", "height")), strict=True)
    for line, name, target, place in zip(table.lines, names, targets, places, strict=True):
        problem = _problem(target, targets[first[name]], place)
        if problem:
            table.problems.add(line, problem)
        elif target == "1":
            box = ReferenceBox(_PATHOLOGY, *map(float, place))
            boxes[rows[name]] = (*boxes.get(rows[name], ()), box)
    table.problems.raise_any()
    return Manifest(
        ids,
        paths_of(ids, images, otherwise=_IMAGES if is_default else "", ending=".dcm"),
        pathologies=[_PATHOLOGY],
        states=np.array([[_TARGETS[targets[first[name]]]] for name in ids], np.int8).reshape(len(ids), 1),
        patients=ids,
        label_sources=f"RSNA Pneumonia Detection Challenge, {table.source}; Target is Lung Opacity",
        boxes=boxes,
        box_spaces=dict.fromkeys(boxes, _SPACE),
        extra={"class": [classes.get(name, "") for name in ids]} if classes else {},
        lines=[table.lines[first[name]] for name in ids],
    )


def _problem(target: str, first: str, place: tuple[str, ...]) -> str | None:
    if target not in _TARGETS:
        return f"the Target {quoted(target)}"
    if target != first:
        return "another Target than before for the same image"
    if target == "0":
        return f"the box {quoted(place)} of an image without opacity" if any(map(str.strip, place)) else None
    return None if all(map(_is_number, place)) else f"the box {quoted(place)}"


def _is_number(cell: str) -> bool:
    try:
        return abs(float(cell)) < float("inf")
    except ValueError:
        return False
