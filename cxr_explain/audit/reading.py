"""Reading ahead: files are decoded and prepared by threads while the model works on those before.

Threads, not processes: decoders, digests and resizing release Python's lock, nothing has to be copied between
processes, and memory does not grow with their number. `python -m benchmarks.audit_cost` compares.
"""

from __future__ import annotations

import copy
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.journal import Journal, try_apart
from cxr_explain.audit.rows import Failed
from cxr_explain.chest.regions import Regions, regions_of
from cxr_explain.errors import CxrExplainError
from cxr_explain.explaining.preprocessing import ModelInput
from cxr_explain.radiograph import Radiograph


@dataclass(frozen=True)
class Task:
    """A row of the manifest that is to be explained.

    Args:
        row: its number, from 0.
        image_id: its name.
        path: of the file, relative to the image folder.
        boxed: pathologies with a reference box or mask there.
        view: as the manifest has it; None where it does not say.
    """

    row: int
    image_id: str
    path: str
    boxed: tuple[str, ...] = ()
    view: str | None = None


@dataclass(frozen=True, eq=False)
class Ready:
    """An image that the model can be shown.

    Args:
        radiograph: what is known of it; its pixels are let go.
        model_input: what the model sees.
        regions: where thorax, lungs, border and markers are; None where it is not asked for.
        milliseconds: for reading and preparing.
    """

    radiograph: Radiograph
    model_input: ModelInput
    regions: Regions | None
    milliseconds: float


@dataclass(frozen=True)
class Reader:
    """From a task to an image that the model can be shown, or to the reason why not.

    Args:
        images: where they are.
        prepare: `Explainer.prepare`.
        check: raises for a radiograph that the model has no say in.
        options: passed on to `read_radiograph`.
        regions: whether to look for thorax, lungs, border and markers.
        journal: of what is being read; None where nobody keeps one.
    """

    images: ImageFolder
    prepare: Callable[[Radiograph], ModelInput]
    check: Callable[[Radiograph], None]
    options: Mapping[str, Any] = field(default_factory=dict)
    regions: bool = True
    journal: Journal | None = None

    def __call__(self, task: Task) -> Ready | Failed:
        """Never raises an `Exception`: what went wrong is a value."""
        began = time.perf_counter()
        try:
            radiograph = self._radiograph(task)
            self.check(radiograph)
            model_input = self.prepare(radiograph)
            regions = regions_of(_seen_as(radiograph, task.view)) if self.regions else None
        except Exception as error:
            if os.environ.get("CXR_EXPLAIN_DEBUG") and not isinstance(error, CxrExplainError):
                raise
            return Failed.of(error)
        return Ready(_without_pixels(radiograph), model_input, regions, (time.perf_counter() - began) * 1000)

    def _radiograph(self, task: Task) -> Radiograph:
        if self.journal is None:
            return self.images.read(task.path, self.options)
        if self.journal.is_suspect(task.row):
            try_apart(self.images, task.path, self.options)
        with self.journal.reading(task.row):
            return self.images.read(task.path, self.options)


def read_ahead(
    reader: Callable[[Task], Ready | Failed], tasks: Iterable[Task], *, workers: int, ahead: int
) -> Iterator[tuple[Task, Ready | Failed]]:
    """Read in threads, in the order of the tasks, never more than `ahead` beyond the one that is asked for.

    >>> [ready.message for _, ready in read_ahead(lambda task: Failed("x", task.path),
    ...     [Task(0, "a", "a.png"), Task(1, "b", "b.png")], workers=2, ahead=2)]
    ['a.png', 'b.png']
    """
    waiting: deque[tuple[Task, Future[Ready | Failed]]] = deque()
    pool = ThreadPoolExecutor(max(workers, 1), thread_name_prefix="cxr-explain-read")
    try:
        for task in tasks:
            waiting.append((task, pool.submit(reader, task)))
            if len(waiting) > max(ahead, 1):
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _next(
    waiting: deque[tuple[Task, Future[Ready | Failed]]],
) -> tuple[Task, Ready | Failed]:
    task, future = waiting.popleft()
    return task, future.result()


def _without_pixels(radiograph: Radiograph) -> Radiograph:
    """The same without its pixels, which take many megabytes while the image waits for its turn."""
    slim = copy.copy(radiograph)
    object.__setattr__(slim, "pixels", np.broadcast_to(np.float32(0), radiograph.shape))
    object.__setattr__(slim, "display", np.broadcast_to(np.uint8(0), radiograph.shape))
    return slim


def _seen_as(radiograph: Radiograph, view: str | None) -> Radiograph:
    """The same with the manifest's view where the header says none: a lateral one has no lungs to find."""
    if radiograph.view or not view or view.casefold() == "frontal":
        return radiograph
    seen = copy.copy(radiograph)
    object.__setattr__(seen, "view", view)
    return seen
