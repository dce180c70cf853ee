"""The commands that list, find, fetch and verify weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_explain.cli.console import note, out, say
from cxr_explain.cli.panels import WeightsDir

if TYPE_CHECKING:
    from cxr_explain.weights import Weights

WeightsName = Annotated[
    str, typer.Argument(metavar="NAME", help="Name from `cxr-explain weights list`, or a checkpoint file.")
]


def list_(weights_dir: WeightsDir = None) -> None:
    """List the weights that have a name, and which of them are there.

    Weights of structures find lungs for an audit; see --regions there.

    Example:
        cxr-explain weights list
    """
    from rich.table import Table

    from cxr_explain.errors import WeightsNotFoundError
    from cxr_explain.weights import list_weights, weights_folder

    titles = ("name", "present", "pathologies", "input", "trained on", "SHA-256")
    table = Table(*titles, box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for row in list_weights(weights_dir):
        entry = row.entry
        table.add_row(
            entry.name,
            "no" if row.size is None else f"{row.size / 2**20:.1f} MiB",
            f"{entry.structures} structures" if entry.structures else str(len(entry.trained_pathologies)),
            f"{entry.input_size} px",
            "phantoms only" if entry.trained_on == "phantoms" else ", ".join(entry.training_sets),
            (row.recorded_sha256 or "")[:12],
        )
    out.print(table)
    try:
        out.print(f"folder: {weights_folder(weights_dir)}", style="dim", markup=False)
    except WeightsNotFoundError as error:  # a list of what there is: the bundled weights are
        note(str(error))


def path(name: WeightsName, weights_dir: WeightsDir = None) -> None:
    """Print where the file of these weights lies; exit 1 where it is missing.

    Example:
        cxr-explain weights path phantom
    """
    from cxr_explain.weights import resolve

    say(str(resolve(name, weights_dir, fetch=False)))


def fetch(name: WeightsName, weights_dir: WeightsDir = None) -> None:
    """Download these weights unless they are there; print their SHA-256, where they lie, and their outputs.

    Example:
        cxr-explain weights fetch densenet121-res224-all
    """
    from cxr_explain.weights import resolve, verify

    resolve(name, weights_dir)
    _print(verify(name, weights_dir))


def verify(
    name: WeightsName,
    weights_dir: WeightsDir = None,
    accept: Annotated[bool, typer.Option("--accept", rich_help_panel="Model")] = False,
) -> None:
    """Check that the file is whole, safe, and the one recorded at its first use; print what its outputs are.

    Args:
        name: name from `cxr-explain weights list`, or a checkpoint file.
        weights_dir: folder that holds the weights.
        accept: record the file as it is now, also where it is not the one recorded.

    Example:
        cxr-explain weights verify phantom
    """
    from cxr_explain.weights import verify

    _print(verify(name, weights_dir, accept=accept))


def _print(weights: Weights) -> None:
    say(f"{weights.sha256}  {weights.path}")
    if weights.entry is None or not weights.entry.structures:
        note(outputs_text(weights.pathologies))


def outputs_text(pathologies: Sequence[str] | None) -> str:
    """What is known of the outputs of weights.

    Args:
        pathologies: name of each output, '' for one that was never trained; None where nobody says.

    >>> outputs_text(["Mass", "", "Edema"])
    '2 of 3 outputs were trained: Mass, Edema'
    """
    if pathologies is None:
        return "which outputs were trained is unknown: the file does not say"
    trained = [name for name in pathologies if name]
    return f"{len(trained)} of {len(pathologies)} outputs were trained: {', '.join(trained)}"
