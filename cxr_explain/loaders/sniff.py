"""What a file is, by its first bytes; its name says nothing."""

from __future__ import annotations

from typing import Final

from cxr_explain.loaders.formats import FORMATS, ImageFormat

_MEDIA_STORAGE_DIRECTORY: Final = b"1.2.840.10008.1.3.10"

# Its length belongs to it: the phantoms' Software goes on.
_FIGURE: Final = b"\x00\x00\x00\x14tEXtSoftware\x00cxr-explain"

_OTHER: Final = (
    (b"version https://git-lfs", "a Git LFS pointer"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"GIF8", "a GIF image"),
    (b"\x93NUMPY", "a NumPy array file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"NRRD", "an NRRD volume"),
    (b"ObjectType", "a MetaImage header"),
    (b"NDims", "a MetaImage header"),
    (b"\xff\x4f\xff\x51", "a bare JPEG 2000 codestream"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 file"),
    (b"{", "JSON text"),
)


def sniff(data: bytes) -> ImageFormat | None:
    """The format of a file's bytes, or None where it is none that is read.

    Args:
        data: the file's bytes, or its first 2048.

    >>> sniff(bytes(128) + b"DICM" + bytes(4)).name
    'DICOM'
    >>> sniff(b"a PNG, says its name") is None
    True
    """
    return next((each for each in FORMATS if each.recognises(data)), None)


def is_dicomdir(data: bytes) -> bool:
    """Whether the bytes of a DICOM file are those of the index of a disc, which has no pixels (PS3.3, F).

    Args:
        data: the file's bytes, or its first 512.

    >>> is_dicomdir(bytes(128) + b"DICM")
    False
    """
    return _MEDIA_STORAGE_DIRECTORY in data[:512]


def is_own_figure(data: bytes) -> bool:
    r"""Whether the bytes of a PNG are those of a figure of this package, by what its Software says.

    Args:
        data: the file's bytes, or its first 2048.

    >>> is_own_figure(b"\x89PNG")
    False
    """
    return data.startswith(b"\x89PNG") and _FIGURE in data[:2048]


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
    if data[4:8] == b"ftyp":
        return "an AVIF image" if data[8:12] in (b"avif", b"avis") else "a HEIC image or a film"
    if data[344:348] in (b"n+1\x00", b"ni1\x00"):
        return "a NIfTI volume"
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
