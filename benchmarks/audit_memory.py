"""Peak memory of an audit of 1,000 images and of one of 4,000: it must not grow with the number.

    python -m benchmarks.audit_memory

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

from benchmarks.facts import machine
from cxr_explain.phantom.dataset import write_dataset

TARGET = 1.05
_REPEATED = 20


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Peak memory of audits of two sizes.")
    parser.add_argument("--sizes", type=int, nargs=2, default=(1000, 4000))
    parser.add_argument("--pixels", type=int, default=512, help="side of the phantoms")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", nargs=3, metavar=("IMAGES", "COUNT", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.alone:
        _audit(Path(options.alone[0]), int(options.alone[1]), Path(options.alone[2]))
        return
    with TemporaryDirectory() as folder:
        for _ in write_dataset(Path(folder) / "phantoms", n=_REPEATED, seed=3, size=options.pixels):
            pass
        images = Path(folder) / "phantoms" / "images"
        peaks = {
            size: [_peak(images, size, Path(folder)) for _ in range(options.rounds)] for size in options.sizes
        }
    small, large = (statistics.median(peaks[size]) for size in options.sizes)
    print(json.dumps(machine()))
    print(f"peak RSS, MiB: {peaks}")
    print(f"{options.sizes[1]} / {options.sizes[0]} images: {large / small:.3f}, target {TARGET}")


def _peak(images: Path, count: int, folder: Path) -> float:
    """Peak RSS in MiB of an audit in a process of its own."""
    out = folder / f"run-{count}"
    command = [sys.executable, "-m", "benchmarks.audit_memory", "--alone", str(images), str(count), str(out)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    subprocess.run(["rm", "-rf", str(out)], check=True)  # noqa: S607
    return round(float(done.stdout) / 1024, 1)


def _audit(images: Path, count: int, out: Path) -> None:
    from cxr_explain import Explainer
    from cxr_explain.audit.run import run_audit
    from cxr_explain.reference.csv_file import parse_manifest

    names = sorted(path.name for path in images.glob("*.png"))
    rows = "".join(f"{number},{names[number % len(names)]}\n" for number in range(count))
    manifest = parse_manifest(f"image_id,path\n{rows}".encode(), source="repeated phantoms")
    run = run_audit(Explainer.from_pretrained("phantom"), manifest, images, out)
    if len(run.columns(["row"])) != count:
        raise SystemExit(f"{len(run.failures)} images failed")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    main()
