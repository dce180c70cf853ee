"""What lies on or in the chest: lead wires, a pacemaker, a side marker, text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import zoom

from cxr_explain.phantom.anatomy import tilt
from cxr_explain.phantom.patient import Device, Patient
from cxr_explain.phantom.seeds import generator
from cxr_explain.phantom.solids import Ellipsoid, Grid, Image
from cxr_explain.phantom.tubes import deposit, threads

METAL = 0.22
"""Line attenuation of device metal, 1/mm, at the beam's effective energy."""

_LETTERS = {
    "A": "01110 10001 10001 11111 10001 10001 10001",
    "H": "10001 10001 10001 11111 10001 10001 10001",
    "L": "10000 10000 10000 10000 10000 10000 11111",
    "M": "10001 11011 10101 10101 10001 10001 10001",
    "N": "10001 11001 10101 10101 10011 10001 10001",
    "O": "01110 10001 10001 10001 10001 10001 01110",
    "P": "11110 10001 10001 11110 10000 10000 10000",
    "T": "11111 00100 00100 00100 00100 00100 00100",
    " ": "00000 00000 00000 00000 00000 00000 00000",
}


def device_attenuation(patient: Patient, grid: Grid) -> Image:
    """(H, W) line integral of the attenuation of all devices of a patient."""
    makers = {
        Device.WIRES: _wires,
        Device.PACEMAKER: _pacemaker,
        Device.MARKER: _marker,
        Device.TEXT: _text,
    }
    total = np.zeros((grid.size, grid.size), np.float32)
    for device in patient.devices:
        total += makers[device](patient, grid)
    return total


def _smooth(points: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(CubicSpline(np.linspace(0, 1, len(points)), points)(np.linspace(0, 1, 60)))


def _wires(patient: Patient, grid: Grid) -> Image:
    draw = generator(patient.seed, "wires")
    total, wires = np.zeros((grid.size, grid.size), np.float32), []
    for _ in range(int(draw.integers(2, 5))):
        end = np.array([draw.uniform(-120, 120), draw.uniform(-90, 60)])
        exit_point = np.array([draw.choice([-210, 210]), draw.uniform(-60, 210)])
        t = np.linspace(0, 1, 5)[:, None]
        path = end + (exit_point - end) * t + draw.normal(0, 16, (5, 2)) * np.sin(np.pi * t)
        wires.append(_smooth(path))
        total += 0.12 * Ellipsoid((end[0], end[1], 0), (9, 9, 1.2)).along(grid).length
        total += METAL * Ellipsoid((end[0], end[1], 0), (4.5, 4.5, 1.2)).along(grid).length
    return total + METAL * threads(np.stack(wires), np.full(len(wires), 0.8), grid)


def _pacemaker(patient: Patient, grid: Grid) -> Image:
    draw = generator(patient.seed, "pacemaker")
    x, y = 104 + draw.uniform(-10, 10) + tilt(patient, 80), -78 + draw.uniform(-10, 10)
    case = Ellipsoid((x, y, 90), (24, 20, 6), draw.uniform(-30, 30)).along(grid).length
    lead = np.array(
        [[x - 6, y - 18], [x - 40, y - 40], [10, -96], [-20, -40], [-20, 20], [10, 62], [46, 66]]
    ) + draw.normal(0, 3, (7, 2))  # fmt: skip
    return METAL * np.minimum(case, 9) + 0.8 * METAL * threads(_smooth(lead)[None], np.ones(1), grid)


def _marker(patient: Patient, grid: Grid) -> Image:
    draw = generator(patient.seed, "marker")
    x = grid.centre[0] + draw.uniform(0.34, 0.44) * grid.extent
    y = grid.centre[1] + draw.uniform(-0.45, -0.25) * grid.extent
    return _written("L", (x, y), draw.uniform(1.6, 2.6), grid)


def _text(patient: Patient, grid: Grid) -> Image:
    draw = generator(patient.seed, "text")
    x = grid.centre[0] - draw.uniform(0.3, 0.46) * grid.extent
    y = grid.centre[1] - draw.uniform(0.4, 0.46) * grid.extent
    return _written(f"{patient.projection} PHANTOM", (x, y), 1.3, grid)


def _written(text: str, corner: tuple[float, float], stroke: float, grid: Grid) -> Image:
    """Lead letters whose strokes are `stroke` mm wide, from the upper left corner."""
    glyphs = [np.array([[int(c) for c in row] for row in _LETTERS[letter].split()]) for letter in text]
    rows = np.concatenate([np.pad(glyph, ((0, 0), (0, 1))) for glyph in glyphs], axis=1)
    ink = zoom(rows, 8, order=0)
    y, x = np.nonzero(ink)
    points = np.stack([x, y], axis=1) * (stroke / 8) + np.array(corner)
    return _lead(points, stroke / 8, grid)


def _lead(points: NDArray[np.floating], side: float, grid: Grid) -> Image:
    volume = np.full(len(points), side * side * 25.0)
    return METAL * deposit(points[:, 0], points[:, 1], volume, grid)
