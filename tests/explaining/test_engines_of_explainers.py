"""Explainers on an engine: what they say of it, in threads, and refused where they must be."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import NAMES, images, small_net, small_xrv

from cxr_explain import Explainer, HookedClassifier, Outputs, Radiograph, XRVDenseNet
from cxr_explain.errors import MissingExtraError, ModelError, OptionError
from cxr_explain.explaining.batch_maps import BatchMaps
from cxr_explain.explaining.explanation import Explanation


def classifier(seed: int = 0) -> XRVDenseNet:
    return XRVDenseNet(small_xrv(5, seed), Outputs(NAMES), input_size=64)


@pytest.fixture(scope="module")
def runtime() -> Explainer:
    return Explainer(classifier(), engine="onnxruntime")


@pytest.fixture(scope="module")
def vino() -> Explainer:
    return Explainer(classifier(), engine="openvino", dtype="bfloat16")


def radiograph(seed: int = 1) -> Radiograph:
    pixels = np.random.default_rng(seed).uniform(-1024, 1024, (64, 80)).astype(np.float32)
    return Radiograph.from_array(pixels)


def assert_alike(one: BatchMaps, other: BatchMaps) -> None:
    for ours, theirs in zip(one.rankings, other.rankings, strict=True):
        logits = [[each.logit for each in ranking.predictions] for ranking in (ours, theirs)]
        np.testing.assert_allclose(*logits, rtol=1e-5, atol=1e-4)
    for mine, yours in zip(one.fused, other.fused, strict=True):
        torch.testing.assert_close(mine.maps, yours.maps, rtol=0, atol=1e-5)


def test_the_provenance_says_what_ran_the_model(vino: Explainer, tmp_path: Path) -> None:
    explanation = vino.explain(radiograph(), top_k=2)
    said = json.loads(explanation.save(tmp_path / "a").read_bytes())["provenance"]
    assert (said["map_settings"]["engine"], said["map_settings"]["dtype"]) == ("openvino", "bfloat16")
    assert said["engine_version"].startswith("OpenVINO 20")
    assert Explanation.load(tmp_path / "a").provenance == explanation.provenance


def test_maps_are_as_stable_as_torchs(runtime: Explainer) -> None:
    found = runtime.explain(radiograph(), top_k=3, stability=True).stability
    expected = Explainer(classifier()).explain(radiograph(), top_k=3, stability=True).stability
    assert found is not None
    assert expected is not None
    assert found.maps.keys() == expected.maps.keys()
    for name in expected.maps:
        assert found[name] == pytest.approx(expected[name], abs=2e-3)


def test_a_file_from_before_there_were_engines_is_of_torch(tmp_path: Path) -> None:
    explanation = Explainer(classifier()).explain(radiograph(), top_k=2)
    file = explanation.save(tmp_path / "a")
    said = json.loads(file.read_bytes())
    del said["provenance"]["engine_version"], said["provenance"]["map_settings"]["engine"]
    file.write_text(json.dumps(said))
    assert Explanation.load(file).provenance == explanation.provenance


def test_threads_that_share_an_explainer_do_not_mix_their_images(vino: Explainer) -> None:
    inputs = [images(1 + seed % 3, seed=seed) for seed in range(12)]
    alone = [vino.explain_inputs(each, top_k=2) for each in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: vino.explain_inputs(each, top_k=2), inputs))
    for one, other in zip(alone, together, strict=True):
        assert_alike(one, other)


def test_the_classifier_of_another_explainer_is_run_by_what_is_asked_for(runtime: Explainer) -> None:
    """And not by the engine of that one, which the provenance would not name."""
    again = Explainer(runtime.classifier)
    assert (again.settings.engine, again.facts.engine_version) == ("torch", "")
    assert again.classifier is runtime.classifier.original  # type: ignore[attr-defined]


def test_a_model_that_no_engine_runs_is_refused_or_left_to_torch() -> None:
    model = HookedClassifier(small_net(), "5", Outputs(NAMES), input_size=64)
    with pytest.raises(ModelError) as error:
        Explainer(model, engine="openvino")
    assert str(error.value) == (
        "Sequential: found a head that is not known to be global average pooling and one linear layer; "
        "expected such a head, behind which maps need no gradient. "
        "Choose engine='torch', which explains any model."
    )
    free = Explainer(model, engine="auto")
    explanation = free.explain(radiograph(), top_k=2)
    assert explanation.provenance.map_settings.engine == "torch"
    assert any(note.startswith("computed by torch, as ") for note in explanation.provenance.notes)


def test_layers_that_no_engine_gives_are_refused_or_left_to_torch() -> None:
    layers = ("features.denseblock1", "features.denseblock2")
    with pytest.raises(OptionError, match=r"engine='onnxruntime' with target_layers=.*Choose engine='torch'"):
        Explainer(classifier(), engine="onnxruntime", target_layers=layers)
    free = Explainer(classifier(), engine="auto", target_layers=layers)
    assert free.settings.engine == "torch"


def test_a_precision_that_an_engine_does_not_have_is_refused() -> None:
    with pytest.raises(OptionError, match=r"engine='onnxruntime' with dtype='bfloat16'.*torch or openvino"):
        Explainer(classifier(), engine="onnxruntime", dtype="bfloat16")


def test_an_engine_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'cxr-explain\[openvino\]'"):
        Explainer(classifier(), engine="openvino")


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(OptionError, match=r"engine='tensorrt'.*torch, onnxruntime, openvino, auto"):
        Explainer(classifier(), engine="tensorrt")  # type: ignore[arg-type]
