"""The rules over gradients beside libraries that have them, on the same layer in float64.

==============  ================  =============================================  ===========================
rule            library           what it computes                               against ours
==============  ================  =============================================  ===========================
CAM             torch-cam         sum w a                                        the same
HiResCAM        pytorch-grad-cam  sum g a                                        the same
HiResCAM        captum            LayerGradientXActivation, by channel           the same, summed
LayerCAM        pytorch-grad-cam  sum max(g, 0) a                                the same
LayerCAM        torch-cam         that, ReLU                                     the same
several layers  torch-cam         tanh(2 x), bilinear, largest                   the same of maps up to 1
XGrad-CAM       both              1e-7 or 1e-8 added to the sum of a             the same up to that
Grad-CAM++      pytorch-grad-cam  1e-6 added to alpha's denominator              another map
Grad-CAM++      MONAI             sum(g^3 a) for g^3 sum(a); 1e-7 added; exp(y)  the same where g is constant
Grad-CAM++      torch-cam         alpha = g^2                                    another map
Smooth          torch-cam         the last copy's a and first derivative         another map
==============  ================  =============================================  ===========================

Who is right about Grad-CAM++: equation 19 (arXiv 1710.11063) has the third derivative at i, j times the sum
of a over all positions, and no constant. The denominator is 2 g^2 and more, and g is w / (I J): in one
trained DenseNet-121 3e-5 to 9e-4 (5th to 95th percentile), so that an added 1e-6 is more than 2 g^2 in nine
of ten channels. torch-cam 0.5 divides a copy of alpha (`alpha[mask].div_(...)`), and so nothing.

The libraries keep the layer's output for themselves here: nothing behind these layers works in place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cxr_explain import HookedClassifier, Outputs, ensure_torchvision_imports
from cxr_explain.cam.layers import combine_layers
from cxr_explain.cam.registry import Method
from cxr_explain.cam.rules import Rule, class_maps
from cxr_explain.cam.sampled import SmoothGradCAMPlusPlus
from cxr_explain.models.pooled_linear import PooledLinearClassifier

ensure_torchvision_imports()
pytestmark = pytest.mark.peers
INSTALL = "(pip install 'cxr-explain[bench]')"
grad_cam = pytest.importorskip("pytorch_grad_cam", reason=f"needs grad-cam {INSTALL}")
captum_attr = pytest.importorskip("captum.attr", reason=f"needs captum {INSTALL}")
torchcam_methods = pytest.importorskip("torchcam.methods", reason=f"needs torchcam {INSTALL}")
monai_visualize = pytest.importorskip("monai.visualize", reason="needs monai")

LABELS = tuple(f"Pathology {index}" for index in range(6))
EXACT = {"rtol": 1e-9, "atol": 1e-13}


@dataclass(frozen=True)
class Case:
    """A network, the layer both sides explain, and the channels of its input."""

    build: Callable[[], Any]
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


def _body() -> tuple[nn.Module, ...]:
    torch.manual_seed(0)
    return (nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU())


def _linear(scale: float = 1.0) -> nn.Sequential:
    """Global average pooling and a linear layer behind a ReLU: the gradient is the same at every position."""
    body = _body()
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, len(LABELS)))
    return _scaled(nn.Sequential(*body, *head), scale)


def _not_linear(scale: float = 1.0) -> nn.Sequential:
    """A gradient that is not the same at every position."""
    body = _body()
    head = (
        nn.AdaptiveAvgPool2d((4, 4)),
        nn.Flatten(),
        nn.Linear(128, 16),
        nn.Tanh(),
        nn.Linear(16, len(LABELS)),
    )
    return _scaled(nn.Sequential(*body, *head), scale)


def _scaled(module: nn.Sequential, scale: float) -> nn.Sequential:
    """Multiply the logits, so that what a library adds to g^2 is nothing beside it."""
    module = module.double().eval()
    with torch.no_grad():
        module[-1].weight *= scale  # type: ignore[operator]
    return module


DENSENET = Case(_xrv_densenet, "features.denseblock4", 1)
LINEAR, LINEAR_LARGE = Case(_linear, "3", 3), Case(partial(_linear, 1e5), "3", 3)
OTHER, OTHER_LARGE = Case(_not_linear, "3", 3), Case(partial(_not_linear, 1e6), "3", 3)
CASES = [
    pytest.param(DENSENET, id="XRV DenseNet"),
    pytest.param(LINEAR, id="linear head"),
    pytest.param(OTHER, id="another head"),
]
each_case = pytest.mark.parametrize("case", CASES)
each_class = pytest.mark.parametrize("index", [0, 5])


def _ours(case: Case, method: Method | Rule, index: int) -> Tensor:
    """(B, I, J)."""
    classifier = HookedClassifier(case.build(), case.layer, Outputs(LABELS), input_size=96)
    return class_maps(classifier, case.images, torch.tensor([index]), method=method)[:, 0]


def _inside(case: Case, index: int) -> tuple[Tensor, Tensor]:
    """Activations (B, C, I, J) and their gradient, likewise, by plain autograd."""
    model, kept = case.build(), []
    model.get_submodule(case.layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    score = model(case.images)[:, index].sum()
    (gradient,) = torch.autograd.grad(score, kept[0])
    return kept[0].detach(), gradient


def _pytorch_grad_cam(name: str, case: Case, index: int) -> Tensor:
    """The raw signed map, from the activations and gradients that the library collected: (B, I, J)."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = case.build()
    module = model.get_submodule(case.layer)
    targets = [ClassifierOutputTarget(index)] * len(case.images)
    with getattr(grad_cam, name)(model, [module]) as cam:
        cam(case.images, targets)
        kept = cam.activations_and_grads
        return torch.as_tensor(
            cam.get_cam_image(
                case.images, module, targets, kept.activations[0].numpy(), kept.gradients[0].numpy(), False
            )
        )


def _torch_cam(name: str, case: Case, index: int, **options: Any) -> Tensor:
    """Behind its ReLU: (B, I, J)."""
    model = case.build()
    with getattr(torchcam_methods, name)(model, case.layer, **options) as extractor:
        return extractor(index, model(case.images), normalized=False)[0].detach()


@each_class
@each_case
def test_the_cases_have_evidence(case: Case, index: int) -> None:
    """So that no comparison below is one of zeros."""
    for method in ("grad-cam++", "xgrad-cam", "hirescam", "layercam"):
        assert (_ours(case, method, index) > 0).any()


# -- the same --


@each_class
@each_case
def test_hirescam_is_pytorch_grad_cams(case: Case, index: int) -> None:
    torch.testing.assert_close(
        _pytorch_grad_cam("HiResCAM", case, index), _ours(case, "hirescam", index), **EXACT
    )


@each_class
@each_case
def test_hirescam_is_captums_gradient_times_activation_summed_over_channels(case: Case, index: int) -> None:
    model = case.build()
    attribution = captum_attr.LayerGradientXActivation(model, model.get_submodule(case.layer))
    peer = attribution.attribute(case.images, index).sum(dim=1).detach()
    torch.testing.assert_close(peer, _ours(case, "hirescam", index), **EXACT)


@each_class
@each_case
def test_layercam_is_pytorch_grad_cams_and_torch_cams(case: Case, index: int) -> None:
    ours = _ours(case, "layercam", index)
    torch.testing.assert_close(_pytorch_grad_cam("LayerCAM", case, index), ours, **EXACT)
    torch.testing.assert_close(_torch_cam("LayerCAM", case, index), ours.relu(), **EXACT)


@each_class
def test_cam_is_torch_cams(index: int) -> None:
    module = LINEAR.build()
    described: Any = {"input_size": 96, "name": "linear", "target_layer": "3"}
    classifier = PooledLinearClassifier(module, module[:4], module[6], Outputs(LABELS), **described)
    ours = class_maps(classifier, LINEAR.images, torch.tensor([index]), method="cam")[:, 0]
    model = LINEAR.build()
    with torchcam_methods.CAM(model, LINEAR.layer, "6") as extractor:
        model(LINEAR.images)
        peer = extractor(index, normalized=False)[0]
    torch.testing.assert_close(peer.detach(), ours, **EXACT)


@each_class
@pytest.mark.parametrize("case", CASES[1:])
def test_xgrad_cam_is_both_libraries_behind_a_relu(case: Case, index: int) -> None:
    """Up to their 1e-7 and 1e-8 beside sums of activations. A dead channel adds nothing in any of them."""
    ours = _ours(case, "xgrad-cam", index)
    close = {"rtol": 1e-5, "atol": 1e-6 * float(ours.abs().max())}
    torch.testing.assert_close(_pytorch_grad_cam("XGradCAM", case, index), ours, **close)
    torch.testing.assert_close(_torch_cam("XGradCAM", case, index), ours.relu(), **close)


def test_layers_are_combined_as_torch_cam_does_it() -> None:
    """Of maps of one class that are 0 to 1 already, as its own are; ours scales any."""
    generator = torch.Generator().manual_seed(0)
    maps = [torch.rand(2, size, size, dtype=torch.float64, generator=generator) for size in (3, 12, 6)]
    maps = [each / each.amax(dim=(1, 2), keepdim=True) for each in maps]
    peer = torchcam_methods.LayerCAM.fuse_cams(maps)
    torch.testing.assert_close(combine_layers([each[:, None] for each in maps])[:, 0], peer, **EXACT)


# -- Grad-CAM++ --


def _equation_19(activations: Tensor, gradients: Tensor, added: float = 0.0) -> Tensor:
    """The map of alpha's equation, with a constant added to its denominator."""
    total = activations.sum(dim=(2, 3), keepdim=True)
    denominator = 2 * gradients**2 + total * gradients**3 + added
    alpha = torch.where(denominator != 0, gradients**2 / denominator, 0)
    weights = (alpha * gradients.relu()).sum(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1)


def _summed_inside(activations: Tensor, gradients: Tensor, added: float) -> Tensor:
    """The map of torch-cam and MONAI: the sum is of g^3 a, and so of other positions' g."""
    inside = (activations * gradients**3).sum(dim=(2, 3), keepdim=True)
    denominator = 2 * gradients**2 + inside
    alpha = torch.where(gradients != 0, gradients**2 / (denominator + added), 0)
    weights = (alpha * gradients.relu()).sum(dim=(2, 3), keepdim=True)
    return (weights * activations).sum(dim=1)


@each_class
@each_case
def test_ours_is_equation_19(case: Case, index: int) -> None:
    torch.testing.assert_close(
        _ours(case, "grad-cam++", index), _equation_19(*_inside(case, index)), rtol=1e-7, atol=1e-13
    )


@each_class
@each_case
def test_pytorch_grad_cams_is_equation_19_with_1e_6_added(case: Case, index: int) -> None:
    peer = _pytorch_grad_cam("GradCAMPlusPlus", case, index)
    torch.testing.assert_close(peer, _equation_19(*_inside(case, index), added=1e-6), rtol=1e-7, atol=1e-13)


@each_class
def test_what_is_added_makes_another_map_of_ordinary_logits_and_none_of_large_ones(index: int) -> None:
    """The same network, its logits multiplied: the constant vanishes, and pytorch-grad-cam's map is ours."""
    ours, peer = _ours(OTHER, "grad-cam++", index), _pytorch_grad_cam("GradCAMPlusPlus", OTHER, index)
    assert not torch.allclose(peer, ours, rtol=0.1)
    for case in (OTHER_LARGE, LINEAR_LARGE):
        ours, peer = _ours(case, "grad-cam++", index), _pytorch_grad_cam("GradCAMPlusPlus", case, index)
        torch.testing.assert_close(peer, ours, rtol=1e-4, atol=1e-5 * float(ours.abs().max()))


def _monai(case: Case, index: int) -> Tensor:
    """Its map behind the ReLU, (B, I, J), divided by the exp(y) that it multiplies by.

    One image at a time: it multiplies the (B,) scores and the gradients' last axis.
    """
    cam = monai_visualize.GradCAMpp(nn_module=case.build(), target_layers=case.layer)
    maps = torch.cat([cam.compute_map(image[None], class_idx=index)[:, 0].detach() for image in case.images])
    return maps / case.build()(case.images)[:, index].detach().exp()[:, None, None]


@each_class
@each_case
def test_monai_sums_over_positions_what_belongs_to_one(case: Case, index: int) -> None:
    expected = _summed_inside(*_inside(case, index), 1e-7).relu()
    torch.testing.assert_close(_monai(case, index), expected, rtol=1e-6, atol=1e-12)


def test_monai_fails_on_a_batch() -> None:
    cam = monai_visualize.GradCAMpp(nn_module=OTHER.build(), target_layers=OTHER.layer)
    with pytest.raises(RuntimeError, match="must match the size"):
        cam.compute_map(OTHER.images, class_idx=0)


@each_class
def test_where_the_gradient_is_constant_monais_sum_is_ours(index: int) -> None:
    """And exp(y) and 1e-7 apart. Where it is not constant, it is another map."""
    case = Case(partial(_linear, 30.0), "3", 3)  # g^2 far above 1e-7, exp(y) still a number
    ours = _ours(case, "grad-cam++", index).relu()
    torch.testing.assert_close(_monai(case, index), ours, rtol=1e-3, atol=1e-3 * float(ours.max()))
    assert not torch.allclose(_monai(OTHER, index), _ours(OTHER, "grad-cam++", index).relu(), rtol=0.1)


@each_class
@each_case
def test_torch_cams_alpha_is_the_numerator_alone(case: Case, index: int) -> None:
    """Wrong: `alpha[mask].div_(denominator)` divides a copy, so that its weights are sums of max(g, 0)^3."""
    activations, gradients = _inside(case, index)
    weights = (gradients.relu() ** 3).sum(dim=(2, 3), keepdim=True)
    peer = _torch_cam("GradCAMpp", case, index)
    torch.testing.assert_close(peer, (weights * activations).sum(dim=1).relu(), rtol=1e-9, atol=1e-16)


# -- Smooth Grad-CAM++ --


class _Given:
    """In place of torch-cam's noise, ours: its own standard deviation, scaled by the image's range."""

    def __init__(self, images: Tensor, sigma: float, seed: int) -> None:
        self._scale = sigma * (
            images.amax(dim=(1, 2, 3), keepdim=True) - images.amin(dim=(1, 2, 3), keepdim=True)
        )
        self._generator = torch.Generator().manual_seed(seed)

    def sample(self, size: torch.Size) -> Tensor:
        return self._scale * torch.randn(size[1:], generator=self._generator).double()


def _torch_cam_smooth(case: Case, index: int, copies: int, sigma: float) -> Tensor:
    model = case.build()
    with torchcam_methods.SmoothGradCAMpp(model, case.layer, num_samples=copies) as extractor:
        extractor._distrib = _Given(case.images, sigma, seed=0)
        model(case.images)
        return extractor(index, normalized=False)[0].detach()


def _smooth_literal(case: Case, index: int, copies: int, sigma: float) -> Tensor:
    """What torch-cam does: see the tests."""
    activations, _ = _inside(case, index)
    noise = _Given(case.images, sigma, seed=0)
    model, kept = case.build(), []
    model.get_submodule(case.layer).register_forward_hook(lambda _m, _i, output: kept.append(output))
    gradients = []
    for _ in range(copies):
        score = model(case.images + noise.sample(case.images.shape))[:, index].sum()
        gradients.append(torch.autograd.grad(score, kept[-1])[0])
    second, third = (torch.stack([g**power for g in gradients]).mean(dim=0) for power in (2, 3))
    alpha = second / (2 * second + (third * activations).sum(dim=(2, 3), keepdim=True) + 1e-8)
    weights = (alpha * gradients[-1].relu()).sum(dim=(2, 3), keepdim=True)
    return (weights * kept[-1].detach()).sum(dim=1).relu()


@each_class
@pytest.mark.parametrize("copies", [1, 4])
def test_torch_cams_smooth_is_of_the_last_copy(copies: int, index: int) -> None:
    """Wrong: it weighs the last noisy copy's activations, by the last copy's first derivative.

    The paper averages all three derivatives and weighs the activations of the image, as torch-cam's own
    docstring has it. It also sums over positions what belongs to one, as MONAI does.
    """
    peer = _torch_cam_smooth(OTHER, index, copies, 0.2)
    torch.testing.assert_close(peer, _smooth_literal(OTHER, index, copies, 0.2), rtol=1e-8, atol=1e-14)
    ours = _ours(OTHER, SmoothGradCAMPlusPlus(copies, 0.2), index).relu()
    assert not torch.allclose(peer, ours, rtol=0.1)


@each_class
def test_where_the_gradient_is_constant_and_there_is_no_noise_torch_cams_smooth_is_ours(index: int) -> None:
    ours = _ours(LINEAR_LARGE, SmoothGradCAMPlusPlus(2, 0.0), index).relu()
    peer = _torch_cam_smooth(LINEAR_LARGE, index, 2, 0.0)
    torch.testing.assert_close(peer, ours, rtol=1e-4, atol=1e-5 * float(ours.max()))
