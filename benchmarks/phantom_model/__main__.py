"""`python -m benchmarks.phantom_model`: render, train, calibrate, save.

Nothing heavy is imported before the work starts: a process that renders imports this module too.
"""

from __future__ import annotations

import os
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.phantom_model.settings import MODELS, tried
from cxr_explain.errors import CxrExplainError

Model = StrEnum("Model", list(MODELS))
_FINE = Model("fine")


def train(
    out: Annotated[Path, typer.Argument(help="Where the weights go (.safetensors); its digest lies beside.")],
    model: Annotated[Model, typer.Option(help="Which of the models.")] = _FINE,
    examples: Annotated[
        Path | None,
        typer.Option(help="Folder of the examples, shared by all models.", show_default="beside the weights"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the parameters, the order and the noise.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of torch; another number rounds differently.")] = 2,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that render.", show_default="one a core")
    ] = None,
    exact: Annotated[bool, typer.Option("--float32", help="Train in float32 throughout.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few chests, one epoch: to see that it runs.")
    ] = False,
) -> None:
    """Train a phantom model. What was stopped goes on where it was."""
    err = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        import torch

        from benchmarks.phantom_model.making import CALIBRATION, make

        torch.set_num_threads(threads)
        settings = replace(MODELS[model], seed=seed, **({"precision": "float32"} if exact else {}))
        sha256 = make(
            tried(settings) if quick else settings,
            out,
            examples=examples or out.parent / "examples",
            calibration=CALIBRATION[:100] if quick else CALIBRATION,
            jobs=jobs or os.cpu_count() or 1,
            say=err.print,
        )
    except CxrExplainError as error:
        err.print(f"error: {error}", markup=False)
        raise typer.Exit(1) from error
    err.print(f"{out}: SHA-256 {sha256}")


def main() -> None:
    """Run the command."""
    typer.run(train)


if __name__ == "__main__":
    main()
