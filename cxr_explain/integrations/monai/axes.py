"""How an image's axes lie: as the radiograph is displayed, or turned by MONAI's readers and transforms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Axes = Literal["recorded", "rows-columns", "columns-rows"]
"""The spatial axes of an image as it was read: what `ReadRadiographd` recorded, or what the caller says."""


@dataclass(frozen=True)
class Turn:
    """A transposition and flips, in steps of 90 degrees.

    Args:
        transposed: the first spatial axis runs along the columns.
        rows_flipped: the rows run from the bottom to the top.
        columns_flipped: the columns run from the right to the left.

    >>> Turn.of(np.array([[0, -1], [1, 0]]))
    Turn(transposed=True, rows_flipped=True, columns_flipped=False)
    """

    transposed: bool = False
    rows_flipped: bool = False
    columns_flipped: bool = False

    @classmethod
    def of(cls, matrix: NDArray[np.floating]) -> Turn:
        """The nearest turn of a 2 x 2 matrix, from a step along the image's axes to rows and columns.

        A rotation by another angle, or a shear, is left in the image.
        """
        size = np.abs(matrix)
        transposed = bool(size[0, 1] + size[1, 0] > size[0, 0] + size[1, 1])
        upright = matrix[:, ::-1] if transposed else matrix
        return cls(transposed, bool(upright[0, 0] < 0), bool(upright[1, 1] < 0))

    def undo(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., A, B) -> (..., H, W), as the radiograph is displayed."""
        upright = image.swapaxes(-1, -2) if self.transposed else image
        return upright[..., :: -1 if self.rows_flipped else 1, :: -1 if self.columns_flipped else 1]

    def redo(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., H, W) -> (..., A, B), as it came."""
        flipped = image[..., :: -1 if self.rows_flipped else 1, :: -1 if self.columns_flipped else 1]
        return flipped.swapaxes(-1, -2) if self.transposed else flipped

    @property
    def words(self) -> str:
        """For people; '' where nothing was turned."""
        said = {
            "axes swapped": self.transposed,
            "rows flipped": self.rows_flipped,
            "columns flipped": self.columns_flipped,
        }
        return ", ".join(word for word, there in said.items() if there)
