"""Safe access to a DICOM header, and its parsing from bytes that may be hostile."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import pydicom
from pydicom import uid
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.multival import MultiValue

from cxr_explain.errors import CorruptImageError, ImageTooLargeError, OptionError
from cxr_explain.loaders.cut_file import cut_off

_BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN", "SQ", "OB or OW"})
_HEADER_ALLOWANCE = 64 * 2**20
_META_GROUP_START = 132
_DECIMALS = (
    *("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
)
_COMMA_NUMBER = re.compile(r"\s*[-+]?\d*,\d+(?:[eE][-+]?\d+)?\s*")
# 2,048 may be two or two thousand.
_THOUSANDS = re.compile(r"\s*[-+]?[1-9]\d{0,2}(?:,\d{3})+\s*")


def parse_dicom(data: bytes, max_pixels: int) -> pydicom.Dataset:
    """Parse a data set, with or without the preamble of PS3.10 7.1.

    Raises:
        CorruptImageError: bytes that are no data set.
        ImageTooLargeError: a deflated data set that inflates beyond the limit.
    """
    _check_inflated_size(data, max_pixels)
    try:
        dataset = pydicom.dcmread(BytesIO(data), force=True)
    except MemoryError:
        raise
    except Exception as error:
        raise CorruptImageError(
            f"a DICOM header that cannot be parsed ({type(error).__name__})",
            remedy="The file is damaged or truncated: transfer it again.",
        ) from None
    if len(dataset) == 0:
        raise cut_off(data)
    return dataset


def _check_inflated_size(data: bytes, max_pixels: int) -> None:
    """Inflate a deflated data set with a limit; pydicom inflates it without one (PS3.5 A.5)."""
    if data[128:132] != b"DICM" or uid.DeflatedExplicitVRLittleEndian.encode() not in data[:2048]:
        return
    start = _end_of_meta_group(data)
    limit = _HEADER_ALLOWANCE + 8 * max_pixels
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    total, pending = 0, data[start:]
    try:
        while pending and not inflater.eof:
            total += len(inflater.decompress(pending, 2**22))
            pending = inflater.unconsumed_tail
            if total > limit:
                raise ImageTooLargeError(
                    f"a deflated data set of more than {limit / 2**20:.0f} MiB",
                    remedy="Raise the limit with max_pixels= / --max-pixels.",
                )
    except zlib.error:
        raise CorruptImageError("a deflated data set that cannot be inflated") from None
    if not inflater.eof:
        raise CorruptImageError(
            f"a deflated data set that is cut off after {len(data) - start:,} bytes",
            expected="its end",
            remedy="The file is truncated: transfer it again.",
        )


def _end_of_meta_group(data: bytes) -> int:
    """Walk the elements of group 0002, always Explicit VR Little Endian (PS3.10 7.1)."""
    position = _META_GROUP_START
    while position + 12 <= len(data) and data[position : position + 2] == b"\x02\x00":
        if data[position + 4 : position + 6] in (b"OB", b"OW", b"UN", b"SQ", b"UT"):
            position += 12 + int.from_bytes(data[position + 8 : position + 12], "little")
        else:
            position += 8 + int.from_bytes(data[position + 6 : position + 8], "little")
    return position


def element(dataset: pydicom.Dataset, keyword: str) -> Any:
    """The value of an attribute; None where it is absent, empty or unreadable."""
    try:
        value = dataset.get(keyword)
    except MemoryError:
        raise
    except Exception:
        return None
    return None if value is None or value == "" or value == [] else value


def given(dataset: pydicom.Dataset, keyword: str) -> bool:
    """Whether an attribute holds anything, readable or not."""
    raw = dataset.get_item(keyword)
    value = None if raw is None else raw.value
    if isinstance(value, bytes):
        return bool(value.strip(b"\x00 ") if dictionary_VR(keyword) in ("CS", "DS", "IS") else value)
    return value is not None and value != "" and value != []


def text(dataset: pydicom.Dataset, keyword: str) -> str | None:
    """A single text value, stripped; the first of several."""
    value = element(dataset, keyword)
    if isinstance(value, MultiValue | list):
        value = value[0] if len(value) else None
    return value.strip() or None if isinstance(value, str) else None


def number(dataset: pydicom.Dataset, keyword: str) -> float | None:
    """A single finite number; None where it is absent or is none."""
    values = numbers(dataset, keyword)
    return values[0] if len(values) == 1 else None


def numbers(dataset: pydicom.Dataset, keyword: str) -> tuple[float, ...]:
    """The finite numbers of an attribute; empty where one of them is none."""
    value = element(dataset, keyword)
    if value is None:
        return ()
    try:
        items = tuple(float(v) for v in (value if isinstance(value, MultiValue | list | tuple) else (value,)))
    except (TypeError, ValueError, OverflowError):
        return ()
    return items if all(math.isfinite(v) for v in items) else ()


def whole(dataset: pydicom.Dataset, keyword: str, default: int | None = None) -> int:
    """A whole number that decoding needs.

    Raises:
        CorruptImageError: absent without a default, unreadable, or not a whole number.
    """
    if not given(dataset, keyword):
        if default is not None:
            return default
        raise CorruptImageError(f"no {keyword} in the DICOM header", expected=f"a readable {keyword}")
    value = number(dataset, keyword)
    if value is None or value != int(value):
        raise CorruptImageError(f"a {keyword} that is not a whole number")
    return int(value)


def mend_decimal_commas(dataset: pydicom.Dataset) -> list[str]:
    """Put a point where a decimal string has a comma (PS3.5 6.2 knows the point alone), and name it.

    What may be meant as thousands is left alone, which makes the attribute unreadable.
    """
    mended = []
    for keyword in _DECIMALS:
        raw = dataset.get_item(keyword)
        values = str(raw.value, "latin-1").split("\\") if _holds_comma(raw) else []
        commas = [v for v in values if "," in v]
        if commas and all(_COMMA_NUMBER.fullmatch(v) and not _THOUSANDS.fullmatch(v) for v in commas):
            mended.append(keyword)
            points = "\\".join(values).replace(",", ".")
            dataset[keyword] = DataElement(dataset.get_item(keyword).tag, "DS", points)
    return [f"{keyword} has a decimal comma: read as a decimal point" for keyword in mended]


def _holds_comma(raw: RawDataElement | DataElement | None) -> bool:
    return isinstance(raw, RawDataElement) and isinstance(raw.value, bytes) and b"," in raw.value


def items(dataset: pydicom.Dataset, keyword: str) -> list[pydicom.Dataset]:
    """The items of a sequence; empty where it is absent or unreadable."""
    value = element(dataset, keyword)
    if isinstance(value, pydicom.Sequence | list):
        return [item for item in value if isinstance(item, pydicom.Dataset)]
    return []


def raw_element(dataset: pydicom.Dataset, keyword: str) -> DataElement | None:
    """The element itself, where its VR matters."""
    try:
        return dataset[keyword]
    except KeyError:
        return None
    except MemoryError:
        raise
    except Exception:
        return None


def check_keywords(keywords: Sequence[str]) -> None:
    """Refuse what is no readable DICOM attribute.

    Raises:
        OptionError: an unknown keyword, a sequence or binary data.

    >>> check_keywords(["ViewPosition"])
    """
    for keyword in keywords:
        if not isinstance(keyword, str) or tag_for_keyword(keyword) is None:
            raise OptionError(f"metadata={keyword!r}", expected='DICOM keywords such as "StudyDescription"')
        if dictionary_VR(keyword) in _BINARY_VRS:
            raise OptionError(
                f"metadata={keyword!r}, a sequence or binary attribute", expected="a plain value"
            )


def requested(dataset: pydicom.Dataset, keywords: Sequence[str]) -> dict[str, str]:
    """The attributes that the caller asked for, as text; several values are joined by a backslash."""
    found = {}
    for keyword in keywords:
        value = element(dataset, keyword)
        if value is not None:
            several = isinstance(value, MultiValue | list)
            found[keyword] = "\\".join(str(v) for v in value) if several else str(value)
    return found
