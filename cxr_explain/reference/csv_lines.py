"""Lines of a CSV file, decoded bit by bit: what is made of them is limited before it is made.

A gzip archive may unpack to a thousand times its size, and a table of empty cells takes more memory than its
text. A table may take a multiple of what lies on the disk, and what a table of any data set takes besides.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from cxr_explain.errors import ManifestError

LARGEST_FILE = 2**30
"""Bytes, unpacked; NIH's and CheXpert's tables are below 2**25."""

AS_CSV = "Save the table as CSV in UTF-8."
UNPACK = "Unpack it first."

_GZIP = b"\x1f\x8b"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_CHUNK = 2**16
_MOST_UNPACKED = 32  # times its size; tables of labels are packed to a tenth
_SPARE_UNPACKED = 2**25  # bytes

_MOST_COLUMNS = 16_384  # as a spreadsheet has
_LONGEST_ROW = 2**22  # bytes
_MEMORY_PER_BYTE = 64  # of the file as it is on the disk
_SPARE_MEMORY = 2**29  # bytes; MIMIC-CXR's tables take half of them
_MOST_MEMORY = 2**31  # bytes by this count, of which a third comes to be used: over a million images
_CELL = 80  # bytes, besides its text
_ROW = 512  # bytes, with what is kept of an image later on
_LINE = 64  # bytes; a blank line takes no memory, but time


class CsvLines(Iterator[str]):
    r"""The lines of a file, with their ends; any bytes give lines, or one clear error.

    Args:
        stream: the file, at its beginning.
        size: how many bytes it has.
        gzipped: whether it may be a gzip archive, which is then unpacked.

    >>> list(CsvLines(io.BytesIO(b"image,labels\r\na.png,Mass"), 26))
    ['image,labels\r\n', 'a.png,Mass']
    """

    def __init__(self, stream: BinaryIO, size: int, *, gzipped: bool = False) -> None:
        unpacked = gzipped and stream.read(len(_GZIP)) == _GZIP
        stream.seek(0)
        self._bytes = (
            _Checked(gzip.GzipFile(fileobj=stream), _SPARE_UNPACKED + _MOST_UNPACKED * size)
            if unpacked
            else _Checked(stream)
        )
        self._text = io.TextIOWrapper(cast(BinaryIO, self._bytes), "utf-8-sig", newline="")
        self._allowed = min(_SPARE_MEMORY + _MEMORY_PER_BYTE * size, _MOST_MEMORY)
        self._remedy = UNPACK if unpacked else "Leave out what no audit needs, or split it."
        self._taken = 0
        self._row = 0  # bytes of the text since the last row began

    def __next__(self) -> str:
        try:
            line = self._text.readline(_LONGEST_ROW)
        except UnicodeDecodeError as error:
            at = self._bytes.position - len(error.object) + error.start
            raise ManifestError(
                f"something else than UTF-8 (byte {at})", expected="CSV text in UTF-8", remedy=AS_CSV
            ) from None
        if not line:
            raise StopIteration
        self._row += len(line) if line.isascii() else 4 * len(line)
        if len(line) == _LONGEST_ROW or self._row > _LONGEST_ROW:
            raise ManifestError(
                f"a row of more than {_LONGEST_ROW:,} bytes",
                expected="a row for each image, and quotes that are closed",
            )
        self._take(_LINE)
        return line

    def keep(self, cells: int) -> None:
        """Charge for the row that the lines since the last call have made.

        Args:
            cells: how many it has.

        Raises:
            ManifestError: too many of them, or more rows than there is memory for.
        """
        if cells > _MOST_COLUMNS:
            raise ManifestError(f"a row of {cells:,} cells", expected=f"at most {_MOST_COLUMNS:,}")
        self._take(_ROW + _CELL * cells + self._row)
        self.skip()

    def skip(self) -> None:
        """Another row begins; the last one is not kept."""
        self._row = 0

    def _take(self, memory: int) -> None:
        self._taken += memory
        if self._taken > self._allowed:
            raise ManifestError(
                f"a table that takes more than {self._allowed:,} bytes of memory",
                expected=(
                    f"{_SPARE_MEMORY:,} and {_MEMORY_PER_BYTE} for each byte of its file, and at most "
                    f"{_MOST_MEMORY:,}"
                ),
                remedy=self._remedy,
            )


class _Checked(io.BufferedIOBase):
    """Bytes that are no text are refused as they come."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, most: int = LARGEST_FILE) -> None:
        self._stream = stream
        self._most = most
        self.position = 0

    def readable(self) -> bool:
        return True

    def read1(self, _: int = -1, /) -> bytes:
        found = self._read()
        if self.position == 0:
            _check_start(found)
        if b"\x00" in found:
            raise ManifestError("something else than text (a NUL byte)", expected="CSV text", remedy=AS_CSV)
        self.position += len(found)
        if self.position > self._most:
            raise ManifestError(
                f"a gzip archive that unpacks to more than {self._most:,} bytes",
                expected=f"{_SPARE_UNPACKED:,} and {_MOST_UNPACKED} for each byte of it at most",
                remedy=UNPACK,
            )
        return found

    def _read(self) -> bytes:
        if not isinstance(self._stream, gzip.GzipFile):
            return self._stream.read(_CHUNK)
        try:
            return self._stream.read(_CHUNK)
        except (OSError, EOFError, zlib.error) as error:
            raise ManifestError(
                f"a gzip archive that cannot be unpacked ({type(error).__name__})", remedy="Fetch it again."
            ) from None


def _check_start(found: bytes) -> None:
    if found.startswith(_GZIP):
        raise ManifestError("a gzip archive", expected="CSV text", remedy=UNPACK)
    if found.startswith(_UTF16):
        raise ManifestError("text in UTF-16", expected="UTF-8", remedy=AS_CSV)
