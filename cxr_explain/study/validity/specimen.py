"""Unseen phantoms with all of their counterfactuals, rendered one after the other or in processes.

Nothing here imports torch, so that a process that renders starts quickly and stays small.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from cxr_explain.phantom.patient import sample_patient
from cxr_explain.phantom.render import render, to_radiograph
from cxr_explain.radiograph import Radiograph

UNSEEN = 10_000_000
"""The first seed for measuring; training stays below."""

_AHEAD = 4  # phantoms rendered ahead by each process: enough to keep it busy, few enough for a flat memory


@dataclass(frozen=True, eq=False)
class Specimen:
    """One phantom and its counterfactuals, ready to be shown to a model.

    Args:
        seed: of the patient and the findings.
        radiograph: the phantom.
        masks: by pathology, (H, W) bool, of the findings that can be seen.
        hidden: pathologies that were put in and changed no pixel.
        without: by pathology that can be seen, the same phantom without it.
    """

    seed: int
    radiograph: Radiograph
    masks: Mapping[str, NDArray[np.bool_]]
    hidden: tuple[str, ...]
    without: Mapping[str, Radiograph]


def specimen(seed: int, *, size: int = 256) -> Specimen:
    """Render a phantom, drawn by its seed, and its counterfactuals.

    Args:
        seed: of the patient and the findings.
        size: pixels a side.

    >>> unseen = specimen(UNSEEN + 1, size=64)
    >>> unseen.radiograph.shape, list(unseen.masks) == list(unseen.without)
    ((64, 64), True)
    """
    whole = render(sample_patient(seed), size=size)
    masks = {name: mask for name, mask in whole.masks.items() if mask.any()}
    without = {
        name: to_radiograph(render(whole.patient, whole.findings, size=size, without=name)) for name in masks
    }
    hidden = tuple(name for name in whole.pathologies if name not in masks)
    return Specimen(seed, to_radiograph(whole), masks, hidden, without)


def specimens(seeds: Iterable[int], *, size: int = 256, jobs: int = 1) -> Iterator[Specimen]:
    """Render specimens in the order of their seeds, a few ahead of the caller.

    Args:
        seeds: of the phantoms.
        size: pixels a side.
        jobs: processes; 1 renders in this one.
    """
    work = partial(specimen, size=size)
    if jobs <= 1:
        yield from map(work, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[Specimen]] = deque()
        try:
            for seed in seeds:
                waiting.append(pool.submit(work, seed))
                if len(waiting) > _AHEAD * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # a caller that stops early waits for nothing but what is being rendered
            pool.shutdown(cancel_futures=True)
