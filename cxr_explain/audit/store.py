"""The folder of an audit: all parts as one table in manifest order, and what is read back from it."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cxr_explain.audit.address import folder_told_by
from cxr_explain.audit.checks import read_groups
from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.parts import Parts, as_parquet
from cxr_explain.audit.place import Place, place_at
from cxr_explain.audit.record import REMOVE_AND_RUN_AGAIN, Record
from cxr_explain.audit.rows import (
    FAILURE_COLUMNS,
    Row,
    explanation_of,
    failure_schema,
    reference_explanation_of,
    result_schema,
)
from cxr_explain.audit.seal import SEAL, WRITTEN_ANEW, check_seal, is_sealed, seal
from cxr_explain.display import html_of
from cxr_explain.errors import AuditError, OptionError, OutputError, naming
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.operating_points import OperatingPoints
from cxr_explain.pathologies import ReferenceLabels
from cxr_explain.radiograph import Radiograph
from cxr_explain.reference.csv_file import parse_manifest
from cxr_explain.reference.joining import JoinedManifest, join_columns
from cxr_explain.reference.manifest import Manifest
from cxr_explain.support.arrays import Mask
from cxr_explain.support.spreadsheet import safe_cell
from cxr_explain.support.strict_json import read_json

if TYPE_CHECKING:
    from cxr_explain.figures.methods import Methods

RECORD, WHERE, MANIFEST = "run.json", "place.json", "manifest.csv"
OPERATING_POINTS = "operating_points.json"
RESULTS, FAILURES, FAILURES_CSV = "results.parquet", "failures.parquet", "failures.csv"

SEALED = {
    RECORD: REMOVE_AND_RUN_AGAIN,
    **dict.fromkeys((MANIFEST, RESULTS, FAILURES, FAILURES_CSV), WRITTEN_ANEW),
}
"""The files of a finished run, whose digests are written down last, and the way out where one was changed."""

_ROW_GROUP = 1024


def join_parts(parts: Parts) -> tuple[int, int]:
    """Write results.parquet, failures.parquet and failures.csv from the parts.

    The seal comes last: where it is, all of them are, and are known by their digests.

    Args:
        parts: all parts of a run.

    Returns:
        How many images were explained, and how many failed.
    """
    place, record = parts.place, parts.record
    schema = result_schema(record)
    explained = 0
    failures = [failure_schema(record).empty_table()]
    with place.growing(RESULTS) as file:
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            waiting: list[pa.Table] = []
            for table in parts.in_order():
                waiting.append(table.filter(pc.field("code").is_null()).select(schema.names).cast(schema))
                explained += len(waiting[-1])
                bad = table.filter(~pc.field("code").is_null())
                failures.append(bad.select(FAILURE_COLUMNS).cast(failure_schema(record)))
                if sum(map(len, waiting)) >= _ROW_GROUP:
                    writer.write_table(pa.concat_tables(waiting))
                    waiting.clear()
            writer.write_table(pa.concat_tables([schema.empty_table(), *waiting]))
        failed = pa.concat_tables(failures)
        place.write(FAILURES, as_parquet(failed))
        place.write(FAILURES_CSV, _as_csv(failed))
    seal(place, SEALED)
    return explained, len(failed)


def unjoin(place: Place) -> None:
    """Remove the joined table, so that one that is there is always of all parts; the seal goes first."""
    for name in (SEAL, RESULTS):
        place.remove(name)


def is_joined(place: Place) -> bool:
    """Whether the tables were written, and are still what they were then."""
    return is_sealed(place, SEALED)


def record_in(place: Place) -> Record:
    """The identity of the audit that a folder holds.

    Raises:
        AuditError: something else.
    """
    try:
        return Record.from_json(place.read(RECORD))
    except AuditError as error:
        raise error.at(f"{place.name}/{RECORD}") from error


@dataclass(frozen=True, eq=False, repr=False)
class StoredCase:
    """One explained image of an audit, from its row of the table.

    Args:
        run: the audit.
        row: columns that are kept of the image, by name.
    """

    run: AuditRun
    row: Row

    @cached_property
    def explanation(self) -> Explanation:
        """The explanation, from the stored maps; without pixels.

        Raises:
            AuditError: values that no audit writes.
        """
        with naming(self.row["image_id"]):
            return explanation_of(self.row, self.run.record)

    @cached_property
    def reference_explanation(self) -> Explanation | None:
        """An explanation of the pathologies that have a reference box or mask; None where there is none.

        Raises:
            AuditError: values that no audit writes.
        """
        with naming(self.row["image_id"]):
            return reference_explanation_of(self.row, self.run.record)

    @cached_property
    def reference_labels(self) -> ReferenceLabels:
        """The reference labels, their boxes in the radiograph's pixels.

        Raises:
            ManifestError: boxes that do not fit the image.
        """
        entry = self.run.manifest[self.row["row"]]
        return entry.labels_in((self.row["height"], self.row["width"]))

    @cached_property
    def reference_masks(self) -> dict[str, Mask]:
        """The reference mask (H, W) bool of each pathology that has one, in the radiograph's pixels.

        Raises:
            OptionError: masks in an object store, or on a server.
            ManifestError: a mask outside of the image folder.
            CxrExplainError: a file that holds no mask, or one of another size.
        """
        entry, shape = self.run.manifest[self.row["row"]], (self.row["height"], self.row["width"])
        if not entry.masks:
            return {}
        folder = self.run.image_folder.local()
        return {name: entry.mask_in(name, shape, folder) for name in entry.masks}

    def radiograph(self) -> Radiograph:
        """Read the image again.

        Raises:
            AuditError: other bytes than those that were explained.
            RadiographError: a file that is not there any more.
        """
        run = self.run
        radiograph = run.image_folder.read(self._path, run.record.read_settings)
        self._check(radiograph.sha256)
        return radiograph

    def file(self) -> bytes:
        """The bytes of the image's file.

        Raises:
            AuditError: other bytes than those that were explained.
            RadiographError: a file that is not there any more.
        """
        data = self.run.image_folder.content(self._path, self.run.record.read_settings)
        self._check(hashlib.sha256(data).hexdigest())
        return data

    @property
    def _path(self) -> str:
        return self.run.manifest.paths[self.row["row"]]

    def _check(self, sha256: str) -> None:
        if sha256 != self.row["sha256"]:
            raise AuditError(
                f"SHA-256 {sha256[:12]}",
                expected=f"the image that was explained, {self.row['sha256'][:12]}",
                remedy="The file was replaced since: explain it again.",
                source=self.row["image_id"],
            )


@dataclass(frozen=True, eq=False, repr=False)
class AuditRun:
    """An audit that was begun, to be read.

    Args:
        place: its folder.
        record: its identity.
        named_images: the image folder or its URL, as the user named it; None stands for the folder of this
            machine that the audit read.
        join: a CSV file with further columns for the manifest; see `cxr_explain.reference.join_columns`.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_audit
    >>> with TemporaryDirectory() as folder:
    ...     opened = AuditRun.open(example_audit(folder).place.name)
    ...     opened.is_complete, len(opened.results), opened.case(0).explanation.ranking.k
    (True, 2, 5)
    """

    place: Place
    record: Record
    named_images: str | None = None
    join: Path | None = None

    @classmethod
    def open(
        cls,
        where: str | PathLike[str],
        *,
        images: str | PathLike[str] | None = None,
        join: str | PathLike[str] | None = None,
    ) -> Self:
        """Open a run's folder; the files of a finished one are compared with their digests.

        Args:
            where: the folder, or its URL.
            images: the image folder or its URL, where it moved or is not on this machine.
            join: a CSV file with further columns for the manifest, which is read when they are asked for.

        Raises:
            AuditError: no such folder, not one of an audit, or one with a file that was changed since.
        """
        place = place_at(where)
        if not place.exists(RECORD):
            raise AuditError(
                "no audit",
                expected=f"a folder with {RECORD}, as `cxr-explain audit` writes it",
                source=place.name,
            )
        record = record_in(place)
        if place.exists(SEAL):
            check_seal(place, SEALED)
        named = None if images is None else os.fspath(images)
        return cls(place, record, named, None if join is None else Path(join))

    def __repr__(self) -> str:
        return f"<AuditRun of {self.record.rows} images by {self.record.model}>"

    @property
    def manifest(self) -> Manifest:
        """The manifest as it was when the audit began, with the columns that were joined to it since.

        Raises:
            AuditError: another one.
            ManifestError: a table that cannot be joined.
        """
        return self.further.manifest if self.further else self._manifest

    @cached_property
    def further(self) -> JoinedManifest | None:
        """The columns that were joined since, and where they come from; None where no table was named."""
        return None if self.join is None else join_columns(self._manifest, self.join)

    @cached_property
    def _manifest(self) -> Manifest:
        content, source = self.place.read(MANIFEST), f"{self.place.name}/{MANIFEST}"
        found = hashlib.sha256(content).hexdigest()
        if found != self.record.manifest_sha256:
            raise AuditError(
                f"a manifest with SHA-256 {found[:12]}",
                expected=f"the one of the audit, {self.record.manifest_sha256[:12]}",
                source=source,
                remedy=WRITTEN_ANEW,
            )
        manifest = parse_manifest(content, source=source)
        if len(manifest) != self.record.rows:
            raise AuditError(f"{len(manifest)} rows", expected=f"{self.record.rows}", source=source)
        return manifest

    @cached_property
    def fitted_points(self) -> OperatingPoints:
        """The operating points that were given to the audit, whose record has the digest of them.

        Raises:
            AuditError: none, or others.
        """
        source = f"{self.place.name}/{OPERATING_POINTS}"
        try:
            found = OperatingPoints.from_json(self.place.read(OPERATING_POINTS))
        except OutputError as error:
            raise AuditError(
                error.found, expected="those of the audit", source=source, remedy=WRITTEN_ANEW
            ) from error
        if found.sha256 != self.record.operating_points_sha256:
            raise AuditError(
                f"operating points with SHA-256 {found.sha256[:12]}",
                expected=f"those of the audit, {(self.record.operating_points_sha256 or 'none')[:12]}",
                source=source,
                remedy=WRITTEN_ANEW,
            )
        return found

    @property
    def images(self) -> str:
        """The image folder or its URL as the user named it, else the folder that the audit read.

        Raises:
            AuditError: the run's folder names another machine, which nobody else did.
        """
        if self.named_images is not None:
            return self.named_images
        try:
            found = read_json(self.place.read(WHERE))["images"] if self.place.exists(WHERE) else None
        except (KeyError, TypeError, ValueError):
            found = None
        if not isinstance(found, str):
            raise AuditError(
                "nothing about where the images are",
                source=f"{self.place.name}/{WHERE}",
                remedy="Name their folder with --images, images=.",
            )
        return folder_told_by(WHERE, found)

    @cached_property
    def image_folder(self) -> ImageFolder:
        """The folder to read images from again; a link may lead out of it, as digests are compared.

        Raises:
            AuditError: the run's folder names another machine, which nobody else did.
            OptionError: no such folder.
        """
        where = self.images
        try:
            return ImageFolder(where, links="here")
        except OptionError as error:
            error.remedy = "If it was moved, name it with --images, images=."
            raise

    @property
    def is_complete(self) -> bool:
        """Whether every row of the manifest was explained, or failed."""
        return self.joined or Parts(self.place, self.record).are_all()

    @property
    def joined(self) -> bool:
        """Whether the tables were written and sealed, which is when a run comes to its end."""
        return self.place.exists(SEAL)

    @cached_property
    def results(self) -> pa.Table:
        """The explained rows, in the manifest's order; of an unfinished run, those that are there."""
        if self.joined:
            return self._read(RESULTS, result_schema(self.record))
        return self._unjoined(result_schema(self.record), explained=True)

    @cached_property
    def failures(self) -> pa.Table:
        """The rows that failed."""
        if self.joined:
            return self._read(FAILURES, failure_schema(self.record))
        return self._unjoined(failure_schema(self.record), explained=False)

    def columns(self, names: Iterable[str]) -> pa.Table:
        """Some columns of the explained rows, without reading the others."""
        if self.joined:
            return self._read(RESULTS, result_schema(self.record), list(names))
        return self.results.select(list(names))

    def in_groups(self, names: Iterable[str]) -> Iterator[pa.Table]:
        """Some columns of the explained rows, a group of rows at a time, so that few are in memory.

        Of an unfinished run all of them at once.
        """
        if self.joined:
            yield from self._groups(RESULTS, result_schema(self.record), list(names))
        else:
            yield self.results.select(list(names))

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

    def methods_text(self) -> str:
        """How it was made, for a paper's methods section: one paragraph of plain text.

        Every statement is one of the run's record or a count of the results; `bibtex` has what it cites.
        For the caption of an image's figure see `StoredCase.explanation`.
        """
        return self._methods.text

    def bibtex(self) -> str:
        """The entries that `methods_text` cites, and this software's, as a BibTeX file holds them."""
        return self._methods.bibtex

    @property
    def _methods(self) -> Methods:
        from cxr_explain.audit.methods import Done, methods_of_run  # with figures' words, and Matplotlib

        rows = self.columns(["phantom", "gradient", "device", "outside_thorax"])
        codes = Counter(self.failures["code"].to_pylist())
        done = Done(
            explained=len(rows),
            failures=dict(codes.most_common()),
            phantoms=pc.sum(rows["phantom"]).as_py() or 0,
            gradients=sorted(set(rows["gradient"].to_pylist())),
            devices=sorted(set(rows["device"].to_pylist())),
            regions=rows["outside_thorax"].null_count < len(rows),
        )
        return methods_of_run(self.record, done)

    def _repr_html_(self) -> str:
        return html_of(self)

    def _read(self, name: str, schema: pa.Schema, columns: list[str] | None = None) -> pa.Table:
        return pa.concat_tables(list(self._groups(name, schema, columns)))

    def _groups(self, name: str, schema: pa.Schema, columns: list[str] | None = None) -> Iterator[pa.Table]:
        try:
            yield from read_groups(self.place.open(name), schema, self.record, columns)
        except (OSError, ValueError) as error:
            said = "it cannot be read" if isinstance(error, OSError) else error
            raise AuditError(
                f"something else than a table of this audit ({said})",
                expected="a file that it wrote",
                source=f"{self.place.name}/{name}",
                remedy=WRITTEN_ANEW,
            ) from error

    def _unjoined(self, schema: pa.Schema, *, explained: bool) -> pa.Table:
        is_explained = pc.field("code").is_null()
        wanted = is_explained if explained else ~is_explained
        tables = [table.filter(wanted) for table in Parts(self.place, self.record).in_order()]
        return pa.concat_tables(
            [schema.empty_table(), *(table.select(schema.names).cast(schema) for table in tables)]
        )


def _as_csv(failed: pa.Table) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FAILURE_COLUMNS)
    for row in failed.to_pylist():
        writer.writerow([safe_cell(row[name]) for name in FAILURE_COLUMNS])
    return text.getvalue().encode(errors="backslashreplace")
