"""Bombs: small or patient files that ask a reader for much memory or much time."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple


class Bomb(NamedTuple):
    """A file, and who reads it.

    Args:
        name: what it is, in a few words; no two bombs have one name.
        reader: "module:function", called with the file's path and nothing else. The module is imported first:
            of this package, or of this folder where one call is not enough.
        make: writes the file into a folder, which is empty, and says where it is. It runs in the test's own
            process, so that it must not fill the memory itself.
    """

    name: str
    reader: str
    make: Callable[[Path], Path]


def _by_module() -> Iterator[Iterator[Bomb]]:
    """The bombs of every `bombs_of_*` module of this folder."""
    for path in sorted(Path(__file__).parent.glob("bombs_of_*.py")):
        yield importlib.import_module(path.stem).bombs()


def all_bombs() -> Iterator[Bomb]:
    """All of them; to list them takes a second."""
    return chain.from_iterable(_by_module())


def sample() -> list[Bomb]:
    """The first two of each module, which are tried whenever the tests run: they are quick."""
    return [bomb for bombs in _by_module() for bomb in islice(bombs, 2)]
