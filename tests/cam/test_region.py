"""Seg-XRes-CAM against plain autograd of a region's score, pooled by windows in loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from networks import NAMES, images, small_net, small_xrv, snapshot, unsettle
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from cxr_explain import HookedClassifier, Outputs, XRVDenseNet
from cxr_explain.cam.fusion import fuse
from cxr_explain.cam.region import SegXResCAM
from cxr_explain.cam.rules import class_maps
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.base import Classifier

Block = NDArray[np.float64]
Box = tuple[float, float, float, float]
CLASSES = torch.tensor([[3, 0, 4], [1, 2, 0]])
EARLY = "features.denseblock1"  # 16 x 16; the last map has 8 x 8
BOX: Box = (0.25, 0.5, 0.875, 1.0)  # whole cells of the last map
UNEVEN: Box = (0.3, 0.07, 0.71, 0.66)  # parts of them
EXACT = {"rtol": 1e-9, "atol": 1e-12}
each_window = pytest.mark.parametrize(
    ("window", "pool"), [(1, "mean"), (2, "mean"), (3, "max"), (5, "mean"), (99, "max")]
)


def linear() -> XRVDenseNet:
    return XRVDenseNet(small_xrv(5).double(), Outputs(NAMES), input_size=64)


def hooked() -> HookedClassifier:
    return HookedClassifier(small_net().double(), "5", Outputs(NAMES), input_size=64)


both_heads = pytest.mark.parametrize("build", [linear, hooked])


def maps_of(classifier: Classifier, rule: Any, layer: str = "", count: int = 2) -> Tensor:
    layers = (layer,) if layer else ()
    return class_maps(classifier, images(count), CLASSES[:count], method=rule, layers=layers)


# -- loops over numbers ----


def cover(box: Box, rows: int, columns: int) -> Block:
    """How much of each cell lies in the box."""
    left, top, right, bottom = box
    result = np.zeros((rows, columns))
    for i, j in np.ndindex(rows, columns):
        wide = min(right, (j + 1) / columns) - max(left, j / columns)
        high = min(bottom, (i + 1) / rows) - max(top, i / rows)
        result[i, j] = max(wide, 0) * columns * max(high, 0) * rows
    return result


def literal_gradients(classifier: Any, box: Box | None) -> tuple[Block, Block]:
    """Activations of the early layer, and the gradient of each class's score of a region."""
    module, kept = classifier.module.eval(), []
    layer = module.get_submodule(EARLY)
    handle = layer.register_forward_hook(lambda *args: kept.append(args[2]))
    last = F.relu(module.features(images().double()))
    handle.remove()
    I, J = last.shape[-2:]  # noqa: E741
    share = torch.from_numpy(np.ones((I, J)) if box is None else cover(box, I, J))
    gradients = torch.zeros(2, 3, *kept[0].shape[1:], dtype=torch.float64)
    for b, k in np.ndindex(2, 3):
        weight = module.classifier.weight[CLASSES[b, k]]
        score = sum((weight @ last[b, :, i, j]) * share[i, j] / (I * J) for i in range(I) for j in range(J))
        (whole,) = torch.autograd.grad(score, kept[0], retain_graph=True)
        gradients[b, k] = whole[b]
    return kept[0].detach().numpy(), gradients.numpy()


def literal_pooled(gradient: Block, window: int, pool: str) -> Block:
    """Each position gets the mean, or the largest, of the window that it lies in; (I, J)."""
    I, J = gradient.shape  # noqa: E741
    result = np.zeros((I, J))
    for top in range(0, I, window):
        for left in range(0, J, window):
            here = np.index_exp[top : min(top + window, I), left : min(left + window, J)]
            values = [float(value) for value in gradient[here].flat]
            result[here] = math.fsum(values) / len(values) if pool == "mean" else max(values)
    return result


def literal_maps(activations: Block, gradients: Block, window: int, pool: str) -> Block:
    B, K, C, I, J = gradients.shape  # noqa: E741
    result = np.zeros((B, K, I, J))
    for b, k, c in np.ndindex(B, K, C):
        pooled = gradients[b, k, c] if window == 1 else literal_pooled(gradients[b, k, c], window, pool)
        result[b, k] += pooled * activations[b, c]
    return result


@pytest.mark.parametrize(("box", "window", "pool"), [(UNEVEN, 3, "mean"), (BOX, 2, "max"), (None, 5, "mean")])
def test_at_an_early_layer_it_is_the_regions_gradient_pooled_by_windows(
    box: Box | None, window: int, pool: Any
) -> None:
    """16 positions are no multiple of 3, nor of 5: the windows at the end are smaller."""
    classifier = linear()
    maps = maps_of(classifier, SegXResCAM(box, window, pool), EARLY)
    activations, gradients = literal_gradients(classifier, box)
    assert np.abs(gradients).max() > 0
    np.testing.assert_allclose(maps, literal_maps(activations, gradients, window, pool), **EXACT)


@pytest.mark.parametrize("window", range(1, 17))
@pytest.mark.parametrize("size", [(7, 7), (14, 5), (1, 3)])
def test_windows_of_any_size(size: tuple[int, int], window: int) -> None:
    gradients = torch.randn(1, 2, 1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for pool in ("mean", "max"):
        found = SegXResCAM(window=window, pool=pool)._pooled(gradients)  # type: ignore[arg-type]
        for k in range(2):
            expected = literal_pooled(gradients[0, k, 0].numpy(), window, pool)
            np.testing.assert_allclose(found[0, k, 0], expected, rtol=1e-12)


# -- the last layer ----


@each_window
@pytest.mark.parametrize("box", [BOX, UNEVEN])
def test_at_the_last_layer_it_is_hirescam_within_the_region(box: Box, window: int, pool: Any) -> None:
    maps = maps_of(linear(), SegXResCAM(box, window, pool))
    expected = maps_of(linear(), "hirescam") * torch.from_numpy(cover(box, 8, 8))
    torch.testing.assert_close(maps, expected, **EXACT)


@pytest.mark.parametrize("box", [BOX, UNEVEN])
def test_the_map_sums_to_the_regions_score_less_the_bias(box: Box) -> None:
    classifier: Any = linear()
    module = classifier.module.eval()
    with torch.no_grad():
        last = F.relu(module.features(images().double())) * torch.from_numpy(cover(box, 8, 8))
        scores = last.mean(dim=(2, 3)) @ module.classifier.weight.T
    sums = maps_of(classifier, SegXResCAM(box)).sum(dim=(2, 3))
    torch.testing.assert_close(sums, scores.gather(1, CLASSES), **EXACT)


def test_regions_that_share_out_the_square_share_out_the_map() -> None:
    classifier = linear()
    parts: list[Box] = [(0, 0, 0.3, 1), (0.3, 0, 1, 0.6), (0.3, 0.6, 1, 1)]
    for layer in ("", EARLY):
        whole = maps_of(classifier, SegXResCAM(), layer)
        total = sum(maps_of(classifier, SegXResCAM(part), layer) for part in parts)
        torch.testing.assert_close(total, whole, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("layer", ["", EARLY])
def test_a_region_of_everything_is_the_whole(layer: str) -> None:
    classifier = linear()
    everything = maps_of(classifier, SegXResCAM((0, 0, 1, 1)), layer)
    torch.testing.assert_close(everything, maps_of(classifier, SegXResCAM(), layer), **EXACT)


@pytest.mark.parametrize("layer", ["", EARLY])
def test_without_windows_the_whole_is_hirescam(layer: str) -> None:
    classifier = linear()
    found = maps_of(classifier, SegXResCAM(window=1), layer)
    torch.testing.assert_close(found, maps_of(classifier, "hirescam", layer), **EXACT)


def test_a_region_away_from_the_evidence_has_none() -> None:
    """Exactly zero outside of the region; everywhere, where the region has no activation."""
    inside = torch.from_numpy(cover(BOX, 8, 8)) > 0
    maps = maps_of(linear(), SegXResCAM(BOX))
    assert not maps[..., ~inside].any()
    assert maps[..., inside].all()

    classifier = linear()
    body = classifier._body
    classifier._body = lambda inputs: body(inputs) * ~inside  # a chest with nothing there
    assert not maps_of(classifier, SegXResCAM(BOX)).any()
    elsewhere = maps_of(classifier, SegXResCAM((0.25, 0, 0.875, 0.5)))
    torch.testing.assert_close(elsewhere, maps_of(linear(), SegXResCAM((0.25, 0, 0.875, 0.5))), **EXACT)


def test_a_box_smaller_than_a_cell() -> None:
    box: Box = (0.51, 0.26, 0.53, 0.27)
    maps = maps_of(linear(), SegXResCAM(box, 1))
    assert maps.abs().amax(dim=(0, 1)).nonzero().tolist() == [[2, 4]]
    expected = maps_of(linear(), "hirescam")[..., 2, 4] * (0.02 * 8 * 0.01 * 8)
    torch.testing.assert_close(maps[..., 2, 4], expected, **EXACT)


# -- a head that is not linear ----


@each_window
def test_the_whole_of_any_head_is_the_pooled_gradient(window: int, pool: Any) -> None:
    classifier = hooked()
    forward = classifier.forward(images())
    expected = literal_maps(forward.activations.numpy(), forward.gradients(CLASSES).numpy(), window, pool)
    np.testing.assert_allclose(maps_of(classifier, SegXResCAM(None, window, pool)), expected, **EXACT)


def test_a_region_needs_a_linear_head() -> None:
    with pytest.raises(ModelError, match="score of a region"):
        maps_of(hooked(), SegXResCAM(BOX))


# -- both ----


@pytest.mark.parametrize(
    ("build", "box", "layer"), [(linear, UNEVEN, ""), (linear, UNEVEN, EARLY), (hooked, None, "")]
)
def test_a_batch_equals_one_image_and_one_class_at_a_time(
    build: Callable[[], Classifier], box: Box | None, layer: str
) -> None:
    classifier, inputs, layers = build(), images(), (layer,) if layer else ()
    together = class_maps(classifier, inputs, CLASSES, method=SegXResCAM(box), layers=layers)
    for b in range(2):
        for k in range(3):
            alone = class_maps(
                classifier, inputs[b : b + 1], CLASSES[b, k : k + 1], method=SegXResCAM(box), layers=layers
            )
            torch.testing.assert_close(alone[0, 0], together[b, k], **EXACT)


@both_heads
def test_maps_are_fused(build: Callable[[], Classifier]) -> None:
    fused = fuse(maps_of(build(), "seg-xres-cam"))
    assert torch.isfinite(fused.maps).all()
    assert not fused.without_evidence.all()


def test_nothing_is_written_to_what_is_given() -> None:
    classifier, inputs, classes = linear(), images(), CLASSES.clone()
    body, before = classifier._body, class_maps(classifier, images(), CLASSES)
    class_maps(classifier, inputs, classes, method=SegXResCAM(BOX))
    assert torch.equal(inputs, images())
    assert torch.equal(classes, CLASSES)
    assert classifier._body is body
    assert torch.equal(class_maps(classifier, inputs, classes), before)


def test_a_restricted_classifier_scores_its_region() -> None:
    """Of two regions, one within the other, what they share; and the bias stays."""
    classifier: Any = linear()
    left, upper = torch.zeros(4, 4), torch.zeros(4, 4)
    left[:, :2], upper[:2] = 1, 1
    both = classifier.restricted(left).restricted(upper)
    quarter = classifier.restricted(left * upper)
    torch.testing.assert_close(both.logits(images()), quarter.logits(images()))
    bias = classifier.module.classifier.bias.detach().expand(2, -1)
    torch.testing.assert_close(classifier.restricted(torch.zeros(4, 4)).logits(images()), bias)
    torch.testing.assert_close(
        classifier.restricted(torch.ones(4, 4)).logits(images()), classifier.logits(images())
    )


@pytest.mark.parametrize("layer", ["", EARLY])
def test_the_model_leaves_as_it_came_also_after_an_error(monkeypatch: pytest.MonkeyPatch, layer: str) -> None:
    classifier = linear()
    unsettle(classifier.module)
    before = snapshot(classifier.module)
    maps_of(classifier, SegXResCAM(BOX), layer)
    assert snapshot(classifier.module) == before

    body, calls = classifier._body, 0

    def fail_the_second_time(inputs: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        result = body(inputs)
        if calls > 1:
            raise RuntimeError("out of memory")
        return result

    monkeypatch.setattr(classifier, "_body", fail_the_second_time)
    with pytest.raises(RuntimeError, match="out of memory"):
        maps_of(classifier, SegXResCAM(BOX), layer)
    assert calls == 2
    assert snapshot(classifier.module) == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_maps_are_at_least_float32(dtype: torch.dtype) -> None:
    classifier = linear()
    classifier.module.to(dtype)
    maps = class_maps(classifier, images().to(dtype), CLASSES, method=SegXResCAM(BOX))
    assert maps.dtype == torch.promote_types(dtype, torch.float32)
    assert torch.isfinite(maps).all()


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"region": (0.5, 0, 0.5, 1)}, "0.5, 0, 0.5, 1"),
        ({"region": (0, 0.6, 1, 0.4)}, "0, 0.6, 1, 0.4"),
        ({"region": (-0.1, 0, 1, 1)}, "-0.1"),
        ({"region": (0, 0, 1, 1.01)}, "1.01"),
        ({"region": (0, 0, 112, 112)}, "112"),
        ({"region": (0, 0, math.nan, 1)}, "nan"),
        ({"region": (0, 1)}, r"\(0, 1\)"),
        ({"window": 0}, "window=0"),
        ({"pool": "median"}, "pool='median'"),
    ],
)
def test_options_outside_of_their_set(options: dict[str, Any], found: str) -> None:
    with pytest.raises(OptionError, match=found):
        SegXResCAM(**options)
