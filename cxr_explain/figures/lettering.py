"""Text as it can be drawn: cleaned of what no reader can see, measured, wrapped and cut to a width.

Widths come from the advance widths of the DejaVu Sans that Matplotlib ships, so that a layout is settled
before anything is drawn, and is the same on every machine. Letters that it has not come from the machine's
other fonts; those that no font has become "?", and `unknown_letters` tells which.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.font_manager import FontProperties, fontManager
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
    r"""Text on one line, without control and direction marks, accents composed; every other sign stays.

    >>> one_line("Mass\n\u202e\u6f22\u5b57\u202c")
    'Mass 漢字'
    """
    composed = unicodedata.normalize("NFC", str(text))
    spaced = "".join(" " if c.isspace() else c for c in composed)
    return " ".join("".join(c for c in spaced if unicodedata.category(c) not in _INVISIBLE).split())


def display_name(pathology: str) -> str:
    """A pathology as a reader expects it.

    >>> display_name("Pleural_Thickening")
    'Pleural Thickening'
    """
    return one_line(pathology.replace("_", " ")) or "(no name)"


@dataclass(frozen=True)
class Typeface:
    """The fonts of a figure's text: how wide a line is, where it breaks, and which letters there are.

    Args:
        families: names of font families, the first choice first; none for the DejaVu Sans that Matplotlib
            ships, which is the same on every machine.
    """

    families: tuple[str, ...] = ()

    def clean(self, text: str, face: Face = "regular") -> str:
        r"""Text on one line, without control and direction marks; signs that no font here has become "?".

        >>> Typeface().clean("Mass\n\u202eright-to-left\u202c")
        'Mass right-to-left'
        """
        visible = one_line(text)
        return " ".join(
            "".join(c if self._advance(c, face) is not None else _NO_GLYPH for c in visible).split()
        )

    def unknown_letters(self, texts: Iterable[str]) -> str:
        """The letters of some texts that no font of this machine has, each once.

        >>> Typeface().unknown_letters(["Mass", "Pleuraerguß"])
        ''
        """
        letters = dict.fromkeys("".join(map(one_line, texts)))
        return "".join(c for c in letters if self._advance(c, "regular") is None)

    def width(self, text: str, size: float, face: Face = "regular") -> float:
        """Width in inches of one line of clean text at a size in points.

        >>> Typeface().width("mm", 10) == 2 * Typeface().width("m", 10)
        True
        """
        return sum(self._advance(c, face) or 0.0 for c in text) * size * _SLACK / _POINTS_PER_INCH

    def shorten(self, text: str, limit: float, size: float, face: Face = "regular") -> str:
        """Clean text cut to a width in inches, with an ellipsis where something is missing.

        >>> Typeface().shorten("Enlarged Cardiomediastinum", 1.0, 8)
        'Enlarged Cardi…'
        """
        text = self.clean(text[:2000], face)
        if self.width(text, size, face) <= limit:
            return text
        while text and self.width(text.rstrip() + _ELLIPSIS, size, face) > limit:
            text = text[:-1]
        return text.rstrip() + _ELLIPSIS

    def wrap(
        self, text: str, limit: float, size: float, face: Face = "regular", *, lines: int = 100
    ) -> list[str]:
        """Clean text as lines no wider than a limit in inches; the last of `lines` ends in an ellipsis.

        >>> Typeface().wrap("first second third", 0.8, 8)
        ['first second', 'third']
        """
        broken: list[str] = []
        line = ""
        words = [
            piece
            for word in self.clean(text, face).split()
            for piece in self._break_word(word, limit, size, face)
        ]
        for index, word in enumerate(words):
            longer = f"{line} {word}" if line else word
            if not line or self.width(longer, size, face) <= limit:
                line = longer
            elif len(broken) == lines - 1:
                return [*broken, self.shorten(" ".join([line, *words[index:]]), limit, size, face)]
            else:
                broken.append(line)
                line = word
        return [*broken, line] if line else broken

    def font(self, face: Face = "regular", size: float = 8.0, text: str = "") -> FontProperties:
        """The font file that Matplotlib ships, whatever is installed; others for letters that it has not.

        Args:
            face: face of the letters.
            size: size of the letters in points.
            text: clean text that is to be drawn.
        """
        lacking = {c for c in text if not c.isascii() and not _face(face).get_char_index(ord(c))}
        others = dict.fromkeys(path for c in sorted(lacking) if (path := _elsewhere(c)))
        return _font((_path(face), *others), size)

    def _break_word(self, word: str, limit: float, size: float, face: Face) -> list[str]:
        """Cut a word that is wider than a line (a digest, a URL) into pieces that are not."""
        if self.width(word, size, face) <= limit:
            return [word]
        pieces = [""]
        for c in word:
            if pieces[-1] and self.width(pieces[-1] + c, size, face) > limit:
                pieces.append("")
            pieces[-1] += c
        return pieces

    def _advance(self, character: str, face: Face) -> float | None:
        return _advance(character, face)


DEJAVU = Typeface()
"""The DejaVu Sans that Matplotlib ships."""


@lru_cache(maxsize=256)
def _font(paths: tuple[str, ...], size: float) -> FontProperties:
    return FontProperties(fname=paths[0], size=size) if len(paths) == 1 else _FontFiles(paths, size)


class _FontFiles(FontProperties):
    """Font files, each for the letters that those before it have not.

    Matplotlib falls back from one family to the next: it copies this, sets one family, and asks for its file.
    Here the files stand in the families' place.
    """

    def __init__(self, paths: tuple[str, ...], size: float) -> None:
        super().__init__(family=list(paths), size=size)

    def __copy__(self) -> _FontFiles:
        return _FontFiles(tuple(self.get_family()), self.get_size())

    def set_family(self, family: Any) -> None:
        super().set_family(family)
        self.set_file(family if isinstance(family, str) else None)


def _path(face: Face) -> str:
    return str(Path(matplotlib.get_data_path(), "fonts", "ttf", _FILES[face]))


@lru_cache(maxsize=3)
def _face(face: Face) -> FT2Font:
    loaded = FT2Font(_path(face))
    loaded.set_size(100, 72)
    return loaded


@lru_cache(maxsize=4096)
def _advance(character: str, face: Face) -> float | None:
    """Advance width in units of the font size; None where no font has the character."""
    font_file: FT2Font | None = _face(face)
    if _never_joined(character):
        return None
    if not _face(face).get_char_index(ord(character)):
        path = _elsewhere(character)
        font_file = _opened(path) if path else None
    return font_file and font_file.load_char(ord(character)).linearHoriAdvance / 65536 / 100


@lru_cache(maxsize=4096)
def _elsewhere(character: str) -> str | None:
    """The font of this machine for a character that DejaVu Sans has not; None without one."""
    return next((path for path in _other_fonts() if _has(path, character)), None)


def _never_joined(character: str) -> bool:
    """Matplotlib before 3.11 draws Arabic and Hebrew backwards, and no Arabic letter joined to the next."""
    return matplotlib.__version_info__ < (3, 11) and unicodedata.bidirectional(character) in ("R", "AL")


@lru_cache(maxsize=1)
def _other_fonts() -> tuple[str, ...]:
    """Font files, upright and plain ones first; without those that only look like letters."""
    found = [
        (entry.style != "normal", abs(_weight(entry.weight) - 400), entry.name, str(entry.fname))
        for entry in fontManager.ttflist
        if not entry.name.startswith(("cm", "STIX", "Last Resort", "LastResort"))
    ]
    return tuple(dict.fromkeys(path for *_, path in sorted(found)))


def _weight(weight: Any) -> int:
    return weight if isinstance(weight, int) else 400


def _has(path: str, character: str) -> bool:
    try:
        return bool(FT2Font(path).get_char_index(ord(character)))
    except (OSError, RuntimeError):
        return False  # a font that is no longer there, or that only a browser can draw


@lru_cache(maxsize=8)
def _opened(path: str) -> FT2Font:
    loaded = FT2Font(path)
    loaded.set_size(100, 72)
    return loaded
