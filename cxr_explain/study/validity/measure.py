"""From an explainer and unseen phantoms to numbers: one row a phantom, one column a finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from cxr_explain.cam.fusion import fuse
from cxr_explain.errors import OptionError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.geometry import Geometry
from cxr_explain.measures.localisation import (
    centre_hit,
    class_share,
    own_pixels,
    peak_hit,
    random_hit,
    within,
)
from cxr_explain.options import Activation, Normalisation
from cxr_explain.pathologies import canonical_pathology
from cxr_explain.phantom.findings import FINDINGS
from cxr_explain.study.validity.specimen import UNSEEN, Specimen, specimens
from cxr_explain.study.validity.summary import (
    CHOICES,
    NORMALISATIONS,
    REGIONS,
    TOP_K,
    Choice,
    Records,
    Validity,
    summarise,
)
from cxr_explain.support.arrays import Mask

_SPECIMENS = 16  # a batch: with their counterfactuals, about 35 images

Row = dict[str, NDArray[np.float64]]
"""By measure, one number for each finding; NaN where it does not apply."""


def measure_validity(
    explainer: Explainer,
    *,
    n: int = 1000,
    seed: int = UNSEEN,
    size: int = 256,
    jobs: int = 1,
    resamples: int = 1000,
    advance: Callable[[], None] = lambda: None,
) -> Validity:
    """Measure a classifier and its maps on phantoms.

    Args:
        explainer: with any classifier that predicts at least one finding of the phantoms; its fit, activation
            and arithmetic are used, and each of the normalisations.
        n: phantoms.
        seed: of the first phantom; the others follow.
        size: pixels a side.
        jobs: processes that render; the model runs in this one.
        resamples: of the bootstrap.
        advance: called after each phantom.

    Raises:
        OptionError: n below 1, or a classifier that predicts no finding of the phantoms.
        ModelError: a classifier that is not as declared.

    The example's model is untrained.

    >>> from cxr_explain import ensure_torchvision_imports; ensure_torchvision_imports()
    >>> import torchxrayvision as xrv
    >>> from cxr_explain.models.xrv import XRVDenseNet
    >>> found = measure_validity(Explainer(XRVDenseNet(xrv.models.DenseNet())), n=2, size=64, resamples=2)
    >>> found.n, len(found.findings), len(found.shares)
    (2, 10, 6)
    """
    if n < 1:
        raise OptionError(f"{n} phantoms", expected="1 or more")
    findings = findings_of(explainer)
    rows: list[Row] = []
    for batch in _batches(specimens(range(seed, seed + n), size=size, jobs=jobs)):
        for row in _rows(explainer, findings, batch):
            rows.append(row)
            advance()
    columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    records = Records(findings, columns, _operating_points(explainer, findings))
    return summarise(
        records,
        model=explainer.classifier.name,
        weights_sha256=explainer.classifier.weights_sha256,
        seed=seed,
        size=size,
        resamples=resamples,
    )


def findings_of(explainer: Explainer) -> tuple[str, ...]:
    """The findings of the phantoms that a classifier predicts.

    Raises:
        OptionError: it predicts none of them.
    """
    predicted = {canonical_pathology(name) for name in explainer.classifier.pathologies if name}
    findings = tuple(name for name in FINDINGS if name in predicted)
    if not findings:
        raise OptionError(
            f"a classifier of {', '.join(sorted(predicted))}",
            expected=f"one that predicts some of {', '.join(FINDINGS)}",
        )
    return findings


def _operating_points(explainer: Explainer, findings: Sequence[str]) -> tuple[float | None, ...]:
    classifier = explainer.classifier
    points = {
        canonical_pathology(name): point
        for name, point in zip(classifier.pathologies, classifier.operating_points, strict=True)
    }
    return tuple(points[name] for name in findings)


def _batches(stream: Iterable[Specimen]) -> Iterator[list[Specimen]]:
    iterator = iter(stream)
    while batch := list(islice(iterator, _SPECIMENS)):
        yield batch


def _rows(explainer: Explainer, findings: Sequence[str], batch: Sequence[Specimen]) -> Iterator[Row]:
    """One forward pass for some phantoms and all of their counterfactuals."""
    images = [
        radiograph for specimen in batch for radiograph in (specimen.radiograph, *specimen.without.values())
    ]
    names = sum(map(bool, explainer.classifier.pathologies))
    explained = iter(explainer.explain_batch(images, top_k=names))
    for specimen in batch:
        whole = next(explained)
        without = dict(zip(specimen.without, islice(explained, len(specimen.without)), strict=True))
        yield _row(explainer.activation, findings, specimen, whole, without)


def _row(
    activation: Activation,
    findings: Sequence[str],
    specimen: Specimen,
    whole: Explanation,
    without: Mapping[str, Explanation],
) -> Row:
    present = [name for name in findings if name in specimen.masks]
    row = _empty_row(findings, specimen)
    row["logit"] = _logits(whole, findings)
    for name in present:
        at = findings.index(name)
        _put(row, at, _falls(row, at, _logits(without[name], findings)))
        _put(row, at, _points(whole.geometry, specimen.masks[name], whole.class_maps[_rank_of(whole, name)]))
    if len(present) > 1:
        for name in present:
            _put(row, findings.index(name), {"even": _even_share(specimen, name)})
    for choice, normalisation in ((c, n) for c in CHOICES for n in NORMALISATIONS if len(present) > 1):
        ranks = _ranks(whole, present, choice)
        maps = _fused(whole, ranks, normalisation, activation)
        for name in present:
            shares = _shares(specimen, name, maps, ranks, _rank_of(whole, name))
            at = findings.index(name)
            _put(row, at, {f"{choice} {normalisation} {region}": share for region, share in shares.items()})
            _put(row, at, {f"{choice} chance": 1 / len(ranks)})
    return row


def _rank_of(explanation: Explanation, pathology: str) -> int:
    return [canonical_pathology(name) for name in explanation.ranking.pathologies].index(pathology)


def _logits(explanation: Explanation, findings: Sequence[str]) -> NDArray[np.float64]:
    return np.array([explanation.ranking[name].logit for name in findings])


def _empty_row(findings: Sequence[str], specimen: Specimen) -> Row:
    empty = np.full(len(findings), np.nan)
    measures = (
        *("fell", "fall", "others", "cells"),
        *(f"{where} {how}" for where in ("peak", "random", "centre") for how in ("strict", "tolerant")),
        *(f"{c} {n} {r}" for c in CHOICES for n in NORMALISATIONS for r in REGIONS),
        *(f"{c} chance" for c in CHOICES),
        "even",
    )
    row = {measure: empty.copy() for measure in measures}
    row["label"] = np.array(
        [np.nan if name in specimen.hidden else float(name in specimen.masks) for name in findings]
    )
    return row


def _put(row: Row, at: int, numbers: Mapping[str, float | None]) -> None:
    for measure, number in numbers.items():
        row[measure][at] = np.nan if number is None else number


def _falls(row: Row, at: int, logits: NDArray[np.float64]) -> dict[str, float | None]:
    """What the removal of one finding did to its logit, and to those of all others that are not hidden."""
    fall = row["logit"] - logits
    others = np.isfinite(row["label"])
    others[at] = False
    change = float(np.abs(fall[others]).mean()) if others.any() else None
    return {"fell": float(fall[at] > 0), "fall": float(fall[at]), "others": change}


def _points(geometry: Geometry, mask: Mask, class_map: NDArray[np.float32]) -> dict[str, float | None]:
    """The pointing game of one class map, strict and within half a cell, its baselines; the mask's area."""
    saliency = geometry.maps_to_radiograph(class_map)
    left, top, right, bottom = geometry.seen_box
    seen = np.s_[top:bottom, left:right]
    cell = geometry.side / max(class_map.shape)
    numbers: dict[str, float | None] = {"cells": float(mask[seen].sum()) / cell**2}
    for how, region in (("strict", mask), ("tolerant", within(mask, 0.5 * cell))):
        numbers[f"peak {how}"] = peak_hit(saliency[seen], region[seen])
        numbers[f"random {how}"] = random_hit(region[seen])
        numbers[f"centre {how}"] = centre_hit(region[seen])
    return numbers


def _ranks(explanation: Explanation, present: Sequence[str], choice: Choice) -> list[int]:
    """Which of the ranked classes are fused, best first."""
    if choice == "present":
        return sorted(_rank_of(explanation, name) for name in present)
    return list(range(min(TOP_K, explanation.ranking.k)))


def _fused(
    explanation: Explanation, ranks: Sequence[int], normalisation: Normalisation, activation: Activation
) -> NDArray[np.float32]:
    """(K, H, W): the fused map by class as a figure shows it, in the radiograph's pixels."""
    class_maps = torch.from_numpy(explanation.class_maps[list(ranks)])[None]
    fused = fuse(class_maps, normalisation=normalisation, activation=activation)
    return explanation.geometry.maps_to_radiograph(fused.maps[0].numpy())


def _even_share(specimen: Specimen, name: str) -> float | None:
    """The class share of a map that fills every mask evenly, and overlaps with every colour that is there."""
    masks = np.stack(list(specimen.masks.values())).astype(np.float64)
    even = masks / np.maximum(masks.sum(axis=0), 1)
    return class_share(even, list(specimen.masks).index(name), specimen.masks[name])


def _shares(
    specimen: Specimen, name: str, maps: NDArray[np.float32], ranks: Sequence[int], rank: int
) -> dict[str, float | None]:
    """The class share of one finding by region; a finding that is not fused has no share in its mask."""
    masks = list(specimen.masks.values())
    regions = {
        "whole": specimen.masks[name],
        "own": own_pixels(masks, list(specimen.masks).index(name)),
    }
    if rank not in ranks:
        return {region: 0.0 if pixels.any() else None for region, pixels in regions.items()}
    return {region: class_share(maps, ranks.index(rank), pixels) for region, pixels in regions.items()}
