"""Burned-in letters, arrows, labels and lead markers beside the chest.

They are small, brighter than all around them, and have thin strokes. A white top-hat, the image less its
opening, keeps what is bright and narrower than a window. What then stands out from a background that is
itself even enough, and is neither a speck nor a large thing nor one long line, is taken for a marker.

Jewellery, electrodes, cables and film edges beside the chest may be taken for markers as well; letters over
the thorax, and letters hardly brighter than the skin, are missed. `python -m benchmarks.regions_accuracy`
says how often on phantoms, whose letters are fainter than those of most real radiographs.

Source:
    Serra, Image Analysis and Mathematical Morphology, Academic Press (1982), chapter XII (the top-hat).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from cxr_explain.support.arrays import Mask

_WINDOW = 7  # cells of the opening, odd: wider than any stroke of a letter
_FAINT = 0.10  # of the range from black to white, above the opening: the rim of a stroke
_INK = 0.4  # of a marker's brightest cell: the rest of its cells
_CLEAR = 0.14  # the brightest cell of a marker on an even background
_CLEARER = 0.34  # the same, on any background
_EDGE = 2  # cells along the image's edges, where the film's own edge is
_GAP = 2  # cells between letters of one word
_LARGEST = 72  # cells
_FEWEST = 5  # cells
_SLENDER = 6.0  # longer sides over shorter ones, of what is no word
_LETTERS = 3  # parts of a word


@dataclass(frozen=True)
class MarkerBox:
    """Cells [left, right) x [top, bottom) around one marker, with a cell around it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def corners(self) -> NDArray[np.float64]:
        """(4, 2) x and y in cells."""
        x, y = (self.left, self.right), (self.top, self.bottom)
        return np.array([(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])], np.float64)


def marker_boxes(values: NDArray[np.float32], chest: Mask) -> tuple[MarkerBox, ...]:
    """Find markers and burned-in text.

    Args:
        values: (h, w) grey levels of a thumbnail, 0 black to 1 white.
        chest: (h, w), the cells in which no marker is looked for.

    >>> image = np.zeros((60, 60), np.float32); image[5:12, 40:42] = image[10:12, 40:45] = 1.0
    >>> marker_boxes(image, np.zeros((60, 60), bool))
    (MarkerBox(left=39, top=4, right=46, bottom=13),)
    """
    grey = np.rint(values * np.float32(255)).astype(np.uint8)  # a quarter of the time of float32
    opened = extremes(np.maximum, extremes(np.minimum, grey, _WINDOW), _WINDOW) / np.float32(255)
    above = values - opened
    seeds = (above > _FAINT) & ~chest
    seeds[:_EDGE] = seeds[-_EDGE:] = seeds[:, :_EDGE] = seeds[:, -_EDGE:] = False
    groups, _ = label(extremes(np.maximum, seeds, 2 * _GAP + 1))
    clear = np.unique(groups[seeds & (above > _CLEAR)])
    places = find_objects(groups) if len(clear) else []
    found = []
    for k in clear:
        place = places[k - 1]
        own = np.where(seeds[place] & (groups[place] == k), above[place], 0)
        peak = float(own.max())
        ink = own >= _INK * peak
        box = _box(place, ink, values.shape)
        if _stands_out(peak, opened, box) and _is_compact(ink):
            found.append(box)
    return tuple(found)


def _stands_out(peak: float, opened: NDArray[np.floating], box: MarkerBox) -> bool:
    """Whether it is much brighter than all around, or brighter by more than the background varies."""
    around = opened[max(box.top - 2, 0) : box.bottom + 2, max(box.left - 2, 0) : box.right + 2]
    return peak > min(_CLEARER, _CLEAR + float(np.ptp(around)))


def _is_compact(own: Mask) -> bool:
    """Neither a speck nor a large thing; long and narrow only if it is a word."""
    height, width = (int(np.ptp(np.flatnonzero(own.any(axis=axis)))) + 1 for axis in (1, 0))
    longer, shorter = max(height, width), min(height, width)
    if own.sum() < _FEWEST or longer > _LARGEST:
        return False
    return longer <= _SLENDER * shorter or label(own)[1] >= _LETTERS


def _box(place: tuple[slice, slice], own: Mask, shape: tuple[int, ...]) -> MarkerBox:
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    top, left = place[0].start, place[1].start
    return MarkerBox(
        left=max(int(left + columns[0]) - 1, 0),
        top=max(int(top + rows[0]) - 1, 0),
        right=min(int(left + columns[-1]) + 2, shape[1]),
        bottom=min(int(top + rows[-1]) + 2, shape[0]),
    )


def extremes(of: np.ufunc, values: NDArray[Any], window: int) -> NDArray[Any]:
    """The least or the largest value in a square window around each cell, beyond the edges the nearest.

    Args:
        of: `np.minimum` or `np.maximum`.
        values: (h, w) values.
        window: width and height of the window in cells, odd.

    >>> extremes(np.maximum, np.array([[0, 0, 0, 7]]), 3).tolist()
    [[0, 0, 7, 7]]
    """
    wide = np.pad(values, window // 2, mode="edge")
    covered = 1
    while covered < window:  # windows of 1, 2, 4, ... cells, and at last the rest
        by = min(covered, window - covered)
        wide = of(wide[by:], wide[:-by])
        wide = of(wide[:, by:], wide[:, :-by])
        covered += by
    return wide
