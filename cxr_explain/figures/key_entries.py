"""A key as a list of signs and words, laid out in lines that fill a width: one for any number of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from cxr_explain.figures import overlay
from cxr_explain.figures.content import Content
from cxr_explain.figures.key import ramp_pixels
from cxr_explain.figures.marks import Field, Spot, arrow_head
from cxr_explain.figures.palette import ClassStyle, Dashes
from cxr_explain.figures.pieces import BOX_DASHES, HATCH_PERIOD, ShownPart, has_peak_beyond
from cxr_explain.figures.style import Style, small_size
from cxr_explain.geometry import Geometry

Sign = Literal[
    "class", "ramp", "number", "beyond", "outline", "second", "unseen", "box", "mask", "winner", "point"
]

SWATCH = 0.24
TEXT = SWATCH + 0.07
LINE = 0.165
GAP = 0.2
_HEIGHT = 0.1
_NEXT_LINE = 0.125
_INSET = 0.018
_FROM_EDGE = 0.04  # of a picture, to a key in it
_PAD = 0.05


_NEUTRAL = ClassStyle("", 1, "#808080")


@dataclass(frozen=True)
class KeyEntry:
    """One sign and what it means.

    Args:
        sign: what is drawn.
        text: what it means.
        style: how the pathology is drawn that it stands for; grey for a sign of all of them.
        rank: the pathology's rank, in a key of one picture.
        dashes: style of an outline.
    """

    sign: Sign
    text: str
    style: ClassStyle = _NEUTRAL
    rank: int | None = None
    dashes: Dashes = "solid"

    def width(self, look: Style) -> float:
        """Width of sign and words."""
        return TEXT + look.typeface.width(look.typeface.clean(self.text), self.size(look)) + self._rank_room

    def size(self, look: Style) -> float:
        """Size of the words in points, where ordinary text has 7.4."""
        return 7.4 if self.sign == "class" else small_size(look) / look.scale

    @property
    def _rank_room(self) -> float:
        return 0.0 if self.rank is None else 0.13

    def lines(self, look: Style, room: float) -> list[str]:
        """The words, on one line where there is room."""
        return look.typeface.wrap(self.text, room - TEXT - self._rank_room, self.size(look))

    def draw(self, field: Field, x: float, y: float, *, ink: str, room: float) -> None:
        """Draw with the left end at x and the middle of the first line at y."""
        _SIGNS[self.sign](field, (x, y), self, ink)
        size, left = self.size(field.style), x + TEXT + self._rank_room
        if self.rank is not None:
            field.text(x + TEXT + 0.07, y, str(self.rank), size=size, face="bold", align="right", colour=ink)
        for at, line in enumerate(self.lines(field.style, room)):
            field.text(left, y + _NEXT_LINE * at, line, size=size, align="left", colour=ink)


def class_entries(styles: Sequence[ClassStyle], look: Style, *, ranked: bool) -> list[KeyEntry]:
    """An entry for each pathology.

    Args:
        styles: how each is drawn.
        look: how the figure looks.
        ranked: whether the ranks are those of one picture, and are to be named.
    """
    return [
        KeyEntry("class", look.name_of(style.pathology), style, style.rank if ranked else None)
        for style in styles
    ]


def sign_entries(
    contents: Sequence[Content],
    columns: Sequence[str],
    look: Style,
    windows: Sequence[ShownPart | None] | None = None,
) -> list[KeyEntry]:
    """An entry for each sign that some pictures have.

    Args:
        contents: what the pictures show.
        columns: kinds of pictures: "fused", "class", "winner", "boxes", "masks", "predictions".
        look: how the figure looks.
        windows: for each of the contents, the part that is shown; all of it by default.
    """
    words, shown = look.words, {*columns}
    maps = bool(shown & {"fused", "class"}) and any(c.styles for c in contents)
    geometries = [content.explanation.geometry for content in contents]
    shown_parts = windows or [None] * len(contents)
    beyond = any(map(_has_peak_beyond, contents, shown_parts))
    boxes = bool(shown & {"boxes"}) and any(content.boxes for content in contents)
    faint = "fused" in shown and any(map(_has_faint, contents))
    second = any(style.sign for content in contents for style in content.styles)
    wanted: list[tuple[Sign, bool, str]] = [
        ("ramp", maps, "weakest to strongest evidence in that picture"),
        ("number", maps, "strongest cell, with the rank"),
        ("beyond", maps and beyond, "strongest cell beyond the edge"),
        (
            "outline",
            maps and any(c.contours for c in contents),
            "outline, unless faint" if faint else "outline",
        ),
        ("second", second, "second sign"),
        ("winner", "winner" in shown, "the class map that is largest"),
        ("unseen", maps and not all(g.sees_everything for g in geometries), "not seen by the model"),
        ("box", boxes, "reference box"),
        ("mask", "masks" in shown, "reference mask"),
        ("point", "predictions" in shown, "operating point"),
    ]
    first = next((content.styles[0] for content in contents if content.styles), _NEUTRAL)
    return [KeyEntry(sign, words(text), first) for sign, is_there, text in wanted if is_there]


def _has_faint(content: Content) -> bool:
    """Whether a map has evidence, and no outline as that is faint."""
    maps = content.explanation.maps
    return bool((maps.max(axis=(1, 2), initial=0) > 0).sum() > overlay.strong(maps).sum())


def _has_peak_beyond(content: Content, window: ShownPart | None) -> bool:
    explanation = content.explanation
    geometry = explanation.geometry if window is None else explanation.geometry.within(window)
    return has_peak_beyond(explanation.class_maps, geometry)


def lines_of(entries: Sequence[KeyEntry], width: float, look: Style) -> list[list[KeyEntry]]:
    """Entries in lines no wider than a width; one that is wider stands alone."""
    lines: list[list[KeyEntry]] = []
    used = 0.0
    for entry in entries:
        needed = entry.width(look)
        if not lines or used + GAP + needed > width:
            lines.append([])
            used = -GAP
        lines[-1].append(entry)
        used += GAP + needed
    return lines


def key(field: Field, *, groups: Sequence[Sequence[KeyEntry]], ink: str) -> None:
    """Draw groups of entries from the top left corner, each group from a new line on."""
    y = LINE / 2
    for line in _all_lines(groups, field.width, field.style):
        x = 0.0
        for entry in line:
            entry.draw(field, x, y, ink=ink, room=field.width - x)
            x += entry.width(field.style) + GAP
        y += _height(line, field.width, field.style)


def key_height(groups: Sequence[Sequence[KeyEntry]], width: float, look: Style) -> float:
    """Height of what `key` draws."""
    return sum(_height(line, width, look) for line in _all_lines(groups, width, look))


def _all_lines(groups: Sequence[Sequence[KeyEntry]], width: float, look: Style) -> Iterator[list[KeyEntry]]:
    for entries in groups:
        yield from lines_of(entries, width, look)


def _height(line: Sequence[KeyEntry], width: float, look: Style) -> float:
    """Height of a line: where an entry stands alone, its words may take several."""
    return LINE + _NEXT_LINE * (len(line[0].lines(look, width)) - 1 if len(line) == 1 else 0)


def inset_key(field: Field, *, entries: Sequence[KeyEntry], loc: str) -> None:
    """A key on a dark plate in a corner of a picture, one entry a line; it says how many have no room."""
    look = field.style
    room = field.width - 2 * (_FROM_EDGE + _PAD)
    heights = [_height([entry], room, look) for entry in entries]
    free = field.height - 2 * (_FROM_EDGE + _PAD)
    shown = list(entries)
    if sum(heights) > free:
        fitting = sum(1 for end in range(1, len(heights) + 1) if sum(heights[:end]) + LINE <= free)
        shown = shown[:fitting]
    more = (
        look.words("more pathologies", count=len(entries) - len(shown)) if len(shown) < len(entries) else ""
    )
    widths = [min(entry.width(look), room) for entry in shown]
    width = max([*widths, field.text_width(more, field.small)]) + 2 * _PAD
    height = sum(heights[: len(shown)]) + (LINE if more else 0.0) + 2 * _PAD
    left = field.width - width - _FROM_EDGE if "right" in loc else _FROM_EDGE
    top = field.height - height - _FROM_EDGE if "lower" in loc else _FROM_EDGE
    x, y = field.placement.centred(left + width / 2, top + height / 2, width, height)
    field.plate(x, y, width, height)
    left, line = x - width / 2 + _PAD, y - height / 2 + _PAD + LINE / 2
    for entry, taken in zip(shown, heights, strict=False):
        entry.draw(field, left, line, ink="#FFFFFF", room=room)
        line += taken
    if more:
        field.text(left, line, more, size=field.small, align="left", colour="#FFFFFF")


def _swatch(field: Field, at: Spot, entry: KeyEntry, _ink: str) -> None:
    """The colour and the second sign of a pathology, in the map and in its outline."""
    inset = _INSET if entry.style.sign else 0.0
    width, height = SWATCH - 2 * inset, _HEIGHT - 2 * inset
    pixels = overlay.swatch(
        entry.style, (field.samples(height), field.samples(width)), field.samples(HATCH_PERIOD)
    )
    field.image(pixels, at[0] + inset, at[1] - height / 2, width, height)
    if inset:
        frame = {"facecolor": "none", "edgecolor": entry.style.colour, "linestyle": entry.style.dashes}
        field.box(at[0], at[1] - _HEIGHT / 2, SWATCH, _HEIGHT, linewidth=0.9, **frame)


def _second(field: Field, at: Spot, _entry: KeyEntry, ink: str) -> None:
    _swatch(field, at, KeyEntry("class", "", ClassStyle("", 1, _NEUTRAL.colour, 1)), ink)


def _ramp(field: Field, at: Spot, entry: KeyEntry, _ink: str) -> None:
    shape = (field.samples(_HEIGHT), field.samples(SWATCH))
    pixels = ramp_pixels((entry.style,), overlay.MAX_OPACITY, shape, field.samples(HATCH_PERIOD))
    field.image(pixels, at[0], at[1] - _HEIGHT / 2, SWATCH, _HEIGHT)


def _number(field: Field, at: Spot, _entry: KeyEntry, ink: str) -> None:
    x, y = at[0] + SWATCH / 2, at[1]
    field.dot(x, y, 0.125, face_colour="none", edge_colour=ink)
    field.text(x, y, "n", size=field.small - 0.8, face="bold", colour=ink)


def _beyond(field: Field, at: Spot, entry: KeyEntry, ink: str) -> None:
    _number(field, at, entry, ink)
    field.draw(arrow_head((at[0] + SWATCH / 2, at[1]), (1.0, 0.0), ink))


def _outline(field: Field, at: Spot, entry: KeyEntry, ink: str) -> None:
    x, y = at
    field.line([x, x + SWATCH], [y, y], colour=ink, weight=1.0, dashes=entry.dashes, shadow=False)


def _box(field: Field, at: Spot, _entry: KeyEntry, ink: str) -> None:
    look = {"facecolor": "none", "edgecolor": ink, "linewidth": 0.9, "linestyle": BOX_DASHES}
    field.box(at[0], at[1] - 0.045, SWATCH, 0.09, **look)


def _unseen(field: Field, at: Spot, _entry: KeyEntry, _ink: str) -> None:
    """The hatch as it is drawn on the image, by the same code."""
    rows, columns = field.samples(_HEIGHT), field.samples(SWATCH)
    nothing_seen = Geometry((rows, columns), 1, columns, rows, 1)
    grey = np.full((rows, columns, 3), 128, np.uint8)
    pixels = overlay.mark_unseen(grey, nothing_seen, field.samples(HATCH_PERIOD))
    field.image(pixels, at[0], at[1] - _HEIGHT / 2, SWATCH, _HEIGHT)


def _mask(field: Field, at: Spot, _entry: KeyEntry, ink: str) -> None:
    look = {"facecolor": (0.5, 0.5, 0.5, 0.35), "edgecolor": ink, "linewidth": 0.9}
    field.box(at[0], at[1] - 0.045, SWATCH, 0.09, **look)


def _winner(field: Field, at: Spot, _entry: KeyEntry, _ink: str) -> None:
    look = {"facecolor": (0.5, 0.5, 0.5, 0.45), "linewidth": 0}
    field.box(at[0], at[1] - _HEIGHT / 2, SWATCH, _HEIGHT, **look)


def _point(field: Field, at: Spot, _entry: KeyEntry, ink: str) -> None:
    x, y = at[0] + SWATCH / 2, at[1]
    field.line([x, x], [y - 0.055, y + 0.055], colour=ink, weight=1.1, shadow=False)


_SIGNS: dict[Sign, Callable[[Field, Spot, KeyEntry, str], None]] = {
    "class": _swatch,
    "ramp": _ramp,
    "number": _number,
    "beyond": _beyond,
    "outline": _outline,
    "second": _second,
    "unseen": _unseen,
    "box": _box,
    "mask": _mask,
    "winner": _winner,
    "point": _point,
}
