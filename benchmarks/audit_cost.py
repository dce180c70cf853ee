"""What an audit costs beside reading alone and the passes alone, with each engine that is installed.

    python -m benchmarks.audit_cost [--quick] [--threads 1 2] [--workers 1 2] [--radiographs FOLDER]

All run on the same 1024 x 1024 PNG files, in one process, in turns. Reading is what the audit's threads do
before a pass: decoding, preparing, chest regions, with as many threads as the audit has. The passes are the
engine's alone, in the audit's batches. Both use all cores that they are given, so that their sum is the time
of an audit that does one after the other and nothing else. Each ratio is of one round: the audit's wall time,
with everything that it writes, to that sum. Below 1 is reached by doing both at once where one of them alone
does not keep the cores busy. The processor's time says what is lost to waiting threads: the audit's beside
that of its parts. With several `--threads` of the engine and several `--workers` that read, each pair is
measured, which says what split of the cores is best here.

The model is DenseNet-121 with random weights: what scores say has no effect on what they cost. OpenVINO
computes in bfloat16 where the processor has instructions for it, or with `--simulated`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy, as the command line does

import numpy as np
import torch

from benchmarks.facts import computes_bfloat16, machine
from cxr_explain import Explainer, XRVDenseNet, ensure_torchvision_imports, read_radiograph
from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.reading import Reader, Ready
from cxr_explain.audit.record import Record
from cxr_explain.audit.run import RunSettings, rows_of, run_audit
from cxr_explain.engines.registry import ENGINES
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.options import Dtype, Engine
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.reference.csv_file import parse_manifest

SIZE = 1024
TARGET = 1.10
CONTESTANTS: tuple[tuple[Engine, Dtype], ...] = (
    ("torch", "float32"),
    ("onnxruntime", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
)
Seconds = tuple[float, float]
"""By the clock on the wall, and of all cores together."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Cost of an audit beside its parts.")
    parser.add_argument("--images", type=int, default=64, help="how many")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[torch.get_num_threads()], help="that compute"
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[0], help="threads that read; 0: automatic")
    parser.add_argument("--simulated", action="store_true", help="bfloat16 also without instructions for it")
    parser.add_argument("--quick", action="store_true", help="one round of 8 images")
    parser.add_argument("--radiographs", type=Path, help="folder of PNG files; by default phantoms are drawn")
    options = parser.parse_args(arguments)
    if options.quick:
        options.images, options.rounds = 8, 1
    if not computes_bfloat16():
        print("no bfloat16 instructions here: " + ("simulated" if options.simulated else "not measured"))
    with TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options)
        rounds = [bench.round() for _ in range(options.rounds + 1)][1:]  # the first one fills caches
    print(_markdown(options, rounds))


class Bench:
    """The same images, read alone, seen by each engine alone, and audited."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder, self.batch_size = folder, options.batch_size
        self.files = _images(options.radiographs or _phantoms(folder, options.images))[: options.images]
        options.images = len(self.files)
        rows = "".join(f"{number},{path.name}\n" for number, path in enumerate(self.files))
        self.manifest = parse_manifest(f"image_id,path\n{rows}".encode(), source="benchmark")
        self.workers = options.workers
        self.explainers = {
            (engine, dtype, threads): _explainer(engine, dtype, threads)
            for (engine, dtype), threads in product(CONTESTANTS, options.threads)
            if engine in options.engines
            and ENGINES[engine].installed
            and (dtype == "float32" or computes_bfloat16() or options.simulated)
        }
        prepare = next(iter(self.explainers.values())).prepare
        self.inputs = torch.stack([prepare(read_radiograph(path)).tensor for path in self.files])

    def round(self) -> dict[str, Seconds]:
        """Seconds of each."""
        taken = {}
        for workers in self.workers:
            taken[_reading(workers)] = _seconds(partial(self._read, RunSettings(workers=workers)))
        for (engine, dtype, threads), explainer in self.explainers.items():
            torch.set_num_threads(threads)
            name = _named(engine, dtype, threads)
            taken[f"{name}: passes"] = _seconds(partial(self._pass, explainer))
            for workers in self.workers:
                running = RunSettings(batch_size=self.batch_size, workers=workers)
                taken[f"{name}: audit, {running.threads} reading"] = _seconds(
                    partial(self._audit, explainer, running)
                )
        return taken

    def _read(self, running: RunSettings) -> None:
        explainer = next(iter(self.explainers.values()))
        record = Record.of(explainer, self.manifest, RankingSettings())
        reader = Reader(ImageFolder(self.files[0].parent), explainer.prepare, record.read_settings)
        rows = rows_of(self.manifest, range(len(self.files)), record)
        with ThreadPoolExecutor(running.threads) as pool:
            if not all(isinstance(ready, Ready) for ready in pool.map(reader, rows)):
                raise SystemExit("an image was not read")

    def _pass(self, explainer: Explainer) -> None:
        for batch in self.inputs.split(self.batch_size):
            explainer.classifier.run(batch)

    def _audit(self, explainer: Explainer, running: RunSettings) -> None:
        where = self.folder / "run"
        rmtree(where, ignore_errors=True)
        run = run_audit(explainer, self.manifest, self.files[0].parent, where, running=running)
        if len(run.results) != len(self.files):
            raise SystemExit("the audit did not explain every image")


def _explainer(engine: Engine, dtype: Dtype, threads: int) -> Explainer:
    """With random weights, the same for all; an engine takes as many threads as torch has when it is made."""
    ensure_torchvision_imports()
    from torchxrayvision.models import DenseNet

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    explainer = Explainer(XRVDenseNet(DenseNet()), engine=engine, dtype=dtype)
    _ = explainer.facts  # checks the model's scores once
    return explainer


def _named(engine: Engine, dtype: Dtype, threads: int) -> str:
    return f"{ENGINES[engine].title} {dtype}, {threads} computing"


def _reading(workers: int) -> str:
    return f"reading and regions, {RunSettings(workers=workers).threads} reading"


def _phantoms(folder: Path, count: int) -> Path:
    """Phantoms as PNG files of 1024 x 1024, as NIH ChestX-ray14's are."""
    for _ in write_dataset(folder / "phantoms", n=count, seed=11, size=SIZE):
        pass
    return folder / "phantoms" / "images"


def _images(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.png"))


def _seconds(work: Callable[[], None]) -> Seconds:
    wall, cores = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cores


def _markdown(options: argparse.Namespace, rounds: list[dict[str, Seconds]]) -> str:
    lines = [json.dumps(machine()), ""]
    lines += [
        "| | images/s | ms an image | ms of all cores | beside its parts (quartiles) | cores' time beside |"
    ]
    lines += ["|:--|--:|--:|--:|--:|--:|"]
    for name in rounds[0]:
        wall, cores = (statistics.median(each[name][clock] for each in rounds) for clock in (0, 1))
        scaled = f"{options.images / wall:.1f} | {wall / options.images * 1000:.1f}"
        lines.append(f"| {name} | {scaled} | {cores / options.images * 1000:.1f} | {_beside(name, rounds)} |")
    lines.append("")
    lines.append(
        f"{options.images} images, batches of {options.batch_size}; target: {TARGET} of the parts together"
    )
    return "\n".join(lines)


def _beside(audit: str, rounds: list[dict[str, Seconds]]) -> str:
    """An audit's times by those of reading and passes together, of the same round."""
    engine, _, split = audit.partition(": audit, ")
    if not split:
        return "| "
    ratios: dict[int, list[float]] = defaultdict(list)
    for clock, each in product((0, 1), rounds):
        parts = each[f"reading and regions, {split}"][clock] + each[f"{engine}: passes"][clock]
        ratios[clock].append(each[audit][clock] / parts)
    low, middle, high = np.quantile(ratios[0], [0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f}) | {statistics.median(ratios[1]):.2f}"


if __name__ == "__main__":
    main()
