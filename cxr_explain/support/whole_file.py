"""Files that are whole or not there at all, also after a kill or on a full disk; and names for them."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
