"""Measure photographs one by one; what was measured before is left as it is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.photographs.frames import curves
from benchmarks.photographs.maps import K, Part, maps_of
from benchmarks.photographs.network import BLACK, Softmax, read_photograph
from cxr_explain.errors import OptionError
from cxr_explain.measures.subject import baseline_of
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.support.whole_file import write_whole

Record = dict[str, Any]


def photographs_in(folder: Path) -> list[Path]:
    """The photographs of the shared folder, and the picture of the paper's figures 5 and 7 at the end."""
    found = sorted((folder / "images").glob("*.jpg")) + sorted(folder.glob("both.png"))
    if not found:
        raise OptionError(f"no photograph in {folder.name}", expected="images/*.jpg, both.png")
    return found


def measure_all(
    photographs: Sequence[Path],
    classifier: PooledLinearClassifier,
    softmax: Softmax,
    into: Path,
    *,
    part: Part,
    steps: int,
) -> Iterator[tuple[str, int]]:
    """Measure those that have no record yet.

    Yields:
        The name of each that was measured, and how many remain.

    Raises:
        OptionError: a folder with records of another number of steps.
    """
    records = into / part
    records.mkdir(parents=True, exist_ok=True)
    _same_steps(into / "settings.json", steps)
    left = [path for path in photographs if not (records / f"{path.stem}.json").exists()]
    for number, path in enumerate(left):
        record = _measured(read_photograph(path), classifier, softmax, part, steps, seed=number_of(path))
        write_whole(records / f"{path.stem}.json", json.dumps(record, allow_nan=False).encode())
        yield path.stem, len(left) - number - 1


def number_of(path: Path) -> int:
    """A photograph's seed of the order among cells of equal value."""
    return int(path.stem) if path.stem.isdecimal() else 0


def read_records(into: Path, part: Part) -> dict[str, Record]:
    """What was measured, by the photograph's name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((into / part).glob("*.json"))}


def top_classes(classifier: PooledLinearClassifier, image: Tensor) -> tuple[Any, Tensor, list[int]]:
    """The forward pass of one image, (C, S, S), the softmax, (N,), and the K most probable classes."""
    forward = classifier.forward(image[None])
    probabilities = forward.logits[0].double().softmax(0)
    return forward, probabilities, probabilities.topk(K).indices.tolist()


def _measured(
    image: Tensor, classifier: PooledLinearClassifier, softmax: Softmax, part: Part, steps: int, seed: int
) -> Record:
    begun = time.process_time()
    forward, every, classes = top_classes(classifier, image)
    maps = maps_of(forward.activations, forward.weights(torch.tensor([classes])), part)
    blurred = baseline_of(image[:, None], "blur")[:, 0]  # each channel by itself
    baselines = {"deletion": torch.full_like(image, BLACK), "insertion": blurred}
    found = curves(
        partial(softmax, classes=classes),
        image,
        baselines,
        torch.cat(list(maps.values())),
        steps=steps,
        seed=seed,
    )
    splits = np.cumsum([len(each) for each in maps.values()])[:-1]
    measures: dict[str, dict[str, list[list[float | None]]]] = {name: {} for name in maps}
    for measure, values in found.measures.items():
        for name, of_map in zip(maps, np.split(values, splits), strict=True):
            measures[name][measure] = _plain(of_map)
    return {
        "classes": classes,
        "probabilities": every[classes].tolist(),
        "empty": {name: (each <= 0).flatten(1).all(1).tolist() for name, each in maps.items()},
        "measures": measures,
        "off": float(np.abs(found.deletion.scores[0, :, 0] - every[classes].numpy()).max()),
        "passes": found.passes,
        "asked": found.asked,
        "cpu_seconds": time.process_time() - begun,
    }


def _plain(values: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if np.isnan(each) else float(each) for each in row] for row in values]


def _same_steps(path: Path, steps: int) -> None:
    if path.exists() and (before := json.loads(path.read_text())["steps"]) != steps:
        raise OptionError(f"steps={steps} beside records of {before}", expected="the same, or another folder")
    write_whole(path, json.dumps({"steps": steps}).encode())
