"""Radiographs whose findings are known: phantoms with exact masks, and images with reference boxes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from cxr_explain.errors import CxrExplainError
from cxr_explain.loaders import read_radiograph
from cxr_explain.pathologies import ReferenceBox, canonical_pathology
from cxr_explain.phantom.patient import sample_patient
from cxr_explain.phantom.render import render, to_radiograph
from cxr_explain.radiograph import Radiograph
from cxr_explain.reference import ReferenceTable

Mask = NDArray[np.bool_]

SMALL = 0.025
"""A finding below this share of the radiograph is small: a square of 16 % of its side."""

_TOUCHING = np.ones((3, 3), bool)


@dataclass(frozen=True, eq=False)
class Case:
    """One radiograph and where its findings are.

    Args:
        id: for the rows.
        group: the patient; cases of one group are resampled together.
        source: "phantoms" or "radiographs".
        radiograph: the pixels.
        masks: by pathology (canonical names), (H, W) bool, none of them empty.
    """

    id: str
    group: str
    source: str
    radiograph: Radiograph
    masks: Mapping[str, Mask]

    def strata(self, pathology: str) -> dict[str, Any]:
        """What kind of case a finding is: its size, its parts, and the kinds of finding beside it."""
        mask = self.masks[pathology]
        return {
            "size": "small" if mask.mean() < SMALL else "large",
            "parts": int(label(mask, structure=_TOUCHING)[1]),
            "kinds": len(self.masks),
        }


def phantom_cases(n: int, *, seed: int, size: int = 256) -> Iterator[Case]:
    """Render phantoms that have at least one finding that can be seen.

    Args:
        n: how many of them.
        seed: of the first one tried.
        size: pixels a side.

    >>> [case.id for case in phantom_cases(1, seed=10_000_002, size=64)]
    ['phantom-10000002']
    """
    while n > 0:
        phantom = render(sample_patient(seed), size=size)
        masks = {name: mask for name, mask in phantom.masks.items() if mask.any()}
        if masks:
            name = f"phantom-{seed}"
            yield Case(name, name, "phantoms", to_radiograph(phantom), masks)
            n -= 1
        seed += 1


def boxed_cases(files: Iterable[Path], references: ReferenceTable) -> Iterator[Case | CxrExplainError]:
    """Read the radiographs that have reference boxes; a file that cannot be read comes as its error.

    Args:
        files: images.
        references: with boxes; images without one are passed over.

    Yields:
        A case whose masks are the boxes, or the error that names the file.
    """
    for path in files:
        if not references.has_boxes(path):
            continue
        try:
            radiograph = read_radiograph(path)
            labels = references.labels_for(path, radiograph.shape)
            masks = _box_masks(labels.boxes if labels else (), radiograph.shape)
        except CxrExplainError as error:
            yield error.at(path)
            continue
        if masks:
            yield Case(radiograph.id, _patient_of(radiograph.id), "radiographs", radiograph, masks)


def _box_masks(boxes: Iterable[ReferenceBox], shape: tuple[int, int]) -> dict[str, Mask]:
    """Pixels whose centre lies in a box of the pathology."""
    masks: dict[str, Mask] = {}
    y, x = np.arange(shape[0])[:, None] + 0.5, np.arange(shape[1])[None] + 0.5
    for box in boxes:
        inside = (box.x <= x) & (x < box.x + box.width) & (box.y <= y) & (y < box.y + box.height)
        name = canonical_pathology(box.pathology)
        masks[name] = masks.get(name, np.zeros(shape, bool)) | inside
    return {name: mask for name, mask in masks.items() if mask.any()}


def _patient_of(name: str) -> str:
    """NIH names images after patient and follow-up; any other name is a patient of its own."""
    patient, mark, follow_up = name.partition("_")
    return patient if mark and patient.isdigit() and follow_up.isdigit() else name
