"""One patient's chest on one detector: path lengths of every tissue, before any finding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from cxr_explain.phantom.anatomy import Anatomy, LungSpace, anatomy_of, grid_of, tilt
from cxr_explain.phantom.devices import device_attenuation
from cxr_explain.phantom.findings import Side
from cxr_explain.phantom.patient import AgeBand, Patient
from cxr_explain.phantom.seeds import generator
from cxr_explain.phantom.skeleton import skeleton_lengths
from cxr_explain.phantom.solids import Column, Grid, Image, total
from cxr_explain.phantom.tubes import blurred, interpolated, threads
from cxr_explain.phantom.vessels import vessel_length

WATER = 0.0195
"""Linear attenuation of soft tissue, 1/mm, at an effective energy near 65 keV (about 120 kV)."""

CORTEX, SPONGE = 0.064, 0.029
"""The same for cortical and for spongy bone."""


@dataclass(frozen=True, eq=False)
class Chest:
    """A chest without findings; lengths in mm of the real patient, (H, W) float32, read-only.

    Args:
        anatomy: its solids.
        grid: the detector, in the millimetres of the anatomy.
        spaces: where the lungs are, by side.
        lungs: lung along each ray, by side.
        vessels: vessel within the lungs along each ray.
        other: line integral of all that no finding changes.
        lung_attenuation: 1/mm, (H, W); the parenchyma is not uniform.
    """

    anatomy: Anatomy
    grid: Grid
    spaces: dict[Side, LungSpace]
    lungs: dict[Side, Image]
    vessels: Image
    other: Image
    lung_attenuation: Image

    @property
    def patient(self) -> Patient:
        """Whose chest it is."""
        return self.anatomy.patient

    @cached_property
    def lung(self) -> Image:
        """Lung of both sides along each ray."""
        return self.lungs[Side.RIGHT] + self.lungs[Side.LEFT]

    @cached_property
    def vessel_attenuation(self) -> Image:
        """What the vessels add to the line integral of the lung around them."""
        return self.vessels * (np.float32(WATER) - self.lung_attenuation)


@lru_cache(maxsize=4)
def chest_of(patient: Patient, size: int) -> Chest:
    """Build a chest; the last few are kept, so that counterfactuals cost little.

    Args:
        patient: whose chest.
        size: pixels a side.
    """
    anatomy, grid = anatomy_of(patient), grid_of(patient, size)
    scale = np.float32(patient.stature)
    spaces = anatomy.spaces(grid)
    lungs = {side: space.length * scale for side, space in spaces.items()}
    lung = lungs[Side.RIGHT] + lungs[Side.LEFT]
    vessels = vessel_length(anatomy, grid) * scale * np.minimum(lung / 60, 1)
    chest = Chest(
        anatomy=anatomy,
        grid=grid,
        spaces=spaces,
        lungs=lungs,
        vessels=np.minimum(vessels, lung),
        other=scale * _other(anatomy, grid, total((space.length for space in spaces.values()), grid))
        + device_attenuation(patient, grid),
        lung_attenuation=np.float32(WATER * patient.lung_density)
        * (1 + 0.05 * texture(patient, "lung", grid, 1.8)),
    )
    for image in (*lungs.values(), chest.vessels, chest.other, chest.lung_attenuation):
        image.setflags(write=False)
    return chest


def texture(patient: Patient, name: str, grid: Grid, correlation: float) -> Image:
    """A field of mean 0 and variance 1 that is tied to the anatomy: the same at every image size.

    Args:
        patient: whose seed to use.
        name: the stream.
        grid: where to sample it.
        correlation: standard deviation of its smoothing, in mm.
    """
    return field_of(generator(patient.seed, "texture", name), grid, correlation)


def field_of(draw: np.random.Generator, grid: Grid, correlation: float) -> Image:
    """As :func:`texture`, from a given stream."""
    pitch, reach = correlation / 1.5, 150.0
    n = int(2 * reach / pitch)
    white = draw.standard_normal((n, n), dtype=np.float32)
    smooth = blurred(white, 1.5, edge="wrap")
    smooth /= smooth.std()
    return interpolated(smooth, (grid.y[:, 0] + reach) / pitch, (grid.x[0] + reach) / pitch)


def _other(anatomy: Anatomy, grid: Grid, lung: Image) -> Image:
    """Line integral of body, bones and gas, with nothing where the lungs are."""
    torso, *arms = (solid.along(grid).length for solid in anatomy.body)
    body = torso
    for arm in arms:  # a fold of skin rather than a crease where the arm begins
        body = np.sqrt(np.sqrt(np.square(body * body) + np.square(arm * arm)))
    breasts = total((solid.along(grid).length for solid in anatomy.breasts), grid) / np.float32(2)
    air = np.minimum(_air(anatomy, grid), np.maximum(body - lung, 0))
    cortex, sponge = skeleton_lengths(anatomy, grid)
    calcium = {AgeBand.YOUNG: 0.9, AgeBand.MIDDLE: 0.85, AgeBand.OLD: 0.74}[anatomy.patient.age]
    bones = calcium * ((CORTEX - WATER) * cortex + (SPONGE - WATER) * sponge)
    muscle = 1 + 0.03 * texture(anatomy.patient, "muscle", grid, 9.0)
    return np.asarray(WATER * ((body - lung - air) * muscle + breasts) + bones, np.float32)


def _air(anatomy: Anatomy, grid: Grid) -> Image:
    """Millimetres of air outside of the lungs: trachea, main bronchi, stomach, colon."""
    patient = anatomy.patient
    dx = tilt(patient, -20)
    middle = np.array([0.0, 0.0, 2.0, 3.0]) + dx
    half = np.array([9.0, 8.5, 8.0, 9.0])
    trachea = Column((-240.0, -120.0, -60.0, -22.0), tuple(middle - half), tuple(middle + half), (8.0,) * 4)
    bronchi = np.array([[[3 + dx, -26], [-14, -14], [-30, -2]], [[3 + dx, -26], [22, -14], [38, -8]]])
    air = trachea.along(grid).length + threads(bronchi, np.array([5.5, 5.0]), grid)
    return air + np.float32(0.7) * total((bubble.along(grid).length for bubble in anatomy.gas), grid)
