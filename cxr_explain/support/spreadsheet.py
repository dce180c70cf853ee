"""CSV files that people open in a spreadsheet, and their cells."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from cxr_explain.errors import legible

_BLANKS = r"[\s\x00-\x1f\u200b-\u200f\u2060\ufeff]*"
_FORMULA = rf"{_BLANKS}[=+\-@＝＋－﹣−＠]"
_RUN_BY_SPREADSHEETS = re.compile(rf"[\t\r\n]|{_FORMULA}")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?(e[+-]?\d+)?|inf|nan)", re.ASCII)
_CELL_WITHIN = re.compile(rf"([;|\t\r\n](?:{_BLANKS}\")*)(?={_FORMULA})")


def safe_cell(value: object) -> str:
    """A cell's text; with an apostrophe before it where a spreadsheet would take it for a formula.

    The same after a sign within the text at which a spreadsheet of another language, or one that was told so,
    begins another cell. Numbers stay as they are, written ones too. For exports only: what is to be read back
    by a program keeps its text.

    Source:
        OWASP, CSV Injection.

    >>> safe_cell("=1+1"), safe_cell(-0.5), safe_cell(None), safe_cell("Mass")
    ("'=1+1", '-0.5', '', 'Mass')
    >>> safe_cell("Mass;=1+1")
    "Mass;'=1+1"
    """
    if value is None:
        return ""
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return str(value)
    text = _CELL_WITHIN.sub(r"\1'", value)
    return f"'{text}" if _RUN_BY_SPREADSHEETS.match(text) else text


def safe_csv(rows: Iterable[Sequence[object]]) -> str:
    r"""The text of a CSV file in which no cell is a formula, the head's cells included; each row is one line.

    Args:
        rows: the head and the rows below it.

    >>> safe_csv([("id", "=1+1"), ("a", 0.5)])
    "id,'=1+1\na,0.5\n"
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(_in_a_line, rows))
    return text.getvalue()


def _in_a_line(row: Sequence[object]) -> list[str]:
    return [safe_cell(legible(cell) if isinstance(cell, str) else cell) for cell in row]
