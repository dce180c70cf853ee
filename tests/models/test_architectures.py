"""Twenty-five architectures at the layers of docs/how_to/layers.md: scores and maps are the models' own.

The maps are held to finite differences, by a hook of this test's own that knows each layer's layout: the
map of Grad-CAM at a position p is the derivative of the score when a_c(p), the activations there, are added
at every position, divided by C I J.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs" / "_ext"))
import layer_table
from layer_table import NAMES, ROWS, Row
from networks import randomise_norms

from cxr_explain import Explainer, HookedClassifier, class_maps, imagenet_input, layers
from cxr_explain.models.base import Classifier
from cxr_explain.models.coercion import as_classifier
from cxr_explain.models.families import family_of_module

CLASSES = torch.tensor([[0, 2], [1, 0]])
PLACE = (1, 0)
STEP = 1e-5
TOKENS = {
    "vit_b_16": (4, 1),
    "vit_base_patch16_224": (4, 1),
    "vit_small_patch14_reg4_dinov2": (4, 5),
    "ViTForImageClassification": (4, 1),
    "SwinForImageClassification": (8, 0),
}
"""Rows and columns of the small models' patches, and how many tokens stand before them."""

CHANNELS_LAST = ("swin_v2_t", "swin_tiny_patch4_window7_224")
PAGE = layer_table.PAGE.read_text(encoding="utf-8")
each_row = pytest.mark.parametrize("row", ROWS, ids=str)


def _resnet(channels: int) -> nn.Module:
    from torchvision.models.resnet import BasicBlock, ResNet

    module = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=len(NAMES))
    module.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return module


def _efficientnet() -> nn.Module:
    from torchvision.models.efficientnet import EfficientNet, MBConvConfig

    settings = [MBConvConfig(1, 3, 2, 32, 16, 1), MBConvConfig(6, 5, 2, 16, 24, 2)]
    return EfficientNet(settings, 0.2, num_classes=len(NAMES), last_channel=96)


def _mobilenet() -> nn.Module:
    from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3

    settings = [
        InvertedResidualConfig(16, 3, 16, 16, True, "RE", 2, 1, 1),
        InvertedResidualConfig(16, 5, 48, 24, True, "HS", 2, 1, 1),
    ]
    return MobileNetV3(settings, 64, num_classes=len(NAMES))


def _timm_efficientnet() -> nn.Module:
    import timm

    return timm.create_model("test_efficientnet", num_classes=len(NAMES))


def _monai_efficientnet() -> nn.Module:
    from monai.networks.nets.efficientnet import EfficientNet

    blocks = ["r1_k3_s22_e1_i32_o16_se0.25", "r2_k5_s22_e6_i16_o24_se0.25"]
    return EfficientNet(blocks, spatial_dims=2, in_channels=1, num_classes=len(NAMES), image_size=64)


SMALLER: dict[str, Callable[[], nn.Module]] = {
    "torchvision resnet50": lambda: _resnet(3),
    "torchvision efficientnet_b0": _efficientnet,
    "torchvision mobilenet_v3_small": _mobilenet,
    "timm efficientnet_b0": _timm_efficientnet,
    "MONAI EfficientNetBN": _monai_efficientnet,
    "TorchXRayVision ResNet": lambda: _resnet(1),
}
"""Of the same classes as the table's small models, which have all of the blocks here."""


def small(row: Row) -> Classifier:
    """In float64, with a head that is not 0: that of torchvision's ViT begins so."""
    torch.manual_seed(0)
    module = randomise_norms(SMALLER[str(row)]()) if str(row) in SMALLER else row.small()
    module.double()
    for layer in module.modules():
        if isinstance(layer, nn.Linear) and layer.out_features == len(layer_table.NAMES):
            nn.init.normal_(layer.weight, 0, 0.5)
    return row.classifier(module, small=True)


def images(row: Row) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (2, 1, row.small_size, row.small_size)
    return torch.rand(shape, generator=generator, dtype=torch.float64) * 2048 - 1024


def called(row: Row, module: nn.Module) -> Tensor:
    """What calling the model gives, in evaluation mode."""
    inputs = imagenet_input(images(row)) if row.channels == 3 else images(row)
    with torch.no_grad():
        output = module.eval()(inputs)
    return getattr(output, "logits", output)


def added(output: Tensor, step: float, row: Row) -> Tensor:
    """The layer's output, with a step of its own values at one place added everywhere."""
    i, j = PLACE
    if row.model in TOKENS:
        side, skip = TOKENS[row.model]
        assert output.shape[1] == skip + side * side
        change = torch.zeros_like(output)
        change[:, skip:] = output[:, skip + i * side + j, None]
        return output + step * change
    if row.model in CHANNELS_LAST:
        return output + step * output[:, i, j, None, None]
    return output + step * output[:, :, i, j, None, None]


@contextmanager
def moved(classifier: Classifier, row: Row, step: float) -> Iterator[None]:
    layer, _, remark = (row.small_layer or row.layer or classifier.target_layer).partition(" ")

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return added(output.relu() if remark else output, step, row)

    handle = classifier.module.get_submodule(layer).register_forward_hook(hook)
    yield
    handle.remove()


@each_row
def test_scores_are_the_models_own_and_maps_are_finite_differences(row: Row) -> None:
    classifier = small(row)
    own = called(row, classifier.module)
    torch.testing.assert_close(classifier.logits(images(row)), own, rtol=1e-9, atol=1e-12)
    forward = classifier.forward(images(row))
    torch.testing.assert_close(forward.logits, own, rtol=1e-9, atol=1e-12)
    # Behind an adapter's ReLU, which comes after the hooked layer, a step back would be cut off.
    steps = (STEP, 0.0) if "post-ReLU" in classifier.target_layer else (STEP, -STEP)
    scores = []
    for step in steps:
        with moved(classifier, row, step):
            scores.append(called(row, classifier.module).gather(1, CLASSES))
    slope = (scores[0] - scores[1]) / (steps[0] - steps[1])
    expected = slope / forward.activations[0].numel()
    found = class_maps(classifier, images(row), CLASSES)[:, :, PLACE[0], PLACE[1]]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert expected.abs().min() > 0


def _with_its_own_forward(net: nn.Module) -> nn.Module:
    kind = type(net)

    def forward(self: Any, x: Tensor) -> Tensor:
        output = kind.forward(self, x)
        return getattr(output, "logits", output).flip(1) * 3 + 1

    net.__class__ = type("Mine", (kind,), {"forward": forward, "__module__": "elsewhere"})
    return net


WRAPPERS: dict[str, tuple[Callable[[nn.Module], nn.Module], str]] = {
    "DataParallel": (nn.DataParallel, "module."),
    "a wrapper": (nn.Sequential, "0."),
    "its own forward": (_with_its_own_forward, ""),
}
WRAPPED = [
    pytest.param(row, wrapper, id=f"{row}, {wrapper}", marks=() if turn == at % 3 else pytest.mark.slow)
    for at, row in enumerate(ROWS)
    for turn, wrapper in enumerate(WRAPPERS)
]
"""Each row in each wrapper; by default each row in one of them, in turn."""


@pytest.mark.parametrize(("row", "wrapper"), WRAPPED)
def test_wrapped_too_the_explained_logits_are_what_calling_the_model_gives(row: Row, wrapper: str) -> None:
    wrap, prefix = WRAPPERS[wrapper]
    plain = small(row)
    model = wrap(plain.module)
    if family_of_module(plain.module) and not isinstance(model, nn.Sequential):
        explainer = Explainer(as_classifier(model, NAMES))
    else:
        layer = prefix + plain.target_layer.partition(" ")[0]
        prepare = imagenet_input if row.channels == 3 else None
        explainer = Explainer(HookedClassifier(model, layer, NAMES, prepare=prepare))
    batch = explainer.explain_inputs(images(row), top_k=len(NAMES))
    own = called(row, model)
    for ranking, wanted in zip(batch.rankings, own, strict=True):
        logits = [prediction.logit for prediction in ranking.predictions]
        torch.testing.assert_close(torch.tensor(logits).double(), wanted, rtol=1e-5, atol=1e-6)
    assert all(fused.maps.isfinite().all() for fused in batch.fused)


@each_row
def test_the_layer_is_one_of_those_that_would_do(row: Row) -> None:
    classifier = small(row)
    if row.layer is not None:
        (found,) = (layer for layer in layers(classifier) if layer.name == classifier.target_layer)
        assert found.suits
        assert found.maps == classifier.forward(images(row)[:1]).activations.shape[1:]


@each_row
def test_the_page_has_the_row(row: Row) -> None:
    (line,) = re.findall(rf"^\| {row.library} \| `{row.model}` \|.*$", PAGE, re.MULTILINE)
    assert row.layer is None or f"| `{row.layer}` |" in line
    assert f"| {row.size} |" in line


def test_the_page_has_no_other_row() -> None:
    body = PAGE.partition("<!-- table -->")[2].partition("<!-- /table -->")[0]
    assert body.count("\n| ") - 1 == len(ROWS)


@pytest.mark.slow
@each_row
def test_the_page_says_what_the_published_model_gives(row: Row) -> None:
    assert layer_table.line_of(row) in PAGE, "write it anew: python docs/_ext/layer_table.py"
