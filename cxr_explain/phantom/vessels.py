"""Lung vessels: trees that branch from the hila, thin out and bend as they go."""

from __future__ import annotations

import numpy as np

from cxr_explain.phantom.anatomy import SIDES, Anatomy, sign, tilt
from cxr_explain.phantom.findings import Side
from cxr_explain.phantom.patient import Projection
from cxr_explain.phantom.seeds import generator
from cxr_explain.phantom.solids import Array, Grid, Image
from cxr_explain.phantom.tubes import threads

GENERATIONS = 6
POINTS = 5


def vessel_length(anatomy: Anatomy, grid: Grid) -> Image:
    """(H, W) millimetres of vessel along each ray, lungs only as far as the caller cuts them out."""
    paths, radii = zip(*(tree(anatomy, side) for side in SIDES), strict=True)
    return threads(np.concatenate(paths), np.concatenate(radii), grid)


def tree(anatomy: Anatomy, side: Side, generations: int = GENERATIONS) -> tuple[Array, Array]:
    """The axes, (N, P, 3) points in mm, and the radii of one lung's vessels, hilum first."""
    draw = generator(anatomy.patient.seed, "vessels", side)
    start, heading, radius = _trunks(anatomy, side, draw)
    reach = 44.0
    paths, radii = [], []
    for _ in range(generations):
        path = _bent(start, heading, reach * draw.uniform(0.6, 1.25, len(start)), draw)
        paths.append(path)
        radii.append(radius)
        heading = _forked(path[:, -1] - path[:, -2], draw)
        start = np.repeat(path[:, -1], 2, axis=0)
        radius = np.repeat(radius, 2) * draw.uniform(0.62, 0.92, len(start))
        reach *= 0.8
    return np.concatenate(paths), np.concatenate(radii)


def _trunks(anatomy: Anatomy, side: Side, draw: np.random.Generator) -> tuple[Array, Array, Array]:
    """Where the lobar vessels leave the hilum, where to, and how thick; lower ones are thicker when erect."""
    out = sign(side)
    angles = np.radians(np.array([-72, -40, -8, 22, 44, 62, 78]) + draw.normal(0, 6, 7))
    depth = draw.normal(0, 0.2, 7)
    heading = np.stack([out * np.cos(angles), np.sin(angles), depth], axis=1)
    hilum = np.array([out * 33.0 + tilt(anatomy.patient, -5), -4.0 if side is Side.RIGHT else -14.0, -5.0])
    start = hilum + np.stack([0 * angles, 18 * np.sin(angles), 10 * depth], axis=1)
    erect = anatomy.patient.projection is Projection.PA
    radius = np.array([3.9, 4.1, 4.4, 5.3, 6.2, 6.6, 5.9]) if erect else np.full(7, 5.3)
    return start, heading, radius * draw.uniform(0.85, 1.15, 7)


def _forked(heading: Array, draw: np.random.Generator) -> Array:
    unit = heading / np.linalg.norm(heading, axis=1)[:, None]
    kick = draw.normal(0, 0.42, unit.shape) * np.array([1, 1, 0.25])
    return np.stack([unit + kick, unit - 0.7 * kick], axis=1).reshape(-1, 3)


def _bent(start: Array, heading: Array, reach: Array, draw: np.random.Generator) -> Array:
    unit = heading / np.linalg.norm(heading, axis=1)[:, None]
    t = np.linspace(0, 1, POINTS)
    bend = draw.normal(0, 0.1, unit.shape)
    steps = unit[:, None] * t[:, None] + bend[:, None] * (t * (1 - t) * 4)[:, None]
    return np.asarray(start[:, None] + steps * reach[:, None, None])
