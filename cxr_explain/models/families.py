"""The families of models that are known by themselves, one line each.

The module of an adapter is imported at its first use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pkgutil import resolve_name
from typing import Any, Protocol, cast

from torch import Tensor, nn

from cxr_explain.errors import ArchitectureError, OptionError
from cxr_explain.models.base import Classifier, Outputs


class Adapter(Protocol):
    """What is asked of the `Classifier` of a family."""

    names_outputs: bool

    def __call__(self, module: nn.Module, outputs: Outputs | None, **description: Any) -> Classifier:
        """Make a classifier of a module; without `outputs` only if the family `names_outputs`."""
        ...

    def configuration(self, tensors: Mapping[str, Tensor], *, source: str | None) -> dict[str, Any]:
        """The arguments of `empty` for a checkpoint's tensors; asked of families with a head alone."""
        ...

    def empty(self, **configuration: Any) -> nn.Module:
        """A module with random weights; asked of families with a head alone."""
        ...


@dataclass(frozen=True)
class Family:
    """One kind of model.

    Args:
        module: library and class of the modules, "library.Class"; a subclass belongs to the family, too.
        adapter: module in `cxr_explain.models` and the family's `Classifier` in it, "module:Class".
        head: name of the head's weight, (N, C), among the tensors of a checkpoint; None for a family that is
            not read from files.

    >>> FAMILIES["xrv-densenet"].load().__name__
    'XRVDenseNet'
    """

    module: str
    adapter: str
    head: str | None = None

    def load(self) -> Adapter:
        """The family's classifier class."""
        return cast(Adapter, resolve_name(f"cxr_explain.models.{self.adapter}"))


FAMILIES: dict[str, Family] = {
    "xrv-densenet": Family("torchxrayvision.DenseNet", "xrv:XRVDenseNet", "classifier.weight"),
    "xrv-resnet50": Family("torchxrayvision.ResNet", "xrv:XRVResNet", "fc.weight"),
    "monai-densenet": Family("monai.DenseNet", "monai:MonaiDenseNet"),
}
"""Each family by the name that the registry of weights and MONAI bundles call it by."""


def family_of_module(module: nn.Module) -> Family | None:
    """The family of a module, by the library's own class that it is made of; None for any other module."""
    classes = [f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls in type(module).__mro__]
    return next((family for family in FAMILIES.values() if family.module in classes), None)


def family_of_tensors(tensors: Mapping[str, Tensor], *, source: str | PathLike[str] | None = None) -> str:
    """The name of the family that a checkpoint's tensors belong to, told by its head.

    Args:
        tensors: the checkpoint's tensors by name.
        source: the weights, for the error message.

    Raises:
        ArchitectureError: no head of any family.
    """
    for name, family in FAMILIES.items():
        head = tensors.get(family.head or "")
        if head is not None and head.ndim == 2:
            return name
    heads = [family.head for family in FAMILIES.values() if family.head]
    known = " or ".join(f"{one.head} (N, C) of {one.module}" for one in FAMILIES.values() if one.head)
    prefixed = next((name for name in tensors if any(name.endswith(f".{head}") for head in heads)), None)
    raise ArchitectureError(
        f"no classification head among {len(tensors)} tensors",
        expected=known,
        remedy=prefixed
        and f"There is {prefixed}: save the tensors of that part alone, without the names before it.",
        source=source,
    )


def family_named(name: str) -> Family:
    """The family of a name, of those that are read from files.

    Raises:
        OptionError: no such family.
    """
    readable = {name: family for name, family in FAMILIES.items() if family.head}
    if name not in readable:
        raise OptionError(f"architecture={name!r}", expected=f"one of {', '.join(readable)}")
    return readable[name]
