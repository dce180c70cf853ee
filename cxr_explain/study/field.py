"""What the model saw of a radiograph, sampled at its pixels or more coarsely."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_explain.errors import OptionError
from cxr_explain.geometry import Geometry


@dataclass(frozen=True, eq=False)
class Field:
    """Maps and masks of a radiograph on one grid, without what the model did not see.

    Args:
        geometry: where the model's square lies.
        samples: of the radiograph's longer side, at most; its pixels where it has no more. A map of 28 x 28
            cells says no more on a million pixels than on a few thousand, and costs as much as these are.

    Raises:
        OptionError: no sample.

    >>> field = Field(Geometry.fit_square((4, 4), 2), samples=2)
    >>> field.mask(np.eye(4, dtype=bool)).astype(int).tolist()
    [[1, 0], [0, 1]]
    """

    geometry: Geometry
    samples: int

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise OptionError(f"{self.samples} samples", expected="1 or more")

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the whole radiograph's grid."""
        height, width = self.geometry.radiograph_shape
        share = min(1.0, self.samples / max(height, width))
        return max(round(height * share), 1), max(round(width * share), 1)

    @property
    def pitch(self) -> float:
        """Samples along the side of the model's square."""
        return self.geometry.side * self.shape[0] / self.geometry.radiograph_shape[0]

    def maps(self, maps: ArrayLike) -> NDArray[np.float32]:
        """(..., I, J) on the model's square -> (..., rows, columns), interpolated bilinearly."""
        return self.geometry.maps_to_radiograph(maps, self.shape)[(..., *self._seen)]

    def mask(self, mask: ArrayLike) -> NDArray[np.bool_]:
        """(H, W) of the radiograph -> (rows, columns), the pixel that each sample lies in."""
        rows, columns = (
            ((np.arange(samples) + 0.5) * extent / samples).astype(np.intp)
            for samples, extent in zip(self.shape, self.geometry.radiograph_shape, strict=True)
        )
        return np.asarray(mask, bool)[rows[:, None], columns][self._seen]

    @cached_property
    def _seen(self) -> tuple[slice, slice]:
        """The samples whose centres the model saw."""
        left, top, right, bottom = self.geometry.seen_box
        height, width = self.geometry.radiograph_shape
        return (
            _between(top, bottom, self.shape[0] / height),
            _between(left, right, self.shape[1] / width),
        )


def _between(start: int, stop: int, scale: float) -> slice:
    return slice(int(np.ceil(start * scale - 0.5)), int(np.ceil(stop * scale - 0.5)))
