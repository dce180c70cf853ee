"""Text as it can be drawn: cleaned of what no reader can see, measured, wrapped and cut to a width.

Widths come from the fonts' advance widths, so that a layout is settled before anything is drawn. Those of the
DejaVu Sans that Matplotlib ships are the same on every machine. Scripts whose letters are joined, stacked or
read from right to left are measured by Matplotlib's own layout. A letter that no font has is shown by its
number, "[U+6F22]", and `unknown_letters` tells which.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib.font_manager import FontProperties

from cxr_explain.figures.fonts import Face as Face
from cxr_explain.figures.fonts import Letters, font_files, installed_families, letters_of, stock, tried
from cxr_explain.pathologies import readable

_ELLIPSIS = "…"
_INVISIBLE = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}
_POINTS_PER_INCH = 72.0
_SLACK = 1.01  # a drawn line ends on a whole pixel
_MOST_LETTERS = 8
_EAST_ASIAN = {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH"}
_VIRAMA = 9  # the combining class of signs that join two Indic letters

_JOINERS = "\u200c\u200d"
_ISOLATE, _END = "\u2068", "\u2069"
_SELECTORS = dict.fromkeys([*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])  # they pick no other font
_ISOLATED = re.compile(f"{_ISOLATE}([^{_ISOLATE}{_END}]*){_END}")

_HAN = "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_OPENING = "（「『【〈《〔“‘(\\["
_CLOSING = "、。，．：；？！）」』】〉》〕”’・ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ…%)\\]:;,.!?"
_BETWEEN_HAN = re.compile(
    f"(?:(?<=[{_HAN}、。，．：；？！）」』】〉》〕])|(?=[{_HAN}（「『【〈《〔]))(?<![{_OPENING}])(?![{_CLOSING}])"
)
"""Where a line may break in Chinese and Japanese, which have no spaces."""

_SEPARATE = re.compile(
    "[\\x20-\u02ff\u0370-\u0482\u048a-\u058f\u1e00-\u1fff\u2010-\u2027\u2030-\u205f\u2070-\u2bff"
    "\u2e80-\u3029\u3030-\u3096\u309b-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff01-\uffee\U00020000-\U0003ffff]*"
)
"""Text of scripts whose letters stand by themselves, in the order in which they are read."""


def one_line(text: str) -> str:
    r"""Text on one line, without control and direction marks, accents composed; every other sign stays.

    Joiners stay after letters that are joined, Arabic and Indic ones; elsewhere nobody sees them.

    >>> one_line("Mass\n\u202e\u6f22\u5b57\u202c")
    'Mass 漢字'
    """
    return _visible(str(text), _JOINERS)


def isolated(name: str) -> str:
    r"""A name that may stand within any sentence: one from right to left does not turn what is around it.

    >>> isolated("Mass"), isolated("\u05e9\u05dc\u05d5\u05dd") == "\u2068\u05e9\u05dc\u05d5\u05dd\u2069"
    ('Mass', True)
    """
    turns = any(unicodedata.bidirectional(c) in ("R", "AL") for c in name)
    return f"{_ISOLATE}{name}{_END}" if turns else name


def isolates(line: str) -> list[str]:
    r"""The parts of a line from left to right, each with one direction.

    >>> isolates("\u2068\u05e9\u05dc\u05d5\u05dd\u2069: 93 %") == ["\u05e9\u05dc\u05d5\u05dd", ": 93 %"]
    True
    """
    return [part for part in re.split(f"[{_ISOLATE}{_END}]", line) if part] if _ISOLATE in line else [line]


def display_name(pathology: str) -> str:
    """A pathology as a reader expects it.

    >>> display_name("Pleural_Thickening")
    'Pleural Thickening'
    """
    return one_line(readable(pathology)) or "(no name)"


@dataclass(frozen=True)
class Typeface:
    """The fonts of a figure's text: how wide a line is, where it breaks, and which letters there are.

    Args:
        families: names of installed font families, the first choice first, or paths of font files; "serif",
            "sans-serif" and "monospace" stand for the one that Matplotlib's settings have now. None for the
            DejaVu Sans that Matplotlib ships, which is the same on every machine.
        language: code of the text's language, such as "zh" or "ja": which forms Chinese characters have.

    Raises:
        OptionError: a family that is not installed.

    >>> Typeface(("dejavu serif",)).families
    ('DejaVu Serif',)
    """

    families: tuple[str, ...] = ()
    language: str = ""

    def __post_init__(self) -> None:
        named = (self.families,) if isinstance(self.families, str) else self.families
        object.__setattr__(self, "families", installed_families(named))

    def clean(self, text: str, face: Face = "regular") -> str:
        r"""Text on one line, without control and direction marks; letters that no font has by number.

        Isolates stay, where `isolated` put them around a name.

        >>> Typeface().clean("Mass\n\u202eright-to-left\u202c")
        'Mass right-to-left'
        """
        whole = _visible(text, _JOINERS + _ISOLATE + _END)
        if whole.isascii():
            return whole
        whole = whole.translate(_SELECTORS)
        if set(_ISOLATED.sub("", whole)) & {_ISOLATE, _END}:
            whole = one_line(whole)
        letters, shown, unknown = self._letters(face), "", ""
        for c in whole:
            if letters.has(c) and not (unknown and c in _JOINERS):
                shown += _by_number(unknown) + c
                unknown = ""
            else:
                unknown += c
        return shown + _by_number(unknown)

    def unknown_letters(self, texts: Iterable[str]) -> str:
        """The letters of some texts that no font of this machine has, each once.

        >>> Typeface().unknown_letters(["Mass", "Pleuraerguß"])
        ''
        """
        letters = self._letters("regular")
        return "".join(c for c in dict.fromkeys("".join(map(one_line, texts))) if not letters.has(c))

    def no_font_has(self, letters: str) -> str:
        """Letters that no font has, the fonts that were asked, and the one to install.

        >>> Typeface(("DejaVu Serif",)).no_font_has("漢")[:72]
        'No font has the letters 漢 (U+6F22): tried DejaVu Serif, DejaVu Sans and '
        """
        named = ", ".join(f"{c} ({_number(c)}{_name(c)})" for c in letters[:_MOST_LETTERS])
        more = f" and {len(letters) - _MOST_LETTERS} more" if len(letters) > _MOST_LETTERS else ""
        wanted = " and ".join(dict.fromkeys(map(_font_for, letters)))
        return f"No font has the letters {named}{more}: tried {tried(self.families)}. Install {wanted}"

    def width(self, text: str, size: float, face: Face = "regular") -> float:
        """Width in inches of one line of clean text at a size in points.

        >>> Typeface().width("mm", 10) == 2 * Typeface().width("m", 10)
        True
        """
        letters = self._letters(face)
        if text.isascii() or _SEPARATE.fullmatch(text):
            width = sum(map(letters.__getitem__, text))
        else:
            width = letters.line_width(text)
        return width * size * _SLACK / _POINTS_PER_INCH

    def shorten(self, text: str, limit: float, size: float, face: Face = "regular") -> str:
        """Clean text cut to a width in inches, with an ellipsis where something is missing.

        >>> Typeface().shorten("Enlarged Cardiomediastinum", 1.0, 8)
        'Enlarged Cardi…'
        """
        text = self.clean(text[:2000], face)
        if self.width(text, size, face) <= limit:
            return text
        signs = _signs(text)
        start = "".join(signs[: self._fitting(signs, limit, size, face, _ELLIPSIS)]).rstrip() + _ELLIPSIS
        return start + _END * (start.count(_ISOLATE) - start.count(_END))

    def wrap(
        self, text: str, limit: float, size: float, face: Face = "regular", *, lines: int = 100
    ) -> list[str]:
        """Clean text as lines no wider than a limit in inches; the last of `lines` ends in an ellipsis.

        >>> Typeface().wrap("first second third", 0.8, 8)
        ['first second', 'third']
        """
        broken: list[str] = []
        line = ""
        pieces = [
            " " * (at == 0) + piece
            for word in self.clean(text, face).split()
            for at, piece in enumerate(self._pieces(word, limit, size, face))
        ]
        for index, piece in enumerate(pieces):
            longer = line + piece if line else piece.lstrip()
            if not line or self.width(longer, size, face) <= limit:
                line = longer
            elif len(broken) == lines - 1:
                return [*broken, self.shorten(line + "".join(pieces[index:]), limit, size, face)]
            else:
                broken.append(line)
                line = piece.lstrip()
        return [*broken, line] if line else broken

    def font(self, face: Face = "regular", size: float = 8.0, text: str = "") -> FontProperties:
        """The font files of a face, with others for the letters of a text that they have not.

        Args:
            face: face of the letters.
            size: size of the letters in points.
            text: clean text that is to be drawn.
        """
        return font_files(self._letters(face).files(text), size)

    def _pieces(self, word: str, limit: float, size: float, face: Face) -> list[str]:
        """A word where it may break: between Chinese characters, and anywhere if it is wider than a line."""
        pieces: list[str] = []
        for part in [word] if word.isascii() else _BETWEEN_HAN.split(word):
            signs = _signs(part)
            while signs:
                whole = self.width("".join(signs), size, face) <= limit
                end = len(signs) if whole else max(1, self._fitting(signs, limit, size, face))
                pieces.append("".join(signs[:end]))
                signs = signs[end:]
        return pieces

    def _fitting(self, signs: list[str], limit: float, size: float, face: Face, end: str = "") -> int:
        """How many of some signs fit within a width, with what stands at the end of the line."""
        counts = range(1, len(signs) + 1)
        return bisect_right(
            counts, limit, key=lambda n: self.width("".join(signs[:n]).rstrip() + end, size, face)
        )

    def _letters(self, face: Face) -> Letters:
        return letters_of(self.families, face, self.language, stock())


DEJAVU = Typeface()
"""The DejaVu Sans that Matplotlib ships."""


def _visible(text: str, kept: str) -> str:
    """Text on one line without what nobody sees, but for the kept ones of the invisible signs."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    shown = ""
    for c in unicodedata.normalize("NFC", text):
        if c.isspace():
            shown += " "
        elif unicodedata.category(c) not in _INVISIBLE or (c in kept and _acts(c, shown)):
            shown += c
    return " ".join(shown.split())


def _acts(mark: str, before: str) -> bool:
    """Whether an invisible sign does something: a joiner after a letter that stands by itself does not."""
    return mark not in _JOINERS or not _SEPARATE.fullmatch(before[-1:])


def _signs(text: str) -> list[str]:
    """What a reader takes for one sign: a letter with its marks and with what is joined to it."""
    signs: list[str] = []
    for c in text:
        last = signs[-1][-1] if signs else ""
        joined = last and (last in _JOINERS or unicodedata.combining(last) == _VIRAMA)
        if signs and (joined or c in _JOINERS or c == _END or unicodedata.category(c).startswith("M")):
            signs[-1] += c
        else:
            signs.append(c)
    return signs


def _by_number(letters: str) -> str:
    return f"[{' '.join(map(_number, letters))}]" if letters else ""


def _number(letter: str) -> str:
    return f"U+{ord(letter):04X}"


def _name(letter: str) -> str:
    name = unicodedata.name(letter, "")
    return f" {name}" if name and not name.startswith("CJK ") else ""


def _font_for(letter: str) -> str:
    """A free font that has a letter."""
    script = unicodedata.name(letter, "").split(" ")[0].split("-")[0]
    if script in _EAST_ASIAN:
        return "Noto Sans CJK (Debian's fonts-noto-cjk)"
    if script and unicodedata.category(letter)[0] in "LM":
        return f"Noto Sans {script.title()} (Debian's fonts-noto-core)"
    return "Symbola (Debian's fonts-symbola)"
