"""Work that makes many objects at once, without the search for garbage that these would cause."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """No search for cyclic garbage for the time of a block; what is there is found after it.

    The switch is the process's own. Of two threads with such a block the first one out may end the rest
    of the other's: that one is then slower, no more.

    >>> with without_collection():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
