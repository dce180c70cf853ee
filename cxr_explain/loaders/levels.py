"""Grey levels: each display transform is a function of the stored value, so it is computed once per value.

A radiograph has at most 65,536 stored values and easily ten million pixels. The transforms of PS3.4 N.2 work
on the table of values, in float64; the image is looked up once at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

FloatTable = NDArray[np.float64]
_BLOCK = 2**16  # of which NumPy makes indices of 64 bits, which stay in the processor's cache
Entry = TypeVar("Entry", np.float32, np.uint8)


@dataclass(frozen=True)
class Levels:
    """One entry for each bit pattern of the stored type.

    Args:
        values: what the pattern stands for at this stage of the chain.
        counts: number of pixels that have the pattern, without those behind a shutter.
        padding: which patterns are padding, and count in no statistic.
        low: the smallest value that the header declares possible.
        high: the largest.
    """

    values: FloatTable
    counts: NDArray[np.int64]
    padding: NDArray[np.bool_]
    low: float
    high: float

    @property
    def present(self) -> NDArray[np.bool_]:
        """The patterns that occur in the image and are no padding."""
        return (self.counts > 0) & ~self.padding

    def with_values(self, values: FloatTable, low: float, high: float) -> Levels:
        """The next stage of the chain: the same pixels, other values."""
        return replace(self, values=values, low=low, high=high)

    def quantiles(self, *shares: float) -> tuple[float, ...]:
        """The values below which these shares of the non-padding pixels lie."""
        values, weights = self.values[self.present], self.counts[self.present]
        order = np.argsort(values, kind="stable")
        cumulative = np.cumsum(weights[order])
        index = np.searchsorted(cumulative, np.asarray(shares) * cumulative[-1], side="left")
        return tuple(float(v) for v in values[order][np.minimum(index, len(order) - 1)])


def count_levels(stored: NDArray[np.integer], low: float, high: float) -> Levels:
    """Table the stored values of an 8 or 16-bit image.

    >>> levels = count_levels(np.array([[0, 7, 7]], np.uint8), 0, 255)
    >>> int(levels.counts[7]), len(levels.values)
    (2, 256)
    """
    size = 2 ** (8 * stored.dtype.itemsize)
    patterns = np.arange(size, dtype=f"u{stored.dtype.itemsize}")
    counts = np.zeros(size, np.int64)
    for block in _blocks(_as_patterns(stored)):
        counts += np.bincount(block, minlength=size)
    values = patterns.view(stored.dtype).astype(np.float64)
    return Levels(values, counts, np.zeros(size, np.bool_), float(low), float(high))


def look_up(stored: NDArray[np.integer], table: NDArray[Entry]) -> NDArray[Entry]:
    """Replace each stored value by its entry of the table, which has one for each, block by block."""
    patterns = np.ascontiguousarray(_as_patterns(stored)).reshape(-1)
    out = np.empty(stored.shape, table.dtype)
    flat = out.reshape(-1)
    for start in range(0, patterns.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        # No value is beyond the table; "clip" alone writes right into `out`.
        np.take(table, patterns[block], out=flat[block], mode="clip")
    return out


def _as_patterns(stored: NDArray[np.integer]) -> NDArray[np.integer]:
    return stored.view(f"u{stored.dtype.itemsize}")


def _blocks(patterns: NDArray[np.integer]) -> Iterator[NDArray[np.integer]]:
    flat = patterns.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        yield flat[start : start + _BLOCK]
