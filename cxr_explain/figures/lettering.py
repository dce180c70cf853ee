"""Text as it can be drawn: cleaned of what no reader can see, measured, wrapped and cut to a width.

Widths come from the advance widths of the DejaVu Sans that Matplotlib ships, so that a layout is settled
before anything is drawn, and is the same on every machine.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Literal

import matplotlib
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font

Face = Literal["regular", "bold", "oblique"]

_FILES: dict[Face, str] = {
    "regular": "DejaVuSans.ttf",
    "bold": "DejaVuSans-Bold.ttf",
    "oblique": "DejaVuSans-Oblique.ttf",
}
_NO_GLYPH = "?"
_ELLIPSIS = "…"
_INVISIBLE = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
_POINTS_PER_INCH = 72.0
_SLACK = 1.01  # a drawn line ends on a whole pixel


def one_line(text: str) -> str:
    r"""Text on one line, without control and direction marks; every other sign stays.

    >>> one_line("Mass\n\u202e\u6f22\u5b57\u202c")
    'Mass 漢字'
    """
    spaced = "".join(" " if c.isspace() else c for c in str(text))
    return " ".join("".join(c for c in spaced if unicodedata.category(c) not in _INVISIBLE).split())


def clean(text: str, face: Face = "regular") -> str:
    r"""Text on one line, without control and direction marks; signs that DejaVu lacks become "?".

    >>> clean("Mass\n\u202eright-to-left\u202c")
    'Mass right-to-left'
    """
    visible = one_line(text)
    return " ".join("".join(c if _advance(c, face) is not None else _NO_GLYPH for c in visible).split())


def display_name(pathology: str) -> str:
    """A pathology as a reader expects it.

    >>> display_name("Pleural_Thickening")
    'Pleural Thickening'
    """
    return clean(pathology.replace("_", " ")) or "(no name)"


def width(text: str, size: float, face: Face = "regular") -> float:
    """Width in inches of one line of clean text at a size in points.

    >>> width("mm", 10) == 2 * width("m", 10)
    True
    """
    return sum(_advance(c, face) or 0.0 for c in text) * size * _SLACK / _POINTS_PER_INCH


def shorten(text: str, limit: float, size: float, face: Face = "regular") -> str:
    """Clean text cut to a width in inches, with an ellipsis where something is missing.

    >>> shorten("Enlarged Cardiomediastinum", 1.0, 8)
    'Enlarged Cardi…'
    """
    text = clean(text[:2000], face)
    if width(text, size, face) <= limit:
        return text
    while text and width(text.rstrip() + _ELLIPSIS, size, face) > limit:
        text = text[:-1]
    return text.rstrip() + _ELLIPSIS


def wrap(text: str, limit: float, size: float, face: Face = "regular", *, lines: int = 100) -> list[str]:
    """Clean text as lines no wider than a limit in inches; the last of `lines` ends in an ellipsis.

    >>> wrap("first second third", 0.8, 8)
    ['first second', 'third']
    """
    broken: list[str] = []
    line = ""
    words = [piece for word in clean(text, face).split() for piece in _break_word(word, limit, size, face)]
    for index, word in enumerate(words):
        longer = f"{line} {word}" if line else word
        if not line or width(longer, size, face) <= limit:
            line = longer
        elif len(broken) == lines - 1:
            return [*broken, shorten(" ".join([line, *words[index:]]), limit, size, face)]
        else:
            broken.append(line)
            line = word
    return [*broken, line] if line else broken


@lru_cache(maxsize=64)
def font(face: Face = "regular", size: float = 8.0) -> FontProperties:
    """The font file that Matplotlib ships, whatever else is installed."""
    return FontProperties(fname=_path(face), size=size)


def _break_word(word: str, limit: float, size: float, face: Face) -> list[str]:
    """Cut a word that is wider than a line (a digest, a URL) into pieces that are not."""
    if width(word, size, face) <= limit:
        return [word]
    pieces = [""]
    for c in word:
        if pieces[-1] and width(pieces[-1] + c, size, face) > limit:
            pieces.append("")
        pieces[-1] += c
    return pieces


def _path(face: Face) -> str:
    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", _FILES[face]))


@lru_cache(maxsize=3)
def _face(face: Face) -> FT2Font:
    loaded = FT2Font(_path(face))
    loaded.set_size(100, 72)
    return loaded


@lru_cache(maxsize=4096)
def _advance(character: str, face: Face) -> float | None:
    """Advance width in units of the font size; None without a glyph."""
    if not _face(face).get_char_index(ord(character)):
        return None
    return _face(face).load_char(ord(character)).linearHoriAdvance / 65536 / 100
