"""The parts of an audit: Parquet files that are whole or not there, and that know which audit is theirs."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cxr_explain.audit.checks import read_rows
from cxr_explain.audit.place import Place
from cxr_explain.audit.record import Record
from cxr_explain.audit.rows import Row, part_schema
from cxr_explain.audit.seal import is_as_written, with_digest
from cxr_explain.errors import AuditError

PARTS = "parts"

_WINDOW = 128  # rows that are put in order at a time: the memory of joining does not grow with the audit
_MOST_NAMED = 3


class _Rows(NamedTuple):
    """Which rows a part has.

    Args:
        numbers: (n,) in the manifest, from 0.
        explained: (n,) bool, whether each was explained.
    """

    numbers: NDArray[np.int32]
    explained: NDArray[np.bool_]


class Parts:
    """The parts of an audit, each a Parquet file of some rows of the manifest.

    A part carries a digest of itself and that of the record it belongs to; both are compared whenever it is
    read. One that was removed is one that was not made yet.

    Args:
        place: the run's folder.
        record: the audit's identity, as its folder has it.
    """

    def __init__(self, place: Place, record: Record) -> None:
        self.place = place
        self.record = record
        self._schema = part_schema(record)

    def write(self, rows: Sequence[Row]) -> str:
        """Write a part whole, under a name that says which rows it holds; the same rows replace it."""
        name = _name_of([row["row"] for row in rows], [not row.get("code") for row in rows])
        table = pa.Table.from_pylist(list(rows), self._schema)
        self.place.write(name, with_digest(as_parquet(table)))
        return name

    def names(self) -> list[str]:
        """The parts that are there."""
        return [name for name in self.place.names(PARTS) if name.endswith(".parquet")]

    def done(self, *, failures_too: bool = True) -> NDArray[np.bool_]:
        """(rows,): which rows of the manifest are there.

        Args:
            failures_too: whether a failure counts.

        Raises:
            AuditError: files that are no parts of this audit.
        """
        done = np.zeros(self.record.rows, bool)
        for numbers, explained in self._rows.values():
            done[numbers[explained | failures_too]] = True
        return done

    def are_all(self) -> bool:
        """Whether every row of the manifest is there.

        Raises:
            AuditError: files that are no parts of this audit.
        """
        numbers = [found.numbers for found in self._rows.values()]
        return len(np.unique(np.concatenate([np.empty(0, np.int32), *numbers]))) == self.record.rows

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A part, or some columns of it.

        Raises:
            AuditError: a file that is no part of this audit.
        """
        try:
            content = self.place.read(name)
            if not is_as_written(content):
                raise ValueError("it was changed since it was written")
            return read_rows(pa.BufferReader(content), self._schema, self.record, columns)
        except (AuditError, OSError, ValueError) as error:
            reason = error.found if isinstance(error, AuditError) else error
            raise self._no_part(name, f"something else than a part of this audit ({reason})") from error

    def in_order(self) -> Iterator[pa.Table]:
        """All rows in the manifest's order, each once, some at a time.

        An explained row takes the place of an earlier failure of the same image.

        Raises:
            AuditError: files that are no parts of this audit.
        """
        by_window: dict[int, list[str]] = {}
        for name, (numbers, _) in self._rows.items():
            for window in np.unique(numbers // _WINDOW).tolist():
                by_window.setdefault(window, []).append(name)
        for window in sorted(by_window):
            start, stop = window * _WINDOW, (window + 1) * _WINDOW
            yield _each_once(
                pa.concat_tables([self._between(name, start, stop) for name in by_window[window]])
            )

    @cached_property
    def _rows(self) -> dict[str, _Rows]:
        """Which rows each part has.

        Raises:
            AuditError: names the files that are no parts of this audit.
        """
        found: dict[str, _Rows] = {}
        errors: list[AuditError] = []
        for name in self.names():
            try:
                found[name] = self._rows_of(name)
            except AuditError as error:
                errors.append(error)
        if errors:
            raise _all_named(errors)
        return found

    def _rows_of(self, name: str) -> _Rows:
        table = self.read(name, ["row", "code"])
        rows = _Rows(table["row"].to_numpy(), table["code"].is_null().to_numpy())
        if name != _name_of(rows.numbers.tolist(), rows.explained.tolist()):
            raise self._no_part(name, "a part of this audit under the name of another")
        return rows

    def _no_part(self, name: str, found: str) -> AuditError:
        return AuditError(
            found,
            expected="a file that it wrote",
            source=f"{self.place.name}/{name}",
            remedy="Remove it: the same `cxr-explain audit` command makes its rows again.",
        )

    def _between(self, name: str, start: int, stop: int) -> pa.Table:
        return self.read(name).filter((pc.field("row") >= start) & (pc.field("row") < stop))


def _name_of(numbers: Sequence[int], explained: Sequence[bool]) -> str:
    """The name of a part with these rows, so that one copied over another is noticed."""
    kinds = "".join("e" if each else "f" for each in explained)
    token = hashlib.sha256(f"{list(numbers)}{kinds}".encode()).hexdigest()[:8]
    return f"{PARTS}/part-{(numbers or [0])[0]:08d}-{token}.parquet"


def as_parquet(table: pa.Table) -> bytes:
    """A table as a Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _all_named(errors: Sequence[AuditError]) -> AuditError:
    """The first of several errors of the same kind, which names the others, too."""
    first, *others = errors
    if others:
        names = ", ".join(str(error.source).rpartition("/")[2] for error in others[:_MOST_NAMED])
        more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        first.remedy = (
            f"Remove it, and {names}{more}, of which the same is true: the same `cxr-explain audit` command "
            "makes their rows again."
        )
    return first


def _each_once(table: pa.Table) -> pa.Table:
    """Sorted by row; of several rows of one image an explained one, else the first."""
    failed = (~table["code"].is_null().to_numpy()).astype(np.int8)
    rows = table["row"].to_numpy()
    order = np.lexsort((failed, rows))
    _, first = np.unique(rows[order], return_index=True)
    return table.take(order[first])
