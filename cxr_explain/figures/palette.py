"""One colour for each pathology, the same in every figure, told apart on grey and with any colour vision."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from cxr_explain.errors import OptionError
from cxr_explain.pathologies import PATHOLOGIES, canonical_pathology, near_miss

Dashes = Literal["solid"] | tuple[float, tuple[float, ...]]
"""A line style of Matplotlib."""

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
    "Atelectasis": "#56B4E9",
    "Consolidation": "#8A5A00",
    "Infiltration": "#009E73",
    "Pneumothorax": "#0072B2",
    "Edema": "#CC79A7",
    "Emphysema": "#B5D33D",
    "Fibrosis": "#6A51A3",
    "Effusion": "#E69F00",
    "Pneumonia": "#D55E00",
    "Pleural_Thickening": "#7FD6C2",
    "Cardiomegaly": "#F0E442",
    "Nodule": "#F7A8B8",
    "Mass": "#C51B7D",
    "Hernia": "#A6D8FF",
    "Lung Lesion": "#4D9221",
    "Fracture": "#E0C8A0",
    "Lung Opacity": "#B79CED",
    "Enlarged Cardiomediastinum": "#4F7CAC",
}
"""The colour that each pathology has in a figure where no other colour is near."""

LINE_STYLES: tuple[tuple[str, Dashes], ...] = (
    ("solid", "solid"),
    ("dashed", (0, (4.0, 1.8))),
    ("dotted", (0, (1.0, 1.3))),
)
"""Names and Matplotlib dashes of the outlines, by second sign."""

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
        sign: index of the second sign, which tells apart what shares a colour; 0 for none.
    """

    pathology: str
    rank: int
    colour: str
    sign: int = 0

    @property
    def line(self) -> str:
        """Name of the outline's style, for example "dashed"."""
        return LINE_STYLES[self.sign % len(LINE_STYLES)][0]

    @property
    def dashes(self) -> Dashes:
        """The outline's style as Matplotlib has it."""
        return LINE_STYLES[self.sign % len(LINE_STYLES)][1]

    @property
    def rgb(self) -> tuple[float, float, float]:
        """Red, green and blue in [0, 1]."""
        red, green, blue = bytes.fromhex(self.colour[1:])
        return red / 255, green / 255, blue / 255

    @property
    def ink(self) -> str:
        """Black or white, whichever reads better on the colour."""
        red, green, blue = self.rgb
        return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.42 else "#FFFFFF"


def class_styles(
    pathologies: Sequence[str], colours: Mapping[str, str] | None = None
) -> tuple[ClassStyle, ...]:
    """The styles of the pathologies of one figure, in the order they are given: that of their ranks.

    Args:
        pathologies: names by rank.
        colours: colour of a pathology by name, as "#RRGGBB" or a name of Matplotlib's, where it is not the
            package's own; those of pathologies that are not in the figure are passed over.

    Raises:
        OptionError: a colour that is none, two colours for one pathology, or a misspelt pathology.

    >>> [style.colour for style in class_styles(["Mass", "Effusion"], {"pleural effusion": "#0072b2"})]
    ['#C51B7D', '#0072B2']
    """
    own = _own_colours(colours or {})
    taken: dict[str, int] = {}
    signs: dict[int, int] = {}
    chosen = [own.get(canonical_pathology(name)) or _preferred(name) for name in pathologies]
    for at in sorted(range(len(pathologies)), key=lambda at: _fixed_place(pathologies[at])):
        signs[at] = taken.get(chosen[at], 0)
        taken[chosen[at]] = signs[at] + 1
    return tuple(ClassStyle(name, at + 1, chosen[at], signs[at]) for at, name in enumerate(pathologies))


def _own_colours(colours: Mapping[str, str]) -> dict[str, str]:
    own: dict[str, str] = {}
    for name, value in colours.items():
        canonical, colour = canonical_pathology(name), _colour(name, value)
        if (meant := near_miss(name)) is not None:
            raise OptionError(f"a colour for {name!r}", expected=f"a pathology, such as {meant!r}")
        if own.setdefault(canonical, colour) != colour:
            raise OptionError(f"two colours for {canonical!r}, {own[canonical]} and {colour}", expected="one")
    return own


def _colour(pathology: str, value: str) -> str:
    """A colour as "#RRGGBB"."""
    # Imported here: a page needs the package's own colours, and no Matplotlib.
    from matplotlib.colors import get_named_colors_mapping, to_hex

    named = get_named_colors_mapping()
    if isinstance(value, str) and (_HEX.fullmatch(value) or value in named):
        return to_hex(named.get(value, value)).upper()
    expected = "'#RRGGBB' or a colour's name, such as 'orange'"
    raise OptionError(f"colours[{pathology!r}]={value!r}", expected=expected)


def _preferred(name: str) -> str:
    canonical = canonical_pathology(name)
    everyone = tuple(PREFERRED.values())
    return PREFERRED.get(canonical) or everyone[sha256(canonical.encode()).digest()[0] % len(everyone)]


def _fixed_place(name: str) -> tuple[int, str, str]:
    """Where a pathology stands in the order in which colours are given away: the 18 first, then by name."""
    canonical = canonical_pathology(name)
    place = PATHOLOGIES.index(canonical) if canonical in PATHOLOGIES else len(PATHOLOGIES)
    return place, canonical, name
