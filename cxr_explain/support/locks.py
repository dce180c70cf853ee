"""Locks between processes that the operating system releases when their holder dies."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PAUSE = 0.1  # seconds between two tries
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)  # a link that somebody put there must not make a file elsewhere


@contextmanager
def exclusive(path: Path, waiting: Callable[[], object] | None = None) -> Iterator[None]:
    """Hold the lock file `path` until the block ends.

    The lock is the kernel's lock on the open file, not the file's existence: after `kill -9` it is free, and
    a file left over means nothing.

    Args:
        path: made where it is not there; its folder exists.
        waiting: called once where another process holds the lock, before waiting for it; None: do not wait.

    Raises:
        BlockingIOError: another process holds the lock, and `waiting` is None.
        OSError: the file cannot be made or locked, as the operating system has it.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "lock"
    >>> with exclusive(path), exclusive(path):
    ...     pass
    Traceback (most recent call last):
    BlockingIOError: [Errno ...] ...
    """
    handle = _acquire(path, waiting)
    try:
        yield
    finally:
        # Unlinked before it is released: whoever opened it meanwhile finds out in `_try`, and opens anew.
        # Windows refuses to delete an open file; it is then left behind, which is harmless.
        with suppress(OSError):
            os.unlink(path)
        os.close(handle)


def hold(path: Path, handle: int) -> bool:
    """Say that the process that made a file lives, until the file is closed or the process ends.

    Where the file system knows no locks, nothing can be said, and `remove_unheld` removes nothing.

    Args:
        path: the file, which this process has just made.
        handle: the open file.

    Returns:
        Whether the file is still there; `remove_unheld` may have come first.
    """
    try:
        _hold(handle)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return _is_still(path, handle)


def remove_unheld(path: Path) -> bool:
    """Remove a file whose maker held it, if that process is dead.

    Returns:
        Whether it is gone.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a"
    >>> with path.open("xb") as file:
    ...     hold(path, file.fileno()), remove_unheld(path)
    (True, False)
    >>> path.touch()
    >>> remove_unheld(path), path.exists()
    (True, False)
    """
    try:
        _remove_unheld(path)
    except FileNotFoundError:
        return True
    except OSError:  # it is held, somebody else's, or no file at all
        return False
    return True


def _acquire(path: Path, waiting: Callable[[], object] | None) -> int:
    try:
        return _try(path)
    except BlockingIOError:
        if waiting is None:
            raise
    waiting()
    while True:
        time.sleep(_PAUSE)
        with suppress(BlockingIOError):
            return _try(path)


def _try(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINKS, 0o666)
        try:
            _lock(handle)
            if _is_still(path, handle):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except PermissionError:  # how Windows says that another process holds it
            raise BlockingIOError(errno.EAGAIN, "held by another process") from None

    def _hold(handle: int) -> None:
        """Nothing to do: Windows refuses to delete an open file."""

    def _remove_unheld(path: Path) -> None:
        os.unlink(path)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    _hold = _lock

    def _remove_unheld(path: Path) -> None:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK | _NO_LINKS)  # nor is a pipe waited for
        try:
            _lock(handle)
            if _is_still(path, handle):
                os.unlink(path)
        finally:
            os.close(handle)
