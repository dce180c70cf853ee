"""The card of a phantom model: `python -m benchmarks.phantom_model.card FILE --validity DIR`.

What the file says of itself, how it was trained, and the tables that `cxr-explain evaluate --validity` wrote
into a folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any

import typer
from safetensors import safe_open

from benchmarks.phantom_model.examples import SIZES
from benchmarks.phantom_model.making import CALIBRATION
from benchmarks.phantom_model.settings import INPUT_SIZE, MODELS, Settings, Weights
from cxr_explain.models.pretrained import from_pretrained
from cxr_explain.support.whole_file import write_output
from cxr_explain.weights.digests import digest_of
from cxr_explain.weights.facts import CheckpointFacts

PARTS = {
    "label": "the labels",
    "cell": "where each finding is, at the resolution of the map",
    "owner": "that a cell which one finding alone covers shows more evidence for it than for any other",
    "fall": "that a logit falls when its finding is removed",
    "others": "that the other logits then stay",
}
"""What each part of the objective asks for."""

_INTRODUCTION = """
A small chest classifier for trying, testing and judging explanations. It was trained on computed phantoms
alone, and **it has never seen a radiograph: what it says about one has no meaning.** The package refuses to
explain radiographs with it unless that is allowed explicitly, and says so on every figure.
"""

_LICENCE = "Licence: Apache-2.0, as the package. No image of a patient was used."

_CALIBRATED = f"""
One temperature and a bias for each output are fitted on {len(CALIBRATION):,} further phantoms (seeds from
{CALIBRATION[0]:,}) at the prevalence of `sample_findings`, and the operating points are Youden's on the same.
"""

_REPEATED = """
On one machine with the same number of threads the steps give the same file
(`tests/phantom_model/test_phantom_training.py` holds a small run against itself). On another processor sums
round differently; the model has been trained once, so how much its figures vary from training to training is
not known.
"""

_LIMITS = (
    """It knows phantoms. What is unlike a radiograph in these is listed in `cxr_explain.phantom`; findings
    other than the ten it has never seen, and nothing but these ten ever differs between two images of one
    chest.""",
    """Prevalences, contrasts and sizes are the renderer's choice, so AUROC, calibration and operating points
    describe the renderer as much as the model.""",
    "A nodule that another finding hides counts on neither side.",
)

_INSTRUMENT = """
Its evidence was trained to lie on the finding. That makes it an instrument for testing maps, fusions and
metrics, and no witness that class maps of other models are right, nor of which rule makes the best maps.
"""

_UNTOLD = """
It was never told where a finding is. Where its maps lie is what its objective led to, with this renderer.
"""


def card(path: Path, validity: Path | None = None) -> str:
    """The card in Markdown.

    Args:
        path: a file that `python -m benchmarks.phantom_model` made.
        validity: folder of `cxr-explain evaluate --validity` with these weights; None leaves its tables out.
    """
    with safe_open(path, "np") as file:
        training = json.loads(file.metadata()["training"])
    instrument = Weights(**training["weights"]).located
    blocks = (
        f"# {path.stem}",
        _lines(_INTRODUCTION),
        "## What it is",
        _listed(*_facts(path, training)),
        "## Training",
        *map(_lines, (_trained(path, training), _asked(training), _CALIBRATED, _REPEATED)),
        *_measured(path, validity),
        "## Limits",
        _listed(*_LIMITS, _INSTRUMENT if instrument else _UNTOLD),
    )
    return "\n\n".join(blocks) + "\n"


def _lines(text: str, **indented: str) -> str:
    return fill(" ".join(text.split()), 120, break_long_words=False, break_on_hyphens=False, **indented)


def _listed(*items: str) -> str:
    return "\n".join(_lines(item, initial_indent="- ", subsequent_indent="  ") for item in items)


def _facts(path: Path, training: Mapping[str, Any]) -> tuple[str, ...]:
    content = path.read_bytes()
    *blocks, last = training["block_config"]
    cells = Settings(block_config=(*blocks, last)).cells
    parameters = sum(each.numel() for each in from_pretrained(path).module.parameters())
    network = f"""TorchXRayVision's `DenseNet` with growth rate {training["growth_rate"]}, blocks of
        {", ".join(map(str, blocks))} and {last} layers, {training["num_init_features"]} initial features
        and a bottleneck of {training["bn_size"]}: {parameters:,} parameters, {cells} x {cells} feature maps,
        {INPUT_SIZE} x {INPUT_SIZE} inputs in [-1024, 1024]. File: {len(content):,} bytes, safetensors,
        SHA-256 `{digest_of(content)}`."""
    outputs = f"""Outputs: {", ".join(CheckpointFacts.of_file(path).pathologies or ())}, by
        TorchXRayVision's names. They mean what `cxr_explain.phantom` renders under these names."""
    return network, outputs, _LICENCE


def _trained(path: Path, training: Mapping[str, Any]) -> str:
    chests, images = training["chests"], training["images"]
    shown, kind, each = "one by one", "images", images
    if training["paired"]:
        shown, kind = "each with the same image without one of the findings", "pairs"
        each = images // 2
    steps = chests["patients"] * chests["variants"] // each
    return f"""`python -m benchmarks.phantom_model {path.name} --model {_model(training)}` makes it:
        {chests["patients"]:,} chests (seeds from 0) with {chests["variants"]} sets of findings each,
        rendered at {", ".join(map(str, SIZES))} pixels a side, shown {shown}; epochs: {training["epochs"]},
        of {steps} steps of {each} {kind}, AdamW, one cycle of the learning rate, convolutions in
        {training["precision"]} (`benchmarks/phantom_model/settings.py`)."""


def _model(training: Mapping[str, Any]) -> str:
    """The model whose objective and network these are."""
    own = Weights(**training["weights"]), tuple(training["block_config"])
    names = [name for name, each in MODELS.items() if (each.weights, each.block_config) == own]
    return names[0] if names else "of other settings"


def _asked(training: Mapping[str, Any]) -> str:
    weights = Weights(**training["weights"])
    asked = "; ".join(f"{PARTS[name]} ({getattr(weights, name):g})" for name in weights.counted)
    return f"It was asked for, by weight (`benchmarks/phantom_model/objective.py`): {asked}."


def _measured(path: Path, folder: Path | None) -> tuple[str, ...]:
    """The report without its plots, and without its title, which may name a file of this machine."""
    if folder is None:
        return ()
    title, *blocks = (folder / "report.md").read_text(encoding="utf-8").strip().split("\n\n")
    said = f"`cxr-explain evaluate --validity --weights {path.stem}`{title[title.rfind(', on ') :]}:"
    return "## Validity", _lines(said), *(block for block in blocks if not block.startswith("!["))


def main(
    path: Annotated[Path, typer.Argument(help="The weights; the card lies beside them.")],
    validity: Annotated[Path | None, typer.Option(help="Folder of evaluate --validity.")] = None,
) -> None:
    """Write the card of a phantom model."""
    write_output(path.with_suffix(".md"), card(path, validity).encode(), "a model card")


if __name__ == "__main__":
    typer.run(main)
