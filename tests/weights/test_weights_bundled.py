"""The weights that come with the package: pinned, never fetched, never written; whatever it learned."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from benchmarks.phantom_model.making import write_pin
from cxr_explain.cli.app import app
from cxr_explain.errors import UnknownWeightsError, WeightsIntegrityError, WeightsNotFoundError
from cxr_explain.models.pretrained import from_pretrained
from cxr_explain.phantom import FINDINGS
from cxr_explain.weights import (
    BUNDLED,
    ENTRIES,
    CheckpointFacts,
    fetch,
    find_entry,
    list_weights,
    open_weights,
    resolve,
    verify,
)
from cxr_explain.weights import folder as folder_module
from cxr_explain.weights.digests import pin_path, pinned_digest

ENTRY = find_entry("phantom")
PATH = Path(folder_module.__file__).parent / "bundled" / ENTRY.file_name


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CXR_EXPLAIN_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.setenv("CXR_EXPLAIN_WEIGHTS_URL", "http://127.0.0.1:9")

    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The bundled file in a package folder that may be damaged."""
    shutil.copytree(PATH.parent, tmp_path / "package" / "bundled")
    monkeypatch.setattr(folder_module, "__file__", str(tmp_path / "package" / "folder.py"))
    return tmp_path / "package" / "bundled" / ENTRY.file_name


def test_name_and_alias_are_found_and_listed_after_the_published_ones() -> None:
    assert find_entry("densenet-res224-phantom") is ENTRY is BUNDLED[0]
    assert ENTRY not in ENTRIES
    assert ENTRY.trained_on == "phantoms"
    assert all(entry.trained_on == "radiographs" and not entry.bundled for entry in ENTRIES)
    with pytest.raises(UnknownWeightsError, match=r"Did you mean.*phantom"):
        find_entry("phantoms")


@pytest.mark.parametrize("weights_dir", [None, "elsewhere"])
def test_it_lies_in_the_package_whatever_the_folder(weights_dir: str | None) -> None:
    for path in (resolve("phantom", weights_dir), fetch("phantom")):
        assert path == PATH
    assert pinned_digest(PATH) == hashlib.sha256(PATH.read_bytes()).hexdigest()


def test_the_file_says_what_it_is() -> None:
    facts = CheckpointFacts.of_file(PATH)
    assert facts.trained_on == "phantoms"
    assert set(facts.pathologies or ()) == set(FINDINGS)
    opened, _ = open_weights("phantom")
    assert opened.name == "densenet-res224-phantom"
    assert opened.sha256 == pinned_digest(PATH)
    assert opened.entry is not None
    assert opened.entry.pathologies == facts.pathologies
    (row,) = (row for row in list_weights("/nowhere") if row.name == ENTRY.name)
    assert row.present
    assert row.recorded_sha256 == pinned_digest(PATH)
    assert row.entry == opened.entry


def test_the_classifier_is_what_the_file_says() -> None:
    classifier = from_pretrained("phantom", fetch=False)
    facts = CheckpointFacts.of_file(PATH)
    assert classifier.phantom_only
    assert classifier.name == "densenet-res224-phantom"
    assert classifier.pathologies == facts.pathologies
    assert classifier.operating_points == (facts.operating_points or (None,) * len(FINDINGS))
    assert classifier.input_size == (facts.input_size or 224)
    size = classifier.input_size
    assert classifier.forward(torch.zeros(1, 1, size, size)).logits.isfinite().all()


def test_the_file_by_its_path_is_for_phantoms_too(tmp_path: Path) -> None:
    assert from_pretrained(shutil.copy(PATH, tmp_path / "mine.safetensors")).phantom_only


def test_a_published_name_does_not_hide_that_a_file_knows_phantoms_alone(tmp_path: Path) -> None:
    from torchxrayvision.models import DenseNet

    entry = find_entry("nih")
    metadata = CheckpointFacts(trained_on="phantoms").to_metadata()
    save_file(DenseNet().state_dict(), tmp_path / entry.file_name, metadata)
    assert from_pretrained("nih", weights_dir=tmp_path).phantom_only


def test_using_it_writes_nothing(copy: Path, tmp_path: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    from_pretrained("phantom")
    verify("phantom")
    fetch("phantom")
    list_weights()
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_a_changed_file_is_refused(copy: Path) -> None:
    state = load_file(copy)
    state["classifier.bias"] += 1
    save_file(state, copy, CheckpointFacts.of_file(PATH).to_metadata())
    for use in (from_pretrained, verify):
        with pytest.raises(WeightsIntegrityError, match=r"SHA-256 .*pins.*Install cxr-explain again"):
            use("phantom")
    with pytest.raises(WeightsIntegrityError, match=r"accept another.*pins"):
        verify("phantom", accept=True)
    write_pin(copy)
    assert verify("phantom").sha256 == pinned_digest(copy)


@pytest.mark.parametrize(
    "pin", [None, b"", b"abc  x.safetensors\n", b"\xff\xfe", b"0" * 64 + b"  other.safetensors\n"]
)
def test_a_pin_that_cannot_be_read_is_refused(pin: bytes | None, copy: Path) -> None:
    pin_path(copy).unlink()
    if pin is not None:
        pin_path(copy).write_bytes(pin)
    with pytest.raises(WeightsIntegrityError, match=r"no pinned SHA-256.*again"):
        from_pretrained("phantom")
    assert any(row.name == ENTRY.name for row in list_weights())


def test_a_missing_file_is_never_fetched(copy: Path) -> None:
    copy.unlink()
    for use in (resolve, fetch, from_pretrained, verify):
        with pytest.raises(WeightsNotFoundError, match=r"comes with cxr-explain.*Install cxr-explain again"):
            use("phantom")
    (row,) = (row for row in list_weights() if row.name == ENTRY.name)
    assert not row.present


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_sha256sum_reads_the_pin() -> None:
    subprocess.run(["sha256sum", "--check", "--status", pin_path(PATH).name], cwd=PATH.parent, check=True)


def test_the_weights_commands_know_it() -> None:
    run = CliRunner()
    digest = pinned_digest(PATH)
    listed = run.invoke(app, ["weights", "list"])
    (line,) = (line for line in listed.stdout.splitlines() if line.startswith("densenet-res224-phantom"))
    assert "phantoms only" in line
    assert str(len(FINDINGS)) in line.split()
    assert digest[:12] in line
    assert run.invoke(app, ["weights", "path", "phantom"]).stdout.strip() == str(PATH)
    for command in ("verify", "fetch"):
        result = run.invoke(app, ["weights", command, "phantom"])
        assert (result.exit_code, result.stdout) == (0, f"{digest}  {PATH}\n")
    accepted = run.invoke(app, ["weights", "verify", "phantom", "--accept"])
    assert accepted.exit_code == 1
    assert "pins" in accepted.stderr
    assert not os.path.exists(os.environ["XDG_STATE_HOME"])
