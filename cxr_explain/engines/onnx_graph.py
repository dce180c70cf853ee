"""From a torch module to an ONNX graph, by torch's own exporter."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout

import torch
from torch import Tensor, nn

from cxr_explain.errors import ModelError
from cxr_explain.support.extras import require

OPSET = 18
"""Version of the ONNX operators; what runs graphs today knows newer ones, too."""


def onnx_graph(module: nn.Module, inputs: Tensor, output_names: Sequence[str], *, name: str) -> bytes:
    """The ONNX file of a module with one input, "image", whose first dimension may have any length.

    Args:
        module: what is exported, in evaluation mode.
        inputs: an example, (B, 1, S, S), B >= 2.
        output_names: names of its outputs.
        name: name of the model, for the error message.

    Raises:
        ModelError: a forward that torch cannot export.
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
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # the exporter runs the user's own code, and raises whatever it meets
        raise ModelError(
            f"a forward that cannot be exported ({type(error).__name__})",
            expected="tensor operations that torch.export can follow",
            remedy="Choose engine='torch', which runs any model.",
            source=name,
        ) from error
    content: bytes = program.model_proto.SerializeToString()  # type: ignore[union-attr]
    return content
