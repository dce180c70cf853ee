"""What is missing of a DICOM file that ends too early.

pydicom gives nothing at all of a data set whose compressed pixel data do not end (PS3.5 A.4), so that this
looks for the pixel data itself.
"""

from __future__ import annotations

from typing import Final

import pydicom

from cxr_explain.errors import CorruptImageError
from cxr_explain.loaders.metered import MeteredBytes

ITEM: Final = b"\xfe\xff\x00\xe0"
"""The tag of an item of compressed pixel data, little endian as they always are (PS3.5 A.4)."""

TRANSFER_AGAIN: Final = "The file is truncated: transfer it again."
_PIXEL_DATA: Final = b"\xe0\x7f\x10\x00"


def cut_off(data: bytes) -> CorruptImageError:
    """Say what is missing of a file that cannot be parsed to its end.

    Args:
        data: the bytes of the file.
    """
    stream = MeteredBytes(data)
    pydicom.dcmread(stream, force=True, stop_before_pixels=True)
    start = stream.tell()
    if data[start : start + 4] != _PIXEL_DATA:
        return CorruptImageError(
            "a DICOM file that ends within its header", expected="pixel data", remedy=TRANSFER_AGAIN
        )
    # Tag, VR, two reserved bytes and the length in explicit VR; tag and length in implicit VR.
    start += 12 if data[start + 4 : start + 6].isalpha() else 8
    return CorruptImageError(
        f"pixel data that is cut off after {len(data) - start:,} bytes",
        expected=f"at least {_declared(data, start):,} and the end marker",
        remedy=TRANSFER_AGAIN,
    )


def _declared(data: bytes, start: int) -> int:
    """The bytes that the items of compressed pixel data take by what their headers say."""
    position = start
    while position + 8 <= len(data) and data[position : position + 4] == ITEM:
        position += 8 + int.from_bytes(data[position + 4 : position + 8], "little")
    return position - start
