"""`python -m benchmarks.phantom_model`: render, train, calibrate, save.

Nothing heavy is imported before the work starts: a process that renders imports this module too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cxr_explain.errors import CxrExplainError


def train(
    out: Annotated[Path, typer.Argument(help="Where the weights go (.safetensors); its digest lies beside.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the parameters and the order of the pairs.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Of torch; another number rounds differently.")] = 2,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that render.", show_default="one a core")
    ] = None,
) -> None:
    """Train the phantom model: about an hour and a half on two cores with the defaults."""
    err = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        import torch

        from benchmarks.phantom_model.making import make
        from benchmarks.phantom_model.settings import Settings

        torch.set_num_threads(threads)
        sha256 = make(Settings(seed=seed), out, jobs=jobs or os.cpu_count() or 1, say=err.print)
    except CxrExplainError as error:
        err.print(f"error: {error}", markup=False)
        raise typer.Exit(1) from error
    err.print(f"{out}: SHA-256 {sha256}")


def main() -> None:
    """Run the command."""
    typer.run(train)


if __name__ == "__main__":
    main()
