"""Findings: what is asked of the renderer, and how often each occurs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from cxr_explain.errors import OptionError
from cxr_explain.pathologies import canonical_pathology
from cxr_explain.phantom.seeds import generator


class Side(StrEnum):
    """The patient's side; the patient's left is on the right of the image.

    >>> Finding("Effusion", seed=1, side=Side.LEFT).side.value
    'left'
    """

    RIGHT = "right"
    LEFT = "left"
    BOTH = "both"


PREVALENCE: Mapping[str, float] = MappingProxyType(
    {
        "Atelectasis": 0.15,
        "Cardiomegaly": 0.15,
        "Consolidation": 0.15,
        "Edema": 0.1,
        "Effusion": 0.18,
        "Emphysema": 0.1,
        "Hernia": 0.08,
        "Mass": 0.12,
        "Nodule": 0.15,
        "Pneumothorax": 0.12,
    }
)
"""The findings that can be rendered, and how often :func:`sample_findings` draws each."""

FINDINGS: tuple[str, ...] = tuple(PREVALENCE)

_ALWAYS_BOTH = frozenset({"Cardiomegaly", "Edema", "Emphysema", "Hernia"})


@dataclass(frozen=True)
class Finding:
    """One finding; a change of the chest's 3-D model.

    Args:
        pathology: one of :data:`FINDINGS`.
        seed: decides place and shape.
        side: side of the chest; findings of the midline and of both lungs are always `Side.BOTH`.
        size: 0 the smallest to 1 the largest that is rendered.
        contrast: 0 faint to 1 dense.
        count: number of lesions; only nodules come in numbers.

    >>> Finding("nodule", seed=1, count=3).pathology
    'Nodule'
    """

    pathology: str
    seed: int = 0
    side: Side = Side.RIGHT
    size: float = 0.5
    contrast: float = 0.5
    count: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "pathology", canonical_finding(self.pathology))
        object.__setattr__(self, "side", Side.BOTH if self.pathology in _ALWAYS_BOTH else Side(self.side))
        for name in ("size", "contrast"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"the {name} {getattr(self, name)}", expected=f"a {name} from 0 to 1")
        if self.count < 1:
            raise OptionError(f"{self.count} lesions", expected="1 or more")


def canonical_finding(name: str) -> str:
    """The name of a finding that can be rendered.

    Raises:
        OptionError: no such finding.

    >>> canonical_finding("pleural effusion")
    'Effusion'
    """
    pathology = canonical_pathology(name)
    if pathology not in PREVALENCE:
        raise OptionError(f"the finding {name!r}", expected=f"one of {', '.join(FINDINGS)}")
    return pathology


def sample_findings(seed: int, *, prevalence: Mapping[str, float] = PREVALENCE) -> tuple[Finding, ...]:
    """Draw the findings of a phantom, each from its own stream, independent of the patient.

    Args:
        seed: usually the patient's; the streams differ.
        prevalence: the chance of each finding; a finding that is not named does not occur.

    Raises:
        OptionError: no such finding.

    >>> [finding.pathology for finding in sample_findings(0, prevalence={"Mass": 1.0, "Edema": 0.0})]
    ['Mass']
    """
    drawn = (_sample(seed, canonical_finding(name), chance) for name, chance in prevalence.items())
    return tuple(finding for finding in drawn if finding is not None)


def _sample(seed: int, pathology: str, chance: float) -> Finding | None:
    draw = generator(seed, "findings", pathology)
    if draw.random() >= chance:
        return None
    sides, weights = list(Side), [0.42, 0.42, 0.16]
    if pathology in {"Nodule", "Mass", "Pneumothorax"}:  # a lesion has one place; "both" is for the rest
        sides, weights = sides[:2], [0.5, 0.5]
    count = int(np.searchsorted([0.6, 0.8, 0.92], draw.random()) + 1) if pathology == "Nodule" else 1
    return Finding(
        pathology,
        seed=int(draw.integers(2**31)),
        side=sides[draw.choice(len(sides), p=weights)],
        size=float(draw.random()),
        contrast=float(draw.random()),
        count=count,
    )
