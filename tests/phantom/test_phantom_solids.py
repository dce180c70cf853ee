"""Path lengths in closed form against counting small steps along each ray."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter

from cxr_explain.phantom.solids import (
    Column,
    Dome,
    Ellipsoid,
    Grid,
    Interval,
    Solid,
    length_outside,
    monotone,
)
from cxr_explain.phantom.tubes import Bones, blurred, bone_lengths, deposit, threads

GRID = Grid(24, 120.0, (3.0, -2.0))
STEP = 0.05
DEPTHS = np.arange(-80, 80, STEP) + STEP / 2
COLUMN = Column((-50, -20, 15, 52), (-20, -31, -25, -12), (10, 32, 40, 30), (5, 30, 35, 22), -4.0)
BOX = Column((-70, 70), (-21, -21), (33, 33), (25, 25), 2.0, 4)


def inside_ellipsoid(solid: Ellipsoid, x: NDArray, y: NDArray, z: NDArray) -> NDArray[np.bool_]:
    angle = np.radians(solid.turn)
    dx, dy = x - solid.centre[0], y - solid.centre[1]
    u = (np.cos(angle) * dx + np.sin(angle) * dy) / solid.radii[0]
    v = (-np.sin(angle) * dx + np.cos(angle) * dy) / solid.radii[1]
    return u**2 + v**2 + ((z - solid.centre[2]) / solid.radii[2]) ** 2 <= 1


def inside_dome(solid: Dome, x: NDArray, y: NDArray, z: NDArray) -> NDArray[np.bool_]:
    u = (x - solid.centre[0]) / np.where(x < solid.centre[0], solid.left, solid.right)
    v = np.where(y < solid.centre[1], (y - solid.centre[1]) / solid.rise, 0)
    return u**2 + v**2 + ((z - solid.centre[2]) / solid.depth) ** 4 <= 1


def inside_column(solid: Column, x: NDArray, y: NDArray, z: NDArray) -> NDArray[np.bool_]:
    left, right, depth = (np.asarray(edge, float) for edge in solid.edges(y.astype(np.float32)))
    u = np.abs(2 * x - left - right) / (right - left)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (depth > 0) & (u**solid.power + np.abs((z - solid.z) / depth) ** solid.power <= 1)


SOLIDS: list[tuple[Solid, object]] = [
    (Ellipsoid((8, -5, 10), (40, 22, 30), 33.0), inside_ellipsoid),
    (Dome((4, 20, -6), 25, 44, 38, 50), inside_dome),
    (COLUMN, inside_column),
    (BOX, inside_column),
]


def rays() -> tuple[NDArray, NDArray, NDArray]:
    return GRID.x[..., None].astype(float), GRID.y[..., None].astype(float), DEPTHS[None, None]


@pytest.mark.parametrize(("solid", "inside"), SOLIDS)
def test_a_path_length_agrees_with_numerical_integration(solid: Solid, inside) -> None:
    counted = inside(solid, *rays()).sum(axis=-1) * STEP
    lengths = np.broadcast_to(solid.along(GRID).length, counted.shape)
    assert lengths.max() > 20
    np.testing.assert_allclose(lengths, counted, atol=2 * STEP)


def test_lung_outside_of_overlapping_solids_agrees_with_numerical_integration() -> None:
    parts = [(solid, inside(solid, *rays())) for solid, inside in SOLIDS]
    (_, a), (_, b), (column, c), (_, d) = parts
    counted = (c & ~a & ~b & ~d).sum(axis=-1) * STEP
    removed = tuple(solid.along(GRID) for solid, _ in parts if solid is not column)
    np.testing.assert_allclose(length_outside(column.along(GRID), removed), counted, atol=5 * STEP)


def test_a_ray_that_misses_stays_a_miss_in_overlaps_and_hulls() -> None:
    miss = Interval.around(0.0, np.zeros((1, 1), np.float32))
    hit = Interval.around(5.0, np.full((1, 1), 2, np.float32))
    assert (miss & hit).length.item() == 0
    assert miss.hull(hit).length.item() == 4
    assert miss.hull(miss).length.item() == 0


def test_volumes_are_conserved_and_what_misses_the_detector_is_lost() -> None:
    rng = np.random.default_rng(0)
    x, y, volume = rng.uniform(-40, 40, 100), rng.uniform(-40, 40, 100), rng.uniform(0, 3, 100)
    total = deposit(x, y, volume, GRID).sum() * GRID.pitch**2
    assert total == pytest.approx(volume.sum(), rel=1e-5)
    assert deposit(np.array([500.0, -500]), np.array([0.0, 900]), np.ones(2), GRID).max() == 0


def test_a_vessel_holds_its_volume_and_is_as_thick_as_it_should_be() -> None:
    grid, radius = Grid(128, 64.0), 4.0
    lengths = threads(np.array([[[-100.0, 0, 0], [100, 0, 0]]]), np.array([radius]), grid)
    profile = lengths[:, 64]
    chord = 2 * np.sqrt(np.maximum(radius**2 - grid.y[:, 0] ** 2, 0))
    assert profile.sum() == pytest.approx(chord.sum(), rel=0.01)
    spread = np.sqrt((profile * grid.y[:, 0] ** 2).sum() / profile.sum())
    assert spread == pytest.approx(radius / 2, rel=0.05)


def test_a_bone_has_the_cortex_and_the_core_of_a_straight_pipe() -> None:
    grid = Grid(128, 64.0)
    path = np.linspace([-100.0, 0, 0], [100, 0, 0], 50)[None]
    cortex, core = bone_lengths((Bones(path, 8.0, 5.0, 1.5),), grid)
    middle = slice(32, 96)
    shell, whole = np.pi * (8 * 5 - 6.5 * 3.5), np.pi * 8 * 5
    assert cortex[:, middle].sum(axis=0).mean() * grid.pitch == pytest.approx(shell, rel=0.02)
    assert core[:, middle].sum(axis=0).mean() * grid.pitch == pytest.approx(whole, rel=0.02)
    profile = cortex[:, middle].mean(axis=1)
    assert profile[np.abs(grid.y[:, 0]) < 1].mean() * 2 < profile.max()  # the edges are the densest part


@pytest.mark.parametrize("count", [2, 3, 5, 9])
def test_the_monotone_curve_is_scipys(count: int) -> None:
    rng = np.random.default_rng(count)
    x, values = np.cumsum(rng.uniform(0.5, 2, count)), rng.normal(size=(3, count))
    at = np.linspace(x[0], x[-1], 60, dtype=np.float32)
    literal = PchipInterpolator(x, values, axis=1)(np.clip(at, x[0], x[-1]))
    np.testing.assert_allclose(monotone(x, values, at), literal, atol=1e-5)


def test_the_blur_is_scipys() -> None:
    image = np.random.default_rng(0).random((20, 24)).astype(np.float32)
    literal = gaussian_filter(image, 1.5, mode="nearest", truncate=3)
    np.testing.assert_allclose(blurred(image, 1.5, edge="edge"), literal, atol=1e-5)
