"""The pixels of a case: small enough to be handed on, without metadata."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LONGEST = 1024
"""Pixels of the longer side; a larger image is reduced, a smaller one stays."""

_QUALITIES = (92, 85, 75, 60, 45, 30, 15)
"""Of a JPEG. The first gives one or two grey values of noise, in a fraction of a PNG's bytes."""


def case_jpeg(display: NDArray[np.uint8], most: int | None = None) -> tuple[bytes, tuple[int, int]]:
    r"""A copy of a radiograph's display image.

    Args:
        display: (H, W), 8-bit grey.
        most: bytes that the copy may have; one of much noise is then of less quality.

    Returns:
        The bytes of a JPEG, 8-bit grey; and its width and height in pixels.

    >>> jpeg, size = case_jpeg(np.zeros((2048, 1000), np.uint8))
    >>> jpeg[:2], size
    (b'\xff\xd8', (500, 1024))
    """
    image = Image.fromarray(np.ascontiguousarray(display))
    scale = min(1.0, LONGEST / max(image.size))
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BICUBIC)
    return jpeg_within(image, most), image.size


def jpeg_within(image: Image.Image, most: int | None = None, *, best: int = _QUALITIES[0]) -> bytes:
    """A picture as a JPEG of the best quality with which it has no more bytes than that.

    Args:
        image: the picture.
        most: bytes that it may have; None for any number.
        best: quality to begin with, of 100.
    """
    jpeg = b""
    for quality in (best, *(each for each in _QUALITIES if each < best)):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        jpeg = buffer.getvalue()
        if most is None or len(jpeg) <= most:
            break
    return jpeg
