"""The same audit in one process and on Ray with two local workers.

    python -m benchmarks.audit_ray

Images are phantoms of 1024 x 1024 pixels, repeated under different ids; the model is DenseNet-121 with
random weights, written to a file that each worker loads. What Ray needs to start, and each worker to load the
model and do a first block, is printed apart: it is paid once, whatever the number of images.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.facts import machine
from cxr_explain import Explainer, ensure_torchvision_imports
from cxr_explain.audit.run import BatchProgress, RunSettings, run_audit
from cxr_explain.explaining.explainer import Pretrained
from cxr_explain.integrations.ray_crew import RayCrew
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.reference.manifest import Manifest

_DISTINCT = 32


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="An audit in one process and on Ray.")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        rounds = [_round(Path(folder), number, options) for number in range(options.rounds)]
    print(json.dumps(machine()))
    for name in rounds[0]:
        values = sorted(each[name] for each in rounds)
        print(f"{name}: {statistics.median(values):.2f} ({values[0]:.2f} to {values[-1]:.2f})")


def _round(folder: Path, number: int, options: argparse.Namespace) -> dict[str, float]:
    """Seconds of both, and their throughputs."""
    import ray

    images, weights = _images(folder), _weights(folder)
    explainer = Explainer.from_pretrained(weights)
    names = sorted(path.name for path in images.glob("*.png"))
    manifest = Manifest(
        [str(at) for at in range(options.images)], [names[at % len(names)] for at in range(options.images)]
    )
    running = RunSettings(part_rows=32)
    began = time.perf_counter()
    run_audit(explainer, manifest, images, folder / f"alone{number}", running=running)
    alone = time.perf_counter() - began

    firsts: list[float] = []

    def advance(_: BatchProgress) -> None:
        firsts.append(time.perf_counter())

    began = time.perf_counter()
    ray.init(
        num_cpus=options.workers + 1, log_to_driver=False, logging_level="ERROR", include_dashboard=False
    )
    ready = time.perf_counter()
    crew = RayCrew(Pretrained(str(weights)), options.workers)
    run_audit(
        explainer, manifest, images, folder / f"ray{number}", running=running, crew=crew, advance=advance
    )
    ended = time.perf_counter()
    ray.shutdown()
    first = firsts[options.workers - 1]
    return {
        "one process, s": alone,
        "Ray, s, with all starts": ended - began,
        "Ray, s until it is up": ready - began,
        "Ray, s until each worker has done its first block of 32": first - ready,
        "time of Ray, with all starts / of one process": (ended - began) / alone,
    }


def _images(folder: Path) -> Path:
    phantoms = folder / "phantoms"
    if not phantoms.exists():
        for _ in write_dataset(phantoms, n=_DISTINCT, seed=11, size=1024):
            pass
    return phantoms / "images"


def _weights(folder: Path) -> Path:
    path = folder / "random.safetensors"
    if not path.exists():
        ensure_torchvision_imports()
        from safetensors.torch import save_file
        from torchxrayvision.models import DenseNet

        torch.manual_seed(0)
        save_file(DenseNet().state_dict(), path)
    return path


if __name__ == "__main__":
    main()
