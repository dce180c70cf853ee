"""Curved tubes and plates by quadrature: small volumes laid down on the detector.

The closed forms of :mod:`cxr_explain.phantom.solids` end at curved bones and vessels. Their path lengths
are integrated instead: a tube is cut into small volumes, and a pixel's path length is the volume that falls
on it divided by its area. Volume is conserved whatever the pixel size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cxr_explain.phantom.solids import Array, Grid, Image


def deposit(x: Array, y: Array, volume: Array, grid: Grid) -> Image:
    """Path length in mm from volumes in mm^3 at points in mm, each shared by the four nearest pixels.

    >>> deposit(np.zeros(1), np.zeros(1), np.full(1, 4.0), Grid(2, 4.0)).tolist()
    [[0.25, 0.25], [0.25, 0.25]]
    """
    frame = grid.size + 3
    column, row = _cells(x, grid.centre[0], grid), _cells(y, grid.centre[1], grid)
    j, i = np.floor(column), np.floor(row)
    fx, fy, mass = column - j, row - i, volume.ravel().astype(np.float32) / np.float32(grid.pitch**2)
    cell, lower = i.astype(np.intp) * frame + j.astype(np.intp), mass * fy
    upper = mass - lower
    shares = (upper - upper * fx, upper * fx, lower - lower * fx, lower * fx)
    cells = np.concatenate([cell, cell + 1, cell + frame, cell + frame + 1])
    total = np.bincount(cells, np.concatenate(shares), minlength=frame * frame)
    return total.reshape(frame, frame)[1:-2, 1:-2].astype(np.float32)


def _cells(at: Array, middle: float, grid: Grid) -> NDArray[np.float32]:
    """Places in pixels of a frame that is one pixel wider; what misses the detector is put into the frame."""
    pixels = (at.ravel().astype(np.float32) - np.float32(middle)) / np.float32(grid.pitch)
    return np.asarray(np.clip(pixels + np.float32(grid.size / 2 + 0.5), 0, grid.size + 1))


def blurred(
    image: Image, sigma: float, *, edge: Literal["constant", "edge", "wrap"], reach: int | None = None
) -> Image:
    """A Gaussian of a few pixels, in single precision: several times as fast as scipy's for these widths.

    Args:
        image: (H, W).
        sigma: standard deviation, in pixels.
        edge: what lies around the image, as :func:`numpy.pad` names it.
        reach: half width of the kernel; None for 3 sigma.
    """
    reach = int(3 * sigma + 0.5) if reach is None else reach
    weights = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    weights = (weights / (2 * weights.sum() - 1)).astype(np.float32)
    padded = np.pad(image, reach, mode=edge)
    height, width = image.shape
    rows = _weighted([padded[k : k + height] for k in range(2 * reach + 1)], weights)
    return _weighted([rows[:, k : k + width] for k in range(2 * reach + 1)], weights)


def _weighted(shifted: list[Image], weights: NDArray[np.float32]) -> Image:
    """The sum of shifted images by symmetric weights, those of the middle one first."""
    middle = len(weights) - 1
    total: Image = shifted[middle] * weights[0]
    pair = np.empty_like(total)
    for k in range(1, middle + 1):
        np.add(shifted[middle - k], shifted[middle + k], out=pair)
        pair *= weights[k]
        total += pair
    return total


def interpolated(values: Image, rows: Image, columns: Image) -> Image:
    """Bilinear interpolation of a periodic image at every pair of places, in pixels from its first.

    >>> interpolated(np.float32([[0, 1], [2, 3]]), np.float32([0.5]), np.float32([0.0, 0.25])).tolist()
    [[1.0, 1.25]]
    """
    return _between(_between(values, rows, axis=0), columns, axis=1)


def _between(values: Image, at: Image, *, axis: int) -> Image:
    low = np.floor(at).astype(np.intp)
    share = np.expand_dims(at - low, 1 - axis).astype(np.float32)
    first = np.take(values, low, axis=axis, mode="wrap")
    rest = np.take(values, low + 1, axis=axis, mode="wrap")
    rest -= first
    rest *= share
    rest += first
    return rest


def threads(paths: Array, radii: Array, grid: Grid) -> Image:
    """Path length of thin round tubes: their volume along the axis, spread as wide as they are.

    The chord profile of a round tube has the standard deviation r / 2, and so has the Gaussian used here;
    tubes of about the same radius share it.

    Args:
        paths: (N, P, 2 or 3) points in mm.
        radii: (N,) in mm.
        grid: the detector.
    """
    total = np.zeros((grid.size, grid.size), np.float32)
    classes = np.rint(np.log2(np.maximum(radii, grid.pitch / 2))).astype(int)
    for level in np.unique(classes):
        chosen = classes == level
        total += _threads_of_a_size(paths[chosen], radii[chosen], grid)
    return total


def _threads_of_a_size(paths: Array, radii: Array, grid: Grid) -> Image:
    step = np.linalg.norm(np.diff(paths, axis=1), axis=-1)
    longest = float(step.max(initial=0))
    fine = max(1, int(np.ceil(longest / max(grid.pitch, float(radii.mean()) / 2))))
    t = (np.arange(fine) + 0.5) / fine
    points = paths[:, :-1, None] + np.diff(paths, axis=1)[:, :, None] * t[:, None]
    volume = np.broadcast_to((np.pi * radii[:, None] ** 2 * step / fine)[..., None], points.shape[:3])
    lengths = deposit(points[..., 0], points[..., 1], volume, grid)
    return blurred(lengths, float(radii.mean()) / 2 / grid.pitch, edge="constant")


@dataclass(frozen=True, eq=False)
class Bones:
    """Curved bones of one kind, of elliptic section: a cortical shell around a spongy core.

    Args:
        paths: (N, P, 3) their axes, x, y, z in mm.
        height: half height of the section, within the image plane where the bone lies flat in it.
        thickness: the other half axis.
        cortex: thickness of the shell.
        taper: factor of both half axes along the path, broadcast to (N, P).
    """

    paths: Array
    height: float
    thickness: float
    cortex: float
    taper: Array | float = 1.0


def bone_lengths(kinds: Iterable[Bones], grid: Grid) -> tuple[Image, Image]:
    """Path lengths in mm through the bones' cortex and through their cores."""
    shells, cores = zip(*(_volumes(bones, grid) for bones in kinds), strict=True)
    cortex, core = (np.concatenate(part, axis=1) for part in (shells, cores))
    cortical, spongy = (deposit(part[0], part[1], part[2], grid) for part in (cortex, core))
    return blurred(cortical, 0.5, edge="edge"), blurred(spongy, 0.7, edge="edge")


def _volumes(bones: Bones, grid: Grid) -> tuple[Array, Array]:
    """(3, N) x, y and volume of small parts of the cortex and of the core."""
    axes = _axes(bones, grid)
    inner = max(bones.height - bones.cortex, 0) * max(bones.thickness - bones.cortex, 0)
    shell = np.pi * (bones.height * bones.thickness - inner)
    cortex = axes.laid(1.0, shell * axes.scale, 0.6 / grid.pitch)
    core = axes.laid(0.65, np.pi * bones.height * bones.thickness * axes.scale**2, 0.3 / grid.pitch)
    return cortex, core


def _axes(bones: Bones, grid: Grid) -> _Axes:
    """The bones' axes at about a pixel's steps, with the half axes of their sections."""
    scale = np.broadcast_to(np.asarray(bones.taper)[..., None], (*bones.paths.shape[:2], 1))
    longest = np.linalg.norm(np.diff(bones.paths, axis=1), axis=-1).sum(axis=1).max()
    fine = _resampled(np.concatenate([bones.paths, scale], axis=-1), int(longest / grid.pitch / 1.1) + 2)
    path, scale = fine[..., :3], fine[..., 3]
    step = np.gradient(path, axis=1)
    length = np.sqrt((step**2).sum(axis=-1))
    across, down = np.ptp(path[0, :, :2], axis=0)
    reference = np.array([0.0, 1.0, 0.1] if across >= down else [1.0, 0.0, 0.1], np.float32)
    side = np.cross(step, reference)
    side /= np.sqrt((side**2).sum(axis=-1, keepdims=True)) + np.float32(1e-6)
    up = np.cross(side, step / length[..., None])
    return _Axes(path, up * scale[..., None] * bones.height, side * scale[..., None] * bones.thickness,
                 length, scale)  # fmt: skip


def _resampled(values: Array, n: int) -> NDArray[np.float32]:
    """(N, n, ...) linear interpolation of (N, P, ...) at even steps."""
    at = np.linspace(0, values.shape[1] - 1, n)
    low = np.minimum(at.astype(int), values.shape[1] - 2)
    share = (at - low)[:, None]
    return np.asarray(values[:, low] * (1 - share) + values[:, low + 1] * share, np.float32)


@dataclass(frozen=True, eq=False)
class _Axes:
    path: Array
    up: Array
    side: Array
    step: Array
    scale: Array

    def laid(self, fraction: float, area: Array, density: float) -> Array:
        """Rings of points around the axes, at a fraction of the section, which share the area."""
        radius = float(np.sqrt((self.up**2).sum(axis=-1).max()))
        n = int(np.clip(2 * np.pi * radius * density, 8, 160))
        twist = (
            2.399963 * np.arange(self.path.shape[1])[:, None]
        )  # the golden angle: no streaks along the bone
        angle = np.arange(n) * (2 * np.pi / n) + twist
        cos, sin = (fraction * wave(angle).astype(np.float32) for wave in (np.cos, np.sin))
        x, y = (
            self.path[..., k, None] + self.up[..., k, None] * cos + self.side[..., k, None] * sin
            for k in (0, 1)
        )
        volume = np.broadcast_to((area * self.step / n)[..., None], x.shape)
        return np.stack([x.ravel(), y.ravel(), volume.ravel()])
