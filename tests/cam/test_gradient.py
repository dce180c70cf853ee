"""The rules over activations and gradients: against loops over numbers, and against plain autograd."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import literal
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import NAMES, images, small_net, small_xrv, snapshot, unsettle, whole_network_gradients
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain import HookedClassifier, Outputs, XRVDenseNet
from cxr_explain.cam import gradient
from cxr_explain.cam.evidence import Evidence
from cxr_explain.cam.fusion import fuse
from cxr_explain.cam.rules import Rule, class_maps
from cxr_explain.errors import ModelError
from cxr_explain.models.base import Classifier, ForwardPass, LinearHead

Block = NDArray[np.float64]
CLASSES = torch.tensor([[4, 0, 2], [1, 1, 3]])
RULES: dict[str, Rule] = {
    "grad-cam": gradient.grad_cam,
    "grad-cam++": gradient.grad_cam_plus_plus,
    "xgrad-cam": gradient.xgrad_cam,
    "hirescam": gradient.hirescam,
    "layercam": gradient.layercam,
}
each_rule = pytest.mark.parametrize("name", RULES)
extent = st.integers(1, 3)
shapes = st.tuples(extent, extent, extent, extent, extent)


class Given(ForwardPass):
    """Activations and gradients that no network made."""

    gradient = "autograd"

    def __init__(self, activations: Tensor, gradients: Tensor, head: LinearHead | None = None) -> None:
        super().__init__(activations, torch.zeros(len(activations), gradients.shape[1]))
        self._gradients = gradients
        self._head = head

    @property
    def head(self) -> LinearHead | None:
        return self._head

    def gradients(self, classes: Tensor) -> Tensor:
        return self._gradients

    def logits_of(self, variants: Tensor) -> Tensor:
        raise AssertionError("no gradient rule asks for other activations")


def given_evidence(activations: Tensor, gradients: Tensor, head: LinearHead | None = None) -> Evidence:
    classes = torch.arange(gradients.shape[1]).expand(len(activations), -1)
    nobody = cast(Classifier, None)
    return Evidence(
        nobody, torch.zeros(len(activations), 1, 8, 8), classes, Given(activations, gradients, head)
    )


def real_evidence(classifier: Classifier, classes: Tensor = CLASSES, seed: int = 0) -> Evidence:
    inputs = images(len(classes), seed=seed)
    return Evidence(classifier, inputs, classes, classifier.forward(inputs))


def random_arrays(shape: tuple[int, ...], seed: int) -> tuple[Block, Block]:
    """Activations of any sign, and gradients."""
    B, _, C, I, J = shape  # noqa: E741
    rng = np.random.default_rng(seed)
    return rng.standard_normal((B, C, I, J)), rng.standard_normal(shape)


def closed_form() -> XRVDenseNet:
    return XRVDenseNet(small_xrv(5).double(), Outputs(NAMES), input_size=64)


def hooked(layer: str = "5", seed: int = 0) -> HookedClassifier:
    return HookedClassifier(small_net(seed=seed).double(), layer, Outputs(NAMES), input_size=64)


class Written(nn.Module):
    """TorchXRayVision's DenseNet with a ReLU layer of its own before the pooling, for a hook."""

    def __init__(self, densenet: nn.Module) -> None:
        super().__init__()
        self.densenet, self.relu = densenet, nn.ReLU()

    def forward(self, inputs: Tensor) -> Tensor:
        model: Any = self.densenet
        return model.classifier(self.relu(model.features(inputs)).mean(dim=(2, 3)))


# -- loops over numbers, following the papers' equations --


def literal_weighted(activations: Block, weights: Block) -> Block:
    """Sum over c of w_c^k a_c; the weights of a channel, (B, K, C), or of each position, (B, K, C, I, J)."""
    B, C, I, J = activations.shape  # noqa: E741
    K = weights.shape[1]
    result = np.zeros((B, K, I, J))
    for b, k, i, j in np.ndindex(B, K, I, J):
        of = (weights[b, k, c] if weights.ndim == 3 else weights[b, k, c, i, j] for c in range(C))
        result[b, k, i, j] = math.fsum(float(w) * float(activations[b, c, i, j]) for c, w in enumerate(of))
    return result


def literal_plus_plus(activations: Block, gradients: Block, scores: Block) -> Block:
    """Y = exp(y), whose derivatives are exp(y) g, exp(y) g^2, exp(y) g^3; alpha of equation 19."""
    B, K, C, I, J = gradients.shape  # noqa: E741
    weights = np.zeros((B, K, C))
    for b, k, c in np.ndindex(B, K, C):
        total = math.fsum(float(a) for a in activations[b, c].flat)
        terms = []
        for i, j in np.ndindex(I, J):
            g, Y = float(gradients[b, k, c, i, j]), math.exp(float(scores[b, k]))
            denominator = 2 * Y * g**2 + total * Y * g**3
            if denominator != 0:
                terms.append(Y * g**2 / denominator * max(Y * g, 0.0))
        weights[b, k, c] = math.fsum(terms)
    return literal_weighted(activations, weights)


def literal_xgrad(activations: Block, gradients: Block) -> Block:
    B, K, C, I, J = gradients.shape  # noqa: E741
    weights = np.zeros((B, K, C))
    for b, k, c in np.ndindex(B, K, C):
        total = math.fsum(float(a) for a in activations[b, c].flat)
        if total != 0:  # a channel that is nowhere active has no shares
            weights[b, k, c] = math.fsum(
                float(activations[b, c, i, j]) / total * float(gradients[b, k, c, i, j])
                for i, j in np.ndindex(I, J)
            )
    return literal_weighted(activations, weights)


def literal_maps(name: str, activations: Block, gradients: Block) -> Block:
    B, K = gradients.shape[:2]
    by_name: dict[str, Callable[[], Block]] = {
        "grad-cam": lambda: literal.class_maps(activations, literal.alphas(gradients)),
        "grad-cam++": lambda: literal_plus_plus(activations, gradients, np.zeros((B, K))),
        "xgrad-cam": lambda: literal_xgrad(activations, gradients),
        "hirescam": lambda: literal_weighted(activations, gradients),
        "layercam": lambda: literal_weighted(activations, np.maximum(gradients, 0)),
    }
    return by_name[name]()


@each_rule
@given(shape=shapes, seed=st.integers(0, 2**31))
def test_each_rule_is_its_papers_formula(name: str, shape: tuple[int, ...], seed: int) -> None:
    activations, gradients = random_arrays(shape, seed)
    evidence = given_evidence(torch.from_numpy(activations), torch.from_numpy(gradients))
    found = RULES[name](evidence)
    assert found.dtype == torch.float64
    expected = literal_maps(name, activations, gradients)
    # A sum over channels of any sign may cancel, or be divided by a sum that nearly does.
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9 * (1 + np.abs(expected).max()))


def test_cam_is_the_linear_layers_weights_over_the_activations() -> None:
    rng = np.random.default_rng(0)
    activations, weight = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((6, 3))
    head = LinearHead(torch.from_numpy(weight), None)
    evidence = replace(
        given_evidence(torch.from_numpy(activations), torch.zeros(2, 3, 3, 4, 5), head), classes=CLASSES
    )
    expected = literal_weighted(activations, weight[CLASSES.numpy()])
    np.testing.assert_allclose(gradient.cam(evidence), expected, atol=1e-12)


def test_grad_cam_plus_plus_leaves_out_exp_of_the_score_and_nothing_else() -> None:
    activations, gradients = random_arrays((2, 3, 4, 3, 3), 7)
    scores = np.random.default_rng(1).standard_normal((2, 3)) - 2  # logits of a multi-label head
    a, g = torch.from_numpy(activations), torch.from_numpy(gradients)
    found = gradient.occurrence_weighted(a, g, g).numpy()
    expected = literal_plus_plus(activations, gradients, scores)
    np.testing.assert_allclose(found * np.exp(scores)[..., None, None], expected, rtol=1e-9)


def test_powers_of_the_gradient_are_the_derivatives_of_exp_of_a_linear_score() -> None:
    """Why g^2 and g^3 stand for the second and third derivative; the paper's step from 10 to 19."""
    a, w = torch.tensor(0.3, dtype=torch.float64, requires_grad=True), 0.7
    value = torch.exp(w * a + 0.1)
    derivatives = []
    for _ in range(3):
        (value,) = torch.autograd.grad(value, a, create_graph=True)
        derivatives.append(float(value.detach()))
    expected = [math.exp(w * 0.3 + 0.1) * w**power for power in (1, 2, 3)]
    assert derivatives == pytest.approx(expected)


# -- real networks --


@each_rule
def test_closed_form_equals_autograd_through_the_same_network(name: str) -> None:
    densenet = small_xrv(5).double()
    by_hook = HookedClassifier(Written(densenet), "relu", Outputs(NAMES), input_size=64)
    closed = XRVDenseNet(densenet, Outputs(NAMES), input_size=64)
    found, expected = (
        class_maps(model, images(), CLASSES, method=RULES[name]) for model in (closed, by_hook)
    )
    assert expected.abs().amax(dim=(2, 3)).min() > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-14)


@each_rule
@pytest.mark.parametrize("seed", range(2))
def test_another_head_equals_plain_autograd_through_everything(name: str, seed: int) -> None:
    classifier, inputs = hooked(seed=seed), images(seed=seed).double()
    found = class_maps(classifier, inputs, CLASSES, method=RULES[name])
    module: Any = classifier.module.eval()
    activations = module[:6](inputs)
    logits = module[6:](activations.clone())
    gradients = whole_network_gradients(module, activations, logits, CLASSES)
    expected = literal_maps(name, activations.detach().numpy(), gradients.numpy())
    assert found.abs().amax(dim=(2, 3)).min() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("build", [closed_form, hooked])
@each_rule
def test_a_batch_equals_one_image_and_one_class_at_a_time(name: str, build: Callable[[], Classifier]) -> None:
    classifier, inputs = build(), images()
    together = class_maps(classifier, inputs, CLASSES, method=RULES[name])
    for b in range(2):
        for k in range(3):
            alone = class_maps(classifier, inputs[b : b + 1], CLASSES[b, k : k + 1], method=RULES[name])
            torch.testing.assert_close(together[b, k], alone[0, 0], rtol=1e-9, atol=1e-14)


def test_behind_a_linear_head_the_rules_are_cam_but_for_a_factor() -> None:
    evidence = real_evidence(closed_form())
    C, I, J = evidence.activations.shape[1:]  # noqa: E741
    cam = gradient.cam(evidence)
    for rule, factor in (
        (gradient.grad_cam, C * I * J),
        (gradient.xgrad_cam, I * J),
        (gradient.hirescam, I * J),
    ):
        torch.testing.assert_close(rule(evidence) * factor, cam, rtol=1e-9, atol=1e-12)
    positive = replace(evidence.head, weight=evidence.head.weight.clamp(min=0)).of(CLASSES)
    layercam = torch.einsum("bkc,bcij->bkij", positive, evidence.activations) / (I * J)
    torch.testing.assert_close(gradient.layercam(evidence), layercam, rtol=1e-9, atol=1e-12)


def test_hirescam_sums_to_the_score_less_the_bias_of_a_linear_head() -> None:
    evidence = real_evidence(closed_form())
    bias = evidence.head.bias
    assert bias is not None
    rest = evidence.scores - bias[CLASSES]
    torch.testing.assert_close(gradient.hirescam(evidence).sum(dim=(2, 3)), rest, rtol=1e-10, atol=1e-12)
    C = evidence.activations.shape[1]
    torch.testing.assert_close(C * gradient.grad_cam(evidence).sum(dim=(2, 3)), rest, rtol=1e-10, atol=1e-12)


def test_xgrad_cam_sums_to_what_hirescam_sums_to_behind_any_head() -> None:
    evidence = real_evidence(hooked())
    sums = [rule(evidence).sum(dim=(2, 3)) for rule in (gradient.xgrad_cam, gradient.hirescam)]
    torch.testing.assert_close(*sums, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(gradient.xgrad_cam(evidence), gradient.hirescam(evidence))


def test_layercam_is_hirescam_without_what_speaks_against() -> None:
    evidence = real_evidence(hooked())
    layercam, hirescam = gradient.layercam(evidence), gradient.hirescam(evidence)
    assert (evidence.activations >= 0).all()
    assert (layercam >= hirescam.clamp(min=0)).all()
    assert (hirescam < 0).any()


@each_rule
def test_a_gradient_rule_asks_for_one_gradient_and_no_other_pass(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    original = HookedClassifier.run

    def run(self: HookedClassifier, inputs: Tensor) -> Tensor:
        calls.append("run")
        return original(self, inputs)

    monkeypatch.setattr(HookedClassifier, "run", run)
    class_maps(hooked(), images(), CLASSES, method=RULES[name])
    assert calls == ["run"]


@each_rule
def test_behind_a_linear_head_there_is_no_autograd(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def grad(*_: object, **__: object) -> None:
        raise AssertionError("a gradient where it is known")

    monkeypatch.setattr(torch.autograd, "grad", grad)
    assert class_maps(closed_form(), images(), CLASSES, method=RULES[name]).shape == (2, 3, 8, 8)


def test_cam_needs_a_linear_head() -> None:
    with pytest.raises(ModelError, match=r"behind 5 that is not known to be linear.*Choose another method"):
        class_maps(hooked(), images(), CLASSES, method="cam")


@each_rule
@pytest.mark.parametrize("build", [closed_form, hooked])
def test_maps_are_fused(name: str, build: Callable[[], Classifier]) -> None:
    fused = fuse(class_maps(build(), images(), CLASSES, method=RULES[name]))
    assert torch.isfinite(fused.maps).all()
    assert not fused.without_evidence.all()


@each_rule
def test_the_model_leaves_as_it_came(name: str) -> None:
    module = small_net()
    unsettle(module)
    before = snapshot(module)
    class_maps(HookedClassifier(module, "5", Outputs(NAMES)), images(), CLASSES, method=RULES[name])
    assert snapshot(module) == before


class Fails(torch.autograd.Function):
    """An operator whose gradient raises."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        raise ValueError("in mid-gradient")


class FailsBackwards(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Fails.apply(x)


@each_rule
def test_the_model_leaves_as_it_came_after_an_exception_in_the_gradient(name: str) -> None:
    module = small_net()
    module.insert(6, FailsBackwards())
    unsettle(module)
    before = snapshot(module)
    with pytest.raises(ValueError, match="in mid-gradient"):
        class_maps(HookedClassifier(module, "5", Outputs(NAMES)), images(), CLASSES, method=RULES[name])
    assert snapshot(module) == before


# -- numbers at the edge --


@each_rule
def test_no_activation_or_no_gradient_gives_a_map_of_zeros(name: str) -> None:
    ones, zeros = torch.ones(1, 2, 3, 3), torch.zeros(1, 2, 3, 3)
    for activations, gradients in ((zeros, ones), (ones, zeros), (zeros, zeros)):
        maps = RULES[name](given_evidence(activations, gradients[:, None].expand(-1, 4, -1, -1, -1)))
        assert maps.tolist() == torch.zeros(1, 4, 3, 3).tolist()


def test_known_answers_of_one_channel_of_ones() -> None:
    evidence = given_evidence(torch.ones(1, 1, 2, 3), torch.ones(1, 1, 1, 2, 3))
    found = {name: rule(evidence).unique().tolist() for name, rule in RULES.items()}
    assert found.pop("grad-cam++") == pytest.approx([6 / (2 + 6)])
    assert found == {name: [1.0] for name in found}


def test_a_denominator_of_grad_cam_plus_plus_that_cancels_gives_no_weight() -> None:
    """2 + g * (sum of a) = 0 at one of two positions, which would have an infinite weight."""
    activations = torch.tensor([[[[-3.0, 1.0]]]])  # sums to -2
    gradients = torch.tensor([[[[[1.0, 0.5]]]]])  # alpha: none, and 1 / (2 - 1)
    maps = gradient.grad_cam_plus_plus(given_evidence(activations, gradients))
    assert maps.tolist() == [[[[-1.5, 0.5]]]]


def test_a_channel_that_sums_to_zero_adds_nothing_to_xgrad_cam() -> None:
    activations = torch.tensor([[[[-1.0, 1.0]], [[2.0, 2.0]]]])
    gradients = torch.tensor([[[[[5.0, 7.0]], [[1.0, 3.0]]]]])
    assert gradient.xgrad_cam(given_evidence(activations, gradients)).tolist() == [[[[4.0, 4.0]]]]


@each_rule
@pytest.mark.parametrize("scale", [1e-30, 1e15])
def test_gradients_of_any_size_that_float32_holds(name: str, scale: float) -> None:
    """g^3 of either would be 0 or infinite in float32."""
    activations, gradients = random_arrays((1, 2, 3, 4, 4), 3)
    activations = np.abs(activations)
    expected = literal_maps(name, activations, gradients * scale)
    evidence = given_evidence(
        torch.from_numpy(activations).float(), torch.from_numpy(gradients * scale).float()
    )
    np.testing.assert_allclose(RULES[name](evidence), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@each_rule
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_maps_are_at_least_float32(name: str, dtype: torch.dtype) -> None:
    activations = torch.full((1, 2, 64, 64), 50.0, dtype=dtype)  # its sum is beyond float16
    gradients = torch.ones(1, 3, 2, 64, 64, dtype=dtype)
    maps = RULES[name](given_evidence(activations, gradients))
    assert maps.dtype == torch.promote_types(dtype, torch.float32)
    assert torch.isfinite(maps).all()
    assert (maps > 0).all()


@each_rule
def test_no_class_gives_no_map(name: str) -> None:
    evidence = given_evidence(torch.ones(2, 3, 4, 5), torch.ones(2, 0, 3, 4, 5))
    assert RULES[name](evidence).shape == (2, 0, 4, 5)
    assert gradient.cam(real_evidence(closed_form(), CLASSES[:, :0])).shape == (2, 0, 8, 8)


@each_rule
@pytest.mark.parametrize("where", ["activation", "gradient"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_never_hidden_as_zeros(name: str, where: str, value: float) -> None:
    """A map of zeros would be a model without evidence."""
    activations, gradients = torch.ones(1, 2, 3, 3), torch.ones(1, 1, 2, 3, 3)
    (activations[0] if where == "activation" else gradients[0, 0])[1, 2, 2] = value
    maps = RULES[name](given_evidence(activations, gradients))
    assert not torch.isfinite(maps).all()


def test_the_pooling_that_the_written_network_does_is_torchxrayvisions() -> None:
    """So that the comparison above is with TorchXRayVision's model itself."""
    densenet: Any = small_xrv(5).double().eval()
    expected = densenet.classifier(F.relu(densenet.features(images().double())).mean(dim=(2, 3)))
    torch.testing.assert_close(Written(densenet)(images().double()), expected)
