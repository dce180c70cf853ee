"""The items of a header's LUT sequences, by their descriptors and data (PS3.3 C.11.1.1)."""

from __future__ import annotations

import numpy as np
import pydicom
from numpy.typing import NDArray

from cxr_explain.loaders.header import numbers, raw_element
from cxr_explain.loaders.lut import Lut

_MAX_ENTRIES = 65536


def read_lut(
    item: pydicom.Dataset, dataset: pydicom.Dataset, name: str, *, signed: bool, warnings: list[str]
) -> Lut | None:
    """Read the item of a LUT sequence; None where data are missing that the descriptor declares.

    Args:
        item: the item.
        dataset: the data set it belongs to, for the byte order.
        name: what the warnings call it.
        signed: whether the values that are looked up can be negative.
        warnings: what contradicts the descriptor is added here.
    """
    descriptor = numbers(item, "LUTDescriptor")
    if len(descriptor) != 3:
        return None
    # The number of entries and the depth are unsigned even where the VR says SS; 0 entries mean 65536.
    count = int(descriptor[0]) % _MAX_ENTRIES or _MAX_ENTRIES
    first, bits = int(descriptor[1]), int(descriptor[2])
    if signed and first >= 2**15:
        first -= 2**16
    if not signed and first < 0:
        first += 2**16
    raw, order = _words(item, "<" if dataset.original_encoding[1] is not False else ">")
    entries = _entries(raw, count, order)
    if entries is None:
        return None
    lut = Lut(entries.astype(np.float64), first, bits)
    if len(raw) > 2 * count:
        warnings.append(f"a {name} of the header has {len(raw) // 2} entries: the {count} declared are used")
    return lut


def _entries(raw: bytes, count: int, order: str) -> NDArray[np.unsignedinteger] | None:
    """The data as numbers: 16-bit words, or bytes packed two to a word."""
    if len(raw) >= 2 * count:
        return np.frombuffer(raw, f"{order}u2", count)
    if count <= len(raw) <= count + 1:
        return np.frombuffer(raw, np.uint8, count)
    return None


def _words(item: pydicom.Dataset, order: str) -> tuple[bytes, str]:
    """The data's bytes and their order; none where there are no numbers."""
    data = raw_element(item, "LUTData")
    value = None if data is None else data.value
    if isinstance(value, bytes | bytearray):
        return bytes(value), order
    if value is None or isinstance(value, str):
        return b"", order
    try:
        words = np.atleast_1d(np.asarray(value, np.int64)) & 0xFFFF
    except (TypeError, ValueError, OverflowError):
        return b"", order
    return words.astype("<u2").tobytes(), "<"
