"""Whether what was drawn can be a pair of lungs; if not, why not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxr_explain.chest.lung_outlines import LungOutlines
from cxr_explain.support.arrays import Points, Shape

LIKENESS = 0.36
"""Least correlation with the template."""

CONTRAST = 0.35
"""Least mean step from dark to bright across either outline, in local standard deviations."""

AREA = (0.03, 0.35)
"""Least and most area of one lung, as a share of the square around the image."""

RATIO = 0.4
"""Least area of the smaller lung, as a share of the larger one's."""

OUTSIDE = 0.25
"""Largest share of an outline's points that may lie beyond the image."""


def implausible(found: LungOutlines, shape: Shape) -> str | None:
    """The first reason why these outlines are not two lungs; None if there is none.

    Args:
        found: the outlines, in cells of an image.
        shape: (h, w) of that image.
    """
    areas = area_of(found.points) / max(shape) ** 2
    heights = np.ptp(found.points[..., 1], axis=1)
    apart = float(found.points[1, :, 0].min() - found.points[0, :, 0].max())
    checks = (
        (found.likeness < LIKENESS, "no place where the image resembles two lungs"),
        (min(found.contrast) < CONTRAST, "lungs without clear edges"),
        (outside(found.points, shape).max() > OUTSIDE, "lungs that reach out of the image"),
        (areas.min() < AREA[0] or areas.max() > AREA[1], "lungs of an implausible size"),
        (areas.min() < RATIO * areas.max(), "lungs of very different sizes"),
        (heights.min() < 0.5 * heights.max() or apart <= 0, "lungs in implausible places"),
    )
    return next((reason for fails, reason in checks if fails), None)


def area_of(points: Points) -> NDArray[np.float64]:
    """(n,) areas within n closed outlines (n, N, 2), by the shoelace formula.

    >>> area_of(np.array([[[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]]])).tolist()
    [2.0]
    """
    x, y = points[..., 0], points[..., 1]
    twice = x * np.roll(y, -1, axis=1) - np.roll(x, -1, axis=1) * y
    return np.asarray(np.abs(twice.sum(axis=1)) / 2)


def outside(points: Points, shape: Shape) -> NDArray[np.float64]:
    """(n,) shares of the points of n outlines (n, N, 2) that lie beyond an image (h, w)."""
    beyond = (points < 0) | (points > np.array([shape[1], shape[0]]))
    return np.asarray(beyond.any(axis=-1).mean(axis=1))
