"""Checkpoints, explanations, tables, outlines and run folders that ask for more than they are.

The tables of this module say what each is; what is large is repeated within the file, or packed, or a hole.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bombs import Bomb

from cxr_explain.reference.chexlocalize import CHEXLOCALIZE_NAMES

CHECKPOINT = "cxr_explain.weights:read_checkpoint"
CLASSIFIER = "other_readers:classifier"
EXPLANATION = "other_readers:explanation"
MANIFEST = "cxr_explain.reference.csv_file:read_manifest"
LABELS = "other_readers:labels"
BOXES = "other_readers:boxes"
OUTLINES = "other_readers:outlines"
PADCHEST = "other_readers:padchest"
NIH = "other_readers:nih"
PARQUET = "other_readers:parquet"
RUN = "other_readers:run"


def bombs() -> Iterator[Bomb]:
    """All of them; nothing is written before a bomb's `make` is called."""
    for name, program in PICKLES.items():
        yield Bomb(f"pickle: {name}", CHECKPOINT, partial(_checkpoint, program))
    for name, program in LEGACY.items():
        yield Bomb(f"legacy pickle: {name}", CHECKPOINT, partial(_written, "a.pt", program))
    for name, content in ARCHIVES.items():
        yield Bomb(f"archive: {name}", CHECKPOINT, partial(_written, "a.pt", content))
    for name, content in SAFETENSORS.items():
        yield Bomb(f"safetensors: {name}", CHECKPOINT, partial(_written, "a.safetensors", content))
    for name, content in MODELS.items():
        yield Bomb(f"model: {name}", CLASSIFIER, partial(_written, "a.pt", content))
    for name, make in EXPLANATIONS.items():
        yield Bomb(f"explanation: {name}", EXPLANATION, make)
    for name, (reader, file, content) in TABLES.items():
        yield Bomb(f"table: {name}", reader, partial(_written, file, content))
    for name, (file, content) in OUTLINE_FILES.items():
        yield Bomb(f"outlines: {name}", OUTLINES, partial(_written, file, content))
    for name, (reader, make) in SPECIAL_FILES.items():
        yield Bomb(f"special file: {name}", reader, make)
    for name, content in PARQUET_FILES.items():
        yield Bomb(f"Parquet: {name}", PARQUET, partial(_written, "a.parquet", content))
    for name, (file, content) in RUN_FILES.items():
        yield Bomb(f"run: {name}", RUN, partial(_run, file, content))


Content = Callable[[], bytes | Iterable[bytes]]


def _written(name: str, content: Content, folder: Path) -> Path:
    path = folder / name
    made = content()
    with path.open("wb") as file:
        file.writelines([made] if isinstance(made, bytes) else made)
    return path


# --- pickles: instructions by their bytes ---

SIZE = b"\x80\x02ctorch\nSize\nq\x00"
ORDERED = b"\x80\x02ccollections\nOrderedDict\nq\x00"
SET = b"\x80\x02c__builtin__\nset\nq\x00"
MODULE = b"ctorch.nn.modules.container\nSequential\n)\x81"


def _text(text: str) -> bytes:
    encoded = text.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _storage(key: str = "0", count: int = 4, kind: str = "FloatStorage") -> bytes:
    return (
        b"("
        + _text("storage")
        + f"ctorch\n{kind}\n".encode()
        + _text(key)
        + _text("cpu")
        + _int(count)
        + b"tQ"
    )


def _int(value: int) -> bytes:
    return b"J" + struct.pack("<i", value) if abs(value) < 2**31 else _long(value)


def _long(value: int) -> bytes:
    size = (value.bit_length() + 8) // 8
    return b"\x8b" + struct.pack("<i", size) + value.to_bytes(size, "little", signed=True)


def _tensor(storage: bytes, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    sides = b"(" + b"".join(map(_int, size)) + b"t", b"(" + b"".join(map(_int, stride)) + b"t"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + b"".join(sides) + b"\x89N" + b"tR"


def _state_dict(*entries: bytes) -> bytes:
    return b"\x80\x02}(" + b"".join(entries) + b"u."


def _copies(start: bytes, items: bytes, again: bytes, times: int) -> bytes:
    """A list of items in a tuple, kept as number 1; then it is copied again and again."""
    return start + b"](" + items + b"e\x85q\x01" + again * times + b"."


def _module(parts: dict[str, bytes]) -> bytes:
    state = b"".join(_text(name) + value for name, value in parts.items())
    return MODULE + b"}(" + state + b"ub"


def _modules_of_modules(depth: int, width: int) -> bytes:
    """Each module holds the one before it under several names."""
    made = b"\x80\x02" + _module({"_parameters": b"}"}) + b"q\x01"
    children = b"".join(_text(f"m{at}") + b"h\x01" for at in range(width))
    for _ in range(depth):
        made += _module({"_modules": b"}(" + children + b"u"}) + b"q\x01"
    return made + b"."


PICKLES: dict[str, Callable[[], bytes]] = {
    "torch.Size copies 200,000 entries 4,000 times": lambda: _copies(
        SIZE, b"N" * 200_000, b"h\x00h\x01R", 4000
    ),
    "the same, each copy thrown away": lambda: _copies(SIZE, b"N" * 10**6, b"h\x00h\x01R0", 400_000),
    "sets of a list": lambda: _copies(
        SET, b"".join(b"M" + struct.pack("<H", at) for at in range(60_000)), b"h\x00h\x01R", 10_000
    ),
    "dictionaries of a list of pairs": lambda: _copies(
        ORDERED,
        b"".join(b"M" + struct.pack("<H", at) + b"N\x86" for at in range(60_000)),
        b"h\x00h\x01R",
        10_000,
    ),
    "a list that is extended by a list of references": lambda: (
        b"\x80\x02]q\x00](" + b"h\x00" * 1_000_000 + b"e" + b"."
    ),
    "ten lists of ten lists, thirty deep": lambda: (
        b"\x80\x02]q\x00" + b"(" + b"".join([b"(" + b"h\x00" * 10 + b"lq\x00" for _ in range(30)]) + b"h\x00."
    ),
    "a dictionary whose keys are lists in lists": lambda: b"\x80\x02}(" + b")" + b"\x85" * 1000 + b"Nu.",
    "ten modules of ten modules, thirty deep": lambda: _modules_of_modules(30, 10),
    "modules that hold themselves": lambda: (
        b"\x80\x02" + MODULE + b"q\x01}" + _text("_modules") + b"}" + _text("m") + b"h\x01ssb."
    ),
    "ten modules of ten modules with a tensor each": lambda: _modules_of_modules(7, 10).replace(
        _text("_parameters") + b"}",
        _text("_parameters") + b"}" + _text("w") + _tensor(_storage(), (4,), (1,)) + b"s",
    ),
    "the hash of a tuple of a million levels": lambda: SET + b"](" + b")" + b"\x85" * 1_000_000 + b"e\x85R.",
    "the hash of a tuple of a million levels in a pair": lambda: (
        ORDERED + b"](" + b")" + b"\x85" * 1_000_000 + b"N\x86e\x85R."
    ),
    "a tuple of a million levels": lambda: b"\x80\x02)" + b"\x85" * 1_000_000 + b".",
    "a list of 300,000 levels in a state dict": lambda: (
        b"\x80\x02}" + _text("a") + b"]" * 300_000 + b"a" * 299_999 + b"s."
    ),
    "dictionaries of a million levels": lambda: (
        b"\x80\x02}" + (_text("a") + b"}") * 600_000 + b"s" * 600_000 + b"."
    ),
    "two million empty sets": lambda: b"\x80\x04(" + b"\x8f" * 2_000_000 + b"l.",
    "three million empty dictionaries": lambda: b"\x80\x02(" + b"}" * 3_000_000 + b"l.",
    "three million empty lists": lambda: b"\x80\x02(" + b"]" * 3_000_000 + b"l.",
    "three million marks": lambda: b"\x80\x02" + b"(" * 3_000_000 + b".",
    "a memo of two million entries": lambda: b"\x80\x04" + b"N\x94" * 1_900_000 + b".",
    "ten million instructions": lambda: b"\x80\x02" + b"N0" * 5_000_000 + b".",
    "a text of 2 GB that is not there": lambda: b"\x80\x02X\xff\xff\xff\x7f.",
    "a text of 2**63 bytes that is not there": lambda: b"\x80\x04\x8d" + struct.pack("<Q", 2**63) + b".",
    "a number of 2 GB that is not there": lambda: b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a number of two million digits": lambda: b"I" + b"9" * 2_000_000 + b"\n.",
    "a number of two million digits as a key": lambda: b"\x80\x02}(" + _long(256**2_000_000) + b"Nu.",
    "a number of 8 million bits, hashed again and again": lambda: (
        b"\x80\x02" + _long(256**1_000_000) + b"q\x00}(" + b"h\x00N" * 900_000 + b"u."
    ),
    "equal names of 1 MB, compared again and again": lambda: (
        b"\x80\x02}("
        + _text("a" * 10**6)
        + b"N"
        + _text("a" * 10**6)
        + b"q\x01N"
        + b"h\x01N" * 900_000
        + b"u."
    ),
    "a name of 10 MB": lambda: _state_dict(_text("a" * 10**7), _tensor(_storage(), (4,), (1,))),
    "a name of two thousand prefixes": lambda: _state_dict(
        _text("a." * 2000 + "w"), _tensor(_storage(), (4,), (1,))
    ),
    "a million names of one tensor": lambda: _state_dict(
        _text("first"),
        _tensor(_storage(), (4,), (1,)) + b"q\x00",
        *(_text(f"w{at}") + b"h\x00" for at in range(1_000_000)),
    ),
    "sixty thousand names of one large tensor": lambda: _state_dict(
        _text("first"),
        _tensor(_storage("1", 250_000), (250_000,), (1,)) + b"q\x00",
        *(_text(f"w{at}") + b"h\x00" for at in range(60_000)),
    ),
    "a tensor that repeats one number 2**40 times": lambda: _state_dict(
        _text("w"), _tensor(_storage(), (2**20, 2**20), (0, 0))
    ),
    "an empty tensor of 2**62 rows": lambda: _state_dict(_text("w"), _tensor(_storage(), (2**61, 0), (1, 1))),
    "a tensor of a million dimensions": lambda: _state_dict(
        _text("w"), _tensor(_storage(), (1,) * 200_000, (1,) * 200_000)
    ),
    "a call with a tuple that is copied": lambda: (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x00("
        + _storage()
        + b"K\x00(K\x04t(K\x01t"
        + b"N" * 1_000_000
        + b"tq\x01"
        + b"h\x00h\x01R0" * 600_000
        + b"."
    ),
    "a state of a million entries, set again and again": lambda: (
        b"\x80\x02}("
        + b"".join(b"J" + struct.pack("<i", at) + b"N" for at in range(500_000))
        + b"uq\x01"
        + MODULE
        + b"h\x01b" * 1_000_000
        + b"."
    ),
    "storages' ids that are copied": lambda: (
        b"\x80\x02("
        + _text("module")
        + b"ctorch.nn.modules.linear\nLinear\n"
        + b"N" * 1_000_000
        + b"tq\x01"
        + b"h\x01Q0" * 900_000
        + b"."
    ),
    "no end": lambda: b"\x80\x02" + b"N" * 3_000_000,
}


def _checkpoint(program: Callable[[], bytes], folder: Path) -> Path:
    records = {"data.pkl": program(), "byteorder": b"little", "data/0": bytes(16), "data/1": bytes(10**6)}
    with zipfile.ZipFile(folder / "a.pt", "w") as archive:
        for name, content in records.items():
            archive.writestr(f"a/{name}", content)
    return folder / "a.pt"


# --- the format before torch 1.6 ---

_BEFORE = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03." + b"\x80\x02}."
_ONE_TENSOR = _state_dict(_text("w"), _tensor(_storage(), (4,), (1,)))

LEGACY: dict[str, Content] = {
    "2**62 elements": lambda: (
        _BEFORE + _ONE_TENSOR + b"\x80\x02]" + _text("0") + b"a." + struct.pack("<Q", 2**62)
    ),
    "a million storages of one name": lambda: (
        _BEFORE
        + _ONE_TENSOR
        + b"\x80\x02]("
        + _text("0")
        + b"q\x00"
        + b"h\x00" * 900_000
        + b"e."
        + bytes(8 * 900_001)
    ),
    "a storage that is read as ten types": lambda: (
        _BEFORE
        + _state_dict(
            *(
                _text(kind) + _tensor(_storage("0", 20_000_000, kind), (8,), (1,))
                for kind in (
                    "ByteStorage",
                    "CharStorage",
                    "ShortStorage",
                    "HalfStorage",
                    "IntStorage",
                    "BoolStorage",
                )
            )
        )
        + b"\x80\x02]"
        + _text("0")
        + b"a."
        + struct.pack("<Q", 20_000_000)
        + bytes(20_000_000)
    ),
    "torch.Size copies before the object": lambda: _copies(SIZE, b"N" * 200_000, b"h\x00h\x01R", 4000),
    "no magic number, but a list of references": lambda: (
        b"\x80\x02" + b"]q\x00(" + b"h\x00" * 1_000_000 + b"l."
    ),
}


# --- zip archives ---


def _zipped(records: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, content)
    return made.getvalue()


def _zeros_deflated(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(2**20)
    return b"".join(packer.compress(block) for _ in range(size // 2**20)) + packer.flush()


class Listed(NamedTuple):
    """An entry of an archive's list; any of its fields may be a lie."""

    name: str
    offset: int = 0
    packed: int = 0
    size: int = 0
    kind: int = 0
    digest: int = 0


def _raw_zip(entries: Iterable[Listed], body: bytes, **wrong: int) -> bytes:
    """An archive by its fields."""
    directory = b"".join(
        struct.pack(
            "<4s6H3I5H2I",
            b"PK\x01\x02",
            20,
            20,
            wrong.get("flags", 0),
            each.kind,
            0,
            0,
            each.digest,
            each.packed,
            each.size,
            len(each.name),
            0,
            0,
            0,
            0,
            0,
            each.offset,
        )
        + each.name.encode()
        for each in entries
    )
    count = wrong.get("count", 1)
    return (
        body
        + directory
        + struct.pack(
            "<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, wrong.get("length", len(directory)), len(body), 0
        )
    )


def _local(name: str, content: bytes, size: int, kind: int, flags: int = 0) -> bytes:
    head = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, flags, kind, 0, 0, 0, len(content), size, len(name), 0)
    return head + name.encode() + content


def _one(name: str, content: bytes, size: int, kind: int, **wrong: int) -> bytes:
    body = _local(name, content, size, kind, wrong.get("flags", 0))
    return _raw_zip([Listed(name, 0, len(content), size, kind, zlib.crc32(content))], body, **wrong)


def _overlapping(entries: int) -> bytes:
    """Every storage of the list is the same 10 MB of the file."""
    pickle = _state_dict(
        *(
            _text(f"w{at}") + _tensor(_storage(str(at), 2_500_000), (2_500_000,), (1,))
            for at in range(entries)
        )
    )
    body = _local("a/data.pkl", pickle, len(pickle), 0)
    first, numbers = len(body), bytes(10**7)
    body += _local("a/data/0", numbers, 10**7, 0)
    listed = [Listed("a/data.pkl", 0, len(pickle), len(pickle), 0, zlib.crc32(pickle))]
    digest = zlib.crc32(numbers)
    listed += [Listed(f"a/data/{at}", first, 10**7, 10**7, 0, digest) for at in range(entries)]
    return _raw_zip(listed, body)


_PLAIN = {"a/data.pkl": _ONE_TENSOR, "a/data/0": bytes(16)}

ARCHIVES: dict[str, Content] = {
    "a deflated data.pkl of 1 GB": lambda: _one("a/data.pkl", _zeros_deflated(2**30), 2**30, 8),
    "a deflated data.pkl that says it is short": lambda: _one("a/data.pkl", _zeros_deflated(2**30), 100, 8),
    "a data.pkl that says it is 4 GB": lambda: _one("a/data.pkl", _ONE_TENSOR, 2**32 - 2, 0),
    "an encrypted data.pkl": lambda: _one("a/data.pkl", _ONE_TENSOR, len(_ONE_TENSOR), 0, flags=1),
    "a data.pkl with a data descriptor": lambda: _one(
        "a/data.pkl", _ONE_TENSOR, len(_ONE_TENSOR), 0, flags=8
    ),
    "a data.pkl of patches": lambda: _one("a/data.pkl", _ONE_TENSOR, len(_ONE_TENSOR), 0, flags=0x20),
    "a storage packed by bzip2": lambda: _zipped(_PLAIN | {"a/data/0": bytes(10**7)}, zipfile.ZIP_BZIP2),
    "a storage packed by LZMA": lambda: _zipped(_PLAIN | {"a/data/0": bytes(10**7)}, zipfile.ZIP_LZMA),
    "thousands of storages in one place": lambda: _overlapping(4000),
    "a million entries": lambda: _raw_zip(
        (Listed(f"a/data/{at}") for at in range(1_000_000)), _local("a/data.pkl", b".", 1, 0)
    ),
    "names of 60,000 characters": lambda: _raw_zip(
        (Listed("a" * 60_000 + str(at)) for at in range(1000)), _local("a/data.pkl", b".", 1, 0)
    ),
    "a list that says it is 4 GB": lambda: _raw_zip(
        [Listed("a/data.pkl", 0, 1, 1)], _local("a/data.pkl", b".", 1, 0), length=2**32 - 2
    ),
    "sizes in 64 bits that are not there": lambda: _raw_zip(
        [Listed("a/data.pkl", 2**32 - 1, 2**32 - 1, 2**32 - 1)], _local("a/data.pkl", b".", 1, 0)
    ),
    "an archive in an archive": lambda: _zipped(
        {"a/data.pkl": _zipped({"a/data.pkl": _zeros_deflated(2**28)})}
    ),
    "two thousand lists of pickles": lambda: _zipped({f"{at}/data.pkl": b"." for at in range(2000)}),
}


# --- safetensors ---


def _safetensors(header: bytes, tail: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + tail


def _described(name: str, shape: str = "[0]", dtype: str = "F32", places: str = "[0,0]") -> str:
    return f'"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{places}}}'


def _tensors(names: Iterable[str], **described: str) -> bytes:
    return ("{" + ",".join(_described(name, **described) for name in names) + "}").encode()


SAFETENSORS: dict[str, Content] = {
    "a million tensors": lambda: _safetensors(_tensors(f"t{at}" for at in range(1_000_000))),
    "200,000 tensors": lambda: _safetensors(_tensors(f"t{at}" for at in range(200_000))),
    "a header of 99 MB of blanks": lambda: _safetensors(b"{" + b" " * 99_000_000 + b"}"),
    "a header of 2**62 bytes": lambda: struct.pack("<Q", 2**62)[:6] + b"\0\0{" + b" " * 100,
    "a header of lists in lists": lambda: _safetensors(b'{"a":' + b"[" * 10**6),
    "a header of objects in objects": lambda: _safetensors(b'{"a":' * 10**6),
    "a header of five million empty lists": lambda: _safetensors(b'{"a":[' + b"[]," * 5_000_000 + b"[]]}"),
    "tensors in one place": lambda: _safetensors(
        _tensors((f"t{at}" for at in range(10_000)), shape="[1000,1000]", places="[0,4000000]"),
        bytes(4_000_000),
    ),
    "a shape that overflows": lambda: _safetensors(
        _tensors(["t"], shape="[4294967296,4294967296,4294967296]")
    ),
    "an empty tensor of 2**62 rows": lambda: _safetensors(_tensors(["t"], shape="[4611686018427387904,0]")),
    "a shape of a million sides": lambda: _safetensors(_tensors(["t"], shape=f"[0{',1' * 1_000_000}]")),
    "a name of 10 MB": lambda: _safetensors(_tensors(["t" * 10**7])),
    "a name of a million prefixes": lambda: _safetensors(_tensors(["a." * 1_000_000])),
    "metadata of 10 MB": lambda: _safetensors(
        json.dumps(
            {"__metadata__": {"pathologies": json.dumps([f"P{at}" for at in range(800_000)])}}
        ).encode()
    ),
    "metadata nested without end": lambda: _safetensors(
        json.dumps({"__metadata__": {"pathologies": "[" * 10**6}}).encode()
    ),
    "metadata with a number of a million digits": lambda: _safetensors(
        json.dumps({"__metadata__": {"input_size": "9" * 10**6}}).encode()
    ),
    "numbers of a million digits": lambda: _safetensors(_tensors(["t"], shape=f"[{'9' * 10**6}]")),
    "one name a hundred thousand times": lambda: _safetensors(_tensors(["t"] * 100_000)),
}


# --- weights that a model is built for ---


def _layers(blocks: int, layers: int) -> bytes:
    """A DenseNet of many layers, all of which are one tensor."""
    weights = itertools.chain.from_iterable(
        (_text(f"features.denseblock{block}.denselayer{layer}.conv{conv}.weight"), b"h\x00")
        for block in range(1, blocks + 1)
        for layer in range(1, layers + 1)
        for conv in (1, 2)
    )
    first = _tensor(_storage("0", 250_000), (128, 64, 3, 3), (576, 9, 3, 1)) + b"q\x00"
    pickle = _state_dict(_text("features.conv0.weight"), first, *weights)
    return _zipped({"a/data.pkl": pickle, "a/data/0": bytes(10**6)})


def _densenet_of(sides: tuple[int, ...]) -> bytes:
    """Names that say a DenseNet, of one empty layer that says a size."""
    names = ("features.conv0.weight", "features.denseblock1.denselayer1.conv1.weight", "classifier.weight")
    tensor = _tensor(_storage(), sides, (0,) * len(sides))
    return _zipped(
        {"a/data.pkl": _state_dict(*(_text(name) + tensor for name in names)), "a/data/0": bytes(16)}
    )


MODELS: dict[str, Content] = {
    "a DenseNet of 30,000 layers in one place": lambda: _layers(3, 10_000),
    "a DenseNet of 1,000 layers in one place": lambda: _layers(4, 250),
    "a DenseNet of 2**40 channels": lambda: _densenet_of((2**40, 0, 1, 1)),
    "layers of the number 999999": lambda: _zipped(
        {
            "a/data.pkl": _state_dict(
                _text("features.conv0.weight"),
                _tensor(_storage(), (1, 1, 2, 2), (4, 4, 2, 1)),
                _text("features.denseblock999999.denselayer999999.conv1.weight"),
                _tensor(_storage(), (1, 1, 2, 2), (4, 4, 2, 1)),
                _text("classifier.weight"),
                _tensor(_storage(), (2, 2), (2, 1)),
            ),
            "a/data/0": bytes(16),
        }
    ),
}


# --- explanations: a record, and an archive of arrays ---


def _npy(
    shape: str, descr: str = "'<f4'", fortran: bool = False, content: bytes = b"", version: int = 1
) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    length = struct.pack("<H" if version == 1 else "<I", len(text) + 1)
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + b"\n" + content


def _record(arrays: bytes, top: int = 2, **changed: object) -> dict[str, object]:
    names = [f"P{at}" for at in range(top)]
    plain = {"output_kind": "logits", "package_version": "1", "torch_version": "2", "model": "m"}
    provenance = {
        **plain,
        "weights_sha256": None,
        "training_sets": [],
        "target_layer": "features",
        "rule_title": "Grad-CAM",
        "map_settings": {},
        "method": "FM-G-CAM",
        "ranking_settings": {},
        "gradient": "closed form",
        "device": "cpu",
        "radiograph_sha256": "0" * 64,
        "steps": [],
        "warnings": [],
    }
    predictions = [
        {"index": at, "pathology": name, "logit": 0.5, "probability": 0.6, "operating_point": None}
        for at, name in enumerate(names)
    ]
    geometry = {
        "radiograph_shape": [96, 96],
        "model_size": 224,
        "left": 0,
        "top": 0,
        "side": 96,
        "fit": "crop",
    }
    return {
        "schema": "cxr-explain/explanation/3",
        "id": "a",
        "ranking": {"by": "probability", "top": list(range(top)), "notes": [], "predictions": predictions},
        "geometry": geometry,
        "provenance": provenance,
        "arrays_sha256": hashlib.sha256(arrays).hexdigest(),
    } | changed


def _explanation(arrays: Callable[[], bytes], folder: Path, **changed: object) -> Path:
    made = arrays()
    (folder / "a.npz").write_bytes(made)
    (folder / "a.json").write_text(json.dumps(_record(made, **changed)))
    return folder / "a.json"


def _arrays(class_maps: bytes, maps: bytes | None = None, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    return _zipped({"class_maps.npy": class_maps, "maps.npy": maps or class_maps}, compression)


def _long_array(shape: str, size: int) -> bytes:
    """One packed array, which both names lead to."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(_npy(shape)) + b"".join(
        packer.compress(bytes(2**20)) for _ in range(size // 2**20)
    )
    body = _local("class_maps.npy", packed := packed + packer.flush(), size, 8)
    return _raw_zip([Listed(name, 0, len(packed), size, 8) for name in ("class_maps.npy", "maps.npy")], body)


def _text_of_record(text: Callable[[], str], folder: Path) -> Path:
    (folder / "a.npz").write_bytes(b"")
    (folder / "a.json").write_text(text())
    return folder / "a.json"


_GEOMETRY = {"radiograph_shape": [96, 96], "left": 0, "top": 0, "side": 96, "fit": "crop"}

EXPLANATIONS: dict[str, Callable[[Path], Path]] = {
    "maps of 2 x 22,000 x 22,000": partial(
        _explanation, lambda: _long_array("(2, 22000, 22000)", 3_872_000_000)
    ),
    "maps of 2 x 7 x 7 with 1 GB behind them": partial(_explanation, lambda: _long_array("(2, 7, 7)", 2**30)),
    "maps of half their length": partial(
        _explanation, lambda: _arrays(_npy("(2, 200, 200)", content=bytes(1000)))
    ),
    "a model of 10**9 pixels and a million maps": partial(
        _explanation,
        lambda: _long_array("(2, 22000, 22000)", 2**30),
        geometry=_GEOMETRY | {"model_size": 10**9},
    ),
    "an empty map of 10**9 rows": partial(_explanation, lambda: _arrays(_npy("(2, 999999999, 0)"))),
    "a map of 20,000 sides": partial(_explanation, lambda: _arrays(_npy(f"({'1, ' * 20_000})"))),
    "a shape of 60,000 digits": partial(_explanation, lambda: _arrays(_npy(f"({'9' * 60_000}, 7, 7)"))),
    "a head of 1 GB": partial(
        _explanation, lambda: _arrays(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**30) + b" " * 2**20)
    ),
    "a head of brackets": partial(_explanation, lambda: _arrays(_npy("(" * 60_000))),
    "a head of minus signs": partial(_explanation, lambda: _arrays(_npy("-" * 60_000 + "1"))),
    "texts of 2 GB": partial(_explanation, lambda: _arrays(_npy("(2, 7, 7)", "'S2147483647'"))),
    "a million fields": partial(
        _explanation, lambda: _arrays(_npy("(2, 7, 7)", "[" + "('a', '<f4')," * 4000 + "]"))
    ),
    "objects": partial(
        _explanation, lambda: _arrays(_npy("(2, 7, 7)", "'|O'", content=b"cos\nsystem\n(S'id'\ntR."))
    ),
    "Fortran's order, of another length": partial(
        _explanation, lambda: _arrays(_npy("(2, 9000, 9000)", fortran=True))
    ),
    "an archive packed by LZMA": partial(
        _explanation, lambda: _arrays(_npy("(2, 7, 7)") + bytes(2**22), compression=zipfile.ZIP_LZMA)
    ),
    "an archive packed by bzip2": partial(
        _explanation, lambda: _arrays(_npy("(2, 7, 7)") + bytes(2**22), compression=zipfile.ZIP_BZIP2)
    ),
    "an archive of 500,000 entries": partial(
        _explanation,
        lambda: _raw_zip((Listed(f"{at}.npy") for at in range(500_000)), _local("a", b".", 1, 0)),
    ),
    "an archive without maps": partial(_explanation, lambda: _zipped({"a": b""})),
    "a record of a million predictions": partial(
        _text_of_record, lambda: json.dumps(_record(b"", top=200_000))
    ),
    "a record nested without end": partial(_text_of_record, lambda: '{"schema":' + "[" * 10**6),
    "a record of ten million lists": partial(_text_of_record, lambda: "[" + "[]," * 10_000_000 + "0]"),
    "a number of a million digits": partial(_text_of_record, lambda: '{"schema": ' + "9" * 10**6 + "}"),
    "a number of 10**400": partial(
        _explanation,
        lambda: _arrays(_npy("(2, 7, 7)", content=bytes(392))),
        geometry=_GEOMETRY | {"model_size": 10**400},
    ),
    "an id of 10 MB": partial(
        _explanation, lambda: _arrays(_npy("(2, 7, 7)", content=bytes(392))), id="a" * 10**7
    ),
}


# --- tables ---


def _gzipped(*pieces: tuple[bytes, int]) -> Iterator[bytes]:
    """Each piece, so many times, as members of one archive: packed once, and repeated."""
    for piece, times in pieces:
        many = max(1, min(times, 2**22 // len(piece)))
        member = gzip.compress(piece * many)
        yield from itertools.repeat(member, times // many)


def _numbered(row: str, count: int, head: str) -> Iterator[bytes]:
    yield head.encode()
    for at in range(count):
        yield row.format(at).encode()


_HEAD = b"image,labels\n"
_MANIFEST_HEAD = "image_id,path,label:Mass\n"

TABLES: dict[str, tuple[str, str, Content]] = {
    "gzip of 4 GB of commas": (LABELS, "a.csv.gz", lambda: _gzipped((b",", 2**32))),
    "gzip of 1 GB of blank lines": (LABELS, "a.csv.gz", lambda: _gzipped((_HEAD, 1), (b"\n", 2**30))),
    "gzip of one row of 1 GB": (LABELS, "a.csv.gz", lambda: _gzipped((_HEAD, 1), (b"a", 2**30))),
    "gzip of 100 million short rows": (
        LABELS,
        "a.csv.gz",
        lambda: _gzipped((_HEAD, 1), (b"a,b\n", 100_000_000)),
    ),
    "gzip of long cells": (
        LABELS,
        "a.csv.gz",
        lambda: _gzipped((_HEAD, 1), (b"a," + b"b" * 131_000 + b"\n", 8000)),
    ),
    "gzip of long cells with a wide letter": (
        LABELS,
        "a.csv.gz",
        lambda: _gzipped((_HEAD, 1), (b"a,\xf0\x9f\x98\x80" + b"b" * 130_000 + b"\n", 8000)),
    ),
    "gzip of rows with a million cells": (
        LABELS,
        "a.csv.gz",
        lambda: _gzipped((_HEAD, 1), (b"," * 10**6 + b"\n", 300)),
    ),
    "gzip in gzip": (LABELS, "a.csv.gz", lambda: gzip.compress(b"".join(_gzipped((b"\n", 2**30))))),
    "gzip of NULs": (LABELS, "a.csv.gz", lambda: _gzipped((b"\0", 2**32))),
    "gzip that is called a CSV": (MANIFEST, "a.csv", lambda: _gzipped((b",", 2**30))),
    "gzip of 50 archives": (LABELS, "a.csv.gz", lambda: b"".join(_gzipped((b"\n", 2**26))) * 50),
    "a header of ten million columns": (MANIFEST, "a.csv", lambda: b"a," * 10_000_000 + b"\n"),
    "ten million columns of different names": (
        MANIFEST,
        "a.csv",
        lambda: (b"%d," % at for at in range(10_000_000)),
    ),
    "a row of 20 MB": (MANIFEST, "a.csv", lambda: [b"image_id,path\n", b"a" * 20_000_000]),
    "a cell of 20 MB in quotes": (
        MANIFEST,
        "a.csv",
        lambda: [b"image_id,path\n", b'"', b"a\n" * 10_000_000, b'"'],
    ),
    "quotes that are never closed": (MANIFEST, "a.csv", lambda: [b"image_id,path\n", b'"\n",' * 6_000_000]),
    "five million rows of one letter": (MANIFEST, "a.csv", lambda: [b"image_id\n", b"a\n" * 5_000_000]),
    "a million rows that are wrong": (
        MANIFEST,
        "a.csv",
        lambda: _numbered("{0},../{0},9\n", 500_000, _MANIFEST_HEAD),
    ),
    "400,000 unknown pathologies": (
        LABELS,
        "a.csv",
        lambda: _numbered("a{0}.png,zz{0} qq\n", 400_000, "image,labels\n"),
    ),
    "a cell of 26,000 pathologies": (LABELS, "a.csv", lambda: [_HEAD, b"a.png," + b"Mass|" * 26_000]),
    "cells of 10,000 slashes": (
        LABELS,
        "a.csv",
        lambda: [_HEAD, *(b"a%d.png,Mass%s\n" % (at, b"/Mass" * 10_000) for at in range(20))],
    ),
    "a cell of quotes and blanks": (
        LABELS,
        "a.csv",
        lambda: [_HEAD, b'a.png,"[' + b"'" + b" " * 130_000 + b']"'],
    ),
    "a cell of 130,000 quotes and blanks": (
        LABELS,
        "a.csv",
        lambda: [_HEAD, b'a.png,"[' + b"' " * 65_000 + b']"'],
    ),
    "a cell of brackets and blanks": (
        PADCHEST,
        "a.csv",
        lambda: [
            b"ImageID,Labels,PatientID,Projection,MethodLabel\n",
            *(b"a%d.png,[%s,1,PA,x\n" % (at, b" " * 130_000) for at in range(5)),
        ],
    ),
    "a cell of labels and blanks": (
        PADCHEST,
        "a.csv",
        lambda: [
            b"ImageID,Labels,PatientID,Projection,MethodLabel\n",
            b'a.png,"[' + b"'a'  ,  " * 16_000 + b'",1,PA,x\n',
        ],
    ),
    "a cell of JSON lists in lists": (
        MANIFEST,
        "a.csv",
        lambda: [b"image_id,path,boxes\n", b"a,a.png," + b"[" * 130_000 + b"\n"],
    ),
    "cells of many boxes": (
        MANIFEST,
        "a.csv",
        lambda: [
            b"image_id,path,boxes\n",
            *(b'a%d,a.png,"[%s0]"\n' % (at, b"{}," * 40_000) for at in range(60)),
        ],
    ),
    "an age of 130,000 digits": (MANIFEST, "a.csv", lambda: b"image_id,path,age\na,a.png," + b"9" * 130_000),
    "a path of 130,000 folders": (MANIFEST, "a.csv", lambda: b"image_id,path\na," + b"a/" * 65_000 + b"\n"),
    "UTF-16": (MANIFEST, "a.csv", lambda: b"\xff\xfe" + "image_id,path\n".encode("utf-16-le") * 10**6),
    "boxes in gzip": (
        BOXES,
        "a.csv.gz",
        lambda: _gzipped((b"Image Index,Finding Label,Bbox [x,y,w,h]\n", 1), (b"a,b,1,2,3,4\n", 10**8)),
    ),
}


# --- CheXlocalize's outlines ---


def _outline(size: str = "[64,64]", **polygons: str) -> str:
    named = "".join(f',"{name}":{value}' for name, value in polygons.items())
    return f'{{"a":{{"img_size":{size}{named}}}}}'


def _segmented(counts: str, size: str = "[10000,10000]") -> bytes:
    masks = ",".join(
        f'"{name}":{{"size":{size},"counts":"{counts}"}}' for name in CHEXLOCALIZE_NAMES.values()
    )
    return f'{{"a":{{{masks}}}}}'.encode()


OUTLINE_FILES: dict[str, tuple[str, Content]] = {
    "forty million empty lists": ("a.json", lambda: [b'{"a":[', b"[]," * 40_000_000, b"0]}"]),
    "ten million empty objects": ("a.json", lambda: [b'{"a":[', b"{}," * 10_000_000, b"0]}"]),
    "forty million numbers": ("a.json", lambda: [b'{"a":[', b"1," * 40_000_000, b"0]}"]),
    "lists in lists": ("a.json", lambda: b'{"a":' + b"[" * 10**6),
    "a number of a million digits": ("a.json", lambda: b'{"a":' + b"9" * 10**6 + b"}"),
    "a million names, one of them twice": (
        "a.json",
        lambda: itertools.chain(_numbered('"{0}":0,', 1_000_000, "{"), [b'"999999":0}']),
    ),
    "a polygon of three million points": (
        "a.json",
        lambda: _outline(Edema="[[" + "[1,1]," * 3_000_000 + "[2,2]]]").encode(),
    ),
    "a polygon of 65,000 points in 10,000 rows": (
        "large.json",
        lambda: _outline("[10000,10000]", Edema="[[" + "[1,1],[9999,9999]," * 32_000 + "[2,2]]]").encode(),
    ),
    "run lengths of 10 MB": ("a.json", lambda: _segmented("0" * 10_000_000)),
    "run lengths of 10,000 x 10,000 pixels": ("large.json", lambda: _segmented("PPdo2")),
    "run lengths of 2**35": ("a.json", lambda: _segmented("ooooooo0")),
    "a mask of 10**9 rows": ("a.json", lambda: _segmented("0", "[1000000000,1000000000]")),
    "NaN for a point": ("a.json", lambda: _outline(Edema="[[[NaN,1],[1e999,2]]]").encode()),
}


# --- files that are none, or have no end ---


def _pipe(name: str, folder: Path) -> Path:
    os.mkfifo(folder / name)
    return folder / name


def _device(name: str, folder: Path) -> Path:
    (folder / name).symlink_to("/dev/zero")
    return folder / name


def _hole(name: str, start: bytes, size: int, folder: Path) -> Path:
    """A file that says it is long, and takes a block of the disk."""
    with (folder / name).open("wb") as file:
        file.write(start)
        file.truncate(size)
    return folder / name


def _with_pair(make: Callable[[Path], Path], folder: Path) -> Path:
    (folder / "a.json").write_text(json.dumps(_record(b"")))
    make(folder)
    return folder / "a.json"


SPECIAL_FILES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "a pipe for a table": (MANIFEST, partial(_pipe, "a.csv")),
    "a pipe for labels": (LABELS, partial(_pipe, "a.csv")),
    "a pipe for outlines": (OUTLINES, partial(_pipe, "a.json")),
    "a pipe for weights": (CHECKPOINT, partial(_pipe, "a.pt")),
    "a pipe for an explanation": (EXPLANATION, partial(_pipe, "a.json")),
    "a pipe for an explanation's arrays": (EXPLANATION, partial(_with_pair, partial(_pipe, "a.npz"))),
    "/dev/zero for a table": (MANIFEST, partial(_device, "a.csv")),
    "/dev/zero for outlines": (OUTLINES, partial(_device, "a.json")),
    "/dev/zero for weights": (CHECKPOINT, partial(_device, "a.pt")),
    "/dev/zero for an explanation": (EXPLANATION, partial(_device, "a.json")),
    "a table of 50 GB of holes": (MANIFEST, partial(_hole, "a.csv", b"image_id,path\n", 50 * 2**30)),
    "labels of 1 GB of holes": (LABELS, partial(_hole, "a.csv", b"image,labels\n", 2**30)),
    "a table of 900 MB of holes": (MANIFEST, partial(_hole, "a.csv", b"image_id,path\n", 900 * 10**6)),
    "labels of 50 GB of holes": (LABELS, partial(_hole, "a.csv", _HEAD, 50 * 2**30)),
    "outlines of 50 GB of holes": (OUTLINES, partial(_hole, "a.json", b"{", 50 * 2**30)),
    "outlines of 200 MB of holes": (OUTLINES, partial(_hole, "a.json", b"{", 200 * 10**6)),
    "weights of 50 GB of holes": (CHECKPOINT, partial(_hole, "a.pt", b"", 50 * 2**30)),
    "a zip archive of 8 TB of holes": (CHECKPOINT, partial(_hole, "a.pt", b"PK\x03\x04", 8 * 2**40)),
    "safetensors of 8 TB of holes": (CHECKPOINT, partial(_hole, "a.pt", _safetensors(b"{}"), 8 * 2**40)),
    "an explanation of 50 GB of holes": (EXPLANATION, partial(_hole, "a.json", b"{", 50 * 2**30)),
    "arrays of 50 GB of holes": (
        EXPLANATION,
        partial(_with_pair, partial(_hole, "a.npz", b"PK\x03\x04", 50 * 2**30)),
    ),
    "a list of NIH's of 50 GB of holes": (
        NIH,
        lambda folder: _nih(folder, partial(_hole, "test_list.txt", b"", 50 * 2**30)),
    ),
    "a list of NIH's of 15 MB of lines": (
        NIH,
        lambda folder: _nih(folder, partial(_written, "test_list.txt", lambda: b"\n" * 15_000_000)),
    ),
}


def _nih(folder: Path, make: Callable[[Path], Path]) -> Path:
    (folder / "Data_Entry_2017_v2020.csv").write_text("Image Index,Finding Labels\n00000001_000.png,Mass\n")
    make(folder)
    return folder


# --- Parquet, and the other files of a run's folder ---


def _parquet(table: pa.Table, **options: object) -> bytes:
    made = io.BytesIO()
    pq.write_table(table, made, compression="zstd", **options)
    return made.getvalue()


def _list_of_zeros(count: int) -> pa.Table:
    zeros = pa.array(np.zeros(count, np.float16))
    return pa.table({"maps": pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), zeros)})


def _repeated(text: str, rows: int) -> pa.Table:
    return pa.table({"note": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [text])})


def _lists_of_texts(text: str, count: int) -> pa.Table:
    texts = pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [text])
    return pa.table({"notes": pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), texts)})


def _varint(value: int, length: int = 1) -> bytes:
    made = [value >> shift & 127 for shift in range(0, max(7 * length, value.bit_length()), 7)]
    return bytes([*(byte | 128 for byte in made[:-1]), made[-1]])


def _with_a_lying_footer(content: bytes, number: int) -> bytes:
    """The footer says that there are ten values, where the pages have more."""
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    true = _varint(2 * number)
    return content[:start] + content[start:].replace(true, _varint(20, len(true)))


PARQUET_FILES: dict[str, Content] = {
    "a list of 60 million zeros": lambda: _parquet(_list_of_zeros(60_000_000)),
    "a list of 60 million zeros and a footer that lies": lambda: _with_a_lying_footer(
        _parquet(_list_of_zeros(60_000_000)), 60_000_000
    ),
    "a text of 5 MB in a thousand rows": lambda: _parquet(_repeated("a" * 5_000_000, 1000)),
    "a text of 1 MB a million times in a list": lambda: _parquet(_lists_of_texts("a" * 10**6, 10**6)),
    "a hundred million rows of one number": lambda: _parquet(
        pa.table({"row": pa.DictionaryArray.from_arrays(np.zeros(10**7, np.int32), [7]).cast(pa.int64())})
    ),
    "a text of 400 MB": lambda: _parquet(pa.table({"note": ["a" * 400_000_000]}), use_dictionary=False),
    "torn in its middle": lambda: _parquet(_repeated("a", 1000))[:100] + b"PAR1",
    "a footer of 2 GB": lambda: b"PAR1" + struct.pack("<I", 2**31 - 1) + b"PAR1",
}

RUN_FILES: dict[str, tuple[str, Content]] = {
    "a record of 10**13 rows": (
        "run.json",
        lambda: b'{"schema": "cxr-explain/audit/2", "rows": 10000000000000}',
    ),
    "a record nested without end": ("run.json", lambda: b"[" * 10**6),
    "a number of a million digits": ("run.json", lambda: b'{"schema": ' + b"9" * 10**6 + b"}"),
    "results of one large list": ("results.parquet", lambda: _parquet(_list_of_zeros(60_000_000))),
    "a place nested without end": ("place.json", lambda: b"[" * 10**6),
    "a manifest of NULs": ("manifest.csv", lambda: bytes(10**8)),
}


def _run(file: str, content: Content, folder: Path) -> Path:
    from cxr_explain.audit.example import example_audit

    place = Path(example_audit(folder).place.name)
    _written(file, content, place)
    return place
