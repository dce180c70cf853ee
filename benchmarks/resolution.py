"""What finer maps cost, how far their logits lie from the model's own, and whether they point better.

    python -m benchmarks.resolution
    python -m benchmarks.resolution --weights WEIGHTS --images FOLDER --phantoms 1000
    python -m benchmarks.resolution --quick

The cost is measured with random weights, on which it does not depend. With --images, radiographs of a folder
are explained with the weights; with --phantoms, phantoms that no training has seen, whose findings are known.
See benchmarks/README.md for what each number means.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.contestants import TOP_K, build_inputs, build_model
from benchmarks.facts import described
from benchmarks.timing import Clock, measure
from cxr_explain.errors import OptionError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.loaders.read import read_radiograph
from cxr_explain.measures.statistics.bootstrap import MeanEstimate, mean_estimates
from cxr_explain.models.finer import FinerClassifier
from cxr_explain.models.xrv import XRVDenseNet
from cxr_explain.options import Resolution
from cxr_explain.study.cases import Case, phantom_cases
from cxr_explain.study.measure import Tables
from cxr_explain.study.measure import measure as judged
from cxr_explain.study.plan import Plan, contenders
from cxr_explain.study.session import UNSEEN

BANDS = (0.25, 1.0, 4.0)
"""Limits of the size bands: areas of a finding, in cells of a map of 7 x 7."""

CELLS = 49
MEASURES = ("peak", "peak, tolerant", "IoU", "energy", "class share")
PLAN = Plan(
    contenders(["grad-cam"]),
    ks=(TOP_K,),
    normalisations=("joint",),
    activations=("relu",),
    faithful=0,
    randomised=0,
    robust=0,
)

Key = tuple[str, str]
"""A case and a pathology."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    print(f"{described()} {options.clock} clock.\n")
    print("\n".join(_cost(options.clock, 2 if options.quick else options.rounds)))
    if options.images:
        print("\n".join(["", *_logits(options.weights, options.images, options.n)]))
    if options.phantoms:
        print("\n".join(["", *_places(options.weights, options.phantoms)]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Finer maps: cost, logits, places.")
    parser.add_argument("--weights", default="phantom", help="name or file")
    parser.add_argument("--images", type=Path, help="folder of radiographs, for the logits")
    parser.add_argument("--n", type=int, default=60, help="radiographs at most, evenly from the folder")
    parser.add_argument("--phantoms", type=int, default=0, help="number of phantoms, for the places")
    parser.add_argument("--rounds", type=int, default=20, help="rounds of the cost")
    parser.add_argument("--quick", action="store_true", help="two rounds: a smoke test")
    parser.add_argument("--threads", type=int, help="torch's threads; by default torch's own choice")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: use with --threads 1")
    return parser


# -- cost ----


def _cost(clock: Clock, rounds: int) -> list[str]:
    model, inputs = build_model(), build_inputs(1)
    chosen: tuple[Resolution, ...] = ("native", 14, 28)
    explainers = {each: Explainer(XRVDenseNet(model), resolution=each) for each in chosen}

    def bare() -> Tensor:
        with torch.inference_mode():
            return model(inputs)  # type: ignore[no-any-return]

    runs = {str(name): partial(each.explain_inputs, inputs, top_k=TOP_K) for name, each in explainers.items()}
    times, samples = measure(bare, runs, dict.fromkeys(runs, rounds), clock=clock)
    bare_ms = statistics.median(times) * 1e3
    lines = [
        f"One image, {TOP_K} classes, DenseNet-121; bare pass {bare_ms:.1f} ms (median).",
        "",
        "| resolution | median ms | ratio to bare (quartiles) | ratio to native |",
        "|---|---:|---:|---:|",
    ]
    for name, found in samples.items():
        low, high = found.ratio_quartiles
        lines.append(
            f"| {name} | {found.median_ms:.1f} | {found.ratio:.2f} ({low:.2f} to {high:.2f}) "
            f"| {found.ratio / samples['native'].ratio:.2f} |"
        )
    return lines


# -- logits ----


def _logits(weights: str, folder: Path, most: int) -> list[str]:
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".jpg", ".dcm"))
    files = files[:: max(1, len(files) // most)][:most]
    native = _explainer(weights, "native")
    inputs = torch.stack([native.prepare(read_radiograph(path)).tensor for path in files])
    lines = [
        f"Logits of finer maps beside the model's own: {len(files)} radiographs, {native.classifier.name}.",
        "",
        "| resolution | r over images, by pathology | largest distance | mean distance | "
        f"largest of the top {TOP_K}: median, 95 %, all |",
        "|---|---:|---:|---:|---:|",
    ]
    named = [at for at, name in enumerate(native.classifier.pathologies) if name]
    for resolution in _finer(native):
        classifier = _explainer(weights, resolution).classifier
        passes = [classifier.forward(part) for part in inputs.split(4)]
        own = torch.cat([each.logits for each in passes])[:, named]
        dense = torch.cat([each.dense_logits for each in passes])[:, named]  # type: ignore[attr-defined]
        apart = (dense - own).abs()
        r = [np.corrcoef(own[:, at], dense[:, at])[0, 1] for at in range(len(named))]
        top = apart.gather(1, own.topk(min(TOP_K, len(named))).indices).amax(1).numpy()
        lines.append(
            f"| {resolution} | {min(r):.3f} to {max(r):.3f} | {apart.max():.2f} | {apart.mean():.3f} | "
            f"{np.median(top):.2f}, {np.quantile(top, 0.95):.2f}, {top.max():.2f} |"
        )
    return lines


def _explainer(weights: str, resolution: Resolution) -> Explainer:
    return Explainer.from_pretrained(weights, device="cpu", resolution=resolution)


def _finer(native: Explainer) -> Iterator[int]:
    """The resolutions that a model has besides its own."""
    finest = FinerClassifier(native.classifier, "finest")
    side = native.classifier.input_size
    for out in range(1, finest.taken_out(side, side)[0] + 1):
        zeros = torch.zeros(1, 1, side, side)
        yield finest.dense(out).forward(zeros).activations.shape[-1]


# -- places ----


def _places(weights: str, n: int) -> list[str]:
    native = _explainer(weights, "native")
    explainers: dict[str, Explainer] = {"native": native}
    explainers |= {str(cells): _explainer(weights, cells) for cells in _finer(native)}
    if len(explainers) == 1:
        raise OptionError(
            f"the weights {weights}, which have no finer maps", expected="cells of 16 pixels or more"
        )
    found: dict[str, dict[Key, dict[str, Any]]] = {name: {} for name in explainers}
    sizes: dict[Key, float] = {}
    cases = iter(phantom_cases(n, seed=UNSEEN))
    while part := list(islice(cases, 8)):
        sizes |= {(case.id, name): _size(case, name) for case in part for name in case.masks}
        for name, explainer in explainers.items():
            found[name] |= _rows(judged(explainer, part, PLAN))
    keys = sorted(found["native"])
    lines = [
        f"Grad-CAM of each finding in {n} unseen phantoms, by its size in cells of a 7 x 7 map; {weights}."
    ]
    for band, among in _bands(keys, sizes):
        lines += ["", *_table(band, among, found)]
    return lines


def _size(case: Case, pathology: str) -> float:
    """The area of a finding in cells of a map of 7 x 7."""
    return float(case.masks[pathology].mean()) * CELLS


def _rows(tables: Tables) -> dict[Key, dict[str, Any]]:
    rows = {(row["case"], row["pathology"]): row for row in tables.alone if row["method"] == "grad-cam"}
    for row in tables.fused:
        rows[row["case"], row["pathology"]]["class share"] = row["class share"]
    return rows


def _bands(keys: Sequence[Key], sizes: dict[Key, float]) -> Iterator[tuple[str, list[Key]]]:
    yield "all sizes", list(keys)
    limits = (0.0, *BANDS, np.inf)
    for low, high in pairwise(limits):
        words = f"{low:g} to {high:g} cells" if high < np.inf else f"over {low:g} cells"
        yield words, [key for key in keys if low < sizes[key] <= high]


def _table(band: str, keys: Sequence[Key], found: dict[str, dict[Key, dict[str, Any]]]) -> Iterator[str]:
    """The mean of each measure, and what finer maps add to native ones: paired, by patient."""
    yield f"| {band}, {len(keys)} findings | {' | '.join(MEASURES)} |"
    yield f"|---|{'---:|' * len(MEASURES)}"
    if not keys:
        return
    groups = [found["native"][key]["group"] for key in keys]
    values = {name: _column(rows, keys) for name, rows in found.items()}
    for name, column in values.items():
        means = mean_estimates(column, groups=groups)
        yield f"| {name} | {' | '.join(_mean(each) for each in means)} |"
        if name != "native":
            more = mean_estimates(column - values["native"], groups=groups)
            yield f"| {name} less native | {' | '.join(_difference(each) for each in more)} |"


def _column(rows: dict[Key, dict[str, Any]], keys: Sequence[Key]) -> NDArray[np.float64]:
    """(n, M): the measures of each finding; NaN where one is not estimable."""
    numbers = [[rows[key].get(name) for name in MEASURES] for key in keys]
    return np.array([[np.nan if each is None else each for each in row] for row in numbers], np.float64)


def _mean(found: MeanEstimate) -> str:
    return "-" if found.value is None else f"{found.value:.3f}"


def _difference(found: MeanEstimate) -> str:
    if found.value is None:
        return "-"
    interval = "no interval" if found.low is None else f"{found.low:+.3f} to {found.high:+.3f}"
    return f"{found.value:+.3f} ({interval})"


if __name__ == "__main__":
    main()
