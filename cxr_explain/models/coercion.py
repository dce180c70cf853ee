"""From whatever model a user has at hand to a Classifier."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.base import Classifier, Outputs
from cxr_explain.models.hooked import HookedClassifier
from cxr_explain.models.monai import MonaiDenseNet
from cxr_explain.models.xrv import XRVDenseNet, XRVResNet

OutputsLike = Outputs | Sequence[str] | None
"""What the outputs of a head mean, or their names alone."""


def as_classifier(
    model: Classifier | nn.Module, outputs: OutputsLike = None, *, target_layer: str | None = None
) -> Classifier:
    """Find the adapter of a model; a classifier stays as it is.

    Args:
        model: TorchXRayVision's DenseNet or ResNet as it is; MONAI's 2-D DenseNets with `outputs`; any other
            module with `outputs` and `target_layer`.
        outputs: names of the model's outputs; TorchXRayVision's models bring their own.
        target_layer: of a module that is none of these: the layer to explain, by its name in
            `model.named_modules()`. The models named above have one of their own; other layers of theirs
            are explained with `Explainer(..., target_layers=...)`, as what such a model itself gives need
            not be logits: TorchXRayVision's give calibrated values.

    Raises:
        ModelError: a module that says too little of itself, or has no such layer.
        OptionError: outputs for a classifier, which has them.

    >>> from monai.networks.nets import DenseNet121
    >>> as_classifier(DenseNet121(2, 1, 2), ["Mass", "Edema"]).name
    'MONAI DenseNet121'
    """
    if isinstance(model, Classifier):
        if outputs is not None:
            raise OptionError(
                f"outputs for {model.name}, which is a Classifier", expected="the model without them"
            )
        return model
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"a model of type {type(model).__name__}", expected="a Classifier or a torch.nn.Module"
        )
    named = _outputs(outputs)
    family = _family(model)
    if family == "torchxrayvision ResNet":
        return XRVResNet(model, named)
    if family == "torchxrayvision DenseNet":
        return XRVDenseNet(model, named)
    if family == "monai DenseNet":
        return MonaiDenseNet(model, _named(named, model))
    if target_layer is not None:
        return HookedClassifier(model, target_layer, _named(named, model))
    raise ModelError(
        f"a {type(model).__name__}, of which no target layer is known",
        expected="a DenseNet or ResNet of TorchXRayVision, a DenseNet of MONAI, or a layer to explain",
        remedy="Name it: explain(model, batch, outputs=[...], target_layer='layer4'); or pass "
        "HookedClassifier(model, 'layer4', Outputs([...]), prepare=...).",
    )


def _family(model: nn.Module) -> str:
    """The library's own class the model is made of; subclasses belong to it."""
    known = ("torchxrayvision DenseNet", "torchxrayvision ResNet", "monai DenseNet")
    of_model = (f"{cls.__module__.partition('.')[0]} {cls.__name__}" for cls in type(model).__mro__)
    return next((name for name in of_model if name in known), "")


def _outputs(outputs: OutputsLike) -> Outputs | None:
    if outputs is None or isinstance(outputs, Outputs):
        return outputs
    if isinstance(outputs, str):
        raise OptionError(f"outputs={outputs!r}", expected=f"a sequence of names, such as [{outputs!r}]")
    return Outputs(tuple(outputs))


def _named(outputs: Outputs | None, model: nn.Module) -> Outputs:
    if outputs is None:
        raise ModelError(
            f"a {type(model).__name__} whose outputs have no names",
            expected="a name for each output",
            remedy="Pass outputs=['Mass', 'Edema', ...], with '' for an output that was never trained.",
        )
    return outputs
