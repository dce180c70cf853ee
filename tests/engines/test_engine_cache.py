"""What is kept on disk: found again, never trusted blindly, never worth a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxr_explain.engines import cache
from cxr_explain.engines.cache import find, forget, keep, kept
from cxr_explain.weights.folder import cache_folder


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CXR_EXPLAIN_CACHE_DIR", str(tmp_path))
    return tmp_path / "engines"


def the_file(folder: Path) -> Path:
    (path,) = folder.glob("*.kept")
    return path


def never() -> bytes:
    raise AssertionError("it is kept")


def test_what_was_made_is_found_again(folder: Path) -> None:
    assert find("a") is None
    assert kept("a", lambda: b"content") == b"content"
    assert kept("a", never) == b"content"
    assert find("b") is None
    forget("a")
    assert find("a") is None
    assert not list(folder.glob("*.kept"))


@pytest.mark.parametrize("harm", ["cut", "empty", "bit", "longer", "a pipe", "a folder", "another key's"])
def test_a_damaged_file_is_made_anew(folder: Path, harm: str) -> None:
    keep("b", b"of b")
    keep("a", b"content")
    path = next(path for path in folder.glob("*.kept") if path.read_bytes().endswith(b"content"))
    whole = path.read_bytes()
    if harm in ("a pipe", "a folder"):
        path.unlink()
        os.mkfifo(path) if harm == "a pipe" else path.mkdir()
    elif harm == "another key's":
        path.write_bytes(next(other for other in folder.glob("*.kept") if other != path).read_bytes())
    else:
        changed = {"cut": whole[:-1], "empty": b"", "longer": whole + b"x", "bit": whole[:-1] + b"T"}
        path.write_bytes(changed[harm])
    assert find("a") is None
    assert kept("a", lambda: b"made anew") == b"made anew"
    if harm != "a folder":
        assert find("a") == b"made anew"


def test_a_failure_to_make_is_passed_on_and_nothing_is_kept(folder: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        kept("a", lambda: bytes(1 // 0))
    assert find("a") is None
    assert not list(folder.glob("*"))


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null/file"])
def test_a_folder_that_cannot_be_written_is_no_error(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("CXR_EXPLAIN_CACHE_DIR", place)
    assert kept("a", lambda: b"content") == b"content"
    assert find("a") is None


def test_a_user_without_a_home_folder_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CXR_EXPLAIN_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as where nobody knows a home folder
    assert cache_folder() is None
    assert kept("a", lambda: b"content") == b"content"
    assert find("a") is None


def test_the_folder_is_the_user_s_and_nobody_else_looks_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXR_EXPLAIN_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    keep("a", b"content")
    folder = tmp_path / "xdg" / "cxr-explain" / "engines"
    assert the_file(folder).is_file()
    assert folder.stat().st_mode & 0o077 == 0


def test_what_was_not_used_for_longest_goes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, key in enumerate("abc"):
        keep(key, bytes(1000))
        for path in folder.glob("*.kept"):
            os.utime(path, (number, number)) if path.stat().st_mtime > 10 else None
    assert find("a") is not None  # used: b is now the oldest
    monkeypatch.setattr(cache, "MOST_KEPT", 3500)
    keep("d", bytes(1000))
    assert [find(key) is not None for key in "abcd"] == [True, False, True, True]


MAKES_ONCE = """
import pathlib, sys, time
from cxr_explain.engines.cache import kept

def make():
    with open(sys.argv[1], "a") as file:
        file.write("made ")
    time.sleep(1.5)
    return b"content"

assert kept("a", make) == b"content"
"""


def test_of_two_processes_one_makes_it(tmp_path: Path) -> None:
    said = tmp_path / "said"
    command = [sys.executable, "-c", MAKES_ONCE, str(said)]
    started = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(60) for process in started] == [0, 0]
    assert said.read_text() == "made "


def test_a_killed_process_leaves_no_lock_and_no_part(folder: Path, tmp_path: Path) -> None:
    said = tmp_path / "said"
    code = MAKES_ONCE.replace("time.sleep(1.5)", "time.sleep(60)")
    process = subprocess.Popen([sys.executable, "-c", code, str(said)])
    while not (said.exists() and said.read_text()):
        assert process.poll() is None
    process.kill()
    process.wait()
    assert kept("a", lambda: b"after") == b"after"
    assert [path.suffix for path in folder.iterdir()] == [".kept"]
