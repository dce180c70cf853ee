"""Files that are whole or not there at all, also after a kill or on a full disk; and names for them.

What is not whole yet is a temporary file beside its place, or a temporary folder. Its writer removes it, or,
after a kill, the next process that writes into the same folder. It tells the dead from the living by the
kernel's lock, which a writer holds on its temporary file for as long as it lives, and the user's files from
ours by a name that nobody else gives.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from cxr_explain.errors import OutputError
from cxr_explain.support.locks import hold, remove_unheld

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_STEM = 100
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)

_TEMPORARY = re.compile(r"(\.cxr-explain-[0-9a-f]{16}\.tmp)(\.d)?")
"""A temporary file; with the ending, the temporary folder that lives as long as the file without it."""

_tidied: set[str] = set()
"""Folders in which this process has removed what the dead left behind: once is enough."""


def safe_stem(text: str) -> str:
    """A text with nothing in it that a file's name should not have; '' where nothing is left.

    What Windows takes for a device gets a line before it, and none begins as an option of a command does.

    >>> safe_stem("../../etc/passwd"), safe_stem(".."), safe_stem("CON"), safe_stem("-rf")
    ('etc_passwd', '', '_CON', 'rf')
    """
    stem = _UNSAFE.sub("_", text).lstrip("._-")[:_LONGEST_STEM].rstrip("._")
    return f"_{stem}" if _DEVICES.fullmatch(stem) else stem


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part.

    Raises:
        OSError: as the operating system has it; what was there before is still there.
    """
    with growing(path) as file:
        file.write(content)


def write_output(path: str | PathLike[str], content: bytes, what: str) -> Path:
    """Write a result, whole or not at all; its folder is made where it is missing.

    Args:
        path: where the file will be.
        content: the file's bytes.
        what: the result is, for the message: "a manifest".

    Returns:
        The path written.

    Raises:
        OutputError: a folder that cannot be written to.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_output(f"{folder}/new/numbers.csv", b"1,2", "a table").read_bytes()
    b'1,2'
    """
    target = Path(path)
    with output_errors(what, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, content)
    return target


@contextmanager
def growing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to bit by bit; it takes its place once the block ends without an exception.

    Raises:
        OSError: as the operating system has it; what was there before is still there.
    """
    with _temporary(path.parent) as (new, file):
        yield file
        _finish(file)
        os.replace(new, path)


@contextmanager
def staged(path: Path, content: bytes) -> Iterator[Path]:
    """The content, safe on disk under a temporary name beside `path`; removed unless it was moved."""
    with _temporary(path.parent) as (new, file):
        file.write(content)
        _finish(file)
        yield new


@contextmanager
def staging_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder that nobody else may look into; removed with what is in it then.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as parent:
    ...     with staging_folder(Path(parent)) as folder:
    ...         _ = Path(folder, "a.txt").write_text("moved"), Path(folder, "b.txt").write_text("not")
    ...         _ = Path(folder, "a.txt").rename(Path(parent, "a.txt"))
    ...     [path.name for path in Path(parent).iterdir()]
    ['a.txt']
    """
    with _temporary(parent) as (held, _):
        folder = held.with_name(f"{held.name}.d")
        try:
            folder.mkdir(0o700)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a folder, of which none takes its place before all of them are safe on disk.

    After a kill in between some are new, each whole; to write them again makes the others new, too.

    Args:
        folder: where to; made if it is missing, beside what is there.
        files: content by name.

    Raises:
        OSError: as the operating system has it; what was there before is still there, unless a file could
            not be moved.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as parent:
    ...     write_together(Path(parent, "new"), {"a.txt": b"a", "b.txt": b"b"})
    ...     sorted(path.name for path in Path(parent, "new").iterdir())
    ['a.txt', 'b.txt']
    """
    with staging_folder(folder.parent) as staging:
        for name, content in files.items():
            with (staging / name).open("xb") as file:
                file.write(content)
                _finish(file)
        folder.mkdir(exist_ok=True)
        for name in files:
            os.replace(staging / name, folder / name)


def is_temporary(name: str) -> bool:
    """Whether a file or folder is one that is not whole yet, by its name.

    >>> is_temporary(".cxr-explain-0123456789abcdef.tmp"), is_temporary(".cache.tmp")
    (True, False)
    """
    return _TEMPORARY.fullmatch(name) is not None


def tidy(folder: Path) -> None:
    """Remove what processes that are dead left half-written in a folder; what is being written stays."""
    with suppress(OSError):  # writing there will say what is wrong with the folder
        for name in os.listdir(folder):
            if found := _TEMPORARY.fullmatch(name):
                held = folder / found[1]
                if remove_unheld(held):
                    shutil.rmtree(f"{held}.d", ignore_errors=True)
    _tidied.add(os.path.abspath(folder))


@contextmanager
def _temporary(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """A new file that is known to be alive until the block ends; removed then, unless it was moved."""
    if os.path.abspath(folder) not in _tidied:
        tidy(folder)
    new, file = _made(folder)
    try:
        yield new, file
    finally:
        with suppress(OSError):  # what could not be written was said before
            file.close()
        new.unlink(missing_ok=True)


def _made(folder: Path) -> tuple[Path, BinaryIO]:
    """Another, where somebody who tidied took it for one of the dead before it was held."""
    while True:
        new = folder / f".cxr-explain-{secrets.token_hex(8)}.tmp"
        file = new.open("xb")
        if hold(new, file.fileno()):
            return new, file
        file.close()


def _finish(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    if sys.platform == "win32":
        file.close()  # which does not move an open file


@contextmanager
def output_errors(what: str, path: Path | str, *, remedy: str | None = None) -> Iterator[None]:
    """Tell what the operating system says against writing as an `OutputError`.

    Args:
        what: what is written, for example "a figure".
        path: where it is written.
        remedy: the way out.

    >>> with output_errors("a figure", Path("a.png")):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    cxr_explain.errors.OutputError: a.png: found a figure that cannot be written (No space left on device)...
    """
    try:
        yield
    except OSError as error:
        said = error.strerror or (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise OutputError(
            f"{what} that cannot be written ({said})",
            expected="a writable folder with room",
            source=path,
            remedy=remedy,
        ) from error
