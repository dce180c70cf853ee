"""The picture of a mean class map in the frame of the thorax, with the places of the peaks, as a PNG."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from cxr_explain.chest.lung_template import typical_outlines
from cxr_explain.chest.lungs_and_thorax import CHEST_WALL
from cxr_explain.chest.thorax_frame import FRAME_MARGIN

SIDE = 240
"""Pixels along each side of the picture."""

_RAMP = np.array([(16, 18, 28), (74, 84, 110), (196, 120, 60), (255, 226, 120)], np.float64)
_AT = np.array([0.0, 1.0, 2.5, 5.0])
"""Multiples of an even map at which the colours of the ramp stand."""
_LINE, _BOX, _DOT, _HALO = (176, 184, 200), (230, 234, 240), (120, 220, 235), (16, 18, 28)
_LARGEST = 0.45  # radius of the dot of all peaks, in coarse cells
_FINER = 4  # times as many pixels while lines are drawn


def frame_picture(mean_map: ArrayLike, peaks: ArrayLike) -> bytes:
    """Draw a mean map, the box around the thorax, a typical pair of lungs, and dots for the peaks.

    Colours stand for multiples of an even map, the same in all pictures: dark for 0, grey for 1, bright for 5
    and more. The area of a dot is the share of the peaks that lie in its place.

    Args:
        mean_map: (n, n) mean map in the frame, of which an even one is 1.
        peaks: (m, m) number of peaks in each place of the frame.

    Returns:
        A PNG file of `SIDE` pixels a side.

    >>> frame_picture(np.ones((24, 24)), np.eye(6))[1:4]
    b'PNG'
    """
    values = np.clip(np.asarray(mean_map, np.float64), _AT[0], _AT[-1])
    colours = np.stack([np.interp(values, _AT, _RAMP[:, channel]) for channel in range(3)], axis=-1)
    small = Image.fromarray(colours.round().astype(np.uint8))
    image = small.resize((SIDE * _FINER,) * 2, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    _draw_chest(draw)
    _draw_peaks(draw, np.asarray(peaks, np.float64))
    buffer = io.BytesIO()
    image.resize((SIDE, SIDE), Image.Resampling.BOX).quantize(128).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _draw_chest(draw: ImageDraw.ImageDraw) -> None:
    wall = 1 + 2 * CHEST_WALL  # the thorax is so much wider than the lungs
    box = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float64)
    for lines, colour in (([box], _BOX), (list(typical_outlines() / wall), _LINE)):
        for line in lines:
            points = [tuple(point) for point in _pixels(np.concatenate([line, line[:1]])).tolist()]
            draw.line(points, fill=colour, width=_FINER, joint="curve")


def _pixels(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the thorax's box, -1 to 1 along each side, to pixels."""
    within = ((points + 1) / 2 + FRAME_MARGIN) / (1 + 2 * FRAME_MARGIN)
    return np.asarray(within * SIDE * _FINER)


def _draw_peaks(draw: ImageDraw.ImageDraw, peaks: NDArray[np.float64]) -> None:
    cell, total = SIDE * _FINER / len(peaks), peaks.sum()
    for row, column in np.argwhere(peaks > 0).tolist():
        radius = max(_LARGEST * cell * float(np.sqrt(peaks[row, column] / total)), 1.0 * _FINER)
        x, y = (column + 0.5) * cell, (row + 0.5) * cell
        for colour, width in ((_HALO, 3 * _FINER), (_DOT, int(1.5 * _FINER))):
            more = (width - 1.5 * _FINER) / 2  # the ring lies in the middle of the halo
            reach = radius + more
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=colour, width=width)
