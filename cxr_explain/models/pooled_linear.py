"""Models that end in global average pooling and a linear layer: the gradient is known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain.errors import ModelError
from cxr_explain.models.base import Classifier, ForwardPass, LinearHead, Outputs


class PooledLinearPass(ForwardPass):
    """y = W mean_ij(a) + b, hence dy^k / da_cij = w_kc / (I J), whatever the activations are."""

    gradient = "closed form"

    def __init__(self, activations: Tensor, head: nn.Linear) -> None:
        super().__init__(activations, pooled_linear(activations, head))
        bias = None if head.bias is None else head.bias.detach()
        self._head = LinearHead(head.weight.detach(), bias)

    @property
    def head(self) -> LinearHead:
        """The layer behind the pooling."""
        return self._head

    def gradients(self, classes: Tensor) -> Tensor:
        """The same at every position, and without memory for each: (B, K, C, I, J)."""
        return self.weights(classes)[..., None, None].expand(-1, -1, -1, *self.activations.shape[-2:])

    def weights(self, classes: Tensor) -> Tensor:
        """alpha^k = w^k / (I J), (B, K, C)."""
        return self._head.of(classes) / (self.activations.shape[-2] * self.activations.shape[-1])

    def logits_of(self, variants: Tensor) -> Tensor:
        """Pool and weigh again; the body is not run."""
        weight, bias = self._head.weight, self._head.bias
        return F.linear(variants.mean(dim=(-2, -1), dtype=weight.dtype), weight, bias)


def _masked_body(body: Callable[[Tensor], Tensor], region: Tensor) -> Callable[[Tensor], Tensor]:
    def masked(inputs: Tensor) -> Tensor:
        a = body(inputs)
        return a * F.adaptive_avg_pool2d(region[None, None].to(a), (a.shape[-2], a.shape[-1]))

    return masked


def pooled_linear(activations: Tensor, head: nn.Linear) -> Tensor:
    """(B, C, I, J) -> (B, N), in the head's own precision also under autocast: it decides the ranking."""
    pooled = activations.mean(dim=(2, 3), dtype=head.weight.dtype)
    with torch.autocast(activations.device.type, enabled=False):
        return F.linear(pooled, head.weight, head.bias)


class PooledLinearClassifier(Classifier):
    """A body, global average pooling, one linear layer.

    Args:
        module: the model that owns both.
        body: function from inputs (B, 1, S, S) to activations (B, C, I, J), as the pooling sees them.
        head: the linear layer.
        outputs: names and operating points of the N outputs.
        **description: further arguments of `Classifier`.

    Raises:
        ModelError: a head of another kind, or with another number of outputs.
    """

    def __init__(
        self,
        module: nn.Module,
        body: Callable[[Tensor], Tensor],
        head: nn.Linear,
        outputs: Outputs,
        **description: Any,
    ) -> None:
        super().__init__(module, outputs, **description)
        if not isinstance(head, nn.Linear):
            raise ModelError(
                f"a head of type {type(head).__name__}",
                expected="a linear layer behind global average pooling",
                remedy="For any other head use HookedClassifier with the name of its target layer.",
                source=self.name,
            )
        if head.out_features != len(outputs.pathologies):
            raise ModelError(
                f"a head with {head.out_features} outputs for {len(outputs.pathologies)} pathologies",
                expected="one name for each output, '' where it was never trained",
                source=self.name,
            )
        self._body = body
        self._head = head

    def restricted(self, region: Tensor) -> PooledLinearClassifier:
        """The same model, whose scores count the evidence of a region alone.

        The score is a sum over the positions of the last feature map, so that of a region is the sum over its
        positions, plus the bias.

        Args:
            region: how much of each position counts, (H, W) from 0 to 1, over the model's square; H and W may
                be any.

        Returns:
            A classifier that shares this one's module.
        """
        view = copy(self)
        view._body = _masked_body(self._body, region)  # noqa: SLF001 - its own class
        return view

    def _forward(self, inputs: Tensor) -> ForwardPass:
        with torch.inference_mode():
            return PooledLinearPass(self._body(inputs), self._head)

    def run(self, inputs: Tensor) -> Tensor:
        """The logits alone; see `Classifier.run`."""
        return pooled_linear(self._body(inputs), self._head)
