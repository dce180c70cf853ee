"""What took long to make and can be made again: kept on disk under a key that says all that it depends on.

Each file begins with the SHA-256 of key and content. One that is cut, damaged, or another key's is made
anew, and so is one in a folder that cannot be read; one that cannot be written is not kept. Nothing here is
worth a failure.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from cxr_explain._version import __version__
from cxr_explain.support.bounded import read_bounded
from cxr_explain.support.locks import exclusive
from cxr_explain.support.whole_file import growing
from cxr_explain.weights.folder import cache_folder

MOST_KEPT = 2**31
"""Bytes in the folder; what was not used for the longest time goes first."""

_ENDING = ".kept"
_DIGEST = 32  # bytes
_ROOMS = ("engines", "models")


def kept(key: str, make: Callable[[], bytes]) -> bytes:
    """What is kept under a key; made and kept where it is not there. Of several processes one makes it.

    Args:
        key: all that the content depends on.
        make: gives the content; what it raises is passed on, and nothing is kept.

    >>> kept("an example", lambda: b"made"), find("an example")
    (b'made', b'made')
    >>> forget("an example")
    """
    if (content := find(key)) is not None:
        return content
    with _alone(key):
        if (content := find(key)) is None:
            content = make()
            keep(key, content)
        return content


def find(key: str) -> bytes | None:
    """What is kept under a key; None where there is nothing, or nothing whole."""
    if (place := _place(key)) is None:
        return None
    try:
        found = read_bounded(place, MOST_KEPT)
    except OSError:
        return None
    content = found[_DIGEST:]
    if found[:_DIGEST] != _digest(key, content):
        return None
    with suppress(OSError):
        os.utime(place)  # it was used: see `_make_room`
    return content


def keep(key: str, content: bytes) -> None:
    """Keep something under a key, whole or not at all; what was there is replaced."""
    if (place := _place(key)) is None:
        return
    with suppress(OSError):
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with growing(place) as file:
            file.write(_digest(key, content))
            file.write(content)
        _make_room(place.parent)


def forget(key: str) -> None:
    """Remove what is kept under a key: it was whole, and is of no use."""
    if (place := _place(key)) is not None:
        with suppress(OSError):
            place.unlink()


@cache
def versions(*packages: str) -> str:
    """The versions of packages, and what this package's own code for models and engines is.

    >>> versions("torch").startswith("cxr_explain ")
    True
    """
    own, code = Path(__file__).parent.parent, hashlib.sha256()
    for source in sorted(path for room in _ROOMS for path in (own / room).glob("*.py")):
        code.update(source.read_bytes())
    others = (f"{package} {_version(package)}" for package in packages)
    return ", ".join((f"cxr_explain {__version__} {code.hexdigest()[:16]}", *others))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _place(key: str) -> Path | None:
    folder = cache_folder()
    return folder and folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}{_ENDING}"


def _digest(key: str, content: bytes) -> bytes:
    digest = hashlib.sha256(key.encode())
    digest.update(content)
    return digest.digest()


@contextmanager
def _alone(key: str) -> Iterator[None]:
    """Hold the key's lock; where that cannot be had, as in a folder that cannot be written, do without."""
    with ExitStack() as stack:
        if (place := _place(key)) is not None:
            with suppress(OSError):
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                stack.enter_context(exclusive(place.with_suffix(".lock"), waiting=lambda: None))
        yield


def _make_room(folder: Path) -> None:
    """Remove what was not used for the longest time, until the rest is no more than `MOST_KEPT`."""
    files = [(entry.stat(), entry.path) for entry in os.scandir(folder) if entry.name.endswith(_ENDING)]
    room = MOST_KEPT
    for stat, path in sorted(files, key=lambda file: file[0].st_mtime, reverse=True):
        room -= stat.st_size
        if room < 0:
            os.unlink(path)
