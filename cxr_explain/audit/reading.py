"""Reading ahead: files are decoded and prepared by threads while the model works on those before.

Threads, not processes: decoders, digests and resizing release Python's lock, nothing has to be copied between
processes, and memory does not grow with their number. `python -m benchmarks.audit_cost` compares.
"""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.journal import Journal, try_apart
from cxr_explain.chest.regions import Regions, Segment, regions_of
from cxr_explain.errors import AuditError, CxrExplainError
from cxr_explain.explaining.many import attempt
from cxr_explain.explaining.preprocessing import ModelInput
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.radiograph import Radiograph

T = TypeVar("T")


@dataclass(frozen=True)
class ManifestRow:
    """A row of the manifest, as it is handed to a thread or to another machine.

    Args:
        number: the row's number, from 0.
        image_id: its name.
        path: the file's, relative to the image folder.
        boxed: pathologies with a reference box or mask there.
        view: as the manifest has it; None where it does not say.
    """

    number: int
    image_id: str
    path: str
    boxed: tuple[str, ...] = ()
    view: str | None = None


@dataclass(frozen=True, eq=False)
class Ready(ModelInput):
    """An image that the model can be shown; the radiograph's own pixels are let go.

    Args:
        regions: where thorax, lungs, border and markers are; None where it is not asked for.
        milliseconds: time that reading and preparing took, in milliseconds.
    """

    regions: Regions | None = None
    milliseconds: float = 0.0


@dataclass(frozen=True)
class Reader:
    """From a row of the manifest to an image that the model can be shown, or to the reason why not.

    Args:
        images: folder that the manifest's paths are relative to.
        prepare: `Explainer.prepare`.
        settings: how the images are read.
        regions: whether to look for thorax, lungs, border and markers.
        journal: notes what is being read; None where nobody keeps one.
        segment: finds the lungs; None leaves that to the fixed rules.
    """

    images: ImageFolder
    prepare: Callable[[Radiograph], ModelInput]
    settings: ReadSettings
    regions: bool = True
    journal: Journal | None = None
    segment: Segment | None = None

    def __call__(self, row: ManifestRow) -> Ready | CxrExplainError:
        """What went wrong with the image is a value; see `attempt`.

        Raises:
            AuditError: no image can be read any more.
        """
        found = attempt(partial(self._ready, row))
        if isinstance(found, AuditError):
            raise found
        return found

    def _ready(self, row: ManifestRow) -> Ready:
        began = time.perf_counter()
        radiograph = self._radiograph(row)
        model_input = self.prepare(radiograph)
        seen = _seen_as(radiograph, row.view)
        regions = regions_of(seen, segment=self.segment) if self.regions else None
        slim = replace(model_input, radiograph=radiograph.without_pixels(), further=row.boxed)
        return Ready(**vars(slim), regions=regions, milliseconds=(time.perf_counter() - began) * 1000)

    def _radiograph(self, row: ManifestRow) -> Radiograph:
        if self.journal is None:
            return self.images.read(row.path, self.settings)
        if self.journal.is_suspect(row.number):
            try_apart(self.images, row.path, self.settings)
        with self.journal.reading(row.number):
            return self.images.read(row.path, self.settings)


def read_ahead(
    reader: Callable[[ManifestRow], T], rows: Iterable[ManifestRow], *, workers: int, ahead: int
) -> Generator[tuple[ManifestRow, T]]:
    """Read in threads, in order, never more than `ahead` beyond the one that is asked for.

    Args:
        reader: what a thread does with one row.
        rows: the rows of the manifest.
        workers: number of threads.
        ahead: number of images that may wait for their turn.

    >>> list(read_ahead(lambda row: row.path, [ManifestRow(0, "a", "a.png")], workers=2, ahead=2))[0][1]
    'a.png'
    """
    waiting: deque[tuple[ManifestRow, Future[T]]] = deque()
    pool = ThreadPoolExecutor(max(workers, 1), thread_name_prefix="cxr-explain-read")
    try:
        for row in rows:
            waiting.append((row, pool.submit(reader, row)))
            if len(waiting) > max(ahead, 1):
                yield _next(waiting)
        while waiting:
            yield _next(waiting)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _next(waiting: deque[tuple[ManifestRow, Future[T]]]) -> tuple[ManifestRow, T]:
    row, future = waiting.popleft()
    return row, future.result()


def _seen_as(radiograph: Radiograph, view: str | None) -> Radiograph:
    """The same with the manifest's view where the header says none: a lateral one has no lungs to find."""
    if radiograph.view or not view or view.casefold() == "frontal":
        return radiograph
    seen = copy.copy(radiograph)
    object.__setattr__(seen, "view", view)
    return seen
