"""Radiographs and masks that ask for more than they are: by transfer syntax, trick and size."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

from bombs import Bomb

RADIOGRAPH = "cxr_explain.loaders.read:read_radiograph"


def bombs() -> Iterator[Bomb]:
    """All of them; nothing is written before a bomb's `make` is called."""
    yield Bomb("PNG of ten thousand by ten thousand zeros", RADIOGRAPH, _large_png)


def _large_png(folder: Path) -> Path:
    return _write(folder / "a.png", _png(10_000, 10_000))


def _png(width: int, height: int) -> bytes:
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(width + 1)) for _ in range(height)) + packer.flush()
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + _chunk(b"IHDR", header) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path
