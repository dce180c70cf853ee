"""One forward pass that is looked at in named layers; the gradient starts at the first of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.base import Classifier, ForwardPass
from cxr_explain.models.grids import GridFunction, InvertibleGrid, Reading, TokenGrid, reading_of
from cxr_explain.models.survey import layers_that_do

Hook = Callable[[Tensor], Tensor]

_VARIANTS_AT_ONCE = 32

_readings: WeakKeyDictionary[nn.Module, dict[Hashable, Reading]] = WeakKeyDictionary()
"""How layers of a network are read, by name and shapes: finding it out takes as long as a small network."""


def forward_at(
    classifier: Classifier, inputs: Tensor, layers: Sequence[str], grid: GridFunction | None = None
) -> tuple[ForwardPass, ...]:
    """Run a classifier once, by torch, and look at layers of any name; the module is left as it came.

    Args:
        classifier: the model; its target layer does not matter.
        inputs: model inputs, (B, 1, S, S) in [-1024, 1024].
        layers: names in `classifier.module.named_modules()`, for example "features.transition2.relu".
        grid: function from a layer's output to (B, C, I, J); by default it is found out, see `reading_of`.

    Returns:
        One pass for each layer, all with the same logits.

    Raises:
        ModelError: no layer of that name, or one that does not run once, or does not give such a tensor.
        OptionError: no layer.
    """
    classifier = classifier.by_torch
    with classifier.undisturbed():
        results = passes_at(classifier, classifier.suited(inputs), layers, grid)
    classifier.check_logits(results[0].logits, len(inputs))
    return results


def passes_at(
    classifier: Classifier, inputs: Tensor, layers: Sequence[str], grid: GridFunction | None = None
) -> tuple[AutogradPass, ...]:
    """What `forward_at` does, for inputs that are suited already, within `Classifier.undisturbed`."""
    if not layers:
        raise OptionError("no layer", expected="one or more")
    try:
        modules, outputs, logits = _outputs_at(classifier, inputs, layers)
        found = [
            Layer(classifier, name, module, reading_at(classifier, name, module, output, inputs, grid))
            for name, module, output in zip(layers, modules, outputs, strict=True)
        ]
    except ModelError as error:
        raise naming_layers(error, classifier, inputs) from error.__cause__
    _check_matrix(logits, classifier.name)
    return tuple(
        AutogradPass(output, logits, layer, inputs) for output, layer in zip(outputs, found, strict=True)
    )


def _outputs_at(
    classifier: Classifier, inputs: Tensor, layers: Sequence[str]
) -> tuple[list[nn.Module], list[Tensor], Tensor]:
    """The layers, what each of them gave, and the logits, in one graph."""
    modules = [find_layer(classifier.module, name) for name in layers]
    kept: list[list[Tensor]] = [[] for _ in layers]

    def keep(number: int) -> Hook:
        def start_or_follow(output: Tensor) -> Tensor:
            torch.set_grad_enabled(True)
            node = output if output.requires_grad else output.detach().requires_grad_(True)
            kept[number].append(node)
            return node.clone()  # the network may overwrite what it gets, by an in-place ReLU for example

        return start_or_follow

    # no_grad restores the gradient mode that the hook switches on half-way; a caller's inference_mode
    # would forbid any gradient, so it is left for the time of this pass.
    with torch.inference_mode(False), torch.no_grad():
        inputs = inputs.clone() if inputs.is_inference() else inputs
        with _hooked(modules, layers, [keep(number) for number in range(len(layers))]):
            logits = classifier.run(inputs)
    for name, tensors in zip(layers, kept, strict=True):
        _check_ran_once(name, len(tensors))
    return modules, [tensors[0] for tensors in kept], logits


def reading_at(
    classifier: Classifier,
    name: str,
    module: nn.Module,
    output: Tensor,
    inputs: Tensor,
    grid: GridFunction | None = None,
) -> Reading:
    """How a layer's output is read: by the grid asked for, its shape, or the classifier's own grid.

    A grid of tokens that somebody gave for another layer is better known than their number tells.

    Args:
        classifier: the model.
        name: the layer's name.
        module: the layer.
        output: what it gave.
        inputs: model inputs, (B, C, H, W).
        grid: the grid that was asked for, if any.

    Raises:
        ModelError: a shape that gives no maps, see `reading_of`.
    """
    if grid is not None:
        return Reading(grid)
    if isinstance(classifier.grid, TokenGrid) and classifier.grid.fits(output):
        return Reading(classifier.grid)
    known = _readings.setdefault(classifier.module, {})
    key = (name, tuple(output.shape), tuple(inputs.shape))
    try:
        if key not in known:
            known[key] = reading_of(output.detach(), inputs.shape, module, classifier.module)
        return known[key]
    except ModelError as error:
        if classifier.grid is None:
            raise error.at(name) from None
        return Reading(classifier.grid)


class Layer:
    """A named layer of a classifier, and how its output becomes a grid.

    Args:
        classifier: the model that the layer is part of.
        name: the layer's name in `classifier.module.named_modules()`.
        module: the layer.
        reading: how the layer's output is read.
    """

    def __init__(self, classifier: Classifier, name: str, module: nn.Module, reading: Reading) -> None:
        self._classifier = classifier
        self._name = name
        self._module = module
        self._grid = reading.grid
        self.note = f"{name} {reading.note}" if reading.note else ""

    def grid(self, output: Tensor) -> Tensor:
        """(B, C, I, J) of the layer's output."""
        maps = self._grid(output)
        if maps.ndim != 4:
            raise ModelError(
                f"activations of shape {tuple(maps.shape)} from the grid",
                expected="(B, C, I, J)",
                source=self._name,
            )
        return maps

    def independent(self, inputs: Tensor) -> ModelError:
        """What to raise where the scores do not depend on this layer; it names layers that would do."""
        error = ModelError(
            "scores that do not depend on the target layer's output",
            expected="a layer on the way to the scores",
            remedy="Nor can a model be differentiated that switches gradients off in its own forward pass "
            "(no_grad, inference mode, detach), or one with quantised layers: explain it without these.",
        )
        return naming_layers(error, self._classifier, inputs)

    def rerun(self, inputs: Tensor, activations: Tensor) -> Tensor:
        """Logits of the inputs, (B, N), with other activations, (B, C, I, J), at this layer."""

        def replace(output: Tensor) -> Tensor:
            return self._replace(output, activations.to(output.dtype))

        with (
            self._classifier.undisturbed(),
            torch.inference_mode(),
            _hooked([self._module], [self._name], [replace]),
        ):
            return self._classifier.run(inputs)

    def _replace(self, output: Tensor, activations: Tensor) -> Tensor:
        if not isinstance(self._grid, InvertibleGrid):
            raise ModelError(
                "a grid that cannot put activations back",
                expected="one with a method replace(layer_output, activations)",
                remedy="Choose a method that changes the input or asks for gradients, such as Grad-CAM.",
                source=self._name,
            )
        return self._grid.replace(output, activations)


class AutogradPass(ForwardPass):
    """The graph starts at the first layer that is looked at: no gradient ever enters the network before it.

    Args:
        layer_output: the layer's output, a node of the graph.
        logits: the logits, (B, N), in the same graph.
        layer: the layer.
        inputs: model inputs, (B, 1, S, S), to run the network again with other activations.
    """

    gradient = "autograd"

    def __init__(self, layer_output: Tensor, logits: Tensor, layer: Layer, inputs: Tensor) -> None:
        super().__init__(layer.grid(layer_output.detach()), logits.detach())
        self.notes = (layer.note,) if layer.note else ()
        self._layer_output = layer_output
        self._logits = logits
        self._layer = layer
        self._inputs = inputs

    def gradients(self, classes: Tensor) -> Tensor:
        """(B, K, C, I, J) by one batched gradient; images do not mix, each is worked on by itself."""
        K = classes.shape[1]
        seeds = seeds_of(classes, self._logits)
        if K == 0:
            return self.activations.new_zeros(len(classes), 0, *self.activations.shape[1:])
        gradients = self._gradient_of_each(seeds)
        return torch.stack([self._layer.grid(gradient) for gradient in gradients], dim=1)

    def logits_of(self, variants: Tensor) -> Tensor:
        """Run the network again for each variant: the body cannot be left out, whatever skips the layer."""
        repeated = self._inputs.repeat_interleave(variants.shape[1], dim=0)
        pairs = zip(
            torch.split(repeated, _VARIANTS_AT_ONCE),
            torch.split(variants.flatten(0, 1), _VARIANTS_AT_ONCE),
            strict=True,
        )
        logits = torch.cat([self._layer.rerun(inputs, activations) for inputs, activations in pairs])
        return torch.unflatten(logits, 0, variants.shape[:2])

    def _gradient_of_each(self, seeds: Tensor) -> Sequence[Tensor]:
        if not self._logits.requires_grad:
            raise self._layer.independent(self._inputs)
        (gradients,) = gradients_of_each(self._logits, [self._layer_output], seeds)
        if gradients is None:
            raise self._layer.independent(self._inputs)
        return list(gradients)


def seeds_of(classes: Tensor, logits: Tensor) -> Tensor:
    """(K, B, N): 1 at the class of each rank and image, of (B, K) classes and (B, N) logits.

    >>> seeds_of(torch.tensor([[2, 0]]), torch.zeros(1, 3)).tolist()
    [[[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]]]
    """
    seeds = torch.zeros(classes.shape[1], *logits.shape, dtype=logits.dtype, device=logits.device)
    return seeds.scatter_(2, classes.T[:, :, None].to(seeds.device), 1.0)


def gradients_of_each(scores: Tensor, nodes: Sequence[Tensor], seeds: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients of K weighted sums of the scores, in one batched call; the graph is kept.

    Args:
        scores: a tensor of the graph, of any shape.
        nodes: tensors of the graph.
        seeds: (K, *scores.shape), the weights of each sum.

    Returns:
        (K, *node.shape) for each node; None where the scores do not depend on it.

    >>> x = torch.tensor([3.0], requires_grad=True)
    >>> gradients_of_each(x * 2, [x], torch.tensor([[1.0], [10.0]]))
    (tensor([[ 2.],
            [20.]]),)
    """

    def gradients(seed: Tensor, **options: Any) -> tuple[Tensor | None, ...]:
        found: tuple[Tensor | None, ...] = torch.autograd.grad(
            scores, nodes, seed, retain_graph=True, allow_unused=True, **options
        )
        return found

    with torch.inference_mode(False), torch.enable_grad():
        try:
            return gradients(seeds, is_grads_batched=True)
        except RuntimeError:  # an operator that vmap cannot batch: one gradient a class
            each = [gradients(seed) for seed in seeds]
    stacked = []
    for of_node in zip(*each, strict=True):
        reached = [gradient for gradient in of_node if gradient is not None]
        stacked.append(torch.stack(reached) if len(reached) == len(of_node) else None)
    return tuple(stacked)


def find_layer(module: nn.Module, name: str) -> nn.Module:
    """The submodule of a name.

    Raises:
        ModelError: there is none; the message has the closest names.
    """
    layers: dict[str, nn.Module] = dict(module.named_modules())
    if not name or name not in layers:
        import difflib

        close = difflib.get_close_matches(name, layers, n=3, cutoff=0.3) or list(layers)[-3:]
        raise ModelError(
            f"no layer named {name!r} in {type(module).__name__}", remedy=f"Close names: {', '.join(close)}."
        )
    return layers[name]


def naming_layers(error: ModelError, model: Classifier | nn.Module, inputs: Tensor | None) -> ModelError:
    """The same error, whose way out names layers that would do, with the shapes of their maps.

    Args:
        error: the error.
        model: the model; it is run once.
        inputs: model inputs; by default those of `survey.layers`.
    """
    error.remedy = " ".join(filter(None, (error.remedy, layers_that_do(model, inputs))))
    return error


@contextmanager
def _hooked(modules: Sequence[nn.Module], names: Sequence[str], hooks: Sequence[Hook]) -> Iterator[None]:
    """Pass the output of each layer through a function, and take the hooks off again."""
    handles = []
    try:
        for module, name, hook in zip(modules, names, hooks, strict=True):
            handles.append(module.register_forward_hook(_of_a_tensor(name, hook)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _of_a_tensor(name: str, hook: Hook) -> Callable[..., Tensor]:
    def forward_hook(_module: nn.Module, _inputs: object, output: object) -> Tensor:
        if not isinstance(output, Tensor):
            raise ModelError(f"a layer that gives {type(output).__name__}", expected="a tensor", source=name)
        return hook(output)

    return forward_hook


def _check_ran_once(name: str, times: int) -> None:
    if times != 1:
        raise ModelError(
            f"a layer that ran {times} times in one forward pass",
            expected="a layer that runs once",
            source=name,
        )


def _check_matrix(logits: object, source: str) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        raise ModelError(
            f"an output of {type(logits).__name__}", expected="a (B, N) tensor of logits", source=source
        )
