"""What a compressed frame says about itself, checked before a native decoder sees it.

A header that contradicts the data set is either damage or a decompression bomb, and a stream without its end
marker is truncated: decoders would fill the rest with grey and say nothing.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from cxr_explain.errors import CorruptImageError, UnsupportedImageError
from cxr_explain.loaders.limits import Limits

_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SOF_JPEG_LS = 0xF7
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_SOS, _EOI = 0xDA, 0xD9
_J2K_START = b"\xff\x4f\xff\x51"
_J2K_TILE_PART, _J2K_DATA = b"\xff\x90", b"\xff\x93"
_COD, _COC = b"\xff\x52", b"\xff\x53"
_END = b"\xff\xd9"  # of JPEG, JPEG-LS and JPEG 2000 alike
_SCAN = b"\xff\xda"
_MAX_J2K_TILES = 65535
# OpenJPEG keeps 7 kB for each tile.
_PARTS_OF_A_TILE, _PACKETS_OF_A_PART = 20, 16
_J2K_SEGMENTS = frozenset(
    b"\x50\x51\x52\x53\x55\x57\x58\x59\x5c\x5d\x5e\x5f\x60\x61\x63\x64\x74\x75\x76\x77\x78\x90"
)
# Within a scan, no byte above 7F follows FF but a restart marker's: JPEG stuffs 00, JPEG-LS a bit.
_SCAN_MARKER = re.compile(rb"\xff+([\x80-\xcf\xd8-\xfe])")


@dataclass(frozen=True)
class FrameHeader:
    """Size and depth of a compressed frame.

    Args:
        process: the JPEG start-of-frame marker's low byte (0xC0 ...), 0xF7 for JPEG-LS, 0x51 for JPEG 2000.
        rows: height in pixels.
        columns: width in pixels.
        components: samples for each pixel.
        precision: bits of a sample.
        length: bytes up to and with the end marker.
        signed: whether the samples are signed; JPEG and JPEG-LS cannot say so.
        scans: how often the decoder goes over the pixels.
    """

    process: int
    rows: int
    columns: int
    components: int
    precision: int
    length: int
    signed: bool = False
    scans: int = 1


def parse_jpeg(source: bytes, limits: Limits) -> FrameHeader:
    """Read the frame header of a JPEG stream (ISO 10918-1 B.2.2), up to its first scan.

    Raises:
        CorruptImageError: no frame header, no scan, no end marker, or another kind of stream.
    """
    header = _parse_markers(source, "JPEG", limits)
    if header.process == _SOF_JPEG_LS:
        raise _other_kind("JPEG-LS", "JPEG")
    return header


def parse_jpeg_ls(source: bytes, limits: Limits) -> FrameHeader:
    """Read the frame header of a JPEG-LS stream (ISO 14495-1 C.2.2), up to its first scan.

    Raises:
        CorruptImageError: no frame header, no scan, no end marker, or another kind of stream.
    """
    header = _parse_markers(source, "JPEG-LS", limits)
    if header.process != _SOF_JPEG_LS:
        raise _other_kind("JPEG", "JPEG-LS")
    return header


def _parse_markers(source: bytes, expected: str, limits: Limits) -> FrameHeader:
    if source[:2] != b"\xff\xd8":
        raise _other_kind(kind_of(source[:2048]), expected)
    fields, position = None, 2
    for number in count(1):
        marker, position = _next_marker(source, position)
        limits.check_parts(number, "segments of a JPEG header")
        if marker in _STANDALONE:
            continue
        (length,) = _unpack(">H", source, position)
        if length < 2 or position + length > len(source):
            raise _truncated()
        if marker in _SOF or marker == _SOF_JPEG_LS:
            precision, rows, columns, components = _unpack(">BHHB", source, position + 2)
            if fields is not None or length < 8 + 3 * components:
                raise CorruptImageError("a JPEG frame header that contradicts itself")
            fields = (marker, rows, columns, components, precision)
        position += length
        if marker == _SOS:
            break
    if fields is None:
        raise CorruptImageError("a JPEG scan without a frame header")
    end, scans = walk_scans(source, position)
    return FrameHeader(*fields, length=end or _end(source), scans=scans)


def parse_j2k(source: bytes, limits: Limits) -> FrameHeader:
    """Read the SIZ segment of a JPEG 2000 codestream (ISO 15444-1 A.5.1), bare or in a JP2 file.

    Raises:
        CorruptImageError: no SIZ segment, contradictory tiles, or no end marker.
        ImageTooLargeError: too many tiles, precincts or code-blocks, each of which takes memory.
    """
    start = source.find(_J2K_START, 0, 4096)
    if start < 0:
        raise _other_kind(kind_of(source[:2048]), "JPEG 2000")
    x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0 = _unpack(">8I", source, start + 8)
    components, ssiz = _unpack(">HB", source, start + 40)
    if x1 <= x0 or y1 <= y0 or not tile_x or not tile_y or tile_x0 > x0 or tile_y0 > y0:
        raise CorruptImageError("a JPEG 2000 header that contradicts itself")
    tiles = -(-(x1 - tile_x0) // tile_x) * -(-(y1 - tile_y0) // tile_y)
    if tiles > _MAX_J2K_TILES:
        raise CorruptImageError(f"a JPEG 2000 header with {tiles} tiles", expected="at most 65535")
    limits.check_parts(_PARTS_OF_A_TILE * tiles, f"parts of {tiles:,} tiles")
    # A frame that is larger than that is refused by its size, which says more.
    _check_coding(source, start + 2, min((x1 - x0) * (y1 - y0), limits.max_pixels), limits)
    length = _end_of_j2k(source, start + 2) or _end(source)
    return FrameHeader(
        0x51, y1 - y0, x1 - x0, components, (ssiz & 0x7F) + 1, length, signed=bool(ssiz & 0x80)
    )


def _check_coding(source: bytes, position: int, pixels: int, limits: Limits) -> None:
    """Refuse code-blocks and precincts (A.6.1, A.6.2) that are so small that there are too many of them.

    They may be told again for a tile: each COD and COC segment is held to what it would mean for the whole.
    """
    for number, (marker, body) in enumerate(_j2k_segments(source, position)):
        limits.check_parts(number, "segments of a JPEG 2000 header")
        if marker in (_COD, _COC):
            # COD's Scod and SGcod, or COC's component (one byte for a grey image) and Scoc, come first.
            style, layers, at = (0, slice(2, 4), 5) if marker == _COD else (1, slice(0), 2)
            if len(body) < at + 5:
                raise CorruptImageError("a JPEG 2000 header that is too short")
            own_precincts = body[at + 5 :] if body[style] & 1 else b"\xff"
            blocks = pixels >> ((body[at + 1] & 15) + (body[at + 2] & 15) + 4)
            packets = max(1, int.from_bytes(body[layers], "big")) * _precincts(own_precincts, pixels)
            limits.check_parts(blocks, "code-blocks of a JPEG 2000 frame")
            limits.check_parts(_precincts(own_precincts, pixels), "precincts of a JPEG 2000 frame")
            limits.check_parts(packets // _PACKETS_OF_A_PART, "packets of a JPEG 2000 frame")


def _precincts(exponents: bytes, pixels: int) -> int:
    """How many there are of all resolutions, from the smallest one on; each has a fourth of the next."""
    return sum(
        1 + (pixels >> (2 * below + (each & 15) + (each >> 4))) for below, each in enumerate(exponents[::-1])
    )


def _j2k_segments(source: bytes, position: int) -> Iterator[tuple[bytes, bytes]]:
    """The segments of the main header and of the tile-parts' headers, without the tiles' data (A.2, A.4)."""
    end_of_tile_part = None
    while len(marker := source[position : position + 2]) == 2 and marker != _END:
        if marker == _J2K_DATA:
            if end_of_tile_part is None or end_of_tile_part <= position:
                return
            position, end_of_tile_part = end_of_tile_part, None
            continue
        length = int.from_bytes(source[position + 2 : position + 4], "big")
        if marker[:1] != b"\xff" or length < 2:
            return
        if marker[1] not in _J2K_SEGMENTS:  # what OpenJPEG would look into byte by byte
            raise CorruptImageError("a JPEG 2000 header with a segment of no known kind")
        if marker == _J2K_TILE_PART:
            tile_part = int.from_bytes(source[position + 6 : position + 10], "big")
            end_of_tile_part = position + tile_part if tile_part else None
        yield marker, source[position + 4 : position + 2 + length]
        position += 2 + length


def check_agrees(header: FrameHeader, rows: int, columns: int) -> None:
    """Refuse a frame whose own header contradicts the data set.

    Raises:
        CorruptImageError: other rows or columns.
        UnsupportedImageError: colour, or more than 16 bits.
    """
    if (header.rows, header.columns) != (rows, columns):
        raise CorruptImageError(
            f"a compressed frame of {header.rows} x {header.columns} pixels",
            expected=f"{rows} x {columns} as the DICOM header says",
        )
    if header.components != 1:
        raise UnsupportedImageError(
            f"a compressed frame with {header.components} samples per pixel", expected="a grey image"
        )
    if not 2 <= header.precision <= 16:
        raise UnsupportedImageError(f"a compressed frame of {header.precision} bits", expected="2 to 16 bits")


def _next_marker(source: bytes, position: int) -> tuple[int, int]:
    if position >= len(source) or source[position] != 0xFF:
        raise CorruptImageError("a JPEG header with other bytes where a marker should be")
    while position < len(source) and source[position] == 0xFF:
        position += 1
    if position >= len(source):
        raise _truncated()
    return source[position], position + 1


def kind_of(source: bytes) -> str:
    """What compressed bytes look like by the signatures in them, for messages.

    >>> kind_of(bytes.fromhex("ffd8ffe0"))
    'JPEG'
    """
    if _J2K_START in source:
        return "JPEG 2000"
    if b"\xff\xd8\xff" in source:
        return "JPEG-LS" if b"\xff\xf7\x00\x0b" in source else "JPEG"
    return "of no known kind"


def is_padding(rest: bytes) -> bool:
    """Whether bytes after the end marker mean nothing: zeros (PS3.5 A.4), or FF of older writers."""
    return not rest.strip(b"\x00\xff")


def _end(source: bytes) -> int:
    """The end of a stream that cannot be walked through, where it ends with its marker."""
    stream = source.rstrip(b"\x00\xff")
    if not stream.endswith(_END):
        raise _truncated()
    return len(stream)


def walk_scans(source: bytes, position: int) -> tuple[int | None, int]:
    """The end of a JPEG stream, and how many scans it has (ISO 10918-1 B.2.1).

    Args:
        source: the stream, of which nothing is taken for granted.
        position: where the first scan's data begin.

    Returns:
        The end, None where no end marker is met; and the number of scans.

    >>> walk_scans(bytes.fromhex("1234 ffda0002 56 ffd9 ffda"), 0)
    (9, 2)
    """
    scans, first = 1, source.find(_END, position)
    if first >= 0 and is_padding(source[first + 2 :]) and source.find(_SCAN, position, first) < 0:
        return first + 2, scans  # nearly always, and much faster
    while found := _SCAN_MARKER.search(source, position):
        position = found.end()
        if found[1][0] == _EOI:
            return position, scans
        scans += found[1][0] == _SOS
        if position + 2 > len(source):
            break
        position += int.from_bytes(source[position : position + 2], "big")
    return None, scans


def _end_of_j2k(source: bytes, position: int) -> int | None:
    """Walk through the main header and the tile-parts (ISO 15444-1 A.4); None where they do not add up."""
    while (marker := source[position : position + 2]) != _END:
        at, size = (position + 6, 4) if marker == _J2K_TILE_PART else (position + 2, 2)
        length = int.from_bytes(source[at : at + size], "big")
        if marker == _J2K_TILE_PART and length == 0:  # the last one, of unknown length
            end = source.find(_END, position)
            return end + 2 if end >= 0 else None
        if marker[:1] != b"\xff" or length < 2:
            return None
        position += length if marker == _J2K_TILE_PART else 2 + length
    return position + 2


def _unpack(form: str, source: bytes, position: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, source, position)
    except struct.error:
        raise _truncated() from None


def _other_kind(found: str, expected: str) -> CorruptImageError:
    return CorruptImageError(
        f"a compressed frame that is {found}", expected=f"{expected}, as the transfer syntax says"
    )


def _truncated() -> CorruptImageError:
    return CorruptImageError(
        "a compressed frame that ends before its end marker",
        remedy="The file is truncated: transfer it again.",
    )
