"""The measures of one map, by the names they have in the tables; NaN where one is not estimable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxr_explain.cam.fusion import FusedMaps
from cxr_explain.measures.adcc import adcc
from cxr_explain.measures.boxes import box_accuracy, map_boxes, region_boxes
from cxr_explain.measures.faithfulness import deletion, insertion
from cxr_explain.measures.fused import agreement, saliency_outside, winner_entropy
from cxr_explain.measures.localisation import centre_hit, class_share, peak_hit, random_hit
from cxr_explain.measures.overlap import energy_in_mask, iou, random_energy
from cxr_explain.measures.road import road
from cxr_explain.measures.segmentation import segment
from cxr_explain.measures.subject import Explain
from cxr_explain.models.base import Classifier
from cxr_explain.study.plan import Plan
from cxr_explain.study.question import Question

Numbers = dict[str, float]

IOBB = 0.25
"""Of reference boxes: the share of a map's box that must lie in one."""


def faithfulness(
    classifier: Classifier,
    explain: Explain,
    question: Question,
    indices: Sequence[int],
    maps: Tensor,
    plan: Plan,
) -> list[Numbers]:
    """What the scores of some classes do when the image loses, or shows only, what their maps mark.

    Args:
        classifier: whose scores they are.
        explain: made the maps; asked again for the masked image.
        question: the case.
        indices: K classes.
        maps: (K, I, J).
        plan: how many steps.
    """
    inputs, classes, maps = question.tensor[None], torch.tensor([list(indices)]), maps[None]
    score = partial(classifier.logits, batch_size=32)
    gone = deletion(score, inputs, classes, maps, steps=plan.steps, seed=question.seed)
    come = insertion(score, inputs, classes, maps, steps=plan.steps, seed=question.seed)
    parts = adcc(score, explain, inputs, classes, maps)
    columns = {
        "DAUC": gone.area,
        "IAUC": come.area,
        "DC": gone.correlation,
        "IC": come.correlation,
        "average drop": parts.average_drop,
        "increase": parts.increase,
        "coherency": parts.coherency,
        "complexity": parts.complexity,
        "ADCC": parts.adcc,
    }
    if plan.percentages:
        columns["ROAD"] = road(score, inputs, classes, maps, percentages=plan.percentages, seed=question.seed)
    return [{name: float(column[0, k]) for name, column in columns.items()} for k in range(len(indices))]


def localisation(question: Question, name: str, class_map: NDArray[np.float32]) -> Numbers:
    """Where one class map (I, J) lies, against the mask of its pathology."""
    reference = question.fine
    saliency = reference.field.maps(class_map)
    inside, near = reference.masks[name], reference.near[name]
    found = {
        "peak": _number(peak_hit(saliency, inside)),
        "peak, tolerant": _number(peak_hit(saliency, near)),
        "peak, at random": _number(random_hit(near)),
        "peak, at the centre": _number(centre_hit(near)),
        "IoU": _number(iou(segment(np.maximum(saliency, 0)), inside)),
        "energy": _number(energy_in_mask(saliency, inside)),
        "energy, spread evenly": _number(random_energy(inside)),
    }
    if question.case.boxed:
        at_one_level = box_accuracy([(map_boxes(saliency), region_boxes(inside))], thresholds=(IOBB,))
        found[f"T(IoBB) {IOBB:g}"] = _number(at_one_level[0].accuracy)
    return found


def sharing(question: Question, top: Sequence[int], fused: FusedMaps) -> Iterator[tuple[str, Numbers]]:
    """How a fused map of some classes shares the radiograph out, for each pathology that is there.

    A pathology that is not among the classes has no colour in its mask: its share is 0.

    Args:
        question: the case.
        top: the K classes, best first.
        fused: of one image.
    """
    reference = question.coarse
    maps = reference.field.maps(fused.maps[0].numpy())
    every = list(reference.masks.values())
    shared = {
        "outside": _number(saliency_outside(maps, every)),
        "outside, magnitude": _number(saliency_outside(np.abs(maps), every)),
        "winner entropy": _number(winner_entropy(maps, normalised=True)),
    }
    kept = agreement(fused.maps[0].numpy(), fused.class_maps[0].numpy())
    for name, index in question.present.items():
        at = list(top).index(index) if index in top else None
        yield (
            name,
            shared
            | _share(reference.masks[name], reference.own[name], maps, at)
            | {
                "fused peak, tolerant": _peak(reference.near[name], maps, at),
                "survived": np.nan if at is None else _number(kept[at].survived),
            },
        )


def _peak(near: NDArray[np.bool_], maps: NDArray[np.float32], at: int | None) -> float:
    if at is None:
        return 0.0 if near.any() else np.nan
    return _number(peak_hit(maps[at], near))


def _share(
    mask: NDArray[np.bool_], own: NDArray[np.bool_], maps: NDArray[np.float32], at: int | None
) -> Numbers:
    regions = {"class share": mask, "class share, own pixels": own}
    if at is None:
        return {measure: 0.0 if region.any() else np.nan for measure, region in regions.items()}
    return {measure: _number(class_share(maps, at, region)) for measure, region in regions.items()}


def _number(value: float | None) -> float:
    return np.nan if value is None else value
