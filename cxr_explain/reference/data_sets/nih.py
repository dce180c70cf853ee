"""NIH ChestX-ray14.

Source: Wang et al., ChestX-ray8, CVPR 2017; https://nihcc.app.box.com/v/ChestXray-NIHCC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np

from cxr_explain.errors import ManifestError
from cxr_explain.pathologies import NIH_PATHOLOGIES, LabelState, ReferenceBox, labels_in
from cxr_explain.reference.columns import Space
from cxr_explain.reference.data_sets.folders import first_file, folder_of, paths_of, required_file
from cxr_explain.reference.data_sets.people import ages_of, sexes_of
from cxr_explain.reference.entry import box_fits
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.paths import stem_of, without_root
from cxr_explain.reference.problems import CellError, as_cell_error, known_in_cell, quoted
from cxr_explain.reference.states import NOT_LABELLED, POSITIVE, STATE_CODES, States, states_by_image
from cxr_explain.reference.table import CsvTable, read_bytes, reading

NIH_PIXELS = 1024
"""NIH's boxes are in the 1024 x 1024 PNGs."""

LABELS = "Finding Labels"
"""The column that holds the labels in NIH's table."""

NihSplit = Literal["train_val", "test"]
BoxesByImage = Mapping[str, tuple[ReferenceBox, ...]]

_LISTS: dict[str, str] = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
_LONGEST_LIST = 2**24  # bytes; NIH's are below 2**21
_IMAGE = "Image Index"
_PLACE = ("Bbox [x", "y", "w", "h]")  # the header's "Bbox [x,y,w,h]" is not quoted: four columns
_SPACE: Space = (NIH_PIXELS, NIH_PIXELS)


def manifest_of_nih(
    source: str | PathLike[str],
    *,
    split: NihSplit | None = None,
    images: str | PathLike[str] | None = None,
) -> Manifest:
    """The images of NIH ChestX-ray14's label table, with its boxes and its split.

    The 14 labels are positive or negative; all other pathologies are not labelled. Boxes are those of
    BBox_List_2017.csv, in the 1024 x 1024 PNGs. An age above 120 is taken as unknown.

    Args:
        source: the folder with `Data_Entry_2017*.csv`, and `BBox_List_2017.csv`, `train_val_list.txt` and
            `test_list.txt` where they are; gzipped tables are read as well.
        split: take only the images of one of the two lists.
        images: the folder that the paths are relative to; by default `images/` in `source`, else `source`.
            The files may lie in it, in `images_001/images/` and so on, or in another folder below.

    Raises:
        ManifestError: a missing table or list, or bad rows; all of them.
    """
    folder = folder_of(source)
    root = _image_folder(folder, images)
    box_list = first_file(folder, "BBox_List_2017.csv", "BBox_List_2017.csv.gz")
    with reading(required_file(folder, "Data_Entry_2017*.csv", "Data_Entry_2017*.csv.gz")) as table:
        names = _names(table)
        manifest = nih_manifest(
            table,
            f"NIH ChestX-ray14, {table.source}",
            paths=paths_of(names, root, otherwise=""),
            splits=_splits(folder, names),
            boxes={} if box_list is None else read_nih_boxes(box_list),
        )
    if split is not None:
        _required_list(folder, split)
    return manifest.in_split(split)


def nih_manifest(
    table: CsvTable,
    label_source: str,
    *,
    paths: Iterable[str] | None = None,
    splits: Iterable[str | None] | None = None,
    boxes: BoxesByImage | None = None,
) -> Manifest:
    """The manifest of a table in the layout of NIH's Data_Entry_2017, in any variant.

    Args:
        table: table with the columns `Image Index` and `Finding Labels`; the others may be left out.
        label_source: where the labels come from.
        paths: path of each image; by default the image's name.
        splits: split that each image belongs to; by default unknown.
        boxes: reference boxes by the image's name; those of images that the table does not have are left out.

    Raises:
        ManifestError: no such columns, or bad rows; all of them.
    """
    names = [without_root(name) for name in _names(table)]
    boxed = {row: boxes[name] for row, name in enumerate(names) if name in boxes} if boxes else {}
    others = set(boxes or ()) - set(names)
    left_out = f"the boxes of {len(others)} of {len(boxes or ())} images left out, which the table has not"
    return Manifest(
        [stem_of(name) for name in names],
        names if paths is None else paths,
        pathologies=NIH_PATHOLOGIES,
        states=_states(table),
        patients=_patients(table, names),
        views=table.texts("View Position"),
        sexes=sexes_of(table, "Patient Gender", "Patient Sex"),
        ages=ages_of(table, "Patient Age", zero_is_known=True),
        splits=splits,
        label_sources=label_source,
        boxes=boxed,
        box_spaces=dict.fromkeys(boxed, _SPACE),
        extra={"follow_up": [cell or "" for cell in table.texts("Follow-up #")]},
        lines=table.lines,
        notes=[left_out] if others else [],
        problems=table.problems,
    )


def read_nih_boxes(path: Path) -> BoxesByImage:
    """The boxes of NIH's BBox_List_2017.csv by the image's name, in its 1024 x 1024 pixels.

    Raises:
        ManifestError: no such columns, or bad rows; all of them.
    """
    found: dict[str, tuple[ReferenceBox, ...]] = {}
    with reading(path) as table:
        names = [without_root(cell) for cell in table.column(_IMAGE)]
        pathologies = table.parsed(table.column("Finding Label"), known_in_cell, "")
        columns = [table.column(name) for name in _PLACE]
        for line, name, pathology, *cells in zip(table.lines, names, pathologies, *columns, strict=True):
            box = _box(pathology, cells)
            if box is None:
                table.problems.add(line, f"the box {quoted(cells)}")
            else:
                found[name] = (*found.get(name, ()), box)
    return found


def manifest_of_nih_boxes(path: Path) -> Manifest:
    """The images of NIH's BBox_List_2017.csv; what has a box is positive, all else is not labelled.

    Raises:
        ManifestError: no such columns, or bad rows; all of them.
    """
    boxes = read_nih_boxes(path)
    rows = range(len(boxes))
    pathologies, states = states_by_image(
        [{box.pathology: POSITIVE for box in found} for found in boxes.values()]
    )
    return Manifest(
        [stem_of(name) for name in boxes],
        boxes,
        pathologies=pathologies,
        states=states,
        label_sources="reference boxes",
        boxes=dict(zip(rows, boxes.values(), strict=True)),
        box_spaces=dict.fromkeys(rows, _SPACE),
    )


def _image_folder(folder: Path, images: str | PathLike[str] | None) -> Path:
    if images is not None:
        return folder_of(images)
    return folder / "images" if (folder / "images").is_dir() else folder


def _names(table: CsvTable) -> list[str]:
    return [name.strip() for name in table.column(_IMAGE)]


def _states(table: CsvTable) -> States:
    """(n, 14); 112,120 rows have 836 distinct cells."""
    codes = table.parsed(table.column(LABELS), _codes, [NOT_LABELLED] * len(NIH_PATHOLOGIES))
    return np.array(codes, np.int8).reshape(len(table), len(NIH_PATHOLOGIES))


def _codes(cell: str) -> list[int]:
    """Codes of the 14 states; what NIH does not name is negative."""
    if not cell.strip():
        raise CellError("no label at all")
    with as_cell_error():
        found, _ = labels_in(cell)
    for name in found:
        if name not in NIH_PATHOLOGIES:
            raise CellError(f"{quoted(name)}, which is none of NIH's 14 labels")
    return [STATE_CODES[found.get(name, LabelState.NEGATIVE)] for name in NIH_PATHOLOGIES]


def _patients(table: CsvTable, names: list[str]) -> list[str | None]:
    """As the table has them, without leading zeros; else from the name, PPPPPPPP_FFF.png."""
    column = table.optional("Patient ID")
    given = [name.split("_")[0] for name in names] if column is None else [cell.strip() for cell in column]
    return [each.lstrip("0") or each or None for each in given]


def _splits(folder: Path, names: list[str]) -> list[str | None]:
    split_of: dict[str, str] = {}
    for split, file in _LISTS.items():
        for name in _listed(folder / file):
            if split_of.setdefault(name, split) != split:
                raise ManifestError(
                    f"{quoted(name)} in both lists", expected="one of the two", source=folder / file
                )
    return [split_of.get(name) for name in names]


def _listed(path: Path) -> list[str]:
    """File names, one a line; nothing where there is no list."""
    if not path.exists():
        return []
    try:
        lines = read_bytes(path, _LONGEST_LIST).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ManifestError("something else than text", expected="a file name a line", source=path) from None
    return [line.strip() for line in lines if line.strip()]


def _required_list(folder: Path, split: str) -> None:
    if not _listed(folder / _LISTS[split]):
        raise ManifestError(f"no {_LISTS[split]}", expected="NIH's list of that split", source=folder)


def _box(pathology: str, cells: list[str]) -> ReferenceBox | None:
    """A box from its left and upper edge, width and height; None where they make no box in the image."""
    try:
        box = ReferenceBox(pathology, *map(float, cells))
    except ValueError:
        return None
    return box if box_fits(box, _SPACE) else None
