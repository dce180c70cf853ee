"""How figures look: paper and inks, fonts and sizes, lines, and the language of their words."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from cxr_explain.errors import CxrExplainWarning, OptionError, OutputError
from cxr_explain.figures.lettering import Typeface, display_name, isolated, one_line
from cxr_explain.figures.palette import checked_colour
from cxr_explain.figures.wording import Wording
from cxr_explain.options import StyleName
from cxr_explain.pathologies import canonical_pathology, near_miss

MissingLetters = Literal["error", "number"]
"""What becomes of a letter that no font has: no figure, or its number such as [U+6F22] in the figure."""

BODY = 7.4
"""Size in points of ordinary text in the record figure; lengths of its layout are given for this size."""

SMALL_SHARE = 6.4 / BODY
"""Size of text that matters less, as a share of ordinary text."""

SMALLEST = 5.0
"""Points below which no text goes that `small_size` makes smaller: the least that journals print."""

_SIZES = (4.0, 16.0)
_COLOURS = ("paper", "ink", "quiet", "rule", "alert", "track", "bar")


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a figure looks.

    Args:
        paper: colour of the page, as "#RRGGBB" or a name of Matplotlib's, such as "white".
        ink: colour of text and of lines that matter.
        quiet: colour of text that matters less.
        rule: colour of rules between rows.
        alert: colour of warnings and of the intended use.
        track: colour behind a bar.
        bar: colour of a bar.
        fonts: names of installed font families, the first choice first, or paths of font files; "serif",
            "sans-serif" and "monospace" stand for the one that Matplotlib's settings have now. None for the
            DejaVu Sans that Matplotlib ships, which is the same on every machine. A letter that they have not
            comes from DejaVu Sans, then from any other font of the machine.
        size: size of ordinary text in points, 4 to 16.
        line_width: factor of all line widths.
        language: language of the figure's words, such as "en", "de" or "zh", or the path of a file with a
            translation; see `cxr_explain.figures.wording.Wording`.
        names: display names of pathologies. Labels still match by the pathology's own name.
        missing_letters: what becomes of a name with letters that no font of this machine has: "error", or
            "number" for a warning and the letter's number, such as [U+6F22], in the figure.

    Raises:
        OptionError: a value out of range, a colour that is none, a font family that is not installed, or a
            display name for a misspelt pathology.

    >>> style_of("dark").paper, style_of(Style(names={"effusion": "Pleural effusion"})).name_of("Effusion")
    ('#14171A', 'Pleural effusion')
    """

    paper: str = "#FFFFFF"
    ink: str = "#1A1A1A"
    quiet: str = "#5E5E5E"
    rule: str = "#C9C9C9"
    alert: str = "#A32A00"
    track: str = "#EDEDED"
    bar: str = "#8FA3B5"
    fonts: tuple[str, ...] = ()
    size: float = BODY
    line_width: float = 1.0
    language: str = "en"
    names: Mapping[str, str] = field(default_factory=dict, hash=False)
    missing_letters: MissingLetters = "error"

    def __post_init__(self) -> None:
        low, high = _SIZES
        if not low <= self.size <= high:
            raise OptionError(f"size={self.size!r}", expected=f"{low:g} to {high:g} points")
        if not 0 < self.line_width <= 10:
            raise OptionError(f"line_width={self.line_width!r}", expected="a factor of up to 10")
        if self.missing_letters not in get_args(MissingLetters):
            raise OptionError(
                f"missing_letters={self.missing_letters!r}", expected=f"one of {get_args(MissingLetters)}"
            )
        for part in _COLOURS:
            object.__setattr__(self, part, checked_colour(part, getattr(self, part)))
        if not isinstance(self.names, Mapping):
            raise OptionError(
                f"names={self.names!r}", expected="a mapping, such as {'Mass': 'Raumforderung'}"
            )
        for name in self.names:
            if (meant := near_miss(name)) is not None:
                raise OptionError(f"a display name for {name!r}", expected=f"a pathology, such as {meant!r}")
        _ = self.words, self.typeface  # refuse an unknown language, and fonts that are not there

    @cached_property
    def typeface(self) -> Typeface:
        """The fonts, as text is measured and drawn with them."""
        return Typeface(self.fonts, Path(self.language).stem)

    @cached_property
    def words(self) -> Wording:
        """The figure's words in its language."""
        return Wording(self.language)

    @classmethod
    def from_rcparams(cls, **changes: Any) -> Style:
        """The style that Matplotlib's settings have now: `plt.style.use`, `rc_context`, a matplotlibrc.

        The fonts are those of `font.family` that are installed, the size is `font.size`, the ink is
        `text.color`, the paper is `figure.facecolor`, and line widths follow `lines.linewidth`.

        Args:
            **changes: arguments of a `Style` that shall be others.

        Raises:
            OptionError: a value out of range.

        >>> import matplotlib
        >>> with matplotlib.rc_context({"font.size": 7, "text.color": "white", "figure.facecolor": "black"}):
        ...     style = Style.from_rcparams()
        >>> style.size, style.ink, style.paper
        (7.0, '#FFFFFF', '#000000')
        """
        import matplotlib
        from matplotlib.colors import to_hex, to_rgb

        rc = matplotlib.rcParams
        ink, paper = to_rgb(rc["text.color"]), to_rgb(rc["figure.facecolor"])
        own = DARK if sum(ink) > sum(paper) else LIGHT

        def between(share: float) -> str:
            red, green, blue = (share * i + (1 - share) * p for i, p in zip(ink, paper, strict=True))
            return to_hex((red, green, blue)).upper()

        found: dict[str, Any] = {
            "paper": between(0.0),
            "ink": between(1.0),
            "quiet": between(0.7),
            "rule": between(0.25),
            "alert": own.alert,
            "track": between(0.1),
            "bar": own.bar,
            "fonts": _families_in(rc["font.family"]),
            "size": min(max(float(rc["font.size"]), _SIZES[0]), _SIZES[1]),
            "line_width": rc["lines.linewidth"] / matplotlib.rcParamsDefault["lines.linewidth"],
        }
        return cls(**(found | changes))

    @property
    def scale(self) -> float:
        """How much larger text is than in the record figure's own layout."""
        return self.size / BODY

    def name_of(self, pathology: str) -> str:
        """A pathology as the figure's reader expects it: a display name, the language's, or its own.

        One that is read from right to left is isolated, so that it may stand in any sentence.
        """
        given = {canonical_pathology(name): shown for name, shown in self.names.items()}
        own = canonical_pathology(pathology)
        shown = one_line(given.get(own) or self.words.pathology(own) or "")
        return isolated(shown or display_name(pathology))

    def check_letters(self, texts: Iterable[str]) -> str:
        """The letters of some texts that no font has, each once, after a warning.

        Raises:
            OutputError: there are some, and `missing_letters` is "error".
        """
        letters = self.typeface.unknown_letters(texts)
        if not letters:
            return ""
        said = self.typeface.no_font_has(letters)
        if self.missing_letters == "error":
            raise OutputError(f"{said}, or have them drawn by their numbers, with missing_letters='number'")
        warnings.warn(f"{said}; the figure shows them by their numbers.", CxrExplainWarning, stacklevel=3)
        return letters


LIGHT = Style()
"""Dark ink on white: the record figure as it always was."""

DARK = Style(
    paper="#14171A",
    ink="#F2F2F2",
    quiet="#B4B8BC",
    rule="#4A4F54",
    alert="#FF9A6B",
    track="#2C3136",
    bar="#6F8496",
)
"""Light ink on a dark page, for slides and for a dark room."""

PRINT = Style(ink="#000000", quiet="#404040", rule="#9A9A9A", alert="#7A1F00", bar="#6E7F8E", line_width=1.15)
"""Black ink and stronger lines, which a journal's printer keeps."""

STYLES: dict[StyleName, Style] = {"light": LIGHT, "dark": DARK, "print": PRINT}


def style_of(style: Style | StyleName, *, language: str | None = None) -> Style:
    """A style, or the one of that name.

    Args:
        style: a style, or "light", "dark" or "print".
        language: language of the words, where it shall be another one.

    Raises:
        OptionError: another name, or a language that there is not.

    >>> style_of("print", language="de").words("radiograph")
    'Röntgenbild'
    """
    if language is not None:
        return replace(style_of(style), language=language)
    if isinstance(style, Style):
        return style
    if not isinstance(style, str) or style not in STYLES:
        raise OptionError(f"style={style!r}", expected=f"a Style, or one of {', '.join(get_args(StyleName))}")
    return STYLES[style]


def _families_in(families: Sequence[str]) -> tuple[str, ...]:
    """The families of Matplotlib's settings that this machine has, generic ones ("serif") spelt out."""
    import matplotlib
    from matplotlib.font_manager import fontManager

    there = {entry.name for entry in fontManager.ttflist}
    settings: dict[Any, Any] = {**matplotlib.rcParams}
    spelt = [name for each in families for name in settings.get(f"font.{each}", [each])]
    return tuple(dict.fromkeys(name for name in spelt if name in there))


def small_size(style: Style) -> float:
    """Size in points of text that matters less: a share of ordinary text, and no less than `SMALLEST`.

    >>> round(small_size(Style(size=7.0)), 2), small_size(Style(size=5.5)), small_size(Style(size=4.5))
    (6.05, 5.0, 4.5)
    """
    return min(style.size, max(style.size * SMALL_SHARE, SMALLEST))
