"""What a screenshot of a viewport shows of the marker study, in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_WHITE = 250
_MOST = 0.6  # share of a row or column that is white where the frame is
TINTED = 20
"""Difference of a pixel's channels from which on it has a colour."""


@dataclass(frozen=True)
class Place:
    """Where the image lies in a viewport: edges in pixels of the screenshot.

    Args:
        left: of the first column.
        top: of the first row.
        right: of the last column.
        bottom: of the last row.
    """

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def of(cls, shown: Pixels) -> Place:
        """By the white frame of the marker radiograph, which is shown without anything over it."""
        white = shown.min(axis=2) >= _WHITE
        (columns,) = np.nonzero(white.mean(axis=0) > _MOST * white.mean(axis=0).max())
        (rows,) = np.nonzero(white.mean(axis=1) > _MOST * white.mean(axis=1).max())
        return cls(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)

    @property
    def scale(self) -> tuple[float, float]:
        """Width and height in pixels of the screenshot."""
        return self.right - self.left, self.bottom - self.top

    def cut(self, shown: Pixels) -> Pixels:
        """What is shown of the image alone."""
        return shown[self.top : self.bottom, self.left : self.right]

    def laid(self, mask: Mask) -> Mask:
        """A mask (H, W) of the radiograph, as large as the image is shown."""
        width, height = self.scale
        rows = ((np.arange(height) + 0.5) / height * mask.shape[0]).astype(int)
        columns = ((np.arange(width) + 0.5) / width * mask.shape[1]).astype(int)
        return mask[np.ix_(rows, columns)]


def colourfulness(shown: Pixels) -> NDArray[np.int64]:
    """(h, w): difference of the largest and the least channel; 0 for grey."""
    return np.ptp(shown.astype(int), axis=2)


def overlap(a: Mask, b: Mask) -> float:
    """Intersection over union."""
    return float((a & b).sum() / (a | b).sum())
