"""The image formats, one line each: how a file is told by its first bytes, and who reads it.

The reader is imported at its first use: pydicom and its decoders take 0.3 s, which a PNG does not need.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Final, TypeAlias, cast

if TYPE_CHECKING:
    from cxr_explain.loaders.request import ReadRequest
    from cxr_explain.radiograph import Radiograph


_EXPLICIT_VRS: Final = frozenset(
    (
        b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV "
        b"OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV"
    ).split()
)
_FIRST_GROUPS: Final = (0x0002, 0x0008)


Reader: TypeAlias = "Callable[[bytes, ReadRequest], Radiograph]"
"""From a file's bytes, and what is asked of them, to the radiograph."""


@dataclass(frozen=True)
class ImageFormat:
    """A format of radiographs' files.

    Args:
        name: the format's name, as on `Radiograph.format`.
        endings: endings of the files' names, in small letters with their dot. Where a folder is searched, a
            file with one of them is taken for an image even if it is broken.
        recognises: function that says whether bytes are of this format, from a file's first 2048 or all.
        reader: module in `cxr_explain.loaders` and `Reader` in it, "module:function".
    """

    name: str
    endings: tuple[str, ...]
    recognises: Callable[[bytes], bool]
    reader: str

    def load(self) -> Reader:
        """The function that reads this format."""
        return cast(Reader, resolve_name(f"cxr_explain.loaders.{self.reader}"))


def _begins(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(signatures)


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _is_dicom(data: bytes) -> bool:
    return data[128:132] == b"DICM" or _looks_like_bare_dicom(data)


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


_TIFF: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")

FORMATS: Final = (
    ImageFormat("DICOM", (".dcm", ".dicom"), _is_dicom, "dicom:read_dicom"),
    ImageFormat("PNG", (".png",), _begins(b"\x89PNG\r\n\x1a\n"), "raster:read_png"),
    ImageFormat("JPEG", (".jpg", ".jpeg"), _begins(b"\xff\xd8\xff"), "raster:read_jpeg"),
    ImageFormat("TIFF", (".tif", ".tiff"), _begins(*_TIFF), "raster:read_tiff"),
    ImageFormat("WEBP", (".webp",), _is_webp, "raster:read_webp"),
    ImageFormat("BMP", (".bmp",), _begins(b"BM"), "raster:read_bmp"),
)
"""Every format that is read, in the order in which a file is tried."""

ENDINGS: Final = frozenset(ending for each in FORMATS for ending in each.endings)
"""The endings of image files' names, in small letters with their dot."""
