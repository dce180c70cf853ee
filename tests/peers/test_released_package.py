"""What the authors' released package computes (xai-inference-engine 0.1.4), beside FM-G-CAM's equations.

Measured here, on random weights: its map of rank k is weighted by the product of alpha of ranks 1 to k, not
by alpha of rank k. It collects one and the same activation tensor once for each class and multiplies that
tensor in place. Rank 1 is therefore equation 3, every other rank is not.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from cxr_explain import HookedClassifier, Outputs, ensure_torchvision_imports, fm_g_cam

ensure_torchvision_imports()
pytestmark = pytest.mark.peers
services = pytest.importorskip(
    "xai_inference_engine.services", reason="needs xai-inference-engine (pip install 'cxr-explain[bench]')"
)
utils = pytest.importorskip("xai_inference_engine.utils")

RANKS = 3
LABELS = tuple(f"Pathology {index}" for index in range(18))


@dataclass(frozen=True)
class Case:
    """A network, the layer both sides explain, and one image (channels, S, S)."""

    build: Callable[[], nn.Module]
    layer: str
    image: Tensor


def _small_xrv_densenet() -> nn.Module:
    from torchxrayvision.models import DenseNet

    torch.manual_seed(0)
    return DenseNet(growth_rate=8, block_config=(2, 2, 2, 2), num_init_features=16).double().eval()


def _resnet() -> nn.Module:
    """torchvision's class, with one block for each layer; always another copy."""
    return deepcopy(_first_resnet())


@cache
def _first_resnet() -> nn.Module:
    from torchvision.models.resnet import BasicBlock, ResNet

    torch.manual_seed(0)
    return ResNet(BasicBlock, [1, 1, 1, 1], num_classes=len(LABELS)).double().eval()


def _noise(channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(channels, 128, 128, dtype=torch.float64, generator=generator)


# Not `features.norm5` of the DenseNet: there the package raises, see the last test.
CASES = [
    pytest.param(Case(_small_xrv_densenet, "features.denseblock4", _noise(1)), id="XRV DenseNet"),
    pytest.param(Case(_resnet, "layer4", _noise(3)), id="torchvision ResNet"),
]


@dataclass(frozen=True)
class Reading:
    """One image's activations (C, I, J), the alphas of its first ranks (K, C), and equation 3 (K, I, J)."""

    classes: list[int]
    activations: Tensor
    alpha: Tensor
    class_maps: Tensor


def _literal(case: Case) -> Reading:
    """Equations 2 and 3 in loops, each class with its own backward pass."""
    model = case.build()
    kept: list[Tensor] = []
    handle = model.get_submodule(case.layer).register_forward_hook(lambda *call: kept.append(call[2]))
    scores = model(case.image[None])[0]
    handle.remove()
    classes = scores.argsort(descending=True)[:RANKS].tolist()
    alpha = torch.stack([_alpha(scores[index], kept[0]) for index in classes])
    activations = kept[0].detach()[0]
    maps = torch.zeros(RANKS, *activations.shape[1:], dtype=torch.float64)
    for rank in range(RANKS):
        for channel, activation in enumerate(activations):
            maps[rank] += alpha[rank, channel] * activation / len(activations)
    return Reading(classes, activations, alpha, maps)


def _alpha(score: Tensor, activations: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(score, activations, retain_graph=True)
    return torch.stack([plane.sum() / plane.numel() for plane in gradient[0]])


def _released_class_maps(case: Case) -> tuple[list[int], Tensor]:
    """The package's maps before its filter, normalisation and scaling: (K, I, J)."""
    model = case.build()
    _, order, gradients, activations = utils.GradUtils.get_model_pred_with_grads(
        model, case.image, model.get_submodule(case.layer), RANKS
    )
    return order[:RANKS].tolist(), torch.cat(utils.GradUtils.weight_activations(activations, gradients))


def _correlation(one: Tensor, other: Tensor) -> float:
    return torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].item()


def _norm_ratio(one: Tensor, other: Tensor) -> float:
    return (one.norm() / other.norm()).item()


def _min_max(maps: Tensor) -> Tensor:
    """The package's last step, over all classes at once."""
    return (maps - maps.min()) / (maps.max() - maps.min())


@pytest.mark.parametrize("case", CASES)
def test_our_class_maps_are_equation_3(case: Case) -> None:
    reading = _literal(case)
    classifier = HookedClassifier(case.build(), case.layer, Outputs(LABELS), prepare=lambda tensor: tensor)
    result = classifier.forward(case.image[None])
    fused = fm_g_cam(result.activations, result.weights(torch.tensor([reading.classes])))
    torch.testing.assert_close(fused.class_maps[0], reading.class_maps, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("case", CASES)
def test_released_rank_1_is_equation_3(case: Case) -> None:
    reading = _literal(case)
    classes, released = _released_class_maps(case)
    assert classes == reading.classes
    assert _correlation(released[0], reading.class_maps[0]) == pytest.approx(1.0, abs=1e-12)
    assert _norm_ratio(released[0], reading.class_maps[0]) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_released_ranks_2_and_3_are_not_equation_3(case: Case, record_property: Callable[..., None]) -> None:
    """A wrong pattern (r far from 1) at a vanishing magnitude, which the filter then hides behind rank 1."""
    reading = _literal(case)
    _, released = _released_class_maps(case)
    r = [_correlation(released[rank], reading.class_maps[rank]) for rank in (1, 2)]
    ratio = [_norm_ratio(released[rank], reading.class_maps[rank]) for rank in (1, 2)]
    for rank in (0, 1):
        record_property(f"rank {rank + 2}", f"r = {r[rank]:.2f}, norm ratio {ratio[rank]:.1e}")
    assert max(r) < 0.9
    assert ratio[0] < 1e-2
    assert ratio[1] < 1e-4


@pytest.mark.parametrize("case", CASES)
def test_released_rank_k_is_weighted_by_the_product_of_alphas(case: Case) -> None:
    """The cause, to the last digit: replacing alpha^k by alpha^1 ... alpha^k gives the package's maps."""
    reading = _literal(case)
    _, released = _released_class_maps(case)
    products = reading.alpha.cumprod(dim=0)
    expected = torch.einsum("kc,cij->kij", products, reading.activations) / products.shape[1]
    torch.testing.assert_close(released, expected, rtol=1e-9, atol=1e-20)


@pytest.mark.parametrize("case", CASES)
def test_released_normalisation_agrees_for_one_class(case: Case) -> None:
    """K = 1 is free of the error: `normalisation="released"`, then the package's min-max, is its output."""
    reading = _literal(case)
    model = case.build()
    generator = services.FMGCam(model, model.get_submodule(case.layer), torch.device("cpu"))
    _, _, released = generator(case.image, class_count=1)
    fused = fm_g_cam(reading.activations[None], reading.alpha[None, :1], normalisation="released")
    torch.testing.assert_close(_min_max(fused.maps[0]), torch.from_numpy(released), rtol=1e-9, atol=1e-12)
    joint = fm_g_cam(reading.activations[None], reading.alpha[None, :1])  # equation 6 is another map
    assert (_min_max(joint.maps[0]) - torch.from_numpy(released)).abs().max() > 0.05


@pytest.mark.parametrize("case", CASES)
def test_released_package_leaves_the_model_frozen(case: Case) -> None:
    model = case.build()
    assert all(parameter.requires_grad for parameter in model.parameters())
    utils.GradUtils.get_model_pred_with_grads(model, case.image, model.get_submodule(case.layer), 1)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_released_package_raises_before_an_in_place_relu_and_leaves_its_hooks() -> None:
    """`features2` of TorchXRayVision overwrites the output of norm5, which a full backward hook forbids."""
    model = _small_xrv_densenet()
    norm5 = model.get_submodule("features.norm5")
    generator = services.FMGCam(model, norm5, torch.device("cpu"))
    with pytest.raises(RuntimeError, match="modified inplace"):
        generator(_noise(1), class_count=1)
    assert norm5._backward_hooks  # every later call of the user's own model fails as well
    assert norm5._forward_hooks
