"""Networks without their last strides, by the definition of à trous: the maps of shifted inputs, in one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from monai.networks.nets.densenet import DenseNet as MonaiDenseNetwork
from monai.networks.nets.resnet import ResNet as MonaiResNetwork
from networks import randomise_norms, snapshot, unsettle, xrv
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.densenet import DenseNet
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from cxr_explain.errors import ModelError
from cxr_explain.models.dilated import SpreadAverage, dilated, strides_of
from cxr_explain.models.finer import NetworkBody, placed
from cxr_explain.models.monai import MonaiBody, MonaiResNetBody
from cxr_explain.models.xrv import DenseNetBody, ResNetBody

CELL = 32  # pixels of each of these networks' cells
SIDE = 9 * CELL
INTERIOR = slice(4, 6)  # cells that no border reaches, of 9
NARROW = {"growth_rate": 4, "block_config": (1, 1, 1, 1), "num_init_features": 8, "bn_size": 2}


def xrv_densenet() -> DenseNetBody:
    return DenseNetBody(xrv.models.DenseNet(**NARROW))


def torchvision_densenet() -> DenseNetBody:
    return DenseNetBody(DenseNet(**NARROW, num_classes=3))


def monai_densenet() -> MonaiBody:
    net = MonaiDenseNetwork(2, 1, 3, init_features=8, growth_rate=4, block_config=(1, 1, 1, 1), bn_size=2)
    return MonaiBody(net, None)


def basic_resnet() -> ResNetBody:
    return ResNetBody(ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3))


def bottleneck_resnet() -> ResNetBody:
    return ResNetBody(ResNet(Bottleneck, [1, 1, 1, 1], num_classes=3, width_per_group=8))


def monai_resnet(shortcut: str = "B", block: str = "basic") -> MonaiResNetBody:
    settings: dict[str, Any] = {"spatial_dims": 2, "n_input_channels": 1, "num_classes": 3}
    settings |= {"conv1_t_stride": 2, "shortcut_type": shortcut}
    return MonaiResNetBody(MonaiResNetwork(block, [1, 1, 1, 1], [4, 8, 8, 8], **settings))


BODIES: dict[str, Callable[[], NetworkBody]] = {
    "xrv DenseNet": xrv_densenet,
    "torchvision DenseNet": torchvision_densenet,
    "MONAI DenseNet": monai_densenet,
    "torchvision ResNet, basic": basic_resnet,
    "torchvision ResNet, bottleneck": bottleneck_resnet,
    "MONAI ResNet, shortcut A": lambda: monai_resnet("A"),
    "MONAI ResNet, shortcut B": monai_resnet,
    "MONAI ResNet, bottleneck": lambda: monai_resnet("B", "bottleneck"),
}


@pytest.fixture(params=BODIES, scope="module")
def body(request: pytest.FixtureRequest) -> NetworkBody:
    torch.manual_seed(0)
    found = BODIES[request.param]()
    randomise_norms(found.network).double().eval().requires_grad_(False)
    return found


@pytest.fixture(scope="module")
def canvas() -> Tensor:
    """An image that is a cell larger than what a network sees of it."""
    return torch.rand(1, 3, SIDE + CELL, SIDE + CELL, generator=torch.Generator().manual_seed(1)).double()


def seen(body: NetworkBody, canvas: Tensor, down: int = 0, right: int = 0) -> Tensor:
    """The part of the canvas that begins so many pixels down and to the right."""
    first = next(each for each in body.network.modules() if isinstance(each, nn.Conv2d))
    return canvas[:, : first.in_channels, down : down + SIDE, right : right + SIDE]


@pytest.mark.parametrize(("out", "shift"), [(1, (0, 16)), (2, (24, 8))])
def test_each_cell_is_one_of_the_networks_own_map_of_a_shifted_input(
    out: int, shift: tuple[int, int], body: NetworkBody, canvas: Tensor
) -> None:
    factor = 2**out
    dense = body.of(dilated(body.network, out))(seen(body, canvas))
    assert dense.shape[-2:] == (9 * factor, 9 * factor)
    own, (rows, columns) = body(seen(body, canvas, *shift)), (by * factor // CELL for by in shift)
    there = dense[..., rows::factor, columns::factor][..., INTERIOR, INTERIOR]
    torch.testing.assert_close(there, own[..., INTERIOR, INTERIOR], rtol=0, atol=1e-10)
    unshifted = dense[..., ::factor, ::factor][..., INTERIOR, INTERIOR]
    assert not torch.allclose(unshifted, there, atol=1e-3), "a shift makes no difference"


@pytest.mark.parametrize("out", [0, 1, 2])
def test_with_the_strides_put_back_it_is_the_networks_own_map_borders_included(
    out: int, body: NetworkBody, canvas: Tensor
) -> None:
    inputs = seen(body, canvas)[..., : 4 * CELL, : 6 * CELL]
    dense = body.of(dilated(body.network, out))(inputs)
    torch.testing.assert_close(dense[..., :: 2**out, :: 2**out], body(inputs), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "make",
    [lambda: DenseNetBody(xrv.models.DenseNet()), lambda: ResNetBody(resnet50())],
    ids=["DenseNet-121", "ResNet-50"],
)
def test_networks_of_the_usual_depth(make: Callable[[], NetworkBody]) -> None:
    torch.manual_seed(0)
    body = make()
    body.network.double().eval().requires_grad_(False)
    inputs = torch.rand(1, 3 if isinstance(body, ResNetBody) else 1, 64, 96).double()
    own = body(inputs)
    for out in (1, 2):
        dense = body.of(dilated(body.network, out))(inputs)[..., :: 2**out, :: 2**out]
        torch.testing.assert_close(dense, own, rtol=0, atol=1e-6 * float(own.abs().max()))


def test_where_a_bright_spot_lands_does_not_depend_on_the_resolution() -> None:
    """Networks that only average: how far the centre of what a spot does to the map lies from the spot.

    It is the mean over places within a cell. What remains is the networks' own: the centre of what a cell
    sees of the input is not the cell's own.
    """
    for body, offset in ((xrv_densenet(), 1.5), (monai_resnet(), 15.5)):
        for parameter in body.network.parameters():
            nn.init.constant_(parameter, 1 / max(1, parameter[0].numel()))
        body.network.eval().requires_grad_(False).double()
        at = torch.arange(96, 128, 2)
        spots = torch.ones(len(at), 1, 224, 224, dtype=torch.float64)
        spots[torch.arange(len(at)), 0, at, at] += 100
        off = []
        for out in (0, 1, 2):
            module = body.of(dilated(body.network, out))
            response = placed(module(spots) - module(torch.ones_like(spots[:1])), 2**out).sum(1).clamp(min=0)
            centres = (torch.arange(response.shape[-1]) + 0.5) * (224 / response.shape[-1])
            rows = (response.sum(2) @ centres.double()) / response.sum((1, 2))
            off.append(float((rows - (at + 0.5)).mean()))
        assert off == pytest.approx([offset] * 3, abs=0.5)


def test_the_network_is_not_touched_not_even_meanwhile_nor_after_an_exception(body: NetworkBody) -> None:
    first = next(each for each in body.network.modules() if isinstance(each, nn.Conv2d))
    inputs = torch.zeros(1, first.in_channels, 64, 64, dtype=torch.float64)
    convolutions = [each for each in body.network.modules() if isinstance(each, nn.Conv2d)]
    before = snapshot(body.network)
    body.of(dilated(body.network, 2))(inputs)
    assert snapshot(body.network) == before

    class HaltError(Exception):
        pass

    def halt(*_: object) -> None:
        seen_meanwhile.append([(each.stride, each.dilation, each.padding) for each in convolutions])
        raise HaltError

    seen_meanwhile: list[object] = []
    as_it_is = [(each.stride, each.dilation, each.padding) for each in convolutions]
    handle = convolutions[-1].register_forward_pre_hook(halt)
    try:
        before = snapshot(body.network)
        with pytest.raises(HaltError):  # a user's hook runs in the view, too
            body.of(dilated(body.network, 2))(inputs)
        assert snapshot(body.network) == before
    finally:
        handle.remove()
    assert seen_meanwhile == [as_it_is]


def test_threads_that_run_the_network_meanwhile_see_nothing_of_it() -> None:
    body = xrv_densenet()
    body.network.eval().requires_grad_(False)
    unsettle(body.network.eval())
    body.network.eval()
    inputs = torch.rand(1, 1, 64, 64)
    own, dense = body(inputs), body.of(dilated(body.network, 1))(inputs)

    def run(number: int) -> bool:
        module = body if number % 2 else body.of(dilated(body.network, 1))
        return torch.equal(module(inputs), own if number % 2 else dense)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(24)))


def test_a_view_follows_the_weights() -> None:
    body = xrv_densenet()
    body.network.eval().requires_grad_(False)
    view, inputs = dilated(body.network, 1), torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        for parameter in body.network.parameters():
            parameter.mul_(1.1)
    torch.testing.assert_close(DenseNetBody(view)(inputs)[..., ::2, ::2], body(inputs), rtol=1e-5, atol=1e-5)
    body.network.double()
    assert DenseNetBody(view)(inputs.double()).dtype == torch.float64


def test_an_average_of_taps_literally() -> None:
    maps, spacing = torch.rand(2, 3, 7, 9, dtype=torch.float64), 2
    found = SpreadAverage.of(nn.AvgPool2d(2), spacing)(maps)
    for i in range(7):
        for j in range(9):
            taps = [maps[..., r, c] for r in (i, i + spacing) if r < 7 for c in (j, j + spacing) if c < 9]
            torch.testing.assert_close(found[..., i, j], torch.stack(taps).mean(0))


def test_strides_of_networks() -> None:
    assert strides_of(xrv.models.DenseNet(**NARROW | {"block_config": (1, 1)})) == (2, 2, 2)
    assert strides_of(ResNet(BasicBlock, [1, 1, 1, 1])) == (2, 2, 2, 2, 2)
    without = {"spatial_dims": 2, "n_input_channels": 1, "no_max_pool": True}
    assert strides_of(MonaiResNetwork("basic", [1, 1, 1, 1], [4, 4, 4, 4], **without)) == (2, 2, 2)
    dilation = [False, False, True]
    assert strides_of(ResNet(Bottleneck, [1] * 4, replace_stride_with_dilation=dilation)) == (2, 2, 2, 2)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.AvgPool2d(3, 2), "AvgPool2d"),
        (nn.MaxPool2d(2), "MaxPool2d"),
        (nn.Conv2d(18, 18, 3, 2, 1, padding_mode="reflect"), "Conv2d"),
    ],
)
def test_a_layer_that_cannot_be_dilated_is_refused_by_name(layer: nn.Module, said: str) -> None:
    network = xrv.models.DenseNet(**NARROW)
    network.features.transition3.pool = layer
    with pytest.raises(ModelError, match=rf"{said}.*resolution='native'"):
        dilated(network, 1)
