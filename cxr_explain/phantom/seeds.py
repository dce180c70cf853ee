"""Random numbers by name: one stream for each component, so that removing one shifts no other draw."""

from __future__ import annotations

import zlib

import numpy as np


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """The stream of one component of one phantom: Philox, keyed by the seed and the component's name.

    Args:
        seed: the phantom's seed, 0 or above.
        names: the component, for example "vessels", "left".

    >>> bool(generator(7, "ribs").random() == generator(7, "ribs").random())
    True
    >>> bool(generator(7, "ribs").random() == generator(7, "heart").random())
    False
    """
    key = tuple(zlib.crc32(str(name).encode()) for name in names)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))
