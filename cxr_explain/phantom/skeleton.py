"""The bones: spine, ribs, clavicles, scapulae, humeri; each with a cortex around a spongy core."""

from __future__ import annotations

import numpy as np

from cxr_explain.phantom.anatomy import SIDES, Anatomy, arm_axis, sign, tilt
from cxr_explain.phantom.findings import Side
from cxr_explain.phantom.patient import AgeBand, Patient, Projection
from cxr_explain.phantom.seeds import generator
from cxr_explain.phantom.solids import Array, Column, Ellipsoid, Grid, Image
from cxr_explain.phantom.tubes import Bones, bone_lengths, deposit, threads

RIBS = 11


def skeleton_lengths(anatomy: Anatomy, grid: Grid) -> tuple[Image, Image]:
    """(H, W) millimetres of cortical and of spongy bone along each ray."""
    cortex, core = bone_lengths(_bones(anatomy), grid)
    cortex += _blades(anatomy.patient, grid)
    for side in SIDES:
        shell, inside = _humeral_head(anatomy.patient, side, grid)
        cortex += shell
        core += inside
    cortex += 0.5 * _processes(anatomy.patient, grid)
    return cortex, core + 0.4 * _vertebral_bodies(anatomy.patient, grid)


def _bones(anatomy: Anatomy) -> tuple[Bones, ...]:
    return _ribs(anatomy), _clavicles(anatomy.patient), *_scapulae(anatomy.patient), _humeri(anatomy.patient)


def _ribs(anatomy: Anatomy) -> Bones:
    """A rib runs back, out and down around the chest: x = A sin(phi), z = -B cos(phi)."""
    paths = [_ribs_of(anatomy, side) for side in SIDES]
    taper = np.interp(np.linspace(0, 1, 60), [0, 0.2, 0.85, 1], [0.75, 1.0, 1.05, 0.9])
    return Bones(np.concatenate(paths), 6.3, 3.7, 1.35, taper)


def _ribs_of(anatomy: Anatomy, side: Side) -> Array:
    patient, number = anatomy.patient, np.arange(RIBS)[:, None]
    offset = generator(patient.seed, "ribs", side).normal(0, 0.8, (RIBS, 1))
    start = -133 + 20.5 * number + 0.18 * number**2 + offset
    drop = np.minimum(34 + 9.0 * number, 92) * (1.1 - 0.12 * patient.inspiration)
    end = np.radians(np.where(number < 9, np.minimum(118 + 3 * number, 142), 95))
    phi = 0.1 + (end - 0.1) * np.linspace(0, 1, 60)
    across = anatomy.lung_edge(start + drop / 2) + 4.5
    behind = np.interp(start + drop / 2, [-138, -100, -40, 60], [22, 52, 80, 96]) + 4
    x = sign(side) * (8 + (across - 8) * np.sin(phi) ** 0.9)
    y = start + drop * ((1 - np.cos(phi)) / 2) ** 1.15 - 4 * np.sin(2 * phi).clip(0)
    z = -8 - behind * np.cos(phi)
    return np.stack([x + tilt(patient, 1.0) * z, y, z], axis=-1)


def _clavicles(patient: Patient) -> Bones:
    lift = 10.0 if patient.projection is Projection.AP else 0.0
    lift += float(generator(patient.seed, "clavicle").normal(0, 4))
    y = np.array([-101, -108, -113, -120, -129, -131]) - lift * np.array([0.6, 0.8, 1, 1.1, 1.1, 1])
    knots = np.stack([[14, 40, 70, 100, 130, 158], y, [62, 66, 60, 44, 26, 18]], axis=1)
    t = np.linspace(0, 1, 40)
    fine = np.stack([np.interp(t, np.linspace(0, 1, 6), axis) for axis in knots.T], axis=1)
    fine[:, 1] += 3 * np.sin(2 * np.pi * t)
    paths = np.stack([fine * np.array([sign(side), 1, 1]) for side in SIDES])
    paths[..., 0] += tilt(patient, 62) * (1 - t)
    return Bones(paths, 6.4, 5.8, 2.3, np.interp(t, [0, 0.15, 0.5, 0.85, 1], [1.5, 1.1, 0.85, 1.0, 1.2]))


def _scapula_corners(patient: Patient, side: Side) -> Array:
    """Superior angle, glenoid, inferior angle, seen from the front; turned outwards for PA."""
    draw = generator(patient.seed, "scapula", side)
    out = (draw.uniform(16, 34) if patient.projection is Projection.PA else draw.uniform(-4, 14)) + 4
    x = np.array([96, 162, 118]) + out * np.array([1.0, 0.35, 1.0])
    y = np.array([-122, -104, 18]) + draw.normal(0, 4)
    return np.stack([sign(side) * x, y, np.array([-84.0, -50, -92])], axis=1)


def _scapulae(patient: Patient) -> tuple[Bones, ...]:
    """Thick lateral borders, thin upper and medial ones, and the spine that ends in the acromion."""
    thick, thin, spine = [], [], []
    for side in SIDES:
        top, socket, tip = _scapula_corners(patient, side)
        bow = np.array([sign(side) * -5.0, 3.0, 0.0])
        thick.append(_bow(socket, tip, bow))
        thin += [_bow(top, tip, bow), _bow(top, socket, bow)]
        spine.append(_bow(top + 0.25 * (tip - top), np.array([sign(side) * 170.0, -128, -10]), bow))
    kinds = ((thick, 3.6, 3.2, 1.6), (thin, 1.6, 1.6, 1.0), (spine, 3.8, 3.0, 1.1))
    return tuple(Bones(np.stack(paths), *section) for paths, *section in kinds)


def _bow(start: Array, end: Array, bow: Array) -> Array:
    t = np.linspace(0, 1, 24)[:, None]
    return start + (end - start) * t + bow * np.sin(np.pi * t)


def _blades(patient: Patient, grid: Grid) -> Image:
    """The scapulae's plates, 1.6 mm of bone between their three borders."""
    n = int(140 / grid.pitch) + 2
    even = ((np.arange(n) + 0.5) / n).astype(np.float32)
    v = even[:, None]
    u = even * (1 - v)
    parts = []
    for side in SIDES:
        top, socket, tip = _scapula_corners(patient, side).astype(np.float32)
        (left, high, _), (a, b, _), (c, d, _) = top, socket - top, tip - top
        area = abs(a * d - b * c) / 2
        thick = np.broadcast_to(1.6 * area * 2 * (1 - v) / n**2, u.shape)
        parts.append([left + a * u + c * v, high + b * u + d * v, thick])
    x, y, volume = np.stack(parts, axis=1)
    return deposit(x, y, volume, grid)


def _humeri(patient: Patient) -> Bones:
    """The shafts; the heads are balls, see :func:`_humeral_head`."""
    y = np.linspace(-104, 260, 40)
    paths = [np.stack([arm_axis(patient, side, y), y, 0 * y], axis=1) for side in SIDES]
    return Bones(np.stack(paths), 10.5, 10.5, 2.4, np.interp(y, [-104, -60, 260], [1.35, 1.05, 0.95]))


def _humeral_head(patient: Patient, side: Side, grid: Grid) -> tuple[Image, Image]:
    """Millimetres of cortex and of spongy bone in the head of a humerus."""
    x = float(arm_axis(patient, side, np.array(-118.0))) - 4 * sign(side)
    outer, inner = (
        Ellipsoid((x, -116, 0), (radius, radius, radius)).along(grid).length for radius in (22, 20.8)
    )
    return outer - inner, inner


def _discs(patient: Patient) -> tuple[Array, Array]:
    """Heights of the vertebral bodies' centres and their heights."""
    tall = np.linspace(17, 29, 19) * (0.96 if patient.age is AgeBand.OLD else 1.0)
    edges = (
        -214 + float(generator(patient.seed, "spine").uniform(-8, 8)) + np.concatenate([[0], np.cumsum(tall)])
    )
    return (edges[1:] + edges[:-1]) / 2, tall


def _curve(patient: Patient, y: Array) -> Array:
    bend = float(generator(patient.seed, "scoliosis").normal(0, 3.0 if patient.age is AgeBand.OLD else 1.5))
    return bend * np.sin((y + 60) / 75) + tilt(patient, -62)


def _vertebral_bodies(patient: Patient, grid: Grid) -> Image:
    """Millimetres of spongy bone; discs are gaps, end plates are twice as dense."""
    centre, tall = _discs(patient)
    y = (float(grid.y[0, 0]), float(grid.y[-1, 0]))
    knots = np.linspace(*y, 24)
    half = np.interp(knots, [-200, -100, 100, 220], [12, 14, 18, 22])
    middle = _curve(patient, knots)
    body = Column(
        tuple(knots), tuple(middle - half), tuple(middle + half), tuple(half * 0.95), -62, 4
    ).along(grid).length  # fmt: skip
    nearest = np.abs(grid.y - centre[None, :]).argmin(axis=1)
    off = np.abs(grid.y[:, 0] - centre[nearest]) / (tall[nearest] / 2)
    profile = np.where(off < 0.7, 1.0, np.where(off < 0.86, 1.5, 0.15))
    waist = 1 - 0.06 * np.cos(np.pi * off)
    return np.asarray(body * (profile * waist)[:, None], np.float32)


def _processes(patient: Patient, grid: Grid) -> Image:
    """Millimetres of bone in the pedicles, which are rings, and in the spinous and transverse processes."""
    y, tall = _discs(patient)
    x, turn = _curve(patient, y), np.linspace(0, 2 * np.pi, 11)
    wide = np.interp(y, [-200, 0, 220], [9, 10.5, 14])
    rods, rings = [np.stack([_path(x, y), _path(x + tilt(patient, -40), y + 0.55 * tall)], axis=1)], []
    for out in (-1, 1):
        start = _path(x + out * wide, y - 2)
        rods.append(np.stack([start, start + np.array([out * 16.0, -3.0])], axis=1))
        rings.append(start[:, None] + np.stack([2.6 * np.cos(turn), 4 * np.sin(turn)], axis=1))
    thick = threads(np.concatenate(rods), np.full(len(rods) * len(y), 2.2), grid)
    return thick + threads(np.concatenate(rings), np.full(len(rings) * len(y), 0.9), grid)


def _path(x: Array, y: Array) -> Array:
    return np.stack([x, y], axis=1)
