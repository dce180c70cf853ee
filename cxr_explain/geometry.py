"""Where the model's square lies in the radiograph, and the exact way back.

Coordinates are continuous and count from the outer edge of the first pixel: pixel i covers [i, i + 1). In
these coordinates a resize is a pure scaling, so that the affine has an exact inverse, and a map of any
size covers the same region as the pixels it was computed from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_explain.errors import OptionError
from cxr_explain.options import Fit, check_option

TOLERANCE = 1 / 28
"""How far a peak may lie from a place and still count as there, as a share of the side of the model's square:
half a cell of a 14 x 14 map, the same for maps of any size."""


@dataclass(frozen=True)
class Geometry:
    """An isotropic scaling between a square of the radiograph and the model's square.

    Args:
        radiograph_shape: (H, W) of the radiograph.
        model_size: side S of the model's input, in pixels.
        left: left edge of the square, in radiograph pixels; negative where `fit="pad"` adds a margin.
        top: top edge of the square, in radiograph pixels; negative where `fit="pad"` adds a margin.
        side: side of the square, in radiograph pixels.
        fit: "crop" (the largest centred square) or "pad" (the smallest square around everything).

    >>> geometry = Geometry.fit_square((2320, 2828), 224)
    >>> geometry.left, geometry.top, geometry.side
    (254, 0, 2320)
    >>> geometry.points_to_radiograph(geometry.points_to_model([[300.0, 10.0]]))
    array([[300.,  10.]])
    """

    radiograph_shape: tuple[int, int]
    model_size: int
    left: int
    top: int
    side: int
    fit: Fit = "crop"

    @classmethod
    def fit_square(cls, radiograph_shape: tuple[int, int], model_size: int, fit: Fit = "crop") -> Geometry:
        """The centred square of TorchXRayVision's convention: start = extent // 2 - side // 2.

        Raises:
            OptionError: another `fit`.
        """
        height, width = radiograph_shape
        check_option("fit", fit, Fit)
        side = min(height, width) if fit == "crop" else max(height, width)
        return cls((height, width), model_size, width // 2 - side // 2, height // 2 - side // 2, side, fit)

    def within(self, box: tuple[int, int, int, int]) -> Geometry:
        """The same square in a part of the radiograph.

        Args:
            box: (left, top, right, bottom) of the part, in radiograph pixels.

        >>> Geometry.fit_square((2320, 2828), 224).within((1000, 0, 2000, 500)).left
        -746
        """
        left, top, right, bottom = box
        shape = (bottom - top, right - left)
        return replace(self, radiograph_shape=shape, left=self.left - left, top=self.top - top)

    @property
    def scale(self) -> float:
        """Model pixels per radiograph pixel."""
        return self.model_size / self.side

    @cached_property
    def to_model(self) -> NDArray[np.float64]:
        """3 x 3 affine from radiograph (x, y, 1) to model (x, y, 1)."""
        s = self.scale
        return np.array([[s, 0, -s * self.left], [0, s, -s * self.top], [0, 0, 1]])

    @cached_property
    def to_radiograph(self) -> NDArray[np.float64]:
        """3 x 3 affine from model (x, y, 1) to radiograph (x, y, 1)."""
        s = self.side / self.model_size
        return np.array([[s, 0, self.left], [0, s, self.top], [0, 0, 1]])

    @property
    def seen_box(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of the radiograph pixels that the model saw."""
        height, width = self.radiograph_shape
        return (
            max(self.left, 0),
            max(self.top, 0),
            min(self.left + self.side, width),
            min(self.top + self.side, height),
        )

    @property
    def sees_everything(self) -> bool:
        """Whether no pixel of the radiograph was left out."""
        height, width = self.radiograph_shape
        return self.seen_box == (0, 0, width, height)

    @property
    def unseen_share(self) -> float:
        """Share of the radiograph that the model did not see, 0 to 1.

        >>> Geometry.fit_square((30, 40), 20).unseen_share
        0.25
        """
        left, top, right, bottom = self.seen_box
        height, width = self.radiograph_shape
        return 1 - (right - left) * (bottom - top) / (width * height)

    def points_to_model(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map (..., 2) points (x, y) from the radiograph to the model's square."""
        return (np.asarray(points, np.float64) - (self.left, self.top)) * self.model_size / self.side

    def points_to_radiograph(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map (..., 2) points (x, y) from the model's square to the radiograph."""
        return np.asarray(points, np.float64) * self.side / self.model_size + (self.left, self.top)

    def boxes_to_model(self, boxes: ArrayLike) -> NDArray[np.float64]:
        """Map (..., 4) boxes (left, top, right, bottom) to the model's square, not clipped to it."""
        corners = np.asarray(boxes, np.float64)
        return self.points_to_model(corners.reshape(*corners.shape[:-1], 2, 2)).reshape(corners.shape)

    def boxes_to_radiograph(self, boxes: ArrayLike) -> NDArray[np.float64]:
        """Map (..., 4) boxes (left, top, right, bottom) to the radiograph."""
        corners = np.asarray(boxes, np.float64)
        return self.points_to_radiograph(corners.reshape(*corners.shape[:-1], 2, 2)).reshape(corners.shape)

    def peak_of(self, values: ArrayLike) -> tuple[float, float] | None:
        """(x, y) in the radiograph of the centre of a map's strongest cell; None without a positive value.

        With `fit="pad"` it may lie in the margin, outside of the radiograph; see `sees`.

        Args:
            values: one map that covers the model's square, (I, J).

        >>> Geometry.fit_square((40, 40), 20).peak_of([[0.0, 2.0], [0.0, 0.0]])
        (30.0, 10.0)
        """
        cells = np.asarray(values)
        if not cells.max(initial=0) > 0:
            return None
        row, column = np.unravel_index(int(cells.argmax()), cells.shape)
        fraction = np.array(((column + 0.5) / cells.shape[1], (row + 0.5) / cells.shape[0]))
        x, y = self.points_to_radiograph(fraction * self.model_size).tolist()
        return x, y

    def sees(self, point: tuple[float, float]) -> bool:
        """Whether a point (x, y) lies in what the model saw of the radiograph, and not in a margin.

        >>> Geometry.fit_square((10, 20), 20, "pad").sees((10.0, -2.0))
        False
        """
        left, top, right, bottom = self.seen_box
        return left <= point[0] <= right and top <= point[1] <= bottom

    def seen_shares(self, cells: tuple[int, int]) -> NDArray[np.float64]:
        """(I, J): the share of each of a map's cells that lies in the radiograph, and not in a margin.

        Args:
            cells: I and J of the map, which covers the model's square.

        >>> Geometry.fit_square((10, 20), 20, "pad").seen_shares((4, 1)).ravel().tolist()
        [0.0, 1.0, 1.0, 0.0]
        """
        height, width = self.radiograph_shape
        rows, columns = (
            np.diff(np.clip(np.linspace(start, start + self.side, count + 1), 0, extent)) * count / self.side
            for count, start, extent in ((cells[0], self.top, height), (cells[1], self.left, width))
        )
        return np.clip(np.outer(rows, columns), 0, 1)

    def maps_to_radiograph(
        self, maps: ArrayLike, shape: tuple[int, int] | None = None, *, outside: float = 0.0
    ) -> NDArray[np.float32]:
        """Interpolate maps bilinearly (half-pixel centres) over the radiograph.

        Args:
            maps: maps that cover the model's square, (..., I, J); I and J may be any.
            shape: height and width of the result, in samples; by default those of the radiograph.
            outside: value of the samples that the model did not see.

        Returns:
            (..., height, width) float32.
        """
        values = np.asarray(maps, np.float32)
        height, width = shape or self.radiograph_shape
        rows, rows_seen = self._bilinear(values.shape[-2], self.top, height, self.radiograph_shape[0])
        columns, columns_seen = self._bilinear(values.shape[-1], self.left, width, self.radiograph_shape[1])
        result = np.asarray(rows @ values @ columns.T, np.float32)
        result[..., ~rows_seen, :] = outside
        result[..., ~columns_seen] = outside
        return result

    def maps_to_model(self, maps: ArrayLike, size: int | None = None) -> NDArray[np.float32]:
        """Average maps (..., H, W) of the radiograph over a size x size grid on the model's square.

        The part of a cell beyond the radiograph (`fit="pad"`) counts as zero.
        """
        values = np.asarray(maps, np.float32)
        if values.shape[-2:] != self.radiograph_shape:
            raise OptionError(f"maps of shape {values.shape}", expected=f"(..., {self.radiograph_shape})")
        size = size or self.model_size
        rows = self._cell_shares(size, self.top, self.radiograph_shape[0])
        columns = self._cell_shares(size, self.left, self.radiograph_shape[1])
        return np.asarray(rows @ values @ columns.T, np.float32)

    def mask_to_model(self, mask: ArrayLike, size: int | None = None) -> NDArray[np.bool_]:
        """Map a mask (..., H, W) to the model's square; a cell is set where half of it is covered."""
        return self.maps_to_model(np.asarray(mask, bool), size) >= 0.5 - 1e-6

    def mask_to_radiograph(self, mask: ArrayLike) -> NDArray[np.bool_]:
        """Map a mask (..., I, J) of the model's square to the radiograph by nearest cell."""
        values = np.asarray(mask, bool)
        height, width = self.radiograph_shape
        rows, rows_seen = self.nearest_cells(values.shape[-2], 0, height)
        columns, columns_seen = self.nearest_cells(values.shape[-1], 1, width)
        return values[..., rows[:, None], columns] & rows_seen[:, None] & columns_seen

    def nearest_cells(
        self, cells: int, axis: int, samples: int
    ) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """The cell of a map that each sample of the radiograph lies in, and which samples the model saw.

        Args:
            cells: I or J of the map.
            axis: 0 for rows, 1 for columns.
            samples: number of samples over the radiograph.

        >>> Geometry.fit_square((4, 8), 4).nearest_cells(2, 1, 8)[0].tolist()
        [0, 0, 0, 0, 1, 1, 1, 1]
        """
        start, extent = (self.top, self.left)[axis], self.radiograph_shape[axis]
        centres, seen = self._centres(start, samples, extent)
        return np.clip(np.floor(centres * cells), 0, cells - 1).astype(np.intp), seen

    def _centres(
        self, start: int, samples: int, extent: int
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Sample centres as fractions of the square's side, and which of them the model saw."""
        centres = ((np.arange(samples) + 0.5) * extent / samples - start) / self.side
        return centres, (centres >= 0) & (centres < 1)

    def _bilinear(
        self, cells: int, start: int, samples: int, extent: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        centres, seen = self._centres(start, samples, extent)
        position = np.clip(centres * cells - 0.5, 0, cells - 1)
        lower = np.floor(position).astype(int)
        upper = np.minimum(lower + 1, cells - 1)
        fraction = position - lower
        weights = np.zeros((samples, cells), np.float32)
        index = np.arange(samples)
        weights[index, lower] = 1 - fraction
        np.add.at(weights, (index, upper), fraction)
        return weights, seen

    def _cell_shares(self, cells: int, start: int, extent: int) -> NDArray[np.float32]:
        """(cells, extent): the share of each cell that each radiograph pixel covers."""
        edges = start + np.arange(cells + 1) * (self.side / cells)
        pixels = np.arange(extent)
        overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
        return np.asarray(np.clip(overlap, 0, None) * (cells / self.side), np.float32)
