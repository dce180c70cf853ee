"""A CSV file as columns, with the line of each row; any bytes give a table, or one clear error."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cxr_explain.errors import ManifestError, naming
from cxr_explain.reference.problems import CellError, Problems, quoted

T = TypeVar("T")

BLANKS = frozenset({"", "nan", "na", "<na>"})
"""What stands for nothing in a cell, in small letters: pandas and R write the latter three."""

LONGEST_CELL = 131_072
"""Characters; the limit of Python's own CSV reader."""

_LARGEST_FILE = 2**30  # bytes, unpacked; NIH's and CheXpert's tables are below 2**25
_GZIP = b"\x1f\x8b"
_SAID_DELIMITER = re.compile(r"sep=([,;\t])[ ,;\t]*\r?\n")
"""The line before the header by which Excel is told what separates cells."""
_UNNAMED = ("", "Unnamed: 0")
"""The name of the index that pandas writes, and what pandas makes of it at the next reading."""
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_REMEDY = "Save the table as CSV in UTF-8."


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
        for cell in set(cells):
            try:
                said[cell] = parse(cell)
            except CellError as error:
                refused[cell] = str(error)
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
        table = parse_table(_unpacked(read_bytes(path)), path.name)
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


def read_bytes(path: Path) -> bytes:
    """The bytes of a table's file.

    Raises:
        ManifestError: no such file, a folder, or one beyond the limit.
    """
    with naming(path):
        try:
            if path.exists() and not path.is_file():  # a pipe would be waited for
                raise ManifestError("no readable file (a folder, or no regular file)", expected="a CSV file")
            with path.open("rb") as file:
                data = file.read(_LARGEST_FILE + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no valid path"
            raise ManifestError(f"no readable file ({reason})", expected="a CSV file") from error
        _check_size(data)
    return data


def parse_table(data: bytes, source: str) -> CsvTable:
    """Read the bytes of a CSV file; rows with too few or too many cells go to the table's `problems`.

    Cells beyond the header are left out where they are blank: NIH's tables come with a trailing comma.

    Raises:
        ManifestError: no CSV text in UTF-8, no header, or a column's name twice.
    """
    rows, problems = _rows(_decoded(data)), Problems()
    try:
        first = next(rows, None)
        if first is None:
            raise ManifestError("an empty file", expected="CSV text with a header", remedy=_REMEDY)
        header = [cell.strip() for cell in first[1]]
        kept = list(_checked(rows, header, problems))
    except csv.Error as error:
        raise ManifestError(
            f"something else than CSV text ({error})", expected="CSV text", remedy=_REMEDY
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


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with the line that each begins at."""
    said = _SAID_DELIMITER.match(text)
    delimiter, body = (said[1], text[said.end() :]) if said else (_delimiter(text), text)
    reader = csv.reader(io.StringIO(body, newline=""), strict=True, delimiter=delimiter)
    first = line = 2 if said else 1
    for row in reader:
        if any(row) and (row[0].strip() or any(map(str.strip, row))):
            yield line, row
        line = reader.line_num + first


def _delimiter(text: str) -> str:
    """A comma, unless the header has none: Excel writes semicolons in half of Europe, and tabs on demand."""
    header = text.lstrip().partition("\n")[0]
    return next((sign for sign in (",", ";", "\t") if sign in header), ",")


def _decoded(data: bytes) -> str:
    if data.startswith(_GZIP):
        raise ManifestError("a gzip archive", expected="CSV text", remedy="Unpack it first.")
    if data.startswith(_UTF16):
        raise ManifestError("text in UTF-16", expected="UTF-8", remedy=_REMEDY)
    if b"\x00" in data:
        raise ManifestError("something else than text (a NUL byte)", expected="CSV text", remedy=_REMEDY)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"something else than UTF-8 (byte {error.start})", expected="CSV text in UTF-8", remedy=_REMEDY
        ) from None


def _unpacked(data: bytes) -> bytes:
    """The content of a gzip archive, with a limit; other bytes as they are."""
    if not data.startswith(_GZIP):
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            data = file.read(_LARGEST_FILE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ManifestError(
            f"a gzip archive that cannot be unpacked ({type(error).__name__})", remedy="Fetch it again."
        ) from None
    _check_size(data)
    return data


def _check_size(data: bytes) -> None:
    if len(data) > _LARGEST_FILE:
        raise ManifestError(f"more than {_LARGEST_FILE / 2**30:.0f} GiB", expected="a table of one data set")


def _check_names(names: list[str]) -> None:
    if not names:
        raise ManifestError("a header without names", expected="the names of columns", remedy=_REMEDY)
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise ManifestError(f"two columns {quoted(twice)}", expected="each name once")
