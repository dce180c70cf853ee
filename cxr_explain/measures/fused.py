"""What only a fused map can be asked: how it shares the radiograph out, and what that costs each class.

Fused maps and class maps are (K, I, J) or (K, H, W), best rank first, on one grid: the cells they were
computed on, or the radiograph's pixels. Evidence is what is positive. The colour that a reader sees within a
mask is :func:`cxr_explain.measures.localisation.class_share`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from cxr_explain.errors import OptionError
from cxr_explain.options import check_option
from cxr_explain.support.arrays import Map, as_maps, as_mask, evidence

Weight = Literal["saliency", "cells"]
"""Each class counts by its saliency, or by the cells where it is the strongest."""


@dataclass(frozen=True)
class KeptEvidence:
    """One class of a fused map beside the same class's own map.

    Args:
        cosine: cosine similarity of the two maps' positive parts, 0 to 1; None where one of them is empty.
        spearman: rank correlation of the two positive parts over all cells, ties at their mean rank, -1 to 1;
            None where one of them is constant.
        survived: share of the class's own positive evidence in the cells that the fused map left to it; None
            where it has no positive evidence.
    """

    cosine: float | None
    spearman: float | None
    survived: float | None


def winner_shares(maps: ArrayLike, *, weight: Weight = "saliency") -> NDArray[np.float64] | None:
    """How much of a fused map each class has.

    Args:
        maps: (K, I, J), a fused map by class.
        weight: "saliency": the class's share of all positive saliency. "cells": its share of the cells with
            evidence, each of which counts for its strongest class, of equals for the better rank.

    Returns:
        (K,), of sum 1; None where there is no evidence at all.

    Raises:
        OptionError: another weight or shape, or maps that are not finite.

    >>> winner_shares([[[3.0, 0.0]], [[0.0, 1.0]]]).tolist()
    [0.75, 0.25]
    >>> winner_shares([[[3.0, 0.0]], [[0.0, 1.0]]], weight="cells").tolist()
    [0.5, 0.5]
    """
    check_option("weight", weight, Weight)
    shown = evidence(as_maps(maps))
    if not shown.any():
        return None
    if weight == "saliency":
        amounts = shown.sum(axis=(1, 2))
    else:
        winner = shown.argmax(axis=0)[shown.any(axis=0)]
        amounts = np.bincount(winner, minlength=len(shown)).astype(np.float64)
    return np.asarray(amounts / amounts.sum())


def winner_entropy(maps: ArrayLike, *, weight: Weight = "saliency", normalised: bool = False) -> float | None:
    """The entropy of the winner map: 0 where one class has all, log2 K where all K share alike.

    H = -sum over k of p_k log2 p_k, p being the :func:`winner_shares`.

    Args:
        maps: (K, I, J), a fused map by class.
        weight: whether a class counts by its "saliency", or by the "cells" where it is the strongest.
        normalised: divided by log2 K, 0 to 1.

    Returns:
        Bits, unless normalised; None for fewer than two classes, or without any evidence.

    Raises:
        OptionError: another weight or shape, or maps that are not finite.

    Source:
        Shannon, A Mathematical Theory of Communication, Bell System Technical Journal 27 (1948) 379.

    >>> winner_entropy([[[1.0, 0.0]], [[0.0, 1.0]]])
    1.0
    """
    shares = winner_shares(maps, weight=weight)
    if shares is None or len(shares) < 2:
        return None
    some = shares[shares > 0]
    bits = float((some * np.log2(1 / some)).sum())
    return bits / float(np.log2(len(shares))) if normalised else bits


def kept_evidence(fused: ArrayLike, class_maps: ArrayLike) -> tuple[KeptEvidence, ...]:
    """What the fusion keeps of each class: the fused map's classes against the single-class maps.

    Args:
        fused: (K, I, J), the fused map by class, after its activation (equation 6).
        class_maps: (K, I, J), the signed maps that were fused (equation 3); only what is positive counts.

    Returns:
        One for each class. Where no class speaks in another's cells, all are 1 for a fused map with ReLU and
        the joint or per-class norm.

    Raises:
        OptionError: maps of another shape, or that are not finite.

    >>> kept_evidence([[[3.0, 0.0]], [[0.0, 4.0]]], [[[3.0, 0.0]], [[1.0, 4.0]]])[1].survived
    0.8
    """
    own = as_maps(class_maps)
    layers = as_maps(fused, own.shape[1:])
    if len(layers) != len(own):
        raise OptionError(f"a fused map of {len(layers)} classes", expected=f"{len(own)}, as the class maps")
    pairs = zip(_each_scaled(layers), _each_scaled(own), strict=True)
    return tuple(KeptEvidence(_cosine(a, b), _spearman(a, b), _survived(a, b)) for a, b in pairs)


def saliency_outside(maps: ArrayLike, masks: Sequence[ArrayLike]) -> float | None:
    """The share of a fused map's saliency outside every reference mask: how much of it is noise.

    What lies outside may still be a finding that nobody outlined. By chance it is 1 less the share of the
    area that the masks cover.

    Args:
        maps: (K, H, W), a fused map by class.
        masks: (H, W) bool each, of all findings, whether or not their class is fused.

    Returns:
        0 to 1; None without a pixel in any mask, or without any saliency.

    Raises:
        OptionError: shapes that do not fit, or maps that are not finite.

    >>> saliency_outside([[[3.0, 0.0]], [[0.0, 1.0]]], [[[True, False]]])
    0.25
    """
    inside = [as_mask(mask) for mask in masks]
    values = as_maps(maps)
    for mask in inside:
        as_maps(values, mask.shape)
    covered = np.any(inside, axis=0) if inside else np.zeros(values.shape[1:], bool)
    shown = evidence(values)
    if not covered.any() or not shown.any():
        return None
    return float(shown[:, ~covered].sum() / shown.sum())


def _each_scaled(maps: Map) -> list[Map]:
    return [evidence(of_class).ravel() for of_class in maps]


def _cosine(a: Map, b: Map) -> float | None:
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return min(float(a @ b / norms), 1.0) if norms > 0 else None


def _spearman(a: Map, b: Map) -> float | None:
    ranks = [rankdata(values) - (len(values) + 1) / 2 for values in (a, b)]
    norms = np.linalg.norm(ranks[0]) * np.linalg.norm(ranks[1])
    return float(np.clip(ranks[0] @ ranks[1] / norms, -1, 1)) if norms > 0 else None


def _survived(layer: Map, own: Map) -> float | None:
    return float(own[layer > 0].sum() / own.sum()) if own.any() else None
