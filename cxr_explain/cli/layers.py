"""The command that lists the layers of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cxr_explain.cli.console import name_weights, out
from cxr_explain.cli.panels import WeightsPanel

if TYPE_CHECKING:
    from cxr_explain.models.survey import ModelLayer


def layers(
    *,
    model: WeightsPanel,
    every: Annotated[bool, typer.Option("--all", rich_help_panel="Output")] = False,
) -> None:
    """List the layers of a model that can be explained, as `explain --layer` takes them.

    The model is run once, on random grey values, and one gradient is taken.

    Args:
        model: which model.
        every: list the other layers, too, and why each of them cannot be explained.

    Example:
        cxr-explain layers --weights phantom
    """
    from rich.markup import escape
    from rich.table import Table

    from cxr_explain.models.pretrained import from_pretrained
    from cxr_explain.models.survey import layers as layers_of

    classifier = from_pretrained(model.weights, weights_dir=model.weights_dir, fetch=not model.offline)
    name_weights(classifier)
    titles = ("layer", "kind", "gives", "channels", "maps", *(["why not"] if every else []))
    table = Table(*titles, box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for layer in layers_of(classifier):
        if every or layer.suits:
            table.add_row(*map(escape, _cells(layer)[: len(titles)]))
    out.print(table)
    out.print(f"without --layer: {classifier.target_layer}", style="dim", markup=False)


def _cells(layer: ModelLayer) -> tuple[str, ...]:
    channels, *cells = layer.maps or ("", "")
    gives = " x ".join(map(str, layer.shape or ()))
    return layer.name, layer.kind, gives, str(channels), " x ".join(map(str, cells)), layer.problem
