"""Where commands print, and how errors of this package become one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from cxr_explain.errors import (
    CxrExplainError,
    ManifestError,
    OptionError,
    ReferenceLabelError,
    UnknownWeightsError,
)

EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_PIPE_WIDTH = 240  # a table in a pipe or a log is not cut to the 80 columns of a terminal that is not there
_USAGE = (OptionError, UnknownWeightsError, ReferenceLabelError, ManifestError)
out = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """Print an error of this package as one line, and exit with its code."""
    try:
        yield
    except CxrExplainError as error:
        stop(str(error), EXIT_USAGE if isinstance(error, _USAGE) else EXIT_SOME_FAILED)
    except KeyboardInterrupt:
        stop("interrupted; what was finished is kept", EXIT_INTERRUPTED)


def stop(message: str, code: int) -> NoReturn:
    """Print an error, and exit."""
    err.print(f"[red]error:[/] {escape(message)}")
    raise typer.Exit(code)
