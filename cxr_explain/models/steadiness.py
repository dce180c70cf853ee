"""Whether the scores of an image are its own: the same at each call, and whatever other images are with it.

A dropout that stays on in evaluation mode gives another explanation at each call, and a batch norm without
running statistics explains an image by its neighbours. Both are found by running the first image by itself.
"""

from __future__ import annotations

import operator
from collections.abc import Hashable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from cxr_explain.errors import ModelError
from cxr_explain.models.base import Classifier
from cxr_explain.models.output_kinds import agree
from cxr_explain.models.wrappers import hook_counts

_ROUNDING = 1e-3
"""What the size of a batch may change of scores, of the largest one: sums are taken in another order."""

_VALUES = 4
"""So many of each parameter are looked at, to notice a change."""

_found: WeakKeyDictionary[nn.Module, dict[bool, Hashable]] = WeakKeyDictionary()
"""In which state a module was found steady, for one image and for several: a loop does not look each time."""


def check_steady(classifier: Classifier, inputs: Tensor, logits: Tensor | None = None) -> None:
    """Refuse a model whose scores of the first image are others when it is run again, by itself.

    It is run once for each state of the module, and once more for the message.

    Args:
        classifier: the model.
        inputs: model inputs, (B, C, S, S).
        logits: what it gave for them, (B, N); by default it is run.

    Raises:
        ModelError: scores that change from call to call, or with the other images of a batch.
    """
    state, known = state_of(classifier.module), _found.setdefault(classifier.module, {})
    if known.get(len(inputs) > 1) == state:
        return
    several = len(inputs) > 1
    if logits is None:
        inputs = inputs[:2]
        logits = classifier.logits(inputs)
    check_alone(classifier, inputs, logits[:1], _by_itself(classifier, inputs))
    known[several] = state_of(classifier.module)


def check_alone(classifier: Classifier, inputs: Tensor, together: Tensor, alone: Tensor) -> None:
    """Refuse scores of the first image that are others by itself; see `check_steady`.

    Args:
        classifier: the model.
        inputs: model inputs, (B, C, S, S).
        together: logits of the first image among all of them, (1, N).
        alone: logits of the first image by itself, (1, N).

    Raises:
        ModelError: says which scores changed, and why.
    """
    if _alike(alone, together):
        return
    again = _by_itself(classifier, inputs)
    if not _alike(alone, again):
        raise not_the_same_twice(classifier, together if len(inputs) == 1 else alone, again)
    if len(inputs) == 1 or _alike(_among_copies(classifier, inputs), together):
        return  # the rounding of another size of batch, in a network that makes much of it
    raise ModelError(
        f"scores of an image that depend on the other images in the batch ({numbers(together)} among "
        f"{len(inputs)}, {numbers(alone)} without them)",
        expected="scores of each image by itself",
        remedy="Give batch norms running statistics, and take out what looks along the batch; or explain "
        "one image at a time.",
        source=classifier.name,
    )


def not_the_same_twice(classifier: Classifier, once: Tensor, again: Tensor) -> ModelError:
    """What to raise where two calls with the same image gave these scores, (1, N)."""
    return ModelError(
        f"outputs that differ from call to call ({numbers(once)}, then {numbers(again)})",
        expected="a model that gives the same twice",
        remedy="Take out what is random in its forward pass, such as a dropout that stays on in evaluation "
        "mode.",
        source=classifier.name,
    )


def numbers(values: Tensor) -> str:
    """The first scores of the first image, for a message."""
    return ", ".join(f"{value:.4g}" for value in values[0, :3].tolist()) + (
        ", ..." if values.shape[1] > 3 else ""
    )


def state_of(module: nn.Module) -> Hashable:
    """What a model's scores depend on: hooks, forwards, and the weights' versions."""
    state: list[Hashable] = []
    for part in module.modules():
        state += [id(part), *hook_counts(part), id(vars(part).get("forward"))]
        tensors = (*part.parameters(recurse=False), *part.buffers(recurse=False))
        # What autograd itself compares to notice a change in place; tensors of inference mode have none.
        state += [0 if tensor.is_inference() else tensor._version for tensor in tensors]  # noqa: SLF001
    return tuple(state)


class ModuleWatch:
    """Notices that a module has changed, in a tenth of the time that `state_of` takes.

    Training further, loading, another format, a submodule or tensor in the place of another, a hook and
    another forward are noticed. Fused optimisers, and what writes to `.data`, go past autograd: they are
    noticed by the first values of each parameter on the CPU, as a step changes all of it. A write to one
    filter alone that goes past autograd may not be noticed.

    Args:
        module: the module as it is now.

    >>> module = nn.Sequential(nn.Linear(2, 2))
    >>> watch = ModuleWatch(module)
    >>> before, _ = watch.unchanged(), module.half()
    >>> before, watch.unchanged()
    (True, False)
    """

    def __init__(self, module: nn.Module) -> None:
        parts = [vars(part) for part in module.modules()]
        self._parts = parts
        self._holders = [part[kind] for part in parts for kind in ("_modules", "_parameters", "_buffers")]
        self._hooks = [part[kind] for part in parts for kind in ("_forward_hooks", "_forward_pre_hooks")]
        self._held = self._holding()
        tensors = [each for each in self._held if isinstance(each, Tensor)]
        self._tensors = [each for each in tensors if not each.is_inference()]  # others have no version
        self._all_tensors = tensors
        # Views: they keep the memory of what they look at, so that no other tensor can come to lie there.
        self._looks = [
            each.detach().flatten()[:_VALUES]
            for each in module.parameters()
            if each.dtype == torch.float32 and each.device.type == "cpu" and each.layout == torch.strided
        ]
        self._state, self._values = self._state_now(), self._values_now()

    def unchanged(self) -> bool:
        """Whether the module is as it was when this was made."""
        held = self._holding()
        return (
            len(held) == len(self._held)
            and all(map(operator.is_, held, self._held))
            and self._state_now() == self._state
            and self._values_now().equal(self._values)
        )

    def _holding(self) -> list[object]:
        return [each for holder in self._holders for each in holder.values()]

    def _values_now(self) -> Tensor:
        """Bit by bit: a NaN is equal to itself."""
        return torch.cat([torch.empty(0), *self._looks]).view(torch.int32)

    def _state_now(self) -> Hashable:
        return (
            tuple(map(len, self._hooks)),
            tuple(part.get("forward") for part in self._parts),
            tuple(tensor._version for tensor in self._tensors),  # noqa: SLF001 - see `state_of`
            tuple(map(Tensor.data_ptr, self._all_tensors)),
        )


def _by_itself(classifier: Classifier, inputs: Tensor) -> Tensor:
    """Logits of the first image alone, (1, N); among copies where a model takes no batch of one."""
    try:
        return classifier.logits(inputs[:1])
    except Exception:  # whatever the user's own code raises
        if len(inputs) == 1:
            raise
    return _among_copies(classifier, inputs)


def _among_copies(classifier: Classifier, inputs: Tensor) -> Tensor:
    """Logits of the first image, (1, N), in a batch of the same size that holds nothing else."""
    copies = inputs[:1].repeat(len(inputs), 1, 1, 1)
    return classifier.logits(copies, batch_size=len(copies))[:1]


def _alike(one: Tensor, other: Tensor) -> bool:
    coarsest = max(torch.finfo(tensor.dtype).eps for tensor in (one, other))
    return agree(one, other, max(_ROUNDING, 32 * coarsest))
