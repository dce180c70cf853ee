"""The same audit on the machines of a Ray cluster: a pool of models, the same parts, the same table.

Ray Data hands blocks of tasks to actors, each of which has loaded the model once. An actor writes the part of
its block itself and reports only counts, so that no pixels and no maps travel. A block whose actor was killed
is given to another one, as Ray Data does by default: the part is written again under the same name, whole as
before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict
from os import PathLike
from typing import Any

import numpy as np

from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.place import place_at
from cxr_explain.audit.reading import Task
from cxr_explain.audit.record import Ask, Record
from cxr_explain.audit.rows import Failed, Row
from cxr_explain.audit.run import Means, Progress, tasks_of, under_way, worked
from cxr_explain.audit.store import AuditRun, Parts
from cxr_explain.errors import AuditError
from cxr_explain.explaining.explainer import Explainer, Pretrained
from cxr_explain.reference.manifest import Manifest
from cxr_explain.support.extras import require


class Worker:
    """An actor: explains blocks of tasks, and writes their parts.

    Args:
        pretrained: how it comes to the model.
        record: of the audit; other weights on this machine are refused.
        images: where they are.
        where: the run's folder or URL.
        means: how it is run.
    """

    def __init__(
        self, pretrained: Pretrained, record: Record, images: ImageFolder, where: str, means: Means
    ) -> None:
        self._explainer = pretrained.load()
        digest = self._explainer.classifier.weights_sha256
        if digest != record.weights_sha256:
            raise AuditError(
                f"weights with SHA-256 {digest} on this machine",
                expected=f"{record.weights_sha256}, as it began",
            )
        self._record, self._images, self._means = record, images, means
        self._parts = Parts(place_at(where), record)

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """Explain a block; the result says what became of each row."""
        columns = [block[name].tolist() for name in ("row", "image_id", "path", "boxed", "view")]
        tasks = (
            Task(row, image_id, path, tuple(filter(None, boxed.split("|"))), view or None)
            for row, image_id, path, boxed, view in zip(*columns, strict=True)
        )
        rows: list[Row] = []
        for batch in worked(self._explainer, self._images, tasks, self._record.ask, self._means):
            rows += batch
        if rows:
            self._parts.write(rows)
        return {
            name: np.array([str(row.get(name) or "") for row in rows], object)
            for name in ("image_id", "code", "message")
        }


def run_audit_on_ray(
    pretrained: Pretrained,
    explainer: Explainer,
    manifest: Manifest,
    images: str | PathLike[str],
    where: str | PathLike[str],
    *,
    ask: Ask | None = None,
    means: Means | None = None,
    workers: int = 2,
    gpus: float = 0.0,
    advance: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> AuditRun:
    """Run an audit on Ray Data; see `cxr_explain.audit.run.run_audit`.

    Connects to the cluster of the environment (`RAY_ADDRESS`), else starts Ray on this machine. Image folder,
    run folder and weights must be reachable under the same name from every machine: a shared file system, or
    URLs.

    Args:
        pretrained: how each actor comes to the model.
        explainer: the same model, to describe the run with.
        manifest: of the data set.
        images: see `run_audit`.
        where: see `run_audit`.
        ask: see `run_audit`.
        means: see `run_audit`; a block has `part_rows` tasks.
        workers: actors.
        gpus: of each actor.
        advance: called after each block.
        stop: asked after each block.

    Raises:
        MissingExtraError: Ray is not installed.
        AuditError: see `run_audit`.
    """
    ray = require("ray", "ray")
    require("ray.data", "ray")
    ask, means = ask or Ask(), means or Means()
    place, folder = place_at(where), ImageFolder(images, follow_links=means.follow_links)
    record = Record.of(explainer, ask, manifest)
    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
    try:
        with under_way(place, record, manifest, folder, means) as (todo, log):
            log(f"on Ray, with {workers} workers")
            arguments = (pretrained, record, folder, place.name, means)
            for progress in _progress(ray, manifest, todo, record, arguments, workers, gpus, means.part_rows):
                advance(progress)
                if stop():
                    break
    finally:
        if started:
            ray.shutdown()
    return AuditRun(place, record)


def _progress(
    ray: Any,
    manifest: Manifest,
    todo: list[int],
    record: Record,
    arguments: tuple[Any, ...],
    workers: int,
    gpus: float,
    block_rows: int,
) -> Iterator[Progress]:
    """What became of each block, in the order in which they are done."""
    if not todo:
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # its plans are not for a user's terminal
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.verbose_stats_logs = False
    tasks = [
        asdict(task) | {"boxed": "|".join(task.boxed), "view": task.view or ""}
        for task in tasks_of(manifest, todo, record)
    ]
    blocks = ray.data.from_items(tasks, override_num_blocks=-(-len(tasks) // block_rows))
    done = blocks.map_batches(
        Worker,
        fn_constructor_args=arguments,
        batch_size=block_rows,
        concurrency=min(workers, -(-len(tasks) // block_rows)),
        num_cpus=1,
        num_gpus=gpus or None,
    )
    for batch in done.iter_batches(batch_size=None, batch_format="numpy"):
        codes = batch["code"].tolist()
        failed = {
            image_id: Failed(code, message)
            for image_id, code, message in zip(
                batch["image_id"].tolist(), codes, batch["message"].tolist(), strict=True
            )
            if code
        }
        yield Progress(len(codes) - len(failed), failed)
