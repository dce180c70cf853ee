"""The table of model families: each adapter is there, and gives what its line promises."""

from __future__ import annotations

import pytest
import torch
from networks import small_monai, small_net, small_xrv

from cxr_explain import Outputs
from cxr_explain.errors import ArchitectureError, OptionError
from cxr_explain.models.base import Classifier
from cxr_explain.models.families import FAMILIES, family_named, family_of_module, family_of_tensors
from cxr_explain.weights import BUNDLED, ENTRIES

READABLE = [name for name, family in FAMILIES.items() if family.head]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_adapter_is_a_classifier(name: str) -> None:
    adapter = FAMILIES[name].load()
    assert isinstance(adapter, type)
    assert issubclass(adapter, Classifier)


@pytest.mark.parametrize("name", READABLE)
def test_an_empty_network_is_of_the_family_and_has_its_configuration(name: str) -> None:
    adapter = family_named(name).load()
    tensors = adapter.empty(num_classes=3).state_dict()
    assert family_of_tensors(tensors) == name
    again = adapter.empty(**adapter.configuration(tensors, source=None))
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in tensors.items()
    }
    outputs = Outputs(("Mass", "Edema", ""))
    classifier = adapter(again, outputs, input_size=64)
    assert classifier.logits(torch.zeros(1, 1, 64, 64)).shape == (1, 3)


def test_modules_belong_to_their_library() -> None:
    assert family_of_module(small_xrv()) is FAMILIES["xrv-densenet"]
    assert family_of_module(small_monai()) is FAMILIES["monai-densenet"]
    assert family_of_module(small_net()) is None


def test_all_weights_are_of_a_family_that_is_read_from_files() -> None:
    assert {entry.architecture for entry in (*ENTRIES, *BUNDLED)} <= set(READABLE)


def test_what_belongs_to_no_family_is_refused_with_those_there_are() -> None:
    with pytest.raises(ArchitectureError, match=r"1 tensors; expected classifier\.weight .* or fc\.weight"):
        family_of_tensors({"head.weight": torch.zeros(2, 2)})
    with pytest.raises(
        ArchitectureError, match=r"There is model\.classifier\.weight: save .* that part alone"
    ):
        family_of_tensors({"model.classifier.weight": torch.zeros(2, 2), "loss.weight": torch.zeros(2)})
    for name in ("vgg", "monai-densenet"):
        with pytest.raises(OptionError, match="expected one of xrv-densenet, xrv-resnet50"):
            family_named(name)
