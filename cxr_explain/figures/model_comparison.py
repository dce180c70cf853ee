"""Models, or methods, beside each other on one radiograph: their maps, and what differs in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from string import ascii_uppercase

from cxr_explain.errors import OptionError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures import key_entries, marks
from cxr_explain.figures.content import Content
from cxr_explain.figures.grid import DPI, WIDTH_MM, Cell, PanelLetters, PictureGrid
from cxr_explain.figures.key_entries import KeyEntry
from cxr_explain.figures.on_axes import paint_overlay
from cxr_explain.figures.output import ExplanationFigure
from cxr_explain.figures.page import Page
from cxr_explain.figures.palette import LINE_STYLES, class_styles
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

_ROW = 0.165
_HEAD_LINE = 0.115
_GAP = 0.12
_NAME = 0.26  # of the width, at most


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
    compared = _Compared(look, found, contents, window, captions, scale_bar)
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
        caption = " · ".join(self._in_words(pair) for pair in difference.pairs) if self.captions else ""
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
            KeyEntry("outline", title, dashes=LINE_STYLES[at % len(LINE_STYLES)][1])
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
        pieces.reference_boxes()

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
            pieces.outline(values, style.colour, LINE_STYLES[at % len(LINE_STYLES)][1], geometry)
            if (point := geometry.peak_of(values)) is not None:
                peaks.append((point, replace(style, sign=0), self.letters[at]))
        for (one, style, _), (other, _, _) in pairwise(peaks):
            pieces.labels.add(marks.link, points=(one, other), colour=style.colour)
        for point, style, letter in peaks:
            pieces.labels.add(marks.badge, point=point, style=style, text=letter)


@dataclass
class _Table:
    """Ranks, probabilities, distances, overlap and correlation, pathology by pathology."""

    look: Style
    compared: _Compared
    width: float

    @property
    def height(self) -> float:
        return self._head_height + _ROW * len(self._rows)

    def draw(self, page: Page, x: float, y: float) -> None:
        columns = [list(column) for column in zip(*[self._heads, *self._rows], strict=True)]
        lefts = self._lefts(columns)
        _, *rows = zip(*columns, strict=True)
        y += self._head_height
        for left, lines in zip(lefts, self._head_lines(lefts), strict=True):
            for at, line in enumerate(lines):
                baseline = y - 0.07 - _HEAD_LINE * (len(lines) - 1 - at)
                page.text(x + left, baseline, line, size=self._small, colour=self.look.quiet)
        page.rule(x, y - 0.02, self.width, colour=self.look.ink, weight=0.7)
        for row in rows:
            for left, text, room in zip(lefts, row, self._rooms(lefts), strict=True):
                page.text(x + left, y + 0.115, text, room=room)
            y += _ROW
            page.rule(x, y, self.width, weight=0.35)

    @property
    def _head_height(self) -> float:
        columns = [list(column) for column in zip(*[self._heads, *self._rows], strict=True)]
        return 0.09 + _HEAD_LINE * max(map(len, self._head_lines(self._lefts(columns))))

    def _head_lines(self, lefts: Sequence[float]) -> list[list[str]]:
        wrap, rooms = self.look.typeface.wrap, self._rooms(lefts)
        return [wrap(text, room, self._small, lines=3) for text, room in zip(self._heads, rooms, strict=True)]

    @property
    def _small(self) -> float:
        return small_size(self.look) / self.look.scale

    @property
    def _pairs(self) -> list[tuple[str, str]]:
        """Each further model against the first."""
        first, *others = self.compared.found.names
        return [(first, other) for other in others]

    @property
    def _heads(self) -> list[str]:
        words = self.look.words
        heads = [words("pathology")]
        heads += [words("rank and probability of a model", model=title) for title in self.compared.titles]
        for one, other in self._pairs:
            letters = f"{self.compared.letter_of(one)} – {self.compared.letter_of(other)} "
            between = letters if len(self._pairs) > 1 else ""
            heads += [between + words(name) for name in ("peak distance", "overlap", "correlation")]
        return heads

    @property
    def _rows(self) -> list[list[str]]:
        rows = []
        for each in self.compared.found.pathologies:
            row = [self.look.name_of(each.pathology)]
            for model in each.models.values():
                value = "" if model.probability is None else format_probability(model.probability)
                row.append(f"{model.rank or '–'} ({value})" if value else "–")
            rows.append(row + self._numbers(each.pairs))
        whole = [self.look.words("all pathologies"), *[""] * len(self.compared.contents)]
        return [*rows, whole + self._numbers(self.compared.found.whole)]

    def _numbers(self, pairs: Sequence[MapDifference]) -> list[str]:
        by_name = {(pair.one, pair.other): pair for pair in pairs}
        texts: list[str] = []
        for names in self._pairs:
            pair = by_name.get(names)
            if pair is None:
                texts += ["–"] * 3
            else:
                overlap = "–" if pair.overlap is None else f"{pair.overlap:.2f}"
                correlation = "–" if pair.spearman is None else f"{pair.spearman:.2f}".replace("-", "−")
                texts += [self.compared.distance(pair), overlap, correlation]
        return texts

    def _lefts(self, columns: Sequence[Sequence[str]]) -> list[float]:
        """Left edges: each column as wide as its cells, and what is left shared out."""
        typeface = self.look.typeface
        wanted = [
            max(
                *(typeface.width(typeface.clean(text), BODY) for text in cells),
                max(typeface.width(word, self._small) for word in head.split() or [""]),
            )
            + _GAP
            for head, *cells in columns
        ]
        wanted[0] = min(wanted[0], self.width * _NAME)
        spare = (self.width - sum(wanted)) / len(wanted)
        lefts, x = [], 0.0
        for width in wanted:
            lefts.append(x)
            x += width + spare
        return lefts

    def _rooms(self, lefts: Sequence[float]) -> list[float]:
        return [end - start - 0.04 for start, end in pairwise([*lefts, self.width + 0.04])]
