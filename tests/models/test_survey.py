"""The layers of a model, each with what it gives and why it has no map; and messages that name some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks import NAMES, images, randomise, small_monai, small_net, small_xrv, snapshot, unsettle
from torch import Tensor, nn

from cxr_explain import (
    HookedClassifier,
    MonaiDenseNet,
    Outputs,
    XRVDenseNet,
    explain,
    imagenet_input,
    layers,
)
from cxr_explain.errors import ModelError
from cxr_explain.models.at_layers import forward_at
from cxr_explain.models.base import Classifier
from cxr_explain.models.grids import remark_on
from cxr_explain.models.survey import NO_GRADIENT, ModelLayer, layers_that_do

OUTPUTS = Outputs(NAMES)


def vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    sizes = {"image_size": 64, "patch_size": 16, "hidden_dim": 32, "mlp_dim": 64}
    return randomise(VisionTransformer(num_layers=2, num_heads=2, num_classes=5, **sizes))


def named(found: tuple[ModelLayer, ...]) -> dict[str, ModelLayer]:
    return {layer.name: layer for layer in found}


@pytest.mark.parametrize(
    "build",
    [
        lambda: HookedClassifier(small_net(), "5", OUTPUTS, input_size=64),
        lambda: XRVDenseNet(small_xrv(5), OUTPUTS, input_size=64),
        lambda: MonaiDenseNet(small_monai(), OUTPUTS, input_size=64),
        lambda: HookedClassifier(vit(), "conv_proj", OUTPUTS, input_size=64, prepare=imagenet_input),
    ],
)
def test_every_layer_is_what_looking_at_it_alone_finds(build: Callable[[], Classifier]) -> None:
    classifier = build()
    found = layers(classifier, images(1))
    assert {layer.name for layer in found} <= {name for name, _ in classifier.module.named_modules()}
    refused: list[ModelLayer] = []
    for layer in found:
        try:
            (forward,) = forward_at(classifier, images(1), [layer.name])
            gradients = forward.gradients(torch.arange(5)[None])
        except ModelError:
            refused.append(layer)
            continue
        assert layer.maps == forward.activations.shape[1:]
        assert layer.gradient == bool((gradients != 0).any())
        assert layer.suits == (layer.gradient and layer.maps[1:] != (1, 1) and "maps of" not in layer.problem)
    assert not any(layer.suits for layer in refused)
    assert sum(layer.suits for layer in found) >= 4


def test_layers_come_in_the_order_in_which_they_finish() -> None:
    found = [layer.name for layer in layers(small_net(), images(1))]
    assert found == [str(number) for number in range(12)]
    net = nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert [layer.name for layer in layers(net, images(1))] == ["0.0", "0.1", "0", "1", "2"]


def test_why_a_layer_cannot_be_explained() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.relu, self.aside = nn.Conv2d(1, 4, 8, 8), nn.ReLU(), nn.Conv2d(4, 4, 1)
            self.pair, self.head, self.unused = Pair(), nn.Linear(4, 3), nn.Identity()
            self.row, self.pool = nn.AdaptiveAvgPool2d((8, 1)), nn.AdaptiveAvgPool2d(1)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            first, _ = self.pair(self.relu(self.conv(x / 1024)))
            self.aside(first)
            return {"logits": self.head(self.relu(self.pool(self.row(first)).flatten(1)))}

    found = named(layers(Net(), images(1)))
    assert "unused" not in found
    problems = {name: layer.problem for name, layer in found.items()}
    assert problems == {
        "conv": "",
        "pair": "gives tuple",
        "aside": NO_GRADIENT,
        "row": remark_on((8, 1), (64, 64)),
        "pool": remark_on((1, 1), (64, 64)),
        "relu": "activations of shape (1, 4)",
        "head": "activations of shape (1, 3)",
    }


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


def test_a_layer_that_runs_twice_says_so() -> None:
    relu = nn.ReLU()
    net = nn.Sequential(
        nn.Conv2d(1, 4, 8, 8), relu, nn.Conv2d(4, 4, 1), relu, nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    assert named(layers(net, images(1)))["1"].problem == "runs 2 times"


def test_behind_the_last_attention_no_gradient_reaches_the_patches() -> None:
    found = named(layers(vit()))
    last = "encoder.layers.encoder_layer_1"
    assert [found[name].problem for name in (last, "encoder.ln", f"{last}.mlp")] == [NO_GRADIENT] * 3
    assert found[f"{last}.ln_1"].suits
    assert found["conv_proj"].suits
    assert (
        found[f"{last}.ln_1"].note
        == "gives 17 tokens: 1 left out, the others are read as 4 x 4 patches, row by row"
    )
    assert layers_that_do(vit()) == f"Layers that would do: {last}.ln_1 (32 channels, 4 x 4)."


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize("frozen", [False, True])
def test_the_model_leaves_as_it_came(mode: Callable[[], Any], frozen: bool) -> None:
    module = small_net()
    unsettle(module)
    if frozen:
        module.requires_grad_(False)
    expected = [str(layer) for layer in layers(small_net(), images(1))]
    before = snapshot(module)
    with mode():
        assert [str(layer) for layer in layers(module, images(1))] == expected
    assert snapshot(module) == before
    with pytest.raises(ModelError, match=r"fails on inputs of shape \(1, 3, 64, 64\) \(RuntimeError\)"):
        layers(module, torch.zeros(1, 3, 64, 64))
    assert snapshot(module) == before


def test_inputs_are_found_where_none_are_given() -> None:
    assert named(layers(vit()))["conv_proj"].maps == (32, 4, 4)  # image_size says 64
    colour = nn.Sequential(nn.Conv2d(3, 4, 32, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    assert named(layers(colour))["0"].maps == (4, 7, 7)
    classifier = HookedClassifier(colour, "0", Outputs(tuple("abcd")), input_size=96, prepare=imagenet_input)
    assert named(layers(classifier))["0"].maps == (4, 3, 3)


# -- messages --

SUITABLE = (
    r"Layers that would do: 7 \(8 channels, 2 x 3\), 6 \(8 channels, 13 x 13\), 2 \(6 channels, 15 x 15\)\."
)


@pytest.mark.parametrize("layer", ["9", "11", "4711"])
def test_a_layer_that_will_not_do_is_refused_with_those_that_would(layer: str) -> None:
    with pytest.raises(ModelError, match=SUITABLE):
        HookedClassifier(small_net(), layer, OUTPUTS, input_size=64).forward(images())
    with pytest.raises(ModelError, match=SUITABLE):
        forward_at(HookedClassifier(small_net(), "5", OUTPUTS, input_size=64), images(), ["2", layer])


def test_no_layer_at_all_is_refused_with_those_that_would_do() -> None:
    with pytest.raises(ModelError, match=f"no target layer is known.*{SUITABLE}"):
        explain(small_net(), images(), outputs=NAMES)
    with pytest.raises(ModelError, match=r"no layer named 'features\.x' .*features \(32 channels, 8 x 8\)"):
        forward_at(XRVDenseNet(small_xrv(), input_size=64), images(), ["features.x"])


def test_a_model_that_does_not_run_is_refused_without_suggestions() -> None:
    broken = nn.Sequential(nn.Conv2d(5, 4, 3), nn.Conv2d(3, 4, 3))
    with pytest.raises(
        ModelError, match=r"no layer named '7' in Sequential. Close names: .*[^.]\.$"
    ) as error:
        HookedClassifier(broken, "7", OUTPUTS)
    assert "would do" not in str(error.value)


def test_a_layer_that_the_scores_do_not_depend_on_names_those_that_would_do() -> None:
    class Aside(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.aside = small_net(), nn.Conv2d(1, 3, 8, 8)

        def forward(self, x: Tensor) -> Tensor:
            self.aside(x)
            return self.body(x)

    with pytest.raises(
        ModelError, match=r"do not depend on the target layer.*Layers that would do: .*body\.6"
    ):
        explain(Aside(), images(), outputs=NAMES, target_layer="aside")
