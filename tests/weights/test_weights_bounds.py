"""What a checkpoint makes of itself is limited before it is made; what real ones do is not."""

from __future__ import annotations

import io
import json
import os
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from cxr_explain.errors import ArchitectureError, WeightsError, WeightsIntegrityError, WeightsNotFoundError
from cxr_explain.weights import check_fit, inert_pickle, read_checkpoint
from cxr_explain.weights.inert_pickle import read_pickle

SIZE = b"\x80\x02ctorch\nSize\nq\x00"
SET = b"\x80\x02c__builtin__\nset\nq\x00"
ORDERED = b"\x80\x02ccollections\nOrderedDict\nq\x00"
DEEP = b")" + b"\x85" * 50_000
MODULE = b"ctorch.nn.modules.container\nSequential\n)\x81"


def text(words: str) -> bytes:
    return b"X" + struct.pack("<I", len(words)) + words.encode()


def module(**parts: bytes) -> bytes:
    state = b"".join(text(name) + value for name, value in parts.items())
    return MODULE + b"}(" + state + b"ub"


def zipped(program: bytes, **storages: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a/data.pkl", program)
        for key, content in storages.items():
            archive.writestr(f"a/data/{key.removeprefix('s')}", content)
    return made.getvalue()


def saved(value: object, *, legacy: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, _use_new_zipfile_serialization=not legacy)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("program", "again"),
    [
        (SIZE + b"](" + b"N" * 20_000 + b"e\x85q\x01", b"h\x00h\x01R"),
        (SIZE + b"](" + b"N" * 20_000 + b"e\x85q\x01", b"h\x00h\x01R0"),
        (SET + b"](" + b"K\x01" * 20_000 + b"e\x85q\x01", b"h\x00h\x01R"),
        (ORDERED + b"](" + b"K\x01N\x86" * 5_000 + b"e\x85q\x01", b"h\x00h\x01R"),
        (b"\x80\x02}(" + b"".join(b"M%cxN" % at for at in range(256)) * 40 + b"uq\x01" + MODULE, b"h\x01b"),
        (
            b"\x80\x02(" + text("module") + b"ctorch.nn.modules.linear\nLinear\n" + b"N" * 20_000 + b"tq\x01",
            b"h\x01Q",
        ),
        (b"\x80\x04(", b"\x8f"),
    ],
    ids=["copies", "copies thrown away", "sets", "dictionaries", "states", "storages' ids", "empty sets"],
)  # fmt: skip
def test_a_pickle_may_take_a_multiple_of_what_is_read_of_it(
    monkeypatch: pytest.MonkeyPatch, program: bytes, again: bytes
) -> None:
    monkeypatch.setattr(inert_pickle, "_SPARE_MEMORY", 2**21)
    whole = program + again * 30_000
    tracemalloc.start()
    try:
        with pytest.raises(
            WeightsIntegrityError, match=r"whose values take more than [\d,]+ bytes; expected"
        ):
            read_pickle(io.BytesIO(whole))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**21 + 40 * len(whole)


def test_two_hundred_kilobytes_do_not_take_six_gigabytes() -> None:
    program = SIZE + b"](" + b"N" * 200_000 + b"e\x85q\x01" + b"h\x00h\x01R" * 4000 + b"."
    with pytest.raises(WeightsIntegrityError, match="expected 268,435,456 and 32 for each byte"):
        read_checkpoint(zipped(program))


@pytest.mark.parametrize(
    "program",
    [
        SET + b"](" + DEEP + b"e\x85R.",
        ORDERED + b"](" + DEEP + b"N\x86e\x85R.",
        b"\x80\x02}(" + DEEP + b"Nu.",
        b"\x80\x02}(" + text("a" * 5000) + b"Nu.",
        b"\x80\x02}(" + b"\x8b" + struct.pack("<i", 9) + b"\x01" * 9 + b"Nu.",
    ],
    ids=["set", "pairs", "dictionary", "long text", "large number"],
)
def test_no_key_is_hashed_that_is_deep_or_long(program: bytes) -> None:
    with pytest.raises(
        WeightsIntegrityError, match="a key that is neither a number nor a text of up to 4096"
    ):
        read_pickle(io.BytesIO(program))


@pytest.mark.parametrize(("depth", "width"), [(30, 10), (3, 600)])
def test_modules_within_modules_come_to_an_end(depth: int, width: int) -> None:
    made = b"\x80\x02" + module(_parameters=b"}") + b"q\x01"
    children = b"".join(text(f"m{at}") + b"h\x01" for at in range(width))
    for _ in range(depth):
        made += module(_modules=b"}(" + children + b"u") + b"q\x01"
    with pytest.raises(WeightsIntegrityError, match="modules nested without end"):
        read_checkpoint(zipped(made + b"."))


def test_a_broken_list_of_fleeting_buffers_says_nothing() -> None:
    program = b"\x80\x02" + module(_parameters=b"}", _buffers=b"}", _non_persistent_buffers_set=b"K\x05")
    assert read_checkpoint(zipped(program + b".")).state_dict == {}


def test_tensors_that_share_a_storage_may_be_a_multiple_of_the_file() -> None:
    shared = torch.zeros(2**20)
    tied = {"encoder.weight": shared, **{f"decoder.{at}.weight": shared for at in range(15)}}
    read = read_checkpoint(saved(tied)).state_dict
    assert len({tensor.data_ptr() for tensor in read.values()}) == 1
    with pytest.raises(WeightsIntegrityError, match="tensors of more than 16 times the file's size"):
        read_checkpoint(saved({f"w{at}": shared for at in range(40)}))


def test_one_storage_read_as_several_types_is_refused() -> None:
    content = saved({"a": torch.zeros(2**16, dtype=torch.uint8), "b": torch.zeros(2**16, dtype=torch.int8)})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        root = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        program = archive.read(root)
    twice = program.replace(b"X\x01\x00\x00\x001", b"X\x01\x00\x00\x000")
    with pytest.raises(WeightsIntegrityError, match="storages that overlap"):
        read_checkpoint(zipped(twice, s0=bytes(2**16)))


def test_storages_in_one_place_are_refused() -> None:
    content = saved({f"w{at}": torch.full((2**12,), at) for at in range(8)})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [info for info in archive.infolist() if "/data/" in info.filename]
        program = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a/data.pkl", program)
        archive.writestr("a/data/0", bytes(2**15))
        first = archive.getinfo("a/data/0")
        for at in range(1, len(entries)):
            again = zipfile.ZipInfo(f"a/data/{at}")
            for name in ("header_offset", "CRC", "compress_size", "file_size"):
                setattr(again, name, getattr(first, name))
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
    with pytest.raises(WeightsIntegrityError, match=r"storages that overlap|a broken record"):
        read_checkpoint(made.getvalue())


def test_an_archive_of_too_many_entries_is_not_listed() -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a/data.pkl", b".")
        entry = archive.filelist[0]
        archive.filelist += [entry] * 65_535
    with pytest.raises(WeightsIntegrityError, match=r"65,536 entries; expected at most 65,535"):
        read_checkpoint(made.getvalue())


def header(tensors: str, length: int | None = None) -> bytes:
    text = f"{{{tensors}}}".encode()
    return struct.pack("<Q", len(text) if length is None else length) + text


def described(name: str, shape: str = "[0]") -> str:
    return f'"{name}":{{"dtype":"F32","shape":{shape},"data_offsets":[0,0]}}'


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (header(",".join(described(f"t{at}") for at in range(65_536))), "65,536 tensors; expected at most"),
        (header(described("t" * 5000)), "a name of 5000 characters"),
        (header(described("t", "[0" + ",1" * 16 + "]")), "a tensor of 17 dimensions"),
        (header(described("t", "9" * 5000)), "a broken safetensors file"),
        (header(described("t", "[" * 10**5)), "nested too deeply"),
        (header(" " * 2**24), "a header of 16,777,218 bytes"),
        (header('"__metadata__":{"a":["b"]}'), "metadata that are no text by name"),
        (header('"__metadata__":[]'), "a broken safetensors file|without named tensors"),
        (header('"t":[]'), "a broken safetensors file"),
    ],
    ids=["tensors", "name", "dimensions", "digits", "nested", "header", "metadata", "metadata list", "list"],
)  # fmt: skip
def test_the_head_of_a_safetensors_file_is_limited(content: bytes, match: str) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        read_checkpoint(content)
    assert len(str(caught.value)) < 500


def test_metadata_that_are_null_say_nothing(tmp_path: Path) -> None:
    safetensors.torch.save_file({"w": torch.zeros(2)}, tmp_path / "a.safetensors")
    content = (tmp_path / "a.safetensors").read_bytes()
    parsed = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")]) | {"__metadata__": None}
    made = json.dumps(parsed).encode()
    assert list(read_checkpoint(struct.pack("<Q", len(made)) + made + bytes(8)).state_dict) == ["w"]


@pytest.mark.parametrize("depth", [5, 31])
def test_prefixes_are_taken_off_as_far_as_wrappers_go(depth: int) -> None:
    state = {"a." * depth + name: torch.zeros(1) for name in ("b.weight", "c.weight")}
    assert list(read_checkpoint(saved(state)).state_dict) == ["b.weight", "c.weight"]
    many = {"a." * 2000 + name: torch.zeros(1) for name in ("b.weight", "c.weight")}
    assert all(
        name.endswith(("a.b.weight", "a.c.weight")) for name in read_checkpoint(saved(many)).state_dict
    )


def test_long_names_are_cut_in_messages() -> None:
    names = {"w" * 3000 + str(at): torch.zeros(1) for at in range(9)}
    with pytest.raises(ArchitectureError, match=r"in excess w{80}\.\.\., .* and 4 more") as caught:
        check_fit(nn.Sequential(), read_checkpoint(saved(names)).state_dict, name="a.pt")
    assert len(str(caught.value)) < 1000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.pt")
    (tmp_path / "zero.pt").symlink_to("/dev/zero")
    for name in ("a.pt", "zero.pt", "."):
        with pytest.raises(WeightsNotFoundError, match="a folder, or no regular file"):
            read_checkpoint(tmp_path / name)


def test_a_file_of_holes_is_not_read(tmp_path: Path) -> None:
    for name, start, match in [
        ("zeros.pt", b"", "bytes of no known checkpoint format"),
        ("zip.pt", b"PK\x03\x04", r"no readable file \(more than [\d,]+ bytes\)"),
    ]:
        with (tmp_path / name).open("wb") as file:
            file.write(start)
            file.truncate(8 * 2**40)
        with pytest.raises(WeightsError, match=match):
            read_checkpoint(tmp_path / name)
