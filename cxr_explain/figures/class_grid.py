"""The K class maps before fusion, small, each relative to its own peak."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.figures import overlay
from cxr_explain.figures.artists import TextLine
from cxr_explain.figures.content import ContentBlock
from cxr_explain.figures.lettering import Typeface
from cxr_explain.figures.page import HEADING, SMALL, SMALLEST, Page
from cxr_explain.figures.texts import format_probability

_TITLE = 0.27
_GAP = 0.09
_LARGEST = 1.5
_LINE = 0.11
_REMARKS = 0.15
_ON_IMAGE: dict[str, Any] = {"colour": "white", "align": "center", "vertical": "center", "halo": "black"}
_TINY = SMALL - 0.4
_WIDEST_WORD = 0.95
_RAMP = 0.8
_NARROWEST_HEAD = 0.5  # of a cell: its rank and probability


@dataclass
class ClassGrid(ContentBlock):
    """One small image for each ranked pathology.

    Args:
        room: height in inches that the blocks beside it take anyway; the images grow until they fill it.
    """

    room: float

    @property
    def height(self) -> float:
        """Height in inches; 0 where there is nothing to show."""
        if not self.content.styles:
            return 0.0
        rows = sum(map(self._row_height, self._name_lines)) - _GAP
        return self._title_height + rows + self._scale_height

    def draw(self, page: Page, x: float, y: float) -> None:
        """Draw from the top left corner."""
        if not self.content.styles:
            return
        title, beside, below = self._title
        page.heading(x, y, title, aside=beside, room=self.width)
        for number, line in enumerate(below):
            page.text(x, y + _TITLE + _LINE * number, line, size=SMALL, colour=page.style.quiet)
        y += self._title_height
        shape = (page.samples(self._image[1]), page.samples(self._image[0]))
        background = overlay.grey(self.content.radiograph.display, shape)
        for row, name_lines in enumerate(self._name_lines):
            first = row * self._columns
            for index in range(first, min(first + self._columns, len(self.content.styles))):
                left = x + (index - first) * (self._cell_width + _GAP)
                self._cell(page, left, y, index, name_lines, background)
            y += self._row_height(name_lines)
        if self._shows_any:
            self._scale(page, x, y - _GAP + 0.07)

    def _cell(
        self, page: Page, x: float, y: float, index: int, name_lines: int, background: NDArray[np.float32]
    ) -> None:
        """Rank and probability, name, image, and how strong the peak is beside the strongest map's."""
        style = self.content.styles[index]
        prediction = self.content.explanation.ranking.top[index]
        values = self.content.explanation.class_maps[index]
        baseline = y + 0.085
        page.swatch(style, x, baseline - 0.07, 0.07, 0.07)
        page.text(x + 0.11, baseline, str(style.rank), size=SMALL, face="bold")
        probability = format_probability(prediction.probability)
        right = max(self._image[0], min(self._cell_width, _NARROWEST_HEAD))
        page.text(x + right, baseline, probability, size=_TINY, colour=page.style.quiet, align="right")
        lines, size = self._names[index]
        for number, line in enumerate(lines):
            page.text(x, baseline + _LINE * (number + 1), line, size=size)
        top = baseline + _LINE * name_lines + 0.05
        # Of the evidence alone: a strong cell among negatives would shrink to a speck between them.
        evidence = np.maximum(values, 0)
        field = self.content.explanation.geometry.maps_to_radiograph(evidence, background.shape)
        page.image(overlay.colour_map_over(background, field), x, top, *self._image, framed=True)
        peak = self._peak(values)
        if peak is None:
            unreached = prediction.pathology in self.content.explanation.without_gradient
            why = "no gradient reaches this layer" if unreached else "no positive evidence"
            self._say(page, x, top, self.content.words(why))
            return
        below = [*self._of_peak(values, peak), *self._of_stability(prediction.pathology)]
        room, quiet = self._cell_width, page.style.quiet
        for number, text in enumerate(below):
            place = (x, top + self._image[1] + 0.095 + _LINE * number)
            page.text(*place, text, size=_TINY, colour=quiet, room=room, smallest=SMALLEST)

    def _of_peak(self, values: NDArray[np.float32], peak: float) -> Iterator[str]:
        """How strong the peak is beside the strongest map's, and whether it lies in the margin."""
        hidden = self._is_hidden(values)
        if hidden or not self._single:
            said = "peak in the margin" if hidden else "peak of the strongest"
            yield self.content.words(said, share=f"{100 * peak:.0f}" if peak >= 0.005 else "<1")

    def _of_stability(self, pathology: str) -> Iterator[str]:
        """How far the map stays, and how far it is that of other models, where that was asked for."""
        for said, found in self.content.stabilities.items():
            if pathology in found.maps:
                yield self.content.words(said, share=f"{found[pathology]:.2f}")

    def _is_hidden(self, values: NDArray[np.float32]) -> bool:
        """Whether a map is strongest in the margin, outside of the radiograph."""
        geometry = self.content.explanation.geometry
        peak = geometry.peak_of(values)
        return peak is not None and not geometry.sees(peak)

    def _say(self, page: Page, x: float, y: float, text: str) -> None:
        """Say why there is no map, on the image with the top left corner (x, y)."""
        width_, height = self._image
        lines = self.content.look.typeface.wrap(text, width_ - 0.04, _TINY)
        for number, line in enumerate(lines):
            middle = y + height / 2 + (number - (len(lines) - 1) / 2) * 0.1
            page.axes.add_artist(
                TextLine(
                    x + width_ / 2,
                    middle,
                    line,
                    size=_TINY * page.scale,
                    typeface=page.style.typeface,
                    **_ON_IMAGE,
                )
            )

    def _peak(self, values: NDArray[np.float32]) -> float | None:
        """The map's peak beside the largest of all K: the images alone would make a weak map look strong."""
        own = float(np.max(values, initial=0.0))
        return own / float(np.max(self.content.explanation.class_maps)) if own > 0 else None

    def _scale(self, page: Page, x: float, y: float) -> None:
        ramp = np.tile(np.linspace(0, 1, 128, dtype=np.float32), (8, 1))
        colours = overlay.colour_map_over(np.full_like(ramp, 0.35), ramp)
        page.text(x, y + 0.07, self.content.words("none"), size=SMALL, colour=page.style.quiet)
        page.image(colours, x + self._ramp, y, _RAMP, 0.07)
        beside, lines = self._scale_lines
        left, top = (x + self._beside_ramp, y) if beside else (x, y + _LINE)
        for number, line in enumerate(lines):
            page.text(left, top + 0.07 + _LINE * number, line, size=SMALL, colour=page.style.quiet)

    @property
    def _ramp(self) -> float:
        """Where the ramp begins, after the word for its start."""
        return max(0.31, self.content.look.typeface.width(self.content.words("none"), SMALL) + 0.06)

    @property
    def _beside_ramp(self) -> float:
        return self._ramp + _RAMP + 0.06

    @cached_property
    def _scale_lines(self) -> tuple[bool, list[str]]:
        """Whether what the ramp means stands beside it and not below, and its lines."""
        typeface = self.content.look.typeface
        text = self.content.words("own peak" if self._single else "own peak, of the strongest")
        room = self.width - self._beside_ramp
        beside = all(typeface.width(word, SMALL) <= room for word in text.split())
        return beside, typeface.wrap(text, room if beside else self.width, SMALL)

    @property
    def _scale_height(self) -> float:
        beside, lines = self._scale_lines
        return _REMARKS + _LINE * (len(lines) - beside) if self._shows_any else 0.0

    @property
    def _shows_any(self) -> bool:
        return bool(self.content.explanation.class_maps.max(initial=0) > 0)

    @property
    def _single(self) -> bool:
        return len(self.content.styles) == 1

    @cached_property
    def _title(self) -> tuple[str, str, list[str]]:
        """The title, and what is said beside it, or below where that is too long."""
        words, typeface = self.content.words, self.content.look.typeface
        title = words("class map" if self._single else "class maps")
        which = "one" if self._single else "before fusion" if self.content.fused else "one by one"
        aside = words(f"class maps, {which}")
        used = typeface.width(typeface.clean(title), HEADING, "bold") + 0.09
        if used + typeface.width(aside, SMALL) <= self.width:
            return title, aside, []
        return title, "", typeface.wrap(aside, self.width, SMALL)

    @property
    def _title_height(self) -> float:
        return _TITLE + _LINE * len(self._title[2])

    @cached_property
    def _layout(self) -> tuple[int, tuple[float, float]]:
        """Columns and image size: the largest images that fit the room, else the flattest grid."""
        k = len(self.content.styles)
        columns_with_names = [n for n in range(1, k + 1) if self._free(n) >= self._widest_word] or [1]
        sizes = [(columns, self._size(columns)) for columns in columns_with_names]
        fitting = [
            (size[0], columns, size)
            for columns, size in sizes
            if self._total(columns, size) <= self.room and self._free(columns) >= _NARROWEST_HEAD
        ]
        if fitting:
            _, columns, size = max(fitting, key=lambda entry: (round(entry[0], 3), -entry[1]))
            return columns, size
        return min(
            (entry for entry in sizes if self._free(entry[0]) >= _NARROWEST_HEAD or entry[0] == 1),
            key=lambda entry: self._total(*entry),
        )

    def _size(self, columns: int) -> tuple[float, float]:
        height, width_ = self.content.radiograph.shape
        scale = min(self._free(columns) / width_, _LARGEST / max(height, width_))
        return max(width_ * scale, 0.02), max(height * scale, 0.02)

    def _total(self, columns: int, size: tuple[float, float]) -> float:
        rows = math.ceil(len(self.content.styles) / columns)
        return self._title_height + rows * (self._cell_extra(2) + size[1] + _GAP) - _GAP + self._scale_height

    @property
    def image_width(self) -> float:
        """Width of each small image in inches."""
        return self._image[0]

    @property
    def _columns(self) -> int:
        return self._layout[0]

    @property
    def _image(self) -> tuple[float, float]:
        return self._layout[1]

    @property
    def _cell_width(self) -> float:
        """The image's, and more where the block has the room for longer names."""
        return min(self._free(self._columns), max(self._image[0], 0.95))

    def _free(self, columns: int) -> float:
        """Width that each of so many columns has."""
        return (self.width - _GAP * (columns - 1)) / columns

    @cached_property
    def _widest_word(self) -> float:
        """Width of the widest word of a name in the smallest letters, of those that a column is made for."""
        measure = self.content.look.typeface.width
        words = (word for name in self._clean_names for word in name.split())
        return min(max(measure(word, SMALLEST) for word in words), _WIDEST_WORD)

    @cached_property
    def _clean_names(self) -> list[str]:
        clean, name_of = self.content.look.typeface.clean, self.content.look.name_of
        return [clean(name_of(each.pathology)) for each in self.content.explanation.ranking.top]

    def _row_height(self, name_lines: int) -> float:
        return self._cell_extra(name_lines) + self._image[1] + _GAP

    def _cell_extra(self, name_lines: int) -> float:
        """Height of a cell beyond its image: rank, name, peak, and stability where it was asked for."""
        lines = name_lines + len(self.content.stabilities)
        return 0.085 + _LINE * lines + 0.05 + 0.115

    @cached_property
    def _name_lines(self) -> list[int]:
        """For each row of the grid, the lines of the longest name in it."""
        counts = [len(lines) for lines, _ in self._names]
        return [max(counts[i : i + self._columns]) for i in range(0, len(counts), self._columns)]

    @cached_property
    def _names(self) -> list[tuple[list[str], float]]:
        typeface = self.content.look.typeface
        return [_fit_name(name, self._cell_width, typeface) for name in self._clean_names]


def _fit_name(name: str, limit: float, typeface: Typeface) -> tuple[list[str], float]:
    """A name on one line or two, in a smaller size where a word would not fit, and that size."""
    longest = max(name.split(), key=len)
    size = SMALL
    while size > SMALLEST and typeface.width(longest, size) > limit:
        size -= 0.2
    if typeface.width(longest, size) > limit:
        first, _, rest = name.partition(" ")
        return [typeface.shorten(part, limit, size) for part in (first, rest) if part], size
    return typeface.wrap(name, limit, size, lines=2), size
