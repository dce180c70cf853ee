"""A compiled classifier that was kept on disk: as the one it was made of, with its module when needed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from cxr_explain.engines import stored
from cxr_explain.engines.cache import forget, keep
from cxr_explain.engines.stored import StoredClassifier, StoredFacts, compiled_from_pretrained
from cxr_explain.errors import OptionError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.models.base import Classifier
from cxr_explain.models.pretrained import from_pretrained
from cxr_explain.weights import CheckpointFacts
from tests.networks import NAMES, images, small_xrv

HEAVY = (
    "torchvision", "torchxrayvision", "torch._dynamo", "onnx", "onnxscript", "scipy", "pandas", "skimage.io",
    "sklearn", "monai", "pyarrow",
)  # fmt: skip
"""Libraries that one file is explained without."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(autouse=True)
def state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))


@pytest.fixture(scope="module")
def weights(folder: Path) -> str:
    """A file of a small DenseNet."""
    path = folder / "small.safetensors"
    save_file(small_xrv(5).state_dict(), path, CheckpointFacts(NAMES, input_size=64).to_metadata())
    return str(path)


def on_engine(weights: str) -> Classifier:
    return compiled_from_pretrained(weights, engine="onnxruntime", dtype="float32")


def loaded(weights: str) -> StoredClassifier:
    """The model on ONNX Runtime, from what is kept."""
    for _ in range(2):
        found = on_engine(weights)
    assert isinstance(found, StoredClassifier)
    return found


def is_loaded(classifier: StoredClassifier) -> bool:
    return "original" in vars(classifier)


def keys(weights: str) -> list[str]:
    """The keys under which anything is kept now, found by keeping an ear on who asks."""
    asked: list[str] = []
    usual = stored.find
    stored.find = lambda key: (asked.append(key), usual(key))[1]  # type: ignore[assignment]
    try:
        loaded(weights)
    finally:
        stored.find = usual
    return list(dict.fromkeys(asked))


def test_it_is_what_was_stored_and_needs_no_module(weights: str) -> None:
    classifier, original, inputs = loaded(weights), from_pretrained(weights), images(2)
    for name in ("pathologies", "operating_points", "input_size", "name", "target_layer", "weights_sha256",
                 "training_sets", "phantom_only", "notes"):  # fmt: skip
        assert getattr(classifier, name) == getattr(original, name), name
    torch.testing.assert_close(classifier.logits(inputs), original.logits(inputs), rtol=1e-4, atol=1e-4)
    assert classifier.as_called(inputs) is classifier
    original.as_called(inputs)
    assert classifier.outputs == original.outputs
    with pytest.raises(OptionError, match=r"values in \[-1024, 1024\]"):
        classifier.check_inputs(torch.rand(1, 1, 64, 64))
    assert not is_loaded(classifier)


def test_the_module_comes_when_asked_for_and_is_followed_from_then_on(weights: str) -> None:
    classifier, inputs = loaded(weights), images(2)
    before = classifier.logits(inputs)
    module: Any = classifier.module
    torch.testing.assert_close(classifier.logits(inputs), before)
    with torch.no_grad():
        module.features.conv0.weight.mul_(1.2)
        module.classifier.bias.add_(1)
    now = classifier.original.logits(inputs)
    assert not torch.allclose(now, before, atol=1e-2)
    torch.testing.assert_close(classifier.logits(inputs), now, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(loaded(weights).logits(inputs), before)  # what is kept is of the file


def test_a_rule_that_masks_the_body_runs_on_it(weights: str) -> None:
    explainer = Explainer.from_pretrained(weights, engine="onnxruntime")
    assert isinstance(explainer.classifier, StoredClassifier)
    inputs = images(1)
    region = Explainer.from_pretrained(weights, engine="onnxruntime", method="seg-xres-cam")
    reference = Explainer.from_pretrained(weights, method="seg-xres-cam")
    torch.testing.assert_close(
        region.explain_inputs(inputs).fused[0].maps,
        reference.explain_inputs(inputs).fused[0].maps,
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize(
    "harm",
    [
        *("no facts", "cut facts", "another head", "junk", "a graph of junk"),
        pytest.param("no graph", marks=pytest.mark.long),
    ],
)
def test_what_is_whole_but_no_good_is_made_anew(weights: str, harm: str) -> None:
    facts_key, graph_key = keys(weights)
    good = stored.find(facts_key)
    assert good is not None
    expected = loaded(weights).logits(images(1))
    if harm == "no graph":
        forget(graph_key)
    elif harm == "a graph of junk":
        keep(graph_key, b"junk")
    else:
        facts = StoredFacts.from_bytes(good)
        other = torch.nn.Linear(3, len(facts.outputs.pathologies) + 1)
        changed = StoredFacts(facts.architecture, facts.body, other, facts.outputs, facts.description)
        bad = {
            "no facts": b"",
            "cut facts": good[:-5],
            "another head": changed.to_bytes(),
            "junk": b"\xff" * 99,
        }
        keep(facts_key, bad[harm])
    found = on_engine(weights)
    assert not isinstance(found, StoredClassifier)
    torch.testing.assert_close(found.logits(images(1)), expected)
    assert len(keys(weights)) == 2


ONE_FILE = """
import json, sys
sys.argv = ["cxr-explain", "explain", *sys.argv[1:]]
from cxr_explain.cli.entry import main
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("engine", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.long)])
def test_one_file_is_explained_without_what_builds_and_exports_a_model(
    tmp_path: Path, weights: str, engine: str
) -> None:
    image = tmp_path / "image.png"
    Image.fromarray(np.arange(6400, dtype=np.uint16).reshape(80, 80).astype(np.uint8)).save(image)
    for _ in range(2):
        Explainer.from_pretrained(weights, engine=engine)  # type: ignore[arg-type]
    command = [str(image), "--weights", weights, "--engine", engine, "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", ONE_FILE, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules = json.loads(done.stdout.splitlines()[-1])
    assert "torch" in modules
    assert [name for name in HEAVY if name in modules] == []
    with np.load(tmp_path / "out" / "image.npz") as kept:
        assert kept["maps"].shape[0] == 5
