"""The closed form equals autograd through the whole network."""

from __future__ import annotations

from pathlib import Path

import literal
import numpy as np
import pytest
import torch
from networks import NAMES, images, randomise, small_xrv, snapshot, unsettle, whole_network_gradients, xrv
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain import Explainer, HookedClassifier, Outputs, XRVDenseNet, XRVResNet
from cxr_explain.errors import ModelError
from cxr_explain.models.base import Classifier
from cxr_explain.models.pooled_linear import PooledLinearClassifier


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max())


def xrv_by_autograd(module: nn.Module, inputs: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Post-ReLU activations, logits and gradients of XRV's DenseNet, its forward pass written out."""
    module.eval()
    with torch.enable_grad():
        activations = F.relu(module.features(inputs))  # type: ignore[operator]
        logits = module.classifier(activations.mean(3).mean(2))  # type: ignore[operator]
        gradients = whole_network_gradients(module, activations, logits, classes)
    return activations.detach(), logits.detach(), gradients


def check_against_autograd(
    classifier: Classifier, inputs: Tensor, classes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns what autograd found, see `xrv_by_autograd`."""
    result = classifier.forward(inputs)
    assert result.gradient == "closed form"
    alphas = result.weights(classes).clone()
    activations, logits, gradients = xrv_by_autograd(classifier.module, inputs, classes)
    assert relative(result.activations, activations) < 1e-5
    assert relative(result.logits, logits) < 1e-5
    assert relative(alphas[..., None, None].expand_as(gradients), gradients) < 1e-5
    assert relative(alphas, torch.from_numpy(literal.alphas(gradients.double().numpy()))) < 1e-5
    return activations, logits, gradients


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [(64, 64), (80, 48)])
def test_small_networks(seed: int, size: tuple[int, int]) -> None:
    inputs = F.interpolate(images(3, 80, seed), size)
    classes = torch.randint(0, 18, (3, 4), generator=torch.Generator().manual_seed(seed))
    check_against_autograd(XRVDenseNet(small_xrv(seed=seed), input_size=64), inputs, classes)


def test_the_whole_densenet121() -> None:
    torch.manual_seed(0)
    module = randomise(xrv.models.DenseNet())
    check_against_autograd(XRVDenseNet(module), images(2, 96), torch.tensor([[3, 17], [0, 5]]))


@pytest.mark.real_data
def test_the_trained_densenet121_on_real_radiographs(real_data: Path) -> None:
    from cxr_explain import read_radiograph

    explainer = Explainer.from_pretrained(
        "densenet121-res224-nih", weights_dir=real_data / "standin", fetch=False, device="cpu"
    )
    radiographs = [read_radiograph(path) for path in sorted((real_data / "nih1024").glob("*.png"))[:2]]
    explanations = explainer.explain_batch(radiographs, top_k=3)
    inputs = torch.stack([explainer.prepare(radiograph).tensor for radiograph in radiographs])
    classes = torch.tensor([[p.index for p in explanation.ranking.top] for explanation in explanations])
    explainer.classifier.module.requires_grad_(True)
    activations, logits, gradients = check_against_autograd(explainer.classifier, inputs, classes)
    alphas = literal.alphas(gradients.double().numpy())
    expected = literal.fused(activations.double().numpy(), alphas, "joint", "relu")
    for index, explanation in enumerate(explanations):
        np.testing.assert_allclose(explanation.maps, expected[index], atol=1e-4)
        scores = [p.logit for p in explanation.ranking.predictions]
        np.testing.assert_allclose(scores, logits[index, :14], rtol=1e-4, atol=1e-4)


def test_hooked_and_closed_form_agree_on_an_xrv_network() -> None:
    """At a layer whose output the pooling uses; XRV's own ReLU is no module, so its network is rebuilt."""
    module = small_xrv()
    rebuilt = nn.Sequential(
        module.features, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), module.classifier
    )
    classes = torch.tensor([[0, 5, 17], [3, 3, 1]])
    closed = XRVDenseNet(module, input_size=64).forward(images())
    hooked = HookedClassifier(rebuilt, "1", XRVDenseNet(module).outputs, input_size=64).forward(images())
    assert relative(hooked.activations, closed.activations) < 1e-6
    assert relative(hooked.logits, closed.logits) < 1e-5
    assert relative(hooked.weights(classes), closed.weights(classes)) < 1e-5


def test_hooked_and_closed_form_agree_on_a_torchvision_resnet() -> None:
    from torchvision.models import resnet18

    torch.manual_seed(0)
    module = randomise(resnet18(weights=None, num_classes=5))
    module.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    classes = torch.tensor([[0, 4], [2, 1], [3, 3]])
    closed = XRVResNet(module, Outputs(NAMES), input_size=64).forward(images(3))
    hooked = HookedClassifier(module, "layer4", Outputs(NAMES), input_size=64).forward(images(3))
    assert relative(hooked.activations, closed.activations) < 1e-6
    assert relative(hooked.logits, closed.logits) < 1e-5
    assert relative(hooked.weights(classes), closed.weights(classes)) < 1e-5


def test_nothing_is_differentiated_and_the_body_runs_once() -> None:
    module = small_xrv()
    calls: list[bool] = []
    module.features.register_forward_hook(lambda *_: calls.append(torch.is_grad_enabled()))
    result = XRVDenseNet(module, input_size=64).forward(images(3))
    result.weights(torch.zeros(3, 18, dtype=torch.int64))
    assert calls == [False]
    assert result.activations.grad_fn is None
    assert result.logits.grad_fn is None


@pytest.mark.parametrize("seed", range(3))
def test_the_model_leaves_as_it_came_also_after_an_exception(seed: int) -> None:
    module = small_xrv()
    unsettle(module, seed)
    classifier = XRVDenseNet(module, input_size=64)
    before = snapshot(module)
    classifier.forward(images()).weights(torch.tensor([[0], [1]]))
    assert snapshot(module) == before

    def fail(*_: object) -> None:
        raise RuntimeError("in mid-forward")

    handle = module.features.denseblock2.register_forward_hook(fail)
    before = snapshot(module)
    with pytest.raises(RuntimeError, match="in mid-forward"):
        classifier.forward(images())
    assert snapshot(module) == before
    handle.remove()
    with torch.no_grad():
        classifier.forward(images())
        assert not torch.is_grad_enabled()


def test_no_class_gives_no_weight() -> None:
    result = XRVDenseNet(small_xrv(), input_size=64).forward(images())
    assert result.weights(torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 0, 32)


def test_weights_do_not_belong_to_the_graph_nor_to_the_model() -> None:
    module = small_xrv()
    weights = XRVDenseNet(module, input_size=64).forward(images()).weights(torch.tensor([[0], [1]]))
    assert not weights.requires_grad
    weights.zero_()
    assert module.classifier.weight.abs().max() > 0


def test_a_head_of_another_kind_is_refused() -> None:
    head = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(ModelError, match=r"head of type Sequential.*HookedClassifier"):
        PooledLinearClassifier(
            head, nn.Identity(), head, Outputs(("A", "B")), input_size=8, name="n", target_layer="t"
        )
    with pytest.raises(ModelError, match="2 outputs for 3 pathologies"):
        PooledLinearClassifier(
            head, nn.Identity(), head[0], Outputs(("A", "B", "C")), input_size=8, name="n", target_layer="t"
        )
