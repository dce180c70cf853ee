"""ONNX Runtime as an engine."""

from __future__ import annotations

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from cxr_explain.engines.registry import RunBody
from cxr_explain.options import Dtype

_ERRORS_ALONE = 3  # of its log's levels: it warns of initialisers that it folds


def compile_body(graph: bytes, *, dtype: Dtype, threads: int) -> RunBody:  # noqa: ARG001
    """See `CompileBody`; it computes in float32 alone."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ALONE
    # Its threads spin between operators, which is fast; by default also after the last one, where they
    # would take the cores of head, ranking and fusion, which torch computes.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        (activations,) = session.run(["activations"], {"image": inputs})
        return activations  # type: ignore[no-any-return]

    return run
