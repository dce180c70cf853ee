"""A model that knows phantoms alone explains nothing else, unless it is told to; and then it says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import NAMES, small_net, small_xrv
from PIL import Image
from typer.testing import CliRunner

from cxr_explain import (
    PATHOLOGIES,
    Explainer,
    Explanation,
    HookedClassifier,
    Outputs,
    Radiograph,
    XRVDenseNet,
    read_radiograph,
)
from cxr_explain.cli.app import app
from cxr_explain.errors import OptionError, OutputError, PhantomWeightsError
from cxr_explain.explaining.explainer import PHANTOM_WEIGHTS_WARNING
from cxr_explain.phantom import render, sample_patient
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.phantom.dicom import to_dicom
from cxr_explain.radiograph import PHANTOM_WARNING


def radiograph(phantom: bool, seed: int = 0) -> Radiograph:
    values = np.random.default_rng(seed).uniform(-1024, 1024, (80, 80)).astype(np.float32)
    return replace(Radiograph.from_array(values, id=f"r{seed}"), phantom=phantom)


def xrv(**options: bool) -> Explainer:
    outputs = Outputs(PATHOLOGIES)
    return Explainer(XRVDenseNet(small_xrv(), outputs, input_size=64, phantom_only=True, name="m"), **options)


def hooked(**options: bool) -> Explainer:
    classifier = HookedClassifier(
        small_net(), "5", Outputs(NAMES), input_size=64, phantom_only=True, name="m"
    )
    return Explainer(classifier, **options)


BOTH = pytest.mark.parametrize("build", [xrv, hooked])


@BOTH
def test_a_radiograph_is_refused_by_name(build) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(
        PhantomWeightsError, match=r"r0.*m has only seen phantoms.*densenet121-res224-all"
    ) as e:
        build().explain(radiograph(False))
    assert "--allow-phantom-weights" in str(e.value)
    assert "allow_phantom_weights=True" in str(e.value)


@BOTH
def test_one_radiograph_among_phantoms_is_refused_before_anything_runs(build) -> None:  # type: ignore[no-untyped-def]
    explainer = build()
    explainer.classifier.forward = None
    with pytest.raises(PhantomWeightsError, match="r1"):
        explainer.explain_batch([radiograph(True), radiograph(False, 1), radiograph(True, 2)])
    assert explainer.explain_batch([]) == []


@BOTH
def test_bare_tensors_are_refused_too(build) -> None:  # type: ignore[no-untyped-def]
    inputs = torch.zeros(1, 1, 64, 64)
    with pytest.raises(PhantomWeightsError, match="bare tensors"):
        build().explain_inputs(inputs)
    assert len(build(allow_phantom_weights=True).explain_inputs(inputs).rankings) == 1


@BOTH
@pytest.mark.parametrize("allowed", [False, True])
def test_phantoms_are_explained_either_way(build, allowed: bool) -> None:  # type: ignore[no-untyped-def]
    explanation = build(allow_phantom_weights=allowed).explain(radiograph(True))
    assert explanation.provenance.warnings == (PHANTOM_WARNING,)
    assert (explanation.provenance.phantom, explanation.provenance.phantom_only) == (True, True)


@BOTH
def test_with_permission_a_warning_stays(build, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    explanation = build(allow_phantom_weights=True).explain(radiograph(False))
    assert explanation.provenance.warnings == (PHANTOM_WEIGHTS_WARNING,)
    assert (explanation.provenance.phantom, explanation.provenance.phantom_only) == (False, True)
    assert Explanation.load(explanation.save(tmp_path / "a")).provenance == explanation.provenance


def test_another_model_explains_both() -> None:
    explainer = Explainer(XRVDenseNet(small_xrv(), input_size=64))
    for phantom in (False, True):
        provenance = explainer.explain(radiograph(phantom)).provenance
        assert (provenance.phantom, provenance.phantom_only) == (phantom, False)
        assert PHANTOM_WEIGHTS_WARNING not in provenance.warnings


@pytest.mark.parametrize(
    ("options", "top_k"),
    [
        ({}, 4),
        ({"method": "smooth-grad-cam++", "fit": "pad", "activation": "elu"}, 3),
        ({"method": "layercam", "fused": False, "xrv_compatible": True}, 2),
        ({"method": "seg-xres-cam", "normalisation": "released"}, 1),
    ],
)
def test_explanations_are_read_as_they_were_and_those_of_another_schema_refused(
    options: dict[str, Any], top_k: int, tmp_path: Path
) -> None:
    explanation = Explainer(XRVDenseNet(small_xrv(), input_size=64), **options).explain(
        radiograph(False), top_k=top_k
    )
    path = explanation.save(tmp_path / "a")
    document = json.loads(path.read_text())
    assert document["schema"] == "cxr-explain/explanation/3"
    assert Explanation.load(path).provenance == explanation.provenance
    for other in (2, 4):
        path.write_text(json.dumps({**document, "schema": f"cxr-explain/explanation/{other}"}))
        with pytest.raises(OutputError, match="explanation/3"):
            Explanation.load(path)


# --- the command line, with the weights that come with the package ---


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for _ in write_dataset(folder / "set", n=2, seed=3, size=96):
        pass
    noise = np.random.default_rng(0).integers(0, 256, (96, 96), np.uint8)
    Image.fromarray(noise).save(folder / "radiograph.png")
    return folder


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def explain(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, ["explain", *map(str, arguments), "--weights", "phantom", "--top-k", "2"])


def test_in_a_batch_each_radiograph_fails_under_its_name(files: Path, tmp_path: Path) -> None:
    result = explain(
        files / "radiograph.png", files / "set/images", files / "set/dicom", "-o", tmp_path / "out"
    )
    assert result.exit_code == 1, result.output
    (failure,) = [line for line in result.stderr.splitlines() if line.startswith("failed:")]
    assert str(files / "radiograph.png") in failure
    assert "has only seen phantoms" in failure
    assert "--allow-phantom-weights" in failure
    documents = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")]
    assert len(documents) == 4
    assert all(document["provenance"]["phantom"] for document in documents)


def test_the_command_line_gives_permission(files: Path, tmp_path: Path) -> None:
    result = explain(files / "radiograph.png", "-o", tmp_path / "out", "--allow-phantom-weights")
    assert result.exit_code == 0, result.output
    provenance = json.loads((tmp_path / "out" / "radiograph.json").read_text())["provenance"]
    assert (provenance["phantom"], provenance["phantom_only"]) == (False, True)
    assert provenance["warnings"] == [PHANTOM_WEIGHTS_WARNING]


@pytest.mark.real_data
def test_a_real_radiograph_is_refused(real_data: Path, tmp_path: Path) -> None:
    result = explain(real_data / "nih1024" / "00012045_005.png", "-o", tmp_path / "out")
    assert (result.exit_code, "has only seen phantoms" in result.stderr) == (1, True)
    assert not list((tmp_path / "out").iterdir())


def test_the_permission_is_an_option_of_from_pretrained() -> None:
    explainer = Explainer.from_pretrained("phantom", device="cpu", allow_phantom_weights=True)
    assert explainer.settings.allow_phantom_weights
    assert explainer.classifier.phantom_only
    with pytest.raises(OptionError):
        explainer.explain_inputs(torch.zeros(1))


def test_twins_of_either_polarity_have_one_explanation(tmp_path: Path) -> None:
    phantom = render(sample_patient(39), size=256)
    explainer = Explainer.from_pretrained("phantom")
    explanations = []
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        path = tmp_path / f"{photometric}.dcm"
        path.write_bytes(to_dicom(phantom, photometric))
        explanations.append(explainer.explain(read_radiograph(path)))
    first, second = explanations
    assert first.ranking.pathologies == second.ranking.pathologies
    assert first.ranking.pathologies[:2] == ("Pneumothorax", "Hernia")
    np.testing.assert_array_equal(first.class_maps, second.class_maps)
    np.testing.assert_array_equal(first.maps, second.maps)
