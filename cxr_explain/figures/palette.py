"""One colour for each pathology, the same in every figure, told apart on grey and with any colour vision.

The seven most frequent pathologies have the colours of Okabe and Ito; the others were chosen by
`benchmarks/colour_distances.py`, so that what often occurs together in NIH ChestX-ray14 and CheXpert is far
apart in the vision that tells it apart worst (`colour_vision.least_distances`). No two of the 18 are nearer
than `NEAR`, so that each keeps its colour whatever else is in the figure.

What may move is a name outside the 18, or a pathology near a colour that the user chose:

1. Colours that the user chose stay.
2. The others come in the order of `PATHOLOGIES`, then of names, wherever they rank. Each has its own colour
   unless that is nearer than `NEAR` to one that is there.
3. Those left over take, in the same order, the colour of `PREFERRED` nearest to their own that is at least
   `NEAR` from all that are there, and a second sign: a hatch in the overlay, dashes in the outline. Where
   there is no such colour, they share the nearest one that has a sign left.

So a second sign says that a colour is not the pathology's own, or not its own alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from itertools import count
from typing import Literal

from cxr_explain.errors import OptionError
from cxr_explain.figures.colour_vision import least_distances
from cxr_explain.pathologies import PATHOLOGIES, canonical_pathology, near_miss

Dashes = Literal["solid"] | tuple[float, tuple[float, ...]]
"""A line style of Matplotlib."""

Rgb = tuple[float, float, float]
"""Red, green and blue in [0, 1]."""

OKABE_ITO: tuple[str, ...] = (
    "#E69F00",  # orange
    "#56B4E9",  # sky blue
    "#009E73",  # bluish green
    "#CC79A7",  # reddish purple
    "#F0E442",  # yellow
    "#D55E00",  # vermillion
    "#0072B2",  # blue
)
"""Okabe and Ito's colours for classes, without black, which vanishes on a radiograph."""

PREFERRED: dict[str, str] = {
    "Atelectasis": "#D55E00",
    "Consolidation": "#ABEFC2",
    "Infiltration": "#009E73",
    "Pneumothorax": "#CC79A7",
    "Edema": "#0072B2",
    "Emphysema": "#B1BC75",
    "Fibrosis": "#FEAFDA",
    "Effusion": "#56B4E9",
    "Pneumonia": "#7E89D4",
    "Pleural_Thickening": "#59814B",
    "Cardiomegaly": "#E69F00",
    "Nodule": "#8766F0",
    "Mass": "#A86089",
    "Hernia": "#83C499",
    "Lung Lesion": "#89944F",
    "Fracture": "#C8EB9B",
    "Lung Opacity": "#F0E442",
    "Enlarged Cardiomediastinum": "#24EDFC",
}
"""The colour of each pathology."""

NEAR = 8.0
"""Colours nearer than this, by CIEDE2000 in the worst of four visions, are told apart by a second sign."""

LINE_STYLES: tuple[tuple[str, Dashes], ...] = (
    ("solid", "solid"),
    ("dashed", (0, (4.0, 1.8))),
    ("dotted", (0, (1.0, 1.3))),
    ("dash-dotted", (0, (4.0, 1.5, 1.0, 1.5))),
)
"""Names and Matplotlib dashes of the outlines: without a second sign, then by sign."""

INK = "#1A1A1A"
QUIET = "#5E5E5E"
RULE = "#C9C9C9"
ALERT = "#A32A00"
PHANTOM = "#5B3A8C"
UNKNOWN_BOX = "#FFFFFF"

_HEX = re.compile(r"#[0-9A-Fa-f]{6}")


@dataclass(frozen=True)
class ClassStyle:
    """How one pathology is drawn, in the overlay and in its key.

    Args:
        pathology: name of the pathology, as the ranking has it.
        rank: rank from 1.
        colour: colour as "#RRGGBB".
        sign: the second sign: 0 for none, else the hatch and the line style of that number. There are three;
            from 4 on they repeat, and the number at the peak alone tells.
    """

    pathology: str
    rank: int
    colour: str
    sign: int = 0

    @property
    def line(self) -> str:
        """Name of the outline's style, for example "dashed"."""
        return self._line_style[0]

    @property
    def dashes(self) -> Dashes:
        """The outline's style as Matplotlib has it."""
        return self._line_style[1]

    @property
    def _line_style(self) -> tuple[str, Dashes]:
        plain, *signs = LINE_STYLES
        return signs[(self.sign - 1) % len(signs)] if self.sign else plain

    @property
    def rgb(self) -> Rgb:
        """Red, green and blue in [0, 1]."""
        return rgb_of(self.colour)

    @property
    def ink(self) -> str:
        """Black or white, whichever reads better on the colour."""
        return "#000000" if reads_black(self.rgb) else "#FFFFFF"


def class_styles(
    pathologies: Sequence[str], colours: Mapping[str, str] | None = None
) -> tuple[ClassStyle, ...]:
    """The styles of the pathologies of one figure, in the order they are given: that of their ranks.

    A colour depends on which pathologies are there, and on no order.

    Args:
        pathologies: names by rank.
        colours: colour of a pathology by name, as "#RRGGBB" or a name of Matplotlib's, where it is not the
            package's own. Pathologies that are not in the figure are passed over: one table serves many.

    Raises:
        OptionError: a colour that is none, two colours for one pathology, or a misspelt pathology.

    >>> [style.colour for style in class_styles(["Mass", "Effusion"])]
    ['#A86089', '#56B4E9']
    >>> [style.colour for style in class_styles(["Mass", "Effusion"], {"pleural effusion": "orange"})]
    ['#A86089', '#FFA500']
    >>> class_styles(["Mass", "Effusion"], {"Effusion": "#a86089"})[0].line
    'dashed'
    """
    own = _own_colours(colours or {})
    names = [canonical_pathology(name) for name in pathologies]
    order = sorted(range(len(names)), key=lambda at: (_place(names[at]), names[at], at))
    given = _given(tuple(names[at] for at in order), tuple(own.get(names[at]) for at in order))
    looks = dict(zip(order, given, strict=True))
    return tuple(ClassStyle(name, at + 1, *looks[at]) for at, name in enumerate(pathologies))


def _given(names: tuple[str, ...], own: tuple[str | None, ...]) -> tuple[tuple[str, int], ...]:
    """Colour and second sign of each pathology, by the rule at the top of this module.

    Args:
        names: in the order in which colours are given.
        own: for each, the colour that the user chose.
    """
    wanted = [chosen or _preferred(name) for name, chosen in zip(names, own, strict=True)]
    if len(set(wanted)) == len(wanted) and set(wanted) <= set(PREFERRED.values()):
        return tuple((colour, 0) for colour in wanted)  # none of the 18 is near another: nothing to measure
    there = _Given(wanted)
    for at, colour in enumerate(wanted):
        if own[at]:
            there.give(at, colour, first_sign=0)
    for at, colour in enumerate(wanted):
        if at not in there.looks and there.is_free(colour):
            there.give(at, colour, first_sign=0)
    for at, colour in enumerate(wanted):
        if at not in there.looks:
            there.give(at, there.nearest(colour), first_sign=1)
    return tuple(there.looks[at] for at in range(len(names)))


class _Given:
    """The colours and signs that were given so far.

    Args:
        colours: all that may be given beside `PREFERRED`.

    Attributes:
        looks: colour and sign by the place of their pathology.
    """

    def __init__(self, colours: Iterable[str]) -> None:
        self.looks: dict[int, tuple[str, int]] = {}
        self._apart = _apart(tuple(dict.fromkeys((*PREFERRED.values(), *colours))))

    def is_free(self, colour: str) -> bool:
        return all(self._apart[colour][other] >= NEAR for other, _ in self.looks.values())

    def nearest(self, colour: str) -> str:
        """Where one moves that cannot have its colour."""
        return min(
            PREFERRED.values(),
            key=lambda other: (not self.is_free(other), self._sign(other, 1), self._apart[colour][other]),
        )

    def give(self, at: int, colour: str, *, first_sign: int) -> None:
        self.looks[at] = colour, self._sign(colour, first_sign)

    def _sign(self, colour: str, first: int) -> int:
        """The first sign that nothing near the colour has."""
        near = {sign for other, sign in self.looks.values() if self._apart[colour][other] < NEAR}
        return next(sign for sign in count(first) if sign not in near)


@lru_cache(maxsize=64)
def _apart(colours: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """The least distance between each two colours."""
    values = [rgb_of(colour) for colour in colours]
    rows = least_distances(values, values).tolist()
    return {colour: dict(zip(colours, row, strict=True)) for colour, row in zip(colours, rows, strict=True)}


def _preferred(name: str) -> str:
    """A pathology's own colour; that of another name is picked by the name's digest."""
    digest = sha256(name.encode(errors="surrogatepass")).digest()
    return PREFERRED.get(name) or tuple(PREFERRED.values())[int.from_bytes(digest) % len(PREFERRED)]


def _place(name: str) -> int:
    """Where a pathology stands in the order in which colours are given; all other names come after the 18."""
    return PATHOLOGIES.index(name) if name in PREFERRED else len(PATHOLOGIES)


def _own_colours(colours: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(colours, Mapping):
        raise OptionError(f"colours={colours!r}", expected="a mapping, such as {'Effusion': '#0072B2'}")
    own: dict[str, str] = {}
    for name, value in colours.items():
        if (meant := near_miss(name)) is not None:
            raise OptionError(f"a colour for {name!r}", expected=f"a pathology, such as {meant!r}")
        canonical, colour = canonical_pathology(name), checked_colour(f"colours[{name!r}]", value)
        if own.setdefault(canonical, colour) != colour:
            raise OptionError(f"two colours for {canonical!r}, {own[canonical]} and {colour}", expected="one")
    return own


def checked_colour(what: str, value: str) -> str:
    """A colour as "#RRGGBB".

    Args:
        what: what the colour is of, for the error.
        value: "#RRGGBB", or a name of Matplotlib's.

    Raises:
        OptionError: neither.

    >>> checked_colour("ink", "orange")
    '#FFA500'
    """
    if isinstance(value, str) and _HEX.fullmatch(value):
        return value.upper()
    # Imported here: a page with the package's own colours needs no Matplotlib.
    from matplotlib.colors import get_named_colors_mapping, to_hex

    named = get_named_colors_mapping()
    if isinstance(value, str) and value in named:
        return to_hex(named[value]).upper()
    raise OptionError(f"{what}={value!r}", expected="a colour such as '#0072B2', or a name of Matplotlib's")


def rgb_of(colour: str) -> Rgb:
    """Red, green and blue in [0, 1] of "#RRGGBB"."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red / 255, green / 255, blue / 255


def reads_black(rgb: Rgb) -> bool:
    """Whether black reads better than white on a colour.

    >>> reads_black((1.0, 1.0, 0.0)), reads_black((0.0, 0.0, 0.5))
    (True, False)
    """
    red, green, blue = rgb
    return 0.299 * red + 0.587 * green + 0.114 * blue > 0.42
