"""Smooth Grad-CAM++ and Integrated Grad-CAM: loops over numbers, path integrals, and the passes they cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from networks import NAMES, images, small_net, small_xrv, snapshot, unsettle, whole_network_gradients
from numpy.typing import NDArray
from torch import Tensor, nn

from cxr_explain import HookedClassifier, Outputs, XRVDenseNet
from cxr_explain.cam.fusion import fuse
from cxr_explain.cam.rules import class_maps
from cxr_explain.cam.sampled import IntegratedGradCAM, SmoothGradCAMPlusPlus
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.base import Classifier

Block = NDArray[np.float64]
CLASSES = torch.tensor([[4, 0, 2], [1, 1, 3]])
Sampled = SmoothGradCAMPlusPlus | IntegratedGradCAM
SMOOTH, INTEGRATED = SmoothGradCAMPlusPlus(copies=3), IntegratedGradCAM(steps=3)
each_rule = pytest.mark.parametrize("rule", [SMOOTH, INTEGRATED], ids=["smooth", "integrated"])


def closed_form() -> XRVDenseNet:
    return XRVDenseNet(small_xrv(5).double(), Outputs(NAMES), input_size=64)


def hooked(seed: int = 0) -> HookedClassifier:
    return HookedClassifier(small_net(seed=seed).double(), "5", Outputs(NAMES), input_size=64)


each_model = pytest.mark.parametrize("build", [closed_form, hooked])


def plain(module: Any, inputs: Tensor) -> tuple[Block, Block]:
    """Activations and gradients of `small_net` by plain autograd through everything."""
    module.eval()
    activations = module[:6](inputs)
    logits = module[6:](activations.clone())
    gradients = whole_network_gradients(module, activations, logits, CLASSES)
    return activations.detach().numpy(), gradients.numpy()


def inputs_seen(classifier: Classifier) -> list[Tensor]:
    """What the network is run on from now on, one entry a forward pass."""
    seen: list[Tensor] = []

    def look(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        seen.append(arguments[0].detach().clone())

    first = next(layer for layer in classifier.module.modules() if isinstance(layer, nn.Conv2d))
    first.register_forward_pre_hook(look)
    return seen


# -- Smooth Grad-CAM++ --


def noisy(image: Tensor, copies: int, sigma: float, seed: int) -> list[Tensor]:
    """An image and noise of sigma times its own range, by itself: (1, 1, S, S) each."""
    generator = torch.Generator().manual_seed(seed)
    spread = float(image.max()) - float(image.min())
    return [image + sigma * spread * torch.randn(image.shape[1:], generator=generator) for _ in range(copies)]


def literal_smooth(activations: Block, gradients: list[Block]) -> Block:
    """Means D1, D2, D3 of g, g^2, g^3; alpha = D2 / (2 D2 + sum(a) D3); w = sum of alpha max(D1, 0)."""
    n = len(gradients)
    B, K, C, I, J = gradients[0].shape  # noqa: E741
    result = np.zeros((B, K, I, J))
    for b, k, c in np.ndindex(B, K, C):
        total, weight = math.fsum(float(a) for a in activations[b, c].flat), 0.0
        for i, j in np.ndindex(I, J):
            D1, D2, D3 = (math.fsum(float(g[b, k, c, i, j]) ** p for g in gradients) / n for p in (1, 2, 3))
            if 2 * D2 + total * D3 != 0:
                weight += D2 / (2 * D2 + total * D3) * max(D1, 0.0)
        result[b, k] += weight * activations[b, c]
    return result


@pytest.mark.parametrize(("copies", "sigma", "seed"), [(1, 0.1, 0), (3, 0.1, 0), (4, 0.3, 5)])
def test_smooth_is_the_papers_formula(copies: int, sigma: float, seed: int) -> None:
    inputs = torch.cat([images(1), images(1, seed=1) / 5]).double()
    classifier = hooked()
    rule = SmoothGradCAMPlusPlus(copies, sigma, seed)
    found = class_maps(classifier, inputs, CLASSES, method=rule)
    activations, _ = plain(classifier.module, inputs)
    copies_of_each = [noisy(inputs[b : b + 1], copies, sigma, seed) for b in range(2)]
    gradients = [plain(classifier.module, torch.cat(pair))[1] for pair in zip(*copies_of_each, strict=True)]
    assert found.abs().amax(dim=(2, 3)).min() > 0
    np.testing.assert_allclose(found, literal_smooth(activations, gradients), rtol=1e-8, atol=1e-13)


def test_without_noise_it_is_grad_cam_plus_plus() -> None:
    found = class_maps(hooked(), images(), CLASSES, method=SmoothGradCAMPlusPlus(3, sigma=0.0))
    expected = class_maps(hooked(), images(), CLASSES, method="grad-cam++")
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-14)
    blank = torch.full((2, 1, 64, 64), 300.0)  # an image without a range has no noise
    found, expected = (class_maps(hooked(), blank, CLASSES, method=m) for m in (SMOOTH, "grad-cam++"))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-14)


def test_behind_a_linear_head_it_is_grad_cam_plus_plus_and_costs_as_little() -> None:
    classifier = closed_form()
    seen = inputs_seen(classifier)
    found = class_maps(classifier, images(), CLASSES, method=SMOOTH)
    assert len(seen) == 1
    assert torch.equal(found, class_maps(classifier, images(), CLASSES, method="grad-cam++"))
    # and so it is where the copies are run: small_net's body behind a linear head, found by autograd
    body: Any = small_net().double()
    linear = nn.Sequential(*body[:7], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5).double())
    by_hook = HookedClassifier(linear, "5", Outputs(NAMES), input_size=64)
    seen = inputs_seen(by_hook)
    found = class_maps(by_hook, images(), CLASSES, method=SMOOTH)
    assert len(seen) == 1 + 3
    expected = class_maps(by_hook, images(), CLASSES, method="grad-cam++")
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-14)


def test_the_noise_is_a_share_of_the_images_own_range() -> None:
    bright = images(1).double()
    pale = bright / 10 + 500
    classifier = hooked()
    seen = inputs_seen(classifier)
    rule = SmoothGradCAMPlusPlus(copies=1, sigma=0.2)
    class_maps(classifier, torch.cat([bright, pale]), CLASSES, method=rule)
    plain_inputs, copy = seen
    noise = copy - plain_inputs
    assert float(noise[0].std()) == pytest.approx(0.2 * 2048, rel=0.05)
    torch.testing.assert_close(noise[1], noise[0] / 10)


def test_seeds_give_other_noise_and_each_seed_the_same() -> None:
    def maps(seed: int) -> Tensor:
        rule = SmoothGradCAMPlusPlus(copies=2, sigma=0.2, seed=seed)
        return class_maps(hooked(), images(), CLASSES, method=rule)

    assert torch.equal(maps(1), maps(1))
    assert not torch.allclose(maps(1), maps(2))


def test_torchs_own_generator_neither_matters_nor_moves() -> None:
    classifier = hooked()
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one = class_maps(classifier, images(), CLASSES, method=SMOOTH)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(4)
    assert torch.equal(class_maps(classifier, images(), CLASSES, method=SMOOTH), one)


def test_more_copies_settle() -> None:
    """The mean over many copies depends little on the seed."""

    def spread(copies: int) -> float:
        rules = [SmoothGradCAMPlusPlus(copies, 0.1, seed) for seed in (1, 2)]
        one, two = (class_maps(hooked(), images(), CLASSES, method=rule) for rule in rules)
        return float((one - two).norm() / one.norm())

    assert spread(32) < spread(2)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"copies": 0}, "copies=0; expected 1 or more"),
        ({"sigma": -0.1}, "sigma=-0.1; expected 0 or more"),
        ({"sigma": math.nan}, "sigma=nan"),
        ({"sigma": math.inf}, "sigma=inf"),
    ],
)
def test_smooths_options_are_checked(options: dict[str, Any], found: str) -> None:
    with pytest.raises(OptionError, match=found):
        SmoothGradCAMPlusPlus(**options)


# -- Integrated Grad-CAM --


def literal_integrated(along: list[tuple[Block, Block]], black: Block) -> Block:
    """(1 / (m C)) sum over t, c of (mean of g_c(x_t)) (a_c(x_t) - a_c(black))."""
    B, K, C, I, J = along[0][1].shape  # noqa: E741
    result = np.zeros((B, K, I, J))
    for activations, gradients in along:
        for b, k, c in np.ndindex(B, K, C):
            alpha = math.fsum(float(g) for g in gradients[b, k, c].flat) / (I * J)
            for i, j in np.ndindex(I, J):
                result[b, k, i, j] += alpha * (activations[b, c, i, j] - black[b, c, i, j])
    return result / (len(along) * C)


@pytest.mark.parametrize("steps", [1, 3])
def test_integrated_is_the_papers_formula(steps: int) -> None:
    classifier, inputs = hooked(), images().double()
    found = class_maps(classifier, inputs, CLASSES, method=IntegratedGradCAM(steps))
    baseline = torch.full_like(inputs, -1024.0)
    along = [
        plain(classifier.module, baseline + t / steps * (inputs - baseline)) for t in range(1, steps + 1)
    ]
    expected = literal_integrated(along, plain(classifier.module, baseline)[0])
    assert found.abs().amax(dim=(2, 3)).min() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-13)


def test_behind_a_linear_head_it_sums_to_the_mean_rise_of_the_score_along_the_path() -> None:
    classifier, inputs, steps = closed_form(), images().double(), 5
    maps = class_maps(classifier, inputs, CLASSES, method=IntegratedGradCAM(steps))
    path = [-1024 + t / steps * (inputs + 1024) for t in range(steps + 1)]
    scores = torch.stack([classifier.logits(x).gather(1, CLASSES) for x in path])
    channels = classifier.forward(inputs).activations.shape[1]
    mean_rise = (scores[1:] - scores[0]).mean(dim=0)
    torch.testing.assert_close(channels * maps.sum(dim=(2, 3)), mean_rise, rtol=1e-9, atol=1e-11)
    assert not torch.allclose(mean_rise, scores[-1] - scores[0], rtol=0.1)


def test_a_score_that_rises_evenly_gives_half_of_its_rise_in_the_limit() -> None:
    """A network without any ReLU: the mean over t = 1 ... m of t / m is (m + 1) / (2 m)."""
    torch.manual_seed(0)
    body = (nn.Conv2d(1, 6, 5, stride=4), nn.Conv2d(6, 8, 3))
    module = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).double()
    classifier = HookedClassifier(module, "1", Outputs(NAMES), input_size=64)
    inputs = images().double()
    both = classifier.logits(torch.cat([inputs, torch.full_like(inputs, -1024.0)]))
    rise = (both[:2] - both[2:]).gather(1, CLASSES)
    for steps in (1, 4, 50):
        sums = 8 * class_maps(classifier, inputs, CLASSES, method=IntegratedGradCAM(steps)).sum(dim=(2, 3))
        torch.testing.assert_close(sums, rise * (steps + 1) / (2 * steps), rtol=1e-9, atol=1e-11)


def test_twice_the_steps_halve_the_distance_to_the_integral() -> None:
    def maps(steps: int) -> Tensor:
        return class_maps(classifier, images(1), CLASSES[:1, :1], method=IntegratedGradCAM(steps))

    classifier = hooked()
    limit = maps(400)
    errors = [float((maps(steps) - limit).norm()) for steps in (10, 20, 40)]
    assert errors[1] / errors[0] == pytest.approx(0.5, abs=0.1)
    assert errors[2] / errors[1] == pytest.approx(0.5, abs=0.1)


@each_model
def test_one_step_is_grad_cam_of_what_is_more_than_black(build: Callable[[], Classifier]) -> None:
    classifier, inputs = build(), images()
    forward = classifier.forward(inputs)
    black = classifier.forward(torch.full_like(inputs, -1024.0)).activations
    C = black.shape[1]
    expected = torch.einsum("bkc,bcij->bkij", forward.weights(CLASSES), forward.activations - black) / C
    found = class_maps(classifier, inputs, CLASSES, method=IntegratedGradCAM(steps=1))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-14)


@each_model
def test_a_black_image_has_no_evidence(build: Callable[[], Classifier]) -> None:
    maps = class_maps(build(), torch.full((2, 1, 64, 64), -1024.0), CLASSES, method=INTEGRATED)
    assert (maps == 0).all()
    assert (fuse(maps).maps == 0).all()


@each_model
def test_the_path_runs_from_black_to_the_image(build: Callable[[], Classifier]) -> None:
    """m passes beside the one that was there already, for all classes: black, and all steps but the last."""
    classifier, inputs = build(), images().double()
    seen = inputs_seen(classifier)
    class_maps(classifier, inputs, CLASSES, method=IntegratedGradCAM(steps=4))
    way = inputs + 1024
    torch.testing.assert_close(
        torch.stack(seen), torch.stack([inputs, *(way * t / 4 - 1024 for t in range(4))])
    )


def test_integrateds_steps_are_checked() -> None:
    with pytest.raises(OptionError, match="found steps=0; expected 1 or more"):
        IntegratedGradCAM(steps=0)


# -- both --


@each_rule
@each_model
def test_a_batch_equals_one_image_and_one_class_at_a_time(
    rule: Sampled, build: Callable[[], Classifier]
) -> None:
    classifier, inputs = build(), images()
    together = class_maps(classifier, inputs, CLASSES, method=rule)
    for b in range(2):
        for k in range(3):
            alone = class_maps(classifier, inputs[b : b + 1], CLASSES[b, k : k + 1], method=rule)
            torch.testing.assert_close(together[b, k], alone[0, 0], rtol=1e-8, atol=1e-13)


@each_rule
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_precision_is_the_models(rule: Sampled, dtype: torch.dtype) -> None:
    classifier = HookedClassifier(small_net().to(dtype), "5", Outputs(NAMES), input_size=64)
    maps = class_maps(classifier, images(), CLASSES, method=rule)
    assert maps.dtype == dtype
    expected = class_maps(hooked(), images(), CLASSES, method=rule)
    torch.testing.assert_close(maps.double(), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@each_rule
def test_a_half_precision_model_gives_finite_float32_maps(rule: Sampled) -> None:
    classifier = HookedClassifier(small_net().half(), "5", Outputs(NAMES), input_size=64)
    maps = class_maps(classifier, images(), CLASSES, method=rule)
    assert maps.dtype == torch.float32
    assert torch.isfinite(maps).all()
    expected = class_maps(hooked(), images(), CLASSES, method=rule).float()
    assert float(torch.corrcoef(torch.stack([maps.flatten(), expected.flatten()]))[0, 1]) > 0.99


@each_rule
def test_an_earlier_layer_is_asked_on_every_pass(rule: Sampled) -> None:
    """At the layer's name, of a model whose own target layer is another."""
    found = class_maps(hooked(), images(), CLASSES, method=rule, layers=["2"])
    own = HookedClassifier(small_net().double(), "2", Outputs(NAMES), input_size=64)
    torch.testing.assert_close(found, class_maps(own, images(), CLASSES, method=rule), rtol=1e-9, atol=1e-14)


@each_rule
@each_model
def test_progress_is_shown_where_passes_are_run(rule: Sampled, build: Callable[[], Classifier]) -> None:
    shown: list[tuple[int, str]] = []

    def track(items: Sequence[Any], doing: str) -> Iterable[Any]:
        shown.append((len(items), doing))
        return items

    class_maps(build(), images(), CLASSES, method=rule, track=track)
    without = rule == SMOOTH and build is closed_form
    assert shown == ([] if without else [(3, rule.title)])


@each_rule
def test_behind_a_linear_head_there_is_no_autograd(rule: Sampled, monkeypatch: pytest.MonkeyPatch) -> None:
    def grad(*_: object, **__: object) -> None:
        raise AssertionError("a gradient where it is known")

    monkeypatch.setattr(torch.autograd, "grad", grad)
    assert class_maps(closed_form(), images(), CLASSES, method=rule).shape == (2, 3, 8, 8)


@each_rule
@each_model
def test_maps_are_fused(rule: Sampled, build: Callable[[], Classifier]) -> None:
    fused = fuse(class_maps(build(), images(), CLASSES, method=rule))
    assert torch.isfinite(fused.maps).all()
    assert not fused.without_evidence.all()


@each_rule
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_never_hidden(rule: Sampled, value: float) -> None:
    inputs = images()
    inputs[0, 0, 3, 3] = value
    with pytest.raises(ModelError, match="NaN or infinite"):
        class_maps(hooked(), inputs, CLASSES, method=rule)


@each_rule
def test_the_callers_inputs_are_not_written_to(rule: Sampled) -> None:
    inputs = images()
    class_maps(hooked(), inputs, CLASSES, method=rule)
    assert torch.equal(inputs, images())


@each_rule
@pytest.mark.parametrize("build", [small_net, lambda: small_xrv(5)], ids=["other head", "linear head"])
def test_the_model_leaves_as_it_came(rule: Sampled, build: Callable[[], nn.Module]) -> None:
    module = build()
    unsettle(module)
    before = snapshot(module)
    adapter = (
        HookedClassifier(module, "5", Outputs(NAMES))
        if isinstance(module, nn.Sequential)
        else XRVDenseNet(module, Outputs(NAMES))
    )
    class_maps(adapter, images(), CLASSES, method=rule)
    assert snapshot(module) == before


@each_rule
def test_the_model_leaves_as_it_came_after_an_exception_half_way(rule: Sampled) -> None:
    module, passes = small_net(), []
    unsettle(module)

    def fail_at_the_third(*_: object) -> None:
        passes.append(1)
        if len(passes) == 3:
            raise RuntimeError("in mid-forward")

    module[7].register_forward_pre_hook(fail_at_the_third)
    before = snapshot(module)
    with pytest.raises(RuntimeError, match="in mid-forward"):
        class_maps(HookedClassifier(module, "5", Outputs(NAMES)), images(), CLASSES, method=rule)
    assert len(passes) == 3
    assert snapshot(module) == before
