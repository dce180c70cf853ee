"""Augmented Grad-CAM: its operator against a matrix written out, its map against a solver."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from networks import NAMES, images, small_net, small_xrv, snapshot, unsettle
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from cxr_explain import HookedClassifier, Outputs, XRVDenseNet
from cxr_explain.cam.augmented import AugmentedGradCAM
from cxr_explain.cam.fusion import fuse
from cxr_explain.cam.rules import class_maps
from cxr_explain.cam.views import View
from cxr_explain.errors import OptionError
from cxr_explain.models.base import Classifier

Block = NDArray[np.float64]
CLASSES = torch.tensor([[3, 0, 4], [1, 2, 0]])
QUICK = AugmentedGradCAM(views=3, steps=8)
VIEWS = (View(), View(angle=9, right=0.06), View(angle=-14, down=-0.1), View(right=-0.07, down=0.03))
EXACT = {"rtol": 1e-9, "atol": 1e-12}


def linear() -> Classifier:
    return XRVDenseNet(small_xrv(5).double(), Outputs(NAMES), input_size=64)


def hooked() -> Classifier:
    return HookedClassifier(small_net().double(), "5", Outputs(NAMES), input_size=64)


both_heads = pytest.mark.parametrize("build", [linear, hooked])


def inputs_of(count: int = 2) -> Tensor:
    return images(count).double()


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# -- the operator and the objective, written out ----


def literal_operator(view: View, cells: int, factor: int) -> Block:
    """D A as a matrix: each coarse cell is the mean of f x f fine ones, each read where it came from."""
    fine = cells * factor
    matrix = np.zeros((cells**2, fine**2))
    turn = math.radians(view.angle)
    for i, j in np.ndindex(fine, fine):
        x, y = (j + 0.5) / fine - 0.5 - view.right, (i + 0.5) / fine - 0.5 - view.down
        x, y = math.cos(turn) * x - math.sin(turn) * y, math.sin(turn) * x + math.cos(turn) * y
        column, row = (x + 0.5) * fine - 0.5, (y + 0.5) * fine - 0.5
        left, top = math.floor(column), math.floor(row)
        for r, c in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
            if 0 <= r < fine and 0 <= c < fine:
                part = (1 - abs(row - r)) * (1 - abs(column - c))
                matrix[(i // factor) * cells + j // factor, r * fine + c] += part / factor**2
    return matrix


def literal_objective(h: Block, coarse: Block, operators: Sequence[Block], rule: AugmentedGradCAM) -> float:
    """Of one map, (f I, f I), and its coarse ones, (L, I, I)."""
    misfit = [
        float(value) ** 2
        for operator, g in zip(operators, coarse, strict=True)
        for value in operator @ h.ravel() - g.ravel()
    ]
    lengths, size = [], len(h)
    for i, j in np.ndindex(size, size):
        down = h[i + 1, j] - h[i, j] if i + 1 < size else 0.0
        right = h[i, j + 1] - h[i, j] if j + 1 < size else 0.0
        lengths.append(math.sqrt(down**2 + right**2 + 0.02**2))
    squares = math.fsum(float(value) ** 2 for value in h.flat)
    data = rule.factor**2 * math.fsum(misfit) / (2 * len(operators))
    return data + rule.variation * math.fsum(lengths) + rule.shrinkage / 2 * squares


def solved(coarse: Block, operators: Sequence[Block], factor: int, shrinkage: float) -> Block:
    """The minimum without total variation, by its normal equations; (f I, f I)."""
    weight = factor**2 / len(operators)
    left = shrinkage * np.eye(operators[0].shape[1])
    left += weight * sum(operator.T @ operator for operator in operators)
    right = weight * sum(operator.T @ g.ravel() for operator, g in zip(operators, coarse, strict=True))
    size = coarse.shape[-1] * factor
    return np.linalg.solve(left, right).reshape(size, size)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_the_objective_is_the_papers(factor: int) -> None:
    rule = AugmentedGradCAM(views=4, factor=factor, variation=0.3, shrinkage=0.2)
    h, coarse = random(2, 2, 4 * factor, 4 * factor), random(4, 2, 2, 4, 4, seed=1)
    operators = [literal_operator(view, 4, factor) for view in VIEWS]
    expected = math.fsum(
        literal_objective(h[b, k].numpy(), coarse[:, b, k].numpy(), operators, rule)
        for b, k in np.ndindex(2, 2)
    )
    assert rule.objective(h, coarse, VIEWS).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("view", VIEWS, ids=repr)
def test_the_adjoint_is_the_transpose(view: View) -> None:
    """What the descent goes along: <D A h, g> = <h, A^T D^T g>, with the matrix and without."""
    rule = AugmentedGradCAM(views=1, factor=2, variation=0, shrinkage=0)
    h, g = random(1, 1, 10, 10), random(1, 1, 5, 5, seed=1)
    at_zero = rule._gradient(torch.zeros_like(h), g[None], [view])  # -f^2 A^T D^T g
    adjoint = -at_zero / rule.factor**2
    forth = F.avg_pool2d(view.on(h), rule.factor)
    assert (forth * g).sum().item() == pytest.approx((h * adjoint).sum().item(), rel=1e-11)
    matrix = literal_operator(view, 5, 2)
    np.testing.assert_allclose(forth.ravel(), matrix @ h.numpy().ravel(), atol=1e-12)
    np.testing.assert_allclose(adjoint.ravel(), matrix.T @ g.numpy().ravel(), atol=1e-12)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_without_total_variation_it_solves_the_normal_equations(factor: int) -> None:
    rule = AugmentedGradCAM(views=4, factor=factor, variation=0, shrinkage=0.5, steps=70)
    coarse = random(4, 1, 2, 3, 3)
    operators = [literal_operator(view, 3, factor) for view in VIEWS]
    found = rule._fine(coarse, VIEWS)
    for k in range(2):
        expected = solved(coarse[:, 0, k].numpy(), operators, factor, 0.5)
        np.testing.assert_allclose(found[0, k], expected, atol=1e-6)


def test_of_a_network_it_solves_for_the_grad_cams_of_the_views() -> None:
    """The whole rule: the peak that scales the problem is taken off again."""
    rule = AugmentedGradCAM(views=4, variation=0, shrinkage=0.5, steps=60)
    classifier = linear()
    found = class_maps(classifier, inputs_of(), CLASSES, method=rule)
    views = rule._drawn_views()
    coarse = torch.stack([class_maps(classifier, view.of(inputs_of()), CLASSES) for view in views])
    operators = [literal_operator(view, 8, 2) for view in views]
    for b, k in np.ndindex(2, 3):
        expected = solved(coarse[:, b, k].numpy(), operators, 2, 0.5)
        np.testing.assert_allclose(found[b, k], expected, atol=1e-5 * np.abs(expected).max())


# -- the minimum with total variation ----


def smooth_truth(cells: int = 6) -> Tensor:
    """A fine map of two bumps, one of them against the class; its peak is 1."""
    place = (torch.arange(2 * cells, dtype=torch.float64) + 0.5) / (2 * cells)
    y, x = place[:, None], place[None]
    bumps = torch.exp(-((x - 0.36) ** 2 + (y - 0.42) ** 2) / 0.006)
    return (bumps - 0.5 * torch.exp(-((x - 0.7) ** 2 + (y - 0.6) ** 2) / 0.02))[None, None]


def views_of_truth(rule: AugmentedGradCAM, truth: Tensor) -> Tensor:
    return torch.stack([F.avg_pool2d(view.on(truth), 2) for view in rule._drawn_views()])


def test_no_other_map_has_a_smaller_objective() -> None:
    rule = AugmentedGradCAM(views=6)
    coarse, views = views_of_truth(rule, smooth_truth()), rule._drawn_views()
    h = rule._fine(coarse, views)
    least = rule.objective(h, coarse, views).item()
    bilinear = F.interpolate(coarse[0], scale_factor=2, mode="bilinear", align_corners=False)
    others = [bilinear, torch.zeros_like(h), smooth_truth(), 0.98 * h, 1.02 * h]
    others += [h + size * random(*h.shape, seed=seed) for seed in range(5) for size in (0.01, 0.1)]
    for other in others:
        assert least < rule.objective(other, coarse, views).item()


def test_the_gradient_at_the_map_is_nearly_zero() -> None:
    """The objective is strictly convex, so there is the one minimum; more steps come closer to it."""
    rules = [AugmentedGradCAM(views=4, steps=steps) for steps in (5, 60, 150)]
    coarse, views = views_of_truth(rules[0], smooth_truth()), rules[0]._drawn_views()
    bilinear = F.interpolate(coarse[0], scale_factor=2, mode="bilinear", align_corners=False)
    slopes = [rules[0]._gradient(bilinear, coarse, views).norm().item()]
    slopes += [rule._gradient(rule._fine(coarse, views), coarse, views).norm().item() for rule in rules]
    assert slopes == sorted(slopes, reverse=True)
    assert slopes[2] < 0.01 * slopes[0]
    assert slopes[3] < 1e-3 * slopes[0]


def test_the_map_is_nearer_to_a_fine_truth_than_interpolation() -> None:
    rule = AugmentedGradCAM(steps=40)
    truth = smooth_truth()
    coarse = views_of_truth(rule, truth)
    bilinear = F.interpolate(coarse[0], scale_factor=2, mode="bilinear", align_corners=False)
    fine = rule._fine(coarse, rule._drawn_views())
    assert (fine - truth).norm() < 0.6 * (bilinear - truth).norm()
    assert fine.argmax() == truth.argmax()


def test_total_variation_flattens() -> None:
    coarse = random(4, 1, 1, 5, 5)
    spreads = [
        AugmentedGradCAM(views=4, variation=weight, steps=30)._fine(coarse, VIEWS).diff().abs().sum().item()
        for weight in (0.0, 0.05, 0.5)
    ]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[2] < 0.5 * spreads[0]


# -- known answers ----


def test_one_view_and_no_factor_is_grad_cam() -> None:
    plain = class_maps(linear(), inputs_of(), CLASSES)
    for shrinkage in (0.0, 0.25):
        rule = AugmentedGradCAM(views=1, factor=1, variation=0, shrinkage=shrinkage, steps=40)
        found = class_maps(linear(), inputs_of(), CLASSES, method=rule)
        torch.testing.assert_close(found * (1 + shrinkage), plain, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("factor", [2, 3])
def test_of_one_view_the_mean_of_each_cell_is_grad_cam(factor: int) -> None:
    rule = AugmentedGradCAM(views=1, factor=factor, variation=0, shrinkage=0, steps=20)
    found = class_maps(linear(), inputs_of(), CLASSES, method=rule)
    assert found.shape == (2, 3, 8 * factor, 8 * factor)
    plain = class_maps(linear(), inputs_of(), CLASSES)
    torch.testing.assert_close(F.avg_pool2d(found, factor), plain, rtol=1e-8, atol=1e-12)


def test_no_evidence_is_a_map_of_zeros_beside_a_class_that_has_some() -> None:
    module: Any = small_xrv(5).double()
    with torch.no_grad():
        module.classifier.weight[0] = 0
    found = class_maps(XRVDenseNet(module, Outputs(NAMES)), inputs_of(), CLASSES, method=QUICK)
    assert not found[CLASSES == 0].any()
    assert found[CLASSES != 0].abs().amax(dim=(1, 2)).min() > 0


def test_a_map_times_a_factor_is_refined_times_that_factor() -> None:
    """Whatever the scale of the logits, and of either sign: the fusion compares classes as they are."""
    module: Any = small_xrv(5).double()
    before = class_maps(XRVDenseNet(module, Outputs(NAMES)), inputs_of(), CLASSES, method=QUICK)
    with torch.no_grad():
        module.classifier.weight *= -1e-6
    after = class_maps(XRVDenseNet(module, Outputs(NAMES)), inputs_of(), CLASSES, method=QUICK)
    torch.testing.assert_close(after * -1e6, before, rtol=1e-7, atol=1e-10)


# -- views ----


def test_the_views_are_the_plain_one_and_some_within_the_limits() -> None:
    rule = AugmentedGradCAM(views=200, largest_angle=7, largest_shift=0.05)
    views = rule._drawn_views()
    assert len(views) == 200
    assert views[0] == View()
    assert len(set(views)) == 200
    angles = [view.angle for view in views]
    assert 6 < max(map(abs, angles)) <= 7
    assert min(angles) < 0 < max(angles)
    assert max(max(abs(view.right), abs(view.down)) for view in views) <= 0.05
    assert not any(view.flip or view.brightness or view.contrast != 1 for view in views)
    assert AugmentedGradCAM(views=1)._drawn_views() == [View()]


def test_the_seed_decides_the_views_and_nothing_else_does() -> None:
    classifier = hooked()
    torch.manual_seed(0)
    first = class_maps(classifier, inputs_of(), CLASSES, method=QUICK)
    state = torch.random.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(class_maps(classifier, inputs_of(), CLASSES, method=QUICK), first)
    torch.manual_seed(0)
    assert torch.equal(torch.random.get_rng_state(), state)
    other = AugmentedGradCAM(views=3, steps=8, seed=1)
    assert not torch.allclose(class_maps(classifier, inputs_of(), CLASSES, method=other), first)


def test_one_pass_for_each_view_serves_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, seen = linear(), []
    forward = classifier.forward

    def record(inputs: Tensor) -> Any:
        seen.append(inputs)
        return forward(inputs)

    monkeypatch.setattr(classifier, "forward", record)
    inputs = inputs_of()
    class_maps(classifier, inputs, CLASSES, method=QUICK)
    assert seen[0] is inputs
    assert [tuple(changed.shape) for changed in seen] == [(2, 1, 64, 64)] * 3
    for view, changed in zip(QUICK._drawn_views()[1:], seen[1:], strict=True):
        assert torch.equal(changed, view.of(inputs))


# -- as every rule ----


@both_heads
def test_a_batch_equals_one_image_and_one_class_at_a_time(build: Callable[[], Classifier]) -> None:
    """Also the total variation: whichever other classes are asked for, a map is the same."""
    classifier, inputs = build(), inputs_of()
    together = class_maps(classifier, inputs, CLASSES, method=QUICK)
    for b in range(2):
        for k in range(3):
            alone = class_maps(classifier, inputs[b : b + 1], CLASSES[b, k : k + 1], method=QUICK)
            torch.testing.assert_close(alone[0, 0], together[b, k], **EXACT)


def test_at_a_named_layer() -> None:
    found = class_maps(linear(), inputs_of(), CLASSES, method=QUICK, layers=["features.denseblock1"])
    assert found.shape == (2, 3, 32, 32)
    coarse = class_maps(linear(), inputs_of(), CLASSES, layers=["features.denseblock1"])
    assert F.cosine_similarity(F.avg_pool2d(found, 2).flatten(2), coarse.flatten(2), dim=2).min() > 0.5


@both_heads
def test_maps_are_fused(build: Callable[[], Classifier]) -> None:
    fused = fuse(class_maps(build(), inputs_of(), CLASSES, method=QUICK))
    assert torch.isfinite(fused.maps).all()
    assert not fused.without_evidence.all()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@both_heads
def test_in_each_gradient_mode(build: Callable[[], Classifier], mode: Callable[[], Any]) -> None:
    """The descent needs a gradient of its own, and leaves none."""
    classifier = build()
    expected = class_maps(classifier, inputs_of(), CLASSES, method=QUICK)
    with mode():
        found = class_maps(classifier, inputs_of(), CLASSES, method=QUICK)
    assert not found.requires_grad
    assert torch.equal(found, expected)


def test_nothing_is_written_to_what_is_given() -> None:
    inputs, classes = inputs_of(), CLASSES.clone()
    class_maps(linear(), inputs, classes, method=QUICK)
    assert torch.equal(inputs, inputs_of())
    assert torch.equal(classes, CLASSES)
    coarse = random(4, 1, 1, 5, 5)
    AugmentedGradCAM(views=4, steps=3)._fine(coarse, VIEWS)
    assert torch.equal(coarse, random(4, 1, 1, 5, 5))


@both_heads
def test_the_model_leaves_as_it_came_also_after_an_error(
    monkeypatch: pytest.MonkeyPatch, build: Callable[[], Classifier]
) -> None:
    classifier = build()
    unsettle(classifier.module)
    before = snapshot(classifier.module)
    class_maps(classifier, inputs_of(), CLASSES, method=QUICK)
    assert snapshot(classifier.module) == before

    forward, calls = classifier._forward, 0

    def fail_in_the_end(inputs: Tensor) -> Any:
        nonlocal calls
        calls += 1
        result = forward(inputs)
        if calls == 3:
            raise RuntimeError("out of memory")
        return result

    monkeypatch.setattr(classifier, "_forward", fail_in_the_end)
    with pytest.raises(RuntimeError, match="out of memory"):
        class_maps(classifier, inputs_of(), CLASSES, method=QUICK)
    assert calls == 3
    assert snapshot(classifier.module) == before


def test_progress_is_shown_by_view() -> None:
    shown: list[tuple[int, str]] = []

    def track(items: Sequence[Any], doing: str) -> Iterable[Any]:
        shown.append((len(items), doing))
        return items

    class_maps(linear(), inputs_of(), CLASSES, method=QUICK, track=track)
    assert shown == [(3, "Augmented Grad-CAM")]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_maps_are_at_least_float32(dtype: torch.dtype) -> None:
    classifier = linear()
    classifier.module.to(dtype)
    maps = class_maps(classifier, images().to(dtype), CLASSES, method=QUICK)
    assert maps.dtype == torch.promote_types(dtype, torch.float32)
    assert torch.isfinite(maps).all()


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"views": 0}, "views=0"),
        ({"factor": 0}, "factor=0"),
        ({"steps": 0}, "steps=0"),
        ({"variation": -0.1}, "variation=-0.1"),
        ({"shrinkage": -1}, "shrinkage=-1"),
        ({"shrinkage": math.nan}, "shrinkage=nan"),
    ],
)
def test_options_outside_of_their_set(options: dict[str, Any], found: str) -> None:
    with pytest.raises(OptionError, match=found):
        AugmentedGradCAM(**options)
