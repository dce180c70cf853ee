"""Text that is never cut: in as many lines as there may be, then smaller, then in more lines."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import pairwise

from cxr_explain.figures.lettering import Face
from cxr_explain.figures.style import SMALLEST, Style

_STEP = 0.25


def fitted(
    look: Style, text: str, room: float, size: float, face: Face = "regular", *, lines: int = 1
) -> tuple[list[str], float]:
    """Lines of a text and their size: the largest at which few lines with whole words fit a room.

    At the smallest size that is printed there may be more lines, and words that are longer than one break.

    Args:
        look: how the figure looks.
        text: what is to be said.
        room: width of a line in inches, where ordinary text has 7.4 points.
        size: size in points that it has where there is room, where ordinary text has 7.4.
        face: face of the letters.
        lines: how many lines there may be before it gets smaller.

    >>> fitted(Style(), "Reference boxes", 1.0, 7.4), fitted(Style(), "Reference boxes", 0.6, 7.4, lines=2)
    ((['Reference boxes'], 7.4), (['Reference', 'boxes'], 7.4))
    """
    whole = look.typeface.clean(text, face)
    least = smallest(look, size)
    while True:
        found = look.typeface.wrap(whole, room, size, face)
        if size <= least or (len(found) <= lines and has_whole_words(found, whole)):
            return found, size
        size = max(size - _STEP, least)


def smallest(look: Style, size: float) -> float:
    """The size in points, where ordinary text has 7.4, down to which a text of a size may go."""
    return min(size, SMALLEST / look.scale)


def has_whole_words(lines: Sequence[str], text: str) -> bool:
    """Whether lines break where a text has spaces, or between Chinese or Japanese letters.

    >>> has_whole_words(["peak", "distance"], "peak distance"), has_whole_words(["over", "lap"], "overlap")
    (True, False)
    """
    end = 0
    for line, following in pairwise(lines):
        end = text.find(line, end) + len(line)
        wide = {unicodedata.east_asian_width(letter) for letter in (line[-1:] + following[:1])}
        if text[end : end + 1] != " " and not wide & {"W", "F"}:
            return False
    return True
