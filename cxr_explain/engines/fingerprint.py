"""All that a body computes, as a text: two bodies with the same text compute the same.

Known is the code of the libraries of models, whose versions the text states. A body with a part of other
code, or with a hook, has no text: nobody can say whether that code is still the same in another process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cxr_explain.engines.cache import versions
from cxr_explain.engines.onnx_graph import OPSET
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.models.wrappers import hook_counts
from cxr_explain.weights.facts import MODULE_FACTS

_KNOWN = ("torch", "torchvision", "torchxrayvision", "monai", "cxr_explain")
_EXPORT = ("onnx", "onnxscript", "onnx_ir")
_SAY_NOTHING = frozenset({"training", "pathologies", "targets", "op_threshs", "weights", MODULE_FACTS})
"""Attributes of modules that a body does not compute with in evaluation mode."""


class _UnknownCodeError(Exception):
    """A part of which nobody can say what it computes."""


def fingerprint(classifier: PooledLinearClassifier) -> str | None:
    """What the body of a classifier computes, as a text; None where it may be more than can be said."""
    try:
        said = hashlib.sha256("\n".join(_described(classifier.body)).encode())
    except _UnknownCodeError:
        return None
    size = classifier.input_size  # of the example that is exported
    return f"body {said.hexdigest()} {size} {OPSET} {versions(*_KNOWN[:-1], *_EXPORT)}"


def _described(value: object) -> Iterator[str]:
    if value is None or isinstance(value, (bool, int, float, str)):
        yield repr(value)
    elif isinstance(value, (tuple, list)):
        yield f"{len(value)} of"
        for each in value:
            yield from _described(each)
    elif isinstance(value, Tensor):
        yield _of_tensor(value)
    elif isinstance(value, nn.Module):
        yield from _of_module(value)
    elif is_dataclass(value) and not isinstance(value, type):
        yield _named(type(value))
        for field in fields(value):
            yield from _described(getattr(value, field.name))
    else:
        yield _named(value)


def _of_module(module: nn.Module) -> Iterator[str]:
    attributes = dict(vars(module))
    parts = [attributes.pop(name) for name in ("_parameters", "_buffers", "_modules")]
    if any(hook_counts(module)) or "forward" in attributes:
        raise _UnknownCodeError
    yield f"{_named(type(module))} {module.extra_repr()}"
    for name, part in (named for each in parts for named in each.items()):
        yield name
        yield from _described(part)
    for name, value in attributes.items():
        if not name.startswith("_") and name not in _SAY_NOTHING:
            yield name
            yield from _described(value)


def _of_tensor(tensor: Tensor) -> str:
    values = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return f"{tensor.dtype} {tuple(tensor.shape)} {digest.hexdigest()}"


def _named(code: Any) -> str:
    """The name of a class or function of a known library, which its version says all about."""
    home, name = getattr(code, "__module__", None) or "", getattr(code, "__qualname__", "<")
    if home.split(".")[0] not in _KNOWN or "<" in name:
        raise _UnknownCodeError
    return f"{home}.{name}"
