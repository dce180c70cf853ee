"""The command that writes computed chest phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_explain.cli.console import say, track
from cxr_explain.cli.flatten import Panel
from cxr_explain.cli.panels import Natural, OutPath


class PhantomPanel(Panel, title="Output"):
    """What is written.

    Args:
        n: number of phantoms.
        seed: seed of the first phantom; each further one has the next number.
        size: side of each square image in pixels.
        bits: bits of each pixel in the DICOM files.
        output: folder for the phantoms, a new or an empty one.
    """

    n: Annotated[int, typer.Option("--n", min=1)] = 20
    seed: Natural = 0
    size: Annotated[int, typer.Option(min=64, max=4096)] = 512
    bits: Annotated[int, typer.Option(min=9, max=16)] = 12
    output: OutPath = Path("phantoms")


def phantom(wanted: PhantomPanel) -> None:
    """Write computed chest phantoms with known findings: images, labels, boxes, masks, counterfactuals.

    In NIH ChestX-ray14's file layout, with DICOM files beside it. No patient is in them.

    May be stopped at any moment; the same command finishes them.

    Example:
        cxr-explain phantom --n 4
    """
    from cxr_explain.phantom.dataset import write_dataset

    n, folder = wanted.n, wanted.output
    rendered = write_dataset(folder, n=n, seed=wanted.seed, size=wanted.size, bits=wanted.bits)
    for _ in track(rendered, "rendering", total=n):
        pass
    say(f"{n} phantoms in {folder}")
