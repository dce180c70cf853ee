"""`explain --stability` and `--also-weights`: in the record and in the figure, on request alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cxr_explain.cli.app import app

RUN = CliRunner()


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    assert RUN.invoke(app, ["phantom", "--n", "1", "--size", "96", "--out", str(folder)]).exit_code == 0
    return folder / "images"


def explain(images: Path, out: Path, *options: str) -> Result:
    asked = ["explain", str(images), "--weights", "phantom", "--offline", "--top-k", "2", "--out", str(out)]
    return RUN.invoke(app, [*asked, "--format", "svg", *options])


def test_the_record_and_the_figure_have_it_on_request(phantoms: Path, tmp_path: Path) -> None:
    result = explain(phantoms, tmp_path, "--stability", "--also-weights", "phantom")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("weights densenet-res224-phantom") == 2
    (record,), (figure,) = tmp_path.glob("*.json"), tmp_path.glob("*.svg")
    said = json.loads(record.read_text())
    assert len(said["stability"]["over"]) == 8
    assert said["stability_across_models"]["over"] == ["densenet-res224-phantom"]
    drawn = figure.read_text()
    for numbers in said["stability"]["maps"].values():
        assert f"stability {numbers['stability']:.2f}" in drawn
    assert "across models 1.00" in drawn


def test_neither_has_it_otherwise(phantoms: Path, tmp_path: Path) -> None:
    assert explain(phantoms, tmp_path).exit_code == 0
    (record,), (figure,) = tmp_path.glob("*.json"), tmp_path.glob("*.svg")
    assert not {"stability", "stability_across_models"} & set(json.loads(record.read_text()))
    assert "stability" not in figure.read_text()


def test_weights_that_are_not_there_are_one_line(phantoms: Path, tmp_path: Path) -> None:
    result = explain(phantoms, tmp_path / "out", "--also-weights", str(tmp_path / "none.pt"))
    assert result.exit_code == 1
    assert "none.pt" in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()
