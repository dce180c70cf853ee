"""What the tables of an audit cost: manifests of whole data sets, and statistics of many images.

    python -m benchmarks.audit_tables

The tables of NIH ChestX-ray14 (112,120 images) and of CheXpert (223,414) come inside the torchxrayvision
package; each is made into a manifest, written, read back, and checked against an empty image folder. The
statistics are of synthetic scores and reference labels, with subgroups by sex, age and view.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np

from benchmarks.facts import machine
from cxr_explain.audit.cases import Cases
from cxr_explain.audit.statistics import statistics
from cxr_explain.pathologies import NIH_PATHOLOGIES, PATHOLOGIES
from cxr_explain.reference import check_manifest, make_manifest, read_manifest, write_manifest

T = TypeVar("T")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Cost of manifests and of statistics.")
    parser.add_argument("--images", type=int, default=100_000, help="of the statistics")
    options = parser.parse_args(arguments)
    print(json.dumps(machine()))
    _manifests()
    for subgroups in (False, True):
        cases = _cases(options.images, subgroups=subgroups)
        seconds, _ = _timed(statistics, cases)
        kind = "with" if subgroups else "without"
        print(f"statistics of {options.images} images, {kind} subgroups: {seconds:.1f} s, {_peak()}")


def _manifests() -> None:
    spec = importlib.util.find_spec("torchxrayvision")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("torchxrayvision is not installed")
    tables = Path(spec.submodule_search_locations[0]) / "data"
    for name, source in (("nih", tables), ("chexpert", tables / "chexpert_train.csv.gz")):
        with TemporaryDirectory() as folder:
            path = Path(folder) / "manifest.csv"
            make, manifest = _timed(make_manifest, name, source)
            write, _ = _timed(write_manifest, manifest, path)
            read, _ = _timed(read_manifest, path)
            check, found = _timed(check_manifest, manifest, Path(folder), PATHOLOGIES)
        print(
            f"{name}, {len(manifest)} rows, {len(found.missing)} images missing: made in {make:.1f} s, "
            f"written in {write:.1f} s, read in {read:.1f} s, checked in {check:.1f} s, {_peak()}"
        )


def _cases(n: int, *, subgroups: bool) -> Cases:
    """Scores that tell something, labels of all five states, about 3.5 images a patient."""
    draws = np.random.default_rng(0)
    count = len(NIH_PATHOLOGIES)
    states = draws.choice(np.array([1, 0, -1, -2], np.int8), (n, count), p=[0.08, 0.8, 0.04, 0.08])
    logits = draws.normal(size=(n, count)) + 1.5 * (states == 1)
    patients = np.unique(draws.integers(0, max(n * 2 // 7, 1), n), return_inverse=True)[1]
    values = {"sex": "FM", "age": ("18-39", "40-59", "60-79"), "view": ("AP", "PA")}
    columns = {name: tuple(draws.choice(list(kinds), n).tolist()) for name, kinds in values.items()}
    return Cases(
        ids=tuple(map(str, range(n))),
        patients=patients,
        pathologies=NIH_PATHOLOGIES,
        probabilities=1 / (1 + np.exp(-logits)),
        operating_points=(0.5,) * count,
        labels=NIH_PATHOLOGIES,
        states=states,
        columns=columns if subgroups else {},
    )


def _timed(work: Callable[..., T], *arguments: object, **options: object) -> tuple[float, T]:
    began = time.perf_counter()
    result = work(*arguments, **options)
    return time.perf_counter() - began, result


def _peak() -> str:
    return f"peak so far {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"


if __name__ == "__main__":
    main()
