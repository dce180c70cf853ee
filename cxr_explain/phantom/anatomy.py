"""The soft tissue and the lungs: where the solids of one patient are.

All figures are millimetres of an adult of mean stature; the patient's stature scales the detector's grid
instead. The origin is the image's centre of a well-centred chest, near the carina.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_explain.phantom.findings import Side
from cxr_explain.phantom.patient import AgeBand, Patient, Projection
from cxr_explain.phantom.seeds import generator
from cxr_explain.phantom.solids import Column, Dome, Ellipsoid, Grid, Image, Interval, Solid, length_outside

SIDES = (Side.RIGHT, Side.LEFT)
LUNG_TOP, LUNG_BOTTOM = -138.0, 128.0
_LUNG_KNOTS = np.array([0.0, 0.012, 0.04, 0.1, 0.2, 0.4, 0.6, 0.8, 0.93, 1.0])
_LUNG_EDGE = np.array([40.0, 51.0, 66.0, 88.0, 109.0, 128.0, 137.0, 141.0, 142.0, 141.0])
_LUNG_MEDIAL = np.array([34.0, 20.0, 12.0, 7.0, 3.0, 1.0, 1.0, 2.0, 3.0, 4.0])
_LUNG_DEPTH = np.array([4.0, 16.0, 29.0, 44.0, 60.0, 80.0, 90.0, 94.0, 94.0, 92.0])
_ARM_KNOTS = (-146.0, -136.0, -112.0, -60.0, 30.0, 260.0)


def sign(side: Side) -> int:
    """-1 for the patient's right, which is on the left of the image, and 1 for the patient's left."""
    return 1 if side is Side.LEFT else -1


@dataclass(frozen=True, eq=False)
class LungSpace:
    """One lung: the inside of the rib cage without heart, vessels and what the diaphragm covers."""

    cage: Interval
    core: Interval
    aorta: Interval
    dome: Interval

    @property
    def obstacles(self) -> tuple[Interval, ...]:
        """What takes up room within the cage."""
        return self.core, self.aorta, self.dome

    @cached_property
    def length(self) -> Image:
        """(H, W) millimetres of lung along each ray."""
        return np.maximum(length_outside(self.cage, self.obstacles), 0)

    def within(self, solid: Interval) -> Image:
        """(H, W) millimetres of lung that lie inside a solid."""
        return np.maximum(length_outside(self.cage & solid, self.obstacles), 0)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The solids of one chest.

    Args:
        patient: whose chest it is.
        body: neck, torso and arms.
        breasts: soft tissue in front of the torso.
        lungs: the space within the rib cage on each side, before the solids below are taken out.
        domes: the hemidiaphragms.
        core: heart and great vessels; their hull is taken out of the lungs.
        aorta: the descending aorta.
        gas: air in the stomach and the colon.
    """

    patient: Patient
    body: tuple[Solid, ...]
    breasts: tuple[Solid, ...]
    lungs: dict[Side, Column]
    domes: dict[Side, Dome]
    core: tuple[Solid, ...]
    aorta: Column
    gas: tuple[Solid, ...]

    def lung_edge(self, y: ArrayLike) -> NDArray[np.floating]:
        """Distance of the rib cage's inner wall from the midline at heights y, in mm."""
        edge = _LUNG_EDGE * _width(self.patient)
        return np.asarray(np.interp(np.asarray(y), LUNG_TOP + _LUNG_KNOTS * (LUNG_BOTTOM - LUNG_TOP), edge))

    def spaces(self, grid: Grid) -> dict[Side, LungSpace]:
        """The lungs of both sides, along the rays of a detector."""
        core, aorta = hull_of(self.core, grid), self.aorta.along(grid)
        return {
            side: LungSpace(self.lungs[side].along(grid), core, aorta, self.domes[side].along(grid))
            for side in SIDES
        }


def hull_of(solids: tuple[Solid, ...], grid: Grid) -> Interval:
    """Where each ray is inside any of the solids or between two of them."""
    return reduce(Interval.hull, (solid.along(grid) for solid in solids))


def grid_of(patient: Patient, size: int) -> Grid:
    """The detector in the millimetres of a patient of mean stature."""
    dx, dy = patient.shift
    return Grid(size, patient.field_of_view / patient.stature, (-dx / patient.stature, -dy / patient.stature))


def anatomy_of(patient: Patient) -> Anatomy:
    """Build a patient's chest."""
    return Anatomy(
        patient=patient,
        body=_body(patient),
        breasts=_breasts(patient),
        lungs={side: _lung(patient, side) for side in SIDES},
        domes={side: dome_of(patient, side) for side in SIDES},
        core=core_of(patient),
        aorta=_aorta(patient),
        gas=_gas(patient),
    )


def tilt(patient: Patient, z: float) -> float:
    """How far the patient's rotation moves a structure at depth z to the side, in mm."""
    return z * float(np.tan(np.radians(patient.rotation)))


@lru_cache(maxsize=16)
def _width(patient: Patient) -> float:
    """Factor of the rib cage's width."""
    return 1 + 0.07 * float(generator(patient.seed, "thorax").uniform(-1, 1))


def _ellipsoid(patient: Patient, centre: tuple[float, float, float], radii: tuple[float, float, float],
               turn: float = 0.0) -> Ellipsoid:  # fmt: skip
    x, y, z = centre
    return Ellipsoid((x + tilt(patient, z), y, z), radii, turn)


def _lung(patient: Patient, side: Side) -> Column:
    edge, medial = sign(side) * _LUNG_EDGE * _width(patient), sign(side) * _LUNG_MEDIAL
    left, right = (medial, edge) if side is Side.LEFT else (edge, medial)
    z = -8.0
    dx = tilt(patient, z)
    y = LUNG_TOP + _LUNG_KNOTS * (LUNG_BOTTOM - LUNG_TOP)
    return Column(tuple(y), tuple(left + dx), tuple(right + dx), tuple(_LUNG_DEPTH), z, 4)


def dome_of(patient: Patient, side: Side, *, flattened: float = 0.0) -> Dome:
    """A hemidiaphragm, pushed down and flattened by some millimetres."""
    draw = generator(patient.seed, "dome", side)
    crest = 72 + 16 * patient.inspiration + (11 if side is Side.LEFT else 0) + draw.uniform(-6, 6)
    crest = min(crest + flattened, LUNG_BOTTOM - 12)
    rise = (LUNG_BOTTOM + 6 - crest) * 0.97
    x = sign(side) * (74 + draw.uniform(-5, 5))
    lateral, medial = 78 * _width(patient), 118.0
    left, right = (medial, lateral) if side is Side.LEFT else (lateral, medial)
    return Dome((x, LUNG_BOTTOM + 4, -6), left, right, rise, 91)


def core_of(patient: Patient) -> tuple[Solid, ...]:
    """Heart and great vessels."""
    draw = generator(patient.seed, "heart")
    ap = 1.1 if patient.projection is Projection.AP else 1.0
    size, lift = patient.heart * ap, 6 * patient.inspiration
    lie = 38 + 8 * patient.inspiration + draw.uniform(-6, 6)
    ventricle = _ellipsoid(
        patient, (26 * size, 43 + lift, 24), (64 * size, 44 * size, 56 * size), lie
    )  # fmt: skip
    atrium = _ellipsoid(patient, (-14 * size, 41 + lift, 16), (31 * size, 46 * size, 46 * size), 8)
    outflow = _ellipsoid(patient, (18 * size, -14 + lift / 2, 18), (27 * size, 44 * size, 38), -12)
    return ventricle, atrium, outflow, _knob(patient), _pedicle(patient)


def _knob(patient: Patient) -> Ellipsoid:
    draw = generator(patient.seed, "knob")
    size = {AgeBand.YOUNG: 0.85, AgeBand.MIDDLE: 1.0, AgeBand.OLD: 1.18}[patient.age] * draw.uniform(
        0.92, 1.08
    )
    return _ellipsoid(patient, (20, -58, -14), (20 * size, 22 * size, 34), 0)


def _pedicle(patient: Patient) -> Column:
    draw = generator(patient.seed, "pedicle")
    ap = 1.15 if patient.projection is Projection.AP else 1.0
    wide = ap * (1 + 0.12 * patient.habitus + draw.uniform(-0.08, 0.08))
    y = (-190.0, -140.0, -100.0, -60.0, -20.0, 40.0, 130.0, 210.0)
    left = np.array([-30, -24, -25, -28, -27, -18, -13, -13]) * wide
    right = np.array([30, 25, 24, 23, 24, 18, 14, 14]) * wide
    return Column(y, tuple(left), tuple(right), (60, 48, 46, 50, 52, 52, 60, 70), -14)


def _aorta(patient: Patient) -> Column:
    size = {AgeBand.YOUNG: 0.9, AgeBand.MIDDLE: 1.0, AgeBand.OLD: 1.2}[patient.age]
    bend = {AgeBand.YOUNG: 0.0, AgeBand.MIDDLE: 3.0, AgeBand.OLD: 8.0}[patient.age]
    centre = np.array([22, 24 + bend, 22 + bend, 14, 6]) + tilt(patient, -48)
    half = 12 * size
    return Column(
        (-62.0, -20.0, 40.0, 110.0, 220.0), tuple(centre - half), tuple(centre + half), (13,) * 5, -48
    )


def _body(patient: Patient) -> tuple[Solid, ...]:
    fat = 26 * patient.habitus
    wide = _width(patient)
    torso = Column(
        (-240.0, -178.0, -160.0, -146.0, -132.0, -116.0, -92.0, -50.0, 0.0, 90.0, 260.0),
        *_mirrored(np.array([52, 56, 70, 106, 148, 176, 186, 172, 165, 164, 164]) * wide + fat * 0.7),
        tuple(np.array([60, 61, 66, 74, 82, 90, 98, 108, 115, 121, 125]) + fat * 0.9),
        -6,
    )  # fmt: skip
    return torso, *(_arm(patient, side) for side in SIDES)


def _mirrored(half: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(-half), tuple(half)


def arm_axis(patient: Patient, side: Side, y: NDArray[np.floating]) -> NDArray[np.floating]:
    """Where the middle of an upper arm is, x at heights y; held away from the body for PA."""
    x = np.array([174, 176, 184, 192, 198, 212]) + _away(patient, side) * np.array(
        [0, 0, 0.1, 0.35, 0.7, 1.1]
    )
    return np.asarray(sign(side) * np.interp(y, _ARM_KNOTS, x))


@lru_cache(maxsize=16)
def _away(patient: Patient, side: Side) -> float:
    """How far an elbow is from the body, in mm."""
    draw = generator(patient.seed, "arm", side)
    return draw.uniform(15, 75) if patient.projection is Projection.PA else draw.uniform(0, 35)


def _arm(patient: Patient, side: Side) -> Column:
    centre = arm_axis(patient, side, np.array(_ARM_KNOTS))
    half = np.array([0, 24, 37, 41, 39, 36]) + 9 * patient.habitus * np.array([0, 1, 1, 1, 1, 1])
    return Column(_ARM_KNOTS, tuple(centre - half), tuple(centre + half), tuple(half * 1.15), -6)


def _breasts(patient: Patient) -> tuple[Solid, ...]:
    if not patient.breast:
        return ()
    size = patient.breast * (1 + 0.35 * patient.habitus)
    draw = generator(patient.seed, "breast")
    low = draw.uniform(42, 72)
    return tuple(
        Ellipsoid((sign(side) * (84 + 8 * size) + tilt(patient, 90), low, 100),
                  (62 * size, 50 * size, 22 * size), 16 * sign(side))
        for side in SIDES
    )  # fmt: skip


def _gas(patient: Patient) -> tuple[Solid, ...]:
    draw = generator(patient.seed, "gas")
    bubbles: list[Solid] = []
    if draw.random() < 0.65:
        wide = draw.uniform(14, 30)
        bubbles.append(
            Ellipsoid((draw.uniform(45, 85), 128 + draw.uniform(-4, 14), 30), (wide, wide * 0.6, 22), 12)
        )
    for _ in range(int(draw.integers(0, 5))):
        wide = draw.uniform(8, 18)
        centre = (draw.uniform(20, 120) * (1 if draw.random() < 0.7 else -1), draw.uniform(150, 190), 40)
        bubbles.append(Ellipsoid(centre, (wide, wide * 0.7, 14), draw.uniform(-40, 40)))
    return tuple(bubbles)
