"""Models that end in global average pooling and a linear layer: the gradient is known in closed form."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain.errors import ModelError
from cxr_explain.models.base import ForwardPass, LinearHead, Outputs
from cxr_explain.models.hooked import HookedClassifier
from cxr_explain.models.own_scores import ByParts


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


def _type_name(head: object) -> str:
    """The type's name; that of a quantised layer says so, as it would else be called Linear, too."""
    quantised = "quantized" in type(head).__module__
    return f"{'quantised ' * quantised}{type(head).__name__}"


@dataclass(frozen=True, eq=False)
class MaskedBody:
    """A body of which only a region counts, see `PooledLinearClassifier.restricted`.

    Args:
        body: function from inputs to activations.
        region: how much of each position counts, (H, W) from 0 to 1.
    """

    body: Callable[[Tensor], Tensor]
    region: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        """(B, 1, S, S) -> (B, C, I, J)."""
        a = self.body(inputs)
        return a * F.adaptive_avg_pool2d(self.region[None, None].to(a), (a.shape[-2], a.shape[-1]))


def pooled_linear(activations: Tensor, head: nn.Linear) -> Tensor:
    """(B, C, I, J) -> (B, N), in the head's own precision also under autocast: it decides the ranking."""
    pooled = activations.mean(dim=(2, 3), dtype=head.weight.dtype)
    with torch.autocast(activations.device.type, enabled=False):
        return F.linear(pooled, head.weight, head.bias)


class PooledLinearClassifier(ByParts):
    """A body, global average pooling, one linear layer.

    Args:
        module: the model that owns both.
        body: function from inputs (B, 1, S, S) to activations (B, C, I, J), as the pooling sees them; no
            closure, which can neither be pickled nor copied with its module, but a `functools.partial`.
        head: the linear layer.
        outputs: names of the N outputs; or `Outputs`, with operating points and what they are.
        layer: name of the body's last layer in `module.named_modules()`, at which the module's own forward is
            explained where it computes something else; None where there is none.
        prepare: what the body does to inputs before the module sees them; nothing by default.
        **description: further arguments of `Classifier`.

    Raises:
        ModelError: a head of another kind, or with another number of outputs.
    """

    def __init__(
        self,
        module: nn.Module,
        body: Callable[[Tensor], Tensor],
        head: nn.Linear,
        outputs: Outputs | Sequence[str],
        *,
        layer: str | None = None,
        prepare: Callable[[Tensor], Tensor] | None = None,
        **description: Any,
    ) -> None:
        super().__init__(module, outputs, **description)
        if not isinstance(head, nn.Linear):
            raise ModelError(
                f"a head of type {_type_name(head)}",
                expected="a linear layer behind global average pooling",
                remedy="For any other head use HookedClassifier with the name of its target layer.",
                source=self.name,
            )
        if head.out_features != len(self.pathologies):
            raise ModelError(
                f"a head with {head.out_features} outputs for {len(self.pathologies)} pathologies",
                expected="one name for each output, '' where it was never trained",
                source=self.name,
            )
        self._body = body
        self._head = head
        self._layer = layer
        self._prepare = prepare

    @property
    def body(self) -> Callable[[Tensor], Tensor]:
        """From inputs (B, 1, S, S) to activations (B, C, I, J), as the pooling sees them."""
        return self._body

    @property
    def head(self) -> nn.Linear:
        """The linear layer behind the pooling."""
        return self._head

    def logits_behind(self, activations: Tensor) -> Tensor:
        """The logits of activations that are there already: (B, C, I, J) -> (B, N)."""
        with torch.inference_mode():
            return pooled_linear(activations, self._head)

    @property
    def path(self) -> Hashable:
        """What tells this way through the module from another one."""
        return type(self), self._layer, id(self._head), id(self._prepare)

    def call(self, inputs: Tensor) -> object:
        """Whatever the module gives for suited inputs."""
        return self.module(inputs if self._prepare is None else self._prepare(inputs))

    def hooked(self) -> HookedClassifier | None:
        """The same module by its own forward; None where no layer is known to look at."""
        if self._layer is None:
            return None
        return HookedClassifier(
            self.module,
            self._layer,
            self.outputs,
            prepare=self._prepare,
            **self.description,
        )

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
        view._body = MaskedBody(self._body, region)  # noqa: SLF001 - its own class
        return view

    def pass_of(self, inputs: Tensor) -> PooledLinearPass:
        """Activations and logits of suited inputs, within `undisturbed`, in gradient mode as it is."""
        return PooledLinearPass(self._body(inputs), self._head)

    def _forward(self, inputs: Tensor) -> ForwardPass:
        with torch.inference_mode():
            return self.pass_of(inputs)

    def run(self, inputs: Tensor) -> Tensor:
        """The logits alone; see `Classifier.run`."""
        return pooled_linear(self._body(inputs), self._head)
