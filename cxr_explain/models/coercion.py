"""From whatever model a user has at hand to a Classifier."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.at_layers import naming_layers
from cxr_explain.models.base import Classifier, Outputs
from cxr_explain.models.families import FAMILIES, family_of_module
from cxr_explain.models.hooked import HookedClassifier
from cxr_explain.models.loaded import Loaded
from cxr_explain.models.wrappers import unwrapped

OutputsLike = Outputs | Sequence[str] | None
"""What the outputs of a head mean, or their names alone."""


def as_classifier(
    model: Classifier | nn.Module,
    outputs: OutputsLike = None,
    *,
    target_layer: str | None = None,
    inputs: Tensor | None = None,
) -> Classifier:
    """Find the adapter of a model; a classifier stays as it is.

    Args:
        model: a module of one of the `FAMILIES`, such as TorchXRayVision's DenseNet; or any other module,
            with `outputs` and `target_layer`.
        outputs: names of the N outputs, or `Outputs`, which also say what they are (`kind`); only families
            that know the names, such as TorchXRayVision's, can do without.
        target_layer: name in `model.named_modules()` of the layer to explain, for a module of no family. A
            known family has a target layer already. Other layers of such a model are explained with
            `Explainer(..., target_layers=...)`.
        inputs: model inputs, (B, C, H, W), to find out which layers would do where none is named; by default
            those of `layers`.

    Raises:
        ModelError: a module that says too little about itself, or has no such layer.
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
    named = None if outputs is None else Outputs.of(outputs)
    model, (layer,) = unwrapped(model, target_layer or "")
    target_layer = layer or None
    loaded = Loaded.of(model)
    if loaded is not None and loaded.architecture in FAMILIES:
        return FAMILIES[loaded.architecture].load()(model, named or loaded.outputs, **loaded.description)
    family = family_of_module(model)
    if family is None and target_layer is None:
        error = ModelError(
            f"a {type(model).__name__}, of which no target layer is known",
            expected=f"a layer to explain, or one of {', '.join(each.module for each in FAMILIES.values())}",
            remedy="Name it: explain(model, batch, outputs=[...], target_layer='layer4'); or pass "
            "HookedClassifier(model, 'layer4', Outputs([...]), prepare=...).",
        )
        raise naming_layers(error, model, inputs)
    adapter = family.load() if family else None
    if adapter and (named or adapter.names_outputs):
        return adapter(model, named)
    if named is None:
        raise ModelError(
            f"a {type(model).__name__} whose outputs have no names",
            expected="a name for each output",
            remedy="Pass outputs=['Mass', 'Edema', ...], with '' for an output that was never trained.",
        )
    return HookedClassifier(model, str(target_layer), named)
