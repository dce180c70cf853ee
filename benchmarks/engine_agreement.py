"""How far the engines agree with torch on real radiographs: probabilities, rankings, fused maps, AUROC.

    python -m benchmarks.engine_agreement /path/to/radiographs            # all of them: about 10 minutes
    python -m benchmarks.engine_agreement /path/to/radiographs --n 40

The folder has NIH's tables, `nih256/` with the images and `standin/` with weights. Where the processor has no
bfloat16, OpenVINO computes it by float32 instructions that round: slower, with the same kind of numbers.
See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.facts import described
from cxr_explain import Explainer, Manifest
from cxr_explain.engines.registry import ENGINES
from cxr_explain.explaining.batch_maps import BatchMaps
from cxr_explain.loaders.read import read_radiograph
from cxr_explain.measures.statistics.discrimination import auroc
from cxr_explain.options import Dtype, Engine
from cxr_explain.reference.data_sets.nih import manifest_of_nih
from cxr_explain.reference.states import NOT_LABELLED, POSITIVE

WEIGHTS = "densenet121-res224-nih"
TOP_K = 5
TARGET = 1e-4
"""What a probability may differ by with a float32 engine; outputs that are closer than this are tied."""

_WITHIN = f"at most {TARGET:g} in probability, and the same order but for ties"

CASES: tuple[tuple[Engine, Dtype], ...] = (
    ("onnxruntime", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
)


@dataclass(frozen=True)
class Answers:
    """What one engine says of n images.

    Args:
        probabilities: (n, N) of the trained outputs.
        strengths: (n, I, J), the fused map of the winner at each position.
    """

    probabilities: NDArray[np.float64]
    strengths: NDArray[np.float64]

    @property
    def orders(self) -> NDArray[np.int64]:
        """(n, N), the outputs by falling probability; equal ones in the head's order."""
        return np.argsort(-self.probabilities, axis=1, kind="stable")


@dataclass(frozen=True)
class Agreement:
    """An engine beside torch; shares are of the images."""

    probability: float
    untied: int
    top_1: float
    top_k: float
    top_k_ordered: float
    correlations: NDArray[np.float64]

    @classmethod
    def of(cls, engine: Answers, torchs: Answers) -> Agreement:
        orders, expected = engine.orders, torchs.orders
        along = np.take_along_axis(torchs.probabilities, orders, axis=1)
        sets = np.sort(orders[:, :TOP_K]) == np.sort(expected[:, :TOP_K])
        return cls(
            float(np.abs(engine.probabilities - torchs.probabilities).max()),
            int((np.diff(along, axis=1) > TARGET).any(axis=1).sum()),
            float((orders[:, 0] == expected[:, 0]).mean()),
            float(sets.all(axis=1).mean()),
            float((orders[:, :TOP_K] == expected[:, :TOP_K]).all(axis=1).mean()),
            correlations(engine.strengths, torchs.strengths),
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Agreement of the engines with torch on NIH's radiographs.")
    parser.add_argument("folder", type=Path, help="with nih256/, standin/ and NIH's tables")
    parser.add_argument("--n", type=int, help="only so many images")
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args(arguments)
    manifest = manifest_of_nih(options.folder, images=options.folder / "nih256")
    files = [options.folder / "nih256" / Path(path).name for path in manifest.paths]
    rows = [row for row, path in enumerate(files) if path.is_file()][: options.n]
    paths = [files[row] for row in rows]
    explainers = {case: _explainer(options.folder, *case) for case in (("torch", "float32"), *CASES)}
    parts: dict[tuple[Engine, Dtype], list[Answers]] = {case: [] for case in explainers}
    for inputs in batches(next(iter(explainers.values())), paths, options.batch_size):
        for case, explainer in explainers.items():
            parts[case].append(answers(explainer.explain_inputs(inputs, top_k=TOP_K)))
    joined = {case: _joined(each) for case, each in parts.items()}
    torchs = joined.pop(("torch", "float32"))
    names = [name for name in next(iter(explainers.values())).classifier.pathologies if name]
    print(described(), end="\n\n")
    print("\n".join(table({case: Agreement.of(each, torchs) for case, each in joined.items()}, len(paths))))
    print("\n".join(auroc_table(manifest, rows, names, torchs, joined)))


def _explainer(folder: Path, engine: Engine, dtype: Dtype) -> Explainer:
    return Explainer.from_pretrained(
        WEIGHTS, weights_dir=folder / "standin", fetch=False, device="cpu", engine=engine, dtype=dtype
    )


def batches(explainer: Explainer, paths: Sequence[Path], size: int) -> Iterator[torch.Tensor]:
    """The prepared images, (B, 1, S, S); every engine gets the same."""
    for start in range(0, len(paths), size):
        read = [read_radiograph(path) for path in paths[start : start + size]]
        yield torch.stack([explainer.prepare(radiograph).tensor for radiograph in read])


def answers(batch: BatchMaps) -> Answers:
    """The numbers that are compared."""
    return Answers(
        np.array([[each.probability for each in ranking.predictions] for ranking in batch.rankings]),
        torch.cat([fused.maps.sum(dim=1) for fused in batch.fused]).double().numpy(),
    )


def _joined(parts: Sequence[Answers]) -> Answers:
    return Answers(
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.strengths for part in parts]),
    )


def correlations(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pearson's correlation of the maps of each image, of those that vary with both."""
    rows, others = (each.reshape(len(each), -1) for each in (one, other))
    centred = [each - each.mean(axis=1, keepdims=True) for each in (rows, others)]
    norms = np.prod([np.linalg.norm(each, axis=1) for each in centred], axis=0)
    products = (centred[0] * centred[1]).sum(axis=1)
    return products[norms > 0] / norms[norms > 0]


def table(found: dict[tuple[Engine, Dtype], Agreement], images: int) -> Iterator[str]:
    """The table of the docs, one row an engine, and what became of the target."""
    heads = (
        f"{images} radiographs, beside torch",
        "max. difference of a probability",
        "other order, beyond ties",
        "same top 1",
        f"same top {TOP_K}",
        "in the same order",
        "correlation of fused maps: median, 5th percentile, minimum",
    )
    yield f"| {' | '.join(heads)} |"
    yield "|---|---:|---:|---:|---:|---:|---|"
    for (engine, dtype), each in found.items():
        low, median = np.percentile(each.correlations, [5, 50])
        yield (
            f"| {ENGINES[engine].title}, {dtype} | {each.probability:.1e} | {each.untied} | {each.top_1:.2%} "
            f"| {each.top_k:.2%} | {each.top_k_ordered:.2%} "
            f"| {median:.5f}, {low:.5f}, {each.correlations.min():.5f} |"
        )
    yield ""
    for (engine, dtype), each in found.items():
        if dtype == "float32":
            met = each.probability <= TARGET and not each.untied
            title = ENGINES[engine].title
            yield f"Target for {title}, float32: {_WITHIN}: {'met' if met else 'missed'}."
    yield ""


def auroc_table(
    manifest: Manifest,
    rows: Sequence[int],
    names: Sequence[str],
    torchs: Answers,
    engines: dict[tuple[Engine, Dtype], Answers],
) -> Iterator[str]:
    """AUROC by torch, and what each engine's differs by, for each pathology that NIH labels."""
    titles = [f"{ENGINES[engine].title}, {dtype}" for engine, dtype in engines]
    yield f"| AUROC | positive | torch | {' | '.join(titles)} |"
    yield f"|---|---:|---:|{'---:|' * len(titles)}"
    largest = [0.0] * len(titles)
    states = manifest.states_of(names)[list(rows)]
    for at, name in enumerate(names):
        positive = states[:, at] == POSITIVE
        reference = auroc(torchs.probabilities[:, at], positive)
        if reference is None or (states[:, at] == NOT_LABELLED).all():
            continue
        values = [auroc(each.probabilities[:, at], positive) for each in engines.values()]
        off = [float(value) - reference for value in values if value is not None]
        largest = [max(most, abs(value)) for most, value in zip(largest, off, strict=True)]
        yield f"| {name} | {positive.sum()} | {reference:.4f} | {' | '.join(f'{v:+.5f}' for v in off)} |"
    yield f"| largest difference | | | {' | '.join(f'{value:.5f}' for value in largest)} |"


if __name__ == "__main__":
    main()
