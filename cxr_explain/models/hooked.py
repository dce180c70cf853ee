"""Any `torch.nn.Module` with a named target layer: one forward pass, a gradient through its head alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cxr_explain.errors import ModelError
from cxr_explain.models.at_layers import find_layer, naming_layers, passes_at
from cxr_explain.models.base import Classifier, ForwardPass, Outputs
from cxr_explain.models.endings import listening, watching
from cxr_explain.models.grids import GridFunction, Layout, as_grid
from cxr_explain.models.output_kinds import calibrating_points, logits_behind, matrix_of, settled
from cxr_explain.models.steadiness import check_steady
from cxr_explain.models.wrappers import check_not_scripted, unwrapped


class HookedClassifier(Classifier):
    """Any module, explained at a layer found by its name.

    The layer's output is what the maps are made of: with a layer that ends before its ReLU, the maps are
    those of the values before it. Name the module whose output the rest of the network uses.

    Args:
        module: any model that gives (B, N) scores: a tensor, the first one of a tuple, or "logits" of a
            dictionary or an object. What they are, such as logits or probabilities, is taken from
            `outputs.kind`, or found out at the first forward pass; explained are the logits behind them.
        target_layer: name in `module.named_modules()` of the layer to explain, for example "layer4".
        outputs: names of the N outputs; or `Outputs`, with operating points and what they are.
        input_size: side S of the square input, in pixels.
        prepare: function from (B, 1, S, S) in [-1024, 1024] to the model's own input, such as
            `imagenet_input`; by default nothing is changed.
        grid: function from the layer's output to (B, C, I, J), such as `token_grid` gives for transformers;
            or "channels first", "channels last". By default it is found out, where that can be known: from
            the output's shape, the input's, and the number of tokens that are no patches.
        **description: further arguments of `Classifier`, such as `name`.

    Raises:
        ModelError: no layer of that name; at the first forward pass, outputs of which it is not clear whether
            they are logits.

    Example:
        >>> import torch
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
        outputs: Outputs | Sequence[str],
        *,
        input_size: int = 224,
        prepare: Callable[[Tensor], Tensor] | None = None,
        grid: GridFunction | Layout | None = None,
        **description: Any,
    ) -> None:
        module, (target_layer,) = unwrapped(module, target_layer)
        description.setdefault("name", type(module).__name__)
        super().__init__(module, outputs, input_size=input_size, target_layer=target_layer, **description)
        check_not_scripted(module, target_layer)
        self._settled = False
        self._end: tuple[str, nn.Module] | None = None
        self.prepare = prepare or _unchanged
        self.grid = as_grid(grid)
        try:
            find_layer(module, target_layer)
        except ModelError as error:
            raise naming_layers(error, self, None) from None

    def _forward(self, inputs: Tensor) -> ForwardPass:
        return passes_at(self, inputs, [self.target_layer], self.grid)[0]

    def logits(self, inputs: Tensor, *, batch_size: int = 32) -> Tensor:
        """Score any number of inputs, in inference mode; see `Classifier.logits`."""
        if not self._settled:
            self.forward(inputs[:1])  # what the outputs are is seen best where there is a graph
        return super().logits(inputs, batch_size=batch_size)

    def run(self, inputs: Tensor) -> Tensor:
        """The logits alone; see `Classifier.run`."""
        if self._settled and self.outputs.kind in ("logits", "softmax-logits"):
            return self._matrix(self.call(inputs), len(inputs))
        with watching(*self._end) if self._end else listening(self.module) as heard:
            output = self._matrix(self.call(inputs), len(inputs))
        if not self._settled:
            self.outputs = settled(self.outputs, output, heard, self.module, self.name)
            self._end = None if heard.giver is None else (heard.function, heard.giver)
            self._settled = True
        points = calibrating_points(self.outputs, self.module)
        with torch.enable_grad():  # a forward within torch.no_grad leaves that mode behind it
            return logits_behind(output, self.outputs.kind or "logits", points, heard, self.name)

    def as_called(self, inputs: Tensor, logits: Tensor | None = None) -> HookedClassifier:
        """This classifier, which calls the module, if that gives the same for an image each time.

        See `Classifier.as_called`.
        """
        with torch.autocast(self.device.type, enabled=False):
            check_steady(self, inputs, logits)
        return self

    def _matrix(self, output: object, count: int) -> Tensor:
        with torch.enable_grad():
            return matrix_of(output, count, self.name)

    def call(self, inputs: Tensor) -> object:
        """Whatever the module gives for suited inputs."""
        return self.module(self.prepare(inputs))


def imagenet_input(inputs: Tensor) -> Tensor:
    """(B, 1, S, S) in [-1024, 1024] -> (B, 3, S, S) as networks pre-trained on ImageNet expect it.

    >>> import torch
    >>> imagenet_input(torch.zeros(1, 1, 2, 2))[0, :, 0, 0].round(decimals=3).tolist()
    [0.06599999964237213, 0.19599999487400055, 0.4180000126361847]
    """
    mean = inputs.new_tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
    deviation = inputs.new_tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)
    return ((inputs + 1024) / 2048 - mean) / deviation


def _unchanged(tensor: Tensor) -> Tensor:
    return tensor
