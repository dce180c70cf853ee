"""Every layer of a model, what it gives, and whether it can be explained: one pass, and one gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cxr_explain.errors import ModelError
from cxr_explain.models.base import Classifier, evaluation_mode
from cxr_explain.models.grids import reading_of, remark_on
from cxr_explain.models.output_kinds import matrix_of

NO_GRADIENT = "no gradient of the scores reaches its maps"
"""Why a layer has no maps although it gives some."""

_NAMED = 5  # layers in a message


@dataclass(frozen=True)
class ModelLayer:
    """A layer of a model, as one forward pass shows it.

    Args:
        name: name in the model's `named_modules()`.
        kind: class of the layer.
        shape: what it gives, the images first; None where that is no tensor.
        maps: (C, I, J), number of channels, rows and columns of the feature maps; None where it has none.
        gradient: whether a gradient of the scores reaches the cells.
        note: how the maps are made of what the layer gives; '' where it gives (B, C, I, J).
        problem: why it cannot be explained; '' where it can.

    >>> print(ModelLayer("layer4", "Sequential", (1, 512, 7, 7), (512, 7, 7), gradient=True))
    layer4 (512 channels, 7 x 7)
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    maps: tuple[int, int, int] | None = None
    gradient: bool = False
    note: str = ""
    problem: str = ""

    @property
    def suits(self) -> bool:
        """Whether it would do as a target layer."""
        return not self.problem

    def __str__(self) -> str:
        if self.maps is None:
            return f"{self.name} ({self.problem})"
        channels, rows, columns = self.maps
        problem = f"; {self.problem}" if self.problem else ""
        return f"{self.name} ({channels} channels, {rows} x {columns}{problem})"


def layers(model: Classifier | nn.Module, inputs: Tensor | None = None) -> tuple[ModelLayer, ...]:
    """List the layers of a model in the order in which they finish, and whether each can be explained.

    One forward pass and one gradient, in evaluation mode; the model leaves as it came.

    Args:
        model: a classifier, or any module that gives scores.
        inputs: (B, C, H, W), as the model takes them; by default one image of random grey values, of the
            classifier's size, or of the size and the channels that the module asks for.

    Raises:
        ModelError: a model that does not run on these inputs.

    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    >>> for layer in layers(net, torch.rand(1, 1, 32, 32)):
    ...     print(layer)
    0 (4 channels, 15 x 15)
    1 (4 channels, 15 x 15)
    2 (4 channels, 1 x 1; gives one value for the whole image (1 x 1): its maps say nothing of where)
    3 (activations of shape (1, 4))
    """
    samples = [inputs] if inputs is not None else _samples(model)
    for sample in samples[:-1]:
        try:
            return _surveyed(model, sample)
        except ModelError:
            continue
    return _surveyed(model, samples[-1])


def layers_that_do(model: Classifier | nn.Module, inputs: Tensor | None = None) -> str:
    """A sentence with some of the layers that can be explained, for an error message; '' where none is known.

    Of all layers whose maps have the same cells, one is named: the last, as it knows the most, of those that
    are not within a stage that ends in other cells. Not one of the linear layers within an attention.

    Args:
        model: as for `layers`.
        inputs: as for `layers`.
    """
    try:
        found = layers(model, None if inputs is None else inputs[:1])
    except ModelError:
        return ""
    cells = {layer.name: layer.maps[1:] for layer in found if layer.maps}
    suited = [layer for layer in found if layer.suits and layer.name in cells and layer.kind != "Linear"]
    best: dict[tuple[int, ...], ModelLayer] = {}
    for layer in sorted(suited, key=lambda layer: -_stages_around(layer.name, cells)):  # stable
        best[cells[layer.name]] = layer
    named = [layer for layer in reversed(found) if layer in best.values()][:_NAMED]
    return f"Layers that would do: {', '.join(map(str, named))}." if named else ""


def _stages_around(name: str, cells: Mapping[str, tuple[int, ...]]) -> int:
    """How many modules around a layer give other cells: the first layers of a stage keep those before it."""
    parts = name.split(".")
    around = (".".join(parts[:depth]) for depth in range(1, len(parts)))
    return sum(cells.get(outer, cells[name]) != cells[name] for outer in around)


def _surveyed(model: Classifier | nn.Module, inputs: Tensor) -> tuple[ModelLayer, ...]:
    with _running(model) as (module, run):
        kept, scores = _watched(module, run, inputs)
    gradients = _gradients(scores, [node for nodes in kept.values() for node in nodes])
    return tuple(
        _described(name, module, nodes, [gradients[id(node)] for node in nodes], inputs)
        for name, nodes in kept.items()
    )


@contextmanager
def _running(model: Classifier | nn.Module) -> Iterator[tuple[nn.Module, Callable[[Tensor], object]]]:
    """The module, and how it is run, in evaluation mode."""
    if isinstance(model, Classifier):
        with model.undisturbed():
            yield model.module, lambda inputs: model.run(model.suited(inputs))
    else:
        like = next((each for each in model.parameters() if each.is_floating_point()), torch.empty(0))
        with evaluation_mode(model):
            yield model, lambda inputs: model(inputs.to(like))


def _watched(
    module: nn.Module, run: Callable[[Tensor], object], inputs: Tensor
) -> tuple[dict[str, list[Any]], Tensor]:
    """What each layer gave, by its name, as nodes of one graph, in the order in which they finished."""
    kept: dict[str, list[Any]] = {}
    handles = []

    def keep(name: str) -> Callable[..., Tensor | None]:
        def look(_module: nn.Module, _inputs: object, output: object) -> Tensor | None:
            before = kept.pop(name, [])  # to the end: a layer has finished when it ran for the last time
            if not isinstance(output, Tensor) or not output.is_floating_point():
                kept[name] = [*before, output]
                return None
            node = output if output.requires_grad else output.detach().requires_grad_(True)
            kept[name] = [*before, node]
            return node.clone()  # the network may overwrite what it gets

        return look

    try:
        for name, layer in module.named_modules():
            if name:
                handles.append(layer.register_forward_hook(keep(name)))
        with torch.inference_mode(False), torch.enable_grad():
            scores = matrix_of(run(inputs.clone()), len(inputs), type(module).__name__)
    except Exception as error:  # whatever a user's model raises on inputs that it does not take
        raise ModelError(
            f"a model that fails on inputs of shape {tuple(inputs.shape)} ({type(error).__name__})",
            expected="inputs as it takes them",
            remedy="Give such inputs: layers(model, inputs).",
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return kept, scores


def _gradients(scores: Tensor, nodes: Sequence[Any]) -> dict[int, Tensor | None]:
    """The gradient of the scores at each node, by the node's id."""
    tensors = [node for node in nodes if isinstance(node, Tensor) and node.requires_grad]
    found: dict[int, Tensor | None] = {id(node): None for node in nodes}
    if tensors and scores.requires_grad:
        # Each score counts another number of times, so that they do not cancel.
        seeds = torch.linspace(1, 2, scores.numel(), dtype=scores.dtype, device=scores.device)
        with torch.inference_mode(False), torch.enable_grad():
            gradients = torch.autograd.grad(scores, tensors, seeds.view_as(scores), allow_unused=True)
        found.update(zip(map(id, tensors), gradients, strict=True))
    return found


def _described(
    name: str, module: nn.Module, nodes: Sequence[Any], gradients: Sequence[Tensor | None], inputs: Tensor
) -> ModelLayer:
    layer, output = module.get_submodule(name), nodes[-1]
    kind = type(layer).__name__
    if not isinstance(output, Tensor):
        return ModelLayer(name, kind, None, problem=f"gives {type(output).__name__}")
    shape = tuple(output.shape)
    try:
        reading = reading_of(output.detach(), inputs.shape, layer, module)
    except ModelError as error:
        return ModelLayer(name, kind, shape, problem=error.found)
    C, I, J = reading.grid(output.detach()).shape[1:]  # noqa: E741 - the papers' letters
    reached = gradients[-1] is not None and bool((reading.grid(gradients[-1]) != 0).any())
    problem = _problem(len(nodes), reached, remark_on((I, J), inputs.shape[-2:]))
    return ModelLayer(name, kind, shape, (C, I, J), reached, reading.note, problem)


def _problem(times: int, reached: bool, remark: str) -> str:
    if times > 1:
        return f"runs {times} times"
    return remark or ("" if reached else NO_GRADIENT)


def _samples(model: Classifier | nn.Module) -> list[Tensor]:
    """Inputs to try, one image each: as the classifier takes them, or as the module's first layer does."""
    module = model.module if isinstance(model, Classifier) else model
    first = next((layer for layer in module.modules() if isinstance(layer, nn.Conv2d)), None)
    channels = 1 if first is None else first.in_channels
    said = getattr(model, "input_size", None), _size_in(module), 224
    sizes = list(dict.fromkeys(size for size in said if isinstance(size, int)))
    shapes = [(channels, size) for size in sizes]
    if isinstance(model, Classifier):
        shapes.insert(0, (1, model.input_size))
    return [_grey(*shape) for shape in dict.fromkeys(shapes)]


def _size_in(module: nn.Module) -> object:
    """The size of images that a transformer says of itself, as torchvision's and Hugging Face's do."""
    return getattr(module, "image_size", getattr(getattr(module, "config", None), "image_size", None))


def _grey(channels: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, channels, size, size, generator=generator) * 2048 - 1024
