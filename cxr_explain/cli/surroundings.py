"""What a process may lack around a command, made good before the command prints its first word.

Standard streams that are closed, an encoding without all letters, a home folder that may not be written to: a
command works with each, and says in one line what it does without.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Any, TextIO

from cxr_explain.cli.console import note
from cxr_explain.errors import CxrExplainWarning, OptionError

_CACHE = "Matplotlib created a temporary cache directory"
_SAID_WITH_IT = ("mkdir -p failed for path", "Matplotlib is building the font cache")


def make_good() -> None:
    """Have streams that can be written to, a folder to be in, and one line for each warning.

    Raises:
        OptionError: the current folder was deleted: no relative path means anything, and torch does not load.
    """
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # A sign that the terminal has not is shown by its number; and a name need not be valid Unicode.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # the process's own
    _in_lines(warnings.showwarning)
    logging.getLogger("matplotlib").addFilter(_in_a_line)
    _check_current_folder()
    if sys.getfilesystemencoding() == "ascii":
        note("File names are ASCII here: no table finds a file with others in its name. PYTHONUTF8=1 helps.")


def _check_current_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError:
        raise OptionError(
            "a current folder that was deleted", expected="a folder", remedy="Change to one: cd."
        ) from None


def _open_closed_streams() -> None:
    """Lead closed standard streams nowhere: a file that is opened later must not become standard output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        if getattr(sys, name) is None:
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _in_lines(others: Any) -> None:
    """Show each warning of this package in one line, once for the command, however many images it is of."""
    said: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, CxrExplainWarning):
            others(message, category, filename, lineno, file, line)
        elif (text := str(message)) not in said:
            said.add(text)
            note(text)

    warnings.showwarning = show


def _in_a_line(record: logging.LogRecord) -> bool:
    """Say of Matplotlib's cache what matters, once: its logger takes three lines and a hundred words."""
    text = record.getMessage()
    if text.startswith(_CACHE):
        note("No folder for Matplotlib's cache can be written to; each run makes it anew: set MPLCONFIGDIR.")
    return not text.startswith((_CACHE, *_SAID_WITH_IT))
