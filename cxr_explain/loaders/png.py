"""What Pillow does not tell about a PNG: its stored depth, and whether its chunks are intact."""

from __future__ import annotations

import struct
import zlib

from cxr_explain.errors import CorruptImageError
from cxr_explain.loaders.limits import Limits

_SIGNATURE_LENGTH = 8


def check_png(data: bytes, limits: Limits) -> int:
    """Check the checksums of the chunks that hold the image; Pillow skips those of IDAT.

    Args:
        data: the file's bytes.
        limits: how many chunks there may be.

    Returns:
        The stored depth in bits, as the IHDR chunk has it (PNG specification, 11.2.1).

    Raises:
        CorruptImageError: a damaged chunk, or no end of the image.
        ImageTooLargeError: too many chunks.
    """
    depth, position, chunks = None, _SIGNATURE_LENGTH, 0
    while position + 12 <= len(data):
        chunks += 1
        limits.check_parts(chunks, "chunks of a PNG")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            break
        body = data[position + 8 : end - 4]
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(body, zlib.crc32(kind)) != struct.unpack_from(">I", data, end - 4)[0]:
            raise CorruptImageError("a PNG chunk with a wrong checksum", remedy="The file is damaged.")
        if kind == b"IHDR" and length == 13:
            depth = body[8]
        if kind == b"IEND" and depth is not None:
            return depth
        position = end
    raise CorruptImageError("a PNG without its end", remedy="The file is truncated: transfer it again.")
