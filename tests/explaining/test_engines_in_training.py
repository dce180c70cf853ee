"""An explainer on an engine is copied with its model, and follows it through training, whoever writes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from networks import NAMES, images, small_xrv
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from cxr_explain import Explainer, Outputs, XRVDenseNet, explain
from cxr_explain.explaining.batch_maps import BatchMaps
from cxr_explain.models.steadiness import ModuleWatch


def classifier() -> XRVDenseNet:
    return XRVDenseNet(small_xrv(5).eval(), Outputs(NAMES), input_size=64)


@pytest.fixture(scope="module")
def runtime() -> Explainer:
    return Explainer(classifier(), engine="onnxruntime")


def assert_alike(one: BatchMaps, other: BatchMaps) -> None:
    for ours, theirs in zip(one.rankings, other.rankings, strict=True):
        one_s, other_s = ([each.logit for each in ranking.predictions] for ranking in (ours, theirs))
        assert one_s == pytest.approx(other_s, rel=1e-5, abs=1e-4)
    for mine, yours in zip(one.fused, other.fused, strict=True):
        torch.testing.assert_close(mine.maps, yours.maps, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(lambda it: pickle.loads(pickle.dumps(it)), id="pickle"),
        pytest.param(copy.deepcopy, id="copy", marks=pytest.mark.slow),
    ],
)
def test_a_copy_runs_its_own_model_on_the_engine(
    way: Callable[[Explainer], Explainer], runtime: Explainer
) -> None:
    before = runtime.explain_inputs(images(), top_k=2)
    again = way(runtime)
    assert again.settings == runtime.settings
    with torch.no_grad():
        for parameter in again.classifier.module.parameters():
            parameter.zero_()
    assert not again.explain_inputs(images(), top_k=2).fused[0].maps.any()
    assert again.facts.engine_version == runtime.facts.engine_version
    assert_alike(runtime.explain_inputs(images(), top_k=2), before)


def adam(module: nn.Module) -> None:
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3, fused=True)
    module(images()).sum().backward()
    optimiser.step()
    optimiser.zero_grad()


def sgd(module: nn.Module) -> None:
    optimiser = torch.optim.SGD(module.parameters(), lr=1e-5)
    module(images()).sum().backward()
    optimiser.step()
    optimiser.zero_grad()


def running_mean(module: nn.Module) -> None:
    module.train()
    module(images())
    module.eval()


def loaded(module: nn.Module, assign: bool = False) -> None:
    module.load_state_dict(small_xrv(5, seed=3).state_dict(), assign=assign)


def data_replaced(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.data = parameter.data * 1.1


def data_written(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.data.mul_(1.1)


def vector(module: nn.Module) -> None:
    vector_to_parameters(parameters_to_vector(module.parameters()) * 1.1, module.parameters())


def part_replaced(module: nn.Module) -> None:
    module.features.conv0 = copy.deepcopy(small_xrv(5, seed=3).features.conv0)  # type: ignore[union-attr]


def hooked(module: nn.Module) -> None:
    module.features.norm0.register_forward_hook(lambda *given: given[-1] * 2)  # type: ignore[union-attr]


CHANGES = [
    adam, sgd, running_mean, loaded, lambda module: loaded(module, assign=True), data_replaced, data_written,
    vector, part_replaced, hooked,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_every_change_of_a_model_is_seen(change: Callable[[nn.Module], None]) -> None:
    module = small_xrv(5).eval()
    watch = ModuleWatch(module)
    module(images())
    assert watch.unchanged()
    change(module)
    assert not watch.unchanged()


def test_what_changes_no_score_is_no_change() -> None:
    module = small_xrv(5).eval()
    watch = ModuleWatch(module)
    module.train().eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    assert watch.unchanged()


@pytest.mark.parametrize(
    "change", [adam, pytest.param(data_written, marks=pytest.mark.slow)], ids=lambda change: change.__name__
)
def test_a_model_in_training_is_explained_as_it_is(change: Callable[[nn.Module], None]) -> None:
    model = classifier()
    explainer = Explainer(model, engine="onnxruntime")
    before = explainer.explain_inputs(images(), top_k=5)
    change(model.module)
    after = explainer.explain_inputs(images(), top_k=5)
    assert [each.predictions for each in after.rankings] != [each.predictions for each in before.rankings]
    assert_alike(after, Explainer(model).explain_inputs(images(), top_k=5))


def test_a_training_loop_may_name_an_engine() -> None:
    module = small_xrv(5)
    module.input_resolution = 64  # as TorchXRayVision's models have it
    found = explain(module, images(), outputs=NAMES, engine="onnxruntime", top_k=2)
    assert_alike(found, explain(module, images(), outputs=NAMES, top_k=2))
