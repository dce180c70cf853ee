"""One colour and one line style for each rank, distinguishable on grey and without full colour vision.

The colours are those of Okabe and Ito without black, which vanishes on a radiograph. They are ordered so
that neighbouring ranks differ in both hue and lightness. From rank 8 on they repeat, told apart by the style
of the outline and by the number at the peak, which every rank has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
"""Okabe and Ito's colours for classes, without black."""

LINE_STYLES: tuple[tuple[str, Dashes], ...] = (
    ("solid", "solid"),
    ("dashed", (0, (4.0, 1.8))),
    ("dotted", (0, (1.0, 1.3))),
)
"""Names and Matplotlib dashes of the outlines: ranks 1 to 7, 8 to 14, 15 to 21; then from the start."""

INK = "#1A1A1A"
QUIET = "#5E5E5E"
RULE = "#C9C9C9"
ALERT = "#A32A00"
PHANTOM = "#5B3A8C"
UNKNOWN_BOX = "#FFFFFF"


@dataclass(frozen=True)
class RankStyle:
    """How one rank is drawn, in the overlay and in its key.

    Args:
        rank: rank from 1.
        colour: colour as "#RRGGBB".
        line: name of the outline's style, for example "dashed".
        dashes: the outline's style as Matplotlib has it.
    """

    rank: int
    colour: str
    line: str
    dashes: Dashes

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


def rank_style(rank: int) -> RankStyle:
    """The style of a rank, counted from 1.

    >>> rank_style(1).colour, rank_style(8).colour, rank_style(8).line
    ('#E69F00', '#E69F00', 'dashed')
    """
    turn, place = divmod(rank - 1, len(OKABE_ITO))
    line, dashes = LINE_STYLES[turn % len(LINE_STYLES)]
    return RankStyle(rank, OKABE_ITO[place], line, dashes)
