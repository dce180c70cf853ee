"""A small perceptual hash of a figure, which another FreeType or numpy does not move far."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 40
DPI = 60


def figure_hash(png: bytes) -> str:
    """Edges and colours of a figure as hexadecimal digits.

    One bit says whether a cell is clearly lighter than its left neighbour, one whether it is clearly lighter
    than the cell above, and three whether red, green or blue stand out against its mean.
    """
    image = Image.open(io.BytesIO(png)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    cells = np.asarray(image, np.int16)
    grey = cells.mean(axis=2)
    planes = [
        np.diff(grey, axis=1, prepend=255) > 12,
        np.diff(grey, axis=0, prepend=255) > 12,
        *(cells[..., channel] - grey > 5 for channel in range(3)),
    ]
    return np.packbits(np.stack(planes)).tobytes().hex()


def distance(a: str, b: str) -> int:
    """How many bits differ."""
    return int(np.unpackbits(_bytes(a) ^ _bytes(b)).sum())


def _bytes(digits: str) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(digits), np.uint8)
