"""Where the two lungs are: the place of a fixed outline that best divides dark from bright.

The outline is a frontal chest's, in coordinates of the box around both lungs. About 1,500 places of it (two
of the box's centre, its width, its aspect) are compared with the radiograph after its grey levels are
normalised locally: the score is the correlation with a template that is negative within the outline and
positive in a ring around it. It is template matching, with nothing learned from data.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from skimage.measure import points_in_poly

from cxr_explain.support.arrays import Floats, Points, Shape

POINTS = 40
"""Points of the outline of one lung."""

_MATCHED = 32  # cells a side at which templates are compared
_WALL = 0.2  # width of the ring beside the lungs, in half widths of the box
_CHEST = np.array([(0.30, -1.3), (0.45, -1.0), (0.50, -0.95), (0.62, -0.825), (0.72, -0.675), (0.80, -0.525),
                   (0.86, -0.375), (0.93, 0.0), (1.0, 0.5), (1.0, 1.2)])  # fmt: skip
_LEFT_OF_IMAGE = np.array([
    (-0.25, -0.98), (-0.34, -1.00), (-0.48, -0.95), (-0.62, -0.825), (-0.72, -0.675), (-0.80, -0.525),
    (-0.86, -0.375), (-0.90, -0.225), (-0.93, 0.00), (-0.96, 0.225), (-0.985, 0.50), (-1.00, 0.80),
    (-1.00, 0.95), (-0.80, 0.80), (-0.60, 0.73), (-0.40, 0.70), (-0.31, 0.70), (-0.30, 0.55), (-0.30, 0.40),
    (-0.25, 0.20), (-0.20, 0.00), (-0.19, -0.30), (-0.19, -0.60), (-0.20, -0.90),
])  # fmt: skip
_RIGHT_OF_IMAGE = np.array([
    (0.25, -0.98), (0.34, -1.00), (0.48, -0.95), (0.62, -0.825), (0.72, -0.675), (0.80, -0.525),
    (0.86, -0.375), (0.90, -0.225), (0.93, 0.00), (0.96, 0.225), (0.985, 0.50), (1.00, 0.80), (1.00, 0.95),
    (0.87, 0.85), (0.75, 0.78), (0.60, 0.75), (0.57, 0.60), (0.50, 0.40), (0.38, 0.20), (0.29, 0.00),
    (0.26, -0.20), (0.27, -0.40), (0.20, -0.60), (0.20, -0.90),
])  # fmt: skip


@dataclass(frozen=True)
class LungBox:
    """The box around both lungs, in units of the image's longer side from the corner of the square around it.

    Args:
        x: place of the box's centre from the left.
        y: place of the box's centre from the top.
        width: width of the box.
        height: height of the box.
        likeness: correlation with the template, -1 to 1.
    """

    x: float
    y: float
    width: float
    height: float
    likeness: float

    def outlines(self, shape: Shape) -> Points:
        """(2, POINTS, 2) outlines of both lungs in cells of an image, the one on its left first."""
        side = max(shape)
        centre = np.array([self.x * side - (side - shape[1]) / 2, self.y * side - (side - shape[0]) / 2])
        return np.asarray(_outlines() * (np.array([self.width, self.height]) * side / 2) + centre)


def locally_normalised(image: Floats) -> Floats:
    """Grey levels less their local mean, by their local spread; about a quarter of the image is local.

    Args:
        image: (h, w) grey levels.
    """
    size = (max(image.shape) // 8) * 2 + 1
    mean = uniform_filter(image, size, mode="nearest")
    spread = np.sqrt(np.maximum(uniform_filter(image * image, size, mode="nearest") - mean * mean, 0))
    return np.asarray((image - mean) / (spread + np.float32(0.25) * spread.mean() + np.float32(1e-3)))


def place_lungs(image: Floats) -> LungBox:
    """The best of all places of the two lungs.

    Args:
        image: (h, w) grey levels, locally normalised.
    """
    places, templates = _templates()
    square = _as_square(image)
    square -= square.mean()
    norm = float(np.linalg.norm(square))
    scores = templates @ square.ravel()
    best = int(scores.argmax())
    x, y, width, height = (float(value) for value in places[best])
    return LungBox(x, y, width, height, float(scores[best]) / (norm or 1.0))


def _as_square(image: Floats) -> Floats:
    """(32, 32) means over the square around the image, zero outside of it."""
    side, (h, w) = max(image.shape), image.shape
    samples = 3
    at = (np.arange(_MATCHED * samples) + 0.5) * side / (_MATCHED * samples)
    rows, columns = at - (side - h) / 2, at - (side - w) / 2
    inside = np.outer((rows >= 0) & (rows < h), (columns >= 0) & (columns < w))
    picked = image[np.clip(rows.astype(int), 0, h - 1)][:, np.clip(columns.astype(int), 0, w - 1)]
    return np.asarray((picked * inside).reshape(_MATCHED, samples, _MATCHED, samples).mean(axis=(1, 3)))


def typical_outlines() -> Points:
    """(2, POINTS, 2) outlines of a frontal chest's lungs, in the box around both: -1 to 1 along each side.

    >>> typical_outlines().shape
    (2, 40, 2)
    """
    return _outlines().copy()


@lru_cache(maxsize=1)
def _outlines() -> Points:
    return np.stack([_evenly(polygon) for polygon in (_LEFT_OF_IMAGE, _RIGHT_OF_IMAGE)])


def _evenly(polygon: Points) -> Points:
    """POINTS points at even steps along a closed polygon."""
    ring = np.concatenate([polygon, polygon[:1]])
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(ring, axis=0).T))])
    at = np.arange(POINTS) / POINTS * along[-1]
    return np.stack([np.interp(at, along, ring[:, axis]) for axis in (0, 1)], axis=1)


@lru_cache(maxsize=1)
def _templates() -> tuple[NDArray[np.float64], Floats]:
    """(n, 4) places and their (n, cells) templates, of norm 1."""
    places = [
        (x, y, width, width * aspect)
        for width in np.arange(0.50, 0.97, 0.06)
        for aspect in (0.75, 0.90, 1.05, 1.25)
        for x in np.arange(0.38, 0.63, 0.04)
        for y in np.arange(0.34, 0.64, 0.04)
        if _fits(x, width) and _fits(y, width * aspect)
    ]
    return np.array(places), np.stack([_template(*place) for place in places])


def _fits(centre: float, extent: float) -> bool:
    """Whether the box lies within the image, but for a little."""
    return bool(centre - extent / 2 >= -0.08 and centre + extent / 2 <= 1.08 and extent <= 1.0)


def _template(x: float, y: float, width: float, height: float) -> Floats:
    middle = (np.arange(_MATCHED) + 0.5) / _MATCHED
    v, u = np.meshgrid((middle - y) * 2 / height, (middle - x) * 2 / width, indexing="ij")
    points = np.stack([u.ravel(), v.ravel()], axis=1)
    lungs = points_in_poly(points, _LEFT_OF_IMAGE) | points_in_poly(points, _RIGHT_OF_IMAGE)
    chest = (np.abs(u) < np.interp(v, _CHEST[:, 1], _CHEST[:, 0]) + _WALL) & (np.abs(v + 0.01) < 1.2)
    around = chest.ravel() & ~lungs
    template = around / around.sum() - lungs / lungs.sum()
    return np.asarray(template / np.linalg.norm(template), np.float32)
