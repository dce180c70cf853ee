"""What a file is, by its first bytes; its name says nothing."""

from __future__ import annotations

import struct
from typing import Final

RASTER_FORMATS: Final = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")

_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"BM", "BMP"),
)
_OTHER: Final = (
    (b"version https://git-lfs", "a Git LFS pointer"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"GIF8", "a GIF image"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"NRRD", "an NRRD volume"),
    (b"\xff\x4f\xff\x51", "a bare JPEG 2000 codestream"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 file"),
    (b"{", "JSON text"),
)
_EXPLICIT_VRS: Final = frozenset(
    (
        b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV "
        b"OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV"
    ).split()
)
_FIRST_GROUPS: Final = (0x0002, 0x0008)


def sniff(data: bytes) -> str | None:
    """Name the format of a file's bytes: "DICOM", a raster format, or None.

    >>> sniff(bytes(128) + b"DICM" + bytes(4))
    'DICOM'
    >>> sniff(b"a PNG, says its name") is None
    True
    """
    if data[128:132] == b"DICM" or _looks_like_bare_dicom(data):
        return "DICOM"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((name for magic, name in _MAGIC if data.startswith(magic)), None)


def describe(data: bytes) -> str:
    """Say what bytes that are no supported image look like.

    >>> describe(b"<!DOCTYPE html><html>")
    'an HTML page'
    """
    if not data:
        return "an empty file"
    head = data[:512].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")) or b"<html" in head:
        return "an HTML page"
    for magic, name in _OTHER:
        if data.startswith(magic):
            return name
    if head.startswith(b"<"):
        return "XML or HTML text"
    if b"\x00" not in data[:512]:
        try:
            data[:512].decode("utf-8", "strict" if len(data) < 512 else "ignore")
        except UnicodeDecodeError:
            return "bytes of no known image format"
        if all(byte >= 9 for byte in data[:512]):
            return "a text file"
    return "bytes of no known image format"


def _looks_like_bare_dicom(data: bytes) -> bool:
    """Recognise a data set without preamble: a first element as PS3.5 section 7 has it.

    >>> _looks_like_bare_dicom(bytes.fromhex("08000500 4353 0a00") + b"ISO_IR 100")
    True
    """
    if len(data) < 16:
        return False
    for order in "<>":
        group, element = struct.unpack_from(f"{order}HH", data)
        if group not in _FIRST_GROUPS or element > 0x2000:
            continue
        if data[4:6] in _EXPLICIT_VRS:
            return True
        # Implicit VR is little endian only: four bytes of length, and a second element right after.
        (length,) = struct.unpack_from("<I", data, 4)
        if order == "<" and length % 2 == 0 and length <= 1024 and 12 + length <= len(data):
            (next_group,) = struct.unpack_from("<H", data, 8 + length)
            return next_group in (group, *_FIRST_GROUPS, 0x0010)
    return False
