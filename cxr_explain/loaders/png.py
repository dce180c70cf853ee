"""What Pillow does not tell about a PNG: its stored depth, and whether its chunks are intact."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from cxr_explain.errors import CorruptImageError

_SIGNATURE_LENGTH = 8


@dataclass(frozen=True)
class PngHeader:
    """The depth and colour type of the IHDR chunk (PNG specification, 11.2.1)."""

    depth: int
    colour_type: int


def check_png(data: bytes) -> PngHeader:
    """Check the checksums of the chunks that hold the image; Pillow skips those of IDAT.

    Raises:
        CorruptImageError: a damaged chunk, or no end of the image.
    """
    header, position = None, _SIGNATURE_LENGTH
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            break
        body = data[position + 8 : end - 4]
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(body, zlib.crc32(kind)) != struct.unpack_from(">I", data, end - 4)[0]:
            raise CorruptImageError("a PNG chunk with a wrong checksum", remedy="The file is damaged.")
        if kind == b"IHDR" and length == 13:
            header = PngHeader(body[8], body[9])
        if kind == b"IEND" and header is not None:
            return header
        position = end
    raise CorruptImageError("a PNG without its end", remedy="The file is truncated: transfer it again.")
