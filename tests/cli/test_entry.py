"""`--help` is printed again as it was written, without what wrote it; anew where that may differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPORT = """
import json, sys
from cxr_explain.cli.entry import main
try:
    main()
finally:
    print(json.dumps("typer" in sys.modules), file=sys.stderr)
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CXR_EXPLAIN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "help"


def printed(*words: str, **environment: str) -> tuple[str, bool]:
    """What the command prints, and whether it was written anew."""
    done = subprocess.run(
        [sys.executable, "-c", REPORT, *words],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize("words", [("--help",), ("weights", "fetch", "-h")])
def test_a_help_is_printed_again(cache: Path, words: tuple[str, ...]) -> None:
    first, anew = printed(*words)
    assert anew
    assert first.strip().startswith("Usage: cxr-explain")
    assert printed(*words) == (first, False)
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes().replace(b"Usage", b"Abuse"))
    assert printed(*words) == (first, True)
    assert printed(*words) == (first, False)


def test_another_terminal_gets_its_own(cache: Path) -> None:
    wide, _ = printed("--help", COLUMNS="120")
    narrow, anew = printed("--help", COLUMNS="60")
    assert anew
    assert max(map(len, wide.splitlines())) > 60 >= max(map(len, narrow.splitlines()))
    assert printed("--help", COLUMNS="60") == (narrow, False)
    assert printed("--help", COLUMNS="60", FORCE_COLOR="1")[1]


@pytest.mark.parametrize(
    "words", [("explain", "--title", "--help"), ("a/../../b", "--help"), ("--version",), ("-",)]
)
def test_what_may_be_more_than_a_help_is_never_answered_from_memory(
    cache: Path, words: tuple[str, ...]
) -> None:
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", REPORT, *words], capture_output=True, text=True)
        assert done.stderr.splitlines()[-1] == "true"
    assert not cache.exists()


def test_a_command_that_does_not_exist_is_not_kept(cache: Path) -> None:
    done = subprocess.run([sys.executable, "-c", REPORT, "nothing", "--help"], capture_output=True, text=True)
    assert done.returncode == 2
    assert not cache.exists()


def test_a_folder_that_cannot_be_written_is_no_error() -> None:
    assert printed("--help", CXR_EXPLAIN_CACHE_DIR="/proc/nowhere")[1]


def test_as_little_is_imported_as_can_be(cache: Path) -> None:
    printed("--help")
    code = "import sys; sys.argv = ['cxr-explain', '--help']; from cxr_explain.cli.entry import main; main()"
    code += "; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    known = {name.split(".")[0] for name in done.stderr.split()}
    assert known.isdisjoint({"typer", "rich", "torch", "numpy", "typing", "pathlib", "re", "importlib.util"})
