"""The size of a WEBP image, by its header: the decoder makes room for it as soon as it sees the file."""

from __future__ import annotations

from cxr_explain.loaders.limits import Limits

_KEY_FRAME, _LOSSLESS = b"\x9d\x01\x2a", 0x2F
_BITS = 2**14 - 1
_HEAVIER = 1.5


def check_webp(data: bytes, limits: Limits) -> None:
    """Refuse a WEBP file of too many pixels (RFC 9649, 2.4 to 2.7).

    Raises:
        ImageTooLargeError: it is.
    """
    size = _size(data)
    if size is not None:  # else the decoder will say what is wrong
        # The decoder keeps its canvas, the one before, and what it hands over.
        Limits(int(limits.max_pixels / _HEAVIER)).check_pixels(*size)


def _size(data: bytes) -> tuple[int, int] | None:
    """Rows and columns, as a lossy, a lossless or an extended file has them."""
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[7:10], "little"), 1 + int.from_bytes(body[4:7], "little")
    if kind == b"VP8 " and body[3:6] == _KEY_FRAME:
        return int.from_bytes(body[8:10], "little") & _BITS, int.from_bytes(body[6:8], "little") & _BITS
    if kind == b"VP8L" and body[0] == _LOSSLESS:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits >> 14 & _BITS), 1 + (bits & _BITS)
    return None
