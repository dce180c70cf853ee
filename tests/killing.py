"""Kill a command of this package before any of its file operations, or in the middle of a write.

The command runs in a fork of the process that tests, where everything is imported already. Python's audit
events tell of each operation before it happens, whoever asks for it. A write is cut by the kernel: past a
limit on the size of files it kills the process, once what fits is written.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir")


@dataclass(frozen=True)
class Kill:
    """Where a process is to die.

    Args:
        operation: number of the file operation, from 0, before which it dies.
        size: if given, it dies at a write past so many bytes instead, from that operation on.
        by: the signal.
    """

    operation: int
    size: int | None = None
    by: signal.Signals = signal.SIGKILL


@dataclass(frozen=True)
class Operation:
    """A file operation of a process that was not killed.

    Args:
        event: name of the audit event.
        name: the file or folder, or for a rename the one that is moved.
        size: bytes of a file that is about to be moved.
    """

    event: str
    name: str
    size: int = 0


class _Watch:
    """An audit hook that counts, and kills."""

    def __init__(self, root: Path, kill: Kill | None) -> None:
        self.root, self.kill = f"{root}{os.sep}", kill
        self.seen: list[Operation] = []

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event not in _EVENTS or (event == "open" and not args[2] & _WRITES):
            return
        path = args[0]
        # Only what removes a folder with all that is in it names files within an open folder.
        in_open_folder = event in ("os.remove", "os.rmdir") and args[1] != -1
        if not isinstance(path, (str, os.PathLike)) or not (
            in_open_folder or os.path.abspath(path).startswith(self.root)
        ):
            return
        if self.kill is not None and self.kill.operation == len(self.seen):
            if self.kill.size is None:
                self.seen.append(Operation(event, os.fspath(path)))
                os.kill(os.getpid(), self.kill.by)
                return  # Ctrl-C is an exception, which comes next
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.kill.size, resource.RLIM_INFINITY))
        size = os.path.getsize(path) if event == "os.rename" and os.path.isfile(path) else 0
        self.seen.append(Operation(event, os.fspath(path), size))


def run_command(arguments: Sequence[str], root: Path) -> list[Operation]:
    """Run a command of this package in a process of its own; it must end well.

    Args:
        arguments: words of the command line.
        root: folder in which it runs and whose operations count; temporary files are in `root/tmp`.

    Returns:
        Its file operations.
    """
    code, said = try_command(arguments, root)
    assert code == 0, (code, said)
    return [Operation(**each) for each in json.loads(said)]


def try_command(arguments: Sequence[str], root: Path, kill: Kill | None = None) -> tuple[int, str]:
    """Run a command that may end badly, or that is killed.

    Returns:
        Its exit code, negative for the signal that killed it; and what it said, or its file operations.
    """
    with tempfile.TemporaryFile("w+") as log:
        child = os.fork()
        if child == 0:
            code = 99
            try:
                code = _work(arguments, root, kill, log)
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        log.seek(0)
        return os.waitstatus_to_exitcode(status), log.read()


def _work(arguments: Sequence[str], root: Path, kill: Kill | None, log: IO[str]) -> int:
    import torch

    from cxr_explain.cli.app import app
    from cxr_explain.support import whole_file

    torch.set_num_threads(1)  # the threads of the process that was forked are not here
    whole_file._tidied.clear()  # a new process has tidied nowhere
    os.chdir(root)
    tempfile.tempdir = str(root / "tmp")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Not into the log, whose size would be limited, too.
    sys.stdout = sys.stderr = said = open(os.devnull, "w") if kill else log  # noqa: SIM115 - to the end
    watch = _Watch(root, kill)
    sys.addaudithook(watch)
    try:
        app(list(arguments), prog_name="cxr-explain")
    except SystemExit as end:
        if end.code:
            said.flush()
            return int(end.code)
    if kill is None:
        log.seek(0)
        log.truncate()
        json.dump([vars(each) for each in watch.seen], log)
        log.flush()
    return 0
