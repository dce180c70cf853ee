"""What a Parquet file unpacks to, found out before it is unpacked.

A column of a few bytes may stand for a list of a thousand million zeros, or for a long text in each of a
million rows: values that repeat are written once. The file's footer says how many there are, and may lie; so
the head of each page is read as well, which is what pyarrow goes by.

Source:
    Apache Parquet, https://github.com/apache/parquet-format: parquet.thrift (`PageHeader`), and Thrift's
    compact protocol, in which it is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cxr_explain.support.bounded import open_regular

_MEMORY_PER_BYTE = 64  # of the file; float16 maps are packed to nine tenths, texts of a run to a hundredth
_SPARE_MEMORY = 2**28  # bytes
_WIDTH = 16  # bytes of a value at most, with the levels that say which list it is in
_LONGEST_HEAD = 2**16  # bytes of a page's head: statistics may quote a text
_LONGEST_FOOTER = 2**24  # bytes; a million images have half of it
_MOST_PAGES = 1_000_000  # of a column's part
_MAGIC = b"PAR1"

# Types of Thrift's compact protocol.
_TRUE, _FALSE, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, (4, 5, 6), 7, 8, 9, 10, 12
_DEEPEST = 12  # structures and lists in each other

# Fields of the structures in parquet.thrift, by their numbers there.
_ROW_GROUPS, _COLUMNS, _META_DATA = 4, 1, 3
_PATH, _PACKED_CHUNK, _DATA_OFFSET, _DICTIONARY_OFFSET = 3, 7, 9, 11
_UNPACKED, _PACKED, _NUMBERS, _DICTIONARY, _NUMBERS_V2 = 2, 3, 5, 7, 8


def bounded_table(source: str | BinaryIO, columns: Sequence[str], rows: int) -> pa.Table:
    """Some columns of a Parquet file, where they take no more than a multiple of it.

    Args:
        source: the file, or its path; it is read from several places.
        columns: those to read.
        rows: how many there may be.

    Raises:
        ValueError: no such columns, or more than the limits allow.
        OSError: as pyarrow has it; also its own ArrowException.

    >>> import io
    >>> file = io.BytesIO()
    >>> pq.write_table(pa.table({"row": [0, 1]}), file)
    >>> bounded_table(file, ["row"], 2)["row"].to_pylist()
    [0, 1]
    >>> bounded_table(file, ["row"], 1)
    Traceback (most recent call last):
    ValueError: 2 rows instead of 1 at most
    """
    return pa.concat_tables(list(bounded_groups(source, columns, rows)))


def bounded_groups(source: str | BinaryIO, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
    """The same, a group of rows at a time, after a table without rows.

    Args:
        source: the file, or its path; it is read from several places.
        columns: those to read.
        rows: how many there may be.

    Raises:
        ValueError: no such columns, or more than the limits allow.
        OSError: as pyarrow has it; also its own ArrowException.
    """
    if isinstance(source, str):
        with open_regular(source) as stream:
            yield from bounded_groups(stream, columns, rows)
        return
    source.seek(0, os.SEEK_END)
    size = source.tell()
    allowed = _SPARE_MEMORY + _MEMORY_PER_BYTE * size
    if sum(_memory_of_chunks(source, size, columns)) > allowed:
        raise ValueError(f"columns that unpack to more than {allowed:,} bytes")
    with pq.ParquetFile(source, read_dictionary=_texts(source)) as file:
        if file.metadata.num_rows > rows:
            raise ValueError(f"{file.metadata.num_rows} rows instead of {rows} at most")
        names = file.schema_arrow.names
        if any(names.count(name) != 1 for name in columns):
            raise ValueError("other columns")
        yield _plain_table(file.schema_arrow.empty_table().select(list(columns)))
        texts = 0
        for at in range(file.num_row_groups):
            table = file.read_row_group(at, list(columns))
            texts += sum(map(_memory_of_texts, table.columns))
            if texts > allowed:
                raise ValueError(f"texts that unpack to more than {allowed:,} bytes")
            yield _plain_table(table)


def _texts(source: BinaryIO) -> list[str]:
    """Columns of text, which are read as they are written: each different text once."""
    with pq.ParquetFile(source) as file:
        columns = [file.schema.column(at) for at in range(len(file.schema))]
    return [column.path for column in columns if column.physical_type == "BYTE_ARRAY"]


def _memory_of_chunks(source: BinaryIO, size: int, columns: Sequence[str]) -> Iterator[int]:
    """Bytes that each part of the columns takes before texts are repeated.

    pyarrow's own view of the footer is no way to them: it ends the process where the footer contradicts
    itself.
    """
    wanted = {name.encode() for name in columns}
    for group in _list(_footer(source, size), _ROW_GROUPS):
        for column in _list(group, _COLUMNS):
            chunk = _struct(column, _META_DATA)
            if _list(chunk, _PATH)[:1] and _list(chunk, _PATH)[0] in wanted:
                yield _memory_of_chunk(source, chunk)


def _footer(source: BinaryIO, size: int) -> dict[int, Any]:
    source.seek(max(size - 8, 0))
    end = source.read(8)
    length = int.from_bytes(end[:4], "little")
    if end[4:] != _MAGIC or not 0 < length <= min(size - 8, _LONGEST_FOOTER):
        raise ValueError("no Parquet file")
    source.seek(size - 8 - length)
    return _Thrift(source.read(length)).struct()


def _memory_of_chunk(source: BinaryIO, chunk: dict[int, Any]) -> int:
    start, dictionary = _number(chunk, _DATA_OFFSET), _number(chunk, _DICTIONARY_OFFSET)
    start = min(start, dictionary) if dictionary and start else max(start, dictionary)
    pages = _pages(source, start, start + _number(chunk, _PACKED_CHUNK))
    return sum(unpacked + _WIDTH * numbers for unpacked, numbers in pages)


def _pages(source: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The bytes that each page unpacks to, and how many values it has."""
    for _ in range(_MOST_PAGES):
        if start >= end:
            return
        source.seek(start)
        head = _Thrift(source.read(_LONGEST_HEAD))
        said = head.struct()
        kinds = [_struct(said, kind) for kind in (_NUMBERS, _DICTIONARY, _NUMBERS_V2)]
        yield _number(said, _UNPACKED), sum(_number(kind, 1) for kind in kinds)
        start += head.position + _number(said, _PACKED)
    raise ValueError("pages without end")


def _number(struct: dict[int, Any], field: int) -> int:
    value = cast(int, _field(struct, field, int, 0))
    if value < 0:
        raise _other()
    return value


def _list(struct: dict[int, Any], field: int) -> list[Any]:
    return cast("list[Any]", _field(struct, field, list, []))


def _struct(struct: dict[int, Any], field: int) -> dict[int, Any]:
    return cast("dict[int, Any]", _field(struct, field, dict, {}))


def _field(struct: Any, field: int, kind: type, otherwise: Any) -> Any:
    value = struct.get(field, otherwise) if isinstance(struct, dict) else None
    if not isinstance(value, kind):
        raise _other()
    return value


def _other() -> ValueError:
    return ValueError("a Parquet file whose parts are not described as they are in one")


class _Thrift:
    """Structures in Thrift's compact protocol, as dictionaries by the numbers of their fields."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.position = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        found: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._zigzag()
            found[field] = (
                head & 15 == _TRUE if head & 15 in (_TRUE, _FALSE) else self._value(head & 15, depth)
            )
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_TRUE, _FALSE, _BYTE):
            return self._byte()
        if kind in _INTEGERS:
            return self._zigzag()
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind == _BINARY:
            return self._bytes(self._varint())
        if depth == _DEEPEST or kind not in (_LIST, _SET, _STRUCT):
            raise ValueError("a Parquet file with a value of another kind")
        return self.struct(depth + 1) if kind == _STRUCT else self._items(depth)

    def _items(self, depth: int) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        if count > len(self._content) - self.position:
            raise ValueError("a Parquet file with a torn list")
        return [self._value(head & 15, depth + 1) for _ in range(count)]

    def _byte(self) -> int:
        return self._bytes(1)[0]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a Parquet file with a number without end")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _bytes(self, count: int) -> bytes:
        found = self._content[self.position : self.position + count]
        if len(found) < count:
            raise ValueError("a Parquet file that is torn")
        self.position += count
        return found


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


def _plain_table(table: pa.Table) -> pa.Table:
    return table.cast(pa.schema([_plain(field) for field in table.schema], table.schema.metadata))


def _plain(field: pa.Field) -> pa.Field:
    """A column whose texts are written out."""
    kind = field.type
    if pa.types.is_dictionary(kind):
        return field.with_type(kind.value_type)
    if pa.types.is_list(kind):
        return field.with_type(pa.list_(_plain(kind.value_field)))
    return field
