"""The tags of a TIFF file and of EXIF data, counted before Pillow reads the values (TIFF 6.0, section 2)."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from cxr_explain.errors import UnsupportedImageError
from cxr_explain.loaders.limits import Limits

_SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES_OF_BIG: Final = {16: 8, 17: 8, 18: 8}
_BYTES: Final = frozenset({1, 2, 7})
_SHORT, _LONG = 3, 4
# Of each strip and each fraction Pillow makes some objects; a colour map has 196,608 plain numbers.
_OFFSETS: Final = frozenset({273, 279, 324, 325})
_FRACTIONS: Final = frozenset({5, 10})
_NUMBERS_OF_A_PART = 8
_TILE_WIDTH, _TILE_LENGTH = 322, 323
_MOST_IMAGES = 1000
_EXIF: Final = re.compile(rb"(?:Exif\x00\x00){0,2}")


class _IfdEntry(NamedTuple):
    tag: int
    kind: int
    values: int
    value: bytes


class _Form(NamedTuple):
    """How a file writes its directories: the first one, the number of entries, an entry, and the next one."""

    first: int
    number: struct.Struct
    entry: struct.Struct
    next: struct.Struct


def check_tiff(data: bytes, limits: Limits) -> None:
    """Refuse a TIFF file with too many tags, values or images, or with a huge tile.

    Args:
        data: the file's bytes.
        limits: what may be there.

    Raises:
        ImageTooLargeError: too many values, or bytes of them; a tile of too many pixels.
        CorruptImageError: a tile without pixels.
        UnsupportedImageError: more than a thousand images.
    """
    form = _form_of(data)
    if form is None:  # which Pillow will say
        return
    account, position, seen = _Account(limits, len(data)), form.first, set[int]()
    while position and position not in seen and position < len(data):
        seen.add(position)
        if len(seen) > _MOST_IMAGES:
            raise UnsupportedImageError(
                f"more than {_MOST_IMAGES:,} images in one file",
                expected="one image",
                remedy="Save the one to be read as a file of its own.",
            )
        position = _check_directory(data, form, position, account)


def check_exif(data: bytes, limits: Limits) -> None:
    """Refuse EXIF data, a TIFF file in small, whose first directory has too many tags or values.

    Args:
        data: the data, with or without what announces them.
        limits: what may be there.

    Raises:
        ImageTooLargeError: too many values, or bytes of them.
    """
    plain = _EXIF.sub(b"", data, count=1)
    form = _form_of(plain)
    if form is not None:
        _check_directory(plain, form, form.first, _Account(limits, len(plain)))


class _Account:
    """The values of all directories, which may lie one upon the other in the file."""

    def __init__(self, limits: Limits, available: int) -> None:
        self.limits = limits
        self._available = available
        self._parts = self._bytes = 0

    def add(self, entry: _IfdEntry) -> None:
        """Count an entry and its values."""
        size = entry.values * ({**_SIZES, **_SIZES_OF_BIG}.get(entry.kind, 0))
        self._parts += 1
        if size > self._available:  # a damaged number, and nothing that could be read
            size = 0
        self._bytes += size
        if size and (entry.tag in _OFFSETS or entry.kind in _FRACTIONS):
            self._parts += entry.values
        elif size and entry.kind not in _BYTES:
            self._parts += entry.values // _NUMBERS_OF_A_PART
        self.limits.check_parts(self._parts, "tags and values")
        self.limits.check_bytes(self._bytes, "tags")


def _form_of(data: bytes) -> _Form | None:
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 16:
        return None
    if data[2:4] in (b"+\x00", b"\x00+"):  # BigTIFF
        (first,) = struct.unpack_from(f"{order}Q", data, 8)
        return _Form(first, *(struct.Struct(order + form) for form in ("Q", "HHQ8s", "Q")))
    (first,) = struct.unpack_from(f"{order}L", data, 4)
    return _Form(first, *(struct.Struct(order + form) for form in ("H", "HHL4s", "L")))


def _check_directory(data: bytes, form: _Form, position: int, account: _Account) -> int:
    """Count the entries of a directory; where the next one is, 0 where there is none."""
    tile = {_TILE_WIDTH: 1, _TILE_LENGTH: 1}
    for entry in _entries(data, form, position):
        account.add(entry)
        if entry.tag in tile and entry.kind in (_SHORT, _LONG):
            value = struct.Struct(form.entry.format[0] + ("H" if entry.kind == _SHORT else "L"))
            (tile[entry.tag],) = value.unpack_from(entry.value)
    account.limits.check_pixels(tile[_TILE_LENGTH], tile[_TILE_WIDTH])
    if position + form.number.size > len(data):
        return 0
    (count,) = form.number.unpack_from(data, position)
    end = position + form.number.size + count * form.entry.size
    return int(form.next.unpack_from(data, end)[0]) if end + form.next.size <= len(data) else 0


def _entries(data: bytes, form: _Form, position: int) -> Iterator[_IfdEntry]:
    if position + form.number.size > len(data):
        return
    (count,) = form.number.unpack_from(data, position)
    position += form.number.size
    for _ in range(min(count, (len(data) - position) // form.entry.size)):
        yield _IfdEntry(*form.entry.unpack_from(data, position))
        position += form.entry.size
