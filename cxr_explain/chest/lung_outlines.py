"""The outlines of the two lungs, drawn from their place to the nearest edges.

First each lung is stretched down to its diaphragm, or shortened to it: to the height whose lower edge is
the clearest. Then its points move along their normals: first together, as the best scaling and shift to where
the edges are; and then each for itself, by dynamic programming: the path that crosses from dark to bright
most clearly, and bends least. Where there is no edge, the outline stays where the template has it.

Source:
    Cootes et al., Active Shape Models, Computer Vision and Image Understanding 61 (1995) 38 (search along
    normals); Amini et al., Using Dynamic Programming for Solving Variational Problems in Vision, IEEE TPAMI
    12 (1990) 855.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from cxr_explain.chest.lung_template import POINTS, locally_normalised, place_lungs
from cxr_explain.support.arrays import Floats, Points

_STEPS = 8  # to either side of a point
_WINDOW = 3  # samples on either side of an edge that are compared
_REACH = 0.11  # how far a point may move, in widths of the box around both lungs
_HOLD = 0.006  # what the square of a step away from the template costs
_BEND = 0.06  # what the square of a step between neighbours costs
_NEAR = 2  # neighbours on either side whose edges are looked at together, at first
_AWAY = np.arange(-_STEPS, _STEPS + 1, dtype=np.float32)
_STRETCH = np.linspace(0.65, 1.1, 10)  # heights of a lung that are tried, of the template's
_HOLD_STRETCH = 3.0  # what the square of a stretch costs
_BESIDE = np.array([-3, -2, -1, 1, 2, 3])  # steps from an edge to what is compared
_EARLY = POINTS // 8
_ORDER = np.arange(-_EARLY, POINTS + _EARLY) % POINTS


@dataclass(frozen=True, eq=False)
class LungOutlines:
    """Both lungs of a frontal radiograph.

    Args:
        points: (2, N, 2) outlines, x and y in cells of the image; the lung on the image's left first.
        likeness: correlation with the template, -1 to 1.
        contrast: (2,) mean step from dark to bright across each outline, in local standard deviations.
    """

    points: Points = field(repr=False)
    likeness: float
    contrast: tuple[float, float]


def lung_outlines(image: Floats) -> LungOutlines:
    """Draw the outlines, whether or not there are lungs: judge them by what comes with them.

    Args:
        image: (h, w) grey levels, about 96 cells a side, air dark.
    """
    levels = locally_normalised(image)
    place = place_lungs(levels)
    levels = uniform_filter(levels, 3, mode="nearest")
    step = _REACH * place.width * max(levels.shape) / _STEPS
    points = _to_diaphragm(levels, place.outlines(levels.shape), step)
    points = _moved_together(points, _profiles(levels, points, step), step)
    edges = _profiles(levels, points, step)
    shifts = _shifts(edges.gain)
    crossed = np.take_along_axis(edges.gain, (shifts + _STEPS)[..., None], axis=-1)[..., 0].mean(axis=1)
    return LungOutlines(
        points + edges.normals * (shifts * step)[..., None],
        place.likeness,
        (float(crossed[0]), float(crossed[1])),
    )


@dataclass(frozen=True, eq=False)
class _Edges:
    """gain (2, N, 2 * _STEPS + 1): how far it steps from dark to bright at each place along the normals."""

    gain: Floats
    normals: Points


def _profiles(levels: Floats, points: Points, step: float) -> _Edges:
    normals = _normals(points)
    along = np.arange(-_STEPS - _WINDOW, _STEPS + _WINDOW + 1) * step
    at = points[:, :, None] + normals[:, :, None] * along[:, None]
    values = _at(levels, at)
    sums = values[..., :-2] + values[..., 1:-1] + values[..., 2:]
    gain = (sums[..., _WINDOW + 1 :] - sums[..., : -_WINDOW - 1]) / np.float32(_WINDOW)
    return _Edges(gain.clip(-1, 2), normals)


def _normals(points: Points) -> Points:
    """Unit normals that point out of each lung."""
    along = np.roll(points, -1, axis=1) - np.roll(points, 1, axis=1)
    normals = np.stack([along[..., 1], -along[..., 0]], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9
    following = np.roll(points, -1, axis=1)
    twice_area = (points[..., 0] * following[..., 1] - following[..., 0] * points[..., 1]).sum(axis=1)
    return np.asarray(normals * np.sign(twice_area)[:, None, None])


def _to_diaphragm(levels: Floats, points: Points, step: float) -> Points:
    """Stretch or shorten each lung, its apex held, so that its lower edge is the clearest."""
    top = points[..., 1:].min(axis=1, keepdims=True)
    lowest = np.argsort(-points[..., 1], axis=1, kind="stable")[:, : POINTS // 4]
    at, normals = (np.take_along_axis(each, lowest[..., None], axis=1) for each in (points, _normals(points)))
    rays = normals[:, :, None] * (_BESIDE * step)[:, None]
    stretched = np.stack([at * (1, s) + top * (0, 1 - s) for s in _STRETCH])
    values = _at(levels, stretched[:, :, :, None] + rays)
    gain = (values[..., _WINDOW:].sum(axis=-1) - values[..., :_WINDOW].sum(axis=-1)) / np.float32(_WINDOW)
    score = gain.mean(axis=-1) - _HOLD_STRETCH * (_STRETCH[:, None] - 1) ** 2
    best = _STRETCH[score.argmax(axis=0)][:, None, None]
    return np.concatenate([points[..., :1], top + (points[..., 1:] - top) * best], axis=-1)


def _at(levels: Floats, at: Points) -> Floats:
    """Grey levels of the cells that hold the points (..., 2), or the nearest ones."""
    columns, rows = (at[..., axis].astype(np.intp).clip(0, levels.shape[1 - axis] - 1) for axis in (0, 1))
    return np.asarray(levels[rows, columns])


def _moved_together(points: Points, edges: _Edges, step: float) -> Points:
    """Scale and shift each lung, along x and y, to its clearest edges."""
    near = sum(np.roll(edges.gain, k, axis=1) for k in range(-_NEAR, _NEAR + 1)) / np.float32(2 * _NEAR + 1)
    away = (near - np.float32(_HOLD) * _AWAY**2).argmax(axis=-1) - _STEPS
    target = points + edges.normals * (away * step)[..., None]
    middle = points.mean(axis=1, keepdims=True)
    spread = points - middle
    scale = (spread * target).sum(axis=1, keepdims=True) / (spread**2).sum(axis=1, keepdims=True)
    return np.asarray(target.mean(axis=1, keepdims=True) + scale * spread)


def _shifts(gain: Floats) -> NDArray[np.intp]:
    """(2, N) steps along the normals of the closed path of the least cost.

    The path begins an eighth of a turn early and ends an eighth late, so that it meets itself.
    """
    least = np.float32(_HOLD) * _AWAY**2 - gain[:, _ORDER]
    bend = np.float32(_BEND) * (_AWAY[:, None] - _AWAY) ** 2
    for k in range(1, len(_ORDER)):
        least[:, k] += (least[:, k - 1, None, :] + bend).min(axis=-1)
    path = _traced(least, bend)
    return path[:, _EARLY : _EARLY + POINTS] - _STEPS


def _traced(least: Floats, bend: Floats) -> NDArray[np.intp]:
    """The path back from the end, (2, n) indices."""
    path = np.empty(least.shape[:2], np.intp)
    path[:, -1] = least[:, -1].argmin(axis=-1)
    for k in range(least.shape[1] - 2, -1, -1):
        path[:, k] = (least[:, k] + bend[path[:, k + 1]]).argmin(axis=-1)
    return path
