"""The font files of this machine: the faces of a family, and the font that has a letter.

Matplotlib keeps the list of what is installed. It is sorted here, so that the same fonts give the same figure
in whatever order they were found; and where something is not in it, the machine is searched once more, as
the list may be older than the font. Where `MPL_IGNORE_SYSTEM_FONTS` is set, only the fonts that Matplotlib
ships count, as for Matplotlib.
"""

from __future__ import annotations

import copyreg
import os
from collections.abc import Iterable
from contextlib import suppress
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.font_manager import (
    FontEntry,
    FontPath,
    FontProperties,
    findSystemFonts,
    fontManager,
    get_font,
    weight_dict,
)
from matplotlib.ft2font import FT2Font, LoadFlags
from numpy.typing import NDArray

from cxr_explain.errors import OptionError

# Matplotlib 3.11 cannot pickle nor copy its own class, and with it no figure that names font files.
copyreg.pickle(FontPath, lambda font: (FontPath, (font.path, font.face_index)))

Face = Literal["regular", "bold", "oblique"]

_OWN: dict[Face, str] = {
    "regular": "DejaVuSans.ttf",
    "bold": "DejaVuSans-Bold.ttf",
    "oblique": "DejaVuSans-Oblique.ttf",
}
_STYLE_AND_WEIGHT: dict[Face, tuple[tuple[str, ...], int]] = {
    "regular": (("normal",), 400),
    "bold": (("normal",), 700),
    "oblique": (("oblique", "italic"), 400),
}
_GENERIC: dict[str, Literal["font.serif", "font.sans-serif", "font.monospace"]] = {
    "serif": "font.serif",
    "sans-serif": "font.sans-serif",
    "monospace": "font.monospace",
}
_NO_LETTERS = ("cm", "STIX", "Last Resort", "LastResort")  # pictures, mathematics, and stand-ins
_REGIONS = {"zh": "SC", "zh-Hant": "TC", "ja": "JP", "ko": "KR"}
_JOIN_AND_TURN = frozenset("\u034f\u200c\u200d\u2068\u2069")
_SIZE = 100.0  # in points, at which letters are measured
_NAMED = 8

Stock = tuple[int, bool]
"""What the list of fonts was when something was found in it: how many, and whether the machine's count."""


def stock() -> Stock:
    """The list of fonts as it is now."""
    return len(fontManager.ttflist), bool(os.environ.get("MPL_IGNORE_SYSTEM_FONTS"))


def installed_families(families: Iterable[str]) -> tuple[str, ...]:
    """Names of families as the fonts themselves have them.

    Args:
        families: names in any case; paths of font files; "serif", "sans-serif" and "monospace" stand for the
            first installed one of Matplotlib's list (`rcParams["font.serif"]`).

    Raises:
        OptionError: a family that is not installed, or a file that is no font.

    >>> installed_families(["dejavu serif", "monospace"])
    ('DejaVu Serif', 'DejaVu Sans Mono')
    """
    return tuple(_installed(family) for family in families)


class Letters(dict[str, float]):
    """Advance widths of letters in units of the font size, looked up when they are first asked for.

    A letter comes from the first font that has it: the families in their order, DejaVu Sans, then every
    other font of the machine. Those that no font has are as wide as nothing, and not kept.

    Args:
        families: installed families, the first choice first.
        face: face of the letters.
        language: code of the text's language; says which forms Chinese characters have.
        now: the list of fonts that the families are in.

    >>> round(Letters((), "regular", "en", stock())["m"], 3)
    0.974
    """

    def __init__(self, families: tuple[str, ...], face: Face, language: str, now: Stock) -> None:
        super().__init__()
        self.face: Face = face
        self.language = language
        self.first = (*(_file(family, face, now) for family in families), _own(face))
        self.elsewhere: dict[str, FontPath] = {}

    def __missing__(self, character: str) -> float:
        path = self._font_with(character)
        if path is None:
            return 0.0
        font = _opened((path,))
        self[character] = font.load_char(ord(character)).linearHoriAdvance / 65536 / _SIZE
        return self[character]

    def has(self, character: str) -> bool:
        """Whether some font has a letter, or none needs to, as it only tells how others are joined."""
        return character in self or character in _JOIN_AND_TURN or self._font_with(character) is not None

    def files(self, text: str) -> tuple[FontPath, ...]:
        """The fonts that a text is drawn with, each for the letters that those before it have not."""
        further = {
            self.elsewhere[c] for c in set(text) if not c.isascii() and self.has(c) and c in self.elsewhere
        }
        if not further:
            return self.first
        ranked = _others(self.face, self.language, stock())
        return (*self.first, *sorted(further, key=ranked.index))

    def line_width(self, text: str) -> float:
        """Width of a line in units of the font size, with letters joined and placed as they are drawn."""
        return _line_width(self.files(text), text)

    def _font_with(self, character: str) -> FontPath | None:
        for first in self.first:
            if _has(first, character):
                return first
        path = _elsewhere(character, self.face, self.language, stock())
        if path is None and _search_again():
            path = _elsewhere(character, self.face, self.language, stock())
        if path is not None:
            self.elsewhere[character] = path
        return path


@lru_cache(maxsize=64)
def letters_of(families: tuple[str, ...], face: Face, language: str, now: Stock) -> Letters:
    """The letters of a face, so that each is measured once for as long as the list of fonts is the same."""
    return Letters(families, face, language, now)


class FontFiles(FontProperties):
    """Font files, each for the letters that those before it have not.

    Matplotlib falls back from one family to the next: it copies this, sets one family, and asks for its file.
    Here the files stand in the families' place.
    """

    def __init__(self, paths: tuple[FontPath, ...], size: float) -> None:
        super().__init__(family=list(paths), size=size)
        self._paths = paths
        if len(paths) == 1:
            self.set_file(paths[0])

    def __copy__(self) -> FontFiles:
        return FontFiles(self._paths, self.get_size())

    def set_family(self, family: Any) -> None:
        """Take the family, which is a file here."""
        super().set_family(family)
        self.set_file(family if isinstance(family, str) else None)


@lru_cache(maxsize=256)
def font_files(paths: tuple[FontPath, ...], size: float) -> FontFiles:
    """Font files as Matplotlib takes them, for letters of a size in points."""
    return FontFiles(paths, size)


def tried(families: tuple[str, ...]) -> str:
    """Which fonts were asked for a letter, in words.

    >>> tried(("DejaVu Serif",)).startswith("DejaVu Serif, DejaVu Sans and ")
    True
    """
    _search_again()  # so that the count is the same in every process
    others = {entry.name for entry in _entries(stock())} - {*families, "DejaVu Sans"}
    return f"{', '.join(dict.fromkeys((*families, 'DejaVu Sans')))} and {len(others)} other families"


def _installed(family: str) -> str:
    if family.lower().endswith((".ttf", ".otf", ".ttc")):
        if not len(_coverage(FontPath(family, 0))):
            raise OptionError(f"fonts with {family!r}", expected="a TrueType or OpenType file that is there")
        return family
    generic = _GENERIC.get(family.lower())
    wanted = matplotlib.rcParams[generic] if generic else (family,)
    for _ in range(2):
        names = {entry.name.casefold(): entry.name for entry in _entries(stock())}
        for name in wanted:
            if found := names.get(name.casefold()):
                return found
        if not _search_again():
            break
    near = get_close_matches(family.casefold(), names, _NAMED, 0.6) or sorted(names)
    more = f" and {len(near) - _NAMED} more" if len(near) > _NAMED else ""
    raise OptionError(
        f"fonts with {family!r}, which is not installed",
        expected="the name of an installed family, or the path of a font file",
        remedy=f"Installed are {', '.join(names[name] for name in near[:_NAMED])}{more}.",
    )


@lru_cache(maxsize=2)
def _entries(now: Stock) -> tuple[FontEntry, ...]:
    """The list of fonts, Matplotlib's own before the machine's; without files that are there no more."""
    own = matplotlib.get_data_path()
    ignored = now[1]
    there = [
        (not entry.fname.startswith(own), entry.fname, entry.index, entry.name, at)
        for at, entry in enumerate(fontManager.ttflist)
        if entry.fname.startswith(own) or (not ignored and os.path.exists(entry.fname))
    ]
    return tuple(fontManager.ttflist[at] for *_, at in sorted(there))


def _search_again() -> bool:
    """Add fonts that were installed after Matplotlib made its list; true where there were some."""
    return not stock()[1] and _search_once()


@lru_cache(maxsize=1)
def _search_once() -> bool:
    before = len(fontManager.ttflist)
    known = {entry.fname for entry in fontManager.ttflist}
    for path in sorted(set(findSystemFonts()) - known):
        with suppress(OSError, RuntimeError, ValueError):  # a font that only a browser can draw
            fontManager.addfont(path)
    return len(fontManager.ttflist) > before


@lru_cache(maxsize=64)
def _file(family: str, face: Face, now: Stock) -> FontPath:
    """The font file of a family that is nearest to a face."""
    if family.lower().endswith((".ttf", ".otf", ".ttc")):
        return FontPath(family, 0)
    faces = [entry for entry in _entries(now) if entry.name == family]
    best = min(faces, key=lambda entry: _distance(entry, face))
    return FontPath(best.fname, best.index)


def _own(face: Face) -> FontPath:
    return FontPath(str(Path(matplotlib.get_data_path(), "fonts", "ttf", _OWN[face])), 0)


def _distance(entry: FontEntry, face: Face) -> tuple[bool, int, bool, bool]:
    """How far a font is from a face: style, weight, width, small capitals."""
    styles, weight = _STYLE_AND_WEIGHT[face]
    has = entry.weight if isinstance(entry.weight, int) else weight_dict.get(entry.weight, 400)
    return entry.style not in styles, abs(has - weight), entry.stretch != "normal", entry.variant != "normal"


@lru_cache(maxsize=16)
def _others(face: Face, language: str, now: Stock) -> tuple[FontPath, ...]:
    """Every font, the likeliest first: sans-serif, forms of the language's region, near to the face."""
    region = _REGIONS.get(language) or _REGIONS.get(language.split("-")[0]) or "JP"

    def order(entry: FontEntry) -> tuple[Any, ...]:
        words = entry.name.split()
        plain = "Sans" in words and "Mono" not in words
        of_region = 0 if words[-1] == region else 2 if words[-1] in {*_REGIONS.values(), "HK"} else 1
        return not plain, of_region, _distance(entry, face), entry.name

    entries = [entry for entry in _entries(now) if not entry.name.startswith(_NO_LETTERS)]
    found = (FontPath(entry.fname, entry.index) for entry in sorted(entries, key=order))
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=8192)
def _elsewhere(character: str, face: Face, language: str, now: Stock) -> FontPath | None:
    """The first of all fonts that can draw a letter; None without one."""
    return next((path for path in _others(face, language, now) if _draws(path, character)), None)


def _draws(path: FontPath, character: str) -> bool:
    """Whether a font has a letter with an outline; colour fonts may have pictures only."""
    if not _has(path, character):
        return False
    font = _opened((path,))
    font.load_char(ord(character), flags=LoadFlags.NO_HINTING)
    return len(font.get_path()[0]) > 0


def _has(path: FontPath, character: str) -> bool:
    covered, code = _coverage(path), ord(character)
    at = int(np.searchsorted(covered, code))
    return at < len(covered) and int(covered[at]) == code


@cache
def _coverage(path: FontPath) -> NDArray[np.uint32]:
    """The code points of a font's letters, ascending; none of a file that cannot be read."""
    try:
        letters = FT2Font(path, face_index=path.face_index).get_charmap()
    except (OSError, RuntimeError):
        return np.empty(0, np.uint32)
    return np.sort(np.fromiter(letters, np.uint32, len(letters)))


def _opened(paths: tuple[FontPath, ...]) -> FT2Font:
    """Matplotlib's own, which threads do not share and a fork does not inherit."""
    font = get_font(paths)
    font.set_size(_SIZE, 72)
    return font


@lru_cache(maxsize=2048)
def _line_width(paths: tuple[FontPath, ...], text: str) -> float:
    font = _opened(paths)
    font.set_text(text, 0.0, flags=LoadFlags.NO_HINTING)
    return font.get_width_height()[0] / 64 / _SIZE
