"""What is wrong with the rows of a table, collected and then said all at once."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import contextmanager

from cxr_explain.errors import CxrExplainError, ManifestError
from cxr_explain.pathologies import known_pathology
from cxr_explain.support.bounded import quoted as quoted  # what messages on tables show values by

_SHOWN = 20
_MOST_KEPT = 10_000  # of a table that is wrong in each of its rows, the others are counted only


class CellError(ValueError):
    """What is wrong with a cell, in words for `Problems`."""


@contextmanager
def as_cell_error() -> Iterator[None]:
    """Make an error of this package that is raised within one of the cell that is being read.

    >>> with as_cell_error():
    ...     raise ManifestError("no name", expected="one")
    Traceback (most recent call last):
    cxr_explain.reference.problems.CellError: no name
    """
    try:
        yield
    except CxrExplainError as error:
        raise CellError(error.found) from None


def known_in_cell(cell: str) -> str:
    """The known pathology that a cell names.

    Raises:
        CellError: a blank cell, or another name; the nearest known one is named.

    >>> known_in_cell("pleural effusion")
    'Effusion'
    """
    if not cell.strip():
        raise CellError("no pathology")
    with as_cell_error():
        return known_pathology(cell)


class Problems:
    """What is wrong, by line; nothing is raised before all rows were looked at.

    >>> problems = Problems()
    >>> problems.add(3, "the age 'old'")
    >>> problems.add(2, "no path")
    >>> problems.raise_any()
    Traceback (most recent call last):
    cxr_explain.errors.ManifestError: line 2: no path; line 3: the age 'old'.
    """

    def __init__(self) -> None:
        self._found: set[tuple[int, str]] = set()
        self._not_kept = 0
        self._are_counted = True

    def add(self, line: int, text: str) -> None:
        """Note what is wrong in a line of the file.

        Args:
            line: number of the line in the file, counted from 1.
            text: what was found there, for the message.
        """
        if len(self._found) < _MOST_KEPT:
            self._found.add((line, text))
        else:
            self._not_kept += 1

    def stop_counting(self) -> None:
        """There may be more than what is added."""
        self._are_counted = False

    def raise_any(self) -> None:
        """Raise if something was found: the first 20 problems by line, and how many more there are.

        Raises:
            ManifestError: something was found.
        """
        if not self._found:
            return
        shown = [f"line {line}: {text}" for line, text in heapq.nsmallest(_SHOWN, self._found)]
        further = len(self._found) - len(shown) + self._not_kept
        least = "" if self._are_counted else "at least "
        more = f" and {least}{further} more" if further else ""
        raise ManifestError("; ".join(shown) + more)
