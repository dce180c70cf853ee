"""Read a value with tensors in it that `pickle.dump` wrote, without ever executing what it asks for.

`torch.save` keeps the numbers of tensors beside its pickle; plain pickling keeps each storage within it, as
the bytes of a file in PyTorch's older format. Both are interpreted by `inert_pickle`; besides its table this
module knows that one call, and NumPy's numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any

from cxr_explain.errors import WeightsIntegrityError
from cxr_explain.weights.checkpoint import Tensors, open_legacy
from cxr_explain.weights.inert_pickle import NumberType, StorageRecord, TensorRecord, read_pickle

if TYPE_CHECKING:
    import torch

_MOST_STORAGES = 64  # each is a file of several pickles, which a few bytes may ask for again and again
_NUMBERS = {"f2": "e", "f4": "f", "f8": "d", "b1": "?"} | {
    f"{sign}{size}": (code if sign == "i" else code.upper())
    for size, code in ((1, "b"), (2, "h"), (4, "i"), (8, "q"))
    for sign in "iu"
}
"""NumPy's numbers, by the codes of the module struct."""


@dataclass(frozen=True)
class PickledValue:
    """What a pickle holds.

    Args:
        value: plain values and containers; each tensor is a `TensorRecord`.
        tensors: makes tensors of records.
    """

    value: Any
    tensors: Tensors = field(repr=False)

    def tensor(self, record: TensorRecord) -> torch.Tensor:
        """The tensor of a record.

        Raises:
            WeightsIntegrityError: it does not fit the storages that are there.
        """
        try:
            return self.tensors.build(record)
        except (ValueError, RuntimeError, OverflowError, MemoryError) as error:
            raise WeightsIntegrityError("a malformed tensor") from error


def read_pickled(content: bytes) -> PickledValue:
    """Read what `pickle.dump` wrote of plain values and tensors; nothing in it is executed.

    Args:
        content: the bytes of the file.

    Raises:
        UnsafeWeightsError: it asks for something else.
        WeightsIntegrityError: truncated, or no pickle at all.

    >>> import pickle, torch
    >>> read = read_pickled(pickle.dumps({"map": torch.eye(2), "prob": 0.5}))
    >>> read.value["prob"], read.tensor(read.value["map"]).tolist()
    (0.5, [[1.0, 0.0], [0.0, 1.0]])
    >>> read_pickled(pickle.dumps(print))
    Traceback (most recent call last):
    cxr_explain.errors.UnsafeWeightsError: a pickle that asks for builtins.print. ...
    """
    storages: dict[str, Callable[[str], bytes]] = {}

    def load_from_bytes(content: object) -> StorageRecord:
        if not isinstance(content, bytes) or len(storages) == _MOST_STORAGES:
            raise WeightsIntegrityError(
                "storages that are no bytes, or too many", expected=f"{_MOST_STORAGES} at most"
            )
        root, read = open_legacy(content)
        if not isinstance(root, StorageRecord):
            raise WeightsIntegrityError("a storage that is none")
        key = str(len(storages))
        storages[key] = lambda _: read(root.key)
        return replace(root, key=key)

    def bytes_of(key: str) -> bytes:
        if key not in storages:
            raise WeightsIntegrityError("a tensor without its storage")
        return storages[key](key)

    known = {"torch.storage._load_from_bytes": load_from_bytes, **_NUMPY}
    value = read_pickle(BytesIO(content), further=known)
    return PickledValue(value, Tensors(bytes_of, len(content)))


def _number_type(code: object, *_: object) -> NumberType:
    if not isinstance(code, str) or code not in _NUMBERS:
        raise WeightsIntegrityError("numbers of an unknown type")
    return NumberType(code)


def _number(kind: object, content: object) -> Any:
    if not isinstance(kind, NumberType) or not isinstance(content, bytes) or kind.order not in set("<|="):
        raise WeightsIntegrityError("a number that is not described by its type and its bytes")
    form = "<" + _NUMBERS[kind.code]
    if len(content) != struct.calcsize(form):
        raise WeightsIntegrityError("a number of another length than its type has")
    return struct.unpack(form, content)[0]


_NUMPY: Mapping[str, Callable[..., Any]] = {
    "numpy.dtype": _number_type,
    "numpy.core.multiarray.scalar": _number,
    "numpy._core.multiarray.scalar": _number,
}
