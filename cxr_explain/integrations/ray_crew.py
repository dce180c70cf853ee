"""The same audit on the machines of a Ray cluster: a pool of models, the same parts, the same table.

Ray Data hands blocks of tasks to actors, each of which has loaded the model once. An actor writes its block's
part itself and reports only counts, so that no pixels and no maps travel. A block whose actor was killed is
given to another one, as Ray Data does by default: the part is written again under the same name, whole as
before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.parts import Parts
from cxr_explain.audit.place import place_at
from cxr_explain.audit.reading import ManifestRow
from cxr_explain.audit.record import Record
from cxr_explain.audit.resuming import for_workers
from cxr_explain.audit.rows import Row
from cxr_explain.audit.run import Audit, BatchProgress, RunSettings
from cxr_explain.chest.segmentation import PretrainedSegmenter
from cxr_explain.errors import AuditError, OptionError
from cxr_explain.explaining.explainer import Pretrained
from cxr_explain.support.extras import require


class Worker:
    """An actor: explains blocks of rows, and writes their parts.

    Args:
        pretrained: how the actor loads the model; the engine and its precision are those of the record.
        record: the audit's identity; other weights on this machine are refused.
        images: folder that the manifest's paths are relative to.
        where: the run's folder or URL.
        running: how the audit is run: batches, threads, regions.
        regions: how the actor loads the segmentation network; None where there is none.

    Raises:
        AuditError: other weights or operating points than those with which the audit began.
    """

    def __init__(
        self,
        pretrained: Pretrained,
        record: Record,
        images: ImageFolder,
        where: str,
        running: RunSettings,
        regions: PretrainedSegmenter | None = None,
    ) -> None:
        self._explainer = for_workers(pretrained, record).load()
        segmenter = regions.load() if regions else None
        _check_same(self._explainer.classifier.weights_sha256, record.weights_sha256)
        _check_same(segmenter.sha256 if segmenter else None, record.regions_sha256)
        fitted = self._explainer.fitted
        _check_same(fitted.sha256 if fitted else None, record.operating_points_sha256, "operating points")
        self._audit = Audit(record, images, place_at(where), running, segmenter)

    def __call__(self, block: dict[str, Any]) -> dict[str, Any]:
        """Explain a block; the result says what became of each row, and last why there are no more of them.

        An audit that cannot go on is told, not raised: Ray would make a report of its own of it.
        """
        columns = [block[name].tolist() for name in ("number", "image_id", "path", "boxed", "view")]
        todo = (
            ManifestRow(number, image_id, path, tuple(filter(None, boxed.split("|"))), view or None)
            for number, image_id, path, boxed, view in zip(*columns, strict=True)
        )
        rows: list[Row] = []
        ended: list[Row] = []
        try:
            for batch in self._audit.rows(self._explainer, todo):
                rows += batch
        except AuditError as error:
            ended = [{"message": str(error)}]
        if rows:
            Parts(self._audit.place, self._audit.record).write(rows)
        return {
            name: np.array([str(row.get(name) or "") for row in (*rows, *ended)], object)
            for name in ("image_id", "code", "message")
        }


def _check_same(here: str | None, began: str | None, what: str = "weights") -> None:
    if here != began:
        raise AuditError(f"{what} with SHA-256 {here} on this machine", expected=f"{began}, as it began")


@dataclass(frozen=True)
class RayCrew:
    """Works on an audit with Ray Data: `run_audit(..., crew=RayCrew(Pretrained("densenet121-res224-nih")))`.

    Connects to the cluster of the environment (`RAY_ADDRESS`), else starts Ray on this machine. Image folder,
    run folder and weights must be reachable under the same name from every machine: a shared file system, or
    URLs. A block has as many rows as a part.

    Args:
        pretrained: how each actor loads the model; the same as the audit's explainer.
        workers: number of actors.
        gpus: number of GPUs that each actor takes.
        regions: how each actor loads the segmentation network; the same as the audit's.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    pretrained: Pretrained
    workers: int = 2
    gpus: float = 0.0
    regions: PretrainedSegmenter | None = None

    def __post_init__(self) -> None:
        require("ray", "ray")

    def __call__(
        self, audit: Audit, todo: Sequence[ManifestRow], log: Callable[[str], None]
    ) -> Generator[BatchProgress]:
        """What became of each block, in the order in which they are done."""
        if not todo:
            return
        if audit.segmenter is not None and self.regions is None:
            raise OptionError(
                f"an audit with {audit.segmenter.name}, and a crew without",
                expected="RayCrew(..., regions=PretrainedSegmenter(...)) of the same weights",
            )
        ray = require("ray", "ray")
        require("ray.data", "ray")
        started = not ray.is_initialized()
        if started:
            ray.init(log_to_driver=False, logging_level="ERROR", include_dashboard=False)
        try:
            log(f"on Ray, with {self.workers} workers")
            for batch in self._blocks(ray, audit, todo).iter_batches(batch_size=None, batch_format="numpy"):
                rows = pa.table(batch).to_pylist()
                yield BatchProgress.of([row for row in rows if row["image_id"]])
                for row in rows:
                    if not row["image_id"]:
                        raise AuditError(row["message"].removesuffix("."))
        finally:
            if started:
                ray.shutdown()

    def _blocks(self, ray: Any, audit: Audit, todo: Sequence[ManifestRow]) -> Any:
        logging.getLogger("ray.data").setLevel(logging.ERROR)  # its plans are not for a user's terminal
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.verbose_stats_logs = False
        size = audit.running.part_rows
        count = -(-len(todo) // size)
        items = [asdict(row) | {"boxed": "|".join(row.boxed), "view": row.view or ""} for row in todo]
        return ray.data.from_items(items, override_num_blocks=count).map_batches(
            Worker,
            fn_constructor_args=(
                self.pretrained, audit.record, audit.images, audit.place.where, audit.running, self.regions,
            ),
            batch_size=size,
            concurrency=min(self.workers, count),
            num_cpus=1,
            num_gpus=self.gpus or None,
        )  # fmt: skip
