"""Masks as files hold them: COCO's run lengths, and polygons; drawn only when asked, and checked before.

Both say their own size, and both come from files that may lie: sizes are limited, and run lengths must add up
to the mask, before anything is allocated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from cxr_explain.errors import ReferenceLabelError
from cxr_explain.loaders.limits import DEFAULT_MAX_PIXELS
from cxr_explain.reference.problems import quoted
from cxr_explain.support.arrays import Mask, Shape, as_mask
from cxr_explain.support.extras import require

Point = tuple[float, float]
"""A point (x, y) in pixels of the radiograph."""

_FARTHEST = 1e6  # from the corner, in pixels: beyond any radiograph, and within what Pillow can draw
_LONGEST_RUN = 7  # characters of five bits; more than any mask of the limit needs
_LONGEST_COUNTS = 4_000_000  # characters; jagged masks have some ten thousand
_MOST_ROWS = 10_000_000  # that the edges of one mask cross: Pillow looks at each of them, row by row


@dataclass(frozen=True)
class RunLengths:
    """A mask in COCO's compressed run lengths: column by column, first of what is not in the mask.

    Args:
        shape: (H, W).
        counts: COCO's text.

    Raises:
        ReferenceLabelError: a size beyond the limit, or counts that are not text or do not add up to it.

    Source:
        COCO API, https://github.com/cocodataset/cocoapi, common/maskApi.h.

    >>> RunLengths.of([[False, True], [False, True]])
    RunLengths(shape=(2, 2), counts='22')
    >>> RunLengths((2, 2), "22").mask().tolist()
    [[False, True], [False, True]]
    """

    shape: Shape
    counts: str

    def __post_init__(self) -> None:
        height, width = checked_shape(self.shape)
        runs = _runs(self.counts)
        total = int(runs.sum())
        fits = runs.min() >= 0 and runs.max() <= height * width  # so that the sum cannot wrap around
        if not fits or total != height * width:
            raise ReferenceLabelError(
                f"run lengths that do not fit a mask of {height} x {width}",
                expected=f"{height * width} pixels, none of the lengths negative",
            )

    @classmethod
    def of(cls, mask: ArrayLike) -> RunLengths:
        """The run lengths of a mask.

        Args:
            mask: (H, W) bool.

        Raises:
            OptionError: another type or shape.
            MissingExtraError: pycocotools is not installed.
        """
        pixels = np.asfortranarray(as_mask(mask), np.uint8)
        encoded = require("pycocotools.mask", "evaluation").encode(pixels)
        height, width = pixels.shape
        return cls((height, width), encoded["counts"].decode("ascii"))

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is in the mask."""
        return not _runs(self.counts)[1::2].any()

    def mask(self) -> Mask:
        """The mask, (H, W) bool.

        The counts were taken apart to be checked; with them, nothing is left for a library to do.
        """
        runs = _runs(self.counts)
        height, width = self.shape
        pixels = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return np.ascontiguousarray(pixels.reshape(width, height).T)


@dataclass(frozen=True)
class Polygons:
    """A mask as the union of closed polygons, drawn with their outlines.

    Args:
        shape: (H, W).
        polygons: each at least two points (x, y), in pixels.

    Raises:
        ReferenceLabelError: a size beyond the limit, a polygon of fewer points, a point that is not finite or
            far away, or polygons that go up and down too often to be drawn.

    Source:
        CheXlocalize, https://github.com/rajpurkarlab/cheXlocalize: Pillow's polygon, outline and inside.

    >>> Polygons((3, 4), (((1.0, 0.0), (2.0, 0.0), (2.0, 1.0), (1.0, 1.0)),)).mask().astype(int).tolist()
    [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """

    shape: Shape
    polygons: tuple[tuple[Point, ...], ...]

    def __post_init__(self) -> None:
        height, _ = checked_shape(self.shape)
        rows = 0.0
        for polygon in self.polygons:
            if len(polygon) < 2:
                raise ReferenceLabelError(f"a polygon of {len(polygon)} points", expected="2 points or more")
            for point in polygon:
                checked_point(point)
            rows += _rows_crossed(polygon, height)
        if rows > _MOST_ROWS:
            raise ReferenceLabelError(
                f"polygons whose edges cross {rows:,.0f} rows", expected=f"at most {_MOST_ROWS:,} in one mask"
            )

    @property
    def is_empty(self) -> bool:
        """Whether there is no polygon."""
        return not self.polygons

    def mask(self) -> Mask:
        """The mask, (H, W) bool."""
        height, width = self.shape
        image = Image.new("1", (width, height))
        draw = ImageDraw.Draw(image)
        for polygon in self.polygons:
            draw.polygon(list(polygon), outline=1, fill=1)
        return np.array(image, bool)


Outline = RunLengths | Polygons
"""The outline of one pathology in one radiograph, which gives a mask when it is asked for."""


def checked_shape(shape: object) -> Shape:
    """A size as (H, W) in pixels; one that is too large to be allocated is refused.

    Raises:
        ReferenceLabelError: no two whole numbers above zero, or too many pixels.

    >>> checked_shape([2320, 2828])
    (2320, 2828)
    """
    if not isinstance(shape, (list, tuple)) or len(shape) != 2 or not all(map(_is_extent, shape)):
        raise ReferenceLabelError(f"the size {quoted(shape)}", expected="[height, width] in whole pixels")
    height, width = shape
    if height * width > DEFAULT_MAX_PIXELS:
        raise ReferenceLabelError(
            f"a mask of the size {quoted(shape)}", expected=f"at most {DEFAULT_MAX_PIXELS} pixels"
        )
    return height, width


def _is_extent(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def checked_point(point: object) -> Point:
    """A point (x, y) in pixels of the radiograph.

    Raises:
        ReferenceLabelError: no two numbers, or a point far away.

    >>> checked_point((3, 0.5))
    (3, 0.5)
    """
    if isinstance(point, tuple) and len(point) == 2 and all(map(_is_coordinate, point)):
        return point
    raise ReferenceLabelError(f"the point {quoted(point)}", expected="[x, y] in pixels of the radiograph")


def _rows_crossed(polygon: tuple[Point, ...], height: int) -> float:
    """How many rows of the mask the edges of a closed polygon cross, all in all."""
    seen = [min(max(y, 0), height) for _, y in polygon]
    return sum(abs(here - there) for here, there in zip(seen, seen[1:] + seen[:1], strict=True))


def _is_coordinate(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) <= _FARTHEST  # false of NaN


def _runs(counts: object) -> NDArray[np.int64]:
    """The run lengths behind COCO's text.

    Each character holds five bits and, in a sixth, whether more follow; the fifth bit of the last one is the
    sign. From the fourth number on, each is the difference to the one but last.
    """
    if not isinstance(counts, str) or not counts:
        raise ReferenceLabelError(f"the run lengths {quoted(counts)}", expected="COCO's text")
    if len(counts) > _LONGEST_COUNTS:
        raise ReferenceLabelError(
            f"run lengths of {len(counts):,} characters", expected=f"at most {_LONGEST_COUNTS:,} for one mask"
        )
    try:
        bits = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    except UnicodeEncodeError as error:
        raise ReferenceLabelError("run lengths beyond ASCII", expected="COCO's text") from error
    ends = np.flatnonzero(bits & 32 == 0)
    if bits.min() < 0 or bits.max() > 63 or not len(ends) or ends[-1] != len(bits) - 1:
        raise ReferenceLabelError("run lengths that are torn", expected="COCO's text")
    return _undifferenced(_numbers(bits, ends))


def _numbers(bits: NDArray[np.int64], ends: NDArray[np.intp]) -> NDArray[np.int64]:
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST_RUN:
        raise ReferenceLabelError("a run length beyond any mask", expected="COCO's text")
    place = np.arange(len(bits)) - np.repeat(starts, lengths)
    numbers = np.add.reduceat((bits & 31) << (5 * place), starts)
    negative = bits[ends] & 16 != 0
    return np.asarray(numbers - (negative.astype(np.int64) << (5 * lengths)))


def _undifferenced(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    runs = numbers.copy()
    runs[1::2] = np.cumsum(numbers[1::2])
    runs[2::2] = np.cumsum(numbers[2::2])
    return runs
