"""A CSV file as columns, with the line of each row; any bytes give a table, or one clear error."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TypeVar

from cxr_explain.errors import ManifestError, naming
from cxr_explain.reference.csv_lines import AS_CSV, LARGEST_FILE, CsvLines
from cxr_explain.reference.problems import CellError, Problems, quoted
from cxr_explain.support.bounded import open_regular, read_bounded

T = TypeVar("T")

BLANKS = frozenset({"", "nan", "na", "<na>"})
"""What stands for nothing in a cell, in small letters: pandas and R write the latter three."""

LONGEST_CELL = 131_072
"""Characters; the limit of Python's own CSV reader."""

_MOST_REFUSED = 1000  # different cells of a column: to look for the nearest name of each takes time

_SAID_DELIMITER = re.compile(r"sep=([,;\t])[ ,;\t]*\r?\n")
"""The line before the header by which Excel is told what separates cells."""
_UNNAMED = ("", "Unnamed: 0")
"""The name of the index that pandas writes, and what pandas makes of it at the next reading."""


@dataclass(frozen=True)
class CsvTable:
    """Columns of text by name, and the line that each row begins at.

    Args:
        columns: cells by the column's name; all columns are of one length.
        lines: the line of the file that each row begins at, counted from 1.
        source: the file's name, for messages.
        problems: what is wrong with the rows, as far as they were looked at.
    """

    columns: Mapping[str, tuple[str, ...]]
    lines: tuple[int, ...]
    source: str
    problems: Problems = field(default_factory=Problems)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def header(self) -> tuple[str, ...]:
        """Names of the columns, in the file's order."""
        return tuple(self.columns)

    @property
    def shown_header(self) -> str:
        """The first names of the columns, as a message shows them."""
        return ", ".join(map(quoted, self.header[:12])) or "(none)"

    def column(self, *names: str) -> tuple[str, ...]:
        """The first of the named columns that the table has.

        Args:
            *names: names that the column may have.

        Raises:
            ManifestError: none of them.
        """
        found = self.optional(*names)
        if found is None:
            raise ManifestError(
                f"the columns {self.shown_header}",
                expected=f"a column {' or '.join(map(repr, names))}",
            )
        return found

    def optional(self, *names: str) -> tuple[str, ...] | None:
        """The first of the named columns that the table has; None where it has none of them."""
        return next((self.columns[name] for name in names if name in self.columns), None)

    def texts(self, *names: str) -> list[str | None]:
        """The first of the named columns that the table has, without blanks around the cells.

        A cell is None where it is blank, or says so in words, and every cell where there is no such column.
        """
        cells = self.optional(*names)
        if cells is None:
            return [None] * len(self)
        return [
            None if is_blank(cell) or cell.strip() in ("None", "null") else cell.strip() for cell in cells
        ]

    def parsed(self, cells: Sequence[str], parse: Callable[[str], T], otherwise: T) -> list[T]:
        """What each cell of a column says; each distinct text is parsed once.

        Args:
            cells: one for each row, or none at all.
            parse: from a cell to what it says; raises `CellError`, which goes to the table's `problems`.
            otherwise: what stands for a cell that was refused.
        """
        said: dict[str, T] = {}
        refused: dict[str, str] = {}
        for cell in dict.fromkeys(cells):
            try:
                said[cell] = parse(cell)
            except CellError as error:
                refused[cell] = str(error)
            if len(refused) == _MOST_REFUSED:
                self.problems.stop_counting()
                break
        for line, cell in zip(self.lines, cells, strict=True) if refused else ():
            if cell in refused:
                self.problems.add(line, refused[cell])
        return [said.get(cell, otherwise) for cell in cells]


def is_blank(cell: str) -> bool:
    """Whether a cell says nothing: blank, or what pandas and R write for that.

    >>> is_blank(" NaN "), is_blank("0")
    (True, False)
    """
    return cell.strip().casefold() in BLANKS


@contextmanager
def reading(path: Path) -> Iterator[CsvTable]:
    r"""Read a data set's table, gzipped or not; what is wrong with it is raised with the file's name.

    Args:
        path: the CSV file.

    Yields:
        The table. Whoever uses it adds to its `problems`, all of which are raised at the end.

    Raises:
        ManifestError: no readable file, no CSV text in UTF-8, or bad rows.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "two.csv")
    ...     _ = file.write_text("image,labels\na.png,Mass\n")
    ...     with reading(file) as table:
    ...         table.column("labels")
    ('Mass',)
    """
    with naming(path):
        table = read_table(path, path.name, gzipped=True)
        yield table
        table.problems.raise_any()


def read_pairs(path: Path | None, key: str, value: str) -> dict[str, str]:
    """Two columns of a table as a dictionary.

    Args:
        path: the CSV file; None for none, which gives no pairs.
        key: name of the column of keys.
        value: name of the column of values.

    Raises:
        ManifestError: no such table, no such columns, or bad rows, such as two values for one key.
    """
    pairs: dict[str, str] = {}
    if path is None:
        return pairs
    with reading(path) as table:
        columns = table.column(key), table.column(value)
        for line, name, said in zip(table.lines, *columns, strict=True):
            if pairs.setdefault(name, said) != said:
                text = f"the {value} {quoted(said)} of {quoted(name)}, after {quoted(pairs[name])}"
                table.problems.add(line, text)
    return pairs


def read_bytes(path: Path, most: int = LARGEST_FILE) -> bytes:
    """The bytes of a table's file.

    Args:
        path: the file.
        most: number of bytes at most.

    Raises:
        ManifestError: no such file, a folder, or one beyond the limit.
    """
    with _readable(path):
        return read_bounded(path, most)


def read_table(path: Path, source: str, *, gzipped: bool = False) -> CsvTable:
    """Read a CSV file bit by bit; see `parse_table`.

    Args:
        path: the file.
        source: its name, for messages.
        gzipped: whether it may be a gzip archive, which is then unpacked.

    Raises:
        ManifestError: no readable file, no CSV text in UTF-8, or more than the limits allow.
    """
    with _readable(path), open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > LARGEST_FILE:
            raise ManifestError(f"a file of {size:,} bytes", expected=f"a table of at most {LARGEST_FILE:,}")
        return _table(CsvLines(stream, size, gzipped=gzipped), source)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    with naming(path):
        try:
            yield
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no valid path"
            raise ManifestError(f"no readable file ({reason})", expected="a CSV file") from error


def parse_table(data: bytes, source: str) -> CsvTable:
    """Read the bytes of a CSV file; rows with too few or too many cells go to the table's `problems`.

    Cells beyond the header are left out where they are blank: NIH's tables come with a trailing comma.

    Args:
        data: the file's bytes.
        source: the file's name, for messages.

    Raises:
        ManifestError: no CSV text in UTF-8, no header, a column's name twice, or more than the limits allow.
    """
    return _table(CsvLines(io.BytesIO(data), len(data)), source)


def _table(lines: CsvLines, source: str) -> CsvTable:
    rows, problems = _rows(lines), Problems()
    try:
        first = next(rows, None)
        if first is None:
            raise ManifestError("an empty file", expected="CSV text with a header", remedy=AS_CSV)
        header = [cell.strip() for cell in first[1]]
        kept = list(_checked(rows, header, problems))
    except csv.Error as error:
        raise ManifestError(
            f"something else than CSV text ({error})", expected="CSV text", remedy=AS_CSV
        ) from None
    if _has_index(kept, header):
        header, kept = ["", *header[1:]], [(line, ["", *row[1:]]) for line, row in kept]
    named = {at: name for at, name in enumerate(header) if name}
    _check_names(list(named.values()))
    cells = list(zip(*(row for _, row in kept), strict=True)) or [()] * len(header)
    for at, column in enumerate(cells):
        if at not in named and any(cell.strip() for cell in column):
            raise ManifestError(f"cells in column {at + 1}, which has no name", expected="a name")
    columns = {name: cells[at] for at, name in named.items()}
    return CsvTable(columns, tuple(line for line, _ in kept), source, problems)


def _checked(
    rows: Iterator[tuple[int, list[str]]], header: list[str], problems: Problems
) -> Iterator[tuple[int, list[str]]]:
    """Rows as long as the header; what is longer or shorter only by blank or unnamed cells is mended."""
    width = len(header)
    needed = max((at + 1 for at, name in enumerate(header) if name), default=0)
    for line, row in rows:
        if len(row) != width:
            if len(row) < needed or any(cell.strip() for cell in row[width:]):
                problems.add(line, f"{len(row)} cells where the header has {needed}")
                continue
            row = [*row[:width], *[""] * (width - len(row))]
        yield line, row


def _has_index(kept: list[tuple[int, list[str]]], header: list[str]) -> bool:
    """Whether the first column has the numbers that pandas writes before the rows."""
    if header[0] not in _UNNAMED:
        return False
    numbers = {row[0].strip() for _, row in kept}
    return len(numbers) == len(kept) and all(map(_is_number, numbers))


def _is_number(cell: str) -> bool:
    return cell.isascii() and cell.isdigit()


def _rows(lines: CsvLines) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with the line that each begins at."""
    before = _through_header(lines)
    said = _SAID_DELIMITER.fullmatch(before[0]) if before else None
    delimiter = said[1] if said else _delimiter("".join(before[-1:]))
    reader = csv.reader(chain(before[1:] if said else before, lines), strict=True, delimiter=delimiter)
    first = line = 2 if said else 1
    for row in reader:
        if any(row) and (row[0].strip() or any(map(str.strip, row))):
            lines.keep(len(row))
            yield line, row
        else:
            lines.skip()
        line = reader.line_num + first


def _through_header(lines: CsvLines) -> list[str]:
    """The lines up to the first that says something, but for the one that says the delimiter."""
    before: list[str] = []
    for line in lines:
        before.append(line)
        if line.strip() and not (len(before) == 1 and _SAID_DELIMITER.fullmatch(line)):
            break
    return before


def _delimiter(header: str) -> str:
    """A comma, unless the header has none: Excel writes semicolons in half of Europe, and tabs on demand."""
    return next((sign for sign in (",", ";", "\t") if sign in header), ",")


def _check_names(names: list[str]) -> None:
    if not names:
        raise ManifestError("a header without names", expected="the names of columns", remedy=AS_CSV)
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise ManifestError(f"two columns {quoted(twice)}", expected="each name once")
