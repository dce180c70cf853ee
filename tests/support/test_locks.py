"""One process at a time holds a lock, whatever becomes of it; each test has a second process."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cxr_explain.support.locks import exclusive

HOLDS = """
import sys
from pathlib import Path
from cxr_explain.support.locks import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def hold(path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start a process that holds the lock until its input ends."""
    processes: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDS, str(path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        with process:  # closes its pipes
            process.kill()


def test_a_lock_that_another_process_holds_is_refused(path: Path, hold: Callable[[], object]) -> None:
    hold()
    with pytest.raises(BlockingIOError), exclusive(path):
        pytest.fail("two processes hold one lock")


def test_who_waits_says_so_once_and_gets_it(path: Path, hold: Callable[[], subprocess.Popen[str]]) -> None:
    holder, said = hold(), []

    def waiting() -> None:
        said.append(holder.poll())
        assert holder.stdin is not None
        threading.Timer(0.3, holder.stdin.close).start()  # it lets go while this process waits

    with exclusive(path, waiting):
        assert holder.wait() == 0
    assert said == [None]


def test_a_killed_holder_leaves_a_free_lock(path: Path, hold: Callable[[], subprocess.Popen[str]]) -> None:
    holder = hold()
    holder.kill()
    holder.wait()
    assert path.exists(), "nothing could tidy up"
    with exclusive(path):
        pass
    hold()  # and so for the next process


def test_nothing_is_left_of_a_lock(path: Path) -> None:
    with exclusive(path):
        assert path.exists()
    assert sys.platform == "win32" or not path.exists()


def test_a_lock_is_free_after_an_error(path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(path):
        raise ZeroDivisionError
    with exclusive(path):
        pass


def test_a_folder_that_is_not_there_is_no_held_lock(path: Path) -> None:
    with pytest.raises(FileNotFoundError), exclusive(path / "lock", waiting=pytest.fail):
        pass


def test_among_many_only_one_holds_it_at_a_time(path: Path, tmp_path: Path) -> None:
    """Each adds 1 to what it reads, 50 times; a second holder, or an unlinked lock, would lose some."""
    count = tmp_path / "count"
    count.write_text("0")

    def add() -> None:
        for _ in range(50):
            with exclusive(path, waiting=lambda: None):
                count.write_text(str(int(count.read_text()) + 1))

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count.read_text() == "200"
