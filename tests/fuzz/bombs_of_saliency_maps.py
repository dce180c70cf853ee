"""CheXlocalize's pickles that ask for more than a saliency map is."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

from bomb_parts import MIB, writes
from bombs import Bomb

MAP = "bomb_readers:saliency_map"
NAME = "patient1_study1_view1_frontal_Edema_map.pkl"
LOADS = b"ctorch.storage\n_load_from_bytes\n"


def bombs() -> Iterator[Bomb]:
    """All of them; nothing is made before a bomb's `make` is called."""
    for name, content in _contents():
        yield Bomb(f"saliency map, {name}", MAP, writes(NAME, content))


def _entries(**changed: Any) -> bytes:
    import torch

    found = {"map": torch.eye(7)[None, None], "prob": 0.5, "task": "Edema", "cxr_dims": (7000, 7000)}
    return pickle.dumps(found | changed)


def _contents() -> Iterator[tuple[str, Callable[[], bytes]]]:
    import torch

    yield "the largest radiograph", _entries
    yield "a larger radiograph", lambda: _entries(cxr_dims=(10**6, 10**6))
    yield "a map that repeats one number", lambda: _entries(map=torch.zeros(1).expand(1, 1, 10**5, 10**5))
    yield "one storage, asked for again and again", _again
    yield "a hundred megabytes of pixels", lambda: _entries(cxr_img=torch.zeros(100 * MIB // 4))
    yield "a file beyond the limit", lambda: _entries(cxr_img=torch.zeros(300 * MIB // 4))
    yield "lists within each other", lambda: b"]" * (50 * MIB)
    yield "a dictionary of a million keys", lambda: pickle.dumps(dict.fromkeys(range(1_000_000)))


def _again() -> bytes:
    """Storages of a megabyte that the pickle has once, and loads for every five bytes."""
    import torch

    inner = pickle.dumps(torch.zeros(MIB // 4))
    start = inner.index(b"B")  # the bytes of the storage, with their length before them
    size = 5 + int.from_bytes(inner[start + 1 : start + 5], "little")
    held = b"\x80\x04" + inner[start : start + size] + b"q\x00" + LOADS + b"q\x01"
    return held + b"h\x01h\x00\x85R0" * 1_000_000 + b"."
