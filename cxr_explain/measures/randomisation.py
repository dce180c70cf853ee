"""Whether class maps depend on what a model has learnt: its weights are randomised, from the output down."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

import torch
from torch import Tensor, nn

from cxr_explain.errors import OptionError
from cxr_explain.measures.similarity import Similarity, similarity
from cxr_explain.measures.subject import Explain
from cxr_explain.options import check_at_least, check_option

How = Literal["reinitialise", "shuffle"]
"""Draw weights anew as each layer itself would; or permute the values of each tensor."""

_ENOUGH = 6  # blocks that show where along a network a map is lost
_STATISTICS = ("running_mean", "running_var")


@dataclass(frozen=True, eq=False)
class Randomised(Similarity):
    """What is left of the maps when some layers are random: how like those of the model they are, (B, K).

    Args:
        layer: randomised together with all that were before it in the list; '' is the module itself.
        seed: seed of these random weights.
    """

    layer: str
    seed: int = 0


def cascade(
    module: nn.Module,
    explain: Explain,
    inputs: Tensor,
    classes: Tensor,
    *,
    layers: Sequence[str] | None = None,
    how: How = "reinitialise",
    seed: int = 0,
) -> list[Randomised]:
    """Randomise the layers from the output towards the input, one more each time, and compare the maps.

    A rule that explains the model has maps that end up no more alike than `similarity.unrelated` ones. A rule
    whose maps stay, such as an edge detector, shows the image and not the model. The module leaves as it
    came, see `weights_kept`; nobody else may use it meanwhile.

    Args:
        module: the model whose class maps `explain` makes.
        explain: function from inputs and classes to class maps.
        inputs: (B, 1, S, S).
        classes: (B, K).
        layers: names of submodules, the first to be randomised first, each with all inside it. By default
            `blocks(module)`; `single_layers(module)` for a step a layer.
        how: "reinitialise" or "shuffle".
        seed: seed of the random weights.

    Raises:
        OptionError: an unknown layer or way, or maps that are not finite.

    Source:
        Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, section 3; in chest radiographs: Arun
        et al., Radiology: Artificial Intelligence 3 (2021) e200267.

    >>> net = nn.Conv2d(1, 2, 3)
    >>> def activations(inputs, classes):
    ...     return net(inputs)[:, classes[0]].detach()
    >>> [step] = cascade(net, activations, torch.rand(4, 1, 8, 8), torch.tensor([[0, 1]] * 4))
    >>> step.layer, step.spearman.shape
    ('', (4, 2))
    """
    (found,) = cascades(module, [explain], inputs, classes, layers=layers, how=how, seed=seed)
    return found


def cascades(
    module: nn.Module,
    explains: Sequence[Explain],
    inputs: Tensor,
    classes: Tensor,
    *,
    layers: Sequence[str] | None = None,
    how: How = "reinitialise",
    seed: int = 0,
    draws: int = 1,
    compared: Collection[str] | None = None,
) -> list[list[Randomised]]:
    """The same for several rules and draws of weights, which all rules see alike; one list each rule.

    See :func:`cascade`: its errors and source hold here, too. Weights change once for all the rules, so that
    what is compiled of a model is compiled once a step.

    Args:
        module: the model whose class maps `explains` make.
        explains: functions from inputs and classes to class maps.
        inputs: (B, 1, S, S).
        classes: (B, K).
        layers: names of submodules, the first to be randomised first.
        how: "reinitialise" or "shuffle".
        seed: seed of the first draw of weights; the others follow. One draw says little: maps of a layer that
            is random may go with those of the model, or against them, by the luck of the draw.
        draws: number of draws.
        compared: layers after which maps are made and compared; all by default.

    Raises:
        OptionError: no draw.

    >>> net = nn.Conv2d(1, 1, 3)
    >>> def activations(inputs, classes):
    ...     return net(inputs).detach()
    >>> twice = cascades(net, [activations] * 2, torch.rand(1, 1, 8, 8), torch.tensor([[0]]))
    >>> [[step.layer for step in steps] for steps in twice]
    [[''], ['']]
    """
    check_at_least(1, draws=draws)
    names = blocks(module) if layers is None else list(layers)
    shown = set(names if compared is None else compared)
    found: list[list[Randomised]] = [[] for _ in explains]
    with weights_kept(module):  # a rule may move running statistics
        before = [_maps(explain, inputs, classes) for explain in explains]
    for drawn in range(seed, seed + draws):
        with weights_kept(module):
            for name in names:
                randomise(module, name, how=how, seed=drawn)
                if name not in shown:
                    continue
                for steps, explain, maps in zip(found, explains, before, strict=True):
                    left = similarity(maps, _maps(explain, inputs, classes))
                    steps.append(Randomised(**vars(left), layer=name, seed=drawn))
    return found


def blocks(module: nn.Module) -> list[str]:
    """The parts an architecture is drawn with, the last first: 11 of a DenseNet, 7 of a ResNet.

    Containers are opened, all of one level at once, until there are at least six parts with weights, or
    nothing is left to open. A container that itself has weights comes after all that is in it.

    >>> blocks(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))))
    ['2.1', '2.0', '0']
    """
    if not _learns(module):
        return []
    names: list[str] = []
    for depth in count(1):
        deeper = list(_parts(module, "", depth))
        if deeper == names or len(deeper) >= _ENOUGH:
            return deeper[::-1]
        names = deeper
    raise AssertionError("unreachable: a module has no endless depth")


def single_layers(module: nn.Module) -> list[str]:
    """Every layer that has weights itself, the last first.

    >>> single_layers(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Sequential(nn.Linear(2, 2))))
    ['2.0', '0']
    """
    return [name for name, layer in module.named_modules() if _learnt(layer)][::-1]


def randomise(module: nn.Module, layer: str, *, how: How = "reinitialise", seed: int = 0) -> None:
    """Give a layer, and all inside it, random weights in place.

    "reinitialise" calls `reset_parameters` of each part, which for a batch norm resets the running
    statistics, too; a tensor that this does not set, such as one behind a weight norm, is shuffled.
    "shuffle" permutes the values of each parameter and of running statistics. Weights are drawn by the seed
    and the part's name, so that they do not depend on how the layers were grouped, nor on whether a part was
    randomised before; the global generators stay as they were.

    Args:
        module: the model; its weights are changed, and `weights_kept` brings them back.
        layer: name of a submodule; '' for the module itself.
        how: "reinitialise" or "shuffle".
        seed: seed of the random weights.

    Raises:
        OptionError: no layer of that name, or an unknown way.

    >>> net = nn.Linear(2, 2)
    >>> with weights_kept(net):
    ...     randomise(net, "", seed=1)
    """
    check_option("how", how, How)
    part = _submodule(module, layer)
    with _own_generators(part) as generators, torch.inference_mode():
        for name, inner in part.named_modules(prefix=layer):
            for generator in generators:
                generator.manual_seed(_seed_of(seed, name))
            _renew(inner, how)


@contextmanager
def weights_kept(module: nn.Module) -> Iterator[None]:
    """Put every parameter and buffer back afterwards, the tensor and its values, also after an exception.

    A copy of all of them is held meanwhile.

    Args:
        module: the model whose weights may be changed inside.

    >>> layer = nn.Linear(1, 1)
    >>> before = layer.weight.item()
    >>> with weights_kept(layer):
    ...     _ = layer.weight.data.fill_(7)
    >>> layer.weight.item() == before
    True
    """
    slots: list[dict[str, Any]] = [
        slot
        for layer in module.modules()
        for slot in (layer._parameters, layer._buffers)  # noqa: SLF001 - torch has no other name for them
    ]
    names = [dict(slot) for slot in slots]
    tensors = [*module.parameters(), *module.buffers()]
    values = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        for slot, own in zip(slots, names, strict=True):  # a layer may have put new tensors in place
            slot.clear()
            slot.update(own)
        with torch.inference_mode():
            for tensor, value in zip(tensors, values, strict=True):
                tensor.copy_(value)


def _maps(explain: Explain, inputs: Tensor, classes: Tensor) -> Tensor:
    return explain(inputs, classes).detach().double().cpu()


def _submodule(module: nn.Module, layer: str) -> nn.Module:
    try:
        return module.get_submodule(layer)
    except AttributeError as error:
        raise OptionError(
            f"no layer {layer!r}",
            expected="a name of named_modules()",
            remedy="blocks(module) and single_layers(module) list some.",
        ) from error


def _learnt(layer: nn.Module) -> list[Tensor]:
    """What a layer itself has learnt: its parameters and running statistics."""
    buffers = dict(layer.named_buffers(recurse=False))
    return [*layer.parameters(recurse=False), *(buffers[name] for name in _STATISTICS if name in buffers)]


def _learns(module: nn.Module) -> bool:
    return any(_learnt(layer) for layer in module.modules())


def _parts(layer: nn.Module, name: str, depth: int) -> Iterator[str]:
    """Names of what has weights at some depth, in their order; what ends above it counts, too."""
    children = {key: child for key, child in layer.named_children() if _learns(child)}
    if depth == 0 or not children:
        yield name
        return
    if _learnt(layer):
        yield name
    for key, child in children.items():
        yield from _parts(child, f"{name}.{key}" if name else key, depth - 1)


@contextmanager
def _own_generators(part: nn.Module) -> Iterator[list[torch.Generator]]:
    """The global generators that a layer's weights are drawn from; their states come back afterwards."""
    devices = {tensor.device for layer in part.modules() for tensor in _learnt(layer)}
    cuda = sorted(device.index for device in devices if device.type == "cuda")
    with torch.random.fork_rng(devices=cuda):
        yield [torch.default_generator, *(torch.cuda.default_generators[index] for index in cuda)]


def _seed_of(seed: int, name: str) -> int:
    """One seed a layer: with the same for all, layers of one shape would get the same weights."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _renew(layer: nn.Module, how: How) -> None:
    reset = getattr(layer, "reset_parameters", None)
    if _learnt(layer) and how == "reinitialise" and callable(reset):
        left = _left_by(reset, _learnt(layer))
    else:
        left = _learnt(layer)
    for tensor in left:
        _shuffle(tensor)


def _left_by(reset: Callable[[], Any], tensors: Sequence[Tensor]) -> list[Tensor]:
    """Reset, and say which tensors it does not set: those in which a NaN put there before is left.

    To compare values would not do: a reset gives the same ones again where the layer was reset before.
    """
    before = [tensor.clone() for tensor in tensors]
    for tensor in tensors:
        tensor.fill_(torch.nan)
    reset()
    left = []
    for tensor, old in zip(tensors, before, strict=True):
        if tensor.isnan().any():
            tensor.copy_(old)
            left.append(tensor)
    return left


def _shuffle(tensor: Tensor) -> None:
    """Permute the values in place; drawn on the CPU, the same on every device.

    Sorted first, so that to shuffle twice is to shuffle once.
    """
    values = tensor.detach().flatten().sort().values
    tensor.copy_(values[torch.randperm(len(values)).to(values.device)].reshape(tensor.shape))
