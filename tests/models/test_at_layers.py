"""Looking at named layers of any classifier, and running it again with other activations in one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks import (
    NAMES,
    images,
    randomise,
    small_monai,
    small_net,
    small_xrv,
    snapshot,
    unsettle,
    whole_network_gradients,
)
from torch import Tensor, nn

from cxr_explain import HookedClassifier, MonaiDenseNet, Outputs, XRVDenseNet, imagenet_input, token_grid
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.at_layers import InvertibleGrid, forward_at
from cxr_explain.models.base import Classifier

OUTPUTS = Outputs(NAMES)
CLASSES = torch.tensor([[4, 0, 2], [1, 1, 3]])
EXACT = {"rtol": 1e-9, "atol": 1e-14}


def xrv() -> XRVDenseNet:
    return XRVDenseNet(small_xrv(5).double(), OUTPUTS, input_size=64)


def monai() -> MonaiDenseNet:
    return MonaiDenseNet(small_monai().double(), OUTPUTS, input_size=64)


def net(seed: int = 0) -> HookedClassifier:
    return HookedClassifier(small_net(seed=seed).double(), "5", OUTPUTS, input_size=64)


def vit() -> HookedClassifier:
    """Two encoder blocks on a grid of 4 x 4 patches."""
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    sizes = {"image_size": 64, "patch_size": 16, "hidden_dim": 32, "mlp_dim": 64}
    module = randomise(VisionTransformer(num_layers=2, num_heads=2, num_classes=5, **sizes)).double()
    return HookedClassifier(
        module, VIT_LAYER, OUTPUTS, prepare=imagenet_input, grid=token_grid(4, 4), input_size=64
    )


VIT_LAYER = "encoder.layers.encoder_layer_1.ln_1"
PLACES = [
    pytest.param(xrv, "features.norm0", id="XRV first norm, an in-place ReLU behind it"),
    pytest.param(xrv, "features.denseblock1", id="XRV dense block"),
    pytest.param(xrv, "features.transition1.relu", id="XRV transition, itself an in-place ReLU"),
    pytest.param(xrv, "features.norm5", id="XRV last norm"),
    pytest.param(monai, "features.denseblock1", id="MONAI dense block"),
    pytest.param(monai, "features.transition1.relu", id="MONAI transition"),
    pytest.param(net, "1", id="batch norm, an in-place ReLU behind it"),
    pytest.param(net, "2", id="in-place ReLU"),
    pytest.param(net, "4", id="last batch norm"),
]
each_place = pytest.mark.parametrize(("build", "layer"), PLACES)


def whole(classifier: Classifier, layer: str, replacement: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """One plain forward pass with a hook: the layer's output, before anything overwrites it, and the logits.

    With a replacement, the network goes on with that instead.
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        kept.append(output if replacement is None else replacement)
        return kept[0].clone()

    module = classifier.module.eval()
    handle = module.get_submodule(layer).register_forward_hook(keep)
    logits = classifier.run(classifier.suited(images()))
    handle.remove()
    return kept[0], logits


# -- forward_at --


@each_place
def test_one_layer_equals_plain_autograd_through_the_whole_network(
    build: Callable[[], Classifier], layer: str
) -> None:
    classifier = build()
    (found,) = forward_at(classifier, images(), [layer])
    activations, logits = whole(classifier, layer)
    gradients = whole_network_gradients(classifier.module, activations, logits, CLASSES)
    torch.testing.assert_close(found.activations, activations.detach(), **EXACT)
    torch.testing.assert_close(found.logits, logits.detach(), **EXACT)
    torch.testing.assert_close(found.gradients(CLASSES), gradients, rtol=1e-8, atol=1e-14)
    torch.testing.assert_close(found.weights(CLASSES), gradients.mean((-2, -1)), rtol=1e-8, atol=1e-14)
    assert gradients.abs().amax((-3, -2, -1)).min() > 0
    assert found.gradient == "autograd"
    assert found.head is None
    assert not found.activations.requires_grad
    assert not found.logits.requires_grad


@pytest.mark.parametrize(
    ("build", "layers"),
    [
        (xrv, ["features.norm0", "features.transition1.relu"]),
        (xrv, ["features.norm5", "features.denseblock1", "features.conv0"]),
        (monai, ["features.denseblock1", "features.norm5"]),
        (net, ["2", "5"]),
        (net, ["4", "5"]),
        (net, ["5", "1"]),
    ],
)
def test_several_layers_at_once_equal_each_by_itself(
    build: Callable[[], Classifier], layers: list[str]
) -> None:
    classifier = build()
    together = forward_at(classifier, images(), layers)
    assert len(together) == len(layers)
    for found, layer in zip(together, layers, strict=True):
        (alone,) = forward_at(classifier, images(), [layer])
        torch.testing.assert_close(found.activations, alone.activations, **EXACT)
        torch.testing.assert_close(found.logits, alone.logits, **EXACT)
        torch.testing.assert_close(found.gradients(CLASSES), alone.gradients(CLASSES), rtol=1e-8, atol=1e-14)


def test_several_layers_cost_one_forward_pass() -> None:
    classifier, passes = xrv(), []
    classifier.module.features.conv0.register_forward_hook(lambda *_: passes.append(1))  # type: ignore[union-attr]
    results = forward_at(classifier, images(), ["features.norm0", "features.denseblock1"])
    for result in results:
        result.gradients(CLASSES)
    assert passes == [1]


def test_no_gradient_is_kept_before_the_first_layer() -> None:
    classifier = net()
    modes: list[bool] = []
    for layer in classifier.module:  # type: ignore[union-attr]
        layer.register_forward_hook(lambda *_: modes.append(torch.is_grad_enabled()))
    forward_at(classifier, images(), ["5", "2"])
    assert modes == [False] * 3 + [True] * 9


def test_a_grid_is_of_each_layer() -> None:
    classifier = vit()
    layers = ["encoder.layers.encoder_layer_0.ln_1", VIT_LAYER]
    for found, layer in zip(forward_at(classifier, images(), layers, token_grid(4, 4)), layers, strict=True):
        activations, logits = whole(classifier, layer)
        gradients = whole_network_gradients(classifier.module, activations, logits, CLASSES)
        assert found.activations.shape == (2, 32, 4, 4)
        tokens = activations[:, 1:].transpose(1, 2).reshape(2, 32, 4, 4)
        torch.testing.assert_close(found.activations, tokens.detach(), **EXACT)
        expected = gradients[:, :, 1:].transpose(2, 3).reshape(2, 3, 32, 4, 4)
        torch.testing.assert_close(found.gradients(CLASSES), expected, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("build", "layers"),
    [
        (small_xrv, ["features.norm0", "features.transition1.relu"]),
        (small_net, ["1", "5"]),
        (small_net, ["2"]),
    ],
)
def test_the_model_leaves_as_it_came(build: Callable[..., nn.Module], layers: list[str], seed: int) -> None:
    module = build(5)
    unsettle(module, seed)
    classifier = (
        HookedClassifier(module, "5", OUTPUTS)
        if isinstance(module, nn.Sequential)
        else XRVDenseNet(module, OUTPUTS)
    )
    before = snapshot(module)
    results = forward_at(classifier, images(), layers)
    for result in results:
        result.gradients(CLASSES)
        result.logits_of(result.activations[:, None])
    assert snapshot(module) == before


@pytest.mark.parametrize("failing", range(12))
def test_the_model_leaves_as_it_came_after_an_exception_at_any_layer(failing: int) -> None:
    module = small_net()
    unsettle(module)

    def fail(*_: object) -> None:
        raise RuntimeError("in mid-forward")

    handle = module[failing].register_forward_pre_hook(fail)
    classifier = HookedClassifier(module, "5", OUTPUTS)
    before = snapshot(module)
    with pytest.raises(RuntimeError, match="in mid-forward"):
        forward_at(classifier, images(), ["2", "5"])
    assert snapshot(module) == before
    handle.remove()
    _, result = forward_at(classifier, images(), ["2", "5"])
    handle = module[failing].register_forward_pre_hook(fail)
    before = snapshot(module)
    with pytest.raises(RuntimeError, match="in mid-forward"):
        result.logits_of(result.activations[:, None])
    assert snapshot(module) == before


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
@pytest.mark.parametrize("build", [xrv, monai])
def test_the_callers_gradient_mode_does_not_matter(
    mode: Callable[[], Any], build: Callable[[], Classifier]
) -> None:
    classifier = build()
    (expected,) = forward_at(classifier, images(), ["features.denseblock1"])
    with mode():
        before = snapshot(classifier.module)
        (found,) = forward_at(classifier, images(), ["features.denseblock1"])
        gradients = found.gradients(CLASSES)
        logits = found.logits_of(found.activations[:, None])
        assert snapshot(classifier.module) == before
    torch.testing.assert_close(gradients.clone(), expected.gradients(CLASSES), **EXACT)
    torch.testing.assert_close(logits[:, 0].clone(), expected.logits, **EXACT)


def test_frozen_parameters_change_nothing() -> None:
    (expected,) = forward_at(xrv(), images(), ["features.denseblock1"])
    frozen = XRVDenseNet(small_xrv(5).double().requires_grad_(False), OUTPUTS, input_size=64)
    (found,) = forward_at(frozen, images(), ["features.denseblock1"])
    torch.testing.assert_close(found.gradients(CLASSES), expected.gradients(CLASSES), **EXACT)


@pytest.mark.parametrize("build", [xrv, net])
def test_no_layer_is_refused(build: Callable[[], Classifier]) -> None:
    with pytest.raises(OptionError, match="found no layer; expected one or more"):
        forward_at(build(), images(), [])


class Returns(nn.Module):
    """A body that is run as a function says."""

    def __init__(self, function: Callable[[nn.Module, Tensor], object]) -> None:
        super().__init__()
        self.body, self.unused, self.function = small_net(), nn.Identity(), function

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


@pytest.mark.parametrize(
    ("module", "layers", "message"),
    [
        (small_net(), ["5", "55"], "no layer named '55'.*Close names"),
        (small_net(), ["5", ""], "no layer named ''"),
        (Returns(lambda m, x: m.body(x)), ["body.5", "unused"], "unused: .*ran 0 times.*runs once"),
        (Returns(lambda m, x: m.body(x) + m.body(x)), ["body.5"], "body.5: .*ran 2 times"),
        (Returns(lambda m, x: m.body(x)[:, :3]), ["body.5"], r"\(2, 3\).*\(2, 5\)"),
        (Returns(lambda m, x: {"pred": m.body(x)}), ["body.5"], "an output of type dict with pred"),
        (small_net(), ["9"], r"9: .*\(2, 16\).*expected \(B, C, I, J\).*token_grid"),
    ],
)
def test_models_and_layers_that_are_not_as_declared(
    module: nn.Module, layers: list[str], message: str
) -> None:
    classifier = HookedClassifier(module, "5" if layers[0] in ("5", "9") else "body.5", OUTPUTS)
    before = snapshot(module)
    with pytest.raises(ModelError, match=message):
        forward_at(classifier, images(), layers)
    assert snapshot(module) == before


def test_a_layer_that_the_scores_do_not_depend_on_is_refused() -> None:
    """A map of zeros would look like a model without evidence."""
    module = Returns(lambda m, x: (m.unused(x), m.body(x))[1])
    unused, used = forward_at(HookedClassifier(module, "body.5", OUTPUTS), images(), ["unused", "body.5"])
    assert used.gradients(CLASSES).abs().max() > 0
    with pytest.raises(ModelError, match="do not depend on the target layer"):
        unused.gradients(CLASSES)


# -- logits_of --


def variants_of(activations: Tensor) -> Tensor:
    """(B, 4, C, I, J): as they are, none, one channel less, and others."""
    less = activations.clone()
    less[:, 1] = 0
    other = torch.randn(
        activations.shape, generator=torch.Generator().manual_seed(1), dtype=activations.dtype
    )
    return torch.stack([activations, torch.zeros_like(activations), less, other], dim=1)


@each_place
def test_logits_of_equals_the_network_with_the_layers_output_replaced(
    build: Callable[[], Classifier], layer: str
) -> None:
    classifier = build()
    (forward,) = forward_at(classifier, images(), [layer])
    variants = variants_of(forward.activations)
    found = forward.logits_of(variants)
    assert found.shape == (2, 4, 5)
    for number in range(4):
        _, expected = whole(classifier, layer, variants[:, number])
        torch.testing.assert_close(found[:, number], expected.detach(), **EXACT)
    torch.testing.assert_close(found[:, 0], forward.logits, **EXACT)
    assert (found[:, 1:] - found[:, :1]).abs().amax(dim=2).min() > 0


def test_logits_of_a_linear_head_equals_the_network_behind_its_relu() -> None:
    """In closed form: no layer has that output, so the sum of the equation is written out."""
    classifier = xrv()
    forward = classifier.forward(images())
    variants = variants_of(forward.activations)
    found = forward.logits_of(variants)
    head: Any = classifier.module.classifier
    for b in range(2):
        for number in range(4):
            expected = head(variants[b, number].sum(dim=(1, 2)) / (8 * 8))
            torch.testing.assert_close(found[b, number], expected.detach(), **EXACT)
    torch.testing.assert_close(found[:, 0], forward.logits, **EXACT)


def test_logits_of_tokens_leaves_the_class_token() -> None:
    classifier = vit()
    forward = classifier.forward(images())
    assert isinstance(token_grid(4, 4), InvertibleGrid)
    variants = variants_of(forward.activations)
    found = forward.logits_of(variants)
    tokens, _ = whole(classifier, VIT_LAYER)
    for number in range(4):
        replaced = tokens.detach().clone()
        for row in range(4):
            for column in range(4):
                replaced[:, 1 + 4 * row + column] = variants[:, number, :, row, column]
        _, expected = whole(classifier, VIT_LAYER, replaced)
        torch.testing.assert_close(found[:, number], expected.detach(), **EXACT)
    torch.testing.assert_close(found[:, 0], forward.logits, **EXACT)
    assert (found[:, 1:] - found[:, :1]).abs().amax(dim=2).min() > 0


def test_replace_is_the_inverse_of_the_grid() -> None:
    grid, tokens = token_grid(2, 3, skip=2), torch.randn(4, 8, 5)
    assert torch.equal(grid.replace(tokens, grid(tokens)), tokens)
    other = torch.randn(4, 5, 2, 3)
    assert torch.equal(grid(grid.replace(tokens, other)), other)
    assert torch.equal(grid.replace(tokens, other)[:, :2], tokens[:, :2])


def test_a_grid_that_cannot_be_undone_gives_gradients_but_no_logits_of() -> None:
    def tokens_as_rows(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].transpose(1, 2)[..., None]

    module = vit().module
    classifier = HookedClassifier(
        module, VIT_LAYER, OUTPUTS, prepare=imagenet_input, grid=tokens_as_rows, input_size=64
    )
    before = snapshot(module)
    forward = classifier.forward(images())
    assert forward.gradients(CLASSES).shape == (2, 3, 32, 16, 1)
    with pytest.raises(ModelError, match=r"cannot put activations back.*replace.*Choose a method"):
        forward.logits_of(forward.activations[:, None])
    assert snapshot(module) == before


@pytest.mark.parametrize("count", [1, 16, 17, 70])
def test_many_variants_are_run_in_parts_of_bounded_size(count: int) -> None:
    classifier = net()
    forward = classifier.forward(images())
    sizes: list[int] = []
    classifier.module[3].register_forward_pre_hook(lambda _m, inputs: sizes.append(len(inputs[0])))  # type: ignore[index]
    factors = torch.linspace(0, 1, count, dtype=torch.float64).view(1, count, 1, 1, 1)
    found = forward.logits_of(forward.activations[:, None] * factors)
    assert max(sizes) <= 32
    assert sum(sizes) == 2 * count
    alone = [forward.logits_of(forward.activations[:, None] * factors[:, n : n + 1]) for n in range(count)]
    torch.testing.assert_close(found, torch.cat(alone, dim=1), **EXACT)


def test_logits_of_is_in_the_activations_own_precision() -> None:
    classifier = HookedClassifier(small_net().half(), "5", OUTPUTS, input_size=64)
    forward = classifier.forward(images())
    found = forward.logits_of(forward.activations[:, None].float())
    torch.testing.assert_close(found[:, 0], forward.logits)


def test_the_gradients_of_a_pass_are_the_same_after_running_again() -> None:
    (forward,) = forward_at(net(), images(), ["1"])  # an in-place ReLU follows
    before, gradients = forward.activations.clone(), forward.gradients(CLASSES).clone()
    forward.logits_of(forward.activations[:, None].clone())
    assert torch.equal(forward.activations, before)
    assert torch.equal(forward.gradients(CLASSES), gradients)


def test_the_callers_variants_are_not_overwritten() -> None:
    """By the in-place ReLU behind the layer; here they are a view of the activations themselves."""
    (forward,) = forward_at(net(), images(), ["1"])
    before = forward.activations.clone()
    forward.logits_of(forward.activations[:, None])
    assert torch.equal(forward.activations, before)
