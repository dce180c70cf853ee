"""Which images are being read: an image that brings the process down twice is read apart from then on.

A decoder in native code may crash, or never come back, on a damaged file. That ends the process, and the
next one would meet the same file again. The journal remembers which images were being read when a run ended
without saying so; those of two such ends are first tried in a process of their own, whose death is a failure
like any other.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.place import LocalPlace, Place, as_output_error
from cxr_explain.errors import CorruptImageError, CxrExplainError
from cxr_explain.loaders.settings import ReadSettings

JOURNAL = ".reading"
SUSPECT_FROM = 2
"""Ends without a word in which an image was being read. One is what any kill leaves behind."""

_NUMBER = re.compile(r"[0-9]{1,10}")

SECONDS = 120.0
"""That a suspect may take in its own process."""


class Journal:
    """The images that are being read, in a file of the run's folder; in an object store there is none.

    Args:
        place: the run's folder.
    """

    def __init__(self, place: Place) -> None:
        self._path = place.path(JOURNAL) if isinstance(place, LocalPlace) else None
        self._file: int | None = None
        self._lock = threading.Lock()
        self._ends: Counter[int] = Counter()

    def __enter__(self) -> Self:
        if self._path is not None:
            with as_output_error(self._path):
                self._ends = _ends_of(self._path.read_bytes() if self._path.exists() else b"")
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
                self._file = os.open(self._path, flags, 0o644)
                self._write("".join(f"={row} {count}\n" for row, count in self._ends.items()))
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None and self._path is not None:
            os.close(self._file)
            self._path.unlink(missing_ok=True)  # the end was said

    def is_suspect(self, row: int) -> bool:
        """Whether an image is to be tried in a separate process."""
        return self._ends[row] >= SUSPECT_FROM

    @contextmanager
    def reading(self, row: int) -> Iterator[None]:
        """An image is being read within the block."""
        self._write(f"+{row}\n")
        try:
            yield
        finally:
            self._write(f"-{row}\n")

    def _write(self, text: str) -> None:
        if self._file is not None:
            with self._lock:
                os.write(self._file, text.encode())


def _ends_of(content: bytes) -> Counter[int]:
    """How often each image was being read when a run ended without a word, from what it left behind."""
    ends: Counter[int] = Counter()
    open_: set[int] = set()
    for line in content.decode("ascii", "replace").splitlines():
        kind, numbers = line[:1], line[1:].split()
        if not numbers or not all(map(_NUMBER.fullmatch, numbers)):
            continue  # a line that was not written to its end, or not by this package
        row = int(numbers[0])
        if kind == "=" and len(numbers) == 2:
            ends[row] = int(numbers[1])
        elif kind == "+":
            open_.add(row)
        elif kind == "-":
            open_.discard(row)
            ends.pop(row, None)  # it was read to its end: no suspect
    ends.update(open_)
    return ends


def try_apart(images: ImageFolder, path: str, settings: ReadSettings, seconds: float = SECONDS) -> None:
    """Read an image in a separate process, to see whether that survives it.

    Raises:
        CorruptImageError: the process died, or did not come back.
    """
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_read, args=(images, path, settings), daemon=True)
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
        raise CorruptImageError(f"a file whose decoder did not come back within {seconds:.0f} s")
    if process.exitcode:
        raise CorruptImageError("a file that crashes its decoder")


def _read(images: ImageFolder, path: str, settings: ReadSettings) -> None:
    with suppress(CxrExplainError):  # it will be said again, where it is heard
        images.read(path, settings)
