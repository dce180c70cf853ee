"""What an audit costs beside decoding alone and the bare forward pass alone.

    python -m benchmarks.audit_cost

All three run on the same 1024 x 1024 PNG files, in one process, in turns: decoding with as many reading
threads as the audit has, the forward pass with torch's threads and the audit's batch size. Each ratio is of
one round: the audit's wall time, with everything that it writes, to the sum of the other two. Below 1 is
reached by reading ahead. The model is DenseNet-121 with random weights: what scores say has no effect on what
they cost.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.facts import machine
from cxr_explain import Explainer, XRVDenseNet, ensure_torchvision_imports, read_radiograph
from cxr_explain.audit.run import RunSettings, run_audit
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.reference.csv_file import parse_manifest

SIZE = 1024
TARGET = 1.10


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Cost of an audit beside its parts.")
    parser.add_argument("--images", type=int, default=64, help="how many")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.images, options.batch_size)
        rounds = [bench.round() for _ in range(options.rounds + 1)][1:]  # the first one fills caches
    print(_markdown(machine(), options, rounds))


class Bench:
    """The same images, decoded alone, seen by the model alone, and audited."""

    def __init__(self, folder: Path, images: int, batch_size: int) -> None:
        self.folder, self.batch_size = folder, batch_size
        self.files = _images(folder / "phantoms", images)
        rows = "".join(f"{number},{path.name}\n" for number, path in enumerate(self.files))
        self.manifest = parse_manifest(f"image_id,path\n{rows}".encode(), source="benchmark")
        ensure_torchvision_imports()
        from torchxrayvision.models import DenseNet

        torch.manual_seed(0)
        self.explainer = Explainer(XRVDenseNet(DenseNet()))
        self.inputs = torch.stack(
            [self.explainer.prepare(read_radiograph(path)).tensor for path in self.files]
        )
        self.runs = 0

    def round(self) -> dict[str, float]:
        """Seconds of each."""
        return {
            "decoding": _seconds(self._decode),
            "forward": _seconds(self._forward),
            "audit": _seconds(lambda: self._audit(RunSettings(batch_size=self.batch_size))),
            "audit without regions": _seconds(
                lambda: self._audit(RunSettings(batch_size=self.batch_size, regions=False))
            ),
        }

    def _decode(self) -> None:
        with ThreadPoolExecutor(RunSettings().threads) as pool:
            for _ in pool.map(lambda path: read_radiograph(path).shape, self.files):
                pass

    def _forward(self) -> None:
        with torch.inference_mode():
            for batch in self.inputs.split(self.batch_size):
                self.explainer.classifier.module.features(batch)

    def _audit(self, running: RunSettings) -> None:
        self.runs += 1
        where = self.folder / f"run{self.runs}"
        run = run_audit(self.explainer, self.manifest, self.files[0].parent, where, running=running)
        if len(run.results) != len(self.files):
            raise SystemExit("the audit did not explain every image")


def _images(folder: Path, count: int) -> list[Path]:
    """Phantoms as PNG files of 1024 x 1024, as NIH ChestX-ray14's are."""
    for _ in write_dataset(folder, n=count, seed=11, size=SIZE):
        pass
    return sorted((folder / "images").glob("*.png"))[:count]


def _seconds(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _markdown(
    facts: dict[str, str | float], options: argparse.Namespace, rounds: list[dict[str, float]]
) -> str:
    lines = [json.dumps(facts), "", "| | images/s | ms an image |", "|:--|--:|--:|"]
    for name in rounds[0]:
        seconds = statistics.median(each[name] for each in rounds)
        lines.append(f"| {name} | {options.images / seconds:.1f} | {seconds / options.images * 1000:.1f} |")
    for name in ("audit", "audit without regions"):
        ratios = [each[name] / (each["decoding"] + each["forward"]) for each in rounds]
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        lines.append(
            f"\n{name} / (decoding + forward): {middle:.2f} (quartiles {low:.2f} to {high:.2f}), "
            f"target {TARGET}"
        )
    lines.append(
        f"{options.images} images, batches of {options.batch_size}, {RunSettings().threads} reading threads"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
