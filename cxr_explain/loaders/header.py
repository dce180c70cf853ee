"""Safe access to a DICOM header, and its parsing from bytes that may be hostile."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from io import FileIO
from os import PathLike
from typing import Any

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.multival import MultiValue

from cxr_explain.errors import CorruptImageError, CxrExplainError, OptionError
from cxr_explain.loaders.cut_file import cut_off
from cxr_explain.loaders.metered import MeteredBytes, MeteredFile, check_meter
from cxr_explain.radiograph import PHANTOM_MAKER

_BINARY_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN", "SQ", "OB or OW"})
_DECIMALS = (
    *("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
)
_COMMA_NUMBER = re.compile(r"\s*[-+]?\d*,\d+(?:[eE][-+]?\d+)?\s*")
# 2,048 may be two or two thousand.
_THOUSANDS = re.compile(r"\s*[-+]?[1-9]\d{0,2}(?:,\d{3})+\s*")


def parse_dicom(data: bytes) -> pydicom.Dataset:
    """Parse a data set, with or without the preamble of PS3.10 7.1.

    Raises:
        CorruptImageError: bytes that are no data set.
        ImageTooLargeError: more parts than `metered` allows, or a deflated data set that inflates beyond it.

    >>> from cxr_explain.phantom import render, sample_patient
    >>> from cxr_explain.phantom.dicom import to_dicom
    >>> parse_dicom(to_dicom(render(sample_patient(1), size=64))).Modality
    'DX'
    """
    dataset = _parsed(MeteredBytes(data))
    if len(dataset) == 0:
        raise cut_off(data)
    return dataset


def parse_header(path: str | PathLike[str]) -> pydicom.Dataset:
    """Parse the data set of a file, without its pixels.

    Raises:
        OSError: a file that cannot be read.
        CorruptImageError: bytes that are no data set.
        ImageTooLargeError: more parts than `metered` allows, or a deflated data set that inflates beyond it.
    """
    with MeteredFile(FileIO(path)) as stream:
        return _parsed(stream, stop_before_pixels=True)


def _parsed(stream: MeteredBytes | MeteredFile, *, stop_before_pixels: bool = False) -> pydicom.Dataset:
    try:
        return pydicom.dcmread(stream, force=True, stop_before_pixels=stop_before_pixels)
    except (MemoryError, CxrExplainError):
        raise
    except Exception as error:
        check_meter()
        raise CorruptImageError(
            f"a DICOM header that cannot be parsed ({type(error).__name__})",
            remedy="The file is damaged or truncated: transfer it again.",
        ) from None


def element(dataset: pydicom.Dataset, keyword: str) -> Any:
    """The value of an attribute; None where it is absent, empty or unreadable."""
    try:
        value = dataset.get(keyword)
    except (MemoryError, CxrExplainError):
        raise
    except Exception:
        check_meter()
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


def is_phantom(dataset: pydicom.Dataset) -> bool:
    """Whether the header says that this package computed the image."""
    return (text(dataset, "Manufacturer"), text(dataset, "ManufacturerModelName")) == PHANTOM_MAKER


def raw_element(dataset: pydicom.Dataset, keyword: str) -> DataElement | None:
    """The element itself, where its VR matters."""
    try:
        return dataset[keyword]
    except KeyError:
        return None
    except (MemoryError, CxrExplainError):
        raise
    except Exception:
        check_meter()
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
