"""Finer activations, the model's own scores, and what is refused."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from monai.networks.nets.densenet import DenseNet as MonaiDenseNetwork
from monai.networks.nets.resnet import ResNet as MonaiResNetwork
from networks import NAMES, images, randomise, small_net, small_xrv, snapshot, unsettle, xrv
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.densenet import DenseNet
from torchvision.models.resnet import BasicBlock, ResNet

from cxr_explain import HookedClassifier, MonaiDenseNet, Outputs, XRVDenseNet, XRVResNet
from cxr_explain.cam.augmented import AugmentedGradCAM
from cxr_explain.cam.registry import LAYER_RULES
from cxr_explain.cam.rules import class_maps
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.explaining.settings import MapSettings
from cxr_explain.models.base import Classifier
from cxr_explain.models.dilated import dilated
from cxr_explain.models.finer import FinerClassifier, placed

DEEP = {"growth_rate": 4, "block_config": (1, 1, 1, 1), "num_init_features": 8, "bn_size": 2}
CLASSES = torch.tensor([[4, 0, 2], [1, 1, 3]])


def deep_xrv() -> nn.Module:
    """Four blocks, so that 64 x 64 pixels become 2 x 2 cells."""
    torch.manual_seed(0)
    module = xrv.models.DenseNet(**DEEP, num_classes=5)
    module.pathologies = list(NAMES)
    with torch.no_grad():
        module.features.conv0.weight /= 500
    return randomise(module).eval()


def in_colour(inputs: Tensor) -> Tensor:
    return (inputs / 1024).expand(-1, 3, -1, -1)


def in_unit(inputs: Tensor) -> Tensor:
    return inputs / 1024


def hooked(module: nn.Module, layer: str, prepare: Any = in_colour) -> HookedClassifier:
    return HookedClassifier(randomise(module).eval(), layer, NAMES, input_size=64, prepare=prepare)


def monai_densenet() -> Classifier:
    net = MonaiDenseNetwork(2, 1, 5, init_features=8, growth_rate=4, block_config=(1, 1, 1, 1), bn_size=2)
    return MonaiDenseNet(randomise(net).eval(), NAMES, input_size=64, prepare=in_unit)


def monai_resnet() -> Classifier:
    net = MonaiResNetwork(
        "basic", [1] * 4, [4, 8, 8, 8], 2, 1, num_classes=5, conv1_t_stride=2, shortcut_type="A"
    )
    return hooked(net, "layer4", in_unit)


MODELS = {
    "xrv DenseNet": lambda: XRVDenseNet(deep_xrv(), input_size=64),
    "xrv ResNet": lambda: XRVResNet(
        randomise(XRVResNet.empty(num_classes=5)).eval(), Outputs(NAMES), input_size=64
    ),
    "MONAI DenseNet": monai_densenet,
    "MONAI ResNet": monai_resnet,
    "torchvision ResNet": lambda: hooked(ResNet(BasicBlock, [1] * 4, num_classes=5), "layer4"),
    "torchvision DenseNet": lambda: hooked(DenseNet(**DEEP, num_classes=5), "features"),
}


@pytest.fixture(params=MODELS, scope="module")
def model(request: pytest.FixtureRequest) -> Classifier:
    torch.manual_seed(0)
    found: Classifier = MODELS[request.param]()
    return found


@pytest.mark.parametrize(("resolution", "cells"), [(2, 2), (4, 4), (8, 8), ("finest", 8)])
def test_scores_are_the_models_own(resolution: Any, cells: int, model: Classifier) -> None:
    finer = FinerClassifier(model, resolution)
    result, own = finer.forward(images()), model.forward(images())
    assert result.activations.shape[-2:] == (cells, cells)
    assert result.gradient == "closed form"
    torch.testing.assert_close(result.logits, own.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(finer.logits(images()), own.logits, rtol=1e-4, atol=1e-5)
    assert finer.as_called(images(), result.logits) is finer
    if cells == 2 and own.gradient == "closed form":
        torch.testing.assert_close(result.activations, own.activations)


def test_activations_literally() -> None:
    module = deep_xrv().double()
    result = FinerClassifier(XRVDenseNet(module, input_size=64), 8).forward(images())
    with torch.no_grad():
        dense = F.relu(dilated(module, 2).features(images().double()))
    for i in range(8):
        for j in range(8):
            taps = [dense[..., max(r, 0), max(c, 0)] for r in (i - 2, i - 1) for c in (j - 2, j - 1)]
            torch.testing.assert_close(result.activations[..., i, j], torch.stack(taps).mean(0))
    head = module.classifier
    apart = F.linear(result.activations.mean((2, 3)), head.weight, head.bias)
    torch.testing.assert_close(result.dense_logits, apart.detach())  # type: ignore[attr-defined]
    torch.testing.assert_close(result.weights(CLASSES), head.weight[CLASSES].detach() / 64)


def test_a_map_that_is_even_stays_so_wherever_it_is_placed() -> None:
    for factor in (1, 2, 4):
        assert torch.equal(placed(torch.ones(1, 2, 8, 12), factor), torch.ones(1, 2, 8, 12))


@pytest.mark.parametrize("method", [name for name in LAYER_RULES if name != "augmented-grad-cam"])
def test_each_rule_gives_finer_maps(method: str) -> None:
    finer = FinerClassifier(XRVDenseNet(deep_xrv(), input_size=64), 4)
    maps = class_maps(finer, images(), CLASSES, method=method)
    assert maps.shape == (2, 3, 4, 4)
    assert maps.abs().amax((2, 3)).min() > 0


def test_grad_cam_shares_out_the_logit_of_the_finer_activations() -> None:
    finer = FinerClassifier(XRVDenseNet(deep_xrv(), input_size=64), "finest")
    result = finer.forward(images())
    maps = class_maps(finer, images(), CLASSES)
    shared = maps.sum((2, 3)) * result.activations.shape[1] + finer.head.bias[CLASSES]
    torch.testing.assert_close(shared, result.dense_logits.gather(1, CLASSES))  # type: ignore[attr-defined]


def test_the_model_leaves_as_it_came_also_after_an_exception() -> None:
    module = deep_xrv()
    unsettle(module)
    finer = FinerClassifier(XRVDenseNet(module, input_size=64), 8)
    before = snapshot(module)
    finer.forward(images()).weights(CLASSES)
    finer.as_called(images())
    assert snapshot(module) == before

    def fail(*_: object) -> None:
        raise RuntimeError("in mid-forward")

    module.features.denseblock4.denselayer1.conv2.register_forward_pre_hook(fail)
    before = snapshot(module)
    with pytest.raises(RuntimeError, match="in mid-forward"):
        finer.forward(images())
    assert snapshot(module) == before


def test_it_can_be_pickled_and_copied() -> None:
    finer = FinerClassifier(XRVDenseNet(deep_xrv(), input_size=64), 4)
    wanted = finer.forward(images())
    for twin in (pickle.loads(pickle.dumps(finer)), copy.deepcopy(finer)):
        assert twin.module is not finer.module
        torch.testing.assert_close(twin.forward(images()).activations, wanted.activations)


def test_inputs_of_another_size_have_other_grids() -> None:
    finer = FinerClassifier(XRVDenseNet(deep_xrv()), 6)
    assert finer.forward(images(size=96)).activations.shape[-2:] == (6, 6)
    with pytest.raises(OptionError, match=r"resolution=6 .* 64 x 64 pixels; expected native, .* 2 .* 4, 8"):
        finer.forward(images(size=64))
    with pytest.raises(OptionError, match=r"80 x 80 pixels; expected sides that are multiples of 32"):
        finer.forward(images(size=80))


def test_a_cell_is_never_smaller_than_eight_pixels() -> None:
    finer = FinerClassifier(XRVDenseNet(small_xrv(5), input_size=64), "finest")
    assert finer.forward(images()).activations.shape[-2:] == (8, 8)  # as the network has it
    with pytest.raises(OptionError, match=r"expected native, which is 8 cells\.$"):
        FinerClassifier(XRVDenseNet(small_xrv(5), input_size=64), 16).forward(images())


@pytest.mark.parametrize("resolution", ["fine", 0, -14, True, 14.0, None])
def test_what_is_no_resolution(resolution: Any) -> None:
    with pytest.raises(OptionError, match="expected native, finest, or cells such as 14"):
        FinerClassifier(XRVDenseNet(deep_xrv()), resolution)
    with pytest.raises(OptionError, match="expected native, finest, or cells such as 14"):
        MapSettings(resolution=resolution)


def refused() -> dict[str, Classifier]:
    return {
        "another network": HookedClassifier(small_net(), "3", NAMES),
        "an earlier layer": hooked(ResNet(BasicBlock, [1] * 4, num_classes=5), "layer3"),
        "another head": hooked(ResNet(BasicBlock, [1] * 4, num_classes=5).requires_grad_(False), "layer4"),
    }


@pytest.mark.parametrize("which", refused())
def test_other_models_are_refused_with_the_way_out(which: str) -> None:
    classifier = refused()[which]
    if which == "another head":
        classifier.module.fc = nn.Sequential(nn.Dropout(), nn.Linear(512, 5))
    with pytest.raises(ModelError, match=r"DenseNet or ResNet of TorchXRayVision.*cxr-explain layers"):
        FinerClassifier(classifier, 4)


def test_a_layer_that_looks_at_the_whole_map_is_found_out() -> None:
    net = MonaiDenseNetwork(
        2, 1, 5, init_features=8, growth_rate=4, block_config=(1, 1, 1, 1), norm=("group", {"num_groups": 1})
    )
    finer = FinerClassifier(MonaiDenseNet(net.eval(), NAMES, input_size=64, prepare=in_unit), 4)
    with pytest.raises(ModelError, match="cells of its own map lie"):
        finer.as_called(images())


def test_a_forward_of_the_users_own_is_refused() -> None:
    module = deep_xrv()
    module.register_forward_hook(lambda _module, _inputs, output: output * 2 + 1)
    finer = FinerClassifier(XRVDenseNet(module, input_size=64), 4)
    with pytest.raises(ModelError, match="own forward"):
        finer.as_called(images())


@pytest.mark.parametrize("method", ["augmented-grad-cam", AugmentedGradCAM(views=2)])
def test_a_method_that_makes_finer_maps_in_its_own_way_is_refused_by_name(method: Any) -> None:
    with pytest.raises(OptionError, match=r"resolution=14 with Augmented Grad-CAM"):
        MapSettings(method=method, resolution=14)


def test_named_layers_are_refused() -> None:
    with pytest.raises(OptionError, match=r"an earlier layer has finer maps of its own"):
        MapSettings(target_layers=("features.denseblock2",), resolution=14)


def test_a_user_s_pooled_model_without_a_known_body_is_refused() -> None:
    classifier = XRVDenseNet(deep_xrv(), input_size=64)
    region = torch.ones(8, 8)
    with pytest.raises(ModelError, match="no finer maps"):
        FinerClassifier(classifier.restricted(region), 4)
