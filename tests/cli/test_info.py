"""What an installation has, in text and JSON, without anything private."""

from __future__ import annotations

import getpass
import json
import platform
import re
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxr_explain._version import __version__
from cxr_explain.cli.app import app
from cxr_explain.cli.info import NOT_INSTALLED, _folder, _version_of
from cxr_explain.weights import BUNDLED


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["info", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder of somebody who keeps weights in a folder that is nobody else's business."""
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "CXR_EXPLAIN_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "dr-alice"))
    (tmp_path / "dr-alice").mkdir()
    monkeypatch.setenv("CXR_EXPLAIN_WEIGHTS_DIR", str(tmp_path / "patient-smith"))
    monkeypatch.chdir(tmp_path / "dr-alice")
    return tmp_path


def test_everything_is_said_and_nothing_private(home: Path) -> None:
    text = said("--json")
    found = json.loads(text)
    assert found["cxr-explain"]["version"] == __version__
    assert found["packages"]["torch"] == version("torch")
    assert found["extras"]["onnxruntime"].count(version("onnxruntime")) == 1
    assert found["engines"]["torch"] == "built in"
    assert found["codecs of DICOM"]["JPEG-LS lossless"] == "yes"
    assert found["letters in figures"]["Latin"] == "yes"
    assert {entry.name for entry in BUNDLED} <= set(found["weights"])
    assert found["folders"]["weights"] == "chosen by CXR_EXPLAIN_WEIGHTS_DIR, not there yet, writable"
    assert found["folders"]["cache"] == "~/.cache/cxr-explain, not there yet, writable"
    assert found["environment variables that are set"]["CXR_EXPLAIN_WEIGHTS_DIR"] == "set"
    for private in ("alice", "smith", str(home), platform.node(), f"/{getpass.getuser()}"):
        assert private not in text
    assert list(home.iterdir()) == [home / "dr-alice"], "asking made a folder"


def test_the_text_says_the_same(home: Path) -> None:
    text, found = said(), json.loads(said("--json"))
    for subject, known in found.items():
        assert f"{subject}\n" in text
        for name, words in known.items():
            assert re.search(rf"^  {re.escape(name)} +{re.escape(words)}$", text, re.M), name


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    assert _version_of("no-such-package") == NOT_INSTALLED
    assert _folder(None) == "no home folder"
    (tmp_path / "file").write_text("")
    assert _folder(tmp_path / "file" / "in-a-file").endswith("not there yet, not writable")
