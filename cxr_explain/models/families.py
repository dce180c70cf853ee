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

from cxr_explain.errors import ArchitectureError, ModelError, OptionError
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
        module: class of the modules, with the module that defines it: names of classes repeat within a
            library. A subclass belongs to the family, too.
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


_BASELINE = "torchxrayvision.baseline_models"

FAMILIES: dict[str, Family] = {
    "xrv-densenet": Family("torchxrayvision.models.DenseNet", "xrv:XRVDenseNet", "classifier.weight"),
    "xrv-resnet50": Family("torchxrayvision.models.ResNet", "xrv:XRVResNet", "fc.weight"),
    "xrv-jfhealthcare": Family(f"{_BASELINE}.jfhealthcare.DenseNet", "xrv_baselines:XRVJFHealthcare"),
    "xrv-emory-hiti": Family(f"{_BASELINE}.emory_hiti.RaceModel", "xrv_baselines:XRVRaceModel"),
    "xrv-mira": Family(f"{_BASELINE}.mira.SexModel", "xrv_baselines:XRVSexModel"),
    "xrv-xinario": Family(f"{_BASELINE}.xinario.ViewModel", "xrv_baselines:XRVViewModel"),
    "monai-densenet": Family("monai.networks.nets.densenet.DenseNet", "monai:MonaiDenseNet"),
}
"""Each family by the name that the registry of weights and MONAI bundles call it by."""

_SEGMENTS = "Find lungs and thorax with it: cxr-explain audit --regions "
_ONLY_CLASSIFIERS = "Explain a classifier, such as densenet121-res224-all."

REFUSED: dict[str, tuple[str, str]] = {
    f"{_BASELINE}.chexpert.DenseNet": (
        "an ensemble of up to 30 networks for each pathology, of which the mean probability is given: no one "
        "layer is on the way to all scores",
        "Explain its networks one by one: 'Your own weights' in the documentation has how.",
    ),
    f"{_BASELINE}.riken.AgeModel": (
        "a regression: an age in years, no score of a pathology, from a TorchScript network",
        _ONLY_CLASSIFIERS,
    ),
    f"{_BASELINE}.chestx_det.PSPNet": (
        "a segmentation network: masks of 14 structures, no scores", f"{_SEGMENTS}chestx-det."
    ),
    f"{_BASELINE}.chestx_anatomy.BackboneUNet": (
        "a segmentation network: masks of 159 structures, no scores", f"{_SEGMENTS}chestx-anatomy."
    ),
    f"{_BASELINE}.ieee8023.VQGAN": ("an autoencoder: an image, no scores", _ONLY_CLASSIFIERS),
    "torchxrayvision.autoencoders._ResNetAE": ("an autoencoder: an image, no scores", _ONLY_CLASSIFIERS),
}  # fmt: skip
"""Models of TorchXRayVision that cannot be explained: what each gives, and what to do in its place."""


def family_of_module(module: nn.Module) -> Family | None:
    """The family of a module, by the library's own class that it is made of; None for any other module.

    Raises:
        ModelError: a class that is known, and `REFUSED`.
    """
    classes = [f"{cls.__module__}.{cls.__qualname__}" for cls in type(module).__mro__]
    for name in classes:
        if name in REFUSED:
            gives, remedy = REFUSED[name]
            raise ModelError(
                f"{name.rpartition('.')[0]}.{type(module).__name__}, which is {gives}",
                expected="a classifier of pathologies",
                remedy=remedy,
            )
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
