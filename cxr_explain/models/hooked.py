"""Any `torch.nn.Module` with a named target layer: one forward pass, a gradient through its head alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cxr_explain.errors import ModelError
from cxr_explain.models.base import Classifier, ForwardPass, Outputs

Grid = Callable[[Tensor], Tensor]


class AutogradPass(ForwardPass):
    """The graph starts at the target layer: no gradient ever enters the body of the network."""

    gradient = "autograd"

    def __init__(self, layer_output: Tensor, logits: Tensor, grid: Grid) -> None:
        super().__init__(grid(layer_output.detach()), logits.detach())
        self._layer_output = layer_output
        self._logits = logits
        self._grid = grid

    def weights(self, classes: Tensor) -> Tensor:
        """alpha^k = mean over i, j of dy^k / da, (B, K, C), by one batched gradient."""
        gradients = self._gradients(classes)
        return gradients.mean(dim=(-2, -1), dtype=torch.promote_types(gradients.dtype, torch.float32))

    def _gradients(self, classes: Tensor) -> Tensor:
        """(B, K, C, I, J); images do not mix, because the head works on each by itself."""
        K = classes.shape[1]
        seeds = torch.zeros(K, *self._logits.shape, dtype=self._logits.dtype, device=self._logits.device)
        seeds.scatter_(2, classes.T[:, :, None].to(seeds.device), 1.0)
        if K == 0:
            return self.activations.new_zeros(len(classes), 0, *self.activations.shape[1:])
        gradients = self._gradient_of_each(seeds)
        return torch.stack([self._grid(gradient) for gradient in gradients], dim=1)

    def _gradient_of_each(self, seeds: Tensor) -> Sequence[Tensor]:
        if not self._logits.requires_grad:
            raise _independent()
        with torch.inference_mode(False), torch.enable_grad():
            try:
                return list(self._gradient(seeds, is_grads_batched=True))
            except RuntimeError:  # an operator of the head that vmap cannot batch: one gradient a class
                return [self._gradient(seed) for seed in seeds]

    def _gradient(self, seeds: Tensor, **options: Any) -> Tensor:
        (gradient,) = torch.autograd.grad(
            self._logits, self._layer_output, seeds, retain_graph=True, allow_unused=True, **options
        )
        if gradient is None:
            raise _independent()
        return gradient


class HookedClassifier(Classifier):
    """Any module, explained at a layer found by its name.

    The layer's output is what the maps are made of: with a layer that ends before its ReLU, the maps are
    those of the values before it. Name the module whose output the rest of the network uses.

    Args:
        module: any model that gives (B, N) logits.
        target_layer: the layer's name in `module.named_modules()`, for example "layer4".
        outputs: names and operating points of the N outputs.
        prepare: from (B, 1, S, S) in [-1024, 1024] to the model's own input; see `imagenet_input`.
        grid: from the layer's output to (B, C, I, J); see `token_grid` for transformers.
        **description: see `Classifier`.

    Raises:
        ModelError: no layer of that name.

    Example:
        >>> head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), *head)
        >>> model = HookedClassifier(net, "1", Outputs(("Mass", "Edema")), input_size=32)
        >>> model.forward(torch.zeros(3, 1, 32, 32)).weights(torch.tensor([[0, 1]] * 3)).shape
        torch.Size([3, 2, 4])
    """

    def __init__(
        self,
        module: nn.Module,
        target_layer: str,
        outputs: Outputs,
        *,
        input_size: int = 224,
        prepare: Callable[[Tensor], Tensor] | None = None,
        grid: Grid | None = None,
        **description: Any,
    ) -> None:
        description.setdefault("name", type(module).__name__)
        super().__init__(module, outputs, input_size=input_size, target_layer=target_layer, **description)
        self._layer = _find_layer(module, target_layer)
        self._prepare = prepare or _unchanged
        self._grid = grid or _unchanged

    def _forward(self, inputs: Tensor) -> ForwardPass:
        captured: list[Tensor] = []

        def start_graph(_module: nn.Module, _inputs: object, output: object) -> Tensor:
            if not isinstance(output, Tensor):
                raise ModelError(
                    f"a layer that gives {type(output).__name__}",
                    expected="a tensor",
                    source=self.target_layer,
                )
            torch.set_grad_enabled(True)
            leaf = output.detach().requires_grad_(True)
            captured.append(leaf)
            return leaf.clone()  # the network may overwrite what it gets, by an in-place ReLU for example

        # no_grad restores the gradient mode that the hook switches on half-way; a caller's inference_mode
        # would forbid any gradient, so it is left for the time of this pass.
        with torch.inference_mode(False), torch.no_grad():
            inputs = inputs.clone() if inputs.is_inference() else inputs
            handle = self._layer.register_forward_hook(start_graph)
            try:
                logits = self.module(self._prepare(inputs))
            finally:
                handle.remove()
        if len(captured) != 1:
            raise ModelError(
                f"a layer that ran {len(captured)} times in one forward pass",
                expected="a layer that runs once",
                source=self.target_layer,
            )
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise ModelError(
                f"an output of {type(logits).__name__}",
                expected="a (B, N) tensor of logits",
                source=self.name,
            )
        return AutogradPass(captured[0], logits, self._checked_grid)

    def _checked_grid(self, layer_output: Tensor) -> Tensor:
        maps = self._grid(layer_output)
        if maps.ndim != 4:
            raise ModelError(
                f"activations of shape {tuple(maps.shape)}",
                expected="(B, C, I, J)",
                remedy="For a transformer pass grid=token_grid(...).",
                source=self.target_layer,
            )
        return maps


def imagenet_input(inputs: Tensor) -> Tensor:
    """(B, 1, S, S) in [-1024, 1024] -> (B, 3, S, S) as networks pre-trained on ImageNet expect it.

    >>> imagenet_input(torch.zeros(1, 1, 2, 2))[0, :, 0, 0].round(decimals=3).tolist()
    [0.06599999964237213, 0.19599999487400055, 0.4180000126361847]
    """
    mean = inputs.new_tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
    deviation = inputs.new_tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)
    return ((inputs + 1024) / 2048 - mean) / deviation


def token_grid(rows: int, columns: int, *, skip: int = 1) -> Grid:
    """Reshape a transformer's tokens (B, skip + rows * columns, C) to (B, C, rows, columns).

    Args:
        rows: patches along the height.
        columns: patches along the width.
        skip: leading tokens that are no patches, such as the class token.

    Note:
        Behind the last attention only the class token reaches the head: the patches' gradient there is zero.
        Name a layer before it, for example torchvision's `encoder.layers.encoder_layer_11.ln_1`.

    >>> token_grid(2, 3)(torch.zeros(1, 7, 5)).shape
    torch.Size([1, 5, 2, 3])
    """

    def grid(tokens: Tensor) -> Tensor:
        if tokens.ndim != 3 or tokens.shape[1] != skip + rows * columns:
            raise ModelError(
                f"tokens of shape {tuple(tokens.shape)}", expected=f"(B, {skip + rows * columns}, C)"
            )
        return tokens[:, skip:].transpose(1, 2).unflatten(2, (rows, columns))

    return grid


def _independent() -> ModelError:
    return ModelError(
        "scores that do not depend on the target layer's output",
        expected="a layer on the way to the scores",
        remedy="Nor can a model be differentiated that switches to inference mode in its own forward pass.",
    )


def _unchanged(tensor: Tensor) -> Tensor:
    return tensor


def _find_layer(module: nn.Module, name: str) -> nn.Module:
    layers = dict(module.named_modules())
    if not name or name not in layers:
        import difflib

        close = difflib.get_close_matches(name, layers, n=3, cutoff=0.3) or list(layers)[-3:]
        raise ModelError(
            f"no layer named {name!r} in {type(module).__name__}", remedy=f"Close names: {', '.join(close)}."
        )
    return layers[name]
