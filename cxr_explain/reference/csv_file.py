"""Manifests as CSV files: a row for each image, UTF-8, RFC 4180.

Cells are written as they are, so that a manifest reads back as it was: also those that a spreadsheet would
run as a formula (`=`, `+`, `-`, `@` in front). Tables made for people put an apostrophe before them.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TypeVar, cast

from cxr_explain.errors import OutputError, naming
from cxr_explain.reference.cells import (
    format_age,
    format_boxes,
    format_masks,
    format_space,
    parse_age,
    parse_boxes,
    parse_masks,
    parse_space,
)
from cxr_explain.reference.columns import FIRST, LABEL, LAST
from cxr_explain.reference.entry import Sex
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.states import CELLS, MANIFEST_CELLS, label_states
from cxr_explain.reference.table import CsvTable, parse_table, read_table
from cxr_explain.support.whole_file import write_output

T = TypeVar("T")
_BEGINNING = b"image_id,path"
_CELL_OF_STATE = {code: cell for cell, code in CELLS.items()}


def read_manifest(path: str | PathLike[str]) -> Manifest:
    r"""Read a manifest.

    Args:
        path: a CSV file with the columns `image_id` and `path`; all others may be left out.

    Raises:
        ManifestError: no CSV in UTF-8, or bad rows: the first 20 with their lines, and how many more.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "two.csv")
    ...     _ = file.write_text("image_id,path,label:Mass\na,a.png,1\nb,b.png,n/a\n")
    ...     read_manifest(file).states.tolist()
    [[1], [-3]]
    """
    with naming(path):
        return manifest_in(read_table(Path(path), fspath(path)))


def parse_manifest(data: bytes, *, source: str | PathLike[str] = "manifest") -> Manifest:
    r"""Read a manifest from the bytes of a file.

    Args:
        data: CSV in UTF-8.
        source: the file's name, for messages.

    Raises:
        ManifestError: no CSV in UTF-8, or bad rows: the first 20 with their lines, and how many more.

    >>> parse_manifest(b"image_id,path\na,a.png\n").ids
    ('a',)
    """
    with naming(source):
        return manifest_in(parse_table(data, fspath(source)))


def write_manifest(manifest: Manifest, path: str | PathLike[str]) -> Path:
    r"""Write a manifest; the file is written whole or not at all, and reads back as it was.

    Args:
        manifest: the manifest to write.
        path: where to write the CSV file; its folder is made where it is missing.

    Returns:
        The path written.

    Raises:
        OutputError: a folder that cannot be written to, or a file that is there and is no manifest.

    >>> from tempfile import TemporaryDirectory
    >>> manifest = parse_manifest(b"image_id,path,label:Mass\na,a.png,1\n")
    >>> with TemporaryDirectory() as folder:
    ...     read_manifest(write_manifest(manifest, f"{folder}/manifest.csv")) == manifest
    True
    """
    _check_replaceable(Path(path))
    return write_output(path, csv_bytes(manifest), "a manifest")


def _check_replaceable(path: Path) -> None:
    """Refuse to write over what may be the only copy of a data set's own table."""
    try:
        with path.open("rb") as file:
            first = file.read(2 * len(_BEGINNING)).removeprefix(codecs.BOM_UTF8)
    except (OSError, ValueError):
        return  # nothing is there, or writing says what is wrong
    if first and not first.startswith(_BEGINNING):
        raise OutputError(
            "a file that is no manifest, which the manifest would replace",
            expected="a new file, or an older manifest",
            remedy="Name another with --out, path=.",
            source=path,
        )


def csv_bytes(manifest: Manifest) -> bytes:
    r"""The CSV file of a manifest; the same manifest gives the same bytes.

    >>> csv_bytes(Manifest(["a"], ["a.png"]))
    b'image_id,path,patient,view,sex,age,split\r\na,a.png,,,,,\r\n'
    """
    columns = _written(manifest)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def _written(manifest: Manifest) -> dict[str, Iterable[str]]:
    """Columns of text; of those after the labels, the ones that say something."""
    n = len(manifest)
    columns: dict[str, Iterable[str]] = {
        name: _texts(getattr(manifest, attribute)) for name, attribute in FIRST.items()
    }
    columns["age"] = ["" if age is None else format_age(age) for age in manifest.ages]
    for name, codes in zip(manifest.pathologies, manifest.states.T, strict=True):
        columns[LABEL + name] = [_CELL_OF_STATE[code] for code in codes.tolist()]
    last: dict[str, Iterable[str]] = {
        "boxes": _sparse(manifest.boxes, format_boxes, n),
        "box_space": _sparse(manifest.box_spaces, format_space, n),
        "masks": _sparse(manifest.masks, format_masks, n),
        "label_source": manifest.label_sources,
    }
    columns |= {name: cells for name, cells in last.items() if any(cells)}
    return columns | dict(manifest.extra)


def _texts(column: Iterable[str | None]) -> list[str]:
    return [cell or "" for cell in column]


def _sparse(values: Mapping[int, T], text: Callable[[T], str], n: int) -> list[str]:
    return [text(values[row]) if row in values else "" for row in range(n)]


def is_manifest(table: CsvTable) -> bool:
    """Whether a table's labels are named as a manifest names them."""
    return any(name.startswith(LABEL) for name in table.header)


def manifest_in(table: CsvTable) -> Manifest:
    """The manifest that a table holds.

    Raises:
        ManifestError: a column is not there, or bad rows; all of them.
    """
    labels = {name: name.removeprefix(LABEL) for name in table.header if name.startswith(LABEL)}
    known = {*FIRST, *LAST, *labels}
    ages = _parsed(table, "age", parse_age)
    return Manifest(
        table.column("image_id"),
        table.column("path"),
        pathologies=list(labels.values()),
        states=label_states(table, labels, MANIFEST_CELLS),
        patients=table.optional("patient"),
        views=table.optional("view"),
        sexes=cast("Sequence[Sex | None] | None", table.optional("sex")),  # the manifest refuses others
        ages=[ages.get(row) for row in range(len(table))],
        splits=table.optional("split"),
        label_sources=table.optional("label_source") or "",
        boxes=_parsed(table, "boxes", parse_boxes),
        box_spaces=_parsed(table, "box_space", parse_space),
        masks=_parsed(table, "masks", parse_masks),
        extra={name: table.columns[name] for name in table.header if name not in known},
        lines=table.lines,
        problems=table.problems,
    )


def _parsed(table: CsvTable, name: str, parse: Callable[[str], T]) -> dict[int, T]:
    """What the cells of a column that is mostly empty say, by row."""
    values = table.parsed(table.optional(name) or (), lambda cell: parse(cell) if cell else None, None)
    return {row: value for row, value in enumerate(values) if value is not None}
