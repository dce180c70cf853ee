"""DICOM objects as a table for a terminal, and what is told once of many sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cxr_explain.figures.texts import DISCLAIMER

if TYPE_CHECKING:
    from cxr_explain.errors import CxrExplainError

MOST_ROWS = 100
"""Sources in a table; the others are counted."""

MOST_TEXTS = 50
"""Different texts that are told; of further ones it is told how many there are."""


class Told:
    """Texts that many sources share: each is told once, with the first source and how many have it.

    >>> told = Told()
    >>> for source in ("a", "b", "c"):
    ...     told.add("PatientAge is not kept", source)
    >>> told.lines()
    ['PatientAge is not kept (a, and 2 more)']
    """

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._left_out = 0

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, text: str, source: str) -> None:
        """One more source of which a text is to be told."""
        if text not in self._counts and len(self._counts) == MOST_TEXTS:
            self._left_out += 1
            return
        self._first.setdefault(text, source)
        self._counts[text] = self._counts.get(text, 0) + 1

    def lines(self) -> list[str]:
        """What is to be told."""
        more = {text: f", and {n - 1} more" if n > 1 else "" for text, n in self._counts.items()}
        lines = [f"{text.rstrip('.')} ({source}{more[text]})" for text, source in self._first.items()]
        return lines + [f"{self._left_out} further ones"] * bool(self._left_out)

    def tell(self, say: Callable[[str], None]) -> None:
        """Tell all of it, line by line."""
        for line in self.lines():
            say(line)


class ObjectTable:
    """Collects the results of a run; memory stays flat.

    Args:
        source: what a line is about, such as "image".
        result: what the last column holds.

    >>> table = ObjectTable()
    >>> table.add("chest", ("figure", "report"), {}, (), "objects/chest")
    >>> table.sources, table.objects, bool(table.not_made)
    (1, 2, False)
    """

    def __init__(self, source: str = "image", result: str = "folder") -> None:
        self.sources = self.objects = 0
        self.not_made, self.notes = Told(), Told()
        self._table = Table(source, "objects", result, box=None, pad_edge=False)
        for column in self._table.columns:
            column.overflow = "fold"

    def add(
        self,
        source: str,
        written: Sequence[str],
        not_made: dict[str, CxrExplainError],
        notes: Sequence[str],
        result: str,
    ) -> None:
        """One more source.

        Args:
            source: its name.
            written: kinds of objects that there are now.
            not_made: why there are no others, by kind.
            notes: what should be known of them.
            result: what the last column says.
        """
        self.sources += 1
        self.objects += len(written)
        for kind, error in not_made.items():
            self.not_made.add(f"no {kind}: {error}", source)
        for note in notes:
            self.notes.add(note, source)
        if self.sources <= MOST_ROWS:
            without = f"; no {', '.join(not_made)}" if not_made else ""
            made = (", ".join(written) or "none") + without
            self._table.add_row(*map(escape, (source, made, result)))

    def print(self, console: Console) -> None:
        """Print the table; nothing where there is nothing."""
        if not self.sources:
            return
        console.print(self._table)
        if self.sources > MOST_ROWS:
            console.print(f"[dim]{self.sources - MOST_ROWS} more are not shown.[/]")
        console.print(f"[dim]{DISCLAIMER}.[/]")
