"""Grad-CAM, which is FM-G-CAM with K = 1, beside four independent libraries on the same layer.

Ours is R = (1/C) sum_c alpha_c a_c, signed (equation 3), with the activations the layer gave and the gradient
of the class score with respect to them. What the peers do from there:

==================  =====  ====================  =========================================================
library             sum    sign                  public output
==================  =====  ====================  =========================================================
pytorch-grad-cam    C * R  ReLU                  min-max, bilinear to input size, min-max again; float32
captum              C * R  signed                none (`relu_attributions=True` for the ReLU)
torch-cam           C * R  ReLU                  min-max, on the layer's grid (`normalized=False`: none)
MONAI               C * R  ReLU                  bilinear to input size, min-max to (1, 0): inverted
==================  =====  ====================  =========================================================

All agree up to that positive scale wherever the layer's output is left alone. Where an in-place ReLU follows
it, as behind `features.norm5` of TorchXRayVision's DenseNet, they give different maps: see the second half.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain import (
    HookedClassifier,
    Outputs,
    XRVDenseNet,
    XRVResNet,
    ensure_torchvision_imports,
    fm_g_cam,
)
from cxr_explain.models.base import Classifier

ensure_torchvision_imports()
pytestmark = pytest.mark.peers
INSTALL = "(pip install 'cxr-explain[bench]')"
grad_cam = pytest.importorskip("pytorch_grad_cam", reason=f"needs grad-cam {INSTALL}")
captum_attr = pytest.importorskip("captum.attr", reason=f"needs captum {INSTALL}")
torchcam_methods = pytest.importorskip("torchcam.methods", reason=f"needs torchcam {INSTALL}")
monai_visualize = pytest.importorskip("monai.visualize", reason="needs monai")

LABELS = tuple(f"Pathology {index}" for index in range(6))
CLASSES = (0, 3, 5)
EXACT = {"rtol": 1e-9, "atol": 1e-13}
NORM5 = "features.norm5"


@dataclass(frozen=True)
class Case:
    """A network, the layer both sides explain, and the channels of its input."""

    build: Callable[[], nn.Module]
    layer: str
    channels: int

    @property
    def images(self) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return torch.randn(2, self.channels, 96, 96, dtype=torch.float64, generator=generator)


def _xrv_densenet() -> nn.Module:
    from torchxrayvision.models import DenseNet

    torch.manual_seed(0)
    small = {"growth_rate": 8, "block_config": (2, 2, 2, 2), "num_init_features": 16}
    return DenseNet(num_classes=len(LABELS), **small).double().eval()


def _resnet() -> nn.Module:
    """torchvision's class, with one block for each layer; always another copy."""
    return deepcopy(_first_resnet())


@cache
def _first_resnet() -> nn.Module:
    from torchvision.models.resnet import BasicBlock, ResNet

    torch.manual_seed(1)
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=len(LABELS)).double().eval()


RESNET = Case(_resnet, "layer4", 3)
CASES = [
    pytest.param(Case(_xrv_densenet, "features.denseblock4", 1), id="XRV DenseNet"),
    pytest.param(RESNET, id="torchvision ResNet"),
]
each_case = pytest.mark.parametrize("case", CASES)
each_class = pytest.mark.parametrize("index", CLASSES)


@dataclass(frozen=True)
class Ours:
    """R of one class, (B, I, J), and the number of channels C it was averaged over."""

    signed: Tensor
    channels: int

    @property
    def summed(self) -> Tensor:
        """C * R, what every peer calls the map before its ReLU."""
        return self.signed * self.channels


def _ours(classifier: Classifier, images: Tensor, index: int) -> Ours:
    result = classifier.forward(images)
    weights = result.weights(torch.full((len(images), 1), index))
    return Ours(fm_g_cam(result.activations, weights).class_maps[:, 0], result.activations.shape[1])


def _hooked(case: Case) -> HookedClassifier:
    return HookedClassifier(case.build(), case.layer, Outputs(LABELS), prepare=lambda tensor: tensor)


def _pytorch_grad_cam(model: nn.Module, layer: str, images: Tensor, index: int) -> Tensor:
    """The raw signed map, from the activations and gradients that the library collected: (B, I, J)."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    module = model.get_submodule(layer)
    targets = [ClassifierOutputTarget(index)] * len(images)
    with grad_cam.GradCAM(model, [module]) as cam:
        cam(images, targets)
        activations, gradients = (
            kept[0].numpy()
            for kept in (cam.activations_and_grads.activations, cam.activations_and_grads.gradients)
        )
        return torch.from_numpy(cam.get_cam_image(images, module, targets, activations, gradients))


def _captum(model: nn.Module, layer: str, images: Tensor, index: int) -> Tensor:
    attribution = captum_attr.LayerGradCam(model, model.get_submodule(layer))
    return attribution.attribute(images, index)[:, 0].detach()


def _torch_cam(
    model: nn.Module, layer: str, images: Tensor, index: int, *, normalized: bool = False
) -> Tensor:
    with torchcam_methods.GradCAM(model, layer) as extractor:
        return extractor(index, model(images), normalized=normalized)[0]


def _monai(model: nn.Module, layer: str, images: Tensor, index: int) -> Tensor:
    cam = monai_visualize.GradCAM(nn_module=model, target_layers=layer)
    return cam.compute_map(images, class_idx=index)[:, 0].detach()


def _min_max(maps: Tensor) -> Tensor:
    """Each image by itself."""
    shifted = maps - maps.amin(dim=(1, 2), keepdim=True)
    return shifted / shifted.amax(dim=(1, 2), keepdim=True)


def _upsample(maps: Tensor, size: int) -> Tensor:
    return F.interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=False)[:, 0]


# -- where the layer's output is left alone, all agree ----


@each_class
@each_case
def test_the_cases_have_evidence_for_and_against(case: Case, index: int) -> None:
    """So that no comparison below is one of zeros."""
    signed = _ours(_hooked(case), case.images, index).signed
    assert (signed > 0).any()
    assert signed.std() > 0


@each_class
@each_case
def test_pytorch_grad_cam_raw_map(case: Case, index: int) -> None:
    ours = _ours(_hooked(case), case.images, index)
    peer = _pytorch_grad_cam(case.build(), case.layer, case.images, index)
    torch.testing.assert_close(peer, ours.summed, **EXACT)


@each_class
@each_case
def test_pytorch_grad_cam_public_output(case: Case, index: int) -> None:
    """float32 inside; its min-max adds 1e-7 to the divisor, which a map of small values feels."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = case.build()
    with grad_cam.GradCAM(model, [model.get_submodule(case.layer)]) as cam:
        peer = cam(case.images, [ClassifierOutputTarget(index)] * len(case.images))
    positive = _ours(_hooked(case), case.images, index).summed.relu()
    literal = torch.stack(
        [_min_max_or_zero(_upsample(_min_max_or_zero(one), 96)) for one in positive[:, None]]
    )
    np.testing.assert_allclose(peer, literal[:, 0].numpy(), atol=2e-5)


def _min_max_or_zero(one: Tensor) -> Tensor:
    shifted = one - one.min()
    return shifted / (1e-7 + shifted.max())


@each_class
@each_case
def test_captum(case: Case, index: int) -> None:
    ours = _ours(_hooked(case), case.images, index)
    torch.testing.assert_close(_captum(case.build(), case.layer, case.images, index), ours.summed, **EXACT)


@each_class
@each_case
def test_torch_cam(case: Case, index: int) -> None:
    ours = _ours(_hooked(case), case.images, index)
    peer = _torch_cam(case.build(), case.layer, case.images, index)
    torch.testing.assert_close(peer, ours.summed.relu(), **EXACT)


def test_torch_cam_normalised_output_is_the_min_max_of_ours() -> None:
    ours = _ours(_hooked(RESNET), RESNET.images, CLASSES[0])
    peer = _torch_cam(RESNET.build(), RESNET.layer, RESNET.images, CLASSES[0], normalized=True)
    torch.testing.assert_close(peer, _min_max(ours.summed.relu()), rtol=1e-5, atol=1e-5)


@each_class
@each_case
def test_monai(case: Case, index: int) -> None:
    ours = _ours(_hooked(case), case.images, index)
    peer = _monai(case.build(), case.layer, case.images, index)
    torch.testing.assert_close(peer, ours.summed.relu(), **EXACT)


def test_monai_public_output_is_inverted() -> None:
    """By default 0 is where the evidence is, 1 where there is none."""
    cam = monai_visualize.GradCAM(nn_module=RESNET.build(), target_layers=RESNET.layer)
    peer = cam(RESNET.images, class_idx=CLASSES[0])[:, 0].detach()
    upsampled = _upsample(_ours(_hooked(RESNET), RESNET.images, CLASSES[0]).summed.relu(), 96)
    torch.testing.assert_close(peer.double(), 1 - _min_max(upsampled), rtol=1e-5, atol=1e-5)


@each_class
def test_closed_form_agrees_with_the_peers_gradients(index: int) -> None:
    """alpha = w / (I J) of a pooled linear head, without any gradient, against three libraries with one."""
    classifier = XRVResNet(RESNET.build(), Outputs(LABELS))
    ours = _ours(classifier, RESNET.images, index)
    for peer in (_pytorch_grad_cam, _captum):
        torch.testing.assert_close(
            peer(RESNET.build(), RESNET.layer, RESNET.images, index), ours.summed, **EXACT
        )
    torch.testing.assert_close(
        _torch_cam(RESNET.build(), RESNET.layer, RESNET.images, index), ours.summed.relu(), **EXACT
    )


# -- behind norm5 of TorchXRayVision's DenseNet an in-place ReLU overwrites the output: they differ ----


@dataclass(frozen=True)
class Trap:
    """Activations and gradients before and after the ReLU behind norm5, each with its own: (B, C, I, J)."""

    before: Tensor
    after: Tensor
    gradient_before: Tensor
    gradient_after: Tensor


def _trap(index: int) -> Trap:
    """The DenseNet's forward pass written out, with a ReLU that is not in place."""
    model, images = _xrv_densenet(), Case(_xrv_densenet, NORM5, 1).images
    before = model.features(images)
    after = F.relu(before)
    score = model.classifier(after.mean(dim=(2, 3)))[:, index].sum()
    gradient_before, gradient_after = torch.autograd.grad(score, (before, after))
    return Trap(before.detach(), after.detach(), gradient_before, gradient_after)


def _weighted_sum(gradients: Tensor, activations: Tensor) -> Tensor:
    return (gradients.mean(dim=(2, 3), keepdim=True) * activations).sum(dim=1)


def _xrv_images() -> Tensor:
    return Case(_xrv_densenet, NORM5, 1).images


@each_class
def test_ours_is_after_the_relu_with_the_gradient_there(index: int) -> None:
    """The class score's own path: these activations are what the pooling averages and the head weighs.

    Only for them is the sum of the map, times I J / C and plus the bias, the class score itself.
    """
    trap = _trap(index)
    classifier = XRVDenseNet(_xrv_densenet(), Outputs(LABELS))
    ours = _ours(classifier, _xrv_images(), index)
    torch.testing.assert_close(ours.summed, _weighted_sum(trap.gradient_after, trap.after), **EXACT)
    logits = classifier.forward(_xrv_images()).logits[:, index]
    bias = classifier.module.classifier.bias[index].detach()
    torch.testing.assert_close(ours.summed.sum(dim=(1, 2)) + bias, logits, **EXACT)


@each_class
def test_torch_cam_on_norm5_agrees_with_ours(index: int) -> None:
    """It asks for the gradient of the tensor object, which the in-place ReLU has made the ReLU's output."""
    ours = _ours(XRVDenseNet(_xrv_densenet(), Outputs(LABELS)), _xrv_images(), index)
    peer = _torch_cam(_xrv_densenet(), NORM5, _xrv_images(), index)
    torch.testing.assert_close(peer, ours.summed.relu(), **EXACT)


@each_class
def test_captum_on_norm5_is_before_the_relu(index: int) -> None:
    """Consistent, but of another layer: norm5's own output, negative values included.

    HookedClassifier(..., "features.norm5") gives exactly this; XRVDenseNet explains what the pooling sees.
    """
    trap = _trap(index)
    peer = _captum(_xrv_densenet(), NORM5, _xrv_images(), index)
    torch.testing.assert_close(peer, _weighted_sum(trap.gradient_before, trap.before), **EXACT)
    hooked = _ours(_hooked(Case(_xrv_densenet, NORM5, 1)), _xrv_images(), index)
    torch.testing.assert_close(peer, hooked.summed, **EXACT)


@each_class
def test_pytorch_grad_cam_on_norm5_mixes_the_two(index: int) -> None:
    """Wrong: it keeps a view of the activations, overwritten later, and the gradient from before the ReLU.

    The two belong to different tensors: alpha is the mean gradient over the positive cells alone.
    """
    trap = _trap(index)
    peer = _pytorch_grad_cam(_xrv_densenet(), NORM5, _xrv_images(), index)
    torch.testing.assert_close(peer, _weighted_sum(trap.gradient_before, trap.after), **EXACT)


def test_monai_on_norm5_raises() -> None:
    """A full backward hook forbids the in-place ReLU; `features.denseblock4` works, see above."""
    with pytest.raises(RuntimeError, match="modified inplace"):
        _monai(_xrv_densenet(), NORM5, _xrv_images(), CLASSES[0])


@each_class
def test_the_three_maps_of_norm5_are_three_maps(index: int) -> None:
    trap = _trap(index)
    maps = [
        _weighted_sum(trap.gradient_after, trap.after),
        _weighted_sum(trap.gradient_before, trap.before),
        _weighted_sum(trap.gradient_before, trap.after),
    ]
    for one, other in itertools.combinations(maps, 2):
        assert _residual(one, other) > 0.05


def _residual(one: Tensor, other: Tensor) -> float:
    """What the best positive scale leaves: 0 for equal maps, 1 for unrelated ones."""
    cosine = F.cosine_similarity(one.flatten(), other.flatten(), dim=0).clamp(min=0)
    return (1 - cosine**2).sqrt().item()
