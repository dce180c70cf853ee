"""Every text and number of a DICOM header, as it may be compared with a file's name; bounded in work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

import pydicom
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

_MOST_ELEMENTS = 50_000
_MOST_TEXT = 2**18
_LONGEST_BYTES_READ_AS_TEXT = 2**16
_LONGEST_BYTES_WITH_TEXT = 2**10
_NUMBERS: Final = frozenset({"US", "UL", "UV", "SS", "SL", "SV", "FL", "FD", "AT", "US or SS"})
_BYTES: Final = frozenset(
    {"UN", "OB", "OW", "OD", "OF", "OL", "OV", "OB or OW", "US or OW", "US or SS or OW"}
)
_PIXELS: Final = frozenset({0x7FE00010, 0x7FE00008, 0x7FE00009, 0x00282000})
_DELIMITERS: Final = {0x5C, 0x5E, 0x3D, 0x0A, 0x0C, 0x0D, 0x09}
_UNDECLARED: Final = ("gb18030", "shift_jis", "euc_kr", "cp1251", "iso8859_7")
_TEXT_WITHIN = re.compile(rb"(?:[\x20-\x7e]|[\xc3-\xf4][\x80-\xbf]{1,3}){4,}")  # in ASCII or UTF-8
_NO_TEXT = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


class HeaderTooLongError(Exception):
    """More elements or more text than is compared."""


class HeaderText(NamedTuple):
    """One value of the header.

    Args:
        tag: the attribute.
        vr: its value representation; "UN" for what bytes decode to.
        text: one value, as it may be read.
    """

    tag: int
    vr: str
    text: str


class HeaderBytes(NamedTuple):
    """Bytes that are no text as a whole, such as a private blob.

    Args:
        content: the bytes.
    """

    content: bytes


def header_texts(dataset: pydicom.Dataset) -> Iterator[HeaderText | HeaderBytes]:
    """Go through group 0002, the header, nested items and private attributes; pixels are left out.

    Text is given as the header's character set reads it; where it is no ASCII, also as UTF-8 and Latin-1
    read it, since headers in the wild declare another set than they use.

    Raises:
        HeaderTooLongError: more than 50,000 elements, or 256 KiB of text.
    """
    elements, length = 0, 0
    pending = [dataset, *filter(None, [getattr(dataset, "file_meta", None)])]
    while pending:
        current = pending.pop()
        encodings = _encodings(current)
        for tag in current.keys():  # noqa: SIM118 - iterating over a Dataset decodes every element
            elements += 1
            if elements > _MOST_ELEMENTS:
                raise HeaderTooLongError
            if tag in _PIXELS:
                continue
            value, vr = _value(current, tag)
            if vr == "SQ" and isinstance(value, pydicom.Sequence | list):
                elements += len(value)
                if elements > _MOST_ELEMENTS:
                    raise HeaderTooLongError
                pending += value
                continue
            vr, value = _as_text(vr, value)
            if vr == "bytes":
                yield HeaderBytes(value)
                continue
            length += len(value) if isinstance(value, bytes | str) else 1
            if length > _MOST_TEXT:
                raise HeaderTooLongError
            yield from (HeaderText(tag, vr, text) for text in _readings(value, encodings))


def _encodings(dataset: pydicom.Dataset) -> list[str]:
    declared = getattr(dataset, "_character_set", None)  # set for the items of a sequence, too
    if isinstance(declared, list) and declared and all(isinstance(each, str) for each in declared):
        return declared
    try:
        return convert_encodings(dataset.get("SpecificCharacterSet"))
    except MemoryError:
        raise
    except Exception:
        return ["iso8859"]


def _value(dataset: pydicom.Dataset, tag: BaseTag) -> tuple[Any, str]:
    """Text as its bytes, which take no decoding; numbers and sequences as pydicom reads them."""
    raw = dataset.get_item(tag)
    if not isinstance(raw, RawDataElement):
        return (raw.value, raw.VR) if isinstance(raw, DataElement) else (None, "UN")
    vr = raw.VR if raw.VR and raw.VR != "UN" else _known_vr(tag)
    if vr != "SQ" and vr not in _NUMBERS:
        return raw.value, vr
    try:
        element = dataset[tag]
    except MemoryError:
        raise
    except Exception:
        return raw.value, "UN"
    return element.value, element.VR


def _known_vr(tag: BaseTag) -> str:
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


def _as_text(vr: str, value: Any) -> tuple[str, Any]:
    """Of bytes the text within them; long ones, as "bytes", are what they are."""
    if not isinstance(value, bytes) or not (vr in _BYTES or vr in _NUMBERS or vr == "SQ"):
        return vr, value
    whole = value.rstrip(b"\0")
    if len(whole) <= _LONGEST_BYTES_READ_AS_TEXT and not _NO_TEXT.search(whole):
        return "UN", whole
    if len(value) > _LONGEST_BYTES_WITH_TEXT:
        return "bytes", value
    packed = value.replace(b"\0", b"")  # UTF-16 has zeros between Latin letters
    return "UN", b"\\".join({*_TEXT_WITHIN.findall(value), *_TEXT_WITHIN.findall(packed)})


def _readings(value: Any, encodings: list[str]) -> Iterator[str]:
    if isinstance(value, bytes):
        for text in _decoded(value, encodings):
            yield from filter(None, text.split("\\"))
    elif value is not None:
        several = value if isinstance(value, MultiValue | list | tuple) else (value,)
        yield from filter(None, map(str, several))


def _decoded(value: bytes, encodings: list[str]) -> set[str]:
    if value.isascii() and b"\x1b" not in value:
        return {value.decode("ascii").strip("\0 ")}
    declared = encodings[0] not in ("iso8859", "iso_ir_6", "ascii", "latin_1") or len(encodings) > 1
    readings = set()
    for encoding in ("utf-8", "latin-1", *(() if declared else _UNDECLARED)):
        with suppress(UnicodeDecodeError):
            readings.add(value.decode(encoding))
    try:
        readings.add(decode_bytes(value, encodings, _DELIMITERS))
    except MemoryError:
        raise
    except Exception:  # an unknown encoding, or bytes that are none of it: the other readings stand
        return readings
    return readings
