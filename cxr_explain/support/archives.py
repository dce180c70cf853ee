"""Zip archives that somebody else made, opened within limits."""

from __future__ import annotations

import io
import zipfile

_ENTRY = b"PK\x01\x02"
"""What each entry of an archive's list begins with."""


class TooManyEntriesError(ValueError):
    """An archive of more entries than it may have."""


def open_zip(content: bytes, most_entries: int) -> zipfile.ZipFile:
    """Open an archive; a list of too many entries is refused before anything is made of it.

    Args:
        content: the file's bytes.
        most_entries: number of entries at most.

    Raises:
        TooManyEntriesError: more entries.
        BadZipFile: no archive, or a truncated one; also ValueError, NotImplementedError and struct.error, as
            zipfile has it.

    >>> content = io.BytesIO()
    >>> with zipfile.ZipFile(content, "w") as archive:
    ...     for name in "abc":
    ...         archive.writestr(name, "")
    >>> open_zip(content.getvalue(), 3).namelist()
    ['a', 'b', 'c']
    >>> open_zip(content.getvalue(), 2)
    Traceback (most recent call last):
    cxr_explain.support.archives.TooManyEntriesError: a zip archive of 3 entries
    """
    archive = zipfile.ZipFile(_Directory(content, most_entries))
    archive.fp = io.BytesIO(content)
    return archive


class _Directory(io.BytesIO):
    """An archive while zipfile looks for its list of entries, and reads it in one piece."""

    def __init__(self, content: bytes, most_entries: int) -> None:
        super().__init__(content)
        self._most = most_entries

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        entries = found.count(_ENTRY)
        if entries > self._most:
            raise TooManyEntriesError(f"a zip archive of {entries:,} entries")
        return found
