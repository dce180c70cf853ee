"""A small copy of a radiograph, at a cost that hardly depends on the radiograph's size.

Every cell is the mean of a few pixels at fixed places within it. So a radiograph whose pixels are repeated
has the same thumbnail, and one of 3000 x 3000 pixels takes about as long as one of 512 x 512.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cxr_explain.radiograph import Radiograph

SIDE = 192
"""Cells along the radiograph's longer side, if it has as many pixels."""

_SAMPLES = 2  # along each side of a cell


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A radiograph in few cells, which need not be quite square.

    Args:
        values: (h, w) grey levels, 0 black to 1 white as displayed; h and w are even.
        radiograph_shape: (H, W) of the radiograph, in pixels.
    """

    values: NDArray[np.float32] = field(repr=False)
    radiograph_shape: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w)."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a cell in radiograph pixels."""
        (height, width), (h, w) = self.radiograph_shape, self.shape
        return width / w, height / h

    def halved(self) -> NDArray[np.float32]:
        """(h / 2, w / 2) means of two by two cells."""
        v = self.values
        return (v[::2, ::2] + v[1::2, ::2] + v[::2, 1::2] + v[1::2, 1::2]) * np.float32(0.25)


def thumbnail_of(radiograph: Radiograph, side: int = SIDE) -> Thumbnail:
    """Sample a radiograph's display image.

    Args:
        radiograph: a radiograph of any size.
        side: cells along the longer side; fewer where the radiograph has fewer pixels.

    >>> thumbnail_of(Radiograph.from_array(np.full((300, 600), 1024.0))).shape
    (96, 192)
    """
    height, width = radiograph.shape
    scale = min(side, max(height, width)) / max(height, width)
    h, w = (2 * max(1, round(extent * scale / 2)) for extent in (height, width))
    rows, columns = _places(h, height), _places(w, width)
    sampled = radiograph.display_at(rows, columns).astype(np.float32)
    sums = sampled[::2, ::2] + sampled[1::2, ::2] + sampled[::2, 1::2] + sampled[1::2, 1::2]
    return Thumbnail(sums / np.float32(255 * _SAMPLES**2), radiograph.shape)


def _places(cells: int, extent: int) -> NDArray[np.intp]:
    """The pixels to sample along one axis: in the middle of each half of each cell."""
    samples = cells * _SAMPLES
    return ((2 * np.arange(samples) + 1) * extent // (2 * samples)).astype(np.intp)
