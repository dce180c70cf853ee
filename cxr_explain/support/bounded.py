"""Files and JSON that somebody else made, read within limits that are checked before the work is done."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any, BinaryIO, cast

LONGEST_JSON = 2**24
"""Bytes of a JSON file, where its kind has no limit of its own."""

_MEMORY_PER_BYTE = 24  # of JSON; numbers and text take about half of it
_SPARE_MEMORY = 2**29  # bytes
_MEMORY_OF = {"{": 184, "[": 64, ",": 72, ":": 72}  # bytes, of what each begins or separates

_CHUNK = 2**24  # bytes
_LONGEST_SHOWN = 60
_LARGEST_SHOWN = 4096  # bits of a number; Python refuses to write numbers beyond 14,000 bits in digits


@contextmanager
def open_regular(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """Open a regular file to read from it: a pipe would be waited for, and a device never ends.

    Args:
        path: the file; links are followed.

    Raises:
        OSError: as the operating system has it; also for whatever is no regular file.

    >>> with open_regular("/dev/zero"):
    ...     pass
    Traceback (most recent call last):
    OSError: [Errno 22] a folder, or no regular file
    """
    with open(path, "rb", opener=_regular) as stream:
        yield cast(BinaryIO, stream)


def read_bounded(path: str | PathLike[str], most: int) -> bytes:
    """The content of a regular file that is no longer than a limit.

    Args:
        path: the file; links are followed.
        most: number of bytes at most.

    Raises:
        OSError: as the operating system has it; also for a longer file, and for whatever is no regular file.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(b"four"), file.flush()
    ...     read_bounded(file.name, 4)
    b'four'
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > most:
            raise _too_long(most)
        content = stream.read(size + 1)
        while size < len(content) <= most:  # it has grown, or its file system does not know its size
            size = len(content)
            content += stream.read(min(_CHUNK, most + 1 - size))
    if len(content) > most:
        raise _too_long(most)
    return content


def parse_json(
    text: bytes | str,
    *,
    most: int = LONGEST_JSON,
    pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
    numbers: Callable[[str], Any] | None = None,
) -> Any:
    """What a JSON text says; whatever is wrong with it is a ValueError.

    Args:
        text: the JSON, as text or in UTF-8.
        most: how long it may be: characters, or bytes.
        pairs: makes something of the entries of an object; by default a dictionary.
        numbers: makes something of a number with a fraction or exponent, of NaN and of Infinity; by default a
            float.

    Raises:
        ValueError: no JSON, a longer one, one whose values lie within each other without end, or one of so
            many small values that they would fill the memory.

    >>> parse_json('{"size": [3, 4]}')
    {'size': [3, 4]}
    >>> parse_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: JSON that is nested too deeply
    """
    if len(text) > most:
        raise ValueError(f"JSON of more than {most:,} bytes")
    if _memory_of(text) > _SPARE_MEMORY + _MEMORY_PER_BYTE * len(text):
        raise ValueError("JSON of more values than there is memory for")
    try:
        return json.loads(text, object_pairs_hook=pairs, parse_float=numbers, parse_constant=numbers)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def quoted(value: object) -> str:
    r"""A value as a message may show it: one line, without signs that act, and at most 60 characters.

    No more of the value is looked at than is shown: a pickle of a few bytes may hold a list that takes for
    ever to write down.

    >>> quoted("a\nb"), quoted(["a" * 100])
    ("'a\\nb'", "['aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...")
    >>> quoted(10**5000)
    'a number of 16610 bits'
    """
    text = ""
    for piece in _pieces(value):
        text += piece
        if len(text) > _LONGEST_SHOWN:
            return f"{text[: _LONGEST_SHOWN - 3]}..."
    return text


def _memory_of(text: bytes | str) -> int:
    """Bytes that the values of a JSON text take at most."""
    if isinstance(text, bytes):
        return sum(memory * text.count(sign.encode()) for sign, memory in _MEMORY_OF.items())
    return sum(memory * text.count(sign) for sign, memory in _MEMORY_OF.items())


def _pieces(value: object) -> Iterator[str]:
    """What `repr` gives, bit by bit: each level of nesting gives a character before the next one."""
    if isinstance(value, (str, bytes)):
        yield repr(value[: _LONGEST_SHOWN + 1])
    elif isinstance(value, int) and value.bit_length() > _LARGEST_SHOWN:
        yield f"a number of {value.bit_length()} bits"
    elif type(value) in (list, tuple):
        items = cast("list[object]", value)
        yield "[" if isinstance(value, list) else "("
        for at, item in enumerate(items):
            yield ", " if at else ""
            yield from _pieces(item)
        yield "]" if isinstance(value, list) else ",)" if len(items) == 1 else ")"
    elif type(value) is dict:
        yield "{"
        for at, (key, item) in enumerate(value.items()):
            yield ", " if at else ""
            yield from _pieces(key)
            yield ": "
            yield from _pieces(item)
        yield "}"
    else:
        yield ascii(value)


def _regular(path: str, flags: int) -> int:
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # else opening a pipe waits for a writer
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "a folder, or no regular file")
    return handle


def _too_long(most: int) -> OSError:
    return OSError(errno.EFBIG, f"more than {most:,} bytes")
