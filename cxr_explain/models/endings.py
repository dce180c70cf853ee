"""How a forward pass ends: the last sigmoid or softmax and what it was given, and what the graph says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import ReferenceType, ref

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

HEARD = ("sigmoid", "special_expit", "softmax", "log_softmax")
"""The functions that are listened for, by torch's names."""

_LINEAR = ("Addmm", "Mm", "Bmm", "Baddbmm", "Linear", "MkldnnLinear", "Convolution", "NativeBatchNorm")
_SHAPES = (
    *("View", "Reshape", "ReshapeAlias", "UnsafeView", "Squeeze", "Unsqueeze", "T", "Transpose", "Permute"),
    *("Expand", "Select", "Slice", "Index", "Clone", "ToCopy", "Alias", "Split", "Unbind"),
)
_SCALES = ("Add", "Sub", "Rsub", "Mul", "Div", "Neg", "Clamp")
_SUMS = ("Add", "Sub", "Mul", "Div", "Neg", "Mean", "Sum", "Stack", "Cat", "Amax", "Max", "AdaptiveAvgPool2D")


class Listener(TorchFunctionMode):
    """Keeps what the last sigmoid, softmax or log-softmax of a forward pass was given.

    >>> with Listener() as heard:
    ...     _ = torch.relu(torch.sigmoid(torch.tensor([3.0])) - 1)
    >>> heard.function, heard.given
    ('sigmoid', tensor([3.]))
    """

    function: str = ""
    given: Tensor | None = None
    giver: nn.Module | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call the function; see `torch.overrides`."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in HEARD:
            self.function, self.given = name, args[0] if args else (kwargs or {}).get("input")
        return result


@contextmanager
def listening(module: nn.Module) -> Iterator[Listener]:
    """Listen to every function of a pass; the module that gave the last one its input becomes the `giver`."""
    outputs: list[tuple[nn.Module, ReferenceType[Tensor]]] = []

    def note(part: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor):
            outputs.append((part, ref(output)))  # nothing is kept in memory for it

    parts = [part for part in module.modules() if not isinstance(part, torch.jit.ScriptModule)]
    handles = [part.register_forward_hook(note) for part in parts]
    try:
        with Listener() as heard:
            yield heard
    finally:
        for handle in handles:
            handle.remove()
    if heard.given is not None:
        heard.giver = next((part for part, output in outputs if output() is heard.given), None)


@contextmanager
def watching(function: str, giver: nn.Module) -> Iterator[Listener]:
    """Look at the giver of an earlier pass alone: to hear every function takes 5 % longer."""
    heard = Listener()
    heard.function = function

    def keep(_part: nn.Module, _inputs: object, output: object) -> None:
        heard.given = output if isinstance(output, Tensor) else None

    handle = giver.register_forward_hook(keep)
    try:
        yield heard
    finally:
        handle.remove()


def stem(node: Any) -> str:
    """The operation of a node, such as Addmm of AddmmBackward0."""
    return str(node.name().rpartition("::")[2].partition("Backward")[0])


def _parents(node: Any) -> list[Any]:
    return [parent for parent, _ in node.next_functions if parent is not None]


def behind_shapes(node: Any) -> Any:
    """The last operation that did something else than to change shape or type."""
    while node is not None and stem(node) in _SHAPES and len(_parents(node)) == 1:
        node = _parents(node)[0]
    return node


def behind_scaling(node: Any) -> Any:
    """The last operation that did something else than to change shape or type, or to scale by a number."""
    while node is not None and stem(node) in (*_SHAPES, *_SCALES):
        parents = [parent for parent in _parents(node) if "AccumulateGrad" not in parent.name()]
        if len(parents) != 1:
            break
        node = parents[0]
    return node


def ends_linear(node: Any) -> bool:
    """Whether nothing but sums and products lies between the output and layers that are linear."""
    waiting, seen, linear = [node] if node is not None else [], set(), False
    while waiting:
        node = waiting.pop()
        if node in seen or "AccumulateGrad" in node.name():
            continue
        seen.add(node)
        if stem(node) in _LINEAR:
            linear = True
        elif stem(node) in _SHAPES or stem(node) in _SUMS:
            waiting.extend(_parents(node))
        else:
            return False
    return linear
