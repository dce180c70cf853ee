"""Arrays are unpacked no further than a record declares, whatever an archive says of itself."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_explain.explaining import stored_maps
from cxr_explain.explaining.stored_maps import packed_maps, unpacked_maps

DAMAGE = (ValueError, KeyError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error)


def npy(shape: str, descr: str = "'<f4'", order: str = "False", content: bytes = b"") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def packed(first: bytes, second: bytes | None = None, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as archive:
        archive.writestr("class_maps.npy", first)
        archive.writestr("maps.npy", first if second is None else second)
    return made.getvalue()


@given(
    st.integers(0, 4), st.integers(1, 9), st.integers(1, 9), st.sampled_from("CF"), st.integers(0, 2**32 - 1)
)  # fmt: skip
def test_what_is_packed_is_unpacked(k: int, i: int, j: int, order: str, seed: int) -> None:
    class_maps, maps = np.random.default_rng(seed).normal(size=(2, k, i, j)).astype(np.float32)
    read = unpacked_maps(packed_maps(np.asarray(class_maps, order=order), maps), k, 9)
    assert np.array_equal(read[0], class_maps)
    assert np.array_equal(read[1], maps)
    assert read[0].dtype == np.float32


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (packed(npy("(2, 22000, 22000)")), r"\(2, 22000, 22000\) for 2 pathologies and an input of 9 x 9"),
        (packed(npy("(2, 999999999, 0)")), "shape"),
        (packed(npy("(3, 7, 7)", content=bytes(588))), r"shape \(3, 7, 7\) for 2 pathologies"),
        (packed(npy("(2, 7, 7)", content=bytes(391))), "another length"),
        (packed(npy("(2, 7, 7)", content=bytes(393))), "another length"),
        (packed(npy("(2, 7, 7)", content=bytes(392)), npy("(2, 7, 6)", content=bytes(336))), "shapes"),
        (packed(npy("(2, 7, 7)", "'>f4'", content=bytes(392))), "no float32 array"),
        (packed(npy("(2, 7, 7)", "'S2147483647'")), "no float32 array"),
        (packed(npy("(2, 7, 7)", "'|O'", content=b"cos\nsystem\n.")), "no float32 array"),
        (packed(npy("(2, 7, 7)", "[('a', '<f4'), ('b', '<f4')]")), "no float32 array"),
        (packed(npy("(2, 7)")), "no float32 array"),
        (packed(npy(f"({'1, ' * 9000})")), "no float32 array"),
        (packed(npy(f"({'9' * 9000}, 7, 7)")), "no float32 array"),
        (packed(npy("(" * 9000)), "no float32 array"),
        (packed(npy("(-2, 7, 7)")), "no float32 array"),
        (packed(b"\x93NUMPY\x02\x00" + b"\xff" * 4), "no float32 array"),
        (packed(b"\x93NUMPY"), "no float32 array"),
        (packed(npy("(2, 7, 7)", content=bytes(392)), compression=zipfile.ZIP_LZMA), "of kind 14"),
        (packed(npy("(2, 7, 7)", content=bytes(392)), compression=zipfile.ZIP_BZIP2), "of kind 12"),
    ],
    ids=range(19),
)  # fmt: skip
def test_other_arrays_are_refused_by_their_heads(content: bytes, match: str) -> None:
    with pytest.raises(ValueError, match=match) as caught:
        unpacked_maps(content, 2, 9)
    assert len(str(caught.value)) < 200


def test_no_more_is_unpacked_than_is_declared() -> None:
    content = packed(npy("(2, 7, 7)", content=bytes(2**26)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="another length"):
            unpacked_maps(content, 2, 224)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_maps_have_a_limit_whatever_the_record_declares() -> None:
    with pytest.raises(ValueError, match="shape"):
        unpacked_maps(packed(npy("(2, 8000, 8000)")), 2, 10**9)
    assert stored_maps.MOST_VALUES >= 32 * 1024 * 1024


def test_an_archive_has_two_entries() -> None:
    made = io.BytesIO(packed(npy("(2, 7, 7)", content=bytes(392))))
    with zipfile.ZipFile(made, "a") as archive:
        archive.writestr("other.npy", b"")
    with pytest.raises(ValueError, match="3 entries"):
        unpacked_maps(made.getvalue(), 2, 9)


def test_any_damage_is_named() -> None:
    whole = packed_maps(*np.ones((2, 2, 7, 7), np.float32))
    for at in range(len(whole)):
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]):
            try:
                read = unpacked_maps(content, 2, 9)
            except DAMAGE:
                continue
            assert np.array_equal(read[0], np.ones((2, 7, 7)))
