"""The pixels of a case: small enough for a folder that is handed on, without metadata."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LONGEST = 1024
"""Pixels of the longer side; a larger image is reduced, a smaller one stays."""

_QUALITY = 92  # one or two grey values of noise, in a fraction of a PNG's bytes


@dataclass(frozen=True)
class CaseImage:
    """A copy of a radiograph's display image.

    Args:
        jpeg: the file's bytes, 8-bit grey.
        width: in pixels.
        height: in pixels.
    """

    jpeg: bytes
    width: int
    height: int

    @classmethod
    def of(cls, display: NDArray[np.uint8]) -> CaseImage:
        r"""Reduce and compress.

        Args:
            display: (H, W).

        >>> image = CaseImage.of(np.zeros((2048, 1000), np.uint8))
        >>> image.width, image.height, image.jpeg[:2]
        (500, 1024, b'\xff\xd8')
        """
        height, width = display.shape
        scale = min(1.0, LONGEST / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image = Image.fromarray(np.ascontiguousarray(display))
        if size != (width, height):
            image = image.resize(size, Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=_QUALITY)
        return cls(buffer.getvalue(), *size)

    @property
    def url(self) -> str:
        """The bytes as a URL; a page may read their pixels back even where it was opened from a disk."""
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode("ascii")
