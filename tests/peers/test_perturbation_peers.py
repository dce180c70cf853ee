"""Score-CAM and Ablation-CAM beside pytorch-grad-cam, torch-cam and captum, on the same layer.

Score-CAM. pytorch-grad-cam and torch-cam take the softmax of the logits over the channels, as we do; what is
taken off each logit is the same for all channels and cancels there. They differ in the masks:

==================  ============================  =================  =========================================
library             interpolated                  scaled to [0, 1]   where the mask is 0
==================  ============================  =================  =========================================
here                corners not aligned           after that         black, -1024 (or mid grey, 0)
pytorch-grad-cam    corners aligned               after that         0, whatever that means to the model
torch-cam           corners not aligned           before that        0
==================  ============================  =================  =========================================

The paper scales the interpolated map (its algorithm 1), so that each mask reaches 0 and 1; a mask scaled
before does not. Corners are not aligned where a pixel is an area and not a point, as in the strided
convolutions that made the map; it is also how our maps are drawn over the image.

Ablation-CAM. captum's LayerFeatureAblation, one feature for each channel and baseline 0, is the drop itself.
pytorch-grad-cam divides it by the score; and where any activation is negative it sets the channel to the
smallest activation less 1e7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain import HookedClassifier, Outputs, XRVDenseNet, ensure_torchvision_imports
from cxr_explain.cam import perturbation
from cxr_explain.cam.perturbation import ChannelMasks, ScoreCAM, ablation_cam
from cxr_explain.cam.rules import Rule, class_maps

ensure_torchvision_imports()
pytestmark = pytest.mark.peers
INSTALL = "(pip install 'cxr-explain[bench]')"
grad_cam = pytest.importorskip("pytorch_grad_cam", reason=f"needs grad-cam {INSTALL}")
captum_attr = pytest.importorskip("captum.attr", reason=f"needs captum {INSTALL}")
torchcam_methods = pytest.importorskip("torchcam.methods", reason=f"needs torchcam {INSTALL}")

LABELS = tuple(f"Pathology {index}" for index in range(6))
CLASSES = (0, 5)
BLOCK = "features.denseblock4"
GREY = ScoreCAM(baseline="grey")  # what a product with a mask fades to
SINGLE = {"rtol": 2e-4, "atol": 2e-6}  # pytorch-grad-cam's scores are float32 numbers
each_class = pytest.mark.parametrize("index", CLASSES)


def _densenet() -> nn.Module:
    """3 x 3 positions of 60 channels with negative values, from 96 x 96."""
    from torchxrayvision.models import DenseNet

    torch.manual_seed(0)
    small = {"growth_rate": 8, "block_config": (2, 2, 2, 2), "num_init_features": 16}
    return _spread(DenseNet(num_classes=len(LABELS), **small).double().eval())


def _full_size() -> nn.Module:
    """A layer of the input's size, layer "1", so that no mask is interpolated; a head that is not linear.

    Channel 2 is dead, channel 5 is constant.
    """
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 6, 5, stride=3),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, len(LABELS)),
    )
    with torch.no_grad():
        module[0].weight[[2, 5]] = 0
        module[0].bias[2], module[0].bias[5] = -1, 0.5
    return _spread(module.double().eval())


def _spread(module: Any) -> Any:
    """Let the logits differ, so that no softmax is flat: the last layer's weights times ten."""
    head = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        head.weight *= 10
    return module


def _images(size: int = 96) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 1, size, size, dtype=torch.float64, generator=generator)


def _hooked(module: nn.Module, layer: str) -> HookedClassifier:
    return HookedClassifier(module, layer, Outputs(LABELS))


def _ours(module: nn.Module, layer: str, images: Tensor, index: int, rule: Rule) -> Tensor:
    """(B, I, J), signed."""
    return class_maps(_hooked(module, layer), images, torch.tensor([index]), method=rule)[:, 0]


def _pytorch_grad_cam(
    method: Callable[..., Any], module: nn.Module, layer: str, images: Tensor, index: int
) -> Tensor:
    """The raw signed map, before the ReLU and the scaling."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    target = module.get_submodule(layer)
    targets = [ClassifierOutputTarget(index)] * len(images)
    with method(module, [target]) as cam, torch.no_grad():
        module(images)
        cam.activations_and_grads(images)
        activations = cam.activations_and_grads.activations[0].numpy()
        return torch.from_numpy(cam.get_cam_image(images, target, targets, activations, None))


def _torch_cam(module: nn.Module, layer: str, images: Tensor, index: int) -> Tensor:
    """Signed, before the ReLU."""
    with torchcam_methods.ScoreCAM(module, layer) as extractor, torch.no_grad():
        extractor._relu = False
        module(images)
        return extractor(index, normalized=False)[0]


# -- Score-CAM ----


@each_class
def test_score_cam_of_pytorch_grad_cam_where_nothing_is_interpolated(index: int) -> None:
    """Dead and constant channels included: its mask of zeros is our increase of zero."""
    ours = _ours(_full_size(), "1", _images(20), index, GREY)
    peer = _pytorch_grad_cam(grad_cam.ScoreCAM, _full_size(), "1", _images(20), index)
    assert ours.std() > 0.01
    torch.testing.assert_close(peer, ours, **SINGLE)


@each_class
def test_score_cam_of_torch_cam_where_nothing_is_interpolated(index: int) -> None:
    ours = _ours(_full_size(), "1", _images(20), index, GREY)
    peer = _torch_cam(_full_size(), "1", _images(20), index)
    torch.testing.assert_close(peer, ours, rtol=1e-6, atol=1e-7)  # 1e-8 in its divisors


def _corners_aligned(masks: ChannelMasks, part: slice, size: Any) -> Tensor:
    grown = F.interpolate(masks.patterns[part, None], tuple(size), mode="bilinear", align_corners=True)
    return perturbation._scaled(grown)


def _scaled_before(masks: ChannelMasks, part: slice, size: Any) -> Tensor:
    return F.interpolate(masks.patterns[part, None], tuple(size), mode="bilinear", align_corners=False)


@each_class
def test_score_cam_of_pytorch_grad_cam_differs_by_aligned_corners_alone(
    monkeypatch: pytest.MonkeyPatch, index: int
) -> None:
    peer = _pytorch_grad_cam(grad_cam.ScoreCAM, _densenet(), BLOCK, _images(), index)
    apart = _ours(_densenet(), BLOCK, _images(), index, GREY)
    monkeypatch.setattr(ChannelMasks, "at", _corners_aligned)
    torch.testing.assert_close(peer, _ours(_densenet(), BLOCK, _images(), index, GREY), **SINGLE)
    assert _distance(peer, apart) > 1e-3


@each_class
def test_score_cam_of_torch_cam_differs_by_the_order_of_scaling_alone(
    monkeypatch: pytest.MonkeyPatch, index: int
) -> None:
    peer = _torch_cam(_densenet(), BLOCK, _images(), index)
    apart = _ours(_densenet(), BLOCK, _images(), index, GREY)
    monkeypatch.setattr(ChannelMasks, "at", _scaled_before)
    same = _ours(_densenet(), BLOCK, _images(), index, GREY)
    torch.testing.assert_close(peer, same, rtol=1e-6, atol=1e-7)
    assert _distance(peer, apart) > 1e-3


def test_masks_scaled_before_they_are_interpolated_do_not_reach_one() -> None:
    """The centre position is the peak: 32 pixels wide, an even number, none of them lies at its centre."""
    a = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    a[..., 1, 1] = 1
    masks = ChannelMasks.of(a)
    assert _scaled_before(masks, slice(0, 1), (96, 96)).max() == pytest.approx((1 - 1 / 64) ** 2)
    assert masks.at(slice(0, 1), (96, 96)).max() == 1


# -- Ablation-CAM ----


def _captum_drops(module: nn.Module, layer: str, images: Tensor, index: int) -> Tensor:
    """y - y_c, (B, C)."""
    target = module.get_submodule(layer)
    kept: list[Tensor] = []
    handle = target.register_forward_hook(lambda *args: kept.append(args[2].detach()))
    module(images)
    handle.remove()
    C = kept[0].shape[1]
    channels = torch.arange(C)[None, :, None, None].expand(1, C, *kept[0].shape[2:])
    ablation = captum_attr.LayerFeatureAblation(module, target)
    drops = ablation.attribute(images, layer_baselines=0, target=index, layer_mask=channels)
    return drops[..., 0, 0]


def _weighted(module: nn.Module, layer: str, images: Tensor, weights: Tensor) -> Tensor:
    a = _hooked(module, layer).forward(images).activations
    return torch.einsum("bc,bcij->bij", weights.to(a.dtype), a)


@each_class
@pytest.mark.parametrize(
    ("build", "layer", "size"),
    [(_densenet, BLOCK, 96), (_full_size, "1", 20)],
    ids=["denseblock4, negative values", "another head"],
)
def test_ablation_cam_of_captums_feature_ablation(
    build: Callable[[], nn.Module], layer: str, size: int, index: int
) -> None:
    drops = _captum_drops(build(), layer, _images(size), index)
    ours = _ours(build(), layer, _images(size), index, ablation_cam)
    torch.testing.assert_close(_weighted(build(), layer, _images(size), drops), ours, rtol=1e-6, atol=1e-8)


@each_class
def test_ablation_in_closed_form_of_captums_feature_ablation(index: int) -> None:
    """Of the ReLU's output, as the pooling sees it: the drops are w_c times the mean of a_c."""
    classifier = XRVDenseNet(_densenet(), Outputs(LABELS))
    a = classifier.forward(_images()).activations
    tail = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), _densenet().classifier)
    drops = _captum_drops(tail, "0", a.clone(), index)
    ours = class_maps(classifier, _images(), torch.tensor([index]), method=ablation_cam)[:, 0]
    torch.testing.assert_close(torch.einsum("bc,bcij->bij", drops, a), ours, rtol=1e-6, atol=1e-8)


@each_class
def test_ablation_cam_of_pytorch_grad_cam_is_divided_by_the_score(index: int) -> None:
    """Where the score is negative its map is ours turned over: what speaks for the class, it paints out."""
    module = _full_size()
    with torch.no_grad():
        scores = module(_images(20))[:, index]
    peer = _pytorch_grad_cam(grad_cam.AblationCAM, _full_size(), "1", _images(20), index)
    ours = _ours(_full_size(), "1", _images(20), index, ablation_cam)
    np.testing.assert_allclose(peer * scores[:, None, None], ours, rtol=1e-3, atol=2e-5)


def test_some_of_those_scores_are_negative() -> None:
    with torch.no_grad():
        scores = _full_size()(_images(20))[:, CLASSES]
    assert (scores < 0).any()
    assert (scores > 0).any()


@each_class
def test_ablation_cam_of_pytorch_grad_cam_sets_no_channel_to_zero_where_one_is_negative(index: int) -> None:
    """Its weights there are the effect of an activation of about -1e7, divided by the score."""
    forward = _hooked(_densenet(), BLOCK).forward(_images())
    a = forward.activations
    variants = a[:, None].repeat(1, a.shape[1], 1, 1, 1)
    every = torch.arange(a.shape[1])
    variants[:, every, every] = a.amin(dim=(1, 2, 3))[:, None, None, None] - 1e7
    scores = forward.logits[:, index, None]
    weights = (scores - forward.logits_of(variants)[..., index]) / scores
    peer = _pytorch_grad_cam(grad_cam.AblationCAM, _densenet(), BLOCK, _images(), index)
    expected = _weighted(_densenet(), BLOCK, _images(), weights)
    np.testing.assert_allclose(peer, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))
    assert _distance(peer, _ours(_densenet(), BLOCK, _images(), index, ablation_cam)) > 0.01


def _distance(one: Tensor, other: Tensor) -> float:
    """Of two maps, each divided by its norm."""
    return float((one / one.norm() - other / other.norm()).norm())
