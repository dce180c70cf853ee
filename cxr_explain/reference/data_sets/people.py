"""Sex and age as data sets and DICOM headers write them."""

from __future__ import annotations

import re

from cxr_explain.reference.entry import Sex
from cxr_explain.reference.problems import CellError, quoted
from cxr_explain.reference.table import BLANKS, CsvTable, is_blank

_AGE = re.compile(r"(\d{1,3}(?:\.\d{1,20})?)([YMWD]?)", re.ASCII)
_YEARS = {"": 1.0, "Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_OLDEST_BELIEVED = 120.0  # years; NIH's first release has ages of several hundred
_SEXES: dict[str, Sex] = {"f": "F", "female": "F", "m": "M", "male": "M"}
_UNKNOWN_SEXES = frozenset({*BLANKS, "unknown", "u", "o", "other"})


def years(text: str) -> float | None:
    """Years from a number, or from DICOM's age string (PS3.5 6.2, AS); None where it is neither.

    >>> years("058Y"), years("6M"), years("old")
    (58.0, 0.5, None)
    """
    found = _AGE.fullmatch(text.strip().upper())
    return None if found is None else float(found[1]) * _YEARS[found[2]]


def believed(age: float | None) -> float | None:
    """An age in years that people reach; None for another one.

    >>> believed(414.0) is None
    True
    """
    return age if age is not None and age <= _OLDEST_BELIEVED else None


def ages_of(table: CsvTable, column: str, *, zero_is_known: bool) -> list[float | None] | None:
    """A column of ages in years; what is blank is unknown, and so is an age that nobody reaches.

    Args:
        table: gets what is no age among its `problems`.
        column: name of the column.
        zero_is_known: whether 0 is an infant's age, as in NIH's table; CheXpert writes 0 for unknown.

    Returns:
        An age for each row; None where there is no such column.
    """

    def age_of(cell: str) -> float | None:
        age = years(cell)
        if age is None and not is_blank(cell):
            raise CellError(f"the age {quoted(cell)}")
        return believed(age) if age or zero_is_known else None

    cells = table.optional(column)
    return None if cells is None else table.parsed(cells, age_of, None)


def sex_of(text: str | None) -> Sex | None:
    """A sex as F or M; None where the text says neither.

    >>> sex_of("Female"), sex_of("O")
    ('F', None)
    """
    return _SEXES.get((text or "").strip().casefold())


def sexes_of(table: CsvTable, *columns: str) -> list[Sex | None] | None:
    """A column of sexes; a sex that is not known is None.

    Args:
        table: gets what is no sex among its `problems`.
        *columns: names that the column may have.

    Returns:
        A sex for each row; None where there is no such column.
    """

    def known(cell: str) -> Sex | None:
        if cell.strip().casefold() not in {*_SEXES, *_UNKNOWN_SEXES}:
            raise CellError(f"the sex {quoted(cell)}")
        return sex_of(cell)

    cells = table.optional(*columns)
    return None if cells is None else table.parsed(cells, known, None)
