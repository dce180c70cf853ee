"""How what a layer gives becomes feature maps (B, C, I, J), and how other maps are put back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from cxr_explain.errors import ModelError
from cxr_explain.options import check_option

GridFunction = Callable[[Tensor], Tensor]
"""From what a layer gives to feature maps (B, C, I, J)."""

Layout = Literal["channels first", "channels last"]
"""Where the channels of (B, ., ., .) are: second, as of convolutions, or last, as of Swin."""

_NOT_PATCHES = "token"  # how parameters that stand before the patches are called: cls_token, reg_token, ...
_CHANNELS_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)  # noqa: SLF001
_CHANNELS_LAST = ("LayerNorm", "RMSNorm", "Permute")  # parts of the names of layers that may turn a model


@runtime_checkable
class InvertibleGrid(Protocol):
    """A grid that can also put other activations back among what the layer gave."""

    def __call__(self, layer_output: Tensor) -> Tensor:
        """From the layer's output to (B, C, I, J)."""
        ...

    def replace(self, layer_output: Tensor, activations: Tensor) -> Tensor:
        """The layer's output with these activations, (B, C, I, J), put in."""
        ...


@dataclass(frozen=True)
class ChannelsFirst:
    """The grid of a layer that gives (B, C, I, J) already."""

    def __call__(self, output: Tensor) -> Tensor:
        """The output as it is."""
        return output

    def replace(self, _output: Tensor, activations: Tensor) -> Tensor:
        """A copy: an in-place operator behind the layer may overwrite it."""
        return activations.clone()


@dataclass(frozen=True)
class ChannelsLast:
    """The grid of a layer that gives (B, I, J, C), such as a block of Swin.

    >>> ChannelsLast()(torch.zeros(1, 7, 8, 768)).shape
    torch.Size([1, 768, 7, 8])
    """

    def __call__(self, output: Tensor) -> Tensor:
        """(B, I, J, C) -> (B, C, I, J)."""
        return output.permute(0, 3, 1, 2)

    def replace(self, _output: Tensor, activations: Tensor) -> Tensor:
        """(B, C, I, J) -> (B, I, J, C), as a copy."""
        return activations.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format)


@dataclass(frozen=True)
class TokenGrid:
    """The grid of a transformer's patches, see `token_grid`.

    Args:
        rows: number of patches along the height.
        columns: number of patches along the width.
        skip: number of leading tokens that are no patches.
    """

    rows: int
    columns: int
    skip: int

    def __call__(self, tokens: Tensor) -> Tensor:
        """(B, skip + rows * columns, C) -> (B, C, rows, columns)."""
        if not self.fits(tokens):
            raise ModelError(
                f"tokens of shape {tuple(tokens.shape)}",
                expected=f"(B, {self.skip + self.rows * self.columns}, C): {self.skip} to skip, then "
                f"{self.rows} x {self.columns} patches",
                remedy="Give token_grid the model's own rows, columns and skip.",
            )
        return torch.unflatten(tokens[:, self.skip :].transpose(1, 2), 2, (self.rows, self.columns))

    def fits(self, tokens: Tensor) -> bool:
        """Whether there are so many tokens."""
        return tokens.ndim == 3 and tokens.shape[1] == self.skip + self.rows * self.columns

    def replace(self, tokens: Tensor, activations: Tensor) -> Tensor:
        """Put other patches in place; the leading tokens stay."""
        return torch.cat([tokens[:, : self.skip], activations.flatten(2).transpose(1, 2)], dim=1)


def token_grid(rows: int, columns: int, *, skip: int = 1) -> TokenGrid:
    """Reshape a transformer's tokens (B, skip + rows * columns, C) to (B, C, rows, columns).

    Args:
        rows: number of patches along the height.
        columns: number of patches along the width.
        skip: number of leading tokens that are no patches, such as the class token.

    Note:
        Behind the last attention only the class token reaches the head: the patches' gradient there is zero.
        Name a layer before it, for example torchvision's `encoder.layers.encoder_layer_11.ln_1`.

    >>> token_grid(2, 3)(torch.zeros(1, 7, 5)).shape
    torch.Size([1, 5, 2, 3])
    """
    return TokenGrid(rows, columns, skip)


def as_grid(grid: GridFunction | Layout | None) -> GridFunction | None:
    """The grid that a user names or gives.

    Raises:
        OptionError: another name.
    """
    if not isinstance(grid, str):
        return grid
    check_option("grid", grid, Layout)
    return ChannelsLast() if grid == "channels last" else ChannelsFirst()


@dataclass(frozen=True)
class Reading:
    """How a layer's output is read.

    Args:
        grid: from the output to (B, C, I, J), and back.
        note: what was done with it, for people to read; '' where it is (B, C, I, J) as it comes.
    """

    grid: GridFunction
    note: str = ""


def reading_of(output: Tensor, inputs: Sequence[int], layer: nn.Module, network: nn.Module) -> Reading:
    """Find out how a layer's output is to be read: from its shape, that of the inputs, and the network.

    A map has the aspect of the input, to within the rounding of each stride. Where only one reading gives
    such maps, it is that one; where both do, a network without any layer that works on the last dimension
    has its channels first. Tokens are read row by row.

    Args:
        output: the layer's output, (B, C, I, J), (B, I, J, C) or (B, T, C).
        inputs: shape of the network's inputs, (B, ., H, W).
        layer: the layer.
        network: the model that it is part of; its class token and other tokens that are no patches are known
            by their parameters.

    Raises:
        ModelError: a shape that gives no maps, or may be read in two ways; or the weights of an attention,
            (B, heads, T, T), which are no maps although they are as square as the input.

    >>> swin = nn.Sequential(nn.LayerNorm(768))
    >>> reading_of(torch.zeros(1, 7, 7, 768), (1, 3, 224, 224), swin[0], swin).note
    'gives (B, 7, 7, 768): its channels come last, and were moved before the 7 x 7 cells'
    """
    shape = tuple(output.shape)
    if len(shape) not in (3, 4):
        raise _no_maps(shape)
    if shape[0] != inputs[0]:
        raise ModelError(
            f"activations of shape {tuple(shape)} for a batch of {inputs[0]}",
            expected="(B, C, I, J), with the images first",
            remedy="Name the layer around it, which puts windows or sequences together again.",
        )
    size = (int(inputs[-2]), int(inputs[-1]))
    if len(shape) == 3:
        return _tokens(shape, size, network)
    first, last = aspect_fits(shape[2:], size), aspect_fits(shape[1:3], size)
    if last >= max(first, 1) and not (first and _channels_come_first(shape, layer, network)):
        note = f"its channels come last, and were moved before the {shape[1]} x {shape[2]} cells"
        return Reading(ChannelsLast(), f"gives {_without_batch(shape)}: {note}")
    if shape[2] == shape[3] > 1 and _turning(network) and _are_weights(output, network):
        raise ModelError(
            f"the weights of an attention, of shape {shape}",
            expected="(B, C, I, J)",
            remedy="Name the block around it, or the norm before it.",
        )
    return Reading(ChannelsFirst())


def aspect_fits(cells: Sequence[int], size: Sequence[int]) -> int:
    """Whether maps have the input's aspect: 2 exactly, 1 to within the rounding of a stride, 0 not.

    >>> aspect_fits((7, 7), (224, 224)), aspect_fits((10, 7), (320, 240)), aspect_fits((7, 768), (224, 224))
    (2, 1, 0)
    """
    (rows, columns), (height, width) = cells, size
    if rows * width == columns * height:
        return 2
    smallest = max(height / (rows + 1), width / (columns + 1))
    pairs = zip(size, cells, strict=True)
    largest = min(edge / (count - 1) if count > 1 else math.inf for edge, count in pairs)
    return int(smallest < largest)


def remark_on(cells: Sequence[int], size: Sequence[int]) -> str:
    """What a reader should know of maps of this shape; '' where they have the input's aspect.

    Args:
        cells: (I, J) of the maps.
        size: (H, W) of the inputs.

    >>> remark_on((1, 1), (224, 224))
    'gives one value for the whole image (1 x 1): its maps say nothing of where'
    """
    if tuple(cells) == (1, 1):
        return "gives one value for the whole image (1 x 1): its maps say nothing of where"
    fits = aspect_fits(cells, size)
    if fits == 2 or (fits == 1 and min(cells) > 1):
        return ""
    (rows, columns), (height, width) = cells, size
    return (
        f"gives maps of {rows} x {columns} for inputs of {height} x {width}: their shape is not the input's, "
        "and their places may not be the radiograph's"
    )


def _channels_come_first(shape: Sequence[int], layer: nn.Module, network: nn.Module) -> bool:
    """By what the layer or the network consists of, where the shape does not tell."""
    if not _turning(network) or isinstance(layer, _CHANNELS_FIRST):
        return True
    if type(layer) in (nn.LayerNorm, nn.Linear):
        return False
    raise ModelError(
        f"activations of shape {tuple(shape)}, whose channels may come first or last",
        expected="(B, C, I, J), or another shape that tells",
        remedy="Say which: HookedClassifier(..., grid='channels first'), or 'channels last'.",
    )


def _turning(network: nn.Module) -> bool:
    """Whether a network has layers that work on the last dimension, or move dimensions."""
    return any(name in type(module).__name__ for module in network.modules() for name in _CHANNELS_LAST)


def _are_weights(output: Tensor, network: nn.Module) -> bool:
    """Whether square maps are an attention's: each row sums to 1, or there are as many as positions."""
    parameters = network.named_parameters()
    positions = {p.shape[1] for name, p in parameters if p.ndim == 3 and "pos" in name.rpartition(".")[2]}
    if output.shape[-1] in positions:
        return True
    sums = output.sum(dim=-1)
    return bool((output >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-2))


def _tokens(shape: Sequence[int], size: tuple[int, int], network: nn.Module) -> Reading:
    """The patches of (B, T, C), whose number is that of a grid of the input's aspect."""
    _, tokens, channels = shape
    others = sum(_leading_tokens(network))
    found = _patches(tokens, size, others)
    # (B, C, T), such as within the blocks of a mixer, might be taken for tokens.
    widths = {parameter.shape[0] for parameter in network.parameters() if parameter.ndim == 1}
    turned = tokens in widths and (channels not in widths or _patches(channels, size, others))
    if len(found) != 1 or channels == 1 or turned:
        raise _no_maps(shape)
    ((rows, columns, skip),) = found
    left_out = f"{skip} left out, the others" if skip else "they"
    note = f"{left_out} are read as {rows} x {columns} patches, row by row"
    return Reading(TokenGrid(rows, columns, skip), f"gives {tokens} tokens: {note}")


def _leading_tokens(network: nn.Module) -> Iterator[int]:
    """How many class, distillation and register tokens there are, by parameters (1, n, C) of such a name."""
    for name, parameter in network.named_parameters():
        last = name.rpartition(".")[2]
        if parameter.ndim == 3 and _NOT_PATCHES in last and "mask" not in last:
            yield parameter.shape[1]


def _patches(tokens: int, size: tuple[int, int], others: int) -> set[tuple[int, int, int]]:
    """Rows, columns and leading tokens of every grid of the input's aspect that has so many tokens."""
    grids = [
        (rows, (tokens - skip) // rows, skip)
        for skip in {others, 0, 1}
        for rows in range(1, tokens - skip + 1)
        if (tokens - skip) % rows == 0
    ]
    fits = {grid: aspect_fits(grid[:2], size) for grid in grids}
    wanted = 2 if size[0] == size[1] else max(fits.values(), default=0)
    return {grid for grid, fit in fits.items() if fit == wanted > 0}


def _without_batch(shape: Sequence[int]) -> str:
    return f"(B, {', '.join(map(str, shape[1:]))})"


def _no_maps(shape: Sequence[int]) -> ModelError:
    return ModelError(
        f"activations of shape {tuple(shape)}",
        expected="(B, C, I, J)",
        remedy="Where tokens make no grid of the input's aspect, pass HookedClassifier(..., "
        "grid=token_grid(rows, columns)).",
    )
