"""A module that this package has loaded keeps what is known of it, wherever it is taken."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import NAMES, images, small_xrv
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from cxr_explain import Explainer, HookedClassifier, Outputs, Radiograph, XRVDenseNet, explain
from cxr_explain.cli.app import app
from cxr_explain.errors import PhantomWeightsError
from cxr_explain.models.base import Classifier
from cxr_explain.models.coercion import as_classifier
from cxr_explain.models.loaded import TRAINED_UNKNOWN
from cxr_explain.models.pretrained import from_pretrained
from cxr_explain.weights import CheckpointFacts

FACTS = CheckpointFacts(NAMES, (0.1, None, 0.3, 0.4, 0.5), ("Ours",), 64)


def through_torch_save(module: nn.Module, folder: Path) -> nn.Module:
    torch.save(module, folder / "whole.pt")
    loaded = torch.load(folder / "whole.pt", weights_only=False)
    assert isinstance(loaded, nn.Module)
    return loaded


TAKEN: dict[str, Callable[[nn.Module, Path], nn.Module]] = {
    "as it is": lambda module, _: module,
    "copied": lambda module, _: deepcopy(module),
    "pickled": lambda module, _: pickle.loads(pickle.dumps(module)),
    "saved whole": through_torch_save,
    "in half precision": lambda module, _: deepcopy(module).to(torch.bfloat16),
}


@pytest.fixture
def mine(tmp_path: Path) -> Classifier:
    save_file(small_xrv(5).state_dict(), tmp_path / "mine.safetensors", FACTS.to_metadata())
    return from_pretrained(tmp_path / "mine.safetensors")


@pytest.mark.parametrize("taken", TAKEN)
def test_a_module_keeps_its_outputs_size_and_training_sets(
    mine: Classifier, taken: str, tmp_path: Path
) -> None:
    again = as_classifier(TAKEN[taken](mine.module, tmp_path))
    assert isinstance(again, XRVDenseNet)
    assert again.outputs == mine.outputs
    assert (again.name, again.input_size, again.training_sets) == ("mine.safetensors", 64, ("Ours",))
    assert again.weights_sha256 is None  # whether its numbers are still those of the file, nobody knows
    assert not again.phantom_only


@pytest.mark.parametrize("taken", TAKEN)
def test_a_module_that_knows_phantoms_alone_is_guarded(taken: str, tmp_path: Path) -> None:
    published = from_pretrained("phantom")
    module = TAKEN[taken](published.module, tmp_path)
    radiograph = Radiograph.from_array(np.zeros((256, 256), np.float32))
    with pytest.raises(PhantomWeightsError, match="densenet-res224-phantom has only seen phantoms"):
        Explainer(module).explain(radiograph)
    with pytest.raises(PhantomWeightsError):
        explain(module, images(1, 224).to(next(module.parameters()).dtype))
    assert as_classifier(module).outputs == published.outputs


WITHIN: dict[str, Callable[[nn.Module], Classifier]] = {
    "an adapter": lambda module: XRVDenseNet(module, Outputs(from_pretrained("phantom").pathologies)),
    "a hooked layer": lambda module: HookedClassifier(
        module, "features", Outputs(from_pretrained("phantom").pathologies)
    ),
    "another module": lambda module: HookedClassifier(
        nn.Sequential(module, nn.Linear(10, 5)), "0.features", Outputs(NAMES)
    ),
    "DataParallel": lambda module: HookedClassifier(
        nn.DataParallel(module), "module.features", Outputs(from_pretrained("phantom").pathologies)
    ),
}


@pytest.mark.parametrize("within", WITHIN)
def test_the_guard_holds_in_whatever_the_module_is_put(within: str) -> None:
    module = from_pretrained("phantom").module
    assert WITHIN[within](module).phantom_only
    assert not WITHIN[within](small_xrv(10)).phantom_only


def test_the_guard_is_lifted_by_the_user_alone() -> None:
    """Who has trained the module further on radiographs says so."""
    module = from_pretrained("phantom").module
    outputs = Outputs(from_pretrained("phantom").pathologies)
    assert not XRVDenseNet(module, outputs, phantom_only=False).phantom_only


def test_a_resnet_of_torchvision_s_class_is_known_again(tmp_path: Path) -> None:
    from cxr_explain import XRVResNet

    torch.manual_seed(0)
    save_file(XRVResNet.empty(num_classes=5).state_dict(), tmp_path / "r.safetensors", FACTS.to_metadata())
    again = as_classifier(from_pretrained(tmp_path / "r.safetensors").module)
    assert isinstance(again, XRVResNet)
    assert again.pathologies == NAMES


def test_a_user_s_module_gets_nothing_put_on_it() -> None:
    module = small_xrv()
    before = set(vars(module))
    as_classifier(module)
    assert set(vars(module)) == before


# -- which outputs were trained ----


def test_a_file_that_does_not_say_which_outputs_were_trained_is_named(tmp_path: Path) -> None:
    torch.save(small_xrv(18).state_dict(), tmp_path / "bare.pt")
    explainer = Explainer.from_pretrained(tmp_path / "bare.pt")
    assert explainer.classifier.notes == (TRAINED_UNKNOWN,)
    explanation = explainer.explain(Radiograph.from_array(np.zeros((256, 256), np.float32)), top_k=2)
    assert explanation.provenance.notes == (TRAINED_UNKNOWN,)
    assert explanation.ranking.notes == ()
    assert as_classifier(explainer.classifier.module).notes == (TRAINED_UNKNOWN,)
    result = CliRunner().invoke(app, ["weights", "verify", str(tmp_path / "bare.pt")])
    assert "which outputs were trained is unknown: the file does not say" in " ".join(result.output.split())


def test_what_a_file_says_of_its_outputs_is_shown(mine: Classifier, tmp_path: Path) -> None:
    assert mine.notes == ()
    torch.save(small_xrv(18), tmp_path / "whole.pt")  # its `pathologies` are an attribute
    assert from_pretrained(tmp_path / "whole.pt").notes == ()
    named = ["Mass", *[""] * 16, "Edema"]
    save_file(
        small_xrv(18).state_dict(), tmp_path / "named.safetensors", CheckpointFacts(named).to_metadata()
    )
    assert from_pretrained(tmp_path / "named.safetensors").notes == ()
    result = CliRunner().invoke(app, ["weights", "verify", str(tmp_path / "named.safetensors")])
    assert "2 of 18 outputs were trained: Mass, Edema" in " ".join(result.output.split())


def test_a_whole_module_given_by_its_path_keeps_what_was_known_of_it(
    mine: Classifier, tmp_path: Path
) -> None:
    torch.save(mine.module, tmp_path / "mine.pt")
    again = from_pretrained(tmp_path / "mine.pt")
    assert again.outputs == mine.outputs
    assert (again.input_size, again.training_sets, again.notes) == (64, ("Ours",), ())
    torch.save(from_pretrained("phantom").module, tmp_path / "phantom.pt")
    assert from_pretrained(tmp_path / "phantom.pt").phantom_only


def test_the_command_line_and_the_record_say_that_it_is_unknown(tmp_path: Path) -> None:
    torch.save(small_xrv(18).state_dict(), tmp_path / "bare.pt")
    Image.fromarray(np.arange(256, dtype=np.uint8)[None].repeat(256, 0)).save(tmp_path / "image.png")
    words = ["explain", str(tmp_path / "image.png"), "--weights", str(tmp_path / "bare.pt"), "--top-k", "2"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "Which outputs were trained is unknown" in " ".join(result.output.split())
    (record,) = (tmp_path / "out").rglob("*.json")
    assert json.loads(record.read_text())["provenance"]["notes"] == [TRAINED_UNKNOWN]
