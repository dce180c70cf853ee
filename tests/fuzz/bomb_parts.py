"""What bombs are made of: zeros deflated to next to nothing, elements of DICOM, chunks and tags."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

MIB, GIB = 2**20, 2**30
LONG = (b"OB", b"OW", b"OL", b"SQ", b"UN", b"UT", b"UC")
ENDLESS = 0xFFFFFFFF


def deflated_zeros(count: int, before: bytes = b"", after: bytes = b"", wbits: int = -15) -> bytes:
    """A deflate stream of some bytes, that many zeros, and some bytes; made block by block."""
    packer, block = zlib.compressobj(9, zlib.DEFLATED, -15), 16 * MIB
    head = packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    tail = packer.compress(bytes(count % block) + after) + packer.flush()
    body = head + again * (count // block) + tail
    return body if wbits < 0 else b"\x78\xda" + body + bytes(4)  # the checksum of zlib is wrong


class Form:
    """A way of writing elements: implicit or explicit, little or big endian."""

    def __init__(self, *, implicit: bool = False, big: bool = False) -> None:
        self.implicit, self.order = implicit, ">" if big else "<"

    def element(self, tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
        """An element; `length` is what its header says, where that is a lie."""
        value += bytes(len(value) % 2)
        said = len(value) if length is None else length
        head = struct.pack(f"{self.order}HH", tag >> 16, tag & 0xFFFF)
        if self.implicit:
            return head + struct.pack(f"{self.order}L", said) + value
        if vr in LONG:
            return head + vr + bytes(2) + struct.pack(f"{self.order}L", said) + value
        return head + vr + struct.pack(f"{self.order}H", min(said, 0xFFFF)) + value

    def item(self, value: bytes = b"", length: int | None = None) -> bytes:
        """An item of a sequence."""
        said = len(value) if length is None else length
        return struct.pack(f"{self.order}HHL", 0xFFFE, 0xE000, said) + value

    def short(self, tag: int, number: int) -> bytes:
        """An element of one unsigned number."""
        return self.element(tag, b"US", struct.pack(f"{self.order}H", number))

    def header(self, rows: int = 16, columns: int = 16, bits: int = 16) -> bytes:
        """What a radiograph has up to its pixels, in the order of the tags."""
        kind = self.element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.1.1")
        return kind + self.element(0x00080060, b"CS", b"DX") + self.image(rows, columns, bits)

    def image(self, rows: int = 16, columns: int = 16, bits: int = 16, frames: bytes | None = None) -> bytes:
        """Group 0028 of a grey image."""
        return b"".join(
            [
                self.short(0x00280002, 1),
                self.element(0x00280004, b"CS", b"MONOCHROME2 "),
                self.element(0x00280008, b"IS", frames) if frames else b"",
                self.short(0x00280010, rows),
                self.short(0x00280011, columns),
                self.short(0x00280100, bits),
                self.short(0x00280101, bits),
                self.short(0x00280102, bits - 1),
                self.short(0x00280103, 0),
            ]
        )


EXPLICIT, IMPLICIT, BIG = Form(), Form(implicit=True), Form(big=True)
NATIVE = {
    "implicit": (IMPLICIT, b"1.2.840.10008.1.2"),
    "explicit": (EXPLICIT, b"1.2.840.10008.1.2.1"),
    "big endian": (BIG, b"1.2.840.10008.1.2.2"),
}
DEFLATED = b"1.2.840.10008.1.2.1.99"
OTHER_SYNTAXES = {
    "RLE": b"1.2.840.10008.1.2.5",
    "JPEG baseline": b"1.2.840.10008.1.2.4.50",
    "JPEG extended": b"1.2.840.10008.1.2.4.51",
    "JPEG lossless": b"1.2.840.10008.1.2.4.57",
    "JPEG lossless SV1": b"1.2.840.10008.1.2.4.70",
    "JPEG-LS": b"1.2.840.10008.1.2.4.80",
    "JPEG-LS near": b"1.2.840.10008.1.2.4.81",
    "JPEG 2000 lossless": b"1.2.840.10008.1.2.4.90",
    "JPEG 2000": b"1.2.840.10008.1.2.4.91",
    "HTJ2K lossless": b"1.2.840.10008.1.2.4.201",
    "HTJ2K RPCL": b"1.2.840.10008.1.2.4.202",
    "HTJ2K": b"1.2.840.10008.1.2.4.203",
    "deflated frames": b"1.2.840.10008.1.2.8.1",
}


def meta(
    syntax: bytes, padding: int = 0, *, length: int | None = None, form: Form = EXPLICIT, more: bytes = b""
) -> bytes:
    """Group 0002, with that many bytes in its version; `length` 0 leaves the group's length out."""
    body = (
        form.element(0x00020001, b"OB", b"\x00\x01" + bytes(padding))
        + form.element(0x00020002, b"UI", b"1.2.840.10008.5.1.4.1.1.1.1")
        + form.element(0x00020010, b"UI", syntax)
        + more
    )
    if length == 0:
        return body
    return form.element(0x00020000, b"UL", struct.pack("<L", length or len(body))) + body


PREAMBLE = bytes(128) + b"DICM"


def dicom(syntax: bytes, *body: bytes) -> bytes:
    """A file with a preamble."""
    return PREAMBLE + meta(syntax) + b"".join(body)


def encapsulated(frame: bytes | list[bytes], table: bytes = b"") -> bytes:
    """Pixel Data of compressed frames, or of one in fragments."""
    items = [table, *(frame if isinstance(frame, list) else [frame])]
    value = b"".join(EXPLICIT.item(item + bytes(len(item) % 2)) for item in items)
    return EXPLICIT.element(0x7FE00010, b"OB", b"", ENDLESS) + value + bytes.fromhex("feffdde000000000")


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG, or of JPEG 2000."""
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def tiff(entries: Iterable[tuple[int, int, int, int]], data: bytes = b"", next_ifd: int = 0) -> bytes:
    """A little-endian TIFF whose directory is at 8; `data` follow it, from `tiff_data_at` on."""
    entries = list(entries)
    body = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return (
        b"II*\x00\x08\x00\x00\x00"
        + struct.pack("<H", len(entries))
        + body
        + struct.pack("<L", next_ifd)
        + data
    )


def tiff_data_at(entries: int) -> int:
    """Where the data of a TIFF of that many entries begin."""
    return 8 + 2 + 12 * entries + 4


def writes(name: str, data: Callable[[], bytes]) -> Callable[[Path], Path]:
    """A `make` that writes bytes, which are made when they are asked for."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data())
        return path

    return make


def sparse(name: str, size: int, head: bytes = b"") -> Callable[[Path], Path]:
    """A `make` of a file of zeros behind a head, that takes no room on the disk."""

    def make(folder: Path) -> Path:
        path = folder / name
        with path.open("wb") as file:
            file.write(head)
            file.truncate(size)
        return path

    return make
