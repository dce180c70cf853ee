"""What a record figure costs beside the forward pass, by phases, and a folder of them on all cores.

    python -m benchmarks.figure_cost
    python -m benchmarks.figure_cost --files 48

See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from benchmarks.contestants import CONTESTANTS, build_inputs, build_model, prepare
from benchmarks.facts import machine
from benchmarks.timing import measure
from cxr_explain import Explainer, Radiograph
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures import draw_explanation, output, overlay
from cxr_explain.figures.artists import TextLine
from cxr_explain.figures.output import ExplanationFigure
from cxr_explain.phantom import render, sample_patient, to_radiograph
from cxr_explain.phantom.dataset import write_dataset

TARGET_MS = 200
TOP_K = 5
PATIENTS = 6
SIZES = {"1024 x 1024": (1024, 1024), "2500 x 3000, cropped": (3000, 2500)}

PHASES: dict[str, tuple[Any, str]] = {
    "radiograph at the page's resolution": (overlay, "grey"),
    "fused map over it": (overlay, "maps_over"),
    "class maps": (overlay, "colour_map_over"),
    "outlines": (overlay, "outlines"),
    "letters": (TextLine, "draw"),
    "images, lines and boxes on the page": (ExplanationFigure, "draw"),
    "PNG": (output, "quick_png"),
}
"""Where a part of a figure is made; each is told without those that are made within it."""

REST = "layout, and Matplotlib's objects"

Case = tuple[Explanation, Radiograph]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Cost of a record figure.")
    parser.add_argument("--rounds", type=int, default=30, help="how often each figure is drawn")
    parser.add_argument("--files", type=int, default=0, help="also explain a folder of so many, by processes")
    parser.add_argument("--quick", action="store_true", help="each figure twice: a smoke test")
    options = parser.parse_args(arguments)
    options.rounds = 2 if options.quick else options.rounds
    torch.set_num_threads(1)
    facts = machine()
    cases = {name: cycle(_cases(shape)) for name, shape in SIZES.items()}
    forward = prepare(CONTESTANTS[0], build_model())
    inputs = build_inputs(1)
    bare, samples = measure(
        lambda: forward(inputs),
        {name: lambda coming=coming: _figure(*next(coming)) for name, coming in cases.items()},  # type: ignore[misc]
        dict.fromkeys(cases, options.rounds),
        clock="cpu",
    )
    print("Machine: " + ", ".join(f"{name} {value}" for name, value in facts.items()) + "; cpu clock.\n")
    print(f"Bare forward pass {statistics.median(bare) * 1e3:.1f} ms (median).\n")
    print("| record figure, K = 5, PNG at 200 dpi | median ms | ratio to bare (quartiles) | rounds |")
    print("|---|---:|---:|---:|")
    for name, sample in samples.items():
        low, high = sample.ratio_quartiles
        print(
            f"| {name} | {sample.median_ms:.0f} | {sample.ratio:.2f} ({low:.2f} to {high:.2f}) "
            f"| {len(sample.times)} |"
        )
    met = all(sample.median_ms <= TARGET_MS for sample in samples.values())
    print(f"\nTarget: {TARGET_MS} ms, {'met' if met else 'missed'}.\n")
    _print_phases({name: _phases(coming, options.rounds) for name, coming in cases.items()})
    if options.files:
        _print_folder(options.files)


def _cases(shape: tuple[int, int]) -> list[Case]:
    """Explained phantoms: another in each round, since a line of text that was drawn before costs less."""
    explainer = Explainer.from_pretrained("phantom", device="cpu")
    radiographs = [to_radiograph(render(sample_patient(seed), size=1024)) for seed in range(PATIENTS)]
    return [
        (explainer.explain(each, top_k=TOP_K), each)
        for each in (_enlarged(radiograph, shape) for radiograph in radiographs)
    ]


def _enlarged(radiograph: Radiograph, shape: tuple[int, int]) -> Radiograph:
    if radiograph.shape == shape:
        return radiograph
    size, how = shape[::-1], Image.Resampling.BICUBIC
    pixels, display = (
        np.asarray(Image.fromarray(each).resize(size, how))
        for each in (radiograph.pixels, radiograph.display)
    )
    return replace(radiograph, pixels=pixels, display=display)


def _figure(explanation: Explanation, radiograph: Radiograph) -> bytes:
    names = [prediction.pathology for prediction in explanation.ranking.predictions]
    return draw_explanation(explanation, radiograph, reference_labels={names[0]: 1, names[2]: 0}).to_bytes()


# -- phases ----


def _phases(coming: Iterator[Case], rounds: int) -> dict[str, float]:
    """Median milliseconds of each phase of a figure."""
    rows: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        with _watched() as spent:
            _figure(*next(coming))
        for name in (*PHASES, REST):
            rows[name].append(spent[name] * 1e3)
    return {name: statistics.median(times) for name, times in rows.items()}


@contextmanager
def _watched() -> Iterator[dict[str, float]]:
    """Processor time by phase until the block ends."""
    spent: dict[str, float] = defaultdict(float)
    running, since = [REST], time.process_time()

    def turn() -> None:
        nonlocal since
        now = time.process_time()
        spent[running[-1]] += now - since
        since = now

    def watched(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            turn()
            running.append(name)
            try:
                return work(*arguments, **options)
            finally:
                turn()
                running.pop()

        return run

    with ExitStack() as stack:
        for name, (home, attribute) in PHASES.items():
            stack.enter_context(patch.object(home, attribute, watched(name, getattr(home, attribute))))
        yield spent
        turn()


def _print_phases(phases: dict[str, dict[str, float]]) -> None:
    print(f"| phase, ms | {' | '.join(phases)} |")
    print(f"|---|{'---:|' * len(phases)}")
    for name in (*PHASES, REST):
        print(f"| {name} | {' | '.join(f'{each[name]:.0f}' for each in phases.values())} |")


# -- a folder ----


def _print_folder(files: int) -> None:
    print(f"\n| `cxr-explain explain` of {files} phantoms of 1024 x 1024 | s | processor s | MiB at most |")
    print("|---|---:|---:|---:|")
    with TemporaryDirectory() as folder:
        images = Path(folder, "phantoms")
        for _ in write_dataset(images, n=files, seed=7, size=1024):
            pass
        command = [
            sys.executable,
            "-m",
            "cxr_explain",
            "explain",
            str(images / "images"),
            "--weights",
            "phantom",
        ]
        for name, workers in (("drawn by the process that explains", 1), ("drawn on all cores", 0)):
            out = Path(folder, f"figures-{workers}")
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            run = [*command, "--out", str(out), "--workers", str(workers)]
            subprocess.run(run, check=True, capture_output=True)
            wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"| {name} | {wall:.1f} | {spent:.1f} | {after.ru_maxrss // 1024} |")


if __name__ == "__main__":
    main()
