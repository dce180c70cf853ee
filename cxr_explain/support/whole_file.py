"""Files that are whole or not there at all, also after a kill or on a full disk; and names for them."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from cxr_explain.errors import OutputError

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_STEM = 100


def safe_stem(text: str) -> str:
    """A text with nothing in it that a file's name should not have; '' where nothing is left.

    >>> safe_stem("../../etc/passwd"), safe_stem("..")
    ('etc_passwd', '')
    """
    return _UNSAFE.sub("_", text).strip("._")[:_LONGEST_STEM]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old content or the new, never a part.

    Raises:
        OSError: as the operating system has it; what was there before is still there.
    """
    with staged(path, content) as new:
        os.replace(new, path)


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
def staged(path: Path, content: bytes) -> Iterator[Path]:
    """The content, safe on disk under a temporary name beside `path`; removed unless it was moved."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with new.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield new
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def output_errors(what: str, path: Path) -> Iterator[None]:
    """Tell what the operating system says against writing as an `OutputError`.

    Args:
        what: what is written, for example "a figure".
        path: where it is written.

    >>> with output_errors("a figure", Path("a.png")):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    cxr_explain.errors.OutputError: a.png: found a figure that cannot be written (No space left on device)...
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{what} that cannot be written ({error.strerror})",
            expected="a writable folder with room",
            source=path,
        ) from error
