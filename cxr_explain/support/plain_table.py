"""A small table that reads well in a terminal and in Markdown's source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cxr_explain.errors import legible
from cxr_explain.support.markdown import as_text


@dataclass(frozen=True)
class PlainTable:
    """A title, a header and rows of text; the first column is flush left, numbers flush right.

    Args:
        title: title above the table.
        header: head of each column.
        rows: rows of as many cells as there are columns.
        note: remark below the table; '' without one.

    >>> print(PlainTable("Ages", ("name", "years"), [["Ann", "7"]]).to_markdown())
    ### Ages
    <BLANKLINE>
    | name | years |
    |:-----|------:|
    | Ann  |     7 |
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def to_markdown(self) -> str:
        """The table in Markdown, as GitHub renders it; names of files and findings stay text."""
        rule = ["-" * (width + 1) for width in self._widths]
        lines = [f"| {' | '.join(map(as_text, cells))} |" for cells in self._padded]
        marks = [f":{line}" if self._left(at) else f"{line}:" for at, line in enumerate(rule)]
        lines = [lines[0], f"|{'|'.join(marks)}|", *lines[1:]]
        return self._with_note(f"### {as_text(legible(self.title))}\n", lines, as_text(self.note), "\n")

    def to_text(self) -> str:
        """The table as plain text, for a terminal."""
        lines = ["  ".join(cells).rstrip() for cells in self._padded]
        lines = [lines[0], "-" * max(map(len, lines)), *lines[1:]]
        return self._with_note(legible(self.title), lines, self.note, "")

    @staticmethod
    def _with_note(title: str, lines: list[str], note: str, gap: str) -> str:
        return "\n".join((title, *lines, *([f"{gap}{note}"] if note else [])))

    @property
    def _widths(self) -> list[int]:
        columns = zip(*self._cells, strict=True)
        return [max(map(len, column)) for column in columns]

    @property
    def _padded(self) -> list[list[str]]:
        return [
            [
                cell.ljust(width) if self._left(at) else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(cells, self._widths, strict=True))
            ]
            for cells in self._cells
        ]

    @property
    def _cells(self) -> list[list[str]]:
        """A cell is one line, whatever it is a name of."""
        return [[legible(cell) for cell in cells] for cells in (self.header, *self.rows)]

    def _left(self, at: int) -> bool:
        """Whether a column holds words in every row."""
        return at == 0 or not any(any(c.isdigit() for c in row[at]) for row in self.rows)
