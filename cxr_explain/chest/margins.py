"""The margins of a radiograph that show nothing: collimator, padding, frames of scanners."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SAME = 0.04  # of the range from black to white
_MOST = 0.97  # of a line's cells: a marker may lie in a margin
_WIDEST = 0.25  # of the side: what is wider is not a margin, but another kind of image


def margins_of(values: NDArray[np.float32]) -> tuple[int, int, int, int]:
    """Lines of cells of one level, from each edge inwards: left, top, right and bottom.

    A line belongs to a margin if nearly all of its cells have the grey level of the edge's own line.

    Args:
        values: (h, w) grey levels of a thumbnail, 0 black to 1 white.

    Returns:
        Numbers of cells; zero for all sides of an image of one level, which has no inside.

    >>> framed = np.random.default_rng(0).random((40, 40), np.float32); framed[:, :3] = framed[-2:] = 0
    >>> margins_of(framed)
    (3, 0, 0, 2)
    """
    top, left = _run(values), _run(values.T)
    bottom, right = _run(values[::-1]), _run(values.T[::-1])
    return left, top, right, bottom


def _run(lines: NDArray[np.float32]) -> int:
    """How many lines from the first on have its level."""
    most = int(len(lines) * _WIDEST)
    level = np.median(lines[0])
    for k, line in enumerate(lines[: most + 1]):
        if (np.abs(line - level) <= _SAME).mean() < _MOST:
            return k
    return 0
