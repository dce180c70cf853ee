"""From cases to rows: one for each case, pathology and choice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxr_explain.cam.evidence import Track, silent
from cxr_explain.cam.fusion import FusedMaps, fuse
from cxr_explain.cam.rules import class_maps
from cxr_explain.evaluation.adcc import adcc
from cxr_explain.evaluation.faithfulness import deletion, insertion
from cxr_explain.evaluation.fused import agreement, saliency_outside, winner_entropy
from cxr_explain.evaluation.localisation import (
    centre_hit,
    class_share,
    own_pixels,
    peak_hit,
    random_hit,
    within,
)
from cxr_explain.evaluation.overlap import energy_in_mask, iou, random_energy
from cxr_explain.evaluation.randomisation import cascade
from cxr_explain.evaluation.road import road
from cxr_explain.evaluation.segmentation import segment
from cxr_explain.explainer import Explainer
from cxr_explain.geometry import Geometry
from cxr_explain.models.base import Classifier
from cxr_explain.pathologies import canonical_pathology
from cxr_explain.ranking import rank
from cxr_explain.study.cases import Case, Mask
from cxr_explain.study.plan import Contender, Plan

Row = dict[str, Any]
Maps = NDArray[np.float32]

RANDOM, REFERENCE = "random map", "reference mask"
"""Two contenders that are no rules: the floor, and the ceiling, of every measure."""

_CASES = 8  # in one forward pass


@dataclass(frozen=True)
class Tables:
    """The rows of a study.

    Args:
        alone: each pathology that is there, by its own class map.
        fused: each pathology that is there, by a fused map of the top K.
        ranks: each of the top five, by its part of the fused map: the paper's table 3.
        randomised: the maps of randomised weights beside those of the model.
    """

    alone: list[Row] = field(default_factory=list)
    fused: list[Row] = field(default_factory=list)
    ranks: list[Row] = field(default_factory=list)
    randomised: list[Row] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Question:
    """One case as a model sees it.

    Args:
        case: what is there.
        tensor: (1, S, S).
        geometry: where the model's square lies.
        ranked: indices of all named outputs, the most probable first.
        present: for each pathology that is there and predicted, its index.
        names: of the outputs, canonical.
    """

    case: Case
    tensor: Tensor
    geometry: Geometry
    ranked: tuple[int, ...]
    present: Mapping[str, int]
    names: tuple[str, ...]

    def classes(self, k: int) -> list[int]:
        """The top k, then what is there beyond them."""
        top = list(self.ranked[:k])
        return top + [index for index in self.present.values() if index not in top]


def measure(
    explainer: Explainer,
    cases: Iterable[Case],
    plan: Plan,
    *,
    advance: Callable[[], None] = lambda: None,
    track: Track = silent,
) -> Tables:
    """Measure every contender of a plan on every case.

    Args:
        explainer: its classifier and preprocessing are used; the plan says the rest.
        cases: with at least one finding each; a finding that the classifier does not predict is left out.
        plan: what is compared.
        advance: called after each case.
        track: shows the progress within a batch.

    Raises:
        ModelError: a method that needs another head.
    """
    tables = Tables()
    left = plan.randomised
    for batch in _batches(cases):
        questions = [question for case in batch if (question := _ask(explainer, case)).present]
        if questions:
            _measure_batch(explainer.classifier, questions, plan, tables, track)
            _randomise(explainer.classifier, questions[:left], plan, tables)
            left = max(left - len(questions), 0)
        for _ in batch:
            advance()
    return tables


def _batches(cases: Iterable[Case]) -> Iterator[list[Case]]:
    iterator = iter(cases)
    while batch := list(islice(iterator, _CASES)):
        yield batch


def _ask(explainer: Explainer, case: Case) -> _Question:
    prepared = explainer.prepare(case.radiograph)
    classifier = explainer.classifier
    logits = classifier.logits(prepared.tensor[None])[0].double().tolist()
    named = sum(map(bool, classifier.pathologies))
    ranking = rank(logits, classifier.pathologies, classifier.operating_points, top_k=named)
    names = tuple(canonical_pathology(name) if name else "" for name in classifier.pathologies)
    present = {name: names.index(name) for name in case.masks if name in names}
    ranked = tuple(prediction.index for prediction in ranking.top)
    return _Question(case, prepared.tensor, prepared.geometry, ranked, present, names)


def _measure_batch(
    classifier: Classifier, questions: Sequence[_Question], plan: Plan, tables: Tables, track: Track
) -> None:
    inputs = torch.stack([question.tensor for question in questions])
    most = max(plan.ks)
    lists = [question.classes(most) for question in questions]
    width = max(map(len, lists))
    classes = torch.tensor([each + [each[0]] * (width - len(each)) for each in lists])
    for contender in track(plan.contenders, "rules"):
        explain = partial(_explained, classifier, contender)
        maps = explain(inputs, classes)
        for number, question in enumerate(questions):
            own = maps[number, : len(lists[number])]
            place = {index: at for at, index in enumerate(lists[number])}
            _alone(classifier, explain, question, place, own, contender.name, plan, tables)
            _fused(question, place, own, contender.name, plan, tables)
            _ranks(classifier, explain, question, place, own, contender.name, plan, tables)
    side = int(maps.shape[-1])
    for question in questions:
        _bounds(classifier, question, side, plan, tables)


def _explained(classifier: Classifier, contender: Contender, inputs: Tensor, classes: Tensor) -> Tensor:
    return class_maps(classifier, inputs, classes, method=contender.method, layers=contender.layers)


# -- each class map by itself ----


def _alone(
    classifier: Classifier,
    explain: Callable[[Tensor, Tensor], Tensor],
    question: _Question,
    place: Mapping[int, int],
    maps: Tensor,
    method: str,
    plan: Plan,
    tables: Tables,
) -> None:
    """One row for each pathology that is there."""
    indices = list(question.present.values())
    own = maps[[place[index] for index in indices]]
    faith = _faithfulness(classifier, explain, question.tensor, indices, own, plan)
    for at, name in enumerate(question.present):
        row = {"case": question.case.id, "group": question.case.group, "method": method, "pathology": name}
        row |= question.case.strata(name) | _localised(question, own[at].numpy(), question.case.masks[name])
        tables.alone.append(row | {measure: values[at] for measure, values in faith.items()})


def _bounds(classifier: Classifier, question: _Question, side: int, plan: Plan, tables: Tables) -> None:
    """The floor and the ceiling: random maps, and the reference masks, as coarse as the rules' maps."""
    draws = np.random.default_rng(crc32(question.case.id.encode()))  # the same in every process
    masks = [question.case.masks[name] for name in question.present]
    coarse = np.stack([question.geometry.maps_to_model(mask, side) for mask in masks])
    for method, maps in ((RANDOM, draws.random(coarse.shape)), (REFERENCE, coarse)):
        tensor = torch.from_numpy(np.asarray(maps, np.float32))

        def same(_inputs: Tensor, _classes: Tensor, maps: Tensor = tensor) -> Tensor:
            return maps[None]

        place = {index: at for at, index in enumerate(question.present.values())}
        _alone(classifier, same, question, place, tensor, method, plan, tables)


def _faithfulness(
    classifier: Classifier,
    explain: Callable[[Tensor, Tensor], Tensor],
    tensor: Tensor,
    indices: Sequence[int],
    maps: Tensor,
    plan: Plan,
) -> dict[str, NDArray[np.float64]]:
    """By measure, one number for each class; NaN where it is not estimable."""
    inputs, classes = tensor[None], torch.tensor([list(indices)])
    maps = maps[None]
    score = partial(classifier.logits, batch_size=32)
    gone = deletion(score, inputs, classes, maps, steps=plan.steps)
    come = insertion(score, inputs, classes, maps, steps=plan.steps)
    parts = adcc(score, explain, inputs, classes, maps)
    return {
        "DAUC": gone.area[0],
        "IAUC": come.area[0],
        "DC": gone.correlation[0],
        "IC": come.correlation[0],
        "average drop": parts.average_drop[0],
        "increase": parts.increase[0],
        "coherency": parts.coherency[0],
        "complexity": parts.complexity[0],
        "ADCC": parts.adcc[0],
        "ROAD": road(score, inputs, classes, maps, percentages=plan.percentages)[0],
    }


def _localised(question: _Question, class_map: Maps, mask: Mask) -> dict[str, float]:
    """Where one class map lies, in the radiograph's pixels that the model saw."""
    seen = _seen(question.geometry)
    saliency = question.geometry.maps_to_radiograph(class_map)[seen]
    cell = question.geometry.side / max(class_map.shape)
    inside, near = mask[seen], within(mask, 0.5 * cell)[seen]
    return {
        "peak": _number(peak_hit(saliency, inside)),
        "peak, tolerant": _number(peak_hit(saliency, near)),
        "peak, random": _number(random_hit(near)),
        "peak, centre": _number(centre_hit(near)),
        "IoU": _number(iou(segment(np.maximum(saliency, 0)), inside)),
        "energy": _number(energy_in_mask(saliency, inside)),
        "energy, even": _number(random_energy(inside)),
    }


def _seen(geometry: Geometry) -> tuple[slice, slice]:
    left, top, right, bottom = geometry.seen_box
    return np.s_[top:bottom, left:right]


def _number(value: float | None) -> float:
    return np.nan if value is None else value


# -- the fusion of the top K ----


def _fused(
    question: _Question, place: Mapping[int, int], maps: Tensor, method: str, plan: Plan, tables: Tables
) -> None:
    """One row for each K, normalisation, activation, and pathology that is there."""
    for k in plan.ks:
        top = question.ranked[:k]
        ranked = maps[[place[index] for index in top]][None]
        for normalisation in plan.normalisations:
            for activation in plan.activations:
                fused = fuse(ranked, normalisation=normalisation, activation=activation)
                row = {
                    "case": question.case.id,
                    "group": question.case.group,
                    "method": method,
                    "K": k,
                    "normalisation": normalisation,
                    "activation": activation,
                }
                tables.fused.extend(row | of_one for of_one in _of_fused(question, top, fused))


def _of_fused(question: _Question, top: Sequence[int], fused: FusedMaps) -> Iterator[Row]:
    seen = _seen(question.geometry)
    maps = question.geometry.maps_to_radiograph(fused.maps[0].numpy())[(slice(None), *seen)]
    cell = question.geometry.side / max(fused.maps.shape[-2:])
    masks = {name: mask[seen] for name, mask in question.case.masks.items()}
    every = list(masks.values())
    shared = {
        "outside": _number(saliency_outside(maps, every)),
        "outside, magnitude": _number(saliency_outside(np.abs(maps), every)),
        "winner entropy": _number(winner_entropy(maps, normalised=True)),
    }
    kept = agreement(fused.maps[0].numpy(), fused.class_maps[0].numpy())
    for name, index in question.present.items():
        row = {"pathology": name, "ranked": index in top} | question.case.strata(name) | shared
        own = own_pixels(np.stack(every), list(masks).index(name))
        if index not in top:
            yield row | {"class share": 0.0, "own share": 0.0 if own.any() else np.nan, "peak, tolerant": 0.0}
            continue
        at = list(top).index(index)
        yield row | {
            "class share": _number(class_share(maps, at, masks[name])),
            "own share": _number(class_share(maps, at, own)),
            "peak, tolerant": _number(peak_hit(maps[at], within(masks[name], 0.5 * cell))),
            "survived": _number(kept[at].survived),
        }


def _ranks(
    classifier: Classifier,
    explain: Callable[[Tensor, Tensor], Tensor],
    question: _Question,
    place: Mapping[int, int],
    maps: Tensor,
    method: str,
    plan: Plan,
    tables: Tables,
) -> None:
    """The paper's table 3 with the classes that were meant: each of the top five, by its part of the map."""
    if method not in plan.ranked:
        return
    top = list(question.ranked[: max(plan.ks)])
    layer = fuse(maps[[place[index] for index in top]][None]).maps[0]
    faith = _faithfulness(classifier, explain, question.tensor, top, layer, plan)
    for at, index in enumerate(top):
        row = {
            "case": question.case.id,
            "group": question.case.group,
            "method": method,
            "rank": at + 1,
            "pathology": question.names[index],
            "there": question.names[index] in question.case.masks,
            "shown": bool((layer[at] > 0).any()),
        }
        tables.ranks.append(row | {measure: values[at] for measure, values in faith.items()})


# -- sanity ----


def _randomise(classifier: Classifier, questions: Sequence[_Question], plan: Plan, tables: Tables) -> None:
    """Compare the maps of the top class with those of randomised weights, block by block from the output."""
    if not questions:
        return
    inputs = torch.stack([question.tensor for question in questions])
    classes = torch.tensor([[question.ranked[0]] for question in questions])
    for contender in plan.contenders:
        steps = cascade(classifier.module, partial(_explained, classifier, contender), inputs, classes)
        for step, found in enumerate(steps, start=1):
            for number, question in enumerate(questions):
                tables.randomised.append(
                    {
                        "case": question.case.id,
                        "group": question.case.group,
                        "method": contender.name,
                        "step": step,
                        "layer": found.layer,
                        "Spearman": found.spearman[number, 0],
                        "SSIM": found.ssim[number, 0],
                    }
                )
