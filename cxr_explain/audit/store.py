"""The folder of an audit: parts that are whole or not there, and one table of them in manifest order."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.place import Place, place_at
from cxr_explain.audit.record import Record
from cxr_explain.audit.rows import (
    FAILURE_COLUMNS,
    Row,
    explanation_of,
    failure_schema,
    part_schema,
    reference_explanation_of,
    result_schema,
)
from cxr_explain.display import html_of
from cxr_explain.errors import AuditError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.pathologies import ReferenceLabels
from cxr_explain.radiograph import Radiograph
from cxr_explain.reference.csv_file import parse_manifest
from cxr_explain.reference.manifest import Manifest
from cxr_explain.support.spreadsheet import safe_cell

RECORD, WHERE, MANIFEST, PARTS = "run.json", "place.json", "manifest.csv", "parts"
RESULTS, FAILURES, FAILURES_CSV = "results.parquet", "failures.parquet", "failures.csv"

_WINDOW = 128  # rows that are put in order at a time: the memory of joining does not grow with the audit

_ROW_GROUP = 1024


class Parts:
    """The parts of an audit, each a Parquet file of some rows of the manifest.

    Args:
        place: the run's folder.
        record: the audit's identity.
    """

    def __init__(self, place: Place, record: Record) -> None:
        self.place = place
        self.record = record
        self._schema = part_schema(record)

    def write(self, rows: Sequence[Row]) -> str:
        """Write a part whole, under a name that says which rows it holds; the same rows replace it."""
        numbers = [row["row"] for row in rows]
        kinds = "".join("f" if row.get("code") else "e" for row in rows)
        token = hashlib.sha256(f"{numbers}{kinds}".encode()).hexdigest()[:8]
        name = f"{PARTS}/part-{numbers[0]:08d}-{token}.parquet"
        self.place.write(name, _as_parquet(pa.Table.from_pylist(list(rows), self._schema)))
        return name

    def names(self) -> list[str]:
        """The parts that are there."""
        return [name for name in self.place.names(PARTS) if name.endswith(".parquet")]

    def done(self, *, failures_too: bool = True) -> NDArray[np.bool_]:
        """(rows,): which rows of the manifest are there.

        Args:
            failures_too: whether a failure counts.

        Raises:
            AuditError: a file that is no part of this audit.
        """
        done = np.zeros(self.record.rows, bool)
        for name in self.names():
            table = self.read(name, columns=["row", "code"])
            numbers = table["row"].to_numpy()
            if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(done):
                raise _no_part(self.place, name)
            explained = table["code"].is_null().to_numpy()
            done[numbers[explained | failures_too]] = True
        return done

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A part, or some columns of it.

        Raises:
            AuditError: a file that is no part of this audit.
        """
        try:
            return pq.read_table(self.place.open(name), columns=columns, partitioning=None)
        except (pa.ArrowException, OSError, KeyError) as error:
            raise _no_part(self.place, name) from error

    def in_order(self) -> Iterator[pa.Table]:
        """All rows in the manifest's order, each once, some at a time.

        An explained row takes the place of an earlier failure of the same image.
        """
        names = self.names()
        spans = np.array([self._span(name) for name in names], np.int64).reshape(-1, 2)
        for start in range(0, self.record.rows, _WINDOW):
            stop = start + _WINDOW
            within = np.flatnonzero((spans[:, 0] < stop) & (spans[:, 1] >= start))
            if len(within):
                yield _each_once(pa.concat_tables([self._between(names[at], start, stop) for at in within]))

    def _span(self, name: str) -> tuple[int, int]:
        numbers = self.read(name, columns=["row"])["row"].to_numpy()
        return (int(numbers.min()), int(numbers.max())) if len(numbers) else (0, -1)

    def _between(self, name: str, start: int, stop: int) -> pa.Table:
        table = self.read(name)
        if table.schema.names != self._schema.names:
            raise _no_part(self.place, name)
        return table.filter((pc.field("row") >= start) & (pc.field("row") < stop)).cast(self._schema)


def join_parts(place: Place, record: Record) -> tuple[int, int]:
    """Write results.parquet, failures.parquet and failures.csv from the parts.

    results.parquet comes last, as the seal: where it is, the others are.

    Returns:
        How many images were explained, and how many failed.
    """
    schema = result_schema(record)
    explained = 0
    failures = [failure_schema().empty_table()]
    with place.growing(RESULTS) as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            waiting: list[pa.Table] = []
            for table in Parts(place, record).in_order():
                waiting.append(table.filter(pc.field("code").is_null()).select(schema.names).cast(schema))
                explained += len(waiting[-1])
                bad = table.filter(~pc.field("code").is_null())
                failures.append(bad.select(FAILURE_COLUMNS).cast(failure_schema()))
                if sum(map(len, waiting)) >= _ROW_GROUP:
                    writer.write_table(pa.concat_tables(waiting))
                    waiting.clear()
            writer.write_table(pa.concat_tables([schema.empty_table(), *waiting]))
        failed = pa.concat_tables(failures)
        place.write(FAILURES, _as_parquet(failed))
        place.write(FAILURES_CSV, _as_csv(failed))
    return explained, len(failed)


@dataclass(frozen=True, eq=False, repr=False)
class StoredCase:
    """One explained image of an audit, from its row of the table.

    Args:
        run: the audit.
        row: what is kept of the image.
    """

    run: AuditRun
    row: Row

    @cached_property
    def explanation(self) -> Explanation:
        """The explanation, from the stored maps; without pixels."""
        return explanation_of(self.row, self.run.record)

    @cached_property
    def reference_explanation(self) -> Explanation | None:
        """An explanation of the pathologies that have a reference box or mask; None where there is none."""
        return reference_explanation_of(self.row, self.run.record)

    @cached_property
    def reference_labels(self) -> ReferenceLabels:
        """The reference labels, their boxes in the radiograph's pixels.

        Raises:
            ManifestError: boxes that do not fit the image.
        """
        entry = self.run.manifest[self.row["row"]]
        return entry.labels_in((self.row["height"], self.row["width"]))

    def radiograph(self) -> Radiograph:
        """Read the image again.

        Raises:
            AuditError: other bytes than those that were explained.
            RadiographError: a file that is not there any more.
        """
        run, row = self.run, self.row
        folder = ImageFolder(run.images, follow_links=True)  # as the digest is compared below
        radiograph = folder.read(run.manifest.paths[row["row"]], run.record.read_settings)
        if radiograph.sha256 != row["sha256"]:
            raise AuditError(
                f"SHA-256 {radiograph.sha256[:12]}",
                expected=f"the image that was explained, {row['sha256'][:12]}",
                remedy="The file was replaced since: explain it again.",
                source=row["image_id"],
            )
        return radiograph


@dataclass(frozen=True, eq=False, repr=False)
class AuditRun:
    """An audit that was begun, to be read.

    Args:
        place: its folder.
        record: its identity.
        moved_to: the image folder, where it is no longer where the audit ran.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> with TemporaryDirectory() as folder:
    ...     opened = AuditRun.open(example_audit(folder).place.name)
    ...     opened.is_complete, len(opened.results), opened.case(0).explanation.ranking.k
    (True, 2, 5)
    """

    place: Place
    record: Record
    moved_to: str | None = None

    @classmethod
    def open(cls, where: str | PathLike[str], *, images: str | PathLike[str] | None = None) -> Self:
        """Open a run's folder.

        Args:
            where: the folder, or its URL.
            images: the image folder, where it moved.

        Raises:
            AuditError: no such folder, or not one of an audit.
        """
        place = place_at(where)
        if not place.exists(RECORD):
            raise AuditError(
                "no audit",
                expected=f"a folder with {RECORD}, as `cxr-explain audit` writes it",
                source=place.name,
            )
        try:
            return cls(
                place, Record.from_json(place.read(RECORD)), None if images is None else os.fspath(images)
            )
        except AuditError as error:
            raise error.at(f"{place.name}/{RECORD}") from error

    def __repr__(self) -> str:
        return f"<AuditRun of {self.record.rows} images by {self.record.model}>"

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest as it was when the audit began."""
        return parse_manifest(self.place.read(MANIFEST), source=f"{self.place.name}/{MANIFEST}")

    @property
    def images(self) -> str:
        """The image folder of the machine that ran the audit, or its URL; or where it moved."""
        if self.moved_to is not None:
            return self.moved_to
        try:
            return str(json.loads(self.place.read(WHERE))["images"])
        except (KeyError, TypeError, ValueError) as error:
            raise AuditError(
                "nothing about where the images are", source=f"{self.place.name}/{WHERE}"
            ) from error

    @property
    def is_complete(self) -> bool:
        """Whether every row of the manifest was explained, or failed."""
        return bool(Parts(self.place, self.record).done().all())

    @property
    def joined(self) -> bool:
        """Whether results.parquet was written, which is when a run comes to its end."""
        return self.place.exists(RESULTS)

    @cached_property
    def results(self) -> pa.Table:
        """The explained rows, in the manifest's order; of an unfinished run, those that are there."""
        if self.joined:
            return self._read(RESULTS)
        return self._unjoined(result_schema(self.record), explained=True)

    @cached_property
    def failures(self) -> pa.Table:
        """The rows that failed."""
        if self.joined:
            return self._read(FAILURES)
        return self._unjoined(failure_schema(), explained=False)

    def columns(self, names: Iterable[str]) -> pa.Table:
        """Some columns of the explained rows, without reading the others."""
        if self.joined:
            return self._read(RESULTS, list(names))
        return self.results.select(list(names))

    @cached_property
    def position(self) -> Mapping[str, int]:
        """Where in the results an image is, by its id."""
        ids = self.columns(["image_id"])["image_id"].to_pylist()
        return {image_id: at for at, image_id in enumerate(ids)}

    def case(self, at: int) -> StoredCase:
        """Everything that is kept of one explained image, read once.

        Args:
            at: its position in the results.

        Raises:
            AuditError: no such position.
        """
        if not 0 <= at < len(self.results):
            raise AuditError(f"result {at}", expected=f"0 to {len(self.results) - 1}")
        return StoredCase(self, dict(self.results.slice(at, 1).to_pylist()[0]))

    def _repr_html_(self) -> str:
        return html_of(self)

    def _read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        try:
            return pq.read_table(self.place.open(name), columns=columns, partitioning=None)
        except (pa.ArrowException, OSError) as error:
            raise AuditError(
                "no readable Parquet file",
                source=f"{self.place.name}/{name}",
                remedy="Run the audit again: it writes this file from its parts.",
            ) from error

    def _unjoined(self, schema: pa.Schema, *, explained: bool) -> pa.Table:
        is_explained = pc.field("code").is_null()
        wanted = is_explained if explained else ~is_explained
        tables = [table.filter(wanted) for table in Parts(self.place, self.record).in_order()]
        return pa.concat_tables(
            [schema.empty_table(), *(table.select(schema.names).cast(schema) for table in tables)]
        )


def _each_once(table: pa.Table) -> pa.Table:
    """Sorted by row; of several rows of one image an explained one, else the first."""
    failed = (~table["code"].is_null().to_numpy()).astype(np.int8)
    rows = table["row"].to_numpy()
    order = np.lexsort((failed, rows))
    _, first = np.unique(rows[order], return_index=True)
    return table.take(order[first])


def _as_parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _as_csv(failed: pa.Table) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FAILURE_COLUMNS)
    for row in failed.to_pylist():
        writer.writerow([safe_cell(row[name]) for name in FAILURE_COLUMNS])
    return text.getvalue().encode(errors="backslashreplace")


def _no_part(place: Place, name: str) -> AuditError:
    return AuditError(
        "something else than a part of this audit",
        source=f"{place.name}/{name}",
        remedy="Remove the file, and run the same command again.",
    )
