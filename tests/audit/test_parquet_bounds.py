"""A table's columns are measured before they are unpacked, whatever the footer of its file says."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_explain.audit import parquet_bounds
from cxr_explain.audit.parquet_bounds import bounded_table


@pytest.fixture(autouse=True)
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_bounds, "_SPARE_MEMORY", 2**20)


def written(table: pa.Table, **options: object) -> bytes:
    made = io.BytesIO()
    pq.write_table(table, made, compression="zstd", **options)
    return made.getvalue()


def read(content: bytes, rows: int = 100) -> pa.Table:
    names = pq.read_schema(io.BytesIO(content)).names
    return bounded_table(io.BytesIO(content), names, rows)


def zeros(count: int) -> bytes:
    values = pa.array(np.zeros(count, np.float16))
    return written(pa.table({"maps": pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), values)}))


def lying(content: bytes, count: int) -> bytes:
    """The same with a footer that says ten values; a byte of a number has seven bits of it."""
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    true = bytes([2 * count & 127 | 128, 2 * count >> 7 & 127 | 128, 2 * count >> 14])
    said = content[start:].replace(true, bytes([20 | 128, 128, 0]))
    assert said != content[start:]
    return content[:start] + said


def test_a_long_list_of_zeros_is_refused_by_its_number() -> None:
    content = zeros(1_000_000)
    assert len(content) < 1000
    with pytest.raises(ValueError, match=r"columns that unpack to more than 1,0\d\d,\d{3} bytes"):
        read(content)


def test_a_footer_that_lies_is_not_believed() -> None:
    content = lying(zeros(1_000_000), 1_000_000)
    assert pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0).column(0).num_values == 10
    with pytest.raises(ValueError, match="columns that unpack"):
        read(content)


@pytest.mark.parametrize("nested", [False, True])
def test_a_text_that_is_repeated_is_measured_as_often(nested: bool) -> None:
    texts = pa.DictionaryArray.from_arrays(np.zeros(100, np.int32), ["a" * 100_000])
    column = pa.ListArray.from_arrays(pa.array([0, 100], pa.int32()), texts) if nested else texts
    content = written(pa.table({"note": column}))
    assert len(content) < 2000
    with pytest.raises(ValueError, match="texts that unpack to more than"):
        read(content)


def test_one_long_text_is_measured_by_its_page() -> None:
    content = written(pa.table({"note": ["a" * 3_000_000]}), use_dictionary=False)
    with pytest.raises(ValueError, match="columns that unpack to more than"):
        read(content)


def test_files_are_read_by_their_paths_and_as_pyarrow_has_them(tmp_path: Path) -> None:
    content = written(pa.table({"row": range(9)}))
    (tmp_path / "a.parquet").write_bytes(content)
    sources = (str(tmp_path / "a.parquet"), pa.BufferReader(content), pa.OSFile(str(tmp_path / "a.parquet")))
    for source in sources:
        assert bounded_table(source, ["row"], 9)["row"].to_pylist() == list(range(9))
    with pytest.raises(OSError, match="no regular file"):
        bounded_table(str(tmp_path), ["row"], 9)


def test_rows_are_counted_first() -> None:
    with pytest.raises(ValueError, match="200 rows instead of 100 at most"):
        read(written(pa.table({"row": range(200)})))


_TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=5)), max_size=3)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "row": st.integers(0, 2**31 - 1),
                "note": st.one_of(st.none(), st.text(max_size=9)),
                "steps": st.one_of(st.none(), _TEXTS),
                "halves": st.lists(st.integers(-9, 9).map(np.float16), max_size=4),
                "phantom": st.booleans(),
            }
        ),
        max_size=9,
    ),
    st.booleans(),
    st.sampled_from(["1.0", "2.0"]),
)
def test_what_is_within_the_bounds_is_read_as_pyarrow_reads_it(rows: list, coded: bool, pages: str) -> None:
    schema = pa.schema(
        {
            "row": pa.int32(),
            "note": pa.string(),
            "steps": pa.list_(pa.string()),
            "halves": pa.list_(pa.float16()),
            "phantom": pa.bool_(),
        },
        metadata={"model": "m"},
    )
    table = pa.Table.from_pylist(rows, schema)
    content = written(table, use_dictionary=coded, data_page_version=pages, row_group_size=3)
    plain = pq.read_table(io.BytesIO(content))
    assert read(content).equals(plain, check_metadata=True)


@pytest.mark.parametrize("names", [["row", "other"], ["note"]])
def test_other_columns_are_a_value_error(names: list[str]) -> None:
    content = written(pa.table([[1], ["a"], ["b"]], names=["row", "note", "note"]))
    with pytest.raises(ValueError, match="other columns"):
        bounded_table(io.BytesIO(content), names, 1)


def test_any_damage_is_a_value_error_or_pyarrows_own() -> None:
    whole = written(pa.table({"row": [1, 2, 3], "note": ["a", "bb", None]}))
    for at in range(len(whole)):
        for content in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :]):
            try:
                read(content)
            except (ValueError, OSError, pa.ArrowException):
                continue
