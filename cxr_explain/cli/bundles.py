"""The command of a MONAI bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from cxr_explain.cli.console import errors_as_lines, out
from cxr_explain.cli.parameters import Offline, Weights, WeightsDir


def add_bundle_command(app: typer.Typer) -> None:
    """Give the command line its bundle command."""
    app.command()(bundle)


def bundle(
    weights: Weights = "densenet121-res224-all",
    weights_dir: WeightsDir = None,
    offline: Offline = False,
    output: Annotated[Path, typer.Option("--out", "-o", help="A new or empty folder.")] = Path("bundle"),
) -> None:
    """Write a MONAI bundle that explains radiographs: `python -m monai.bundle run` runs it."""
    with errors_as_lines():
        from cxr_explain.integrations.monai.bundle import write_bundle

        folder = write_bundle(weights, output, weights_dir=weights_dir, fetch=not offline)
        out.print(f"Bundle in {escape(str(folder))}. Run it:", soft_wrap=True)
        out.print(
            escape(
                f"python -m monai.bundle run --bundle_root {folder} "
                f"--config_file {folder / 'configs' / 'inference.json'} --dataset_dir RADIOGRAPHS"
            ),
            soft_wrap=True,
        )
