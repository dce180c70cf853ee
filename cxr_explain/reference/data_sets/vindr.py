"""VinDr-CXR, which several radiologists read independently.

Source: Nguyen et al., VinDr-CXR, Scientific Data 9 (2022) 429; https://physionet.org/content/vindr-cxr/.
"""

from __future__ import annotations

from collections import Counter
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np

from cxr_explain.errors import ManifestError
from cxr_explain.pathologies import NO_FINDING, ReferenceBox, canonical_pathology, says_no_finding
from cxr_explain.reference.cells import parse_space
from cxr_explain.reference.columns import Space
from cxr_explain.reference.data_sets.folders import first_file, folder_of, paths_of
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.problems import CellError, known_in_cell, quoted
from cxr_explain.reference.states import NEGATIVE, NOT_LABELLED, POSITIVE, UNCERTAIN, States
from cxr_explain.reference.table import CsvTable, reading

VindrSplit = Literal["train", "test"]

_TABLES: dict[str, tuple[str, ...]] = {
    "train": ("annotations_train.csv", "annotations/annotations_train.csv", "train.csv", "*train*.csv.gz"),
    "test": ("annotations_test.csv", "annotations/annotations_test.csv"),
}
_CLASSES = (
    *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Consolidation", "ILD"),
    *("Infiltration", "Lung Opacity", "Nodule/Mass", "Other lesion", "Pleural effusion"),
    *("Pleural thickening", "Pneumothorax", "Pulmonary fibrosis"),
)
"""Classes that every reader was asked for: a reader who does not mark one did not see it."""
_PART_OF = frozenset({"Fracture"})
"""Of which one kind is marked (rib fracture): without it there may still be another kind."""
_ORIGINALS = (".dicom", ".dcm")
_PLACE = ("x_min", "y_min", "x_max", "y_max")
_RULE = "positive where more than half of an image's readers mark it, uncertain at half"

Mark = tuple[str, str]  # image, pathology


def manifest_of_vindr(
    source: str | PathLike[str],
    *,
    split: VindrSplit = "train",
    images: str | PathLike[str] | None = None,
) -> Manifest:
    """The images of VinDr-CXR; the readings of several radiologists are combined.

    A pathology is positive where more than half of the image's readers mark it, uncertain where exactly half
    do, and negative else; a table without readers is taken as their consensus. Boxes are those of all
    readers, of the pathologies that are positive, in the pixels of the original DICOM. Patients are not
    known. Where the table has columns `width` and `height`, as some copies have, boxes are scaled from that
    size to that of the files. "Nodule/Mass" keeps its name: it says neither Nodule nor Mass. A rib fracture
    is a Fracture; without one, Fracture is not labelled.

    Args:
        source: the folder with `annotations_train.csv` (PhysioNet) or `train.csv` (Kaggle).
        split: the training or the test table.
        images: the folder that the paths are relative to; `source` by default. The files may have any
            extension, and lie in it or in a folder below; boxes fit only where they have their full size.

    Raises:
        ManifestError: no table, or bad rows; all of them.
    """
    folder = folder_of(source)
    path = first_file(folder, *_TABLES[split])
    if path is None:
        raise ManifestError(
            "no table of annotations", expected=f"one of {', '.join(_TABLES[split])}", source=folder
        )
    with reading(path) as table:
        return _manifest(table, folder_of(images) if images else folder, split)


def _manifest(table: CsvTable, images: Path, split: str) -> Manifest:
    names = [cell.strip() for cell in table.column("image_id")]
    classes = table.parsed(table.column("class_name"), _class, NO_FINDING)
    readers = table.optional("rad_id") or ("consensus",) * len(table)
    ids = list(dict.fromkeys(names))
    first = {name: row for row, name in reversed(list(enumerate(names)))}
    marked = [name for name in classes if name != NO_FINDING]
    asked = list(dict.fromkeys((*map(canonical_pathology, _CLASSES), *marked)))
    states = _states(ids, asked, list(zip(names, classes, readers, strict=True)))
    positive = {(ids[row], asked[at]) for row, at in np.argwhere(states == POSITIVE).tolist()}
    boxes = _boxes(table, names, classes, positive)
    sizes = _sizes(table, names)
    table.problems.raise_any()
    paths = paths_of(ids, images, otherwise=split if (images / split).is_dir() else "", ending=".dicom")
    boxed = {row: boxes[name] for row, name in enumerate(ids) if name in boxes}
    return Manifest(
        ids,
        paths,
        pathologies=asked,
        states=states,
        splits=[split] * len(ids),
        label_sources=f"VinDr-CXR, {table.source}; {_RULE if 'rad_id' in table.columns else 'consensus'}",
        boxes=boxed,
        box_spaces={row: sizes[ids[row]] for row in boxed if ids[row] in sizes},
        notes=_notes([paths[row] for row in boxed if ids[row] not in sizes]),
        lines=[table.lines[first[name]] for name in ids],
    )


def _sizes(table: CsvTable, names: list[str]) -> dict[str, Space]:
    """The size of each image that the boxes were drawn on, where the table says it."""
    widths, heights = table.optional("width"), table.optional("height")
    sizes: dict[str, Space] = {}
    if widths is None or heights is None:
        return sizes
    for line, name, *cells in zip(table.lines, names, widths, heights, strict=True):
        width, height = (cell.strip().removesuffix(".0") for cell in cells)
        try:
            size = parse_space(f"{width}x{height}")
        except CellError:
            table.problems.add(line, f"the size {quoted(cells)}")
        else:
            if sizes.setdefault(name, size) != size:
                table.problems.add(line, f"another size than before for {quoted(name)}")
    return sizes


def _notes(paths: list[str]) -> list[str]:
    """That copies of images may be smaller than those that the boxes were drawn on."""
    copies = [path for path in paths if not path.endswith(_ORIGINALS)]
    if not copies:
        return []
    return [
        f"boxes are in the pixels of the original DICOM files: those of {len(copies)} images, such as "
        f"{quoted(copies[0])}, are right only where these have their full size"
    ]


def _class(cell: str) -> str:
    """A class, in any spelling."""
    return NO_FINDING if says_no_finding(cell) else known_in_cell(cell)


def _states(ids: list[str], asked: list[str], readings: list[tuple[str, str, str]]) -> States:
    """(n, classes); readings are (image, class, reader), and a reader may box one class several times."""
    readers = Counter(image for image, _ in {(image, reader) for image, _, reader in readings})
    marks = Counter((image, name) for image, name, _ in set(readings))
    rows = {image: row for row, image in enumerate(ids)}
    states = np.full((len(ids), len(asked)), NEGATIVE, np.int8)
    for (image, name), count in marks.items():
        if name in asked:
            twice, all_of = 2 * count, readers[image]
            state = POSITIVE if twice > all_of else UNCERTAIN if twice == all_of else NEGATIVE
            states[rows[image], asked.index(name)] = state
    for at, name in enumerate(asked):
        if name in _PART_OF:
            states[states[:, at] == NEGATIVE, at] = NOT_LABELLED
    return states


def _boxes(
    table: CsvTable, names: list[str], classes: list[str], positive: set[Mark]
) -> dict[str, tuple[ReferenceBox, ...]]:
    """The boxes of the pathologies that are positive, by image."""
    found: dict[str, tuple[ReferenceBox, ...]] = {}
    places = zip(*(table.column(name) for name in _PLACE), strict=True)
    for line, image, name, place in zip(table.lines, names, classes, places, strict=True):
        if name == NO_FINDING:
            continue
        box = _box(name, place)
        if box is None:
            table.problems.add(line, f"the box {quoted(place)} of {quoted(name)}")
        elif (image, box.pathology) in positive:
            found[image] = (*found.get(image, ()), box)
    return found


def _box(name: str, place: tuple[str, ...]) -> ReferenceBox | None:
    """A box from the corners' coordinates; None where they make no box."""
    try:
        left, top, right, bottom = map(float, place)
    except ValueError:
        return None
    inside = 0 <= left < right < float("inf") and 0 <= top < bottom < float("inf")
    return ReferenceBox(name, left, top, right - left, bottom - top) if inside else None
