"""Cells of the CSV files that people open in a spreadsheet."""

from __future__ import annotations

_RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe_cell(value: object) -> str:
    """A cell's text; with an apostrophe before it where a spreadsheet would take it for a formula.

    Numbers stay as they are. For exports only: what is to be read back by a program keeps its text.

    Source:
        OWASP, CSV Injection.

    >>> safe_cell("=1+1"), safe_cell(-0.5), safe_cell(None), safe_cell("Mass")
    ("'=1+1", '-0.5', '', 'Mass')
    """
    if value is None:
        return ""
    text = str(value)
    is_formula = isinstance(value, str) and text.startswith(_RUN_BY_SPREADSHEETS)
    return f"'{text}" if is_formula else text
