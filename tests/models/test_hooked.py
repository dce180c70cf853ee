"""Any module at a named layer: one forward pass, the head's gradient alone, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from networks import (
    NAMES,
    images,
    randomise,
    small_net,
    small_xrv,
    snapshot,
    unsettle,
    whole_network_gradients,
)
from torch import Tensor, nn

from cxr_explain import HookedClassifier, Outputs, imagenet_input, token_grid
from cxr_explain.errors import ModelError

OUTPUTS = Outputs(NAMES)
CLASSES = torch.tensor([[4, 0, 2], [1, 1, 3]])


def hooked(module: nn.Module, layer: str = "5", **options: object) -> HookedClassifier:
    return HookedClassifier(module, layer, OUTPUTS, input_size=64, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("layer", ["2", "5", "6", "3"])
@pytest.mark.parametrize("seed", range(3))
def test_equals_a_backward_pass_through_the_whole_network(layer: str, seed: int) -> None:
    module, inputs = small_net(seed=seed), images(seed=seed)
    result = hooked(module, layer).forward(inputs)
    module.eval()
    activations = module[: int(layer) + 1](inputs)
    logits = module[int(layer) + 1 :](activations.clone())
    gradients = whole_network_gradients(module, activations, logits, CLASSES)
    torch.testing.assert_close(result.activations, activations.detach())
    torch.testing.assert_close(result.logits, logits.detach())
    torch.testing.assert_close(result.weights(CLASSES), gradients.mean((-2, -1)), rtol=1e-5, atol=1e-8)
    assert gradients.abs().amax((-3, -2, -1)).min() > 0
    assert result.gradient == "autograd"


def test_images_of_a_batch_do_not_mix() -> None:
    module, inputs = small_net(), images()
    together = hooked(module).forward(inputs).weights(CLASSES)
    for index in range(2):
        alone = hooked(module).forward(inputs[index : index + 1]).weights(CLASSES[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone)


def test_one_forward_pass_and_no_gradient_in_the_body() -> None:
    module = small_net()
    forward: list[int] = []
    modes: dict[nn.Module, bool] = {}
    backward: list[object] = []
    module[1].register_forward_hook(lambda *_: forward.append(1))

    def note_mode(layer: nn.Module, *_: object) -> None:
        modes[layer] = torch.is_grad_enabled()

    for layer in module:
        layer.register_forward_hook(note_mode)
    for index in (0, 3):
        module[index].weight.register_hook(lambda gradient: backward.append(gradient))
        module[index].register_full_backward_hook(lambda *_: backward.append(1))
    result = hooked(module).forward(images())
    result.weights(CLASSES)
    result.weights(CLASSES)
    assert forward == [1]
    assert [modes[layer] for layer in module] == [False] * 6 + [True] * 6
    assert backward == []
    assert all(parameter.grad is None for parameter in module.parameters())
    assert result.activations.grad_fn is None
    leaf = result._layer_output  # type: ignore[attr-defined]
    assert leaf.is_leaf
    assert leaf.grad is None


class NoVmap(torch.autograd.Function):
    """An operator of the head that vmap cannot batch."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient * 2 if float(gradient.abs().max()) >= 0 else gradient


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return NoVmap.apply(x)


def test_an_operator_that_vmap_cannot_batch_gives_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    batched: list[bool] = []
    original = torch.autograd.grad

    def grad(*arguments: object, **options: object) -> object:
        batched.append(bool(options.get("is_grads_batched")))
        return original(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.autograd, "grad", grad)
    module = small_net()
    expected = hooked(module).forward(images()).weights(CLASSES)
    assert batched == [True]
    batched.clear()
    doubled = nn.Sequential(*module[:6], Doubled(), *module[6:])
    plain = nn.Sequential(*module[:6], nn.Identity(), *module[6:])
    with torch.no_grad():
        plain[6].forward = lambda x: x * 2  # type: ignore[method-assign]
    found = hooked(doubled).forward(images()).weights(CLASSES)
    assert batched == [True, False, False, False]
    torch.testing.assert_close(found, hooked(plain).forward(images()).weights(CLASSES))
    assert not torch.allclose(found, expected)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("layer", ["0", "2", "5", "6"])
def test_the_model_leaves_as_it_came(layer: str, seed: int) -> None:
    module = small_net()
    unsettle(module, seed)
    before = snapshot(module)
    hooked(module, layer).forward(images()).weights(CLASSES)
    assert snapshot(module) == before


@pytest.mark.parametrize("failing", range(12))
def test_the_model_leaves_as_it_came_after_an_exception_at_any_layer(failing: int) -> None:
    module = small_net()
    unsettle(module)

    def fail(*_: object) -> None:
        raise RuntimeError("in mid-forward")

    module[failing].register_forward_pre_hook(fail)
    before = snapshot(module)
    with pytest.raises(RuntimeError, match="in mid-forward"):
        hooked(module).forward(images())
    assert snapshot(module) == before


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_the_callers_gradient_mode_does_not_matter(mode: Callable[[], torch.no_grad]) -> None:
    module = small_net()
    expected = hooked(module).forward(images()).weights(CLASSES)
    with mode():
        before = snapshot(module)
        found = hooked(module).forward(images()).weights(CLASSES)
        assert snapshot(module) == before
    assert expected.abs().max() > 0
    torch.testing.assert_close(torch.Tensor(found.tolist()), expected)


def test_frozen_parameters_change_nothing() -> None:
    expected = hooked(small_net()).forward(images()).weights(CLASSES)
    frozen = small_net().requires_grad_(False)
    torch.testing.assert_close(hooked(frozen).forward(images()).weights(CLASSES), expected)


def test_a_users_hook_sees_the_layers_own_output() -> None:
    """The in-place ReLU behind the layer works on a copy."""
    module = small_net()
    seen: list[Tensor] = []
    module[4].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    result = hooked(module, "4").forward(images())
    expected = module.eval()[:5](images())
    torch.testing.assert_close(seen[0], expected)
    torch.testing.assert_close(result.activations, expected.detach())
    assert seen[0].min() < 0


def test_an_in_place_layer_changes_neither_activations_nor_gradient() -> None:
    module = small_net()
    before = hooked(module, "4").forward(images())
    module[5].inplace = False
    after = hooked(module, "4").forward(images())
    torch.testing.assert_close(before.activations, after.activations)
    torch.testing.assert_close(before.weights(CLASSES), after.weights(CLASSES))


def test_no_class_gives_no_weight() -> None:
    assert hooked(small_net()).forward(images()).weights(CLASSES[:, :0]).shape == (2, 0, 8)


class Returns(nn.Module):
    def __init__(self, function: Callable[[nn.Module, Tensor], object]) -> None:
        super().__init__()
        self.body, self.unused, self.function = small_net(), nn.Identity(), function

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize(
    ("module", "layer", "message"),
    [
        (Returns(lambda m, x: m.body(x)), "unused", r"unused: .*ran 0 times.*runs once"),
        (Returns(lambda m, x: m.body(x) + m.body(x)), "body.5", "ran 2 times"),
        (Returns(lambda m, x: m.body(x).sum(1)), "body.5", r"shape \(2, 1\); expected \(2, 5\)"),
        (Returns(lambda m, x: m.body(x).sum()), "body.5", r"shape \(\); expected a \(B, N\)"),
        (Returns(lambda m, x: {"pred": m.body(x)}), "body.5", "an output of type dict with pred"),
        (Returns(lambda m, x: m.body(x)[:, :3]), "body.5", r"\(2, 3\).*\(2, 5\)"),
        (nn.Sequential(Pair()), "0", "0: .*gives tuple.*a tensor"),
    ],
)
def test_models_that_are_not_as_declared(module: nn.Module, layer: str, message: str) -> None:
    before = snapshot(module)
    with pytest.raises(ModelError, match=message):
        hooked(module, layer).forward(images())
    assert snapshot(module) == before


@pytest.mark.parametrize("frozen", [False, True])
def test_a_layer_that_the_scores_do_not_depend_on_is_refused(frozen: bool) -> None:
    """A map of zeros would look like a model without evidence."""
    module = Returns(lambda m, x: (m.unused(x), m.body(x))[1]).requires_grad_(not frozen)
    result = hooked(module, "unused").forward(images())
    with pytest.raises(ModelError, match="do not depend on the target layer"):
        result.weights(CLASSES)


def test_a_model_that_runs_in_inference_mode_is_refused() -> None:
    module = Returns(torch.inference_mode()(lambda m, x: m.body(x)))
    with pytest.raises(ModelError, match="inference mode"):
        hooked(module, "body.5").forward(images()).weights(CLASSES)


def test_a_class_that_does_not_use_the_layer_has_no_weight() -> None:
    """Its map is zero; the others' are not."""
    module = Returns(lambda m, x: torch.cat([m.body(x)[:, :4], x.mean((2, 3))], dim=1))
    weights = hooked(module, "body.5").forward(images()).weights(torch.tensor([[0, 4], [4, 1]]))
    assert (weights[0, 1] == 0).all()
    assert (weights[1, 0] == 0).all()
    assert weights[0, 0].abs().max() > 0


def test_a_misspelt_layer_is_named_with_its_neighbours() -> None:
    with pytest.raises(
        ModelError, match=r"no layer named 'features.denseblock' in DenseNet.*features.denseblock"
    ):
        HookedClassifier(small_xrv(), "features.denseblock", Outputs(("A",)))
    with pytest.raises(ModelError, match="no layer named ''"):
        hooked(small_net(), "")


def test_activations_without_a_grid_are_refused() -> None:
    with pytest.raises(ModelError, match=r"\(2, 48\).*token_grid"):
        hooked(small_net(), "8").forward(images())


def _resnet50() -> tuple[nn.Module, str, int]:
    from torchvision.models import resnet50

    return resnet50(weights=None, num_classes=5), "layer4", 2048


def _efficientnet() -> tuple[nn.Module, str, int]:
    from torchvision.models import efficientnet_b0

    return efficientnet_b0(weights=None, num_classes=5), "features", 1280


def _mobilenet() -> tuple[nn.Module, str, int]:
    from torchvision.models import mobilenet_v3_small

    return mobilenet_v3_small(weights=None, num_classes=5), "features", 576


@pytest.mark.parametrize("build", [_resnet50, _efficientnet, _mobilenet])
def test_torchvision_backbones(build: Callable[[], tuple[nn.Module, str, int]]) -> None:
    torch.manual_seed(0)
    module, layer, channels = build()
    randomise(module)
    result = hooked(module, layer, prepare=imagenet_input).forward(images())
    weights = result.weights(CLASSES[:, :1])
    module.eval()
    assert result.activations.shape[:2] == (2, channels)
    assert weights.shape == (2, 1, channels)
    inputs = imagenet_input(images())
    captured: list[Tensor] = []
    handle = module.get_submodule(layer).register_forward_hook(lambda _m, _i, output: captured.append(output))
    logits = module(inputs)
    handle.remove()
    torch.testing.assert_close(result.logits, logits.detach())
    gradients = whole_network_gradients(module, captured[0], logits, CLASSES[:, :1])
    torch.testing.assert_close(weights, gradients.mean((-2, -1)), rtol=1e-4, atol=1e-7)


def _small_vit(size: int = 64) -> nn.Module:
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    return randomise(
        VisionTransformer(
            image_size=size,
            patch_size=16,
            num_layers=2,
            num_heads=2,
            hidden_dim=32,
            mlp_dim=64,
            num_classes=5,
        )
    )


def test_a_vision_transformer_through_its_token_grid() -> None:
    module = _small_vit()
    layer = "encoder.layers.encoder_layer_1.ln_1"
    classifier = hooked(module, layer, prepare=imagenet_input, grid=token_grid(4, 4))
    before = snapshot(module)
    result = classifier.forward(images())
    weights = result.weights(CLASSES)
    assert snapshot(module) == before
    module.eval()
    captured: list[Tensor] = []
    handle = module.get_submodule(layer).register_forward_hook(lambda _m, _i, output: captured.append(output))
    logits = module(imagenet_input(images()))
    handle.remove()
    torch.testing.assert_close(result.logits, logits.detach())
    gradients = whole_network_gradients(module, captured[0], logits, CLASSES)  # (B, K, 17, 32)
    torch.testing.assert_close(weights, gradients[:, :, 1:].mean(2), rtol=1e-4, atol=1e-8)
    assert result.activations.shape == (2, 32, 4, 4)
    torch.testing.assert_close(result.activations[0, :, 1, 2], captured[0][0, 1 + 4 + 2].detach())
    assert weights.abs().max() > 0


@pytest.mark.slow
def test_vit_b_16() -> None:
    from torchvision.models import vit_b_16

    torch.manual_seed(0)
    module = randomise(vit_b_16(weights=None, num_classes=5))
    layer = "encoder.layers.encoder_layer_11.ln_1"
    classifier = HookedClassifier(module, layer, OUTPUTS, prepare=imagenet_input, grid=token_grid(14, 14))
    result = classifier.forward(images(1, 224))
    with torch.no_grad():
        torch.testing.assert_close(result.logits, module.eval()(imagenet_input(images(1, 224))))
    assert result.weights(CLASSES[:1]).abs().max() > 0


def test_tokens_of_another_number_are_refused() -> None:
    layer = "encoder.layers.encoder_layer_1.ln_1"
    with pytest.raises(ModelError, match=r"\(2, 17, 32\).*\(B, 10, C\)"):
        hooked(_small_vit(), layer, prepare=imagenet_input, grid=token_grid(3, 3)).forward(images())


def test_imagenet_input_is_torchvisions_normalisation() -> None:
    from torchvision.transforms.functional import normalize

    grey = (images() + 1024) / 2048
    expected = normalize(grey.expand(-1, 3, -1, -1), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(imagenet_input(images()), expected)
