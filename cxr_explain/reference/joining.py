"""Further columns of a manifest from a table of one's own: race, insurance, scanner, hospital as they come.

The table has a row for each image, or for each patient, and says so by the name of the column of keys. What
it joins is what makes groups: words of which there are few, and numbers in bands. All else, such as names,
numbers of examinations or free text, is left out, and said to be. Keys are compared and forgotten: no message
and no note holds a patient's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cxr_explain.errors import ManifestError, naming
from cxr_explain.reference.columns import FIRST, LABEL, LAST
from cxr_explain.reference.manifest import Manifest
from cxr_explain.reference.problems import quoted
from cxr_explain.reference.table import CsvTable, is_blank, parse_table, read_bytes
from cxr_explain.support.prose import counted

JoinKey = Literal["image_id", "patient"]

MOST_VALUES = 12
"""Different values that a column may have to make groups."""

LONGEST_VALUE = 60
"""Characters of a value; a longer one is a text to read, which may hold anything."""

MOST_COLUMNS = 20
"""Columns of a table that make groups."""

BANDS = 4
"""Bands that the numbers of a column with more than `MOST_VALUES` of them are cut into, by quantiles."""

_KEYS: Mapping[JoinKey, str] = {"image_id": "ids", "patient": "patients"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_DIGITS = 3  # of a band's edge, which then is nobody's number
_SHOWN = 5


@dataclass(frozen=True, eq=False)
class JoinedManifest:
    r"""A manifest with further columns, and where they come from.

    Args:
        manifest: the manifest with the columns.
        columns: names of the columns that it did not have before.
        key: the column by which rows were found: that of images, or of patients.
        sha256: hexadecimal digest of the table's bytes.
        images: how many images have a row in the table.
        notes: what was left out of the table, for people to read.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     table = Path(folder, "scanners.csv")
    ...     _ = table.write_text("image_id,scanner\na,old\n")
    ...     joined = join_columns(Manifest("ab", ["a.png", "b.png"]), table)
    >>> joined.columns, joined.record["by"], joined.images
    (('scanner',), 'image_id', 1)
    """

    manifest: Manifest
    columns: tuple[str, ...]
    key: JoinKey
    sha256: str
    images: int
    notes: tuple[str, ...]

    @property
    def record(self) -> dict[str, Any]:
        """Where the columns come from, as documents keep it: neither a path nor a key."""
        found: dict[str, Any] = {"columns": list(self.columns), "by": self.key, "images": self.images}
        return found | {"table_sha256": self.sha256}


def join_columns(manifest: Manifest, path: str | PathLike[str]) -> JoinedManifest:
    r"""Add the columns of a table to a manifest.

    Args:
        manifest: images, with the patients that the table may name.
        path: a CSV file in UTF-8 with a column `image_id` or `patient`, and further ones of any name.

    Raises:
        ManifestError: no such table; both columns of keys, or none; a column that the manifest has already;
            two rows that say different things of one key; or no key that is in the manifest.

    >>> from tempfile import TemporaryDirectory
    >>> manifest = Manifest("abc", ["a.png", "b.png", "c.png"], patients=["1", "1", "2"])
    >>> with TemporaryDirectory() as folder:
    ...     table = Path(folder, "insurance.csv")
    ...     _ = table.write_text("patient,insurance\n1,private\n2,public\n9,public\n")
    ...     joined = join_columns(manifest, table)
    >>> joined.manifest.extra
    {'insurance': ('private', 'private', 'public')}
    >>> joined.notes
    ('1 of 3 patients of the table is not in the manifest (line 4).',)
    """
    with naming(path):
        data = read_bytes(Path(path))
        table = parse_table(data, fspath(path))
        key = _key_of(table)
        names = [name for name in table.header if name != key]
        _check_names(names, manifest)
        cells = {name: [_said(cell) for cell in table.columns[name]] for name in names}
        by_key = _rows_by_key(table, key, cells)
        table.problems.raise_any()
        keys = getattr(manifest, _KEYS[key])
        rows = [by_key.get(each) for each in keys]
        if not any(row is not None for row in rows):
            raise _nothing_found(by_key, keys, key)
        columns = {name: _column(found, rows) for name, found in cells.items()}
        kept = {name: found for name, (found, _) in columns.items() if found}
        if len(kept) > MOST_COLUMNS:
            raise ManifestError(f"{len(kept)} columns that make groups", expected=f"at most {MOST_COLUMNS}")
        joined = replace(manifest, extra={**manifest.extra, **kept})
    notes = (
        *_unmatched(table, key, by_key, keys),
        *(f"The column {quoted(name)} {note}." for name, (_, note) in columns.items() if note),
    )
    digest, matched = hashlib.sha256(data).hexdigest(), sum(row is not None for row in rows)
    return JoinedManifest(joined, tuple(kept), key, digest, matched, notes)


def _key_of(table: CsvTable) -> JoinKey:
    found = [key for key in _KEYS if key in table.columns]
    if len(found) != 1:
        raise ManifestError(
            f"both columns {' and '.join(found)}" if found else f"the columns {table.shown_header}",
            expected=f"one column of keys: {' or '.join(_KEYS)}",
            remedy="Leave one of them out." if found else "Name the column of keys so.",
        )
    return found[0]


def _check_names(names: Sequence[str], manifest: Manifest) -> None:
    if not names:
        raise ManifestError("a column of keys alone", expected="further columns to join")
    there = {name.casefold() for name in (*FIRST, *LAST, *manifest.extra)}
    for name in names:
        if name.casefold() in there or name.startswith(LABEL):
            raise ManifestError(
                f"the column {quoted(name)}, which the manifest has already",
                expected="columns that it does not have",
                remedy="Rename it, or leave it out.",
            )


def _said(cell: str) -> str:
    return "" if is_blank(cell) else cell.strip()


def _rows_by_key(table: CsvTable, key: JoinKey, cells: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The first row of each key; another that says something else is a problem of the table."""
    found: dict[str, int] = {}
    for row, (line, cell) in enumerate(zip(table.lines, table.columns[key], strict=True)):
        if is_blank(cell):
            table.problems.add(line, f"no {key}")
            continue
        first = found.setdefault(cell.strip(), row)
        for name, column in cells.items():
            if column[row] != column[first]:
                text = f"another {quoted(name)} than line {table.lines[first]} has of the same {key}"
                table.problems.add(line, text)
    return found


def _nothing_found(by_key: Mapping[str, int], keys: Sequence[str | None], key: JoinKey) -> ManifestError:
    short = {each.lstrip("0") for each in by_key}
    zeros = any(each and each not in by_key and each.lstrip("0") in short for each in keys)
    return ManifestError(
        f"{key}: none of {len(by_key):,} keys in the manifest",
        expected=f"a {key} as the manifest writes it" if any(keys) else f"a manifest with a {key}",
        remedy="Zeros in front were lost, as a spreadsheet does: read the column as text." if zeros else None,
    )


def _unmatched(
    table: CsvTable, key: JoinKey, by_key: Mapping[str, int], keys: Sequence[str | None]
) -> Iterator[str]:
    """How many keys met none; a key is named by its line."""
    there = set(keys)
    lines = [table.lines[row] for each, row in by_key.items() if each not in there]
    if lines:
        noun = "image" if key == "image_id" else "patient"
        shown = ", ".join(map(str, lines[:_SHOWN])) + ", ..." * (len(lines) > _SHOWN)
        verb, plural = ("is", "") if len(lines) == 1 else ("are", "s")
        yield (
            f"{len(lines):,} of {counted(len(by_key), noun)} of the table {verb} not in the manifest "
            f"(line{plural} {shown})."
        )
    without = sum(each not in by_key for each in keys)
    if without:
        yield f"{without:,} of {counted(len(keys), 'image')} without a row in the table: unknown."


def _column(cells: Sequence[str], rows: Sequence[int | None]) -> tuple[tuple[str, ...], str]:
    """A column of the manifest and a note on it; () where it makes no groups."""
    of_images = tuple("" if row is None else cells[row] for row in rows)
    values = set(of_images) - {""}
    if not values:
        return (), "says nothing of these images, and is left out"
    if max(map(len, values)) > LONGEST_VALUE:
        return (), f"has texts of more than {LONGEST_VALUE} characters, and is left out"
    used = [row for row in {row for row in rows if row is not None} if cells[row]]
    if len(values) <= MOST_VALUES:
        if len(values) > max(2, len(used) // 2):
            return (
                (),
                f"has {len(values)} different values in {len(used)} rows, as names have, and is left out",
            )
        return of_images, ""
    numbers = {value: float(value) for value in values if _NUMBER.fullmatch(value)}
    if len(numbers) < len(values) or not np.isfinite(list(numbers.values())).all():
        return (), f"has {len(values):,} different texts, more than {MOST_VALUES}, and is left out"
    edges = _edges([numbers[cells[row]] for row in used])
    names = _bands(edges)
    at = {
        value: names[int(np.searchsorted(edges, number, side="right"))] for value, number in numbers.items()
    }
    return tuple(at.get(cell, "") for cell in of_images), f"has numbers, cut into bands: {'; '.join(names)}"


def _edges(numbers: Sequence[float]) -> list[float]:
    """Where bands begin: quantiles, rounded so that they are no single patient's number."""
    quantiles = np.quantile(numbers, np.arange(1, BANDS) / BANDS)
    return sorted({float(f"{quantile:.{_DIGITS}g}") for quantile in quantiles})


def _bands(edges: Sequence[float]) -> list[str]:
    """Names of the bands; an edge belongs to the band above it.

    >>> _bands([18.5, 25.0])
    ['under 18.5', '18.5 to 25', '25 and more']
    """
    texts = [f"{edge:.{_DIGITS}g}" for edge in edges]
    between = [f"{low} to {high}" for low, high in pairwise(texts)]
    return [f"under {texts[0]}", *between, f"{texts[-1]} and more"]
