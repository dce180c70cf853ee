"""Score-CAM, Ablation-CAM and Recipro-CAM against the papers' loops: one image, class, channel at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from networks import NAMES, images, small_net, small_xrv, snapshot, unsettle
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain import HookedClassifier, Outputs, XRVDenseNet
from cxr_explain.cam import perturbation
from cxr_explain.cam.fusion import fuse
from cxr_explain.cam.perturbation import BLACK, ChannelMasks, ReciproCAM, ScoreCAM, ablation_cam, most_varied
from cxr_explain.cam.rules import Rule, class_maps
from cxr_explain.errors import OptionError
from cxr_explain.models.base import Classifier

Block = NDArray[np.float64]
CLASSES = torch.tensor([[3, 0, 4], [1, 2, 0]])
EXACT = {"rtol": 1e-9, "atol": 1e-11}
LAYER = "5"  # of the small net: its last ReLU
RULES: tuple[Rule, ...] = (
    ScoreCAM(),
    ScoreCAM(normalise="none"),
    ablation_cam,
    ReciproCAM(),
    ReciproCAM(True),
)


def _pooled_linear(module: nn.Module | None = None) -> Classifier:
    """A head in closed form."""
    return XRVDenseNet((module or small_xrv()).double().eval())


def _other_head(module: nn.Module | None = None) -> Classifier:
    """A head that is not linear."""
    return HookedClassifier((module or small_net()).double().eval(), LAYER, Outputs(NAMES), input_size=64)


both_heads = pytest.mark.parametrize("build", [_pooled_linear, _other_head])
each_rule = pytest.mark.parametrize(
    "rule", RULES, ids=lambda rule: getattr(rule, "__name__", None) or repr(rule)
)


def _images(count: int = 2) -> Tensor:
    return images(count).double()


def _maps(classifier: Classifier, rule: Rule, classes: Tensor = CLASSES, **options: Any) -> Tensor:
    return class_maps(classifier, _images(len(classes)), classes, method=rule, **options)


def _behind(classifier: Classifier, activations: Tensor) -> Tensor:
    """The logits of activations, (B, C, I, J), by the module's own layers; nothing of the package."""
    module: Any = classifier.module
    with torch.no_grad():
        if isinstance(classifier, XRVDenseNet):
            return module.classifier(F.adaptive_avg_pool2d(activations, 1).flatten(1))
        return module[int(LAYER) + 1 :](activations)


def _scores(classifier: Classifier, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        if isinstance(classifier, XRVDenseNet):
            module: Any = classifier.module
            return _behind(classifier, F.relu(module.features(inputs)))
        return classifier.module(inputs)


# -- Score-CAM ----


def _grown(values: Block, size: int) -> Block:
    """Bilinear interpolation: along the columns, then along the rows."""
    rows, columns = (_interpolation(count, size) for count in values.shape)
    return rows @ values @ columns.T


def _interpolation(count: int, size: int) -> Block:
    """Pixel centres lie at (i + 1/2) of their own width; beyond the outermost one its value is repeated."""
    weights = np.zeros((size, count))
    for i in range(size):
        place = min(max((i + 0.5) * count / size - 0.5, 0), count - 1)
        before = int(place)
        weights[i, before] += 1 - (place - before)
        weights[i, min(before + 1, count - 1)] += place - before
    return weights


def _score_cam_weights(
    classifier: Classifier, image: Tensor, a: Block, index: int, baseline: float, softmax: bool
) -> list[float]:
    empty = torch.full_like(image, baseline)
    nothing = float(_scores(classifier, empty[None])[0, index])
    increases = []
    for channel in a:
        mask = np.zeros(image.shape[-2:])
        if channel.max() > channel.min():
            grown = _grown(channel, image.shape[-1])
            mask = (grown - grown.min()) / (grown.max() - grown.min())
        seen = empty + (image - empty) * torch.from_numpy(mask)
        increases.append(float(_scores(classifier, seen[None])[0, index]) - nothing)
    if not softmax:
        return increases
    total = math.fsum(math.exp(increase) for increase in increases)
    return [math.exp(increase) / total for increase in increases]


def _literal_score_cam(
    classifier: Classifier, inputs: Tensor, classes: Tensor, baseline: float, softmax: bool
) -> Block:
    activations = classifier.forward(inputs).activations.numpy()
    B, _, I, J = activations.shape  # noqa: E741
    result = np.zeros((B, classes.shape[1], I, J))
    for b, k in np.ndindex(B, classes.shape[1]):
        index = int(classes[b, k])
        weights = _score_cam_weights(classifier, inputs[b], activations[b], index, baseline, softmax)
        for weight, channel in zip(weights, activations[b], strict=True):
            result[b, k] += weight * channel
    return result


@pytest.mark.parametrize(("baseline", "empty"), [("black", -1024.0), ("grey", 0.0)])
@pytest.mark.parametrize("normalise", ["softmax", "none"])
@both_heads
def test_score_cam_is_the_papers_loop(
    build: Callable[[], Classifier], normalise: Any, baseline: Any, empty: float
) -> None:
    classifier, classes = build(), CLASSES[:, :2]
    maps = _maps(classifier, ScoreCAM(baseline=baseline, normalise=normalise, batch_size=7), classes)
    expected = _literal_score_cam(classifier, _images(), classes, empty, normalise == "softmax")
    np.testing.assert_allclose(maps, expected, rtol=1e-8, atol=1e-9)


def _inputs_seen(monkeypatch: pytest.MonkeyPatch, classifier: Classifier) -> list[Tensor]:
    """Every input that goes through the network by itself, one entry for each forward pass."""
    seen: list[Tensor] = []
    run = classifier.run

    def record(inputs: Tensor) -> Tensor:
        seen.append(inputs.clone())
        return run(inputs)

    monkeypatch.setattr(classifier, "run", record)
    return seen


def _dead_constant_and_twin_channels() -> nn.Module:
    """Of the last layer channels 0 to 3 are 0 everywhere, channel 4 is 2 everywhere, 10 is twice 9."""
    module: Any = small_xrv()
    norm = module.features.norm5
    norm.register_forward_pre_hook(lambda _, args: (_copied(args[0], 9, 10),))
    with torch.no_grad():
        norm.weight[:5], norm.bias[:4], norm.bias[4] = 0, -1, 2
        for statistic in (norm.running_mean, norm.running_var):
            statistic[10] = statistic[9]
        norm.weight[10], norm.bias[10] = 2 * norm.weight[9], 2 * norm.bias[9]
    return module


def _copied(tensor: Tensor, source: int, target: int) -> Tensor:
    result = tensor.clone()
    result[:, target] = result[:, source]
    return result


def test_constant_channels_cost_no_pass_and_equal_masks_one(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = _pooled_linear(_dead_constant_and_twin_channels())
    a = classifier.forward(_images(1)).activations[0]
    assert not a[:4].any()
    assert (a[4] == 2).all()
    assert torch.equal(a[10], 2 * a[9])
    assert a[9].any()
    varied = int((a.amax(dim=(1, 2)) > a.amin(dim=(1, 2))).sum())
    assert varied <= len(a) - 5

    seen = _inputs_seen(monkeypatch, classifier)
    maps = _maps(classifier, ScoreCAM(), CLASSES[:1])
    assert sum(map(len, seen)) == 1 + varied - 1  # black; and the twins once
    monkeypatch.undo()
    expected = _literal_score_cam(classifier, _images(1), CLASSES[:1], BLACK, softmax=True)
    np.testing.assert_allclose(maps, expected, rtol=1e-8, atol=1e-9)


def test_channels_of_one_position_share_a_mask() -> None:
    a = torch.zeros(2, 3, 2, 2)
    a[0, 0, 0, 1], a[0, 1, 0, 1], a[0, 2, 1, 1] = 0.3, 7.0, 1.0
    masks = ChannelMasks.of(a)
    assert masks.row.tolist() == [[1, 1, 2], [0, 0, 0]] or masks.row.tolist() == [[2, 2, 1], [0, 0, 0]]
    assert masks.image.tolist() == [0, 0]
    assert len(masks.patterns) == 2


def test_masks_span_zero_to_one_at_the_inputs_size() -> None:
    masks = ChannelMasks.of(torch.randn(2, 5, 3, 4, dtype=torch.float64) * 1e3)
    grown = masks.at(slice(2, 9), (32, 48))
    assert grown.shape == (7, 1, 32, 48)
    torch.testing.assert_close(grown.amin(dim=(1, 2, 3)), torch.zeros(7, dtype=torch.float64))
    torch.testing.assert_close(grown.amax(dim=(1, 2, 3)), torch.ones(7, dtype=torch.float64))


def test_only_constant_channels() -> None:
    """No mask at all: the weights are those of no increase."""
    module: Any = small_xrv()
    with torch.no_grad():
        module.features.norm5.weight.zero_()
        module.features.norm5.bias.fill_(3)
    classifier = _pooled_linear(module)
    torch.testing.assert_close(
        _maps(classifier, ScoreCAM()), torch.full((2, 3, 16, 16), 3.0).double()[..., :8, :8]
    )
    assert not _maps(classifier, ScoreCAM(normalise="none")).any()


def test_the_softmax_weights_are_positive_and_sum_to_one() -> None:
    """So a class map lies between the smallest and the largest channel at each position."""
    classifier = _pooled_linear()
    a = classifier.forward(_images()).activations
    maps = _maps(classifier, ScoreCAM())
    assert (maps <= a.amax(dim=1, keepdim=True) + 1e-12).all()
    assert (maps >= a.amin(dim=1, keepdim=True) - 1e-12).all()


def test_increases_can_count_against_a_class() -> None:
    """What the softmax hides."""
    assert (_maps(_pooled_linear(), ScoreCAM(normalise="none")) < 0).any()
    assert (_maps(_pooled_linear(), ScoreCAM()) >= 0).all()


def test_a_subset_is_the_most_varied_channels_of_each_image() -> None:
    classifier = _other_head()
    a = classifier.forward(_images()).activations
    tried = most_varied(a, 3)
    for image, kept in zip(a, tried, strict=True):
        spread = [float(np.var(channel.numpy())) for channel in image]
        best = sorted(sorted(range(len(spread)), key=lambda c: (-spread[c], c))[:3])
        assert torch.equal(kept, image[best])
    expected = np.zeros((2, 1, *a.shape[2:]))
    for b, (image, kept) in enumerate(zip(_images(), tried.numpy(), strict=True)):
        weights = _score_cam_weights(classifier, image, kept, 1, BLACK, softmax=True)
        expected[b, 0] = sum(weight * channel for weight, channel in zip(weights, kept, strict=True))
    maps = _maps(classifier, ScoreCAM(channels=3), torch.tensor([[1], [1]]))
    np.testing.assert_allclose(maps, expected, rtol=1e-8, atol=1e-9)


def test_ties_between_channels_go_to_the_first() -> None:
    shape = torch.tensor([[0.0, 1.0], [2.0, 4.0]])
    a = torch.stack([shape, 9 + 0 * shape, 2 * shape, shape + 5, shape.T])[None]
    assert torch.equal(most_varied(a, 3)[0], a[0, [0, 2, 3]])


def test_as_many_channels_as_there_are_is_all_of_them() -> None:
    classifier = _other_head()
    all_of_them = _maps(classifier, ScoreCAM())
    assert torch.equal(_maps(classifier, ScoreCAM(channels=8)), all_of_them)
    assert torch.equal(_maps(classifier, ScoreCAM(channels=10_000)), all_of_them)


@pytest.mark.parametrize("count", [1, 3])
def test_masked_passes_serve_all_classes_in_bounded_batches(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    classifier = _pooled_linear()
    seen = _inputs_seen(monkeypatch, classifier)
    _maps(classifier, ScoreCAM(batch_size=5), CLASSES[:, :count])
    distinct = len(ChannelMasks.of(classifier.forward(_images()).activations).patterns)
    assert sum(map(len, seen)) == 1 + distinct
    assert max(map(len, seen)) == 5
    assert list(map(len, seen)).count(5) == distinct // 5  # full ones, whatever image they are of


def test_what_a_mask_hides_is_black(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = _other_head()
    seen = _inputs_seen(monkeypatch, classifier)
    _maps(classifier, ScoreCAM(), CLASSES[:1])
    passed = torch.cat(seen[1:])  # the first is the explained pass itself
    assert (passed[0] == BLACK).all()
    assert (passed <= torch.maximum(_images(1), torch.tensor(BLACK)) + 1e-9).all()
    assert passed.flatten(1).amin(dim=1).eq(BLACK).all()


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"channels": 0}, "channels=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"baseline": "white"}, "baseline='white'"),
        ({"normalise": "l1"}, "normalise='l1'"),
    ],
)
def test_options_outside_of_their_set(options: dict[str, Any], found: str) -> None:
    with pytest.raises(OptionError, match=found):
        ScoreCAM(**options)


# -- Ablation-CAM ----


def _literal_ablation_cam(classifier: Classifier, inputs: Tensor, classes: Tensor) -> Block:
    a = classifier.forward(inputs).activations
    scores = _scores(classifier, inputs)
    B, C, I, J = a.shape  # noqa: E741
    result = np.zeros((B, classes.shape[1], I, J))
    for b, k, c in np.ndindex(B, classes.shape[1], C):
        ablated = a[b : b + 1].clone()
        ablated[0, c] = 0
        drop = scores[b, classes[b, k]] - _behind(classifier, ablated)[0, classes[b, k]]
        result[b, k] += float(drop) * a[b, c].numpy()
    return result


@both_heads
def test_ablation_cam_is_the_papers_loop(build: Callable[[], Classifier]) -> None:
    classifier = build()
    expected = _literal_ablation_cam(classifier, _images(), CLASSES)
    np.testing.assert_allclose(_maps(classifier, ablation_cam), expected, **EXACT)


def test_ablation_needs_no_pass_behind_a_linear_head(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = _pooled_linear()
    seen = _inputs_seen(monkeypatch, classifier)
    for rule in (ablation_cam, ReciproCAM(), ReciproCAM(gaussian=True)):
        _maps(classifier, rule)
    assert not seen


def test_ablation_of_a_negative_score_keeps_its_sign() -> None:
    """A bias is nobody's evidence; divided by the score, the map would turn over."""
    module: Any = small_xrv()
    before = _maps(_pooled_linear(module), ablation_cam)
    with torch.no_grad():
        module.classifier.bias -= 100
    assert (_scores(_pooled_linear(module), _images()) < 0).all()
    torch.testing.assert_close(_maps(_pooled_linear(module), ablation_cam), before)


def test_channels_that_are_zero_cost_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = small_net()
    with torch.no_grad():
        module[4].weight[:3], module[4].bias[:3] = 0, -1
    classifier = _other_head(module)
    expected = _literal_ablation_cam(classifier, _images(), CLASSES)
    seen = _inputs_seen(monkeypatch, classifier)
    maps = _maps(classifier, ablation_cam)
    assert sum(map(len, seen)) == 2 + 2 * (8 - 3)
    np.testing.assert_allclose(maps, expected, **EXACT)


# -- Recipro-CAM ----


def _window(gaussian: bool) -> Block:
    if not gaussian:
        return np.array([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]])
    return np.array([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16


def _literal_recipro_cam(classifier: Classifier, inputs: Tensor, classes: Tensor, gaussian: bool) -> Block:
    a = classifier.forward(inputs).activations
    B, _, I, J = a.shape  # noqa: E741
    nothing = _behind(classifier, torch.zeros_like(a[:1]))[0]
    result = np.zeros((B, classes.shape[1], I, J))
    for b, i, j in np.ndindex(B, I, J):
        kept = torch.zeros_like(a[:1])
        for di, dj in np.ndindex(3, 3):
            y, x = i + di - 1, j + dj - 1
            if 0 <= y < I and 0 <= x < J:
                kept[0, :, y, x] = a[b, :, y, x] * _window(gaussian)[di, dj]
        scores = _behind(classifier, kept)[0]
        for k in range(classes.shape[1]):
            result[b, k, i, j] = float(scores[classes[b, k]] - nothing[classes[b, k]])
    return result


@pytest.mark.parametrize("gaussian", [False, True])
@both_heads
def test_recipro_cam_is_the_papers_loop(build: Callable[[], Classifier], gaussian: bool) -> None:
    classifier = build()
    expected = _literal_recipro_cam(classifier, _images(), CLASSES, gaussian)
    np.testing.assert_allclose(_maps(classifier, ReciproCAM(gaussian)), expected, **EXACT)


def test_recipro_cam_behind_a_linear_head_is_cam_and_sums_to_the_score() -> None:
    classifier: Any = _pooled_linear()
    maps = _maps(classifier, ReciproCAM())
    torch.testing.assert_close(maps, _maps(classifier, "cam") / 64)
    evidence = (_scores(classifier, _images()) - classifier.module.classifier.bias).gather(1, CLASSES)
    torch.testing.assert_close(maps.sum(dim=(2, 3)), evidence.detach())


def test_recipro_cam_does_not_feel_the_bias() -> None:
    module: Any = small_net()
    before = _maps(_other_head(module), ReciproCAM())
    with torch.no_grad():
        module[-1].bias += 100
    torch.testing.assert_close(_maps(_other_head(module), ReciproCAM()), before, **EXACT)


# -- all three ----


@each_rule
@both_heads
def test_a_batch_equals_one_at_a_time(build: Callable[[], Classifier], rule: Rule) -> None:
    classifier = build()
    together = _maps(classifier, rule)
    for b in range(2):
        for k in range(3):
            alone = class_maps(classifier, _images()[b : b + 1], CLASSES[b : b + 1, k : k + 1], method=rule)
            torch.testing.assert_close(alone[0, 0], together[b, k], **EXACT)


@each_rule
@both_heads
def test_little_memory_gives_the_same(
    monkeypatch: pytest.MonkeyPatch, build: Callable[[], Classifier], rule: Rule
) -> None:
    classifier = build()
    before = _maps(classifier, rule)
    monkeypatch.setattr(perturbation, "_ELEMENTS", 1)
    torch.testing.assert_close(_maps(classifier, rule), before, **EXACT)


def test_changed_activations_are_held_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = _other_head()
    forward = classifier.forward(_images())
    sizes: list[int] = []
    logits_of = type(forward).logits_of

    def record(self: Any, variants: Tensor) -> Tensor:
        sizes.append(variants.numel())
        return logits_of(self, variants)

    monkeypatch.setattr(type(forward), "logits_of", record)
    budget = 3 * forward.activations.numel()
    monkeypatch.setattr(perturbation, "_ELEMENTS", budget + 1)
    _maps(classifier, ablation_cam)
    _maps(classifier, ReciproCAM(gaussian=True))
    assert max(sizes) == budget


@each_rule
def test_an_earlier_layer_of_a_pooled_linear_model(rule: Rule) -> None:
    """Where the head behind the layer is not linear any more: the passes, against the whole network."""
    classifier = _pooled_linear()
    maps = _maps(classifier, rule, layers=["features.denseblock1"])
    assert maps.shape == (2, 3, 16, 16)
    if rule is ablation_cam:
        module: Any = classifier.module
        a = _output_of(module.features.denseblock1, module, _images())
        changed = a.clone()
        changed[:, 4] = 0
        drops = _scores(classifier, _images()) - _with_output(
            module.features.denseblock1, changed, module, _images()
        )
        without = _maps_without_channel(classifier, a, 4)
        torch.testing.assert_close(
            maps - without, (drops.gather(1, CLASSES)[..., None, None] * a[:, None, 4]).detach(), **EXACT
        )


def _maps_without_channel(classifier: Classifier, a: Tensor, left_out: int) -> Tensor:
    module: Any = classifier.module
    scores, result = _scores(classifier, _images()), torch.zeros(2, 3, *a.shape[2:], dtype=a.dtype)
    for c in range(a.shape[1]):
        if c == left_out:
            continue
        changed = a.clone()
        changed[:, c] = 0
        drops = scores - _with_output(module.features.denseblock1, changed, module, _images())
        result += drops.gather(1, CLASSES)[..., None, None] * a[:, None, c]
    return result.detach()


def _output_of(layer: nn.Module, module: Any, inputs: Tensor) -> Tensor:
    kept: list[Tensor] = []
    handle = layer.register_forward_hook(lambda *args: kept.append(args[2].detach().clone()))
    module(inputs)
    handle.remove()
    return kept[0]


def _with_output(layer: nn.Module, output: Tensor, module: Any, inputs: Tensor) -> Tensor:
    handle = layer.register_forward_hook(lambda *_: output.clone())
    scores = module.classifier(F.relu(module.features(inputs)).mean(dim=(2, 3)))
    handle.remove()
    return scores


@each_rule
@both_heads
def test_maps_can_be_fused(build: Callable[[], Classifier], rule: Rule) -> None:
    fused = fuse(_maps(build(), rule))
    assert fused.maps.isfinite().all()
    assert fused.maps.any()


@each_rule
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [(torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)],
)
@both_heads
def test_maps_are_at_least_float32(
    build: Callable[[], Classifier], rule: Rule, dtype: torch.dtype, expected: torch.dtype
) -> None:
    classifier = build()
    classifier.module.to(dtype)
    maps = class_maps(classifier, _images().to(dtype), CLASSES, method=rule)
    assert maps.dtype == expected
    assert maps.isfinite().all()


@each_rule
def test_activations_that_are_zero(rule: Rule) -> None:
    module: Any = small_net()
    with torch.no_grad():
        module[4].weight.zero_()
        module[4].bias.fill_(-1)
    assert not _maps(_other_head(module), rule).any()


@pytest.mark.parametrize("gaussian", [False, True])
def test_a_position_without_activations_is_exactly_zero(gaussian: bool) -> None:
    """Also beside an image that has some there; a trace of rounding would be scaled up by the fusion."""
    torch.manual_seed(0)
    head = (nn.Flatten(), nn.Linear(3 * 64, 16), nn.Tanh(), nn.Linear(16, len(NAMES)))
    module = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.ReLU(), *head).double().eval()
    classifier = HookedClassifier(module, "1", Outputs(NAMES), input_size=8)
    inputs = images(2, size=8).double().abs() / 1024
    inputs[1, :, :, :5] = 0
    maps = class_maps(classifier, inputs, CLASSES, method=ReciproCAM(gaussian))
    assert not maps[1, :, :, : 4 if gaussian else 5].any()
    assert maps[1, :, :, 4 if gaussian else 5 :].ne(0).any()
    assert maps[0].ne(0).any()


@each_rule
@both_heads
def test_no_class_is_no_map(build: Callable[[], Classifier], rule: Rule) -> None:
    assert _maps(build(), rule, torch.zeros(2, 0, dtype=torch.int64)).shape[:2] == (2, 0)


@pytest.mark.parametrize(
    ("rule", "title", "least"),
    [
        (ScoreCAM(batch_size=3), "Score-CAM", 3),
        (ablation_cam, "Ablation-CAM", 1),
        (ReciproCAM(), "Recipro-CAM", 2),
    ],
)
def test_progress_is_shown_within_an_image(rule: Rule, title: str, least: int) -> None:
    shown: list[tuple[int, str]] = []

    def track(items: Sequence[Any], doing: str) -> Iterable[Any]:
        shown.append((len(items), doing))
        return items

    _maps(_other_head(), rule, CLASSES[:1], track=track)
    ((steps, doing),) = shown
    assert doing == title
    assert steps >= least


@each_rule
@both_heads
def test_the_model_leaves_as_it_came(build: Callable[[], Classifier], rule: Rule) -> None:
    classifier = build()
    unsettle(classifier.module)
    before = snapshot(classifier.module)
    _maps(classifier, rule)
    assert snapshot(classifier.module) == before


@pytest.mark.parametrize(
    ("build", "rule"), [(_pooled_linear, ScoreCAM())] + [(_other_head, r) for r in RULES]
)
def test_the_model_leaves_as_it_came_after_an_error(
    monkeypatch: pytest.MonkeyPatch, build: Callable[[], Classifier], rule: Rule
) -> None:
    classifier = build()
    unsettle(classifier.module)
    before = snapshot(classifier.module)
    run, calls = classifier.run, 0

    def fail_in_the_end(inputs: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        scores = run(inputs)  # with all hooks in place
        if calls > 1:
            raise RuntimeError("out of memory")
        return scores

    monkeypatch.setattr(classifier, "run", fail_in_the_end)
    with pytest.raises(RuntimeError, match="out of memory"):
        _maps(classifier, rule)
    assert calls == 2
    assert snapshot(classifier.module) == before
