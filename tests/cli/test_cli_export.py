"""`cxr-explain export`: one file, checked, or one line that says why not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import networks
import onnx
import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner

from cxr_explain.cli.app import app
from cxr_explain.weights import CheckpointFacts

RUN = CliRunner()


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    facts = CheckpointFacts(
        pathologies=networks.NAMES,
        operating_points=(0.1, None, 0.5, 0.25, 0.75),
        training_sets=("Ours",),
        input_size=64,
        trained_on="phantoms",
    )
    path = tmp_path / "mine.safetensors"
    save_file(networks.small_xrv(5).state_dict(), path, metadata=facts.to_metadata())
    return path


def test_a_file_says_which_weights_it_is_of(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "explainer.onnx"
    asked = ["--top-k", "9", "--rank-by", "calibrated", "--fit", "pad"]
    ran = RUN.invoke(app, ["export", "--weights", str(weights), *asked, "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    assert f"{out}: equal to torch by " in ran.stdout
    assert "trained on phantoms only" in ran.stderr
    assert "K cut from 9 to 4" in ran.stderr
    about = {each.key: json.loads(each.value) for each in onnx.load(out).metadata_props}
    assert about["weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert (about["model"], about["training_sets"], about["phantom_only"]) == (
        "mine.safetensors",
        ["Ours"],
        True,
    )
    assert about["pathologies"] == list(networks.NAMES)
    assert about["operating_points"] == [0.1, None, 0.5, 0.25, 0.75]
    assert about["ranking"]["by"] == "calibrated"
    assert about["preparation"]["fit"] == "pad"
    assert about["top_k"] == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "nothing to write"),
        (["--out", "a.onnx", "--above-operating-point"], "another number for each image"),
        (
            ["--out", "a.onnx", "--method", "eigen-cam"],
            "Eigen-CAM, which takes a singular value",
        ),
        (["--out", "a.onnx", "--method", "score-cam"], "Score-CAM, which runs the model again"),
        (["--out", "a.onnx", "--pathologies", "Gout"], "Gout"),
        (["--out", ""], "a path without a name"),
    ],
)
def test_what_cannot_be_exported_is_said_before_anything_is_written(
    options: list[str], said: str, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    ran = RUN.invoke(app, ["export", "--weights", str(weights), *options])
    assert ran.exit_code == 2, ran.output
    assert said in ran.stderr
    assert "Traceback" not in ran.output
    assert list(folder.iterdir()) == []


def test_the_help_says_what_comes_out() -> None:
    ran = RUN.invoke(app, ["export", "--help"])
    assert ran.exit_code == 0
    for part in (
        "ONNX graph",
        "--top-k",
        "--method",
        "--fused / --not-fused",
        "--out, -o PATH",
        "explainer.onnx",
    ):
        assert part in ran.stdout
