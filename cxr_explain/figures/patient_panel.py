"""Several explanations in one figure for a journal or a slide: rows are patients, columns are pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from string import ascii_lowercase, ascii_uppercase
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from cxr_explain.errors import OptionError, ReferenceLabelError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures import bars, key_entries
from cxr_explain.figures.content import Content
from cxr_explain.figures.marks import Marks
from cxr_explain.figures.on_axes import paint_class_map, paint_overlay
from cxr_explain.figures.output import ExplanationFigure, own_style
from cxr_explain.figures.page import HEADING, Page
from cxr_explain.figures.palette import ClassStyle, class_styles
from cxr_explain.figures.pieces import HATCH_PERIOD, Pieces, Window
from cxr_explain.figures.style import BODY, Style, StyleName, small_size, style_of
from cxr_explain.figures.texts import format_probability, weights_text
from cxr_explain.options import check_option
from cxr_explain.pathologies import (
    ReferenceLabelsLike,
    canonical_pathology,
)
from cxr_explain.radiograph import Radiograph

Kind = Literal["radiograph", "fused", "boxes", "masks", "winner", "predictions"]
"""Columns that are no pathology's class map."""

Crop = tuple[float, float, float, float] | str | None
"""(left, top, right, bottom) of what is shown, or a pathology, whose reference boxes are shown."""

CropUnit = Literal["px", "mm"]

Letters = bool | Literal["a", "A"]

WIDTH_MM = 180.0
"""The width of a page of most journals."""

DPI = 300

_MM = 25.4  # in an inch
_DPI_RANGE = (150, 1200)  # below, half a pixel would be more than 0.08 mm
_WIDTHS = (20.0, 1000.0)
_MARGIN = 0.02
_COLUMN_GAP = 0.08
_ROW_GAP = 0.07
_STRIP = 0.17
_NAME_STRIP = 0.2
_CAPTION_LINES = 4
_KEY_GAP = 0.1
_AROUND_A_BOX = 0.35  # of the longer side, shown around the box that is cropped to


def panel(
    explanations: Explanation | Iterable[Explanation],
    columns: Sequence[str] = ("radiograph", "fused"),
    *,
    width_mm: float = WIDTH_MM,
    style: Style | StyleName | None = None,
    colours: Mapping[str, str] | None = None,
    dpi: float = DPI,
    letters: Letters = True,
    titles: bool | Sequence[str] = True,
    captions: bool = True,
    row_names: Sequence[str] | None = None,
    reference_labels: Sequence[ReferenceLabelsLike] | None = None,
    masks: Sequence[Mapping[str, ArrayLike] | None] | None = None,
    radiographs: Iterable[Radiograph] = (),
    crop: Crop | Sequence[Crop] = None,
    crop_unit: CropUnit = "px",
    scale_bar: bool = True,
    key: bool = True,
    provenance: bool = False,
    disclaimer: bool = True,
) -> ExplanationFigure:
    """Draw several explanations in one figure: a row for each patient, a column for each kind of picture.

    A pathology has one colour in all of the figure, and one key stands below. Opacities are relative within
    each picture, and are not comparable between them.

    Args:
        explanations: one for each row.
        columns: "radiograph", "fused", "winner" (which class map is largest where), "boxes" or "masks" (the
            reference standard), "predictions" (bars with operating points), or a pathology, for its class map
            before fusion.
        width_mm: width of the figure in mm.
        style: how the figure looks; by default as Matplotlib's settings say, so that fonts and size are those
            of a paper's other figures.
        colours: colour of a pathology by name, where it is not the package's own.
        dpi: pixels in an inch of the images, 150 to 1200.
        letters: name the pictures a, b, c; "A" for capitals, False for none.
        titles: names above the columns; a sequence for others than the usual ones, False for none.
        captions: small text below the pictures: ranks, probabilities, views.
        row_names: a name at the left of each row.
        reference_labels: reference labels and boxes of each row, in any form that `ReferenceLabels.coerce`
            takes; by default those that an explanation brought with it.
        masks: reference masks of each row, by pathology, (H, W) bool in radiograph pixels; by default those
            that an explanation brought with it.
        radiographs: those of explanations that were loaded, in any order; they are known by their SHA-256.
        crop: part of the radiograph that is shown, (left, top, right, bottom), or a pathology whose reference
            boxes shall be in it; one for all rows, or a list with one for each.
        crop_unit: what numbers in `crop` are: pixels of the radiograph, or mm from its top left corner.
        scale_bar: a bar of a round length in the first picture of a row whose pixel spacing is known; the
            figure says which attribute of the header it comes from.
        key: the colour key, below.
        provenance: say below with which model, weights and method the maps were made.
        disclaimer: say that the figure is for research use only. Turn it off where the text around it does.

    Returns:
        A Matplotlib figure without pyplot; `save` writes PNG, PDF or SVG, equal bytes for equal content.

    Raises:
        OptionError: a column that no row has, sequences of another length, or a value out of range.
        OutputError: a loaded explanation without its radiograph.
        ReferenceLabelError: labels that cannot be read, or a crop to a box that is not there.

    >>> from cxr_explain.figures.example import example_explanation
    >>> figure = panel([example_explanation()] * 2, ["radiograph", "fused", "predictions"], width_mm=120)
    >>> round(figure.get_figwidth() * 25.4, 1)
    120.0
    """
    look = Style.from_rcparams() if style is None else style_of(style)
    _check(width_mm, dpi, crop_unit, letters)
    given = [explanations] if isinstance(explanations, Explanation) else list(explanations)
    if not given:
        raise OptionError("no explanation", expected="one for each row")
    rows = len(given)
    by_digest = {radiograph.sha256: radiograph for radiograph in radiographs}
    contents = [
        Content.of(each, by_digest.get(each.provenance.radiograph_sha256), labels, look=look)
        for each, labels in zip(given, _each(reference_labels, rows, "reference_labels"), strict=True)
    ]
    kinds = _kinds(columns, contents)
    crops = list(crop) if isinstance(crop, list) else [crop] * rows
    windows = [
        _window(content, each, crop_unit)
        for content, each in zip(contents, _each(crops, rows, "crop"), strict=True)
    ]
    all_masks = [
        _masks_of(content, each) for content, each in zip(contents, _each(masks, rows, "masks"), strict=True)
    ]
    shared = _shared_styles(contents, all_masks, colours)
    contents = [replace(content, shared=shared) for content in contents]
    layout = _Panel(
        look=look,
        shared=shared,
        rows=[_Row(*each) for each in zip(contents, windows, all_masks, strict=True)],
        kinds=kinds,
        width=width_mm / _MM / look.scale,
        letters=letters,
        titles=_titles(titles, kinds, contents, look),
        captions=captions,
        names=_each(row_names, rows, "row_names") if row_names else None,
        scale_bar=scale_bar,
        key=key,
        provenance=provenance,
        disclaimer=disclaimer,
    )
    return layout.draw(width_mm, dpi)


@dataclass
class _Row:
    """One patient.

    Args:
        content: what there is to draw.
        window: the part of the radiograph that is shown; None for all of it.
        masks: reference masks by pathology.
    """

    content: Content
    window: Window | None
    masks: Mapping[str, ArrayLike]

    @property
    def aspect(self) -> float:
        """Height of what is shown by its width."""
        height, width = self.content.radiograph.shape
        left, top, right, bottom = self.window or (0, 0, width, height)
        return (bottom - top) / (right - left)


@dataclass
class _Panel:
    """The layout, in inches of a page whose ordinary text has 7.4 points."""

    look: Style
    shared: tuple[ClassStyle, ...]
    rows: list[_Row]
    kinds: list[str]
    width: float
    letters: Letters
    titles: Sequence[str]
    captions: bool
    names: Sequence[str | None] | None
    scale_bar: bool
    key: bool
    provenance: bool
    disclaimer: bool

    def draw(self, width_mm: float, dpi: float) -> ExplanationFigure:
        """Draw it on a page of its own."""
        pixels = dpi * self.look.scale
        # To the nearest pixel: rounded up, a page of 180.0 mm might have 180.1.
        width = round(width_mm / _MM * dpi) / pixels
        heights = [self._row_height(row, at) for at, row in enumerate(self.rows)]
        bottom = sum(heights) + _ROW_GAP * (len(heights) - 1)
        groups = self._key_groups
        key_height = key_entries.key_height(groups, self._room, self.look)
        notes = self._notes
        below = (_KEY_GAP + key_height if groups else 0.0) + (
            0.05 + self._line * len(notes) if notes else 0.0
        )
        with own_style():
            page = Page(width, _MARGIN + bottom + below + _MARGIN, dpi, self.look)
            y = _MARGIN
            for at, (row, height) in enumerate(zip(self.rows, heights, strict=True)):
                self._draw_row(page, y, row, at)
                y += height + _ROW_GAP
            y += _KEY_GAP - _ROW_GAP
            if groups:
                axes = page.blank(_MARGIN, y, self._room, key_height)
                Marks(axes, self.look).add(key_entries.key, groups=groups, ink=self.look.ink)
                y += key_height
            y += 0.05
            for text, note in notes:
                y += self._line
                page.text(_MARGIN, y - 0.03, text, size=self._small, **note)
        return page.figure

    @property
    def _room(self) -> float:
        return self.width - 2 * _MARGIN

    @property
    def _small(self) -> float:
        return small_size(self.look) / self.look.scale

    @property
    def _line(self) -> float:
        return self._small / 72 * 1.3

    @property
    def _left(self) -> float:
        return _MARGIN + (_NAME_STRIP if self.names else 0.0)

    @property
    def _column(self) -> float:
        """Width of a column."""
        n = len(self.kinds)
        return (self.width - _MARGIN - self._left - _COLUMN_GAP * (n - 1)) / n

    def _strip(self, at: int) -> float:
        """Height of the letters and titles above a row."""
        return _STRIP if self.letters or (at == 0 and any(self.titles)) else 0.0

    def _image_height(self, row: _Row) -> float:
        if any(kind != "predictions" for kind in self.kinds):
            return self._column * row.aspect
        return bars.ROW * max(1, row.content.explanation.ranking.k)

    def _row_height(self, row: _Row, at: int) -> float:
        lines = max(len(self._caption(row, kind)) for kind in self.kinds)
        return self._strip(at) + self._image_height(row) + (0.02 + self._line * lines if lines else 0.0)

    def _draw_row(self, page: Page, y: float, row: _Row, at: int) -> None:
        top, height = y + self._strip(at), self._image_height(row)
        like: Pieces | None = None
        for number, kind in enumerate(self.kinds):
            x = self._left + number * (self._column + _COLUMN_GAP)
            self._draw_title(
                page, x, y, at * len(self.kinds) + number, self.titles[number] if at == 0 else ""
            )
            if kind == "predictions":
                axes = page.blank(x, top, self._column, height)
                Marks(axes, self.look).add(bars.predictions, content=row.content)
            else:
                pieces = self._pieces(page, x, top, height, row, like)
                self._draw_picture(pieces, kind, row, is_first=like is None)
                like = like or pieces
            for line, text in enumerate(self._caption(row, kind)):
                baseline = top + height + 0.02 + self._line * (line + 1) - 0.03
                page.text(x, baseline, text, size=self._small, colour=self.look.quiet)
        if self.names and (name := self.names[at]):
            page.upright(_MARGIN + _NAME_STRIP / 2 - 0.03, top + height / 2, name, room=height)

    def _draw_title(self, page: Page, x: float, y: float, number: int, title: str) -> None:
        if self.letters:
            letter = _letter(number, capital=self.letters == "A")
            page.text(x, y + 0.12, letter, size=HEADING, face="bold")
            used = 0.06 + self.look.typeface.width(letter, HEADING, "bold")
            x, room = x + used, self._column - used
        else:
            room = self._column
        page.text(x, y + 0.12, title, size=BODY, room=room)

    def _pieces(
        self, page: Page, x: float, y: float, height: float, row: _Row, like: Pieces | None
    ) -> Pieces:
        rows, columns = row.content.radiograph.shape
        left, top, right, bottom = row.window or (0, 0, columns, rows)
        axes = page.panel(x, y, self._column, height, (left, right, bottom, top))
        shape = (page.samples(height), page.samples(self._column))
        pieces = Pieces(axes, row.content, shape, page.samples(HATCH_PERIOD), row.window)
        if like is not None:
            pieces.background = like.background
        return pieces

    def _draw_picture(self, pieces: Pieces, kind: str, row: _Row, *, is_first: bool) -> None:
        content = row.content
        if is_first and content.phantom:
            pieces.notice(self.look.words("phantom banner"))
        if is_first and self.scale_bar:
            pieces.scale_bar()
        if kind == "fused":
            paint_overlay(pieces, sides=is_first)
        elif kind == "winner":
            pieces.winners()
            pieces.unseen()
        elif kind == "masks":
            pieces.masks(row.masks)
            if not row.masks:
                pieces.message(self.look.words("no masks"))
        elif kind in ("radiograph", "boxes"):
            pieces.radiograph()
            if is_first:
                pieces.sides()
            if kind == "boxes":
                pieces.reference_boxes()
                if not content.boxes:
                    pieces.message(self.look.words("no boxes"))
        elif (style := content.style_of(kind)) is not None:
            paint_class_map(pieces, style, sides=is_first)
        else:
            pieces.radiograph()
            pieces.message(self._why_unranked(content, kind))
        pieces.frame()

    def _why_unranked(self, content: Content, pathology: str) -> str:
        prediction = content.prediction_of(pathology)
        if prediction is None:
            return self.look.words("not predicted")
        value = format_probability(prediction.probability)
        return self.look.words("ranked below K", k=content.explanation.ranking.k, value=value)

    def _caption(self, row: _Row, kind: str) -> list[str]:
        if not self.captions:
            return []
        text, words = "", self.look.words
        if kind == "radiograph" and row.content.radiograph.view:
            text = words("view of a radiograph", view=row.content.radiograph.view)
        elif kind in ("fused", "winner"):
            ranked = enumerate(row.content.explanation.ranking.top, start=1)
            text = " · ".join(
                words(
                    "ranked pathology",
                    rank=rank,
                    pathology=self.look.name_of(each.pathology),
                    value=format_probability(each.probability),
                )
                for rank, each in ranked
            )
        elif (style := row.content.style_of(kind)) is not None:
            text = self._class_caption(row.content, style)
        return self.look.typeface.wrap(text, self._column, self._small, lines=_CAPTION_LINES)

    def _class_caption(self, content: Content, style: ClassStyle) -> str:
        prediction = content.explanation.ranking.top[style.rank - 1]
        value, point = format_probability(prediction.probability), prediction.operating_point
        if point is None:
            return self.look.words("rank and probability", rank=style.rank, value=value)
        return self.look.words(
            "rank, probability and point", rank=style.rank, value=value, point=format_probability(point)
        )

    @cached_property
    def _key_groups(self) -> list[list[key_entries.KeyEntry]]:
        if not self.key:
            return []
        known = [kind if kind in get_args(Kind) else "class" for kind in self.kinds]
        if not set(known) - {"radiograph"}:
            return []
        contents = [row.content for row in self.rows]
        windows = [row.window for row in self.rows]
        classes = key_entries.class_entries(self._shown_styles(known), self.look, ranked=False)
        return [
            group
            for group in (classes, key_entries.sign_entries(contents, known, self.look, windows))
            if group
        ]

    def _shown_styles(self, known: list[str]) -> list[ClassStyle]:
        """Those of the pathologies that some picture has."""
        shown: set[str] = set()
        for row in self.rows:
            for kind in known:
                if kind in ("fused", "winner", "predictions"):
                    shown |= {
                        canonical_pathology(name) for name in row.content.explanation.ranking.pathologies
                    }
                elif kind == "boxes":
                    shown |= {box.pathology for box in row.content.boxes}
                elif kind == "masks":
                    shown |= {canonical_pathology(name) for name in row.masks}
        shown |= {canonical_pathology(kind) for kind in self.kinds}
        return [style for style in self.shared if canonical_pathology(style.pathology) in shown]

    @cached_property
    def _notes(self) -> list[tuple[str, dict[str, Any]]]:
        """Lines below the key, and how each is written."""
        words, quiet = self.look.words, {"colour": self.look.quiet}
        texts: list[tuple[str, dict[str, Any]]] = []
        sources = {
            row.content.radiograph.pixel_spacing_source
            for row in self.rows
            if row.content.radiograph.pixel_spacing and any(kind != "predictions" for kind in self.kinds)
        }
        if self.scale_bar:
            named = (source or "another source" for source in sorted(sources, key=str))
            texts += [(words(f"scale bars by {source}"), quiet) for source in named]
        if any(self._is_class(kind) for kind in self.kinds):
            texts.append((words("class maps of the panel"), quiet))
        if self.provenance:
            made = dict.fromkeys(_how_made(row.content.explanation, self.look) for row in self.rows)
            texts += [(text, quiet) for text in made]
        strong = {"colour": self.look.ink, "face": "bold"}
        texts += [(text, strong) for text in self._phantom_notes()]
        if self.disclaimer:
            texts.append((words("research use only"), {"colour": self.look.alert, "face": "bold"}))
        return [
            (line, note)
            for text, note in texts
            for line in self.look.typeface.wrap(text, self._room, self._small, note.get("face", "regular"))
        ]

    def _is_class(self, kind: str) -> bool:
        return kind not in get_args(Kind)

    def _phantom_notes(self) -> list[str]:
        words = self.look.words
        phantoms = [at for at, row in enumerate(self.rows) if row.content.phantom]
        notes = []
        if len(phantoms) == len(self.rows):
            notes.append(words("phantoms in all rows"))
        elif phantoms:
            given = self.names or [None] * len(self.rows)
            names = [given[at] or words("row of a figure", row=at + 1) for at in phantoms]
            notes.append(words("phantoms in some rows", rows=", ".join(names)))
        models = dict.fromkeys(
            row.content.explanation.provenance.model for row in self.rows if row.content.phantom_only
        )
        return notes + [words("model of phantoms", model=model) for model in models]


def _masks_of(content: Content, given: Mapping[str, ArrayLike] | None) -> Mapping[str, ArrayLike]:
    if given is not None:
        return given
    reference = content.explanation.reference
    return {} if reference is None else reference.masks


def _shared_styles(
    contents: Sequence[Content],
    masks: Sequence[Mapping[str, ArrayLike]],
    colours: Mapping[str, str] | None,
) -> tuple[ClassStyle, ...]:
    """One style for each pathology of the figure: those that are ranked, then those of the reference."""
    names = [name for content in contents for name in content.explanation.ranking.pathologies]
    names += [box.pathology for content in contents for box in content.boxes]
    names += [name for each in masks for name in each]
    return class_styles(tuple(dict.fromkeys(map(canonical_pathology, names))), colours)


def _how_made(explanation: Explanation, look: Style) -> str:
    provenance = explanation.provenance
    settings = provenance.map_settings
    return look.words(
        "how maps were made",
        method=provenance.method,
        normalisation=settings.normalisation,
        activation=settings.activation,
        model=provenance.model,
        weights=weights_text(provenance.weights_sha256),
        version=provenance.package_version,
    )


def _letter(number: int, *, capital: bool) -> str:
    """A to z, then aa to az and so on.

    >>> _letter(0, capital=False), _letter(27, capital=True)
    ('a', 'AB')
    """
    letters = ascii_uppercase if capital else ascii_lowercase
    turn, at = divmod(number, len(letters))
    return (letters[turn - 1] if turn else "") + letters[at]


def _check(width_mm: float, dpi: float, crop_unit: str, letters: object) -> None:
    if not _WIDTHS[0] <= width_mm <= _WIDTHS[1]:
        raise OptionError(f"width_mm={width_mm!r}", expected=f"{_WIDTHS[0]:g} to {_WIDTHS[1]:g}")
    if not _DPI_RANGE[0] <= dpi <= _DPI_RANGE[1]:
        raise OptionError(f"dpi={dpi!r}", expected=f"{_DPI_RANGE[0]} to {_DPI_RANGE[1]}")
    if letters not in (True, False, "a", "A"):
        raise OptionError(f"letters={letters!r}", expected="True, False, 'a' or 'A'")
    check_option("crop_unit", crop_unit, CropUnit)


def _each(given: Sequence[Any] | None, rows: int, name: str) -> Sequence[Any]:
    """One for each row; None for each where nothing is given."""
    if given is None:
        return [None] * rows
    if isinstance(given, (str, Mapping)) or len(given) != rows:
        count = 1 if isinstance(given, (str, Mapping)) else len(given)
        raise OptionError(f"{name} for {count} of {rows} rows", expected="a list with one for each row")
    return given


def _kinds(columns: Sequence[str], contents: Sequence[Content]) -> list[str]:
    """The columns; those that name a pathology by the name that some row has for it."""
    asked = [columns] if isinstance(columns, str) else list(columns)
    if not asked:
        raise OptionError("no column", expected=f"{', '.join(get_args(Kind))} or a pathology")
    ranked = {
        canonical_pathology(name): name
        for content in contents
        for name in content.explanation.ranking.pathologies
    }
    kinds = []
    for column in asked:
        kind = column if column in get_args(Kind) else ranked.get(canonical_pathology(str(column)))
        if kind is None:
            known = ", ".join([*get_args(Kind), *ranked.values()])
            raise OptionError(f"the column {column!r}", expected=f"one of {known}")
        kinds.append(kind)
    return kinds


def _titles(
    titles: bool | Sequence[str], kinds: list[str], contents: Sequence[Content], look: Style
) -> Sequence[str]:
    if titles is False:
        return [""] * len(kinds)
    if titles is not True:
        return _each(titles, len(kinds), "titles")
    words = look.words
    phantoms = all(content.phantom for content in contents)
    one = all(content.explanation.ranking.k == 1 for content in contents)
    fused = all(content.explanation.provenance.map_settings.fused for content in contents)
    usual = {
        "radiograph": words("phantom" if phantoms else "radiograph"),
        "fused": words("overlay" if one else "fused overlay" if fused else "overlay of class maps"),
        "boxes": words("reference boxes"),
        "masks": words("reference masks"),
        "winner": words("winner map"),
        "predictions": words("predictions"),
    }
    return [usual.get(kind) or look.name_of(kind) for kind in kinds]


def _window(content: Content, crop: Crop, unit: CropUnit) -> Window | None:
    """The part of a radiograph that is shown, in whole pixels."""
    if crop is None:
        return None
    if isinstance(crop, str):
        edges = _around_boxes(content, crop)
    else:
        edges = np.asarray(crop, np.float64)
        if edges.shape != (4,) or not np.isfinite(edges).all():
            raise OptionError(f"crop={crop!r}", expected="(left, top, right, bottom), or a pathology")
        if unit == "mm":
            spacing = content.radiograph.pixel_spacing
            if spacing is None:
                raise OptionError(
                    "a crop in mm of a radiograph whose pixel spacing is not known",
                    expected="a crop in pixels",
                    source=content.explanation.id,
                )
            edges = edges / [spacing[1], spacing[0], spacing[1], spacing[0]]
    height, width = content.radiograph.shape
    left, top, right, bottom = np.clip(np.rint(edges), 0, (width, height, width, height)).astype(int).tolist()
    if right - left < 2 or bottom - top < 2:
        raise OptionError(
            f"crop={crop!r}, which leaves nothing of {width} x {height} pixels",
            expected="left < right and top < bottom, within the radiograph",
            source=content.explanation.id,
        )
    return left, top, right, bottom


def _around_boxes(content: Content, pathology: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A square around the reference boxes of a pathology, with some of what is around them."""
    name = canonical_pathology(pathology)
    corners = np.array(
        [(b.x, b.y, b.x + b.width, b.y + b.height) for b in content.boxes if b.pathology == name], np.float64
    )
    if not len(corners):
        raise ReferenceLabelError(f"no reference box of {name!r} to crop to", source=content.explanation.id)
    low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    height, width = content.radiograph.shape
    half = min((high - low).max() * (0.5 + _AROUND_A_BOX), width / 2, height / 2)
    middle = np.clip((low + high) / 2, half, (width - half, height - half))
    return np.concatenate([middle - half, middle + half])
