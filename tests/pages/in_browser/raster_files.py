"""Files of rasters that Pillow does not write, or not as a test wants them."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    samples: np.ndarray,
    colour: int = 0,
    depth: int = 8,
    *,
    interlaced: bool = False,
    before: bytes = b"",
    filters: bool = True,
) -> bytes:
    """A PNG of (H, W) or (H, W, C) samples, by the specification alone; filters take turns."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = b"".join(_rows(samples[y::down, x::across], depth, filters) for x, y, across, down in passes)
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + data + chunk(b"IEND", b"")


def _rows(samples: np.ndarray, depth: int, filters: bool) -> bytes:
    if samples.size == 0:
        return b""
    flat = samples.reshape(len(samples), -1)
    channels = flat.shape[1] // samples.shape[1]
    step = max(1, channels * depth // 8)
    packed = [_packed(row, depth) for row in flat]
    above, out = np.zeros(len(packed[0]), np.int64), b""
    for number, row in enumerate(packed):
        kind = number % 5 if filters else 0
        out += bytes([kind]) + _filtered(row.astype(np.int64), above, step, kind)
        above = row.astype(np.int64)
    return out


def _packed(row: np.ndarray, depth: int) -> np.ndarray:
    if depth == 16:
        return np.frombuffer(row.astype(">u2").tobytes(), np.uint8)
    if depth == 8:
        return row.astype(np.uint8)
    bits = (row[:, None] >> np.arange(depth - 1, -1, -1)) & 1
    return np.packbits(bits.reshape(-1).astype(np.uint8))


def _filtered(row: np.ndarray, above: np.ndarray, step: int, kind: int) -> bytes:
    left = np.concatenate([np.zeros(step, np.int64), row])[: len(row)]
    corner = np.concatenate([np.zeros(step, np.int64), above])[: len(row)]
    guess = left + above - corner
    near = np.stack([abs(guess - left), abs(guess - above), abs(guess - corner)])
    nearest = np.choose(near.argmin(axis=0), [left, above, corner])
    taken = (0 * row, left, above, (left + above) // 2, nearest)[kind]
    return ((row - taken) % 256).astype(np.uint8).tobytes()


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
