"""What a Parquet file unpacks to, found out before it is unpacked.

A column of a few bytes may stand for a list of a thousand million zeros, or for a long text in each of a
million rows: values that repeat are written once. The file's footer says how many there are, and may lie; so
the head of each page is read as well, which is what pyarrow goes by.

Source:
    Apache Parquet, https://github.com/apache/parquet-format: parquet.thrift (`PageHeader`), and Thrift's
    compact protocol, in which it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_MEMORY_PER_BYTE = 64  # of the file; float16 maps are packed to nine tenths, texts of a run to a hundredth
_SPARE_MEMORY = 2**28  # bytes
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
_LEVELS = 4  # bytes of a value's repetition and definition levels
_LONGEST_HEAD = 2**16  # bytes of a page's head: statistics may quote a text
_MOST_PAGES = 1_000_000

_UNPACKED, _PACKED, _NUMBERS, _DICTIONARY, _NUMBERS_V2 = 2, 3, 5, 7, 8
"""The fields of a `PageHeader` that count."""

_BINARY, _STRUCT = 8, 12
"""Types of Thrift's compact protocol."""

_DEEPEST = 8  # structures in structures


def bounded_table(source: BinaryIO, size: int, columns: Sequence[str], rows: int) -> pa.Table:
    """Some columns of a Parquet file, where they take no more than a multiple of it.

    Args:
        source: the file, as pyarrow opens it; it is read from several places.
        size: its length in bytes.
        columns: those to read.
        rows: how many there may be.

    Raises:
        ValueError: no such columns, or more than the limits allow.
        OSError: as pyarrow has it; also its own ArrowException.

    >>> import io
    >>> file = io.BytesIO()
    >>> pq.write_table(pa.table({"row": [0, 1]}), file)
    >>> bounded_table(file, file.tell(), ["row"], 2)["row"].to_pylist()
    [0, 1]
    >>> bounded_table(file, file.tell(), ["row"], 1)
    Traceback (most recent call last):
    ValueError: 2 rows instead of 1 at most
    """
    allowed = _SPARE_MEMORY + _MEMORY_PER_BYTE * size
    with pq.ParquetFile(source, read_dictionary=_texts(source)) as file:
        if file.metadata.num_rows > rows:
            raise ValueError(f"{file.metadata.num_rows} rows instead of {rows} at most")
        if sum(_memory_of_chunks(source, file, columns)) > allowed:
            raise ValueError(f"columns that unpack to more than {allowed:,} bytes")
        table = file.read(list(columns))
    if sum(map(_memory_of_texts, table.columns)) > allowed:
        raise ValueError(f"texts that unpack to more than {allowed:,} bytes")
    return table.cast(pa.schema([_plain(field) for field in table.schema], table.schema.metadata))


def _texts(source: BinaryIO) -> list[str]:
    """Columns of text, which are read as they are written: each different text once."""
    with pq.ParquetFile(source) as file:
        columns = [file.schema.column(at) for at in range(len(file.schema))]
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]


def _memory_of_chunks(source: BinaryIO, file: pq.ParquetFile, columns: Sequence[str]) -> Iterator[int]:
    """Bytes that each part of the columns takes before texts are repeated."""
    wanted = set(columns)
    for group in range(file.metadata.num_row_groups):
        of_group = file.metadata.row_group(group)
        for at in range(of_group.num_columns):
            chunk = of_group.column(at)
            if chunk.path_in_schema.partition(".")[0] in wanted:
                yield _memory_of_chunk(source, chunk, file.schema.column(at).length)


def _memory_of_chunk(source: BinaryIO, chunk: Any, length: int) -> int:
    if not chunk.num_values:
        return 0  # no page of it is read
    width = _WIDTHS.get(chunk.physical_type, max(length, 8)) + _LEVELS
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        start = min(start, chunk.dictionary_page_offset)
    pages = list(_pages(source, start, start + chunk.total_compressed_size))
    return sum(unpacked + width * numbers for unpacked, numbers in pages)


def _pages(source: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Of each page, the bytes that it unpacks to and the number of its values."""
    for _ in range(_MOST_PAGES):
        if start >= end:
            return
        source.seek(start)
        head = _Thrift(source.read(_LONGEST_HEAD))
        said = head.struct()
        numbers = sum(_number(said.get(kind, {}).get(1)) for kind in (_NUMBERS, _DICTIONARY, _NUMBERS_V2))
        yield _number(said.get(_UNPACKED)), numbers
        start += head.position + _number(said.get(_PACKED))
    raise ValueError("pages without end")


def _number(value: object) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or value < 0:
        raise ValueError("a page of a negative size")
    return value


class _Thrift:
    """A structure in Thrift's compact protocol: its numbers, by their fields."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise ValueError("a page's head that is nested too deeply")
        found: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._zigzag()
            found[field] = self._value(head & 15, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return None  # a truth, in the type itself
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 7:
            return self._skip(8)
        if kind == _BINARY:
            return self._skip(self._varint())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        raise ValueError("a page's head with a list in it")

    def _byte(self) -> int:
        self._skip(1)
        return self._content[self.position - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number without end")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, count: int) -> None:
        self.position += count
        if self.position > len(self._content):
            raise ValueError("a page's head that is torn")


def _memory_of_texts(column: pa.ChunkedArray) -> int:
    return sum(map(_memory_of_text, column.chunks))


def _memory_of_text(chunk: pa.Array) -> int:
    """Bytes of a column's texts, each as often as it occurs."""
    while pa.types.is_list(chunk.type):
        chunk = chunk.flatten()
    if not pa.types.is_dictionary(chunk.type) or not len(chunk):
        return 0
    lengths = pc.binary_length(chunk.dictionary).cast(pa.int64())
    return pc.sum(lengths.take(chunk.indices)).as_py() or 0


def _plain(field: pa.Field) -> pa.Field:
    """A column whose texts are written out."""
    kind = field.type
    if pa.types.is_dictionary(kind):
        return field.with_type(kind.value_type)
    if pa.types.is_list(kind):
        return field.with_type(pa.list_(_plain(kind.value_field)))
    return field
