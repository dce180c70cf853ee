"""A file is the old one or the new one, whatever stops its writing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cxr_explain.support.whole_file import staged, write_whole

FULL = """
import resource, signal, sys
from pathlib import Path
from cxr_explain.support.whole_file import write_whole
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4, resource.RLIM_INFINITY))
try:
    write_whole(Path(sys.argv[1]), b"too long")
except OSError as error:
    print(error.strerror)
"""

KILLED = """
import os, signal, sys
from pathlib import Path
from cxr_explain.support.whole_file import staged
with staged(Path(sys.argv[1]), b"new"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    return path


def test_the_new_content_takes_the_place_of_the_old(old: Path) -> None:
    write_whole(old, b"new")
    assert old.read_bytes() == b"new"
    assert [path.name for path in old.parent.iterdir()] == ["a"]


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits")
def test_a_full_disk_leaves_the_old_content_and_nothing_else(old: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", FULL, str(old)], capture_output=True, text=True, check=True
    )
    assert result.stdout == "File too large\n"
    assert old.read_bytes() == b"old"
    assert [path.name for path in old.parent.iterdir()] == ["a"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_kill_leaves_the_old_content(old: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(old)]).returncode == -9
    assert old.read_bytes() == b"old"


def test_an_error_before_the_move_leaves_nothing(old: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged(old, b"new"):
        raise ZeroDivisionError
    assert [path.name for path in old.parent.iterdir()] == ["a"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "nowhere" / "a", b"new")
