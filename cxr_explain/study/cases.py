"""Radiographs whose findings are known: phantoms, and files with reference boxes, masks or outlines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import label

from cxr_explain.errors import CxrExplainError
from cxr_explain.loaders import read_radiograph
from cxr_explain.pathologies import ReferenceBox
from cxr_explain.phantom.patient import sample_patient
from cxr_explain.phantom.render import Phantom, render, to_radiograph
from cxr_explain.radiograph import Radiograph
from cxr_explain.reference.standard import ReferenceStandard
from cxr_explain.support.arrays import Mask

SMALL = 0.025
"""A finding below this share of the radiograph is small: a square of 16 % of its side."""

BANDS: Mapping[str, tuple[float, float]] = {
    f"{100 * low:g} to {100 * high:g} %": (low, high)
    for low, high in pairwise((0.0, 0.005, 0.01, 0.025, 0.05, 0.1))
} | {"10 % and more": (0.1, 2.0)}
"""Bands of size by their names: from which share of the radiograph on, and below which."""

TOUCHING = np.ones((3, 3), bool)
"""Pixels of one part touch, at a corner at least."""


@dataclass(frozen=True, eq=False)
class Case:
    """One radiograph and where its findings are.

    Args:
        id: name of the case in the tables.
        group: name of the patient; cases of one group are resampled together.
        radiograph: the pixels.
        masks: mask of each finding, (H, W) bool by canonical pathology; none of them empty.
        boxes: reference boxes, in pixels of the radiograph; a pathology with a box has no other mask.
        hidden: pathologies that were rendered and changed no pixel, because other findings lie over them.
        without: the same phantom without one finding, by that finding's pathology; empty where none was
            asked for.
    """

    id: str
    group: str
    radiograph: Radiograph
    masks: Mapping[str, Mask]
    boxes: tuple[ReferenceBox, ...] = ()
    hidden: tuple[str, ...] = ()
    without: Mapping[str, Radiograph] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the pixels, the masks and the boxes: two cases of one name may differ."""
        known = sha256(self.radiograph.sha256.encode())
        for name, mask in sorted(self.masks.items()):
            known.update(f"{name} {mask.shape}".encode() + np.packbits(mask).tobytes())
        for box in self.boxes:
            known.update(repr(box).encode())
        return known.hexdigest()

    def strata(self, pathology: str) -> dict[str, Any]:
        """What kind of case a finding is: its size, its parts, and the kinds of finding beside it."""
        mask = self.masks[pathology]
        return {
            "size": "small" if mask.mean() < SMALL else "large",
            "share": float(mask.mean()),
            "parts": int(label(mask, structure=TOUCHING)[1]),
            "kinds": len(self.masks),
        }


def phantom_cases(n: int, *, seed: int, size: int = 256, counterfactuals: bool = False) -> Iterator[Case]:
    """Render phantoms that have at least one finding that can be seen.

    Args:
        n: number of phantoms.
        seed: seed of the first phantom tried; the next ones follow.
        size: pixels a side.
        counterfactuals: render each phantom also without each finding in turn; phantoms that have none to be
            seen are cases then, too.

    >>> [case.id for case in phantom_cases(1, seed=10_000_002, size=64)]
    ['phantom-10000002']
    """
    while n > 0:
        phantom = render(sample_patient(seed), size=size)
        masks = {name: mask for name, mask in phantom.masks.items() if mask.any()}
        if masks or counterfactuals:
            yield Case(
                *(f"phantom-{seed}",) * 2,
                to_radiograph(phantom),
                masks,
                hidden=tuple(name for name in phantom.masks if name not in masks),
                without=_without(phantom, masks) if counterfactuals else {},
            )
            n -= 1
        seed += 1


def _without(phantom: Phantom, pathologies: Iterable[str]) -> dict[str, Radiograph]:
    """The same patient, exposure and noise, and all other findings."""
    make = partial(render, phantom.patient, phantom.findings, size=len(phantom.pixels))
    return {name: to_radiograph(make(without=name)) for name in pathologies}


def file_cases(files: Iterable[Path], references: ReferenceStandard) -> Iterator[Case | CxrExplainError]:
    """Read the radiographs whose findings are outlined; a file that cannot be read comes as its error.

    Args:
        files: images.
        references: reference standard with the findings; images that it does not cover are passed over.

    Yields:
        A case, or the error that names the file.
    """
    seen: dict[str, str] = {}
    for path in files:
        if not references.covers(path):
            continue
        try:
            radiograph = read_radiograph(path)
            masks = references.masks(path, radiograph.shape)
            labels = references.labels_for(path, radiograph.shape)
        except CxrExplainError as error:
            yield error.at(path)
            continue
        present = {name: mask for name, mask in masks.items() if mask.any()}
        if present:
            name = _name(path, radiograph, seen)
            boxes = labels.boxes if labels else ()
            yield Case(name, _patient_of(path), radiograph, present, boxes)


def _name(path: Path, radiograph: Radiograph, seen: dict[str, str]) -> str:
    """CheXpert's images all have one of a few names, in folders of patient and study."""
    name = "_".join((*_folders(path), radiograph.id))
    if seen.setdefault(name, radiograph.sha256) != radiograph.sha256:
        name = f"{name}-{radiograph.sha256[:8]}"
    return name


def _folders(path: Path) -> tuple[str, ...]:
    """The folders from CheXpert's patient on."""
    folders = path.parts[:-1]
    starts = [at for at, part in enumerate(folders) if part.startswith("patient") and part[7:].isdigit()]
    return folders[starts[-1] :] if starts else ()


def _patient_of(path: Path) -> str:
    """CheXpert has a folder for each; NIH names an image after patient and follow-up; else each is one."""
    folders = _folders(path)
    if folders:
        return folders[0]
    patient, mark, follow_up = path.stem.partition("_")
    return patient if mark and patient.isdigit() and follow_up.isdigit() else path.stem
