"""Figures drawn by processes of their own, on all cores, while the next images are explained.

Threads would wait for each other. These processes do not load torch, write nothing and know no names: each
is given an explanation with its grey image, and gives the figure's file back, with the bytes that this
process would have written.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from multiprocessing import active_children, connection, current_process, get_context, parent_process
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from cxr_explain.errors import OptionError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.options import FigureFormat, StyleName
from cxr_explain.pathologies import ReferenceLabels
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.cores import available_cores

if TYPE_CHECKING:
    from cxr_explain.display import Style

WORTHWHILE = 16
"""Files from which processes save more time than their start takes, which is a second each."""

_UNGUARDED = 86  # exit status of a process that ran the script which started it
_PATIENCE = 5.0  # seconds after which a pool that broke is noticed
_AHEAD = 2  # figures for each process: the one that is drawn, and the next
_Said = list[tuple[str, type[Warning], str, int]]
_shown: dict[Any, Any] = {}  # as the registry of a module has it: each warning is shown once


@dataclass(frozen=True)
class FigureFile:
    """A figure, drawn and not yet written.

    Args:
        content: the file's content.
        size: width and height of the figure in pixels.
    """

    content: bytes
    size: tuple[int, int]


_Drawn = tuple[FigureFile, _Said]


def draw_file(
    explanation: Explanation,
    radiograph: Radiograph,
    labels: ReferenceLabels | None,
    kind: FigureFormat,
    style: Style | StyleName = "light",
) -> FigureFile:
    """Draw the annotated figure of an explanation, with the numbers of letters that no font has.

    Args:
        explanation: the explanation to draw.
        radiograph: the radiograph that was explained.
        labels: reference labels to show.
        kind: format of the file.
        style: how the figure looks.
    """
    figure = explanation.figure(labels, radiograph=radiograph, style=style, missing_letters="number")
    return FigureFile(figure.to_bytes(kind), (round(figure.bbox.width), round(figure.bbox.height)))


def processes_for(files: int, asked: int = 0) -> int:
    """How many processes draw the figures of so many files; 1 for this one alone.

    Args:
        files: number of files.
        asked: number of processes that the user asks for; 0 leaves it to what pays: one a core, or none.

    >>> processes_for(2), processes_for(2, asked=3)
    (1, 3)
    """
    return asked or (available_cores() if files >= WORTHWHILE else 1)


class Drawers:
    """Processes that draw figures; they start as they are needed, and end with the block or this process.

    Args:
        processes: number of processes; with 1 this process draws.

    Raises:
        SystemExit: in a process that is itself being started, by a script that does not guard its work.

    >>> with Drawers(1) as drawers:
    ...     drawers.ahead
    0
    """

    def __init__(self, processes: int) -> None:
        self.ahead = 0 if processes == 1 else _AHEAD * processes
        """Figures that may be begun before the first of them is asked for."""

        self._pool: ProcessPoolExecutor | None = None
        self._started: set[BaseProcess] = set()
        self._is_broken = False
        if processes > 1:
            if getattr(current_process(), "_inheriting", False):
                sys.exit(_UNGUARDED)  # `check` tells of it where the script was started
            context = get_context("spawn")  # a fork of a process with torch's threads may hang
            self._pool = ProcessPoolExecutor(processes, context, initializer=_start)

    def begin(
        self,
        explanation: Explanation,
        radiograph: Radiograph,
        labels: ReferenceLabels | None,
        kind: FigureFormat,
        style: Style | StyleName = "light",
    ) -> Callable[[], FigureFile]:
        """Have a figure drawn; `draw_file` says what the arguments are.

        Returns:
            What gives the figure once it is there, or raises what drawing it raised.
        """
        if labels is None and explanation.reference is not None:
            labels = explanation.reference.labels
        bare = replace(explanation, radiograph=None, reference=None)
        if self._pool is None:
            return partial(draw_file, bare, radiograph, labels, kind, style)
        work = partial(_draw, bare, *_packed(radiograph), labels, kind, style)
        before = set(active_children())
        try:
            with _without_interrupts():  # for the processes, which inherit it
                return partial(self._fetch, self._pool.submit(work), work)
        # OSError where no process could be started; either of the last two where one was being started as the
        # pool broke, which closes the pipes that the process is given.
        except (BrokenProcessPool, OSError, ValueError):
            self._is_broken = True
            return lambda: _told(*work())
        finally:
            self._started |= set(active_children()) - before

    def check(self) -> None:
        """Make sure that the processes could start.

        Raises:
            OptionError: each ran the script that starts them, down to where it starts them.
        """
        if any(process.exitcode == _UNGUARDED for process in self._started):
            raise OptionError(
                "processes that draw, started by a script that does its work when it is imported",
                expected="its work below: if __name__ == '__main__':",
                remedy="Or draw in this process, with workers=1.",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        if self._is_broken:  # Python 3.11 waits for ever for one that was being started as another died
            for process in self._started:
                process.kill()
        self._pool.shutdown(cancel_futures=True)

    def _fetch(self, future: Future[_Drawn], work: Callable[[], _Drawn]) -> FigureFile:
        """What was drawn; where a process was killed, such as for memory, it is drawn here."""
        try:
            # What is submitted in the moment in which the pool breaks may be forgotten by it.
            while not wait([future], timeout=_PATIENCE).done and not getattr(self._pool, "_broken", False):
                pass
            drawn = future.result(timeout=0)
        except (BrokenProcessPool, TimeoutError):
            self._is_broken = True
            drawn = work()
        return _told(*drawn)


def _told(figure: FigureFile, said: _Said) -> FigureFile:
    """Show here what was warned of there."""
    for text, category, file, line in said:
        warnings.warn_explicit(text, category, file, line, registry=_shown)
    return figure


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C is for this process, which ends the others; here it comes a moment later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _packed(radiograph: Radiograph) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """What is drawn of a radiograph: what is known of it, and its grey image, a fifth of the memory."""
    apart = ("pixels", "display")
    known = {
        each.name: getattr(radiograph, each.name) for each in fields(radiograph) if each.name not in apart
    }
    return known, radiograph.display


# -- in another process ----


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A process that is killed closes nothing that the ones it started would wait for."""
    if (parent := parent_process()) is not None:
        connection.wait([parent.sentinel])
    os._exit(1)


def _draw(
    explanation: Explanation,
    known: dict[str, Any],
    display: NDArray[np.uint8],
    labels: ReferenceLabels | None,
    kind: FigureFormat,
    style: Style | StyleName,
) -> _Drawn:
    black = np.broadcast_to(np.float32(0), display.shape)
    radiograph = Radiograph(pixels=black, display=display, **known)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        figure = draw_file(explanation, radiograph, labels, kind, style)
    return figure, [(str(each.message), each.category, each.filename, each.lineno) for each in said]
