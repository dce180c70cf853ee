"""Networks whose last strides are taken out and whose later layers are dilated (à trous).

The network itself is never touched: a view shares its parameters, buffers and hooks, and has other strides.
So nothing has to be put back, and whoever runs the network meanwhile sees nothing of it.

Source:
    Holschneider et al., A real-time algorithm for signal analysis with the help of the wavelet transform,
    1989 (algorithme à trous); Chen et al., DeepLab, arXiv 1606.00915; Yu, Koltun and Funkhouser, Dilated
    Residual Networks, CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from cxr_explain.errors import ModelError

M = TypeVar("M", bound=nn.Module)

_ASIDE = "downsample"  # the way beside a residual block's own
_LAYERS = ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4")


def strides_of(network: nn.Module) -> tuple[int, ...]:
    """The strides of a DenseNet or ResNet, one for each part that has one, in order.

    Args:
        network: one of torchvision's, MONAI's or TorchXRayVision's form: with `features`, or with `layer1` to
            `layer4`.

    >>> from torchvision.models import resnet18
    >>> strides_of(resnet18())
    (2, 2, 2, 2, 2)
    """
    return tuple(stride for _, stride in _strided(_line(network)))


def dilated(network: nn.Module, out: int) -> nn.Module:
    """A view of a DenseNet or ResNet without its last strides; what follows each of them is dilated.

    Each cell of the view's map is one of the network's own map of an input that is shifted by less than a
    cell: every so many cells, from the first on, are the network's own map.

    Args:
        network: as for `strides_of`; it is not changed; where weights change, the view has them, too.
        out: how many strides are taken out, from the last one on.

    Raises:
        ModelError: a layer behind the first of these strides that cannot be dilated.

    >>> from torchvision.models import resnet18
    >>> network = resnet18().eval()
    >>> with torch.no_grad():
    ...     stem = network.maxpool(network.conv1(torch.zeros(1, 3, 64, 64)))
    ...     view = dilated(network, 1)
    ...     view.layer4(view.layer3(view.layer2(view.layer1(stem)))).shape
    torch.Size([1, 512, 4, 4])
    """
    parts = _line(network)
    first = _strided(parts)[-out][0] if out else len(parts.names)
    changed, spacing = {}, 1
    for name in parts.names[first:]:
        changed[name], spacing = _spread(parts.holder.get_submodule(name), spacing)
    holder = _view(parts.holder, changed)
    return holder if parts.holder is network else _view(network, {"features": holder})


class _PartsInOrder:
    """The parts of a network, one behind the other.

    Args:
        holder: the module that has them.
        names: their names in it.
    """

    def __init__(self, holder: nn.Module, names: Sequence[str]) -> None:
        self.holder = holder
        self.names = names

    def __iter__(self) -> Iterator[nn.Module]:
        return (self.holder.get_submodule(name) for name in self.names)


def _line(network: nn.Module) -> _PartsInOrder:
    features = getattr(network, "features", None)
    if isinstance(features, nn.Sequential):
        return _PartsInOrder(features, list(features._modules))  # noqa: SLF001 - names, in order
    unused = {"maxpool"} if getattr(network, "no_max_pool", False) else set()
    return _PartsInOrder(network, [name for name in _LAYERS if hasattr(network, name) and name not in unused])


def _strided(parts: _PartsInOrder) -> list[tuple[int, int]]:
    """Where the strided parts are, and the stride of each."""
    found = ((at, _stride(part)) for at, part in enumerate(parts))
    return [(at, stride) for at, stride in found if stride > 1]


def _stride(part: nn.Module) -> int:
    """The product of the strides along the main way through a part."""
    product = 1
    for name, layer in part.named_modules():
        if _ASIDE not in name.split("."):
            product *= _one(getattr(layer, "stride", 1)) if isinstance(layer, _WITH_STRIDES) else 1
    return product


_WITH_STRIDES = (nn.Conv2d, nn.AvgPool2d, nn.MaxPool2d)


def _one(value: Any) -> int:
    """A stride, as layers have it: a number or two equal ones."""
    return int(value[0]) if isinstance(value, tuple) else int(value)


def _spread(layer: nn.Module, spacing: int) -> tuple[nn.Module, int]:
    """A view of a layer that takes cells so far apart and leaves none out; and how far its own lie apart."""
    if isinstance(layer, nn.Conv2d):
        return _convolution(layer, spacing), spacing * _one(layer.stride)
    if isinstance(layer, nn.AvgPool2d):
        return SpreadAverage.of(layer, spacing), spacing * _one(layer.stride)
    if isinstance(layer, nn.MaxPool2d):
        raise _not_dilated(layer)
    entry, changed = spacing, {}
    for name, child in layer.named_children():
        changed[name], after = _spread(child, entry if name == _ASIDE else spacing)
        spacing = spacing if name == _ASIDE else after
    view = _view(layer, changed) if changed else layer
    aside = vars(layer).get(_ASIDE)  # MONAI's shortcut A: a function with a stride
    if isinstance(aside, partial) and "stride" in aside.keywords:
        vars(view)[_ASIDE] = partial(aside, stride=1)
    return view, spacing


def _convolution(layer: nn.Conv2d, spacing: int) -> nn.Conv2d:
    if layer.padding_mode != "zeros":
        raise _not_dilated(layer)
    padding = layer.padding
    return _view(
        layer,
        stride=(1, 1),
        dilation=tuple(spacing * each for each in layer.dilation),
        padding=padding if isinstance(padding, str) else tuple(spacing * int(each) for each in padding),
    )


class SpreadAverage(nn.AvgPool2d):
    """The average of 2 x 2 cells that lie some cells apart, at each cell; at the ends, of those there are.

    >>> SpreadAverage.of(nn.AvgPool2d(2), 1)(torch.tensor([[[[0.0, 4.0], [8.0, 12.0]]]])).tolist()
    [[[[6.0, 8.0], [10.0, 12.0]]]]
    """

    spacing: int

    @classmethod
    def of(cls, pool: nn.AvgPool2d, spacing: int) -> SpreadAverage:
        """The same taps as a pooling with stride 2, so far apart.

        Raises:
            ModelError: another pooling than of 2 x 2 cells.
        """
        if (_one(pool.kernel_size), _one(pool.stride), _one(pool.padding)) != (2, 2, 0):
            raise _not_dilated(pool)
        return _view(pool, kind=cls, spacing=spacing)  # type: ignore[return-value]  # of that class

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, I, J) -> (B, C, I, J)."""
        for axis in (-2, -1):
            next_one = maps.narrow(axis, self.spacing, maps.shape[axis] - self.spacing)
            itself = maps.narrow(axis, maps.shape[axis] - self.spacing, self.spacing)
            maps = (maps + torch.cat((next_one, itself), dim=axis)) / 2
        return maps


def _view(
    module: M, parts: dict[str, nn.Module] | None = None, *, kind: type | None = None, **attributes: Any
) -> M:
    """A module that shares all of another one's, but for some parts and attributes."""
    view: M = object.__new__(kind or type(module))
    vars(view).update(vars(module) | attributes)
    vars(view).pop("_compiled_call_impl", None)  # torch.compile's, which calls the other one
    if parts:
        vars(view)["_modules"] = {**module._modules, **parts}  # noqa: SLF001 - torch has no other way
    return view


def _not_dilated(layer: nn.Module) -> ModelError:
    return ModelError(
        f"a layer {layer!r} behind the strides",
        expected="convolutions padded with zeros, and averages of 2 x 2 cells",
        remedy="Choose resolution='native'.",
    )
