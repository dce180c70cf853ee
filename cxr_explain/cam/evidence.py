"""What a rule may ask about one batch: activations, gradients, the head, and other inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from cxr_explain.errors import ModelError
from cxr_explain.models.at_layers import forward_at
from cxr_explain.models.base import Classifier, ForwardPass, LinearHead

T = TypeVar("T")


class Track(Protocol):
    """Shows the progress of a loop."""

    def __call__(self, items: Sequence[T], doing: str, /) -> Iterable[T]:
        """Go over items, saying what is done with them."""


def silent(items: Sequence[T], _doing: str) -> Iterable[T]:
    """Show nothing."""
    return items


@dataclass(frozen=True, eq=False)
class Evidence:
    """One batch of inputs, the K classes asked for, and one forward pass that is there already.

    Args:
        classifier: the model; it may be run on other inputs.
        inputs: (B, 1, S, S) in [-1024, 1024].
        classes: (B, K) int64, which outputs are explained.
        forward: activations and logits at the layer that is explained.
        layer: the layer's name where it is not the classifier's own target layer.
        track: shows the progress of the rules that run the model many times.

    >>> from torch import nn
    >>> from cxr_explain.models.base import Outputs
    >>> from cxr_explain.models.hooked import HookedClassifier
    >>> pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), *pooled)
    >>> classifier = HookedClassifier(model, "1", Outputs(("Effusion", "Mass")), input_size=8)
    >>> inputs, classes = torch.zeros(1, 1, 8, 8), torch.tensor([[1, 0]])
    >>> evidence = Evidence(classifier, inputs, classes, classifier.forward(inputs))
    >>> evidence.activations.shape, evidence.gradients.shape, evidence.weights.shape
    (torch.Size([1, 4, 6, 6]), torch.Size([1, 2, 4, 6, 6]), torch.Size([1, 2, 4]))
    """

    classifier: Classifier
    inputs: Tensor
    classes: Tensor
    forward: ForwardPass
    layer: str | None = None
    track: Track = silent

    @property
    def activations(self) -> Tensor:
        """a, (B, C, I, J), at least float32."""
        a = self.forward.activations
        return a.to(torch.promote_types(a.dtype, torch.float32))

    @cached_property
    def gradients(self) -> Tensor:
        """dy^k / da, (B, K, C, I, J), at least float32; no backward pass goes beyond this layer."""
        gradients = self.forward.gradients(self.classes)
        return gradients.to(torch.promote_types(gradients.dtype, torch.float32))

    @property
    def weights(self) -> Tensor:
        """alpha, (B, K, C): the gradients' mean over i, j; equation 2 of FM-G-CAM."""
        return self.forward.weights(self.classes)

    @property
    def scores(self) -> Tensor:
        """y, (B, K): the logits of the classes."""
        return self.pick(self.forward.logits[:, None])[..., 0]

    @property
    def head(self) -> LinearHead:
        """The linear layer behind the pooling of these activations.

        Raises:
            ModelError: the head is another one.
        """
        head = self.forward.head
        if head is None:
            raise ModelError(
                f"a head behind {self.layer or self.classifier.target_layer} that is not known to be linear",
                expected="global average pooling and one linear layer",
                remedy="Choose another method, such as Grad-CAM, which is the same where the head is linear.",
                source=self.classifier.name,
            )
        return head

    def pick(self, logits: Tensor) -> Tensor:
        """The classes' logits among all: (B, M, N) -> (B, K, M)."""
        return logits.gather(2, self.classes[:, None].expand(-1, logits.shape[1], -1)).transpose(1, 2)

    def at(self, inputs: Tensor) -> Evidence:
        """The same question about other inputs, (B, 1, S, S): one forward pass."""
        if self.layer is None:
            forward = self.classifier.forward(inputs)
        else:
            (forward,) = forward_at(self.classifier, inputs, [self.layer])
        return replace(self, inputs=inputs, forward=forward)


def without_gradient(forward: ForwardPass, classes: Tensor, maps: Tensor) -> Tensor:
    """Which maps are empty because no gradient of their scores reaches the layer.

    Behind the last attention of a transformer, for example, only the class token reaches the head. This is
    another state than a map of a layer that is reached, in which nothing speaks for a class. Gradients are
    asked for only where a map is zero everywhere.

    Args:
        forward: activations and logits at the layer.
        classes: (B, K) int64, the classes of the maps.
        maps: (B, K, I, J).

    Returns:
        (B, K) bool.
    """
    empty = (maps == 0).flatten(2).all(dim=2)
    if not empty.any():
        return empty
    try:
        gradients = forward.gradients(classes)
    except ModelError:  # the scores do not depend on the layer at all
        return empty
    return empty & (gradients == 0).flatten(2).all(dim=2).to(empty.device)
