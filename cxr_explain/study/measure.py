"""From cases to rows: one for each case, pathology and choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.ndimage import label
from torch import Tensor

from cxr_explain.cam.evidence import Track, silent
from cxr_explain.cam.fusion import fuse
from cxr_explain.cam.rules import forward_passes, maps_of_passes
from cxr_explain.engines.following import following
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.geometry import TOLERANCE
from cxr_explain.measures.randomisation import blocks, cascades
from cxr_explain.measures.robustness import (
    Perturbed,
    flip_equivariance,
    repeatability,
    shift_equivariance,
    under_equalisation,
    under_exposure,
    under_gamma,
    under_noise,
)
from cxr_explain.measures.ruler import FindingRegion
from cxr_explain.measures.similarity import Similarity, unrelated
from cxr_explain.measures.subject import Explain, OnceScored, Score
from cxr_explain.models.base import Classifier
from cxr_explain.phantom.findings import FINDINGS
from cxr_explain.study.cases import TOUCHING, Case
from cxr_explain.study.judge import Numbers, faithfulness, localisation, sharing
from cxr_explain.study.plan import Contender, Plan
from cxr_explain.study.seen_case import SeenCase, show

MeasureRow = dict[str, Any]

RANDOM, REFERENCE = "random map", "reference mask"
"""Two contenders that are no rules: what chance is worth, and what can be reached."""

THERE, ABSENT, HIDDEN = "there", "not there", "hidden"
"""Whether the finding of a rank is there; or hidden, where others lie over it. On radiographs a finding that
the reference does not outline counts as not there."""

UNRELATED = "other images' maps"
"""The step of the randomisation that is none: how alike maps are that have nothing in common."""


@dataclass(frozen=True)
class Tables:
    """The rows of a study.

    Args:
        alone: each pathology that is there, by its own class map.
        fused: each pathology that is there, by a fused map of the top K.
        ranks: each of the top five, by its part of the fused map: the paper's table 3.
        randomised: the maps of randomised weights beside those of the model.
        robust: the maps of the same image with noise, other greys, mirrored, shifted, and once more.
        scores: each pathology that phantoms can have and the model predicts: its logit, and if it is there.
        removed: each pathology that is there: what the logits do when it is taken out of the phantom.
    """

    alone: list[MeasureRow] = field(default_factory=list)
    fused: list[MeasureRow] = field(default_factory=list)
    ranks: list[MeasureRow] = field(default_factory=list)
    randomised: list[MeasureRow] = field(default_factory=list)
    robust: list[MeasureRow] = field(default_factory=list)
    scores: list[MeasureRow] = field(default_factory=list)
    removed: list[MeasureRow] = field(default_factory=list)

    def copy(self, method: str, name: str) -> None:
        """Give the rows of one method to another one, which has the same maps."""
        for rows in (self.alone, self.fused):
            rows.extend([row | {"method": name} for row in rows if row["method"] == method])

    def extend(self, other: Tables) -> None:
        """Take the rows of another study of the same plan."""
        for each in fields(self):
            getattr(self, each.name).extend(getattr(other, each.name))


def measure(
    explainer: Explainer, cases: Sequence[Case], plan: Plan, *, first: int = 0, track: Track = silent
) -> Tables:
    """Measure every contender of a plan on some cases.

    Args:
        explainer: its classifier and preprocessing are used; the plan says the rest.
        cases: a finding that the classifier does not predict is left out, and a case that has no other one
            has only its scores measured.
        plan: what is compared.
        first: how many cases were measured before these; more is measured on the first cases of a study.
        track: shows the progress.

    Raises:
        ModelError: a method that needs another head.
    """
    tables = Tables()
    shown = [show(explainer, case, number) for number, case in enumerate(cases, start=first)]
    seen_cases = [seen for seen in shown if seen.present]
    if seen_cases:
        _measure(explainer.classifier, seen_cases, plan, tables, track)
        for check, first_cases in ((_randomise, plan.randomised), (_disturb, plan.robust)):
            early = [seen for seen in seen_cases if seen.number < first_cases]
            if early:
                check(explainer.classifier, early, plan, tables)
    for seen in shown[: max(plan.counterfactual - first, 0)]:
        _take_out(explainer, seen, tables)
    return tables


def _measure(
    classifier: Classifier, seen_cases: Sequence[SeenCase], plan: Plan, tables: Tables, track: Track
) -> None:
    """The maps of a rule come from one pass for all images; then each image is judged by itself."""
    inputs = torch.stack([seen.tensor for seen in seen_cases])
    lists = [seen.classes(max(plan.ks)) for seen in seen_cases]
    width = max(map(len, lists))
    classes = torch.tensor([each + [each[0]] * (width - len(each)) for each in lists])
    earlier: dict[str, Tensor] = {}
    for contender in track(plan.contenders, "measuring"):
        explain = partial(_explained, classifier, contender)
        maps = explain(inputs, classes).cpu()
        twin = next((name for name, other in earlier.items() if _proportional(maps, other)), None)
        earlier[contender.name] = maps
        if twin is not None:
            tables.copy(twin, contender.name)
        for number, seen in enumerate(seen_cases):
            own = dict(zip(lists[number], maps[number], strict=False))
            if twin is None:
                _alone(partial(explain, seen=seen), seen, own, contender.name, plan, tables)
                _fused(seen, own, contender.name, plan, tables)
            if contender.name in plan.ranked and seen.number < plan.faithful:
                _ranks(partial(explain, seen=seen), seen, own, contender.name, plan, tables)
    side = int(earlier[plan.contenders[0].name].shape[-1])
    for seen in seen_cases:
        _bounds(seen, side, plan, tables)


def _proportional(maps: Tensor, other: Tensor) -> bool:
    """Whether two rules gave the same maps but for one positive factor, which changes no measure.

    Behind global average pooling and a linear layer, CAM, Grad-CAM, XGrad-CAM and HiResCAM do.
    """
    if maps.shape != other.shape:
        return False
    peaks = maps.abs().max(), other.abs().max()
    if not all(peak > 0 for peak in peaks):
        return False
    return bool(torch.allclose(maps / peaks[0], other / peaks[1], rtol=0, atol=1e-5))


def _explained(
    classifier: Classifier,
    contender: Contender,
    inputs: Tensor,
    classes: Tensor,
    seen: SeenCase | None = None,
) -> Tensor:
    """The class maps; the pass that they come from gives the scores, too, which a case keeps."""
    passes = forward_passes(classifier, inputs, contender.layers)
    if seen is not None:
        seen.score.learn(inputs, classifier.odds_of(passes[0].logits))
    return maps_of_passes(classifier, inputs, classes, passes, contender.method, contender.layers)


def _alone(
    explain: Explain,
    seen: SeenCase,
    own: dict[int, Tensor],
    method: str,
    plan: Plan,
    tables: Tables,
) -> None:
    """One row for each pathology that is there."""
    indices = list(seen.present.values())
    maps = torch.stack([own[index] for index in indices])
    faith: list[Numbers] = [{} for _ in indices]
    if seen.number < plan.faithful:
        faith = faithfulness(explain, seen, indices, maps, plan)
    for at, name in enumerate(seen.present):
        row = seen.key | {"method": method, "pathology": name} | seen.case.strata(name)
        tables.alone.append(row | localisation(seen, name, maps[at].numpy()) | faith[at])


def _bounds(seen: SeenCase, side: int, plan: Plan, tables: Tables) -> None:
    """What chance is worth, and the reference masks at the resolution of the maps."""
    indices = list(seen.present.values())
    draws = np.random.default_rng(seen.seed)
    masks = np.stack([seen.case.masks[name] for name in seen.present])
    coarse = torch.from_numpy(seen.geometry.maps_to_model(masks, side))

    def drawn(_: Tensor, classes: Tensor) -> Tensor:
        return torch.from_numpy(draws.random((*classes.shape, side, side), np.float32))

    def known(_: Tensor, classes: Tensor) -> Tensor:
        return coarse[[indices.index(int(index)) for index in classes[0]]][None]

    for method, explain in ((RANDOM, drawn), (REFERENCE, known)):
        maps = explain(seen.tensor[None], torch.tensor([indices]))[0]
        own = dict(zip(indices, maps, strict=True))
        _alone(explain, seen, own, method, plan, tables)


def _fused(seen: SeenCase, own: dict[int, Tensor], method: str, plan: Plan, tables: Tables) -> None:
    """One row for each K, normalisation, activation, and pathology that is there."""
    even = _even_shares(seen) if plan.present else {}
    for k, normalisation, activation in plan.fusions:
        top = _classes(seen, k)
        fused = fuse(
            torch.stack([own[index] for index in top])[None],
            normalisation=normalisation,
            activation=activation,
        )
        chosen = {"method": method, "K": k, "normalisation": normalisation, "activation": activation}
        for name, numbers in sharing(seen, top, fused):
            row = seen.key | chosen | {"pathology": name, "ranked": seen.present[name] in top}
            if plan.present:
                row |= {"1 / K": 1 / len(top), "class share, spread evenly": even[name]}
            tables.fused.append(row | seen.case.strata(name) | numbers)


def _classes(seen: SeenCase, k: int | str) -> list[int]:
    """What is fused, best first: the top K, or what is there."""
    if isinstance(k, int):
        return list(seen.ranked[:k])
    return [index for index in seen.ranked if index in seen.present.values()]


def _even_shares(seen: SeenCase) -> dict[str, float]:
    """The class share of a map that fills every finding evenly, and overlaps in all their colours alike."""
    masks = {name: region.mask for name, region in seen.ruler.regions.items()}
    colours = np.sum(list(masks.values()), axis=0)
    return {name: float((1 / colours[mask]).mean()) if mask.any() else np.nan for name, mask in masks.items()}


def _ranks(
    explain: Explain,
    seen: SeenCase,
    own: dict[int, Tensor],
    method: str,
    plan: Plan,
    tables: Tables,
) -> None:
    """The paper's table 3 with the classes that were meant: each of the top five, by its part of the map."""
    top = list(seen.ranked[: max(plan.ks)])
    layer = fuse(torch.stack([own[index] for index in top])[None]).maps[0]
    faith = faithfulness(explain, seen, top, layer, plan)
    for at, index in enumerate(top):
        row = seen.key | {
            "method": method,
            "rank": at + 1,
            "pathology": seen.names[index],
            "presence": _presence(seen.case, seen.names[index]),
            "shown": float((layer[at] > 0).any()),
        }
        tables.ranks.append(row | faith[at])


def _presence(case: Case, pathology: str) -> str:
    if pathology in case.masks:
        return THERE
    return HIDDEN if pathology in case.hidden else ABSENT


def _take_out(explainer: Explainer, seen: SeenCase, tables: Tables) -> None:
    """What the model says of a phantom, and of the same one without each finding in turn.

    A finding that others hide counts neither as present nor as absent.
    """
    case, classifier = seen.case, explainer.classifier
    names = [name for name in FINDINGS if name in seen.names and name not in case.hidden]
    outputs = [seen.names.index(name) for name in names]
    inputs = [seen.tensor, *(explainer.prepare(case.without[name]).tensor for name in seen.present)]
    whole, *without = classifier.logits(torch.stack(inputs))[:, outputs].double().cpu().numpy()
    for name, output, logit in zip(names, outputs, whole, strict=True):
        point = classifier.operating_points[output]
        tables.scores.append(
            seen.key
            | {"pathology": name, "there": name in case.masks, "logit": float(logit)}
            | {"operating point": np.nan if point is None else point}
        )
    for name, logits in zip(seen.present, without, strict=True):
        at, fall = names.index(name), whole - logits
        others = np.abs(np.delete(fall, at))
        tables.removed.append(
            seen.key
            | {"pathology": name, "logit falls": float(fall[at] > 0), "fall": float(fall[at])}
            | {"others' change": float(others.mean()) if others.size else np.nan}
            | {"cells": _cells(seen.ruler.regions[name]), "millimetres": _diameter(case, name)}
        )


def _cells(region: FindingRegion) -> float:
    """The area of a finding that the model sees, in cells of a map of 28 x 28."""
    cell = TOLERANCE * region.grid.geometry.side
    return float(region.mask.sum() * np.prod(region.grid.spacing) / cell**2)


def _diameter(case: Case, pathology: str) -> float:
    """Of the disc as large as the largest part of a finding, in mm on the detector; NaN without a spacing.

    A part's pixels touch, at a corner at least.
    """
    if case.radiograph.pixel_spacing is None:
        return np.nan
    parts, _ = label(case.masks[pathology], structure=TOUCHING)
    area = np.bincount(parts.ravel())[1:].max() * np.prod(case.radiograph.pixel_spacing)
    return float(2 * np.sqrt(area / np.pi))


def _randomise(classifier: Classifier, seen_cases: Sequence[SeenCase], plan: Plan, tables: Tables) -> None:
    """Compare the maps of the top class with those of weights randomised from the output down.

    Down to the last block, to the one in the middle, and all; in each draw anew.
    """
    inputs, classes = _top(seen_cases)
    classifier = following(classifier)
    explains = [partial(_explained, classifier, contender) for contender in plan.contenders]
    chance: list[Similarity | None] = [None] * len(explains)
    if len(seen_cases) > 1:
        chance = [unrelated(explain(inputs, classes).cpu().numpy()) for explain in explains]
    layers = blocks(classifier.module)
    shown = list(dict.fromkeys((layers[0], layers[(len(layers) - 1) // 2], layers[-1])))
    found = cascades(classifier.module, explains, inputs, classes, draws=plan.draws, compared=shown)
    for contender, apart, steps in zip(plan.contenders, chance, found, strict=True):
        of_layers = [(shown.index(each.layer) + 1, each.seed, each.layer, each) for each in steps]
        others = [] if apart is None else [(0, 0, UNRELATED, apart)]
        for step, draw, layer, left in (*others, *of_layers):
            chosen = {"method": contender.name, "step": step, "layer": layer, "draw": draw}
            for number, seen in enumerate(seen_cases):
                tables.randomised.append(seen.key | chosen | _of_pair(left, number))


_CHANGES: Mapping[str, Callable[[Score, Explain, Tensor, Tensor], Perturbed]] = {
    "noise": under_noise,
    "contrast": under_exposure,
    "gamma": under_gamma,
    "equalised": under_equalisation,
}
"""Changes of grey that leave everything where it is, by the names of their columns."""


def _once(explain: Explain) -> Explain:
    """The same maps, made once of inputs that are asked for again."""
    known: list[tuple[Tensor, Tensor, Tensor]] = []

    def asked(inputs: Tensor, classes: Tensor) -> Tensor:
        for before, of, maps in known:
            if torch.equal(before, inputs) and torch.equal(of, classes):
                return maps
        known.append((inputs.clone(), classes.clone(), explain(inputs, classes)))
        return known[-1][-1]

    return asked


def _disturb(classifier: Classifier, seen_cases: Sequence[SeenCase], plan: Plan, tables: Tables) -> None:
    """Compare the maps of the top class with those of the same image when nothing that matters changes."""
    inputs, classes = _top(seen_cases)
    score = OnceScored(classifier.logits)
    for contender in plan.contenders:
        explain = partial(_explained, classifier, contender)
        again = repeatability(explain, inputs, classes)
        once = _once(explain)
        columns: dict[str, Any] = {}
        for name, change in _CHANGES.items():
            found = change(score, once, inputs, classes)
            columns |= {name: found.similarity.spearman, f"logit, {name}": found.logit_change}
        columns |= {
            "mirrored": flip_equivariance(once, inputs, classes).spearman,
            "shifted": shift_equivariance(once, inputs, classes).spearman,
            "repeated": np.maximum.reduce([again.again, again.alone, again.reversed]),
        }
        for number, seen in enumerate(seen_cases):
            numbers = {name: float(column[number, 0]) for name, column in columns.items()}
            tables.robust.append(seen.key | {"method": contender.name} | numbers)


def _top(seen_cases: Sequence[SeenCase]) -> tuple[Tensor, Tensor]:
    """(B, 1, S, S), and the most probable class of each, (B, 1)."""
    inputs = torch.stack([seen.tensor for seen in seen_cases])
    return inputs, torch.tensor([[seen.ranked[0]] for seen in seen_cases])


def _of_pair(found: Similarity, number: int) -> MeasureRow:
    return {"Spearman": float(found.spearman[number, 0]), "SSIM": float(found.ssim[number, 0])}
