"""OpenVINO as an engine."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray

from cxr_explain.engines.registry import RunBody
from cxr_explain.options import Dtype

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def compile_body(graph: bytes, *, dtype: Dtype, threads: int) -> RunBody:
    """See `CompileBody`; one request at a time, as each uses all the cores that it is given."""
    core = openvino.Core()
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _PRECISIONS[dtype],
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = core.compile_model(core.read_model(graph), "CPU", settings).create_infer_request()
    lock = threading.Lock()

    def run(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        with lock:
            request.infer({"image": inputs}, share_inputs=True)
            return np.array(request.get_output_tensor().data)  # the request writes there again

    return run
