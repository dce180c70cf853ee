"""NIH ChestX-ray14.

Source: Wang et al., ChestX-ray8, CVPR 2017; https://nihcc.app.box.com/v/ChestXray-NIHCC.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np

from cxr_explain.errors import ManifestError, ReferenceLabelError
from cxr_explain.options import check_option
from cxr_explain.pathologies import NIH_PATHOLOGIES, ReferenceBox
from cxr_explain.reference.data_sets.folders import first_file, folder_of, paths_of, required_file
from cxr_explain.reference.data_sets.people import ages_of, sexes_of
from cxr_explain.reference.label_tables import NIH_PIXELS, nih_box, nih_states
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.problems import Problems, quoted
from cxr_explain.reference.states import NOT_LABELLED, STATE_CODES, States
from cxr_explain.reference.table import Table, read_bytes, read_table

NihSplit = Literal["train_val", "test"]

_LISTS: dict[str, str] = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
_PLACE = ("Bbox [x", "y", "w", "h]")  # the header's "Bbox [x,y,w,h]" is not quoted: four columns
_SPACE = (NIH_PIXELS, NIH_PIXELS)


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
        split: only the images of one of the two lists.
        images: the folder that the paths are relative to; by default `images/` in `source`, else `source`.
            The files may lie in it, in `images_001/images/` and so on, or in another folder below.

    Raises:
        ManifestError: a missing table or list, or bad rows; all of them.
    """
    if split is not None:
        check_option("split", split, NihSplit)
    folder = folder_of(source)
    problems = Problems()
    table = read_table(required_file(folder, "Data_Entry_2017*.csv", "Data_Entry_2017*.csv.gz"), problems)
    try:
        manifest = _manifest(table, folder, _image_folder(folder, images), problems)
    except ManifestError as error:
        raise error.at(folder / table.source) from error
    if split is None:
        return manifest
    _required_list(folder, split)
    return manifest.select(row for row, each in enumerate(manifest.splits) if each == split)


def _image_folder(folder: Path, images: str | PathLike[str] | None) -> Path:
    if images is not None:
        return folder_of(images)
    return folder / "images" if (folder / "images").is_dir() else folder


def _manifest(table: Table, folder: Path, images: Path, problems: Problems) -> Manifest:
    names = [name.strip() for name in table.column("Image Index")]
    boxes = _boxes(folder, {name: row for row, name in enumerate(names)})
    return Manifest.of(
        [Path(name).stem for name in names],
        paths_of(names, images, otherwise=""),
        pathologies=NIH_PATHOLOGIES,
        states=_states(table, problems),
        patients=_patients(table, names),
        views=table.texts("View Position"),
        sexes=sexes_of(table.optional("Patient Gender", "Patient Sex"), table.lines, problems),
        ages=ages_of(table.optional("Patient Age"), table.lines, problems, zero_is_known=True),
        splits=_splits(folder, names),
        label_sources=f"NIH ChestX-ray14, {table.source}",
        boxes=boxes,
        box_spaces=dict.fromkeys(boxes, _SPACE),
        extra={"follow_up": [cell or "" for cell in table.texts("Follow-up #")]},
        lines=table.lines,
        problems=problems,
    )


def _states(table: Table, problems: Problems) -> States:
    """Each distinct cell is read once: 112,120 rows have 836 of them."""
    known: dict[str, list[int]] = {}
    column = table.column("Finding Labels")
    for line, cell in zip(table.lines, column, strict=True):
        if cell not in known:
            known[cell] = _codes(cell)
        if known[cell][0] == NOT_LABELLED:
            problems.add(line, f"the labels {quoted(cell)}, which are not NIH's")
    return np.array([known[cell] for cell in column], np.int8).reshape(len(table), len(NIH_PATHOLOGIES))


def _codes(cell: str) -> list[int]:
    try:
        states = nih_states(cell)
    except ReferenceLabelError:
        return [NOT_LABELLED] * len(NIH_PATHOLOGIES)
    return [STATE_CODES[states[name]] for name in NIH_PATHOLOGIES]


def _patients(table: Table, names: list[str]) -> list[str | None]:
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
        lines = read_bytes(path).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ManifestError("something else than text", expected="a file name a line", source=path) from None
    return [line.strip() for line in lines if line.strip()]


def _required_list(folder: Path, split: str) -> None:
    if not _listed(folder / _LISTS[split]):
        raise ManifestError(f"no {_LISTS[split]}", expected="NIH's list of that split", source=folder)


def _boxes(folder: Path, rows: dict[str, int]) -> dict[int, tuple[ReferenceBox, ...]]:
    """By row; boxes of images that the label table does not have are left out."""
    path = first_file(folder, "BBox_List_2017.csv", "BBox_List_2017.csv.gz")
    if path is None:
        return {}
    problems = Problems()
    table = read_table(path, problems)
    try:
        columns = [table.column(name) for name in ("Image Index", "Finding Label", *_PLACE)]
    except ManifestError as error:
        raise error.at(path) from error
    found: dict[int, tuple[ReferenceBox, ...]] = {}
    for line, name, pathology, *cells in zip(table.lines, *columns, strict=True):
        try:
            box = nih_box(pathology, cells)
        except ReferenceLabelError as error:
            problems.add(line, error.found)
            continue
        if name.strip() in rows:
            row = rows[name.strip()]
            found[row] = (*found.get(row, ()), box)
    problems.raise_any(path)
    return found
