"""Hooked models whose layer is pooled and weighed by one linear layer, found out by comparing the scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cxr_explain.errors import ModelError
from cxr_explain.models.at_layers import find_layer
from cxr_explain.models.base import Classifier
from cxr_explain.models.hooked import HookedClassifier
from cxr_explain.models.output_kinds import agree
from cxr_explain.models.pooled_linear import PooledLinearClassifier, pooled_linear


@dataclass(frozen=True, eq=False)
class BodyAtLayer:
    """A model up to a layer, which is found by its name.

    Args:
        classifier: the model.
    """

    classifier: HookedClassifier

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, C, I, J)."""
        kept: list[Tensor] = []

        def keep(_layer: object, _inputs: object, output: Tensor) -> None:
            kept.append(output.clone())  # the rest of the network may overwrite what it gets

        handle = find_layer(self.classifier.module, self.classifier.target_layer).register_forward_hook(keep)
        try:
            self.classifier.call(inputs)
        finally:
            handle.remove()
        (output,) = kept
        return self.classifier.grid(output) if self.classifier.grid else output


def as_pooled(classifier: Classifier, inputs: Tensor) -> PooledLinearClassifier:
    """The same model as one that is known to end in global average pooling and one linear layer.

    Args:
        classifier: the model; one that is known already stays as it is.
        inputs: model inputs, (B, 1, S, S), on which the scores are compared.

    Raises:
        ModelError: a model that ends otherwise, behind the layer that is explained.

    >>> module = nn.Sequential(
    ...     nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ... )
    >>> hooked = HookedClassifier(module, "1", ["Mass", "Edema"], input_size=16)
    >>> as_pooled(hooked, torch.rand(2, 1, 16, 16)).head
    Linear(in_features=4, out_features=2, bias=True)
    """
    if isinstance(classifier, PooledLinearClassifier):
        return classifier
    layer = classifier.target_layer
    if isinstance(classifier, HookedClassifier):
        body = BodyAtLayer(classifier)
        with classifier.undisturbed(), torch.inference_mode():
            activations, logits = body(classifier.suited(inputs)), classifier.logits(inputs)
            for head in _heads(classifier, activations):
                if agree(pooled_linear(activations, head), logits):
                    return _pooled(classifier, body, head)
    raise ModelError(
        f"a head behind {layer} that is not global average pooling and one linear layer",
        expected="such a head, behind which maps need no gradient",
        remedy="Where the model has one, name the layer whose output is pooled.",
        source=classifier.name,
    )


def _heads(classifier: Classifier, activations: Tensor) -> list[nn.Linear]:
    """The linear layers that would fit, the last one first."""
    if activations.ndim != 4:
        return []
    sizes = activations.shape[1], len(classifier.pathologies)
    layers = [layer for layer in classifier.module.modules() if isinstance(layer, nn.Linear)]
    return [layer for layer in layers[::-1] if (layer.in_features, layer.out_features) == sizes]


def _pooled(classifier: HookedClassifier, body: BodyAtLayer, head: nn.Linear) -> PooledLinearClassifier:
    return PooledLinearClassifier(
        classifier.module,
        body,
        head,
        classifier.outputs,
        layer=classifier.target_layer,
        prepare=classifier.prepare,
        target_layer=classifier.target_layer,
        **classifier.description,
    )
