"""Scores of an image that are not its own are refused, whatever kind of model gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from networks import NAMES, images, small_monai, small_net, small_xrv, snapshot, unsettle
from torch import Tensor, nn
from torch.nn import functional as F

from cxr_explain import Explainer, HookedClassifier, Outputs, explain
from cxr_explain.errors import ModelError

Change = Callable[[Tensor], Tensor]
RANDOM: list[Change] = [lambda x: F.dropout(x, 0.5, True), lambda x: x + torch.randn_like(x)]
OF_THE_BATCH: list[Change] = [lambda x: x - x.mean(0), lambda x: x + x.flip(0), lambda x: x * x.amax(0)]


def hooked(change: Change) -> HookedClassifier:
    net = small_net()
    net[5].register_forward_hook(lambda _module, _inputs, output: change(output))
    return HookedClassifier(nn.Sequential(net), "0.2", Outputs(NAMES), input_size=64)


def of_a_family(change: Change) -> nn.Module:
    net: Any = small_xrv()
    net.features.register_forward_hook(lambda _module, _inputs, output: change(output))
    return net


def without_running_statistics(net: Any) -> Any:
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None
    return net


@pytest.mark.parametrize("build", [hooked, of_a_family])
@pytest.mark.parametrize("change", RANDOM)
@pytest.mark.parametrize("count", [1, 3])
def test_scores_that_change_from_call_to_call(
    build: Callable[[Change], Any], change: Change, count: int
) -> None:
    with pytest.raises(ModelError, match=r"differ from call to call \(.*, then .*\).*dropout that stays on"):
        Explainer(build(change)).explain_inputs(images(count))


@pytest.mark.parametrize("build", [hooked, of_a_family])
@pytest.mark.parametrize("change", OF_THE_BATCH)
def test_scores_that_depend_on_batch_mates(build: Callable[[Change], Any], change: Change) -> None:
    message = r"depend on the other images in the batch \(.* among 3, .* without them\).*one image at a time"
    explainer = Explainer(build(change))
    explainer.explain_inputs(images(1))  # by itself, its scores are its own
    for _ in range(2):
        with pytest.raises(ModelError, match=message):
            explainer.explain_inputs(images(3))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_batch_norms_without_running_statistics(dtype: Any) -> None:
    module = without_running_statistics(small_net())
    nets = (
        Explainer(HookedClassifier(module, "5", NAMES, input_size=64), dtype=dtype),
        Explainer(without_running_statistics(small_xrv()), dtype=dtype),
    )
    for explainer in nets:
        with pytest.raises(ModelError, match="depend on the other images"):
            explainer.explain_inputs(images(3))


def test_a_head_that_takes_no_single_image() -> None:
    net = nn.Sequential(*small_net(), nn.BatchNorm1d(5, track_running_stats=False))
    with pytest.raises(ModelError, match="depend on the other images"):
        explain(net, images(3), outputs=NAMES, target_layer="5")


def test_a_model_of_one_size_of_batch_is_explained() -> None:
    def of_three(x: Tensor) -> Tensor:
        return x.view(3, -1)[: len(x)]

    net = nn.Sequential(*small_net(), nn.Identity())
    net[-1].register_forward_hook(lambda _module, _inputs, output: of_three(output.clone()))
    found = explain(net, images(3), outputs=NAMES, target_layer="5")
    plain = explain(small_net(), images(3), outputs=NAMES, target_layer="5")
    assert torch.equal(found.fused[2].maps, plain.fused[2].maps)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("build", [small_net, small_xrv, small_monai])
def test_rounding_is_no_dependence(build: Callable[[], Any], dtype: torch.dtype) -> None:
    net = build().to(dtype)
    with torch.no_grad():  # scores of a moderate size, which half precision holds
        for parameter in list(net.parameters())[-2:]:
            parameter /= 10
    layer = "5" if isinstance(net, nn.Sequential) else "features"
    outputs = getattr(net, "pathologies", NAMES)
    for count in (1, 7):
        explain(HookedClassifier(net, layer, outputs, input_size=64), images(count))
        explain(net, images(count), outputs=outputs, target_layer=layer)


def test_a_network_that_makes_much_of_rounding_depends_on_no_batch_mate() -> None:
    """Another size of batch has other sums, here by one part in 100."""
    net = nn.Sequential(*small_net(), nn.Identity())
    net[-1].register_forward_hook(lambda _module, _inputs, output: output * (1 + 0.01 * len(output)))
    for count in (1, 3):
        assert len(explain(net, images(count), outputs=NAMES, target_layer="5").rankings) == count


def test_the_model_leaves_as_it_came_from_a_refusal() -> None:
    for build, change in ((hooked, RANDOM[0]), (hooked, OF_THE_BATCH[0]), (of_a_family, OF_THE_BATCH[0])):
        model = build(change)
        module = model.module if isinstance(model, HookedClassifier) else model
        unsettle(module)
        before = snapshot(module)
        with pytest.raises(ModelError):
            Explainer(model).explain_inputs(images(3))
        assert snapshot(module) == before


def test_a_loop_looks_once_for_each_state_of_the_model() -> None:
    net, sizes = small_net(), []
    net[0].register_forward_hook(lambda _module, given, _output: sizes.append(len(given[0])))
    for _ in range(3):
        explain(net, images(4), outputs=NAMES, target_layer="5")
    assert sizes == [4, 1, 4, 4]
    sizes.clear()
    for _ in range(3):
        explain(net, images(1), outputs=NAMES, target_layer="5")
    assert sizes == [1, 1, 1, 1]
    sizes.clear()
    with torch.no_grad():
        net[-1].weight *= 2  # a step of training
    explain(net, images(4), outputs=NAMES, target_layer="5")
    assert sizes == [4, 1]
