"""The command that writes the whole explanation as one file, which other programs run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxr_explain.cli import console
from cxr_explain.cli.panels import FusionPanel, RankingPanel, RulePanel, WeightsPanel, named_path
from cxr_explain.errors import OptionError
from cxr_explain.support.shell import shell_word


def export(
    *,
    model: WeightsPanel,
    ranking: RankingPanel,
    rule: RulePanel,
    fusion: FusionPanel,
    output: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", rich_help_panel="Output", parser=named_path, metavar="PATH", show_default="none"
        ),
    ] = None,
) -> None:
    """Write the whole explanation as one ONNX graph: from the prepared image to scores, ranking and maps.

    Whatever runs ONNX runs it, without this package and without PyTorch. The file's metadata say what its
    numbers mean and how an image is prepared. It is checked against PyTorch before it is written.

    Args:
        model: which model.
        ranking: which pathologies are explained.
        rule: how class maps are made.
        fusion: how class maps become one map.
        output: file to write, such as explainer.onnx.

    Example:
        cxr-explain export --weights phantom --top-k 3 --out explainer.onnx
    """
    if output is None:
        raise OptionError("nothing to write", expected="--out FILE")
    from cxr_explain.explaining.explainer import Explainer
    from cxr_explain.explaining.export import export_graph

    explainer = Explainer.from_pretrained(
        model.weights,
        weights_dir=model.weights_dir,
        fetch=not model.offline,
        device="cpu",
        **vars(rule),
        **vars(fusion),
    )
    console.name_weights(explainer.classifier)
    graph = export_graph(explainer, **vars(ranking.settings()))
    for each in graph.notes:
        console.note(each)
    path = graph.write(output)
    console.say(f"{shell_word(path)}: {graph.checked}")
