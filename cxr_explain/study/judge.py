"""The measures of one map, by the names they have in the tables; NaN where one is not estimable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxr_explain.cam.fusion import FusedMaps
from cxr_explain.measures.adcc import adcc
from cxr_explain.measures.faithfulness import deletion, insertion
from cxr_explain.measures.fused import kept_evidence
from cxr_explain.measures.road import road
from cxr_explain.measures.subject import Explain
from cxr_explain.study.plan import Plan
from cxr_explain.study.seen_case import SeenCase

Numbers = dict[str, float]

IOBB = 0.25
"""T(IoBB) of the tables: a map finds the boxes where its IoBB exceeds it."""


def faithfulness(
    explain: Explain,
    seen: SeenCase,
    indices: Sequence[int],
    maps: Tensor,
    plan: Plan,
) -> list[Numbers]:
    """What the scores of some classes do when the image loses, or shows only, what their maps mark.

    Args:
        explain: the rule that made the maps; it is asked again for the masked image.
        seen: the case as the model sees it.
        indices: outputs of the K classes.
        maps: (K, I, J) class maps.
        plan: how many steps the curves have, and what ROAD removes.
    """
    inputs, classes, maps = seen.tensor[None], torch.tensor([list(indices)]), maps[None]
    score = seen.score
    gone = deletion(score, inputs, classes, maps, steps=plan.steps, seed=seen.seed)
    come = insertion(score, inputs, classes, maps, steps=plan.steps, seed=seen.seed)
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
        columns["ROAD"] = road(score, inputs, classes, maps, percentages=plan.percentages, seed=seen.seed)
    return [{name: float(column[0, k]) for name, column in columns.items()} for k in range(len(indices))]


def localisation(seen: SeenCase, name: str, class_map: NDArray[np.float32]) -> Numbers:
    """Where one class map (I, J) lies, against the finding of the same pathology."""
    found = seen.ruler.class_map(name, class_map)
    numbers = {
        "peak": found.peak_hit,
        "peak, tolerant": found.tolerant_hit,
        "peak, at random": found.random_tolerant_hit,
        "peak, at the centre": found.centre_tolerant_hit,
        "peak, strict, at the centre": found.centre_hit,
        "IoU": found.iou,
        "energy": found.energy,
        "energy, spread evenly": found.random_hit,
    }
    if seen.case.boxes:
        over = None if found.iobb is None else float(found.iobb > IOBB)
        numbers |= {"IoBB": found.iobb, f"T(IoBB) {IOBB:g}": over}
    return _numbers(numbers)


def sharing(seen: SeenCase, top: Sequence[int], fused: FusedMaps) -> Iterator[tuple[str, Numbers]]:
    """How a fused map of some classes shares the radiograph out, for each pathology that is there.

    Args:
        seen: the case as the model sees it.
        top: outputs of the K classes, the most probable first.
        fused: fused map and class maps of this one image.
    """
    maps = fused.maps[0].numpy()
    found = seen.ruler.fused_map(maps, [seen.names[index] for index in top])
    kept = kept_evidence(maps, fused.class_maps[0].numpy())
    for name, index in seen.present.items():
        share = found.shares[name]
        yield (
            name,
            _numbers(
                {
                    "outside": found.outside,
                    "outside, magnitude": found.outside_magnitude,
                    "winner entropy": found.winner_entropy,
                    "class share": share.whole,
                    "class share, own pixels": share.own,
                    "fused peak, tolerant": share.tolerant_hit,
                    "survived": kept[list(top).index(index)].survived if index in top else None,
                }
            ),
        )


def _numbers(found: Mapping[str, float | None]) -> Numbers:
    return {name: np.nan if value is None else value for name, value in found.items()}
