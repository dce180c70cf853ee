"""`python -m cxr_explain.study.validity`: measure a classifier on unseen phantoms and print the tables.

Nothing heavy is imported before the work starts: a process that renders imports this module too.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Literal

import typer
from rich.console import Console

from cxr_explain.errors import CxrExplainError

Format = Literal["text", "markdown", "json"]
_FIRST_UNSEEN = 10_000_000  # specimen.UNSEEN, without importing the renderer


def validity(
    n: Annotated[int, typer.Option("--n", min=1, help="How many phantoms.")] = 1000,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the first phantom; the default and above were not trained on.")
    ] = _FIRST_UNSEEN,
    size: Annotated[int, typer.Option(min=32, max=4096, help="Pixels a side.")] = 256,
    weights: Annotated[str, typer.Option(help="A name of published weights, or a checkpoint.")] = "phantom",
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = "text",
    resamples: Annotated[int, typer.Option(min=1, help="Of the bootstrap.")] = 1000,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that render.", show_default="one a core")
    ] = None,
) -> None:
    """Measure how valid a classifier and its maps are, on phantoms that it has never seen."""
    from rich.progress import Progress

    err = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        from cxr_explain.explaining.explainer import Explainer
        from cxr_explain.study.validity.measure import measure_validity

        explainer = Explainer.from_pretrained(weights)
        with Progress(console=err, transient=True, disable=not err.is_terminal) as progress:
            task = progress.add_task("phantoms", total=n)
            found = measure_validity(
                explainer,
                n=n,
                seed=seed,
                size=size,
                jobs=jobs or os.cpu_count() or 1,
                resamples=resamples,
                advance=lambda: progress.advance(task),
            )
    except CxrExplainError as error:
        err.print(f"error: {error}", markup=False)
        raise typer.Exit(2 if error.code == "option" else 1) from error
    forms = {"text": found.to_text, "markdown": found.to_markdown, "json": found.to_json}
    sys.stdout.write(forms[form]().rstrip("\n") + "\n")


def main() -> None:
    """Run the command."""
    typer.run(validity)


if __name__ == "__main__":
    main()
