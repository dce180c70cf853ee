"""Deterministic damage to files: the same seed gives the same bytes."""

from __future__ import annotations

import random
import struct

HEADER = 1500
_SHORTS = {
    b"\x28\x00\x10\x00US": 2,
    b"\x28\x00\x11\x00US": 2,
    b"\x28\x00\x00\x01US": 2,
    b"\x28\x00\x01\x01US": 2,
}
_SHORTS |= {b"\x28\x00\x02\x01US": 2, b"\x28\x00\x03\x01US": 2, b"\x28\x00\x02\x00US": 2}
_VALUES = (0, 1, 2, 3, 7, 8, 9, 12, 15, 16, 17, 32, 255, 256, 4096, 32767, 32768, 65535)


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Apply one to three kinds of damage."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        rng.choice(_KINDS)(out, others, rng)
        if not out:
            break
    return bytes(out)


def _flip_bits(out: bytearray, others: list[bytes], rng: random.Random) -> None:
    for _ in range(rng.choice((1, 2, 8, 64))):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)


def _flip_header(out: bytearray, others: list[bytes], rng: random.Random) -> None:
    for _ in range(rng.choice((1, 2, 4))):
        out[rng.randrange(min(HEADER, len(out)))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _truncate(out: bytearray, others: list[bytes], rng: random.Random) -> None:
    del out[rng.randrange(len(out)) :]


def _splice(out: bytearray, others: list[bytes], rng: random.Random) -> None:
    other = rng.choice(others)
    start, at = rng.randrange(len(other)), rng.randrange(len(out))
    out[at : at + rng.randrange(200)] = other[start : start + rng.randrange(200)]


def _cut(out: bytearray, others: list[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(out))
    del out[at : at + rng.choice((1, 2, 16, 500))]


def _huge_word(out: bytearray, others: list[bytes], rng: random.Random) -> None:
    at = rng.randrange(max(1, min(HEADER, len(out)) - 4))
    out[at : at + 4] = struct.pack(rng.choice("<>") + "I", rng.choice((0xFFFFFFFF, 0x7FFFFFFF, 2**24, 0)))


def _dicom_field(out: bytearray, others: list[bytes], rng: random.Random) -> None:
    """Rows, Columns, Bits ..., Samples or Number of Frames set to something else."""
    key = rng.choice(list(_SHORTS))
    at = out.find(key)
    if at >= 0:
        out[at + 8 : at + 10] = struct.pack("<H", rng.choice(_VALUES))
    frames = out.find(b"\x28\x00\x08\x00IS")
    if frames >= 0 and rng.random() < 0.5:
        out[frames + 8 : frames + 10] = rng.choice((b"99", b"0 ", b"-1", b"1e", b"9e"))


def _codestream_field(out: bytearray, others: list[bytes], rng: random.Random) -> None:
    """Damage inside a compressed frame while its header and end marker stay."""
    at = max(out.rfind(b"\xff\xd8"), out.rfind(b"\xff\x4f\xff\x51"), out.find(b"IDAT"))
    if at < 0:
        return
    for _ in range(rng.choice((1, 3, 10, 40))):
        out[rng.randrange(min(at + 4, len(out) - 1), len(out))] = rng.randrange(256)


def _number_text(out: bytearray, others: list[bytes], rng: random.Random) -> None:
    """A character within a decimal or integer string: windows, spacing, shutters, frames."""
    keys = [key for key in (b"DS", b"IS") if key in out]
    if not keys:
        return
    key, at = rng.choice(keys), -1
    for _ in range(rng.randint(1, 6)):
        found = out.find(key, at + 1)
        at = found if found >= 0 else at
    length = int.from_bytes(out[at + 2 : at + 4], "little")
    if at >= 0 and 0 < length < 64 and at + 4 + length <= len(out):
        out[at + 4 + rng.randrange(length)] = rng.choice(b",,.-e9 \\0+")


def _fragment_header(out: bytearray, others: list[bytes], rng: random.Random) -> None:
    """The length of an item of compressed pixel data or of a sequence."""
    at = out.rfind(b"\xfe\xff\x00\xe0") if rng.random() < 0.5 else out.find(b"\xfe\xff\x00\xe0")
    if at >= 0:
        out[at + 4 : at + 8] = struct.pack("<I", rng.choice((0, 1, 2, 4, 100, 2**16, 2**31, 2**32 - 1)))


_KINDS = (_flip_bits, _flip_header, _truncate, _splice, _cut, _huge_word, _dicom_field, _codestream_field)
_KINDS += (_dicom_field, _codestream_field, _codestream_field, _number_text, _number_text, _fragment_header)
