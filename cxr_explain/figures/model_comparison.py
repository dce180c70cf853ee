"""Models, or methods, beside each other on one radiograph: their maps, and what differs in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from string import ascii_uppercase

from cxr_explain.errors import OptionError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures import key_entries, marks
from cxr_explain.figures.content import Content
from cxr_explain.figures.fitting import smallest
from cxr_explain.figures.grid import DPI, WIDTH_MM, Cell, PanelLetters, PictureGrid
from cxr_explain.figures.key_entries import KeyEntry
from cxr_explain.figures.on_axes import paint_overlay
from cxr_explain.figures.output import ExplanationFigure
from cxr_explain.figures.page import Page
from cxr_explain.figures.palette import LINE_STYLES, Dashes, class_styles
from cxr_explain.figures.patient_panel import (
    Crop,
    CropUnit,
    class_caption,
    head,
    notes_of,
    paint_pathology,
    ranks_of,
    window_of,
)
from cxr_explain.figures.pieces import Pieces, ShownPart
from cxr_explain.figures.style import BODY, Style, small_size, style_of
from cxr_explain.figures.texts import format_probability
from cxr_explain.measures.differences import (
    Differences,
    MapDifference,
    PathologyDifference,
    differences,
)
from cxr_explain.options import StyleName, check_option
from cxr_explain.pathologies import ReferenceLabelsLike, canonical_pathology
from cxr_explain.radiograph import Radiograph

_LINES: tuple[Dashes, ...] = (
    *(dashes for _, dashes in LINE_STYLES),
    (0, (8.0, 2.0)),
    (0, (1.0, 4.0)),
    (0, (6.0, 1.5, 1.0, 1.5, 1.0, 1.5)),
    (0, (2.0, 1.0)),
)
"""Outlines of models, the first first."""

_ROW = 0.165
_GAP = 0.12
_BETWEEN = 0.12  # two tables
_LONGEST_HEAD = 0.9  # word of a head for which a column gets wider


class ComparisonFigure(ExplanationFigure):
    """A figure of a comparison, with the numbers that it shows."""

    differences: Differences
    """What differs between the models, as data."""


def compare(
    explanations: Mapping[str, Explanation],
    *,
    pathologies: int | Sequence[str] = 3,
    width_mm: float = WIDTH_MM,
    style: Style | StyleName | None = None,
    colours: Mapping[str, str] | None = None,
    dpi: float = DPI,
    letters: PanelLetters = True,
    captions: bool = True,
    reference_labels: ReferenceLabelsLike = None,
    radiograph: Radiograph | None = None,
    crop: Crop = None,
    crop_unit: CropUnit = "px",
    scale_bar: bool = True,
    key: bool = True,
    table: bool = True,
    provenance: bool = False,
    disclaimer: bool = True,
) -> ComparisonFigure:
    """Draw explanations of one radiograph beside each other, and what differs between them.

    The first row has the radiograph and the fused overlay of each model; a row for each pathology has the
    class maps, and at its left the outlines and peaks of all models on one radiograph. The table says what
    differs in numbers; `differences` of the figure has them as data.

    Args:
        explanations: two or more of one radiograph, by the name of the model or the method.
        pathologies: the pathologies whose class maps are drawn, or how many: those that most models rank.
        width_mm: width of the figure in mm.
        style: how the figure looks; by default as Matplotlib's settings say.
        colours: colour of a pathology by name, where it is not the package's own.
        dpi: pixels in an inch of the images, 150 to 1200.
        letters: name the pictures a, b, c; "A" for capitals, False for none.
        captions: small text below the pictures.
        reference_labels: reference labels, whose boxes are drawn; by default those that the first explanation
            brought with it.
        radiograph: wanted where explanations were loaded, as that does not store pixels.
        crop: part of the radiograph that is shown, see `panel`.
        crop_unit: what numbers in `crop` are.
        scale_bar: a bar of a round length, where the pixel spacing is known.
        key: the colour key.
        table: the table of ranks, probabilities, distances, overlap and correlation.
        provenance: say with which models, weights and methods the maps were made.
        disclaimer: say that the figure is for research use only.

    Returns:
        A Matplotlib figure without pyplot, with the numbers as `differences`.

    Raises:
        OptionError: fewer than two explanations, other radiographs, or a pathology that none of them ranks.
        OutputError: no radiograph, or not the one that was explained.

    >>> from cxr_explain.explaining.example import example_explanation
    >>> figure = compare({"A": example_explanation(), "B": example_explanation()}, pathologies=1)
    >>> figure.differences.pathologies[0].pairs[0].peak_distance_px
    0.0
    """
    look = Style.from_rcparams() if style is None else style_of(style)
    check_option("crop_unit", crop_unit, CropUnit)
    known = radiograph or next((each.radiograph for each in explanations.values() if each.radiograph), None)
    found = differences(explanations, pixel_spacing=known.pixel_spacing if known else None)
    ranked = tuple(each.pathology for each in found.pathologies)
    first = next(iter(explanations.values()))
    if reference_labels is None and first.reference is not None:
        reference_labels = first.reference.labels
    contents = [Content.of(each, known, reference_labels, look=look) for each in explanations.values()]
    names = dict.fromkeys((*ranked, *(box.pathology for box in contents[0].boxes)))
    shared = class_styles(tuple(names), colours)
    contents = [replace(content, shared=shared) for content in contents]
    window = window_of(contents[0], crop, crop_unit)
    look.check_letters(explanations)
    compared = _Compared(look, found, contents, window, captions, scale_bar, key, table)
    shown = _shown(pathologies, found)
    grid = PictureGrid(
        look,
        [compared.overview(), *(compared.row(each) for each in shown)],
        width_mm,
        dpi,
        letters=letters,
        names=["", *(look.name_of(each.pathology) for each in shown)] if shown else None,
        key=compared.key() if key else (),
        notes=notes_of(
            contents,
            look,
            scale_bar=scale_bar,
            class_maps=bool(shown),
            provenance=provenance,
            disclaimer=disclaimer,
            measures=compared.measures if table else (),
        ),
        blocks=[partial(_Table, look, compared)] if table else (),
    )
    figure = grid.draw(ComparisonFigure)
    figure.differences = found
    return figure


def _shown(pathologies: int | Sequence[str], found: Differences) -> list[PathologyDifference]:
    if isinstance(pathologies, int):
        if pathologies < 0:
            raise OptionError(f"pathologies={pathologies}", expected="a number from 0, or names")
        return list(found.pathologies[:pathologies])
    asked = [pathologies] if isinstance(pathologies, str) else pathologies
    ranked = {each.pathology: each for each in found.pathologies}
    for name in asked:
        if canonical_pathology(name) not in ranked:
            raise OptionError(f"the pathology {name!r}", expected=f"one that is ranked: {', '.join(ranked)}")
    return [ranked[canonical_pathology(name)] for name in asked]


@dataclass
class _Compared:
    """What the figure shows."""

    look: Style
    found: Differences
    contents: Sequence[Content]
    window: ShownPart | None
    captions: bool
    scale_bar: bool
    in_key: bool
    in_table: bool

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Each further model against the first: what the figure says in numbers."""
        first, *others = self.found.names
        return [(first, other) for other in others]

    def overview(self) -> list[Cell]:
        """The radiograph, and the fused overlay of each model."""
        plain, words = self.contents[0], self.look.words
        title = words("phantom" if plain.phantom else "radiograph")
        cells = [Cell(plain, self._radiograph, self.window, title=title)]
        for content, title in zip(self.contents, self.titles, strict=True):
            caption = ranks_of(content) if self.captions else ""
            paint = partial(paint_overlay, sides=False)
            cells.append(Cell(content, paint, self.window, title=title, caption=caption))
        return cells

    def row(self, difference: PathologyDifference) -> list[Cell]:
        """The outlines of all models on one radiograph, and the class map of each."""
        pathology = difference.pathology
        paint = partial(self._outlines, pathology=pathology)
        told = self.in_table and len(self.pairs) > 1  # in the table, where they are easier to compare
        pairs = [pair for pair in difference.pairs if (pair.one, pair.other) in self.pairs and not told]
        caption = " · ".join(map(self._in_words, pairs)) if self.captions else ""
        title = self.look.words("outlines of all models")
        cells = [Cell(self.contents[0], paint, self.window, title=title, caption=caption)]
        for content in self.contents:
            style = content.style_of(pathology)
            caption = class_caption(content, style) if style and self.captions else ""
            paint = partial(paint_pathology, pathology=pathology)
            cells.append(Cell(content, paint, self.window, caption=caption))
        return cells

    @property
    def letters(self) -> tuple[str, ...]:
        """A letter for each model."""
        return tuple(ascii_uppercase[at % 26] for at in range(len(self.contents)))

    @property
    def titles(self) -> list[str]:
        """The models with their letters."""
        named = zip(self.letters, self.found.names, strict=True)
        return [f"{letter} {name}" for letter, name in named]

    @property
    def measures(self) -> list[str]:
        """What one model alone explains, and how what differs is measured."""
        words = self.look.words
        in_mm = self.contents[0].radiograph.pixel_spacing is not None
        unit = "" if in_mm else words("share of the diagonal")
        alone = ", ".join(
            f"{self.look.name_of(pathology)} ({self.letter_of(model)})"
            for pathology, model in self.found.ranked_by_one_only.items()
        )
        texts = [words("explained by one alone", names=alone)] if alone else []
        return [*texts, words("how differences are measured", unit=unit)]

    def key(self) -> list[list[KeyEntry]]:
        """Pathologies, models, and the signs of the maps."""
        styles = self.contents[0].shared
        models = [
            KeyEntry("outline", title, dashes=_LINES[at % len(_LINES)])
            for at, title in enumerate(self.titles)
        ]
        kinds = ["fused", "class", *(["boxes"] if self.contents[0].boxes else [])]
        windows = [self.window] * len(self.contents)
        signs = key_entries.sign_entries(self.contents, kinds, self.look, windows)
        return [key_entries.class_entries(styles, self.look, ranked=False), models, signs]

    def distance(self, pair: MapDifference) -> str:
        """The distance of two peaks in words; '–' where there is none."""
        if pair.peak_distance_px is None or pair.peak_distance_share is None:
            return "–"
        if pair.peak_distance_mm is not None:
            return f"{pair.peak_distance_mm:.0f} mm"
        return f"{pair.peak_distance_px:.0f} px ({100 * pair.peak_distance_share:.1f} %)"

    def letter_of(self, name: str) -> str:
        """The letter of a model."""
        return self.letters[self.found.names.index(name)]

    def _in_words(self, pair: MapDifference) -> str:
        words = self.look.words
        texts = []
        if len(self.contents) > 2:
            texts.append(f"{self.letter_of(pair.one)} – {self.letter_of(pair.other)}")
        if pair.peak_distance_px is not None:
            texts.append(words("peaks apart", distance=self.distance(pair)))
        if pair.overlap is not None:
            texts.append(words("overlap of", value=f"{pair.overlap:.2f}"))
        return ", ".join(texts)

    def _radiograph(self, pieces: Pieces) -> None:
        head(pieces, scale_bar=self.scale_bar)
        pieces.radiograph()
        pieces.sides()
        pieces.reference_boxes(names=not self.in_key)

    def _outlines(self, pieces: Pieces, *, pathology: str) -> None:
        pieces.radiograph()
        pieces.reference_boxes(names=False)
        peaks = []
        for at, content in enumerate(self.contents):
            style = content.style_of(pathology)
            if style is None:
                continue
            values = content.explanation.class_maps[style.rank - 1]
            geometry = content.explanation.geometry
            pieces.outline(values, style.colour, _LINES[at % len(_LINES)], geometry)
            if (point := geometry.peak_of(values)) is not None:
                peaks.append((point, replace(style, sign=0), self.letters[at]))
        for (one, style, _), (other, _, _) in pairwise(peaks):
            pieces.labels.add(marks.link, points=(one, other), colour=style.colour)
        for point, style, letter in peaks:
            pieces.labels.add(marks.badge, point=point, style=style, text=letter)


@dataclass(frozen=True)
class _Group:
    """Columns that stand side by side under one head.

    Args:
        head: what stands above all of them.
        heads: what stands above each.
        cells: the cells of each column, row by row.
    """

    head: str
    heads: Sequence[str]
    cells: Sequence[Sequence[str]]


@dataclass
class _Table:
    """Ranks, probabilities, distances, overlap and correlation, pathology by pathology.

    The text is as large as lets all columns stand side by side; where the smallest is too large for that,
    there are several tables, one below the other, each with the names of the pathologies.
    """

    look: Style
    compared: _Compared
    width: float

    def __post_init__(self) -> None:
        least = smallest(self.look, BODY)
        self._set(least)
        fewest = len(self._tables())
        size = BODY
        self._set(size)
        while size > least and (
            len(self._tables()) > fewest or not all(self._fit([each]) for each in self._columns)
        ):
            size = max(size - 0.25, least)
            self._set(size)
        self.tables = self._tables()

    def _set(self, size: float) -> None:
        """Set the text in a size."""
        small = small_size(self.look) / self.look.scale
        self.size = size
        self.small = max(min(small, size - 0.5), smallest(self.look, BODY)) if size < BODY else small

    @property
    def height(self) -> float:
        return sum(map(self._height, self.tables)) + _BETWEEN * (len(self.tables) - 1)

    def draw(self, page: Page, x: float, y: float) -> None:
        for table in self.tables:
            self._draw(page, x, y, table)
            y += self._height(table) + _BETWEEN

    def _draw(self, page: Page, x: float, y: float, table: Sequence[_Group]) -> None:
        widths, line = self._widths(table), self._line(self.small)
        left, y = x, y + self._head_height(table)
        for group, group_widths in zip(table, widths, strict=True):
            start = left
            for name, cells, width in zip(group.heads, group.cells, group_widths, strict=True):
                lines = self._wrapped(name, width, self.small)
                for at, text in enumerate(lines):
                    baseline = y - 0.07 - line * (len(lines) - 1 - at)
                    page.text(left, baseline, text, size=self.small, colour=self.look.quiet)
                top = y
                for cell, height in zip(cells, self._row_heights(table), strict=True):
                    for at, text in enumerate(self._wrapped(cell, width, self.size)):
                        page.text(
                            left,
                            top + 0.115 * self.size / BODY + self._line(self.size) * at,
                            text,
                            size=self.size,
                        )
                    top += height
                left += width
            if group.head:
                above = (
                    y
                    - 0.07
                    - line * max(len(self._wrapped(*each, self.small)) for each in self._heads(table))
                )
                end = left - (0.0 if group is table[-1] else _GAP)
                lines = self._wrapped(group.head, left - start, self.small)
                for at, text in enumerate(lines):
                    baseline = above - 0.03 - line * (len(lines) - 1 - at)
                    page.text(start, baseline, text, size=self.small, colour=self.look.quiet)
                page.rule(start, above + 0.005, end - start, weight=0.35)
        page.rule(x, y - 0.02, self.width, colour=self.look.ink, weight=0.7)
        for height in self._row_heights(table):
            y += height
            page.rule(x, y, self.width, weight=0.35)

    def _height(self, table: Sequence[_Group]) -> float:
        return self._head_height(table) + sum(self._row_heights(table))

    def _head_height(self, table: Sequence[_Group]) -> float:
        groups = zip(table, self._widths(table), strict=True)
        above = max(len(self._wrapped(group.head, sum(widths), self.small)) for group, widths in groups)
        below = max(len(self._wrapped(*each, self.small)) for each in self._heads(table))
        return 0.09 + self._line(self.small) * (above + below) + (0.04 if above else 0.0)

    def _heads(self, table: Sequence[_Group]) -> list[tuple[str, float]]:
        """What stands above each column, and the column's width."""
        return [
            pair
            for group, widths in zip(table, self._widths(table), strict=True)
            for pair in zip(group.heads, widths, strict=True)
        ]

    def _row_heights(self, table: Sequence[_Group]) -> list[float]:
        groups = zip(table, self._widths(table), strict=True)
        columns = [
            [len(self._wrapped(cell, width, self.size)) for cell in cells]
            for group, widths in groups
            for cells, width in zip(group.cells, widths, strict=True)
        ]
        row, line = _ROW * self.size / BODY, self._line(self.size)
        return [row + line * (max(1, *lines) - 1) for lines in zip(*columns, strict=True)]

    def _wrapped(self, text: str, width: float, size: float) -> list[str]:
        return self.look.typeface.wrap(text, width - 0.04, size)

    @staticmethod
    def _line(size: float) -> float:
        return size / 72 * 1.3

    def _fit(self, groups: Sequence[_Group]) -> bool:
        """Whether groups of columns find room beside the names."""
        return sum(map(sum, self._needed(self._beside_names(groups)))) <= self.width

    def _tables(self) -> list[list[_Group]]:
        """The groups of columns, as many side by side as there is room for."""
        tables: list[list[_Group]] = []
        for group in self._columns:
            if tables and self._fit([*tables[-1], group]):
                tables[-1].append(group)
            else:
                tables.append([group])
        return [self._beside_names(groups) for groups in tables]

    def _beside_names(self, groups: Sequence[_Group]) -> list[_Group]:
        """A table: the names, and groups of columns; those that follow each other under one head are one."""
        table = [self._names]
        for group in groups:
            last = table[-1]
            if last.head and last.head == group.head:
                table[-1] = _Group(last.head, [*last.heads, *group.heads], [*last.cells, *group.cells])
            else:
                table.append(group)
        return table

    def _widths(self, table: Sequence[_Group]) -> list[list[float]]:
        """Widths of the columns of each group: what they need, and what is left shared out."""
        needed = self._needed(table)
        columns, total = sum(map(len, needed)), sum(map(sum, needed))
        if total > self.width:
            return [[width * self.width / total for width in widths] for widths in needed]
        spare = (self.width - total) / columns
        return [[width + spare for width in widths] for widths in needed]

    def _needed(self, table: Sequence[_Group]) -> list[list[float]]:
        """Widths of the columns, such that no word of them breaks, unless it is very long."""
        found = []
        for group in table:
            is_name = group.heads == self._names.heads
            widths = []
            for name, cells in zip(group.heads, group.cells, strict=True):
                words = [word for cell in cells for word in (cell.split() if is_name else [cell])]
                longest = max((self._text_width(word, self.size) for word in words), default=0.0)
                longest_head = max(self._text_width(word, self.small) for word in name.split() or [""])
                widths.append(max(longest, min(longest_head, _LONGEST_HEAD)) + _GAP)
            above = max((self._text_width(word, self.small) for word in group.head.split()), default=0.0)
            more = max(0.0, above + _GAP - sum(widths)) / len(widths)
            found.append([width + more for width in widths])
        return found

    def _text_width(self, text: str, size: float) -> float:
        typeface = self.look.typeface
        return typeface.width(typeface.clean(text), size)

    @cached_property
    def _names(self) -> _Group:
        words, look = self.look.words, self.look
        names = [look.name_of(each.pathology) for each in self.compared.found.pathologies]
        return _Group("", [words("pathology")], [[*names, words("all pathologies")]])

    @cached_property
    def _columns(self) -> list[_Group]:
        """Each model, and each further model against the first."""
        models = [self._model(name) for name in self.compared.found.names]
        head = self.look.words("rank (probability)")
        groups = [
            _Group(head, [title], [cells]) for title, cells in zip(self.compared.titles, models, strict=True)
        ]
        return [*groups, *(self._pair(*names) for names in self.compared.pairs)]

    def _model(self, name: str) -> list[str]:
        cells = []
        for each in self.compared.found.pathologies:
            model = each.models[name]
            value = "" if model.probability is None else format_probability(model.probability)
            cells.append(f"{model.rank or '–'} ({value})" if value else "–")
        return [*cells, ""]

    def _pair(self, one: str, other: str) -> _Group:
        rows = [self._numbers(each.pairs, one, other) for each in self.compared.found.pathologies]
        _, *whole = self._numbers(self.compared.found.whole, one, other)
        head = f"{self.compared.letter_of(one)} – {self.compared.letter_of(other)}"
        heads = [self.look.words(name) for name in ("peak distance", "overlap", "correlation")]
        # Peaks of sums may be of different pathologies: no distance of them says anything.
        columns = [list(column) for column in zip(*rows, ["", *whole], strict=True)]
        return _Group(head, heads, columns)

    def _numbers(self, pairs: Sequence[MapDifference], one: str, other: str) -> list[str]:
        pair = next((each for each in pairs if (each.one, each.other) == (one, other)), None)
        if pair is None:
            return ["–"] * 3
        overlap = "–" if pair.overlap is None else f"{pair.overlap:.2f}"
        correlation = "–" if pair.spearman is None else f"{pair.spearman:.2f}".replace("-", "−")
        return [self.compared.distance(pair), overlap, correlation]
