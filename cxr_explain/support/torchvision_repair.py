"""Make `import torchvision` work where its compiled operators do not fit the installed torch.

A torchvision wheel built for another torch (typically the CUDA build beside a CPU-only torch) cannot load
its `_C` library. Its Python code then registers a meta kernel for `torchvision::nms`, an operator that
nobody has declared, and the import fails with "operator torchvision::nms does not exist". Declaring the
schemas is enough: nothing here calls these operators, and calling them still fails with torch's own clear
error. Where the library loads, nothing is changed.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path
from typing import Any

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_keep_alive: list[object] = []  # a torch.library.Library undoes its definitions when it is collected


def ensure_torchvision_imports() -> None:
    """Declare torchvision's missing operator schemas, only where its compiled library cannot be loaded.

    For your own script, where `import torchxrayvision` fails with "operator torchvision::nms does not exist".

    >>> ensure_torchvision_imports()
    >>> import torchxrayvision
    """
    if "torchvision" in sys.modules or _keep_alive:
        return
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _compiled_operators_load(Path(spec.origin).parent):
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)
    _keep_alive.append(library)


def xrv_module(name: str) -> Any:
    """A module of TorchXRayVision, imported without a change to the process.

    Its import would have every warning of the process ignored from then on, the user's own, too.

    Args:
        name: the module within the package, such as "models".

    >>> xrv_module("models").DenseNet.__name__
    'DenseNet'
    """
    ensure_torchvision_imports()
    with warnings.catch_warnings():
        return importlib.import_module(f"torchxrayvision.{name}")


def _compiled_operators_load(package: Path) -> bool:
    import torch

    for candidate in (*package.glob("_C*.so"), *package.glob("_C*.pyd")):
        try:
            torch.ops.load_library(candidate)
        except OSError:
            continue
        return True
    return False
