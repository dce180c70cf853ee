"""MONAI's DenseNets."""

from __future__ import annotations

import pytest
import torch
from networks import (
    NAMES,
    images,
    randomise,
    small_monai,
    small_net,
    snapshot,
    unsettle,
    whole_network_gradients,
)
from torch import Tensor, nn

from cxr_explain import MonaiDenseNet, Outputs
from cxr_explain.errors import ModelError

CLASSES = torch.tensor([[4, 0, 2], [1, 1, 3]])


@pytest.mark.parametrize("seed", range(3))
def test_equals_a_backward_pass_through_the_whole_network(seed: int) -> None:
    module = small_monai(seed=seed)
    result = MonaiDenseNet(module, Outputs(NAMES), input_size=64).forward(images(seed=seed))
    module.eval()
    activations = module.features(images(seed=seed)).relu()
    logits = module.class_layers.out(activations.flatten(2).mean(2))
    gradients = whole_network_gradients(module, activations, logits, CLASSES)
    torch.testing.assert_close(result.logits, module(images(seed=seed)).detach(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(result.activations, activations.detach())
    torch.testing.assert_close(result.weights(CLASSES), gradients.mean((-2, -1)), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_the_model_leaves_as_it_came_also_after_an_exception(seed: int) -> None:
    module = small_monai()
    unsettle(module, seed)
    classifier = MonaiDenseNet(module, Outputs(NAMES), input_size=64)
    before = snapshot(module)
    classifier.forward(images()).weights(CLASSES)
    assert snapshot(module) == before

    def fail(*_: object) -> None:
        raise RuntimeError("in mid-forward")

    module.features.norm5.register_forward_pre_hook(fail)
    before = snapshot(module)
    with pytest.raises(RuntimeError, match="in mid-forward"):
        classifier.forward(images())
    assert snapshot(module) == before


def test_a_users_hook_on_features_sees_what_nobody_overwrites() -> None:
    module = small_monai()
    seen: list[Tensor] = []
    module.features.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    MonaiDenseNet(module, Outputs(NAMES)).forward(images())
    assert seen[0].min() < 0


def test_densenet121_with_three_channels_and_its_own_range() -> None:
    from monai.networks.nets import DenseNet121

    torch.manual_seed(0)
    module = randomise(DenseNet121(2, 3, 5)).eval()

    def prepare(inputs: Tensor) -> Tensor:
        return (inputs / 1024).expand(-1, 3, -1, -1)

    classifier = MonaiDenseNet(module, Outputs(NAMES), prepare=prepare)
    result = classifier.forward(images())
    with torch.no_grad():
        torch.testing.assert_close(result.logits, module(prepare(images())), rtol=1e-4, atol=1e-4)
    assert result.activations.shape[1] == 1024
    assert classifier.name == "MONAI DenseNet121"


def test_other_modules_are_refused() -> None:
    from monai.networks.nets import DenseNet

    volume = DenseNet(3, 1, 5, init_features=8, growth_rate=4, block_config=(2, 2), bn_size=2)
    for module in (volume, small_net(), nn.Linear(2, 2)):
        with pytest.raises(ModelError, match=r"spatial_dims=2.*HookedClassifier"):
            MonaiDenseNet(module, Outputs(NAMES))
