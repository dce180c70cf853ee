"""The interface of classifiers: meaning of outputs, evaluation mode, one thread at a time."""

from __future__ import annotations

import math
import threading

import pytest
import torch
from networks import NAMES, images, small_monai, small_net, small_xrv, snapshot, unsettle
from torch import nn

from cxr_explain import HookedClassifier, MonaiDenseNet, Outputs, XRVDenseNet
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.base import evaluation_mode


def test_operating_points_that_are_not_there_are_none() -> None:
    outputs = Outputs(["A", "", "B"], (0.1, math.nan, None))  # type: ignore[arg-type]
    assert outputs.pathologies == ("A", "", "B")
    assert outputs.operating_points == (0.1, None, None)
    assert Outputs(("A", "B")).operating_points == (None, None)


def test_as_many_operating_points_as_names() -> None:
    with pytest.raises(OptionError, match="1 operating points for 2 pathologies"):
        Outputs(("A", "B"), (0.5,))


def test_the_kind_of_the_outputs_is_declared_or_left_open() -> None:
    assert Outputs(("A", "B")).kind is None
    assert Outputs(("A", "B"), kind="softmax").kind == "softmax"
    with pytest.raises(OptionError, match="found kind='tanh'; expected one of logits, sigmoids, softmax,"):
        Outputs(("A", "B"), kind="tanh")  # type: ignore[arg-type]


def test_names_alone_are_enough() -> None:
    names = [f"output {number}" for number in range(18)]
    assert XRVDenseNet(small_xrv(), names).pathologies == tuple(names)
    assert HookedClassifier(small_net(), "5", list(NAMES)).outputs == Outputs(NAMES)
    assert MonaiDenseNet(small_monai(), list(NAMES)).outputs == Outputs(NAMES)
    with pytest.raises(
        OptionError, match=r"outputs='Mass'; expected a sequence of names, such as \['Mass'\]"
    ):
        HookedClassifier(small_net(), "5", "Mass")


def test_a_head_without_any_name_is_refused() -> None:
    with pytest.raises(ModelError, match="without a named output"):
        HookedClassifier(small_net(2), "5", Outputs(("", "")))


def test_another_number_of_outputs_is_refused() -> None:
    classifier = HookedClassifier(small_net(5), "5", Outputs(("A", "B")), input_size=64)
    with pytest.raises(ModelError, match=r"\(3, 5\).*\(3, 2\), one logit for each"):
        classifier.forward(images(3))


def test_two_outputs_of_one_name_are_refused() -> None:
    with pytest.raises(OptionError, match="outputs with the same name: 'A'; expected another name for each"):
        Outputs(("A", "B", "A", "", ""))
    assert Outputs(("A", "", "")).pathologies == ("A", "", "")


@pytest.mark.parametrize("family", [True, False])
def test_a_model_without_weights_is_refused(family: bool) -> None:
    module = (small_xrv() if family else small_net()).to("meta")
    with pytest.raises(ModelError, match="on the device meta, which has shapes and no weights"):
        XRVDenseNet(module) if family else HookedClassifier(module, "5", NAMES)


@pytest.mark.parametrize("seed", range(3))
def test_evaluation_mode_comes_back_as_it_was(seed: int) -> None:
    module = small_net()
    unsettle(module, seed)
    before = snapshot(module)

    def inside() -> None:
        with evaluation_mode(module):
            assert not any(layer.training for layer in module.modules())
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        inside()
    assert snapshot(module) == before


def test_running_statistics_stay_when_the_model_came_in_training_mode() -> None:
    module = small_xrv().train()
    before = snapshot(module)
    first = XRVDenseNet(module, input_size=64).forward(images()).logits
    assert snapshot(module) == before
    torch.testing.assert_close(first, XRVDenseNet(module.eval(), input_size=64).forward(images()).logits)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_inputs_follow_the_models_own_type(dtype: torch.dtype) -> None:
    module = small_xrv().to(dtype)
    result = XRVDenseNet(module, input_size=64).forward(images())
    assert result.activations.dtype == dtype
    assert result.weights(torch.tensor([[0], [1]])).dtype == torch.promote_types(dtype, torch.float32)


def test_the_inputs_are_not_changed() -> None:
    inputs = images()
    before = inputs.clone()
    XRVDenseNet(small_xrv(), input_size=64).forward(inputs)
    HookedClassifier(nn.Sequential(nn.ReLU(inplace=True), *small_net()), "6", Outputs(NAMES)).forward(
        inputs * 1
    )
    assert torch.equal(inputs, before)
    assert not inputs.requires_grad


def test_two_threads_on_one_module_do_not_see_each_other() -> None:
    """Without a lock, the second thread runs in training mode, or finds the hook of the first."""
    module = small_net().train()
    expected = HookedClassifier(small_net().eval(), "5", Outputs(NAMES)).forward(images()).logits
    before = snapshot(module)
    wrong: list[object] = []

    def work() -> None:
        classifier = HookedClassifier(module, "5", Outputs(NAMES))
        for _ in range(20):
            try:
                torch.testing.assert_close(classifier.forward(images()).logits, expected)
            except (AssertionError, ModelError) as error:
                wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert snapshot(module) == before
