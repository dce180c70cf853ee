"""What the command line costs, beside starting Python, and beside its imports and one pass.

    python -m benchmarks.command_cost

Whole processes, each started anew, in turns; see benchmarks/README.md. The imports that explaining one file
cannot avoid are torch, which ranks and fuses; typer, which reads the command line, with pydantic, which it
imports to do so; Matplotlib with its Agg backend, which draws the figure; PIL, which reads the image; and
what runs the model: TorchXRayVision, or the engine. One pass is one image through the model, read from where
it is kept: the weights' shape for torch, the exported graph for an engine, which compiles it.
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
from typing import cast

from safetensors import safe_open

from benchmarks.facts import machine
from benchmarks.timing import Samples, measure
from cxr_explain.engines.compiled import body_graph
from cxr_explain.engines.registry import ENGINES
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.models.pretrained import from_pretrained
from cxr_explain.options import Engine
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.weights import resolve

TARGETS = {"--help": 3.0, "explain": 1.3}
SHAPE = ("growth_rate", "block_config", "num_init_features", "bn_size")
IMPORTS = """
import torch, typer, numpy, PIL.Image, matplotlib.figure, matplotlib.backends.backend_agg
app = typer.Typer()
app.command()(lambda: None)
app([], standalone_mode=False)
"""
IN_TORCH = """
import cxr_explain
cxr_explain.ensure_torchvision_imports()  # without it the next import fails beside a CPU-only torch
import torchxrayvision
model = torchxrayvision.models.DenseNet(num_classes=10, **{shape!r}).eval()
with torch.inference_mode():
    model(torch.zeros(1, 1, 224, 224))
"""
ON_ENGINE = """
import {package}
from pathlib import Path
from cxr_explain.engines.{module} import {function}
run = {function}(Path({graph!r}).read_bytes(), dtype="float32", threads=torch.get_num_threads())
run(numpy.zeros((1, 1, 224, 224), numpy.float32))
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Cost of the command line.")
    parser.add_argument("--rounds", type=int, default=15, help="how often each is run")
    parser.add_argument(
        "--engine", action="append", choices=[*ENGINES], help="default: each that is installed"
    )
    given = parser.parse_args(arguments)
    engines = given.engine or [name for name, entry in ENGINES.items() if entry.installed]
    print("Machine: " + ", ".join(f"{name} {value}" for name, value in machine().items()) + "; wall clock.\n")
    print(
        "| process | beside | median s | ratio (quartiles) | target | runs |\n|---|---|---:|---:|---:|---:|"
    )
    ours = [sys.executable, "-m", "cxr_explain"]
    _compare("--help", "`python -c pass`", [sys.executable, "-c", "pass"], [*ours, "--help"], given.rounds)
    with TemporaryDirectory() as folder:
        graph, image = Path(folder, "body.onnx"), _phantom(Path(folder))
        for engine in engines:
            explain = [*ours, "explain", str(image), "--weights", "phantom", "--engine", engine]
            bare = [sys.executable, "-c", IMPORTS + _one_pass(engine, graph)]
            beside = f"the imports and one pass, {ENGINES[engine].title}"
            _compare("explain", beside, bare, [*explain, "--out", f"{folder}/figures"], given.rounds)


def _one_pass(engine: Engine, graph: Path) -> str:
    if engine == "torch":
        return IN_TORCH.format(shape=_shape())
    if not graph.exists():
        graph.write_bytes(body_graph(cast(PooledLinearClassifier, from_pretrained("phantom"))))
    module, _, function = ENGINES[engine].compiler.partition(":")
    package = ENGINES[engine].package
    return ON_ENGINE.format(package=package, module=module, function=function, graph=str(graph))


def _shape() -> dict[str, object]:
    """The bundled model's configuration, as its file states it."""
    with safe_open(str(resolve("phantom")), "pt") as file:
        training = json.loads(file.metadata()["training"])
    return {name: training[name] for name in SHAPE}


def _phantom(folder: Path) -> Path:
    """The image of one phantom."""
    (phantom,) = write_dataset(folder / "phantoms", n=1, seed=7, size=512)
    return folder / "phantoms" / "images" / f"{phantom.id}.png"


def _compare(command: str, beside: str, bare: list[str], ours: list[str], rounds: int) -> None:
    """Print one row; what the first run keeps, such as the compiled model, the others find."""
    for each in (bare, ours):
        _run(each)
    bare_times, samples = measure(lambda: _run(bare), {"ours": lambda: _run(ours)}, {"ours": rounds})
    print(_row(command, beside, bare_times, samples["ours"]), flush=True)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _row(command: str, beside: str, bare: list[float], ours: Samples) -> str:
    low, high = ours.ratio_quartiles
    return (
        f"| `cxr-explain {command}` | {beside}: {statistics.median(bare):.3f} s | {ours.median_ms / 1e3:.3f} "
        f"| {ours.ratio:.2f} ({low:.2f} to {high:.2f}) | {TARGETS[command]} | {len(ours.times)} |"
    )


if __name__ == "__main__":
    main()
