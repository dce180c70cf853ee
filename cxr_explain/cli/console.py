"""Where commands print, and how errors of this package become one line and an exit code."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from cxr_explain.errors import (
    CxrExplainError,
    ManifestError,
    OptionError,
    ReferenceLabelError,
    UnknownWeightsError,
    fault,
    legible,
)

if TYPE_CHECKING:
    from pathlib import Path

    from cxr_explain.models.base import Classifier

T = TypeVar("T")

EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

SECONDS_BETWEEN_LINES = 30.0
"""How often a command says how far it is where there is no terminal to draw a bar on."""

_PIPE_WIDTH = 240  # a table in a pipe or a log is not cut to the 80 columns of a terminal that is not there
_USAGE = (OptionError, UnknownWeightsError, ReferenceLabelError, ManifestError)


class _Console(Console):
    """A console on which no text acts, and whose reader may leave.

    Where nobody reads any more the work goes on, and nothing is printed.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Every text that is printed comes through here, cells of tables included."""
        return super().render_str(legible(text, lines=True), **options)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())  # for what is left in its buffer


_IS_TERMINAL = sys.stdout is not None and sys.stdout.isatty()  # None: it was closed
out = _Console(highlight=False, width=None if _IS_TERMINAL else _PIPE_WIDTH)
err = _Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """Print an error of this package as one line, and exit with its code."""
    try:
        yield
    except CxrExplainError as error:
        _stop(str(error), EXIT_USAGE if isinstance(error, _USAGE) else EXIT_SOME_FAILED)
    except KeyboardInterrupt:
        _stop("interrupted; what was finished is kept", EXIT_INTERRUPTED)
    except (typer.Exit, typer.Abort):
        raise
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        _stop(f"{named}{error.strerror or error}.", EXIT_SOME_FAILED)
    except Exception as error:
        _stop(str(fault(error)), EXIT_SOME_FAILED)


def _stop(message: str, code: int) -> NoReturn:
    err.print(f"[red]error:[/] {_one_line(message)}")
    raise typer.Exit(code)


def _one_line(text: str) -> str:
    return escape(legible(text))


def say(text: str, *, lines: bool = False) -> None:
    """Print a result as it is, however long it is.

    Args:
        text: the result.
        lines: whether it has several lines: one that is told in a line stays one, whatever names are in it.
    """
    out.print(legible(text, lines=lines), markup=False, soft_wrap=True)


def tell(text: str) -> None:
    """Tell, beside the results, what is being done."""
    err.print(f"[dim]{_one_line(text)}[/]")


def note(text: str) -> None:
    """Point out something that may surprise, beside the results."""
    err.print(f"[dim]note:[/] {_one_line(text)}")


def failed(text: str) -> None:
    """Name what failed."""
    err.print(f"[red]failed:[/] {_one_line(text)}")


def name_weights(classifier: Classifier) -> None:
    """Name the weights that explain, by their digest, and what must be known of them."""
    err.print(f"weights {_one_line(classifier.name)}, SHA-256 {(classifier.weights_sha256 or '')[:12]}")
    for each in classifier.notes:
        note(each)


def files_of(inputs: Sequence[str]) -> list[Path]:
    """The files that inputs name, with a note on what was passed over."""
    from cxr_explain.explaining.files import expand_inputs

    files, notes = expand_inputs(inputs)
    for each in notes:
        note(each)
    return files


@contextmanager
def progress(doing: str, total: int) -> Iterator[Callable[..., None]]:
    """A bar with the number done, speed, time left and failures; without a terminal, a line now and then.

    Args:
        doing: what is done, as in "explaining".
        total: number of things to do.

    Yields:
        A function to call with how many things were just done, and how many of these failed.
    """
    if not err.is_terminal:
        yield _ProgressLines(doing, total)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    state = TextColumn("{task.fields[state]}")
    with Progress(*columns, state, console=err, transient=True) as bar:
        task, failures = bar.add_task(doing, total=total, state=""), 0

        def advance(done: int = 1, failed: int = 0) -> None:
            nonlocal failures
            failures += failed
            bar.advance(task, done)
            speed = f"{bar.tasks[0].speed or 0:.1f}/s"
            bar.update(task, state=f"{speed}, {failures} failed" if failures else speed)

        yield advance


class _ProgressLines:
    """Says how far something is, in a line now and then: for logs, and for whoever waits for a job."""

    def __init__(self, doing: str, total: int) -> None:
        self.doing, self.total = doing, total
        self.done = self.failures = 0
        self.began = self.told = time.monotonic()

    def __call__(self, done: int = 1, failed: int = 0) -> None:
        self.done += done
        self.failures += failed
        now = time.monotonic()
        if now - self.told >= SECONDS_BETWEEN_LINES and self.done:
            self.told = now
            tell(self.line(now - self.began))

    def line(self, seconds: float) -> str:
        """How far it is after so many seconds.

        >>> lines = _ProgressLines("evaluating", 160)
        >>> lines.done = 40
        >>> lines.line(60.0)
        'evaluating: 40 of 160 done, about 3 min left'
        """
        failed = f", {self.failures:,} failed" if self.failures else ""
        left = max(self.total - self.done, 0) * seconds / self.done
        ends = f", about {left / 60:.0f} min left" if left >= 60 else f", about {left:.0f} s left"
        return f"{self.doing}: {self.done:,} of {self.total:,} done{failed}{ends if left else ''}"


def track(items: Iterable[T], doing: str, *, total: int | None = None) -> Iterator[T]:
    """Go through items behind a bar.

    Args:
        items: things to go through.
        doing: what is done with each.
        total: number of items, for those that have no length.
    """
    with progress(doing, len(items) if total is None else total) as advance:  # type: ignore[arg-type]
        for item in items:
            yield item
            advance()
