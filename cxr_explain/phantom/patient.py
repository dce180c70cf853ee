"""Patients: everything about a phantom that is not a finding."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from cxr_explain.errors import OptionError
from cxr_explain.phantom.seeds import generator


class Sex(StrEnum):
    """Decides the mean stature and the breast shadow.

    >>> sample_patient(3).sex in Sex
    True
    """

    FEMALE = "F"
    MALE = "M"


class Projection(StrEnum):
    """PA: erect, arms forward, scapulae turned out. AP: in bed, shallower breath, wider heart.

    >>> sample_patient(3).projection in Projection
    True
    """

    PA = "PA"
    AP = "AP"


class AgeBand(StrEnum):
    """Decides the aorta's size, the calcium of the bones and the curve of the spine.

    >>> sample_patient(3).age in AgeBand
    True
    """

    YOUNG = "18-39"
    MIDDLE = "40-64"
    OLD = "65+"


class Device(StrEnum):
    """What lies on or in the chest without being part of it.

    >>> set(sample_patient(3).devices) <= set(Device)
    True
    """

    WIRES = "wires"
    PACEMAKER = "pacemaker"
    MARKER = "marker"
    TEXT = "text"


@dataclass(frozen=True)
class Patient:
    """One phantom's anatomy and exposure; nothing in it depends on a finding.

    Args:
        seed: decides all that the other fields leave open (vessels, ribs' jitter, noise).
        sex: a :class:`Sex`, female or male.
        age: an :class:`AgeBand`.
        projection: a :class:`Projection`, PA or AP.
        stature: factor of all lengths, about 0.9 to 1.1.
        habitus: 0 lean to 1 heavy: the soft tissue around the rib cage.
        breast: factor of the breasts' size; 0 for none.
        rotation: degrees about the vertical axis.
        shift: how far the chest is off the image's centre, x and y in mm.
        inspiration: -1 shallow to 1 deep: the height of the diaphragm.
        heart: factor of the heart's size.
        lung_density: attenuation of the lung, relative to water.
        field_of_view: the detector's side in mm.
        exposure: mean quanta a mm^2 behind the unattenuated beam.
        grid_ratio: 0 no anti-scatter grid, 1 a good one.
        contrast: steepness of the display curve, about 0.8 to 1.3.
        brightness: shift of the display window, in windows; above 0 is brighter.
        collimation: width of the shuttered border on the left, top, right and bottom, in mm.
        devices: what lies on or in the chest.

    >>> sample_patient(3) == sample_patient(3)
    True
    """

    seed: int
    sex: Sex = Sex.MALE
    age: AgeBand = AgeBand.MIDDLE
    projection: Projection = Projection.PA
    stature: float = 1.0
    habitus: float = 0.4
    breast: float = 0.0
    rotation: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    inspiration: float = 0.0
    heart: float = 1.0
    lung_density: float = 0.26
    field_of_view: float = 400.0
    exposure: float = 1e6
    grid_ratio: float = 0.6
    contrast: float = 1.0
    brightness: float = 0.0
    collimation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    devices: tuple[Device, ...] = (Device.MARKER,)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise OptionError(f"the seed {self.seed}", expected="a whole number, 0 or above")


def sample_patient(seed: int) -> Patient:
    """Draw a patient; the same seed gives the same patient.

    >>> sample_patient(1) == sample_patient(2)
    False
    """
    draw = generator(seed, "patient")
    sex = Sex.FEMALE if draw.random() < 0.45 else Sex.MALE
    projection = Projection.PA if draw.random() < 0.6 else Projection.AP
    ap = projection is Projection.AP
    stature = float(np.clip(draw.normal(0.95 if sex is Sex.FEMALE else 1.02, 0.04), 0.85, 1.12))
    return Patient(
        seed=seed,
        sex=sex,
        age=list(AgeBand)[draw.choice(3, p=[0.3, 0.4, 0.3])],
        projection=projection,
        stature=stature,
        habitus=float(draw.beta(2.5, 2.5)),
        breast=float(draw.uniform(0.5, 1.2)) if sex is Sex.FEMALE else 0.0,
        rotation=float(np.clip(draw.normal(0, 5.0 if ap else 2.5), -12, 12)),
        shift=(float(draw.normal(0, 6)), float(draw.normal(0, 8))),
        inspiration=float(np.clip(draw.normal(-0.4 if ap else 0.2, 0.4), -1, 1)),
        heart=float(np.clip(draw.normal(0.97, 0.05), 0.85, 1.07)),
        lung_density=float(draw.uniform(0.18, 0.3)),
        field_of_view=float(draw.uniform(350, 405) * (0.4 + 0.6 * stature)),
        exposure=float(10 ** draw.uniform(4.6, 5.4)),
        grid_ratio=float(draw.uniform(0.2, 0.5) if ap else draw.uniform(0.5, 0.9)),
        contrast=float(draw.uniform(0.75, 1.15)),
        brightness=float(np.clip(draw.normal(-0.02, 0.13), -0.3, 0.27)),
        collimation=_collimation(draw),
        devices=_devices(draw, ap),
    )


def _collimation(draw: np.random.Generator) -> tuple[float, float, float, float]:
    shut = draw.random(4) < 0.2
    left, top, right, bottom = (float(width) for width in np.where(shut, draw.uniform(2, 18, 4), 0.0))
    return left, top, right, bottom


def _devices(draw: np.random.Generator, ap: bool) -> tuple[Device, ...]:
    chances = {
        Device.WIRES: 0.5 if ap else 0.06,
        Device.PACEMAKER: 0.06,
        Device.MARKER: 0.95,
        Device.TEXT: 0.5 if ap else 0.1,
    }
    drawn = draw.random(len(chances))
    return tuple(
        device for (device, chance), value in zip(chances.items(), drawn, strict=True) if value < chance
    )
