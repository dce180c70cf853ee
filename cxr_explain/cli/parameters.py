"""Options that several commands share, described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_explain.cam.registry import Method
from cxr_explain.options import Activation, Dtype, Fit, Normalisation, RankBy, Uncertain

Weights = Annotated[str, typer.Option(help="A name from `cxr-explain weights list`, or a checkpoint file.")]
WeightsDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the weights. Default: $CXR_EXPLAIN_WEIGHTS_DIR, else torchxrayvision's own cache.",
        show_default=False,
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Never download weights.")]
AllowPhantomWeights = Annotated[
    bool,
    typer.Option(
        "--allow-phantom-weights",
        help="Let a model trained on phantoms only explain radiographs, for demonstration.",
    ),
]
TopK = Annotated[int, typer.Option(min=1, help="How many pathologies to explain.")]
RankedBy = Annotated[RankBy, typer.Option(help="Score to rank by.")]
AboveOperatingPoint = Annotated[
    bool, typer.Option("--above-operating-point", help="Explain only what reaches its operating point.")
]
Pathologies = Annotated[
    str | None, typer.Option(help="Consider these alone: 'Effusion|Mass'.", show_default=False)
]
Rule = Annotated[Method, typer.Option(help="Rule that makes the class maps.")]
Fused = Annotated[
    bool, typer.Option("--fused/--not-fused", help="Keep only the strongest pathology at each position.")
]
NormalisedBy = Annotated[
    Normalisation, typer.Option(help="L2 norm of the whole block, of each class map, or per column.")
]
ActivatedBy = Annotated[Activation, typer.Option(help="Applied to the fused map.")]
FitBy = Annotated[Fit, typer.Option(help="Centre crop as in training, or pad to show the model everything.")]
Voi = Annotated[str, typer.Option(help="DICOM: auto, none, an index, or CENTER/WIDTH.")]
XrvCompatible = Annotated[
    bool, typer.Option("--xrv-compatible", help="Read and resize exactly as torchxrayvision does.")
]
MaxPixels = Annotated[
    int | None, typer.Option(min=1, help="Refuse larger images.", show_default="100 million")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1 ...", show_default="cuda where present")]
Arithmetic = Annotated[Dtype, typer.Option(help="Arithmetic of the forward pass.")]
UncertainAs = Annotated[
    Uncertain, typer.Option(help="What an uncertain reference label counts as in the statistics.")
]
Images = Annotated[
    str | None,
    typer.Option(help="The image folder, where it is no longer where the audit ran.", show_default=False),
]
RunFolder = Annotated[str, typer.Argument(help="The run's folder, or its URL.", metavar="RUN")]


def split_names(text: str | None) -> tuple[str, ...] | None:
    """Read 'Effusion|Mass'.

    >>> split_names("Effusion | Mass")
    ('Effusion', 'Mass')
    """
    return None if text is None else tuple(part.strip() for part in text.split("|"))


def voi_of(text: str) -> str | int:
    """Read the value of --voi: a number is an index."""
    return int(text) if text.lstrip("-").isdigit() else text
