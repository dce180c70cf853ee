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

from cxr_explain.engines import stored
from cxr_explain.engines.cache import forget, keep
from cxr_explain.engines.stored import StoredClassifier, StoredFacts, compiled_from_pretrained
from cxr_explain.errors import OptionError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.models.pretrained import from_pretrained
from tests.networks import images

HEAVY = (
    "torchvision", "torchxrayvision", "torch._dynamo", "onnx", "onnxscript", "scipy", "pandas", "skimage",
    "sklearn", "monai", "pyarrow",
)  # fmt: skip
"""Libraries that one file is explained without."""


def loaded(**options: Any) -> StoredClassifier:
    """The phantom model on ONNX Runtime, from what is kept."""
    for _ in range(2):
        found = compiled_from_pretrained("phantom", engine="onnxruntime", dtype="float32", **options)
    assert isinstance(found, StoredClassifier)
    return found


def is_loaded(classifier: StoredClassifier) -> bool:
    return "original" in vars(classifier)


def keys() -> list[str]:
    """The keys under which anything is kept now, found by keeping an ear on who asks."""
    asked: list[str] = []
    usual = stored.find
    stored.find = lambda key: (asked.append(key), usual(key))[1]  # type: ignore[assignment]
    try:
        loaded()
    finally:
        stored.find = usual
    return list(dict.fromkeys(asked))


def test_it_is_what_was_stored_and_needs_no_module() -> None:
    classifier, original, inputs = loaded(), from_pretrained("phantom"), images(2, 224)
    for name in ("pathologies", "operating_points", "input_size", "name", "target_layer", "weights_sha256",
                 "training_sets", "phantom_only", "notes"):  # fmt: skip
        assert getattr(classifier, name) == getattr(original, name), name
    torch.testing.assert_close(classifier.logits(inputs), original.logits(inputs), rtol=1e-4, atol=1e-4)
    assert classifier.as_called(inputs) is classifier
    original.as_called(inputs)
    assert classifier.outputs == original.outputs
    with pytest.raises(OptionError, match=r"values in \[-1024, 1024\]"):
        classifier.check_inputs(torch.rand(1, 1, 224, 224))
    assert not is_loaded(classifier)


def test_the_module_comes_when_asked_for_and_is_followed_from_then_on() -> None:
    classifier, inputs = loaded(), images(2, 224)
    before = classifier.logits(inputs)
    module: Any = classifier.module
    torch.testing.assert_close(classifier.logits(inputs), before)
    with torch.no_grad():
        module.features.conv0.weight.mul_(1.2)
        module.classifier.bias.add_(1)
    now = classifier.original.logits(inputs)
    assert not torch.allclose(now, before, atol=1e-2)
    torch.testing.assert_close(classifier.logits(inputs), now, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(loaded().logits(inputs), before)  # what is kept is of the file


def test_layers_and_rules_that_need_the_module_have_it() -> None:
    explainer = Explainer.from_pretrained("phantom", engine="onnxruntime", allow_phantom_weights=True)
    assert isinstance(explainer.classifier, StoredClassifier)
    inputs = images(1, 224)
    region = Explainer.from_pretrained(
        "phantom", engine="onnxruntime", method="seg-xres-cam", allow_phantom_weights=True
    )
    reference = Explainer.from_pretrained("phantom", method="seg-xres-cam", allow_phantom_weights=True)
    torch.testing.assert_close(
        region.explain_inputs(inputs).fused[0].maps,
        reference.explain_inputs(inputs).fused[0].maps,
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize(
    "harm", ["no facts", "cut facts", "another head", "junk", "no graph", "a graph of junk"]
)
def test_what_is_whole_but_no_good_is_made_anew(harm: str) -> None:
    facts_key, graph_key = keys()
    good = stored.find(facts_key)
    assert good is not None
    expected = loaded().logits(images(1, 224))
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
    found = compiled_from_pretrained("phantom", engine="onnxruntime", dtype="float32")
    assert not isinstance(found, StoredClassifier)
    torch.testing.assert_close(found.logits(images(1, 224)), expected)
    assert len(keys()) == 2


ONE_FILE = """
import json, sys
sys.argv = ["cxr-explain", "explain", *sys.argv[1:]]
from cxr_explain.cli.entry import main
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_one_file_is_explained_without_what_builds_and_exports_a_model(tmp_path: Path, engine: str) -> None:
    from cxr_explain.phantom.dataset import write_dataset

    (phantom,) = write_dataset(tmp_path / "phantoms", n=1, seed=7, size=256)
    image = tmp_path / "phantoms" / "images" / f"{phantom.id}.png"
    for _ in range(2):
        Explainer.from_pretrained("phantom", engine=engine)  # type: ignore[arg-type]
    command = [str(image), "--weights", "phantom", "--engine", engine, "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", ONE_FILE, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    modules = json.loads(done.stdout.splitlines()[-1])
    assert "torch" in modules
    assert [name for name in HEAVY if name in modules] == []
    with np.load(tmp_path / "out" / f"{phantom.id}.npz") as kept:
        assert kept["maps"].shape[0] == 5
