"""The run of an audit: read ahead, explain in batches, write parts; killed, it goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Unpack

import numpy as np

from cxr_explain.audit.address import without_secrets
from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.journal import Journal
from cxr_explain.audit.log import Log
from cxr_explain.audit.operating_points.split import check_manifest_apart
from cxr_explain.audit.parts import Parts
from cxr_explain.audit.place import Place, place_at
from cxr_explain.audit.reading import ManifestRow, Reader, Ready, read_ahead
from cxr_explain.audit.record import Record
from cxr_explain.audit.remote import check_named_as_server
from cxr_explain.audit.resuming import on_engine_of_run
from cxr_explain.audit.rows import Failed, Row, explained_row
from cxr_explain.audit.seal import SEAL
from cxr_explain.audit.store import (
    MANIFEST,
    OPERATING_POINTS,
    RECORD,
    WHERE,
    AuditRun,
    is_joined,
    join_parts,
    record_in,
    unjoin,
)
from cxr_explain.audit.where import where_columns
from cxr_explain.chest.segmentation import Segmenter
from cxr_explain.errors import AuditError, CxrExplainError, OptionError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.many import Outcome, explain_in_batches
from cxr_explain.explaining.settings import RankingOptions, RankingSettings
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.options import LabelPolicyLike
from cxr_explain.reference.csv_file import csv_bytes
from cxr_explain.reference.manifest import Manifest
from cxr_explain.support.cores import available_cores

SECONDS_OF_A_PART = 30.0
"""A part is written after so long, whatever the number of its rows: what a kill can cost."""


@dataclass(frozen=True)
class RunSettings:
    """How an audit is run: choices that leave its results as they are.

    Args:
        batch_size: images in one forward pass.
        workers: threads that read ahead; 0 takes one for each core, 4 at most.
        follow_links: whether links in the image folder may lead out of it.
        retry_failed: explain again what failed before.
        regions: measure where the saliency lies (outside of the thorax, over markers ...).
        part_rows: a part is written once it has so many rows.

    Raises:
        OptionError: a number below what makes sense.
    """

    batch_size: int = 16
    workers: int = 0
    follow_links: bool = False
    retry_failed: bool = False
    regions: bool = True
    part_rows: int = 128

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.workers < 0:
            raise OptionError(
                f"batch_size={self.batch_size}, workers={self.workers}",
                expected="1 or more images, 0 (automatic) or more threads",
            )

    @property
    def threads(self) -> int:
        """Threads that read ahead."""
        return self.workers or min(4, available_cores())


@dataclass(frozen=True)
class BatchProgress:
    """What became of one batch.

    Args:
        explained: number of images that were explained.
        failed: those that failed, by their names.
    """

    explained: int
    failed: Mapping[str, Failed]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> BatchProgress:
        """Count rows, each with "image_id" and, where it failed, "code" and "message"."""
        failed = {row["image_id"]: Failed(row["code"], row["message"]) for row in rows if row.get("code")}
        return cls(len(rows) - len(failed), failed)


@dataclass(frozen=True, eq=False)
class Audit:
    """An audit that is under way.

    Args:
        record: identity of the audit: model, settings, manifest.
        images: where the images are.
        place: the run's folder.
        running: how the audit is run: batches, threads, regions.
        segmenter: finds the lungs; None leaves that to the fixed rules.
    """

    record: Record
    images: ImageFolder
    place: Place
    running: RunSettings
    segmenter: Segmenter | None = None

    def rows(
        self, explainer: Explainer, rows: Iterable[ManifestRow], journal: Journal | None = None
    ) -> Generator[list[Row]]:
        """The results of each batch: read ahead by threads, explained in one forward pass."""
        record, running = self.record, self.running
        reader = Reader(
            self.images, explainer.prepare, record.read_settings, running.regions, journal, self.segmenter
        )
        ahead = running.batch_size + 2 * running.threads
        with closing(read_ahead(reader, rows, workers=running.threads, ahead=ahead)) as images:
            for batch in explain_in_batches(explainer, images, record.ranking_settings, running.batch_size):
                yield [_row(outcome) for outcome in batch]


Crew = Callable[[Audit, Sequence[ManifestRow], Callable[[str], None]], Generator[BatchProgress]]
"""Who works on the rows that are left, and writes their parts; is given the log, and tells what was done."""


def run_audit(
    explainer: Explainer,
    manifest: Manifest,
    images: str | PathLike[str],
    where: str | PathLike[str],
    *,
    reading: ReadSettings | None = None,
    policy: LabelPolicyLike = "strict",
    running: RunSettings | None = None,
    segmenter: Segmenter | None = None,
    allow_tuning_images: bool = False,
    crew: Crew | None = None,
    advance: Callable[[BatchProgress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
    **options: Unpack[RankingOptions],
) -> AuditRun:
    """Explain every image of a manifest, and keep what is found in a folder.

    What is there already is not done again. A run goes on with the engine and in the precision in which it
    began: another one is refused, and `engine="auto"` takes the run's. The results do not depend on the batch
    size, on the number of threads, or on where the run was interrupted; scores agree to the rounding of
    convolutions.

    Args:
        explainer: the model and a rule that has a name.
        manifest: the images, their labels and boxes.
        images: the folder that the manifest's paths are relative to, or its URL; `dicomweb+` and the address
            of a DICOMweb server for a manifest of one.
        where: the run's folder, or a URL that pyarrow or fsspec can write to.
        reading: how the images are read; by default as the explainer prepares them.
        policy: what reference labels count as in the statistics: a `LabelPolicy`, or the name of a convention
            (strict, xrv or chexpert), or what uncertain labels count as (ignore, zeros or ones).
        running: how the audit is run: batches, threads, regions.
        segmenter: segmentation network that finds lungs and thorax; by default the fixed rules do.
        allow_tuning_images: begin also with the very manifest that the explainer's operating points were
            fitted on a part of. Statistics refuse such images once more.
        crew: who works on it, such as `cxr_explain.integrations.ray_crew.RayCrew`; by default this process.
        advance: called after each batch.
        stop: asked after each batch; where it says so, what was done is kept, and the run ends.
        **options: which pathologies to explain, such as `top_k=3`; see `RankingSettings`.

    Raises:
        AuditError: a folder that holds another audit, or that somebody else writes to; a manifest that
            operating points were fitted on; or a server that does not answer any more: what was finished is
            kept.
        OutputError: a folder that cannot be written to; what was finished is kept.
        OptionError: a pathology that the model does not predict, no image folder, or images that would be
            read in another way than they are prepared in.
        DicomWebError: no address of a DICOMweb server, or one with a password in it.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_inputs
    >>> with TemporaryDirectory() as folder:
    ...     explainer, manifest, images = example_inputs(f"{folder}/data")
    ...     run = run_audit(explainer, manifest, images, f"{folder}/run", top_k=3)
    ...     len(run.results), len(run.failures)
    (2, 0)
    """
    running = running or RunSettings()
    place = place_at(where)
    explainer = on_engine_of_run(place, explainer)
    record = Record.of(explainer, manifest, RankingSettings.of(**options), reading, policy, segmenter)
    if record.tuning is not None:
        tuned_on = record.tuning.manifest_sha256
        check_manifest_apart(record.manifest_sha256, tuned_on, allow_tuning_images=allow_tuning_images)
    folder = ImageFolder(images, links="anywhere" if running.follow_links else "inside")
    check_named_as_server(folder.where, manifest.paths)
    audit = Audit(record, folder, place, running, segmenter)
    with audit.place.held(), Log(audit.place) as log:
        audit, todo = _begin(audit, manifest, log)
        if explainer.fitted is not None:
            place.write(OPERATING_POINTS, explainer.fitted.to_json())
        began = time.perf_counter()
        work = crew or _this_process(explainer)
        with closing(work(audit, rows_of(manifest, todo, record), log)) as batches:
            try:
                for progress in batches:
                    advance(progress)
                    if stop():
                        break
            except AuditError as error:
                log(f"not finished: {error}")
                kept = "What was finished is kept; the same command goes on from there."
                error.remedy = " ".join(filter(None, (error.remedy, kept)))
                raise
        log(f"came to an end after {time.perf_counter() - began:.1f} s")
        if not audit.place.exists(SEAL):
            _finish(audit, log)
    return AuditRun(audit.place, audit.record, folder.where)


def _begin(audit: Audit, manifest: Manifest, log: Callable[[str], None]) -> tuple[Audit, list[int]]:
    """Write what the audit is, or see that the folder holds the same one.

    Joined tables are removed while something is left to do, and where they are no longer what was written.

    Returns:
        The audit with the record that the folder has, to which the parts belong, and the rows that are left.

    Raises:
        AuditError: it holds another.
    """
    place, record = audit.place, _record_of(audit)
    if not place.exists(MANIFEST) or place.sha256(MANIFEST) != record.manifest_sha256:
        place.write(MANIFEST, csv_bytes(manifest))
    if not place.exists(RECORD):
        place.write(RECORD, record.to_json())
    images = without_secrets(audit.images.where)
    place.write(WHERE, (json.dumps({"images": images}, indent=2) + "\n").encode())
    done = Parts(place, record).done(failures_too=not audit.running.retry_failed)
    todo: list[int] = np.flatnonzero(~done).tolist()
    if todo or not is_joined(place):
        unjoin(place)
    log(
        f"{len(manifest)} rows, {len(manifest) - len(todo)} done before; model {record.model}, "
        f"weights {(record.weights_sha256 or 'given as an object')[:12]}"
    )
    return replace(audit, record=record), todo


def _record_of(audit: Audit) -> Record:
    """The record that the folder has, where it is of the same audit; where it has none, the audit's own."""
    if not audit.place.exists(RECORD):
        return audit.record
    before = record_in(audit.place)
    try:
        audit.record.check_same(before)
    except AuditError as error:
        raise error.at(audit.place.name) from error
    return before


def _finish(audit: Audit, log: Callable[[str], None]) -> None:
    """Join the parts once all rows are there."""
    parts = Parts(audit.place, audit.record)
    if not parts.are_all():
        log("not finished: the same command goes on from here")
        return
    explained, failed = join_parts(parts)
    log(f"finished: {explained} explained, {failed} failed")


def rows_of(manifest: Manifest, numbers: Iterable[int], record: Record) -> list[ManifestRow]:
    """Rows of a manifest, with those of their boxed or outlined pathologies that the model predicts."""
    known = set(record.pathologies)
    found = []
    for number in numbers:
        boxed = (box.pathology for box in manifest.boxes.get(number, ()))
        outlined = dict.fromkeys((*boxed, *manifest.masks.get(number, ())))
        names = tuple(name for name in outlined if name in known)
        found.append(
            ManifestRow(number, manifest.ids[number], manifest.paths[number], names, manifest.views[number])
        )
    return found


def _row(outcome: Outcome[ManifestRow]) -> Row:
    row, image, found = outcome.item, outcome.image, outcome.found
    if isinstance(found, CxrExplainError):
        sha256 = None if image is None else image.radiograph.sha256
        return Failed.of(found, sha256).as_row(row.number, row.image_id)
    where = None
    if isinstance(image, Ready) and image.regions is not None:
        where = where_columns(image.regions, found.explanation)
    return explained_row(
        row.number,
        row.image_id,
        found,
        where=where,
        input_sha256=image.sha256 if image is not None else "",
        read_ms=image.milliseconds if isinstance(image, Ready) else 0.0,
        explain_ms=outcome.milliseconds,
    )


def _this_process(explainer: Explainer) -> Crew:
    """Write parts as rows come, also where they are interrupted."""

    def work(
        audit: Audit, todo: Sequence[ManifestRow], log: Callable[[str], None]
    ) -> Generator[BatchProgress]:
        parts, waiting, since = Parts(audit.place, audit.record), list[Row](), time.perf_counter()

        def write() -> None:
            if waiting:
                name = parts.write(waiting)
                log(f"{name}: {len(waiting)} rows, {len(BatchProgress.of(waiting).failed)} of them failed")
                waiting.clear()

        with Journal(audit.place) as journal, closing(audit.rows(explainer, todo, journal)) as batches:
            try:
                for rows in batches:
                    waiting += rows
                    late = time.perf_counter() - since > SECONDS_OF_A_PART
                    if len(waiting) >= audit.running.part_rows or late:
                        write()
                        since = time.perf_counter()
                    yield BatchProgress.of(rows)
            except (AuditError, GeneratorExit, KeyboardInterrupt):
                write()
                raise
            write()

    return work
