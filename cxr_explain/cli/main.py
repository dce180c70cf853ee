"""The command line: all commands, and its entry point.

Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

from __future__ import annotations

import gc
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Annotated

import typer

from cxr_explain._version import __version__
from cxr_explain.cli import weights
from cxr_explain.cli.audits import audit, manifest, report, stats
from cxr_explain.cli.bundle import bundle
from cxr_explain.cli.console import errors_as_lines, say
from cxr_explain.cli.dicom import dicom
from cxr_explain.cli.dicomweb import dicomweb
from cxr_explain.cli.evaluate import evaluate
from cxr_explain.cli.explain import explain
from cxr_explain.cli.export import export
from cxr_explain.cli.figure import figure
from cxr_explain.cli.flatten import flattened
from cxr_explain.cli.help import PanelCommand, PanelGroup
from cxr_explain.cli.layers import layers
from cxr_explain.cli.phantom import phantom
from cxr_explain.cli.side_by_side import compare, panel
from cxr_explain.cli.surroundings import make_good
from cxr_explain.cli.words import words

COMMANDS = (
    explain, layers, evaluate, phantom, manifest, audit, stats, report, figure, panel, compare, dicom,
    dicomweb, words, bundle, export,
)  # fmt: skip
WEIGHTS_COMMANDS = (weights.list_, weights.path, weights.fetch, weights.verify)


def _version(value: bool) -> None:
    if value:
        say(f"cxr-explain {__version__}")
        raise typer.Exit


def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Show where a chest radiograph classifier sees its top K pathologies (FM-G-CAM)."""


def _group(commands: Iterable[Callable[..., None]], **settings: object) -> typer.Typer:
    """A group of commands; the last paragraph of each docstring is an example that ends its help."""
    group = typer.Typer(cls=PanelGroup, no_args_is_help=True, **settings)  # type: ignore[arg-type]
    for function in commands:
        text, *_, example = re.split(r"\n\n(?:Args|Example):\n", inspect.cleandoc(function.__doc__ or ""))
        register = group.command(function.__name__.rstrip("_"), cls=PanelCommand, help=text, epilog=example)
        register(errors_as_lines()(flattened(function)))
    return group


app = _group(
    COMMANDS,
    name="cxr-explain",
    callback=root,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(
    _group(WEIGHTS_COMMANDS), name="weights", help="List, find, fetch and verify weights.", cls=PanelGroup
)


def main() -> None:
    """Entry point of the `cxr-explain` command."""
    # Importing torch makes a million objects that stay: at Python's threshold, looking for garbage among
    # them takes 1 s, a sixth of a short run. In a long run memory stays as flat as before.
    gc.set_threshold(50_000, 10, 10)
    # NumPy's threads wait for their next product by spinning, each on a core that the model needs: an audit
    # takes a quarter longer (benchmarks/audit_cost.py). NumPy reads this when it is imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        with errors_as_lines():
            make_good()
            app(prog_name="cxr-explain")
    except typer.Exit as end:
        sys.exit(end.exit_code)
