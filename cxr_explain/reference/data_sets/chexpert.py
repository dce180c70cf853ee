"""CheXpert, and the copy of the validation and test images that comes with CheXlocalize.

Source: Irvin et al., CheXpert, AAAI 2019; https://stanfordaimi.azurewebsites.net/datasets/8cbd9ed4-2eb9-4565-affc-111cf4f7ebe2.
"""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import Literal

from cxr_explain.errors import ManifestError
from cxr_explain.reference.data_sets.chexpert_folders import batches_in, image_folders, is_batch
from cxr_explain.reference.data_sets.folders import first_file
from cxr_explain.reference.data_sets.labels import CHEXPERT_PATHOLOGIES, label_columns, no_finding_cells
from cxr_explain.reference.data_sets.people import ages_of, sexes_of
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.problems import quoted
from cxr_explain.reference.table import CsvTable, reading

ChexpertSplit = Literal["train", "valid", "test"]
ChexpertSize = Literal["full", "small"]

_ROOTS: dict[str, str] = {"full": "CheXpert-v1.0", "small": "CheXpert-v1.0-small"}
_TABLES: dict[str, tuple[str, ...]] = {
    "train": ("train.csv", "train.csv.gz"),
    "valid": ("valid.csv", "val_labels.csv", "valid.csv.gz", "val.csv"),
    "test": ("test.csv", "test_labels.csv", "test.csv.gz"),
}
_SPLITS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}
_PATH = re.compile(
    r"(?:CheXpert-v1\.0[^/]*/|CheXpert/)?"
    r"(?P<split>train|valid|val|test)/(?P<patient>patient\d+)/(?P<study>study\d+)/"
    r"(?P<file>view\d+_(?P<view>frontal|lateral)\.\w+)",
    re.ASCII,
)
_VIEWS = frozenset({"AP", "PA", "LL", "RL"})


def manifest_of_chexpert(
    source: str | PathLike[str],
    *,
    split: ChexpertSplit | None = None,
    size: ChexpertSize | None = None,
) -> Manifest:
    """The images of CheXpert's label tables; each image of a study has one row.

    1, 0 and -1 are positive, negative and uncertain, a blank is not mentioned; what is done with uncertain
    labels is decided when statistics are made. "No Finding" is no pathology: it becomes the column
    `no_finding`. Age 0 is unknown. The view is AP, PA, LL or RL, else frontal or lateral.

    Args:
        source: the folder with `train.csv`, `valid.csv` or `test.csv`, or the one above it, or one table. The
            images may lie in `train/`, `valid/` and `test/` beside the tables, or in the batches of the
            download (`CheXpert-v1.0 batch 2 (train 1)/`).
        split: take only the images of one split; by default all tables that are there.
        size: whether to take `CheXpert-v1.0` (full) or `CheXpert-v1.0-small`, where `source` has both.

    Returns:
        The manifest; its paths are relative to `source` (a table's folder where it is a table).

    Raises:
        ManifestError: no table, bad rows (all of them), or images in another layout.
    """
    given = Path(source)
    folder = given.parent if given.is_file() else given
    root = "" if given.is_file() else _root(folder, size)
    tables = [given] if given.is_file() else _tables(folder / root, split)
    prefix = f"{root}/" if root and not is_batch(Path(root)) else ""
    first, *others = [chexpert_table(path, folder, prefix=prefix) for path in tables]
    return first.followed_by(*others).in_split(split)


def chexpert_table(path: Path, folder: Path, *, prefix: str, name: str = "CheXpert") -> Manifest:
    """The manifest of one table of CheXpert's columns.

    Args:
        path: the table's CSV file.
        folder: the folder that the manifest's paths are to be relative to.
        prefix: what the paths begin with: the way from `folder` to the folder with `train/` and `valid/`.
        name: the data set's name, for the source of the labels.

    Raises:
        ManifestError: bad rows; all of them.
    """
    with reading(path) as table:
        return _manifest(table, folder, prefix, name)


def _manifest(table: CsvTable, folder: Path, prefix: str, name: str) -> Manifest:
    pathologies, states = label_columns(table, CHEXPERT_PATHOLOGIES)
    if not pathologies:
        raise ManifestError("no label column", expected=f"columns such as {CHEXPERT_PATHOLOGIES[1]!r}")
    found = [_PATH.fullmatch(cell.strip().replace("\\", "/")) for cell in table.column("Path")]
    for line, cell, match in zip(table.lines, table.column("Path"), found, strict=True):
        if match is None:
            table.problems.add(line, f"the path {quoted(cell)}, which is not CheXpert's")
    views = _views(table, [match["view"] if match else "" for match in found])
    sexes = sexes_of(table, "Sex")
    ages = ages_of(table, "Age", zero_is_known=False)
    table.problems.raise_any()
    matches = [match for match in found if match is not None]
    folders = image_folders(folder / prefix, {(each["split"], each["patient"]) for each in matches})
    places = [(each["patient"], each["study"], each["file"]) for each in matches]
    return Manifest(
        ["_".join((*place[:2], place[2].rpartition(".")[0])) for place in places],
        [
            f"{prefix}{folders[each['split'], each['patient']]}/{'/'.join(place)}"
            for each, place in zip(matches, places, strict=True)
        ],
        pathologies=pathologies,
        states=states,
        patients=[each["patient"] for each in matches],
        views=views,
        sexes=sexes,
        ages=ages,
        splits=[_SPLITS[each["split"]] for each in matches],
        label_sources=f"{name}, {table.source}",
        extra=no_finding_cells(table),
        lines=table.lines,
    )


def _root(folder: Path, size: ChexpertSize | None) -> str:
    """From `folder` to the folder with the tables."""
    if any(first_file(folder, *names) for names in _TABLES.values()):
        return ""
    with_tables = [
        each for each in batches_in(folder) if any(first_file(each, *names) for names in _TABLES.values())
    ]
    if with_tables:
        return with_tables[0].name
    there = {each: root for each, root in _ROOTS.items() if (folder / root).is_dir()}
    wanted = [root for each, root in there.items() if size in (None, each)]
    if len(wanted) == 1:
        return wanted[0]
    raise ManifestError(
        f"{' and '.join(wanted) or 'no label table'}",
        expected="one of the folders of CheXpert",
        remedy="Choose with size." if wanted else "Name the folder with train.csv and valid.csv.",
        source=folder,
    )


def _tables(folder: Path, split: ChexpertSplit | None) -> list[Path]:
    wanted = _TABLES if split is None else {split: _TABLES[split]}
    found = [path for names in wanted.values() if (path := first_file(folder, *names))]
    if not found:
        names = ", ".join(name for each in wanted.values() for name in each[:2])
        raise ManifestError("no label table", expected=f"one of {names}", source=folder)
    return found


def _views(table: CsvTable, from_names: list[str]) -> list[str]:
    """AP/PA where it is said, else frontal or lateral; the test table leaves it to the file's name."""
    directions = table.texts("AP/PA")
    for line, direction in zip(table.lines, directions, strict=True):
        if direction not in _VIEWS and direction is not None:
            table.problems.add(line, f"the view {quoted(direction)}")
    sides = [side and side.lower() for side in table.texts("Frontal/Lateral")]
    return [
        direction or side or name for direction, side, name in zip(directions, sides, from_names, strict=True)
    ]
