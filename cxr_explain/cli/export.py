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
    page: Annotated[
        Path | None,
        typer.Option(
            "--page", rich_help_panel="Output", parser=named_path, metavar="DIR", show_default="none"
        ),
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel="Output",
            parser=named_path,
            metavar="DIR",
            show_default="$CXR_EXPLAIN_ORT_WEB, else what npm fetches once",
        ),
    ] = None,
    allow_phantom_weights: Annotated[
        bool, typer.Option("--allow-phantom-weights", rich_help_panel="Model")
    ] = False,
) -> None:
    """Write the whole explanation as one ONNX graph: from the prepared image to scores, ranking and maps.

    Whatever runs ONNX runs it, without this package and without PyTorch. The file's metadata say what its
    numbers mean and how an image is prepared. It is checked against PyTorch before it is written.

    What would run the model more than once, such as Score-CAM, and Eigen-CAM are refused; so is
    --above-operating-point, with which K is another number for each image.

    Args:
        model: which model.
        ranking: which pathologies are explained.
        rule: how class maps are made.
        fusion: how class maps become one map.
        output: file to write, such as explainer.onnx.
        page: folder to write a page to, which explains radiographs in a browser and sends them nowhere.
        runtime: folder of onnxruntime-web, which the page runs the model with.
        allow_phantom_weights: let a model that was trained on phantoms only explain radiographs, as a
            demonstration.

    Example:
        cxr-explain export --weights phantom --top-k 3 --out explainer.onnx
    """
    if output is None and page is None:
        raise OptionError("nothing to write", expected="--out FILE or --page DIR")
    parts = {}
    if page is not None:  # looked for before anything long is done
        from cxr_explain.pages.in_browser.runtime import runtime_files

        parts = runtime_files(runtime, fetch=not model.offline)
    from cxr_explain.explaining.explainer import Explainer
    from cxr_explain.explaining.export import export_graph

    explainer = Explainer.from_pretrained(
        model.weights,
        weights_dir=model.weights_dir,
        fetch=not model.offline,
        device="cpu",
        allow_phantom_weights=allow_phantom_weights,
        **vars(rule),
        **vars(fusion),
    )
    console.name_weights(explainer.classifier)
    graph = export_graph(explainer, **vars(ranking.settings()))
    for each in graph.notes:
        console.note(each)
    if output is not None:
        path = graph.write(output)
        console.say(f"{shell_word(path)}: {graph.checked}")
    if page is not None:
        from cxr_explain.pages.in_browser.page import write_page

        write_page(page, explainer, graph, parts)
        console.say(f"{shell_word(page)}: a page; to see it, run")
        console.say(f"python -m http.server --bind 127.0.0.1 --directory {shell_word(page)} 8000")
        console.say("and open http://127.0.0.1:8000 in a browser; opened as a file it cannot load its model")
