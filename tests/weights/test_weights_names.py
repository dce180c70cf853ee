"""Names in a checkpoint: whatever way they come in, one that another program could act on is refused."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import small_xrv
from safetensors.torch import save_file

from cxr_explain import Explainer, Outputs, XRVDenseNet
from cxr_explain.errors import OptionError, WeightsMetadataError
from cxr_explain.models.coercion import as_classifier
from cxr_explain.models.loaded import Loaded
from cxr_explain.support.names import MOST_NAMES
from cxr_explain.weights import CheckpointFacts, open_weights
from cxr_explain.weights.facts import MODULE_FACTS

ATTACKS = [
    "$exit()",
    "@run",
    "%/etc/x.json",
    "a @### b",
    "{0.__class__}",
    "a\x1b[2J",
    "a\u202eb",
    "\ud800",
    "x" * 999,
]
NAMES = ("Mass", "Edema", "Hernia")


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def saved(path: Path, **said: Any) -> Path:
    text = {name: json.dumps(value) for name, value in said.items()}  # escapes: half a sign is no UTF-8
    save_file(small_xrv(3).state_dict(), path, text)
    return path


def in_pathologies(attack: str, folder: Path) -> object:
    return open_weights(saved(folder / "a.safetensors", pathologies=("Mass", attack, "")))


def in_training_sets(attack: str, folder: Path) -> object:
    return open_weights(saved(folder / "a.safetensors", pathologies=NAMES, training_sets=("NIH", attack)))


def in_a_pickled_module(attribute: str) -> Callable[[str, Path], object]:
    def opened(attack: str, folder: Path) -> object:
        module = small_xrv(3)
        setattr(module, attribute, ["Mass", attack, ""])
        torch.save(module, folder / "a.pt")
        return open_weights(folder / "a.pt")

    return opened


def in_the_facts_of_a_pickled_module(attack: str, folder: Path) -> object:
    module = small_xrv(3)
    setattr(
        module, MODULE_FACTS, {"pathologies": CheckpointFacts(("Mass", attack)).to_metadata()["pathologies"]}
    )
    torch.save(module, folder / "a.pt")
    return open_weights(folder / "a.pt")


def in_the_facts_of_a_module(attack: str, _: Path) -> object:
    module = small_xrv(3)
    Loaded("xrv-densenet", "a.pt", CheckpointFacts(("Mass", attack, ""))).keep_on(module)
    return as_classifier(pickle.loads(pickle.dumps(module)))


def in_an_attribute_of_a_module(attack: str, _: Path) -> object:
    module = small_xrv(3)
    module.pathologies = ["Mass", attack, ""]
    return XRVDenseNet(module)


def in_names_of_hugging_face(attack: str, _: Path) -> object:
    id2label = {0: "LABEL_0", 1: attack}
    return Outputs.of(list(id2label.values()))


WAYS_IN = {
    "pathologies": in_pathologies,
    "training sets": in_training_sets,
    "targets of a pickled module": in_a_pickled_module("targets"),
    "pathologies of a pickled module": in_a_pickled_module("pathologies"),
    "facts of a pickled module": in_the_facts_of_a_pickled_module,
    "facts of a module": in_the_facts_of_a_module,
    "attribute of a module": in_an_attribute_of_a_module,
    "Hugging Face": in_names_of_hugging_face,
}


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize("attack", ATTACKS)
def test_every_way_in_refuses_the_name(attack: str, way: str, tmp_path: Path) -> None:
    with pytest.raises((WeightsMetadataError, OptionError)) as caught:
        WAYS_IN[way](attack, tmp_path)
    message = str(caught.value)
    assert message.isprintable()
    assert "expected a name of at most 200 characters that begins with a letter or a digit" in message
    assert len(message) < 700 + len(str(tmp_path))


@pytest.mark.parametrize("way", WAYS_IN)
def test_every_way_in_takes_names_in_any_script(way: str, tmp_path: Path) -> None:
    WAYS_IN[way]("ذات‌الریه (> 3 cm), 肺炎/निमोनिया", tmp_path)


def test_too_many_names_are_refused(tmp_path: Path) -> None:
    names = tuple(f"n{index}" for index in range(MOST_NAMES + 1))
    with pytest.raises(
        WeightsMetadataError, match=r"100,001 names in 'pathologies'; expected at most 100,000"
    ):
        CheckpointFacts.from_metadata(CheckpointFacts(names).to_metadata())


def test_text_that_is_no_json_does_not_act_on_a_terminal() -> None:
    with pytest.raises(WeightsMetadataError) as caught:
        CheckpointFacts.from_metadata({"training_sets": "\x1b]0;x\x07\u202eNIH"})
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "name", ["$exit().safetensors", "a\nok: 99 images explained.safetensors", "{0.__class__}.safetensors"]
)
def test_a_file_may_have_any_name(name: str, tmp_path: Path) -> None:
    """It is no name in a checkpoint: the user gave it."""
    classifier = Explainer.from_pretrained(saved(tmp_path / name, pathologies=NAMES)).classifier
    assert classifier.name == name.replace("\n", "_")


def test_facts_of_a_module_that_are_no_text_are_none() -> None:
    module = small_xrv(3)
    setattr(module, MODULE_FACTS, {"architecture": ["xrv-densenet"], "name": {}})
    assert Loaded.of(module) is None
