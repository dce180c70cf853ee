"""The frame of the thorax: one grid in which the maps of many radiographs lie over one another.

The box around the thorax is stretched to a square, whatever its size and place in the radiograph, with a
margin around it. What a header says is mirrored is turned back, so that the patient's right is on the left.

A frame has fine cells, for maps, and coarse ones, for the places of peaks. The outermost ring of coarse cells
is the margin: it reaches as far as the radiograph does, and shows no thorax.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_explain.support.arrays import Floats

FRAME_MARGIN = 0.25
"""Of the thorax's width and height, on each side of it."""

FINE_CELLS = 24
"""Along each side of the frame, for maps."""

COARSE_CELLS = 6
"""Along each side of the frame, for peaks: the margin, four over the thorax, the margin."""

_WIDTH = 1 + 2 * FRAME_MARGIN


@dataclass(frozen=True, eq=False)
class ThoraxFrames:
    """The frames of n radiographs.

    Args:
        boxes: (n, 4) left, top, right and bottom of each thorax, in the radiograph's pixels.
        squares: (n, 3) left, top and side of the model's square, in the radiograph's pixels.
        mirrored: (n,) bool, whether the patient's left is on the left of the image.

    >>> frames = ThoraxFrames(np.array([[20.0, 20, 80, 80]]), np.array([[0.0, 0, 100]]), np.array([False]))
    >>> rows, columns = frames.places((10, 10))
    >>> rows[0].tolist()
    [0, 0, 1, 2, 2, 3, 4, 4, 5, 5]
    """

    boxes: NDArray[np.float64]
    squares: NDArray[np.float64]
    mirrored: NDArray[np.bool_]

    def places(self, cells: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The coarse row of each of a map's I rows, (n, I), and the coarse column of all J columns, (n, J).

        Args:
            cells: I and J of maps that cover the model's square.
        """
        rows, columns = (self._coarse(axis, count) for axis, count in ((1, cells[0]), (0, cells[1])))
        columns = np.where(self.mirrored[:, None], COARSE_CELLS - 1 - columns, columns)
        return rows, columns

    def even(self, cells: tuple[int, int]) -> NDArray[np.float64]:
        """(n, COARSE_CELLS, COARSE_CELLS): how often a peak at random among a map's cells lies in each place.

        Args:
            cells: I and J of maps that cover the model's square.
        """
        rows, columns = (
            (found[..., None] == np.arange(COARSE_CELLS)).mean(axis=1) for found in self.places(cells)
        )
        return np.asarray(rows[:, :, None] * columns[:, None, :])

    def laid(self, maps: Floats, image: NDArray[np.intp]) -> Floats:
        """Lay maps into the frame.

        Each becomes its positive part, divided by the mean of that: an even map is 1 wherever the model saw
        something, and so is the mean of any map over the model's square.

        Args:
            maps: (m, I, J) maps that cover the model's square, each with a positive value.
            image: (m,) which radiograph each is of.

        Returns:
            (m, FINE_CELLS, FINE_CELLS), bilinear; 0 where the model saw nothing.
        """
        positive = np.maximum(maps, 0)
        positive = positive / positive.mean(axis=(1, 2), keepdims=True)
        rows, columns = (self._hats(axis, count) for axis, count in ((1, maps.shape[1]), (0, maps.shape[2])))
        columns = np.where(self.mirrored[:, None, None], columns[:, ::-1], columns)
        return np.asarray(rows[image] @ positive @ columns[image].transpose(0, 2, 1), np.float32)

    def _coarse(self, axis: int, count: int) -> NDArray[np.intp]:
        """(n, count): the coarse cells that hold the middles of a map's cells along an axis, 0 for x."""
        middles = (np.arange(count) + 0.5) / count
        at = self.squares[:, axis, None] + self.squares[:, 2, None] * middles
        start, end = self.boxes[:, axis, None], self.boxes[:, axis + 2, None]
        within = ((at - start) / (end - start) + FRAME_MARGIN) / _WIDTH
        return np.clip(np.floor(within * COARSE_CELLS), 0, COARSE_CELLS - 1).astype(np.intp)

    def _hats(self, axis: int, count: int) -> Floats:
        """(n, FINE_CELLS, count): bilinear weights of a map's cells in the middles of the fine cells."""
        middles = (np.arange(FINE_CELLS) + 0.5) / FINE_CELLS * _WIDTH - FRAME_MARGIN
        start, end = self.boxes[:, axis, None], self.boxes[:, axis + 2, None]
        within = (start + middles * (end - start) - self.squares[:, axis, None]) / self.squares[:, 2, None]
        position = np.clip(within * count - 0.5, 0, count - 1)
        hats = np.clip(1 - np.abs(position[..., None] - np.arange(count)), 0, None)
        return np.asarray(hats * ((within >= 0) & (within < 1))[..., None], np.float32)


def place_in_frame(row: int, column: int) -> str:
    """Where a coarse cell lies from the thorax, in words.

    >>> place_in_frame(0, 0), place_in_frame(5, 2), place_in_frame(3, 5), place_in_frame(2, 2)
    ('upper left corner', 'below', 'right side', 'over it')
    """
    last = COARSE_CELLS - 1
    side = {0: "left", last: "right"}.get(column)
    if row in (0, last):
        beyond, end = ("above", "upper") if row == 0 else ("below", "lower")
        return f"{end} {side} corner" if side else beyond
    return f"{side} side" if side else "over it"
