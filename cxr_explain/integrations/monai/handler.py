"""A handler for Ignite engines, MONAI's evaluators among them: explain and save what is evaluated."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from monai.data.meta_tensor import MetaTensor
from monai.data.utils import decollate_batch
from torch import Tensor

from cxr_explain.errors import CxrExplainError, OptionError, legible
from cxr_explain.explaining.explainer import Explained, Explainer
from cxr_explain.explaining.many import (
    attempt,
    explain_each,
    make_output_folder,
    save_outputs,
)
from cxr_explain.explaining.output_names import OutputNames
from cxr_explain.explaining.preprocessing import ModelInput
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.integrations.monai.axes import Axes
from cxr_explain.integrations.monai.explainers import LazyExplainer
from cxr_explain.integrations.monai.images import to_radiograph
from cxr_explain.options import FigureFormat, check_at_least
from cxr_explain.support.extras import require
from cxr_explain.support.spreadsheet import safe_csv
from cxr_explain.support.whole_file import write_whole

T = TypeVar("T")

PREDICTIONS = "predictions.csv"
"""One row an image: its id, the probability of each pathology, and why it failed."""

BatchItem = Mapping[str, Any]
"""One image of a batch, with what the engine put out for it: "image", "label", "pred" in MONAI's engines."""


@dataclass(frozen=True)
class Failure:
    """An image that could not be explained or saved.

    Args:
        id: the radiograph's, or its place in the run where that is unknown.
        error: why.
    """

    id: str
    error: CxrExplainError


class SaveExplanations:
    """Explain the images of each iteration in one forward pass, and save figures, maps and predictions.

    For each image `<id>.png`, `<id>.json` and `<id>.npz`, see `Explanation.save`; at the end of the run
    `predictions.csv`. An image that fails is logged, counted in `failures`, and has its error in the table;
    the run goes on. The engine's state and the model are left as they are: the classifier is switched to
    evaluation for its pass, and back. In a distributed run give each rank a separate folder.

    The figure shows the image that is in the batch. Where a pipeline resizes images before the network, keep
    a copy of what was read (`CopyItemsd`) and name it in `image_key`.

    Args:
        output_dir: folder to write in; made if missing.
        explainer: an Explainer, perhaps of the very network that is evaluated; or a name of weights, or a
            checkpoint file.
        image_key: key of the images in the engine's batch. A batch without keys is the images themselves, or
            has them first.
        interval: take every N-th iteration.
        select: whether to take an item; by default all. It sees the engine's output, too, so that the false
            positives may be `lambda item: item["pred"][3] > 0 and item["label"][3] == 0`.
        figure_format: None saves no figures.
        axes: how the images lie; see `Axes`.
        **options: which pathologies to explain, such as `top_k=3`, see `RankingSettings`; with weights, those
            of `Explainer.from_pretrained`, too.

    Raises:
        OptionError: an interval below 1, or a value that an option does not take.

    >>> import tempfile, torch
    >>> from ignite.engine import Engine
    >>> engine = Engine(lambda engine, batch: None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     handler = SaveExplanations(
    ...         folder, "phantom", axes="rows-columns", allow_phantom_weights=True, figure_format=None
    ...     )
    ...     handler.attach(engine)
    ...     state = engine.run([{"image": torch.zeros(1, 1, 40, 50)}])
    >>> handler.saved
    ['array']
    """

    def __init__(
        self,
        output_dir: str | PathLike[str],
        explainer: Explainer | str | PathLike[str],
        *,
        image_key: str = "image",
        interval: int = 1,
        select: Callable[[BatchItem], bool] | None = None,
        figure_format: FigureFormat | None = "png",
        axes: Axes = "recorded",
        **options: Any,
    ) -> None:
        check_at_least(1, interval=interval)
        self.output_dir = Path(output_dir)
        self.asked, others = RankingSettings.apart_from(options)
        self.explainer = LazyExplainer(explainer, others)
        self.image_key = image_key
        self.interval = interval
        self.select = select
        self.figure_format = figure_format
        self.axes = axes
        self.failures: list[Failure] = []
        self.saved: list[str] = []
        self._rows: list[tuple[str, ...]] = []
        self._names = self._new_names()
        self._seen = 0
        self._logger = logging.getLogger(__name__)

    def attach(self, engine: Any) -> None:
        """Register with an Ignite Engine.

        Raises:
            MissingExtraError: pytorch-ignite is not installed.
        """
        events = require("ignite.engine", "monai").Events
        self._logger = engine.logger
        engine.add_event_handler(events.STARTED, self._start)
        engine.add_event_handler(events.ITERATION_COMPLETED(every=self.interval), self)
        engine.add_event_handler(events.COMPLETED, self._finish)

    def __call__(self, engine: Any) -> None:
        """Explain and save what is in the engine's batch."""
        images = []
        for item in _items(engine.state.batch, engine.state.output, self.image_key):
            image = self._kept(self._name(item), attempt(partial(self._prepared, item)))
            if image is not None:
                images.append(image)
        for image, found in zip(images, explain_each(self.explainer.get(), images, self.asked), strict=True):
            name = image.radiograph.id
            explained = self._kept(name, found)
            if explained is not None:
                self._kept(name, attempt(partial(self._save, explained)))

    def _start(self, _engine: Any) -> None:
        self.failures, self.saved, self._rows, self._seen = [], [], [], 0
        self._names = self._new_names()
        make_output_folder(self.output_dir)

    def _new_names(self) -> OutputNames:
        return OutputNames(self.output_dir, figure_format=self.figure_format)

    def _finish(self, _engine: Any) -> None:
        names = [name for name in self.explainer.get().classifier.pathologies if name]
        header = ("id", *names, "error")
        failed = [(failure.id, *("" for _ in names), str(failure.error)) for failure in self.failures]
        table = safe_csv([header, *self._rows, *failed])
        write_whole(self.output_dir / PREDICTIONS, table.encode(errors="backslashreplace"))
        told = self._logger.warning if self.failures else self._logger.info
        told("%d explanations in %s, %d failed", len(self.saved), self.output_dir, len(self.failures))

    def _name(self, item: BatchItem) -> str:
        """Before it is known whether there is a radiograph."""
        self._seen += 1
        image = item.get(self.image_key)
        known = image.meta.get("id") if isinstance(image, MetaTensor) else None
        return str(known or f"image {self._seen} of the run")

    def _prepared(self, item: BatchItem) -> ModelInput | None:
        if self.select is not None and not self.select(item):
            return None
        if self.image_key not in item:
            raise OptionError(
                f"an item with {', '.join(map(str, item))}", expected=f"image_key={self.image_key!r}"
            )
        radiograph, _ = to_radiograph(item[self.image_key], axes=self.axes)
        return self.explainer.get().prepare(self._names.give(radiograph))

    def _save(self, explained: Explained) -> None:
        save_outputs(explained, self.output_dir, figure_format=self.figure_format)
        explanation = explained.explanation
        cells = (f"{prediction.probability:.6f}" for prediction in explanation.ranking.predictions)
        self._rows.append((explanation.id, *cells, ""))
        self.saved.append(explanation.id)

    def _kept(self, name: str, found: T | CxrExplainError) -> T | None:
        """What was found of one image; of an error a line in the log and a failure."""
        if not isinstance(found, CxrExplainError):
            return found
        fault = type(found) is CxrExplainError  # of no particular kind: see `attempt`
        self._logger.error("%s: %s", legible(name), found, exc_info=found.__cause__ if fault else None)
        found.__cause__ = None  # whose frames hold pixels
        self.failures.append(Failure(name, found.with_traceback(None)))
        return None


def _items(batch: Any, output: Any, image_key: str) -> list[BatchItem]:
    """The batch one by one, each with what the engine put out for it."""
    items = [_keyed(item, image_key) for item in _one_by_one(batch)]
    outputs = _one_by_one(output)
    if len(outputs) != len(items) or not all(isinstance(one, Mapping) for one in outputs):
        return items
    return [{**one, **item} for item, one in zip(items, outputs, strict=True)]


def _one_by_one(batch: Any) -> list[Any]:
    """MONAI's engines take their batches apart themselves, unless told not to."""
    if isinstance(batch, list) and all(isinstance(item, Mapping) for item in batch):
        return batch
    if isinstance(batch, Tensor | Mapping | Sequence) and not isinstance(batch, str):
        apart = decollate_batch(batch)
        return apart if isinstance(apart, list) else []
    return []


def _keyed(item: Any, image_key: str) -> BatchItem:
    if isinstance(item, Mapping):
        return item
    return {image_key: item[0] if isinstance(item, Sequence) else item}
