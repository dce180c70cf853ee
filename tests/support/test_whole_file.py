"""A file is the old one or the new one, whatever stops its writing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cxr_explain.support.whole_file import growing, staged, staging_folder, tidy, write_whole

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

WRITES = """
import sys
from pathlib import Path
from cxr_explain.support.whole_file import growing, staging_folder
path = Path(sys.argv[1])
with growing(path) as file, staging_folder(path.parent) as folder:
    file.write(b"ne")
    (folder / "copy").write_bytes(b"a radiograph")
    print("written", flush=True)
    sys.stdin.read()
    file.write(b"w")
"""

MANY = """
import sys
from pathlib import Path
from cxr_explain.support.whole_file import tidy, write_whole
for number in range(100):
    tidy(Path(sys.argv[1]))
    write_whole(Path(sys.argv[1], f"{number % 3}"), b"whole")
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


@pytest.fixture
def writer(old: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start a process that is in the middle of writing until its input ends."""
    processes: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", WRITES, str(old)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        return process

    yield start
    for process in processes:
        with process:
            process.kill()


def test_what_the_dead_left_goes_and_what_the_living_write_stays(
    old: Path, writer: Callable[[], subprocess.Popen[str]]
) -> None:
    dead, living = writer(), writer()
    dead.kill()
    dead.wait()
    assert len(list(old.parent.iterdir())) == 1 + 2 * 3
    tidy(old.parent)
    assert len(list(old.parent.iterdir())) == 1 + 3  # the file that grows, the folder, and what holds it
    assert [path.read_bytes() for path in old.parent.rglob("copy")] == [b"a radiograph"]
    assert old.read_bytes() == b"old"
    living.communicate("")
    assert old.read_bytes() == b"new"
    assert [path.name for path in old.parent.iterdir()] == ["a"]


def test_the_next_process_that_writes_there_tidies(
    old: Path, writer: Callable[[], subprocess.Popen[str]]
) -> None:
    process = writer()
    process.kill()
    process.wait()
    write_whole(old, b"newer")  # this process has not written into this folder yet
    assert [path.name for path in old.parent.iterdir()] == ["a"]


def test_what_a_user_has_is_not_touched(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "thesis").write_text("years of work")
    folder = tmp_path / "folder"
    folder.mkdir()
    theirs = (".notes.1a2b3c4d", "a.tmp", ".cxr-explain.tmp", ".cxr-explain-0123.tmp", ".a.cxr-explain")
    for name in theirs:
        (folder / name).write_text("mine")
    stem = ".cxr-explain-{}.tmp"
    (folder / stem.format("0" * 16)).symlink_to(outside / "thesis")
    (folder / f"{stem.format('1' * 16)}.d").symlink_to(outside)
    (folder / stem.format("2" * 16)).mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / stem.format("3" * 16))  # to open one waits for somebody at its other end
    tidy(folder)
    assert all((folder / name).read_text() == "mine" for name in theirs)
    assert (outside / "thesis").read_text() == "years of work"


@pytest.mark.parametrize("processes", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_many_processes_write_and_tidy_in_one_folder(processes: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", MANY, str(tmp_path)]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(processes)]
    assert [process.communicate()[1] for process in started] == [""] * processes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"whole"}


def test_a_name_as_long_as_a_file_system_takes(tmp_path: Path) -> None:
    write_whole(tmp_path / ("a" * 255), b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a" * 255]


def test_an_error_while_it_grows_leaves_the_old_content(old: Path) -> None:
    def fail() -> None:
        with growing(old) as file, staging_folder(old.parent) as folder:
            (folder / "a").write_bytes(b"")
            file.write(b"ne")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert old.read_bytes() == b"old"
    assert [path.name for path in old.parent.iterdir()] == ["a"]


def test_an_error_before_the_move_leaves_nothing(old: Path) -> None:
    with pytest.raises(ZeroDivisionError), staged(old, b"new"):
        raise ZeroDivisionError
    assert [path.name for path in old.parent.iterdir()] == ["a"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "nowhere" / "a", b"new")
