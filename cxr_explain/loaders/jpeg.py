"""What is before the picture of a JPEG file, counted before Pillow keeps all of it."""

from __future__ import annotations

from itertools import count
from typing import Final

from PIL.JpegImagePlugin import MARKER

from cxr_explain.loaders.codestream import walk_scans
from cxr_explain.loaders.limits import Limits
from cxr_explain.loaders.tiff import check_exif

_SCAN, _APP1, _EXIF = 0xFFDA, 0xFFE1, b"Exif\x00\x00"
_WITH_LENGTH: Final = frozenset(code for code, (_, _, handler) in MARKER.items() if handler is not None)
"""The markers behind which Pillow reads a segment; it steps over all other bytes one by one."""


def check_jpeg(data: bytes, limits: Limits) -> int:
    """Refuse a JPEG file with too much before its picture.

    Args:
        data: the file's bytes.
        limits: what may be there.

    Returns:
        How many scans follow; each of them goes over all of the pixels.

    Raises:
        ImageTooLargeError: too many segments, other bytes or EXIF tags.
    """
    position, exif, passed_over = 2, bytearray(), 0
    for number in count(1):
        at = data.find(b"\xff", position)
        if at < 0:
            return 0
        passed_over += at - position
        limits.check_parts(number + passed_over, "segments and other bytes before the picture of a JPEG")
        marker = int.from_bytes(data[at : at + 2], "big")
        if marker not in _WITH_LENGTH:
            position = at + (1 if marker == 0xFFFF else 2)
            continue
        end = at + 2 + max(int.from_bytes(data[at + 2 : at + 4], "big"), 2)
        if marker == _SCAN:
            break
        if marker == _APP1 and data.startswith(_EXIF, at + 4):
            exif += data[at + 10 : end]
        position = end
    check_exif(bytes(exif), limits)
    return walk_scans(data, end)[1]
