"""Whoever measures where a map lies gets the same numbers for the same case: there is one ruler."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch

from cxr_explain import Explainer, Geometry, fuse
from cxr_explain.audit.localisation import locate
from cxr_explain.cam.evidence import Evidence
from cxr_explain.cam.fusion import FusedMaps
from cxr_explain.options import Fit
from cxr_explain.pathologies import ReferenceBox
from cxr_explain.phantom import render, sample_patient, to_radiograph
from cxr_explain.radiograph import Radiograph
from cxr_explain.study.cases import Case
from cxr_explain.study.judge import localisation, sharing
from cxr_explain.study.measure import measure as measure_cases
from cxr_explain.study.plan import PRESENT, Contender, validity_plan
from cxr_explain.study.seen_case import SeenCase, show

Numbers = Mapping[str, float]

WHERE = ("peak hit", "tolerant hit", "energy", "IoU", "IoBB")
SHARED = ("class share", "class share, own")


@dataclass(frozen=True)
class Example:
    """One radiograph, what is known of it, a class map of each finding, and all of them fused.

    Args:
        explainer: the model, and the fit.
        seen: the case as the model saw it.
        boxes: that outline some findings.
        masks: that outline the others.
        maps: by pathology, (I, J).
        fused: of the pathologies in `fusion`.
        fusion: pathologies by rank.
    """

    explainer: Explainer
    seen: SeenCase
    boxes: tuple[ReferenceBox, ...]
    masks: Mapping[str, np.ndarray]
    maps: Mapping[str, np.ndarray]
    fused: FusedMaps
    fusion: tuple[str, ...]

    @property
    def geometry(self) -> Geometry:
        return self.seen.geometry


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer.from_pretrained("phantom")


@cache
def plain() -> Radiograph:
    return to_radiograph(render(sample_patient(10_000_000), size=288))


def example(
    explainer: Explainer, margins: tuple[int, int], fit: Fit, seed: int, fusion: tuple[str, ...]
) -> Example:
    """A phantom with margins, so that it is not square; Mass is boxed, the others have masks."""
    draws = np.random.default_rng(seed)
    pixels = np.pad(plain().pixels, [(margin, margin) for margin in margins], constant_values=-1024)
    radiograph = replace(Radiograph.from_array(pixels, id="a"), phantom=True)
    height, width = pixels.shape
    boxes = tuple(
        ReferenceBox("Mass", x * width, y * height, 0.2 * width, 0.15 * height)
        for x, y in draws.uniform(0.1, 0.6, (2, 2))
    )
    masks = {name: np.zeros(pixels.shape, bool) for name in ("Effusion", "Cardiomegaly")}
    masks["Effusion"][height // 2 :, width // 3 : width // 2] = True
    masks["Cardiomegaly"][height // 3 : height * 3 // 4, width * 2 // 5 : width * 2 // 3] = True
    y, x = np.arange(height)[:, None] + 0.5, np.arange(width) + 0.5
    boxed = np.any(
        [(b.x <= x) & (x < b.x + b.width) & (b.y <= y) & (y < b.y + b.height) for b in boxes],
        axis=0,
    )
    case = Case("a", "a", radiograph, {"Mass": boxed, **masks}, boxes)
    maps = {name: draws.normal(size=(9, 9)).astype(np.float32) for name in case.masks}
    fused = fuse(torch.from_numpy(np.stack([maps[name] for name in fusion]))[None])
    fitted = Explainer(explainer.classifier, fit=fit)
    return Example(fitted, show(fitted, case, 0), boxes, masks, maps, fused, fusion)


def negative(one: Example) -> Example:
    """The same without any evidence."""
    maps = {name: -np.abs(class_map) - 1 for name, class_map in one.maps.items()}
    fused = fuse(torch.from_numpy(np.stack([maps[name] for name in one.fusion]))[None])
    return replace(one, maps=maps, fused=fused)


def by_study(one: Example) -> dict[str, Numbers]:
    seen = one.seen
    shares = dict(sharing(seen, [seen.present[name] for name in one.fusion], one.fused))
    found = {}
    for name, class_map in one.maps.items():
        where, share = localisation(seen, name, class_map), shares[name]
        found[name] = {
            "peak hit": where["peak"],
            "tolerant hit": where["peak, tolerant"],
            "energy": where["energy"],
            "IoU": where["IoU"],
            "IoBB": where["IoBB"],
            "class share": share["class share"],
            "class share, own": share["class share, own pixels"],
        }
    return found


def by_audit(one: Example) -> dict[str, Numbers]:
    """An audit fuses nothing that it measures: it has no class share."""
    found = locate(one.maps, one.geometry, boxes=one.boxes, masks=one.masks)
    return {
        name: {
            measure: math.nan if value is None else value
            for measure, value in zip(
                WHERE,
                (each.peak_hit, each.tolerant_hit, each.energy, each.iou, each.iobb),
                strict=True,
            )
        }
        for name, each in found.items()
    }


def by_validity(one: Example) -> dict[str, Numbers]:
    """As its plan measures, with these maps for a rule; it has no boxes, and fuses what is there."""

    def given(evidence: Evidence) -> torch.Tensor:
        names = [one.seen.names[int(index)] for index in evidence.classes[0]]
        empty = np.zeros((9, 9), np.float32)
        return torch.from_numpy(np.stack([one.maps.get(name, empty) for name in names]))[None]

    plan = replace(validity_plan(), contenders=(Contender("given", given),), counterfactual=0)
    tables = measure_cases(one.explainer, [one.seen.case], plan)
    columns = {"peak hit": "peak", "tolerant hit": "peak, tolerant", "energy": "energy", "IoU": "IoU"}
    found = {
        row["pathology"]: {measure: row[column] for measure, column in columns.items()}
        for row in tables.alone
        if row["method"] == "given"
    }
    chosen = [row for row in tables.fused if (row["K"], row["normalisation"]) == (PRESENT, "joint")]
    for row in chosen if set(one.fusion) == set(one.maps) else ():
        shares = row["class share"], row["class share, own pixels"]
        found[row["pathology"]] |= dict(zip(SHARED, shares, strict=True))
    return found


MEASURED_BY: Mapping[str, Callable[[Example], dict[str, Numbers]]] = {
    "study": by_study,
    "audit": by_audit,
    "validity": by_validity,
}
"""All that measure where a map lies; each may leave out what it does not measure."""


MARGINS = ((0, 61), (40, 0), (0, 0))
FITS: tuple[Fit, ...] = ("crop", "pad")
FUSIONS = (("Effusion", "Mass"), ("Mass", "Effusion", "Cardiomegaly"))
QUICK = {
    *((True, margin, fit, fit, (margin + fit) % 2) for margin in range(3) for fit in range(2)),
    *((False, margin, margin % 2, 1 - margin % 2, margin % 2) for margin in range(3)),
}
"""What is looked at by default: every margin in every fit, and each without evidence once."""

CHOICES = [
    pytest.param(
        evidence, MARGINS[margin], FITS[fit], seed, FUSIONS[fusion],
        marks=() if (evidence, margin, fit, seed, fusion) in QUICK else pytest.mark.slow,
    )
    for evidence, margin, fit, seed, fusion in product((True, False), range(3), range(2), range(2), range(2))
]  # fmt: skip


@pytest.mark.parametrize(("evidence", "margins", "fit", "seed", "fusion"), CHOICES)
def test_one_case_has_one_number(
    explainer: Explainer,
    margins: tuple[int, int],
    fit: Fit,
    seed: int,
    fusion: tuple[str, ...],
    evidence: bool,
) -> None:
    one = example(explainer, margins, fit, seed, fusion)
    one = one if evidence else negative(one)
    found = {name: measured(one) for name, measured in MEASURED_BY.items()}
    for pathology in one.maps:
        for measure in (*WHERE, *SHARED):
            numbers = [each[pathology][measure] for each in found.values() if measure in each[pathology]]
            assert len(numbers) == _measured(measure, all_fused=len(fusion) == len(one.maps))
            assert numbers == [pytest.approx(numbers[0], rel=0, abs=1e-9, nan_ok=True)] * len(numbers)
            estimable = evidence and (measure != "IoBB" or pathology == "Mass")
            assert math.isnan(numbers[0]) != estimable


def _measured(measure: str, *, all_fused: bool) -> int:
    """By how many: an audit fuses nothing that it measures, and the validity has no boxes."""
    if measure in SHARED:
        return 1 + all_fused
    return 2 if measure == "IoBB" else 3
