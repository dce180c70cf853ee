"""Training examples: pairs of a phantom and the same phantom without one of its findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from benchmarks.phantom_model.settings import INPUT_SIZE, Chests
from benchmarks.phantom_model.store import Rows, filled
from cxr_explain.explaining.preprocessing import prepare
from cxr_explain.phantom.findings import FINDINGS, PREVALENCE, Finding, sample_findings
from cxr_explain.phantom.patient import Patient, sample_patient
from cxr_explain.phantom.render import Phantom, render, to_radiograph
from cxr_explain.phantom.seeds import generator

CELLS = 28
"""Cells along each side of the grid that says where the findings of an example are; no map is finer."""

SIZES = (224, 256, 320)
"""Pixels a side that phantoms are rendered at, so that no one sharpness or noise grain is learned."""


@dataclass(frozen=True, eq=False)
class Examples:
    """N pairs; the second of each lacks one finding of the first.

    Args:
        pixels: (N, 2, S, S) int16 in [-1024, 1024].
        cover: (N, 2, F, I, J) uint8: the share of each cell that a finding's mask covers, in 255ths;
            never 0 where any pixel is covered.
        labels: (N, 2, F) bool.
        removed: (N,) index of the finding that the second image lacks.
    """

    pixels: NDArray[np.int16]
    cover: NDArray[np.uint8]
    labels: NDArray[np.bool_]
    removed: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pixels)


def render_examples(
    chests: Chests, folder: Path, *, jobs: int = 1, say: Callable[[str], None] = lambda _: None
) -> Examples:
    """Pairs of each chest, from a folder that is filled where it is not; a chest is built once for all.

    Args:
        chests: what is rendered.
        folder: where the pairs are kept, and read from as they are needed.
        jobs: processes that render.
        say: takes lines of progress.

    Raises:
        OutputError: a folder of other examples.
    """
    work = partial(_pairs, variants=chests.variants, prevalence=dict(chests.prevalence))
    of = {"chests": asdict(chests), "findings": FINDINGS, "sides": SIZES, "input": INPUT_SIZE, "cells": CELLS}
    return Examples(**filled(folder, of, work, range(chests.patients), jobs=jobs, say=say))


def _pairs(seed: int, *, variants: int, prevalence: Mapping[str, float]) -> Rows:
    patient = sample_patient(seed)
    size = SIZES[seed % len(SIZES)]
    pairs = [_pair(patient, findings, size) for findings in _variants(seed, variants, prevalence)]
    columns = (np.stack(column) for column in zip(*pairs, strict=True))
    return {each.name: column for each, column in zip(fields(Examples), columns, strict=True)}


def _variants(seed: int, n: int, prevalence: Mapping[str, float]) -> Iterator[tuple[Finding, ...]]:
    """Findings from streams of their own; a set that comes out empty gets one of all, in turn."""
    for variant in range(n):
        stream = seed + 1_000_000 * variant
        found = sample_findings(stream, prevalence=prevalence)
        yield found or sample_findings(stream, prevalence={FINDINGS[(seed + variant) % len(FINDINGS)]: 1.0})


def _pair(
    patient: Patient, findings: tuple[Finding, ...], size: int
) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.bool_], int]:
    whole = render(patient, findings, size=size)
    visible = [name for name in whole.pathologies if whole.masks[name].any()]
    removed = visible[generator(findings[0].seed, "removed").integers(len(visible))]
    both = (whole, render(patient, findings, size=size, without=removed))
    cover = np.stack([cover_of(phantom) for phantom in both])
    labels: NDArray[np.bool_] = np.any(cover, axis=(2, 3))
    return np.stack([_input(phantom) for phantom in both]), cover, labels, FINDINGS.index(removed)


def _input(phantom: Phantom) -> NDArray[np.int16]:
    """The very input that the package makes of it."""
    tensor = prepare(to_radiograph(phantom), INPUT_SIZE).tensor
    return tensor[0].round().to(torch.int16).numpy()


def cover_of(phantom: Phantom, cells: int = CELLS) -> NDArray[np.uint8]:
    """(F, I, J) share of each cell under each finding's mask, in 255ths.

    >>> phantom = render(Patient(seed=1), (Finding("Mass", seed=2),), size=64)
    >>> cover_of(phantom, cells=8).any(axis=(1, 2)).nonzero()[0].tolist() == [FINDINGS.index("Mass")]
    True
    """
    cover = np.zeros((len(FINDINGS), cells, cells), np.uint8)
    for name, mask in phantom.masks.items():
        share = F.adaptive_avg_pool2d(torch.from_numpy(mask.astype(np.float32))[None], cells)[0]
        cover[FINDINGS.index(name)] = (share * 255).ceil().to(torch.uint8).numpy()
    return cover


def render_cohort(
    seeds: Sequence[int], folder: Path, *, jobs: int = 1, say: Callable[[str], None] = lambda _: None
) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """Phantoms as :func:`~cxr_explain.phantom.sample_findings` draws them, one for each seed.

    Args:
        seeds: of the phantoms.
        folder: where they are kept, and read from as they are needed.
        jobs: processes that render.
        say: takes lines of progress.

    Returns:
        (N, S, S) pixels, and (N, F) labels: 1, 0, or NaN where another finding hides it.

    Raises:
        OutputError: a folder of other phantoms.
    """
    of = {"prevalence": dict(PREVALENCE), "sides": SIZES, "input": INPUT_SIZE}
    rows = filled(folder, of, _member, seeds, jobs=jobs, say=say)
    return rows["pixels"], rows["labels"]


def _member(seed: int) -> Rows:
    phantom = render(sample_patient(seed), size=SIZES[seed % len(SIZES)])
    labels = np.zeros(len(FINDINGS), np.float32)
    for name, mask in phantom.masks.items():
        labels[FINDINGS.index(name)] = 1 if mask.any() else np.nan
    return {"pixels": _input(phantom)[None], "labels": labels[None]}
