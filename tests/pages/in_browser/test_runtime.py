"""Where the runtime comes from, and what is said where it is not to be had."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from networks import NAMES, small_xrv
from safetensors.torch import save_file
from typer.testing import CliRunner

from cxr_explain.cli.app import app
from cxr_explain.errors import OutputError
from cxr_explain.pages.in_browser import runtime
from cxr_explain.pages.in_browser.runtime import DIGESTS, FOLDER_VARIABLE, VERSION, runtime_files
from cxr_explain.weights import CheckpointFacts

NPM = """#!/bin/sh
PATH=/usr/bin:/bin
echo "$@" >> {log}
cp {archive} "$4/onnxruntime-web.tgz"
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """A runtime of a few bytes, no folder that is named, and a cache that is empty."""
    from hashlib import sha256

    files = {name: name.encode() for name in DIGESTS}
    monkeypatch.setattr(runtime, "DIGESTS", {name: sha256(each).hexdigest() for name, each in files.items()})
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setenv("CXR_EXPLAIN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return files


def written(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def fake_npm(folder: Path, files: dict[str, bytes]) -> Path:
    """An npm that packs these files; gives its log."""
    written(folder / "package" / "dist", files)
    with tarfile.open(folder / "made.tgz", "w:gz") as archive:
        archive.add(folder / "package", "package")
    script, log = folder / "npm", folder / "log"
    script.write_text(NPM.format(log=log, archive=folder / "made.tgz"))
    script.chmod(0o755)
    return log


@pytest.mark.parametrize("within", ["", "dist", "package/dist"])
def test_a_named_folder_is_taken(
    small: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, within: str
) -> None:
    folder = tmp_path / "named"
    written(folder / within, small)
    assert runtime_files(folder) == small
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    assert runtime_files(fetch=False) == small


def test_npm_fetches_it_once(small: dict[str, bytes], tmp_path: Path) -> None:
    log = fake_npm(tmp_path, small)
    assert runtime_files() == runtime_files() == runtime_files(fetch=False) == small
    assert log.read_text().count(f"onnxruntime-web@{VERSION}") == 1
    assert sorted(os.listdir(tmp_path / "cache" / f"onnxruntime-web-{VERSION}")) == sorted(small)


def test_other_files_are_refused(small: dict[str, bytes], tmp_path: Path) -> None:
    other = {**small, next(iter(small)): b"other"}
    with pytest.raises(OutputError, match="another digest"):
        runtime_files(written(tmp_path / "named", other))
    fake_npm(tmp_path, other)
    with pytest.raises(OutputError, match="what npm fetched has another digest"):
        runtime_files()
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("small")
def test_without_it_the_way_out_is_named(tmp_path: Path) -> None:
    for options, why in (({"fetch": False}, "may not be fetched"), ({}, "no npm to fetch it")):
        with pytest.raises(OutputError, match=why) as missing:
            runtime_files(**options)
        assert "--runtime DIR" in str(missing.value)
    with pytest.raises(OutputError, match="without the files of onnxruntime-web"):
        runtime_files(tmp_path)


def test_the_command_writes_the_page_and_says_how_to_open_it(small: dict[str, bytes], tmp_path: Path) -> None:
    folder, weights = written(tmp_path / "named", small), tmp_path / "small.safetensors"
    save_file(small_xrv(5).state_dict(), weights, CheckpointFacts(NAMES, input_size=64).to_metadata())
    options = ["export", "--weights", str(weights), "--top-k", "2", "--page", str(tmp_path / "page")]
    result = CliRunner().invoke(app, [*options, "--runtime", str(folder)])
    assert result.exit_code == 0, result.output
    assert f"python -m http.server --bind 127.0.0.1 --directory {tmp_path / 'page'}" in result.output
    names = {path.name for path in (tmp_path / "page").iterdir()}
    assert names >= {*small, "index.html", "explainer.onnx", "onnxruntime-web-LICENSE.txt", "viewer.js"}


@pytest.mark.usefixtures("small")
def test_the_command_looks_for_the_runtime_first(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", "--weights", "nowhere.pt", "--page", str(tmp_path / "page")])
    assert result.exit_code == 1
    assert "--runtime DIR" in " ".join(result.output.split())
    assert not (tmp_path / "page").exists()
