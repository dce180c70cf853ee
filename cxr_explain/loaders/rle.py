"""RLE of PS3.5 Annex G, never beyond the size that the header declares."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

_HEADER, _MOST_SEGMENTS = 64, 15


def decode_rle(frame: bytes, rows: int, columns: int, bytes_per_sample: int) -> NDArray[np.unsignedinteger]:
    """Decode a grey frame to unsigned words: a segment for each byte of a sample, the most significant first.

    What a segment has beyond its pixels is left out, as it is by pydicom.

    Raises:
        ValueError: another number of segments, or fewer pixels.

    >>> segments = bytes([1, 0, 7, 0]), bytes([255, 2])  # two bytes as they are; 2 twice
    >>> header = struct.pack("<3L", 2, 64, 68).ljust(64, bytes(1))
    >>> decode_rle(header + b"".join(segments), 1, 2, 2).tolist()
    [[2, 1794]]
    """
    if len(frame) < _HEADER:
        raise ValueError("no header")
    count, *offsets = struct.unpack_from(f"<{_MOST_SEGMENTS + 1}L", frame)
    if count != bytes_per_sample:
        raise ValueError(f"{count} segments")
    planes = np.empty((rows * columns, bytes_per_sample), np.uint8)
    ends = [*offsets[1:count], len(frame)]
    for number, (start, end) in enumerate(zip(offsets, ends, strict=False)):
        segment = _unpack(frame[start:end], rows * columns)
        planes[:, bytes_per_sample - 1 - number] = np.frombuffer(segment, np.uint8)
    return planes.view(f"<u{bytes_per_sample}").reshape(rows, columns)


def _unpack(segment: bytes, length: int) -> bytes:
    """The runs and the plain bytes of a segment, up to a length."""
    unpacked, position = bytearray(), 0
    with suppress(IndexError):  # where the segment ends
        while len(unpacked) < length:
            code = segment[position]
            position += 1
            if code < 128:
                unpacked += segment[position : position + code + 1]
                position += code + 1
            elif code > 128:
                unpacked += segment[position : position + 1] * (257 - code)
                position += 1
    if len(unpacked) < length:
        raise ValueError(f"{len(unpacked)} bytes")
    return bytes(unpacked[:length])
