"""Peak memory of an audit of 1,000 images and of one of 4,000: it must not grow with the number.

    python -m benchmarks.audit_memory
    python -m benchmarks.audit_memory --engine torch onnxruntime openvino

Each audit runs in a process of its own; the images are a few phantoms that repeat under different ids. The
model is the one that comes with the package.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from benchmarks.facts import machine
from cxr_explain.engines.registry import ENGINES
from cxr_explain.options import Dtype, Engine
from cxr_explain.phantom.dataset import write_dataset

TARGET = 1.05
_REPEATED = 20


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Peak memory of audits of two sizes.")
    parser.add_argument("--sizes", type=int, nargs=2, default=(1000, 4000))
    parser.add_argument("--pixels", type=int, default=512, help="side of the phantoms")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", nargs="+", choices=sorted(ENGINES), default=["torch"])
    parser.add_argument("--dtype", choices=get_args(Dtype), default="float32")
    parser.add_argument("--alone", nargs=3, metavar=("IMAGES", "COUNT", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.alone:
        images, count, out = options.alone
        _audit(Path(images), int(count), Path(out), options.engine[0], options.dtype)
        return
    print(json.dumps(machine()))
    with TemporaryDirectory() as folder:
        for _ in write_dataset(Path(folder) / "phantoms", n=_REPEATED, seed=3, size=options.pixels):
            pass
        images = Path(folder) / "phantoms" / "images"
        for engine in options.engine:
            asked = ("--engine", engine, "--dtype", options.dtype)
            _peak(images, _REPEATED, Path(folder), asked)  # exports the model, which is kept
            peaks = {
                size: [_peak(images, size, Path(folder), asked) for _ in range(options.rounds)]
                for size in options.sizes
            }
            small, large = (statistics.median(peaks[size]) for size in options.sizes)
            print(f"{engine}, {options.dtype}: peak RSS, MiB: {peaks}")
            print(f"{options.sizes[1]} / {options.sizes[0]} images: {large / small:.3f}, target {TARGET}")


def _peak(images: Path, count: int, folder: Path, asked: Sequence[str]) -> float:
    """Peak RSS in MiB of an audit in a process of its own."""
    out = folder / f"run-{count}"
    alone = ("--alone", str(images), str(count), str(out))
    command = [sys.executable, "-m", "benchmarks.audit_memory", *asked, *alone]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    subprocess.run(["rm", "-rf", str(out)], check=True)  # noqa: S607
    return round(float(done.stdout) / 1024, 1)


def _audit(images: Path, count: int, out: Path, engine: Engine, dtype: Dtype) -> None:
    from cxr_explain import Explainer
    from cxr_explain.audit.run import run_audit
    from cxr_explain.reference.csv_file import parse_manifest

    names = sorted(path.name for path in images.glob("*.png"))
    rows = "".join(f"{number},{names[number % len(names)]}\n" for number in range(count))
    manifest = parse_manifest(f"image_id,path\n{rows}".encode(), source="repeated phantoms")
    explainer = Explainer.from_pretrained("phantom", engine=engine, dtype=dtype, device="cpu")
    run = run_audit(explainer, manifest, images, out)
    if len(run.columns(["row"])) != count:
        raise SystemExit(f"{len(run.failures)} images failed")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    main()
