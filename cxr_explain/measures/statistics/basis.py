"""How many patients a statistic rests on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cxr_explain.support.prose import counted

LEAST_PATIENTS = 10
"""Patients that an interval takes; for an area under a curve, positive ones, and negative ones."""

LEAST_FOR_SHARES = 8
"""Patients that the interval of a share of images takes, as of those that are called positive."""


@dataclass(frozen=True)
class Basis:
    """What a statistic from 0 to 1 rests on.

    Args:
        patient: what the patients that it rests on are called, such as "positive patient".
        patients: how many they are.
        effective: how many would tell as much if each had equally many images: as sure as the statistic is
            where the images of a patient are alike.
        images: number of images that each are hits or misses; None where values lie between, whose spread
            must be seen to be known.
        least: patients that an interval takes.
        bounded: whether all values lie from 0 to 1.
        withheld: why no interval is given, however many they are; None where one may be.

    >>> found = Basis.of(np.array([3, 1, 0]), "positive patient")
    >>> found.patients, found.effective, found.images, found.lacks
    (2, 1.6, 4, '2 positive patients')
    """

    patient: str
    patients: int
    effective: float
    images: int | None
    least: int = LEAST_PATIENTS
    bounded: bool = True
    withheld: str | None = None

    @classmethod
    def of(cls, images: NDArray[Any], patient: str, *, of_hits: bool = True, **more: Any) -> Self:
        """Count.

        Args:
            images: (groups,) number of images of each patient that the statistic rests on.
            patient: what these patients are called.
            of_hits: whether each image is a hit or a miss.
            more: other fields of the class.

        Source:
            Kish, Survey Sampling (1965), section 11.7, for `effective`: (sum n)^2 / sum n^2.
        """
        sizes = np.asarray(images, np.float64)
        total, squares = float(sizes.sum()), float((sizes**2).sum())
        return cls(
            patient,
            int(np.count_nonzero(sizes)),
            total * total / squares if squares else 0.0,
            int(total) if of_hits else None,
            **{"least": LEAST_FOR_SHARES if of_hits else LEAST_PATIENTS, **more},
        )

    @property
    def lacks(self) -> str | None:
        """Why no interval is given, in few words; None where one may be."""
        if self.withheld is not None or self.patients >= self.least:
            return self.withheld
        return counted(self.patients, self.patient, self.patient.replace("patient", "patients"))
