"""From a torch module to an ONNX graph, by torch's own exporter."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn

from cxr_explain.errors import ModelError
from cxr_explain.support.extras import require

OPSET = 18
"""Version of the ONNX operators; what runs graphs today knows newer ones, too."""

_STANDARD = ("", "ai.onnx")


def onnx_graph(
    module: nn.Module,
    inputs: Tensor,
    output_names: Sequence[str],
    *,
    name: str,
    remedy: str = "Choose engine='torch', which runs any model.",
    fold: bool = True,
) -> bytes:
    """The ONNX file of a module with one input, "image", whose first dimension may have any length.

    What the exporter writes beside the graph, such as the lines of code that each node came from, with the
    paths of their files, is left out.

    Args:
        module: what is exported, in evaluation mode.
        inputs: an example, (B, 1, S, S), B >= 2.
        output_names: names of the outputs.
        name: name of the model, for the error message.
        remedy: the way out where it cannot be exported.
        fold: whether weights may be computed into one another; without it, each weight is an initialiser
            under the name that it has in the module.

    Raises:
        ModelError: a forward that torch cannot export, or not with operators of ONNX alone.
        MissingExtraError: the packages of the extra export are not there.
    """
    require("onnxscript", "export")
    quiet = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(quiet), redirect_stderr(quiet), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (inputs,),
                input_names=["image"],
                output_names=list(output_names),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                dynamo=True,
                optimize=fold,
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter runs the user's own code, and raises whatever it meets
        raise ModelError(
            f"a forward that cannot be exported ({type(error).__name__})",
            expected="tensor operations that torch.export can follow",
            remedy=remedy,
            source=name,
        ) from error
    model = program.model_proto  # type: ignore[union-attr]
    _check_standard(model, name, remedy)
    return _bare(model).SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph, and those within its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _graphs(inner)


def _check_standard(model: Any, name: str, remedy: str) -> None:
    """Refuse operators that other programs do not have."""
    operators = (node for graph in _graphs(model.graph) for node in graph.node)
    others = sorted({f"{node.domain}.{node.op_type}" for node in operators if node.domain not in _STANDARD})
    if others or model.functions:
        raise ModelError(
            f"operators that are not ONNX's own ({', '.join(others) or 'functions'})",
            expected="standard operators",
            remedy=remedy,
            source=name,
        )


def _bare(model: Any) -> Any:
    """The same without what was written beside it: the rest computes."""
    for graph in _graphs(model.graph):
        graph.ClearField("value_info")
        for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
            part.ClearField("metadata_props")
            part.ClearField("doc_string")
    return model
