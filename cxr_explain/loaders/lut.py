"""Lookup tables (PS3.3 C.11.1.1), and what is white in them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxr_explain.loaders.levels import FloatTable


@dataclass(frozen=True)
class Lut:
    """A lookup table (PS3.3 C.11.1.1.1): entry 0 belongs to `first` and all below it.

    >>> Lut(np.array([0.0, 200.0]), first=4, bits=8).apply(np.array([3.0, 5.0, 6.0])).tolist()
    [0.0, 200.0, 200.0]
    """

    entries: FloatTable
    first: int
    bits: int

    @property
    def peak(self) -> float:
        """The largest entry."""
        return float(self.entries.max())

    @property
    def fits(self) -> bool:
        """Whether the entries use the declared depth and no more; a flat table has nothing to tell it by."""
        return self.declared / 2 < self.peak <= self.declared or self.peak == self.entries.min()

    @property
    def declared(self) -> float:
        """The largest value of the declared depth, which may be any number."""
        return 2.0 ** min(max(self.bits, 0), 64) - 1

    @property
    def white(self) -> float:
        """The largest value of the declared depth; the largest entry where the entries contradict that.

        14 bits declared as 16, as many CR systems write them, would else be a quarter of the grey range.

        >>> Lut(np.array([0.0, 255.0]), 0, 8).white, Lut(np.array([0.0, 16380.0]), 0, 16).white
        (255.0, 16380.0)
        """
        return (self.declared if self.fits else self.peak) or 1.0

    def apply(self, x: FloatTable) -> FloatTable:
        """Look values up; those outside take the first or last entry."""
        index = np.clip(np.rint(x) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[index.astype(np.int64)])
