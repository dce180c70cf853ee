"""The run of an audit: read ahead, explain in batches, write parts; killed, it goes on where it was."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from os import PathLike, cpu_count
from typing import Any

import numpy as np

from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.journal import Journal
from cxr_explain.audit.log import Log
from cxr_explain.audit.place import Place, place_at
from cxr_explain.audit.reading import Reader, Ready, Task, read_ahead
from cxr_explain.audit.record import Ask, Record
from cxr_explain.audit.rows import Failed, Row, explained_row
from cxr_explain.audit.store import MANIFEST, RECORD, RESULTS, WHERE, AuditRun, Parts, join_parts
from cxr_explain.chest.shares import shares_in
from cxr_explain.errors import AuditError, OptionError
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.reference.csv_file import csv_bytes
from cxr_explain.reference.manifest import Manifest

SECONDS_OF_A_PART = 30.0
"""A part is written after so long, whatever the number of its rows: what a kill can cost."""


@dataclass(frozen=True)
class Means:
    """How an audit is run: choices that leave its results as they are.

    Args:
        batch_size: images in one forward pass.
        workers: threads that read ahead.
        follow_links: whether links in the image folder may lead out of it.
        retry_failed: explain again what failed before.
        regions: measure where the saliency lies (outside of the thorax, over markers ...).
        part_rows: a part is written once it has so many rows.
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
        return self.workers or min(4, cpu_count() or 1)


@dataclass(frozen=True)
class Progress:
    """What became of one batch.

    Args:
        explained: how many images.
        failed: those that failed, by their names.
    """

    explained: int
    failed: Mapping[str, Failed]


def run_audit(
    explainer: Explainer,
    manifest: Manifest,
    images: str | PathLike[str],
    where: str | PathLike[str],
    *,
    ask: Ask | None = None,
    means: Means | None = None,
    advance: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
) -> AuditRun:
    """Explain every image of a manifest, and keep what is found in a folder.

    What is there already is not done again. The results do not depend on the batch size, on the number of
    threads, or on where the run was interrupted; scores agree to the rounding of convolutions.

    Args:
        explainer: with a rule that has a name.
        manifest: of the data set.
        images: the folder that the manifest's paths are relative to.
        where: the run's folder, or a URL that pyarrow or fsspec can write to.
        ask: what is asked of each radiograph.
        means: how it is run.
        advance: called after each batch.
        stop: asked after each batch; where it says so, what was done is kept, and the run ends.

    Raises:
        AuditError: a folder that holds another audit, or that somebody else writes to.
        OutputError: a folder that cannot be written to; what was finished is kept.
        OptionError: a pathology that the model does not predict, or no image folder.

    >>> from tempfile import TemporaryDirectory
    >>> from cxr_explain.audit.example import example_inputs
    >>> with TemporaryDirectory() as folder:
    ...     explainer, manifest, images = example_inputs(f"{folder}/data")
    ...     run = run_audit(explainer, manifest, images, f"{folder}/run")
    ...     len(run.results), len(run.failures)
    (2, 0)
    """
    ask, means = ask or Ask(), means or Means()
    place, folder = place_at(where), ImageFolder(images, follow_links=means.follow_links)
    record = Record.of(explainer, ask, manifest)
    with under_way(place, record, manifest, folder, means) as (todo, log), Journal(place) as journal:
        tasks = tasks_of(manifest, todo, record)
        rows = worked(explainer, folder, tasks, ask, means, advance, stop, journal)
        _write_parts(rows, Parts(place, record), means.part_rows, log)
    return AuditRun(place, record)


@contextmanager
def under_way(
    place: Place, record: Record, manifest: Manifest, images: ImageFolder, means: Means
) -> Iterator[tuple[list[int], Log]]:
    """Begin an audit, or go on with it: the rows that are left, and the log; at the end parts are joined.

    A joined table is removed while something is left to do, so that one that is there is always of all parts.

    Raises:
        AuditError: the place holds another audit, or somebody else writes to it.
        OutputError: the place cannot be written to.
    """
    with place.held():
        begin(place, record, manifest, {"images": images.where})
        done = Parts(place, record).done(failures_too=not means.retry_failed)
        todo = np.flatnonzero(~done).tolist()
        if todo:
            place.remove(RESULTS)
        with Log(place) as log:
            log(
                f"{len(manifest)} rows, {len(manifest) - len(todo)} done before; model {record.model}, "
                f"weights {(record.weights_sha256 or 'given as an object')[:12]}"
            )
            began = time.perf_counter()
            yield todo, log
            log(f"came to an end after {time.perf_counter() - began:.1f} s")
            if not place.exists(RESULTS):
                finish(place, record, log)


def begin(place: Place, record: Record, manifest: Manifest, here: Mapping[str, Any]) -> None:
    """Write what the audit is; or see that the folder holds the same one.

    Raises:
        AuditError: it holds another.
    """
    if place.exists(RECORD):
        try:
            record.check_same(Record.from_json(place.read(RECORD)))
        except AuditError as error:
            raise error.at(place.name) from error
    else:
        place.write(MANIFEST, csv_bytes(manifest))
        place.write(RECORD, record.to_json())
    place.write(WHERE, (json.dumps(here, indent=2) + "\n").encode())


def finish(place: Place, record: Record, log: Callable[[str], None]) -> None:
    """Join the parts once all rows are there."""
    if not Parts(place, record).done().all():
        log("not finished: the same command goes on from here")
        return
    explained, failed = join_parts(place, record)
    log(f"finished: {explained} explained, {failed} failed")


def tasks_of(manifest: Manifest, rows: Iterable[int], record: Record) -> Iterator[Task]:
    """The rows of a manifest as tasks."""
    known = set(record.pathologies)
    for row in rows:
        boxed = (box.pathology for box in manifest.boxes.get(row, ()))
        outlined = dict.fromkeys((*boxed, *manifest.masks.get(row, ())))
        names = tuple(name for name in outlined if name in known)
        yield Task(row, manifest.ids[row], manifest.paths[row], names, manifest.views[row])


def explain_tasks(explainer: Explainer, batch: Sequence[tuple[Task, Ready | Failed]], ask: Ask) -> list[Row]:
    """The rows of a batch, in its order: explained in one forward pass, or failed."""
    began = time.perf_counter()
    ready = [(task, item) for task, item in batch if isinstance(item, Ready)]
    explained = dict(zip((task.row for task, _ in ready), _explained(explainer, ready, ask), strict=True))
    share = (time.perf_counter() - began) * 1000 / max(len(ready), 1)
    return [_row(task, item, explained.get(task.row), share) for task, item in batch]


Found = tuple[Explanation, Explanation | None]


def _explained(explainer: Explainer, ready: Sequence[tuple[Task, Ready]], ask: Ask) -> list[Found | Failed]:
    """Explain a batch; where it fails, one by one, so that only the culprit does."""
    try:
        return list(_in_one_pass(explainer, ready, ask))
    except OptionError:
        raise
    except Exception:
        return [_attempt(explainer, one, ask) for one in ready]


def _attempt(explainer: Explainer, one: tuple[Task, Ready], ask: Ask) -> Found | Failed:
    try:
        return _in_one_pass(explainer, [one], ask)[0]
    except Exception as error:
        return Failed.of(error)


def _in_one_pass(explainer: Explainer, ready: Sequence[tuple[Task, Ready]], ask: Ask) -> list[Found]:
    explanations = explainer.explain_batch(
        [item.radiograph for _, item in ready],
        model_inputs=[item.model_input for _, item in ready],
        **ask.ranking_options,
    )
    references = [_reference(explainer, task, item) for task, item in ready]
    return list(zip(explanations, references, strict=True))


def _reference(explainer: Explainer, task: Task, item: Ready) -> Explanation | None:
    """Maps of the pathologies that are boxed or outlined there, ranked among the top K or not."""
    if not task.boxed:
        return None
    return explainer.explain_batch(
        [item.radiograph],
        model_inputs=[item.model_input],
        pathologies=task.boxed,
        top_k=len(task.boxed),
    )[0]


def _row(task: Task, item: Ready | Failed, found: Found | Failed | None, milliseconds: float) -> Row:
    if isinstance(item, Failed):
        return item.as_row(task.row, task.image_id)
    if found is None or isinstance(found, Failed):
        failed = found or Failed("error", "no explanation")
        return Failed(failed.code, failed.message, item.radiograph.sha256).as_row(task.row, task.image_id)
    explanation, reference = found
    shares = None
    if item.regions is not None:
        shares = vars(shares_in(item.regions, explanation.maps, explanation.geometry))
    return explained_row(
        task.row,
        task.image_id,
        explanation,
        item.radiograph,
        reference=reference,
        shares=shares,
        read_ms=item.milliseconds,
        explain_ms=milliseconds,
    )


def worked(
    explainer: Explainer,
    images: ImageFolder,
    tasks: Iterator[Task],
    ask: Ask,
    means: Means,
    advance: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
    journal: Journal | None = None,
) -> Iterator[list[Row]]:
    """The rows of each batch: read ahead by threads, explained in one forward pass."""
    prepare, check = explainer.prepare, explainer.check_suits
    reader = Reader(images, prepare, check, ask.read_options, means.regions, journal)
    ready = read_ahead(reader, tasks, workers=means.threads, ahead=means.batch_size + 2 * means.threads)
    try:
        while batch := list(islice(ready, means.batch_size)):
            rows = explain_tasks(explainer, batch, ask)
            yield rows
            failed = {row["image_id"]: Failed(row["code"], row["message"]) for row in rows if row.get("code")}
            advance(Progress(len(rows) - len(failed), failed))
            if stop():
                return
    finally:
        ready.close()  # type: ignore[attr-defined]


def _write_parts(
    batches: Iterator[list[Row]], parts: Parts, part_rows: int, log: Callable[[str], None]
) -> None:
    """Write parts as rows come, also where they are interrupted."""
    rows: list[Row] = []
    since = time.perf_counter()

    def flush() -> None:
        nonlocal since
        if rows:
            name = parts.write(rows)
            log(f"{name}: {len(rows)} rows, {sum(bool(row.get('code')) for row in rows)} of them failed")
        rows.clear()
        since = time.perf_counter()

    try:
        for batch in batches:
            rows += batch
            if len(rows) >= part_rows or time.perf_counter() - since > SECONDS_OF_A_PART:
                flush()
    except KeyboardInterrupt:
        flush()
        raise
    flush()
