"""What explaining one phantom costs from the command line, beside the imports and the forward pass alone.

    python -m benchmarks.command_cost

Whole processes, each started anew, in turns; see benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors import safe_open

from benchmarks.facts import machine
from benchmarks.timing import Samples, measure
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.weights import resolve

TARGET = 1.3
SHAPE = ("growth_rate", "block_config", "num_init_features", "bn_size")
BARE = """
import torch, cxr_explain
cxr_explain.ensure_torchvision_imports()  # without it the next import fails beside a CPU-only torch
import torchxrayvision
model = torchxrayvision.models.DenseNet(num_classes=10, **{shape!r}).eval()
with torch.inference_mode():
    model(torch.zeros(1, 1, 224, 224))
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Cost of explaining one phantom from the command line.")
    parser.add_argument("--rounds", type=int, default=15, help="how often each is run")
    rounds = parser.parse_args(arguments).rounds
    facts = machine()
    bare = [sys.executable, "-c", BARE.format(shape=_shape())]
    with TemporaryDirectory() as folder:
        ours = _explain(Path(folder))
        bare_times, samples = measure(lambda: _run(bare), {"ours": lambda: _run(ours)}, {"ours": rounds})
    print(_markdown(facts, bare_times, samples["ours"]))


def _shape() -> dict[str, object]:
    """The bundled model's configuration, as its file states it."""
    with safe_open(str(resolve("phantom")), "pt") as file:
        training = json.loads(file.metadata()["training"])
    return {name: training[name] for name in SHAPE}


def _explain(folder: Path) -> list[str]:
    """The command that explains one phantom: a figure, a JSON and an NPZ file."""
    for phantom in write_dataset(folder / "phantoms", n=1, seed=7, size=512):
        image = folder / "phantoms" / "images" / f"{phantom.id}.png"
    command = [sys.executable, "-m", "cxr_explain", "explain", str(image), "--weights", "phantom"]
    return [*command, "--out", str(folder / "figures")]


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _markdown(facts: dict[str, str | float], bare: list[float], ours: Samples) -> str:
    low, high = ours.ratio_quartiles
    lines = (
        "Machine: " + ", ".join(f"{name} {value}" for name, value in facts.items()) + "; wall clock.",
        "",
        "| process | median s | ratio (quartiles) | runs |",
        "|---|---:|---:|---:|",
        f"| `import torch, torchxrayvision` and one forward pass | {statistics.median(bare):.2f} | 1 "
        f"| {len(bare)} |",
        f"| `cxr-explain explain` of one phantom, with its figure | {ours.median_ms / 1e3:.2f} "
        f"| {ours.ratio:.2f} ({low:.2f} to {high:.2f}) | {len(ours.times)} |",
        "",
        f"Target: {TARGET}.",
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
