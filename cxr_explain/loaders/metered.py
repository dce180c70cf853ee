"""pydicom kept within the limits: it parses what it is given, and inflates it, whatever it becomes.

Its streams count what is read from them, since each element and item takes one read or more, and so do the
values that are taken apart later. Where pydicom looks for the transfer syntax of a file is nobody's to guess
again: its own call of zlib has a limit. `quiet_decoders` puts all this in place while files are read.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from io import BufferedReader, BytesIO
from types import SimpleNamespace
from typing import Any, Final

from pydicom.dataelem import RawDataElement
from pydicom.hooks import raw_element_value

from cxr_explain.errors import CorruptImageError
from cxr_explain.loaders.limits import Limits, Meter, parts_of

_CHARACTER_SET: Final = (b"\x08\x00\x05\x00", b"\x00\x08\x00\x05")
_LONGEST_CHARACTER_SET: Final = 256
# pydicom goes back where what it expected is not there.
_TIMES: Final = 4
_BYTES: Final = frozenset({"OB", "OW", "OD", "OF", "OL", "OV", "UN", "OB or OW", "SQ"})
_current: ContextVar[Meter | None] = ContextVar("meter", default=None)


@contextmanager
def metered(limits: Limits) -> Iterator[Meter]:
    """Count what pydicom does in this thread, until the file is read."""
    meter = Meter(limits)
    token = _current.set(meter)
    try:
        yield meter
    finally:
        _current.reset(token)


def check_meter() -> None:
    """Say again that the limit was passed, where a library swallowed that.

    Raises:
        ImageTooLargeError: it was passed.
    """
    meter = _current.get()
    if meter is not None:
        meter.check()


class _Metered:
    """A stream that counts what is read from it, as long as a file is read."""

    _tag = b""
    _total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, and count it.

        Raises:
            ImageTooLargeError: more elements and items than the limit, or more bytes.
            CorruptImageError: a list of character sets longer than there are any.
        """
        meter = _current.get()
        if meter is None:
            return self._read(size)
        meter.spend(1)
        if size is not None and self._tag in _CHARACTER_SET:
            if size > _LONGEST_CHARACTER_SET:
                raise CorruptImageError("a Specific Character Set that goes on and on")
            meter.spend(size)  # each may be a name, which is looked up at once, and in each item again
        # What an element says of its length may be a lie, and no reason to make room.
        most = meter.limits.bytes + 1
        data = self._read(most if size is None or size < 0 else min(size, most))
        self._total += len(data)
        meter.limits.check_bytes(max(len(data), self._total // _TIMES), "a data set")
        if size == 8:  # tag, VR and length of an element
            self._tag = data[:4]
        return data

    def _read(self, size: int | None) -> bytes:
        data: bytes = super().read(size)  # type: ignore[misc]
        return data


class MeteredBytes(_Metered, BytesIO):
    """Bytes that pydicom is to parse."""


class MeteredFile(_Metered, BufferedReader):
    """A file of which pydicom is to parse the header, without the pixels."""


def _inflate(data: bytes, wbits: int = zlib.MAX_WBITS) -> bytes:
    """Inflate a deflated data set (PS3.5 A.5), as far as the limit."""
    meter = _current.get()
    if meter is None:  # a caller's own pydicom, in another thread
        return zlib.decompress(data, wbits)
    inflater = zlib.decompressobj(wbits)
    try:
        plain = inflater.decompress(data, meter.limits.bytes + 1)
    except zlib.error:
        raise CorruptImageError("a deflated data set that cannot be inflated") from None
    meter.limits.check_bytes(len(plain), "a deflated data set")
    if not inflater.eof:
        raise CorruptImageError(
            f"a deflated data set that is cut off after {len(data):,} bytes",
            expected="its end",
            remedy="The file is truncated: transfer it again.",
        )
    return plain


def _value(raw: RawDataElement, data: dict[str, Any], **others: Any) -> None:
    """Convert a value as pydicom does, and count it."""
    meter = _current.get()
    if meter is not None and isinstance(raw.value, bytes) and data["VR"] not in _BYTES:
        meter.spend(parts_of(raw.value))
    raw_element_value(raw, data, **others)


HOOK: Final = _value
"""For pydicom's hook `raw_element_value`."""

ZLIB: Final = SimpleNamespace(decompress=_inflate, MAX_WBITS=zlib.MAX_WBITS)
"""For the module that pydicom's reader inflates with."""
