"""Whether a table that was read can hold rows of an audit, before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cxr_explain.audit.parquet_bounds import bounded_groups
from cxr_explain.audit.record import Record
from cxr_explain.audit.rows import FINER, OF_REGIONS, RECORD_DIGEST

_MAY_BE_EMPTY = frozenset(
    {"code", "message", "format", "view", "laterality", "patient_orientation", *OF_REGIONS, *FINER}
)
"""Columns that an explained row may say nothing in."""

_OF_EVERY_ROW = ("row", "image_id")


def read_rows(
    source: Any, schema: pa.Schema, record: Record, columns: Sequence[str] | None = None
) -> pa.Table:
    """Read a table of an audit.

    Args:
        source: Parquet file, as pyarrow opens it.
        schema: columns of the whole table.
        record: the audit's identity.
        columns: those to read; all without.

    Raises:
        ValueError: another file, or the table of another audit.
        OSError: as pyarrow has it.
    """
    return pa.concat_tables(list(read_groups(source, schema, record, columns)))


def read_groups(
    source: Any, schema: pa.Schema, record: Record, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Read a table of an audit, a group of rows at a time, after one without rows; see `read_rows`."""
    names = list(columns or schema.names)
    try:
        with pq.ParquetFile(source) as file:
            if (file.schema_arrow.metadata or {}).get(RECORD_DIGEST) != record.digest.encode():
                raise ValueError("it belongs to another audit")
        for table in bounded_groups(source, names, record.rows):
            if table.schema.names != names:
                raise ValueError("other columns")
            yield as_rows(table, schema, record.rows)
    except (pa.ArrowException, EOFError) as error:
        raise ValueError("no Parquet file") from error


def as_rows(table: pa.Table, schema: pa.Schema, count: int) -> pa.Table:
    """A table in its own types, once it is seen that it can hold rows of an audit.

    Lists are not looked into: `cxr_explain.audit.rows` does that where an explanation is made of them.

    Args:
        table: some or all columns of the schema.
        schema: columns of the whole table.
        count: number of rows of the manifest.

    Raises:
        ValueError: other columns, or values that no audit writes.

    >>> schema = pa.schema([("row", pa.int32())])
    >>> as_rows(pa.table({"row": [1, 7]}), schema, 2)
    Traceback (most recent call last):
    ValueError: row 7 of 2
    """
    try:
        wanted = pa.schema([schema.field(name) for name in table.schema.names], metadata=schema.metadata)
        table = table.replace_schema_metadata(schema.metadata)
        if not table.schema.equals(wanted):
            table = table.cast(wanted)
        texts = [field.name for field in wanted if "string" in str(field.type)]
        table.select(texts).validate(full=True)  # that they are UTF-8, which the reader does not see to
    except (pa.ArrowException, KeyError) as error:
        raise ValueError("columns of other types") from error
    _check_numbered(table, count)
    _check_explained(table.filter(pc.is_null(table["code"])) if "code" in wanted.names else table)
    return table


def _check_numbered(table: pa.Table, count: int) -> None:
    for name in _OF_EVERY_ROW:
        if name in table.schema.names and table[name].null_count:
            raise ValueError(f"a row without {name}")
    if "row" in table.schema.names and len(table):
        ends = pc.min_max(table["row"]).as_py()
        if ends["min"] < 0 or ends["max"] >= count:
            raise ValueError(f"row {ends['max'] if ends['min'] >= 0 else ends['min']} of {count}")


def _check_explained(table: pa.Table) -> None:
    """What holds of every explained row."""
    for field, column in zip(table.schema, table.columns, strict=True):
        if column.null_count and field.name not in _MAY_BE_EMPTY:
            raise ValueError(f"a row without {field.name}")
        if pa.types.is_floating(field.type) and not _all(pc.is_finite(column)):
            raise ValueError(f"{field.name} that is not finite")
        if field.name.startswith("probability ") and not _all(_within(column, 0.0, 1.0)):
            raise ValueError(f"{field.name} below 0 or above 1")
        if field.name in ("width", "height") and not _all(pc.greater(column, 0)):
            raise ValueError(f"a {field.name} of no pixel")
        if field.name == "map_shape" and not _all(pc.equal(pc.list_value_length(column), 3)):
            raise ValueError("maps of other than three dimensions")


def _within(column: pa.ChunkedArray, low: float, high: float) -> pa.ChunkedArray:
    return pc.and_(pc.greater_equal(column, low), pc.less_equal(column, high))


def _all(holds: pa.ChunkedArray) -> bool:
    return pc.all(holds).as_py() is not False
