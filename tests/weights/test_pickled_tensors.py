"""Pickles of tensors and numbers: read as Python reads them, and never executed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxr_explain.errors import UnsafeWeightsError, WeightsError, WeightsIntegrityError
from cxr_explain.weights.pickled_tensors import read_pickled

GOOD: dict[str, Any] = {
    "map": torch.arange(6.0).reshape(1, 1, 2, 3),
    "double": torch.tensor([0.1], dtype=torch.float64),
    "strided": torch.arange(12.0).reshape(3, 4)[:, ::2].T,
    "single": np.float32(0.3),
    "whole": np.int64(-7),
    "true": np.bool_(True),
    "prob": 0.25,
    "task": "Pleural Effusion",
    "cxr_dims": (3, 2),
    "needs": torch.tensor(0.5, requires_grad=True),
}
TENSORS = ("map", "double", "strided", "needs")


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_it_reads_what_python_reads(protocol: int) -> None:
    read = read_pickled(pickle.dumps(GOOD, protocol))
    assert list(read.value) == list(GOOD)
    for name, value in GOOD.items():
        found = read.value[name]
        if name in TENSORS:
            assert torch.equal(read.tensor(found), value.detach())
            assert read.tensor(found).dtype == value.dtype
        else:
            assert found == value
            assert type(found) in (int, float, bool, str, tuple)


def test_tensors_that_share_a_storage_are_read() -> None:
    whole = torch.arange(4.0)
    read = read_pickled(pickle.dumps([whole, whole[1:]]))
    assert [read.tensor(each).tolist() for each in read.value] == [[0, 1, 2, 3], [1, 2, 3]]


class Calls:
    """A pickle that has something called."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.called = (function, arguments)

    def __reduce__(self) -> Any:
        return self.called


def hostile(trace: Path) -> dict[str, bytes]:
    """Pickles that would make a file, and others that ask for what no map needs."""
    command = f"touch {trace}"
    inner = pickle.dumps(Calls(os.system, command))
    storage = getattr(torch.storage, "_load_from_bytes")  # noqa: B009 - a private name, as pickles have it
    return {
        "system": pickle.dumps({"map": Calls(os.system, command)}),
        "protocol 0": pickle.dumps({"map": Calls(os.system, command)}, 0),
        "eval": pickle.dumps(Calls(eval, f"open({str(trace)!r}, 'w')")),
        "exec": pickle.dumps({"map": GOOD["map"], "prob": Calls(exec, f"open({str(trace)!r}, 'w')")}),
        "within a storage": pickle.dumps({"map": Calls(storage, inner)}),
        "within a storage, after a magic number": pickle.dumps(
            Calls(storage, pickle.dumps(0x1950A86A20F9469CFC6C) + pickle.dumps(1001) + inner)
        ),
        "torch.load": pickle.dumps(Calls(torch.load, str(trace))),
        "a dotted name": b"\x80\x04\x8c\x05torch\x8c\x18storage._load_from_bytes\x93.",
        "an attribute": b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93.",
        "numpy loads": b"cnumpy\nload\n(S'x'\ntR.",
    }


@pytest.mark.parametrize("name", list(hostile(Path("trace"))))
def test_a_hostile_pickle_is_refused_and_not_executed(name: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with pytest.raises(WeightsError):
        read_pickled(hostile(trace)[name])
    assert not trace.exists()


def test_what_it_asks_for_is_named() -> None:
    with pytest.raises(UnsafeWeightsError, match=r"asks for (posix|nt)\.system"):
        read_pickled(pickle.dumps(Calls(os.system, "true")))


def test_a_pickle_that_is_cut_anywhere_is_refused() -> None:
    content = pickle.dumps(GOOD)
    for end in range(0, len(content), 7):
        with pytest.raises(WeightsError):
            read_pickled(content[:end])


def test_a_flipped_byte_gives_a_value_or_an_error_of_this_package() -> None:
    content = pickle.dumps({"map": GOOD["map"], "prob": np.float64(0.5), "cxr_dims": (3, 2)})
    draws = np.random.default_rng(0)
    for at in draws.integers(0, len(content), 300):
        changed = bytearray(content)
        changed[at] ^= 1 << int(draws.integers(8))
        try:
            read = read_pickled(bytes(changed))
            if isinstance(read.value, dict) and hasattr(read.value.get("map"), "stride"):
                read.tensor(read.value["map"])
        except WeightsError:
            pass


def test_storages_are_limited_and_must_be_there() -> None:
    storage = getattr(torch.storage, "_load_from_bytes")  # noqa: B009
    one = pickle.dumps(GOOD["map"])
    assert one.count(b"_load_from_bytes") == 1
    many = pickle.dumps([torch.zeros(1) for _ in range(65)])
    with pytest.raises(WeightsIntegrityError, match="64 at most"):
        read_pickled(many)
    with pytest.raises(WeightsIntegrityError, match="no bytes"):
        read_pickled(pickle.dumps(Calls(storage, 3)))
    forged = (
        b"\x80\x02ctorch._utils\n_rebuild_tensor\n"
        b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x00zX\x03\x00\x00\x00cpuK\x01NtQ"
        b"K\x00K\x01\x85K\x01\x85tR."
    )
    read = read_pickled(forged)
    with pytest.raises(WeightsIntegrityError, match="without its storage"):
        read.tensor(read.value)


def test_numbers_of_another_order_or_kind_are_refused() -> None:
    with pytest.raises(WeightsIntegrityError, match="not described"):
        read_pickled(pickle.dumps(np.dtype(">f8").type(0.5)).replace(b"\x8c\x01<", b"\x8c\x01>"))
    for other in (np.complex128(1), np.str_("a"), np.datetime64("2020")):
        with pytest.raises(WeightsError):
            read_pickled(pickle.dumps(other))
