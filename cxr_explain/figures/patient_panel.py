"""Several explanations in one figure for a journal or a slide: rows are patients, columns are pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from cxr_explain.errors import OptionError, ReferenceLabelError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures import bars, key_entries
from cxr_explain.figures.content import Content
from cxr_explain.figures.grid import DPI, WIDTH_MM, Cell, Note, PanelLetters, PictureGrid
from cxr_explain.figures.on_axes import paint_class_map, paint_overlay
from cxr_explain.figures.output import ExplanationFigure
from cxr_explain.figures.palette import ClassStyle, class_styles
from cxr_explain.figures.pieces import Pieces, ShownPart
from cxr_explain.figures.style import Style, style_of
from cxr_explain.figures.texts import engine_text, format_probability, scores_text, weights_text
from cxr_explain.options import StyleName, check_option
from cxr_explain.pathologies import ReferenceBox, ReferenceLabelsLike, canonical_pathology
from cxr_explain.radiograph import Radiograph

Kind = Literal["radiograph", "fused", "boxes", "masks", "winner", "predictions"]
"""Columns that are no pathology's class map."""

Crop = tuple[float, float, float, float] | str | None
"""(left, top, right, bottom) of what is shown, or a pathology, whose reference boxes are shown."""

CropUnit = Literal["px", "mm"]

_SCALES = {
    "PixelSpacing": "scale by PixelSpacing",
    "ImagerPixelSpacing": "scale by ImagerPixelSpacing",
    "NominalScannedPixelSpacing": "scale by NominalScannedPixelSpacing",
    "": "scale by another source",
}
"""What is said of a scale, by the attribute that the pixel spacing came from."""

_ROWS_OF_BARS = 4
"""Predictions for which a row is made higher than the pictures in it."""

_AROUND_A_BOX = 0.35  # of the longer side, shown around the box that is cropped to


def panel(
    explanations: Explanation | Iterable[Explanation],
    columns: Sequence[str] = ("radiograph", "fused"),
    *,
    width_mm: float = WIDTH_MM,
    style: Style | StyleName | None = None,
    colours: Mapping[str, str] | None = None,
    dpi: float = DPI,
    letters: PanelLetters = True,
    titles: bool | Sequence[str] = True,
    captions: bool = True,
    row_names: Sequence[str] | None = None,
    reference_labels: Sequence[ReferenceLabelsLike] | None = None,
    masks: Sequence[Mapping[str, ArrayLike] | None] | None = None,
    radiographs: Iterable[Radiograph] = (),
    boxes: bool = False,
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
        boxes: outline the reference boxes in every picture, and not only in the column "boxes".
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

    >>> from cxr_explain.explaining.example import example_explanation
    >>> figure = panel([example_explanation()] * 2, ["radiograph", "fused", "predictions"], width_mm=120)
    >>> round(float(figure.get_figwidth()) * 25.4, 1)
    120.0
    """
    look = Style.from_rcparams() if style is None else style_of(style)
    check_option("crop_unit", crop_unit, CropUnit)
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
        window_of(content, each, crop_unit)
        for content, each in zip(contents, _each(crops, rows, "crop"), strict=True)
    ]
    all_masks = [
        _masks_of(content, each) for content, each in zip(contents, _each(masks, rows, "masks"), strict=True)
    ]
    shared = _shared_styles(contents, all_masks, colours)
    contents = [replace(content, shared=shared) for content in contents]
    patients = [_Row(*each, boxes, key) for each in zip(contents, windows, all_masks, strict=True)]
    names = _each(row_names, rows, "row_names") if row_names else None
    above = _titles(titles, kinds, contents, look)
    grid = PictureGrid(
        look,
        [
            patient.cells(
                kinds, above if at == 0 else [""] * len(kinds), captions=captions, scale_bar=scale_bar
            )
            for at, patient in enumerate(patients)
        ],
        width_mm,
        dpi,
        letters=letters,
        names=names,
        key=_key_of(patients, kinds, look) if key else (),
        notes=notes_of(
            contents,
            look,
            names=names,
            scale_bar=scale_bar and set(kinds) != {"predictions"},
            class_maps=any(kind not in get_args(Kind) for kind in kinds),
            provenance=provenance,
            disclaimer=disclaimer,
        ),
    )
    return grid.draw(ExplanationFigure)


@dataclass
class _Row:
    """One patient.

    Args:
        content: what there is to draw.
        window: the part of the radiograph that is shown; None for all of it.
        masks: reference masks by pathology.
        boxes: whether every picture has the reference boxes.
        key: whether a key names their colours, so that they need no names.
    """

    content: Content
    window: ShownPart | None
    masks: Mapping[str, ArrayLike]
    boxes: bool
    key: bool

    def cells(
        self, kinds: Sequence[str], titles: Sequence[str], *, captions: bool, scale_bar: bool
    ) -> list[Cell]:
        """One for each column; the first picture has what is said once a row."""
        first = next((at for at, kind in enumerate(kinds) if kind != "predictions"), -1)
        cells = []
        for at, (kind, title) in enumerate(zip(kinds, titles, strict=True)):
            said = kind == "winner" and "fused" in kinds  # beside it, in the same words
            caption = self._caption(kind) if captions and not said else ""
            if kind == "predictions":
                top = self.content.explanation.ranking.top
                rows = len(top) if set(kinds) == {"predictions"} else min(len(top), _ROWS_OF_BARS)
                height = bars.ROW * max(1, rows)
                mark = partial(bars.predictions, top=top, styles=self.content.styles)
                cells.append(Cell(self.content, mark=mark, height=height, title=title, caption=caption))
            else:
                paint = partial(self._paint, kind=kind, is_first=at == first, scale_bar=scale_bar)
                cells.append(Cell(self.content, paint, self.window, title=title, caption=caption))
        return cells

    def _paint(self, pieces: Pieces, *, kind: str, is_first: bool, scale_bar: bool) -> None:
        if is_first:
            head(pieces, scale_bar=scale_bar)
            pieces.sides()
        words = self.content.words
        if kind == "fused":
            paint_overlay(pieces, sides=False)
        elif kind == "winner":
            pieces.winners()
            pieces.unseen()
        elif kind == "masks":
            pieces.masks(self.masks)
            if not self.masks:
                pieces.message(words("no masks"))
        elif kind == "boxes":
            pieces.radiograph()
            pieces.reference_boxes(names=not self.key)
            if not boxes_in(self.content, self.window):
                pieces.message(words("no boxes"))
        elif kind == "radiograph":
            pieces.radiograph()
        else:
            paint_pathology(pieces, kind)
        if self.boxes and kind != "boxes":
            pieces.reference_boxes(names=False)

    def _caption(self, kind: str) -> str:
        words, radiograph = self.content.words, self.content.radiograph
        if kind == "radiograph" and radiograph.view:
            return words("view of a radiograph", view=radiograph.view)
        if kind in ("fused", "winner"):
            return ranks_of(self.content)
        style = self.content.style_of(kind)
        return "" if style is None else class_caption(self.content, style)


def head(pieces: Pieces, *, scale_bar: bool) -> None:
    """What the first picture of a radiograph says: that it is a phantom, and its scale."""
    if pieces.content.phantom:
        pieces.notice(pieces.content.words("phantom banner"))
    if scale_bar:
        pieces.scale_bar()


def paint_pathology(pieces: Pieces, pathology: str) -> None:
    """The class map of a pathology; or the radiograph, and why there is no class map."""
    content = pieces.content
    if (style := content.style_of(pathology)) is not None:
        paint_class_map(pieces, style, sides=False)
        return
    pieces.radiograph()
    prediction, words = content.prediction_of(pathology), content.words
    if prediction is None:
        pieces.message(words("not predicted"))
    else:
        value = format_probability(prediction.probability)
        pieces.message(words("ranked below K", k=content.explanation.ranking.k, value=value))


def ranks_of(content: Content) -> str:
    """The ranked pathologies with their probabilities, in words."""
    ranked = enumerate(content.explanation.ranking.top, start=1)
    return ", ".join(
        f"{rank} {content.look.name_of(each.pathology)} {format_probability(each.probability)}"
        for rank, each in ranked
    )


def class_caption(content: Content, style: ClassStyle) -> str:
    """Rank, probability and operating point of a pathology, in words."""
    prediction = content.explanation.ranking.top[style.rank - 1]
    value, point = format_probability(prediction.probability), prediction.operating_point
    if point is None:
        return content.words("rank and probability", rank=style.rank, value=value)
    shown = format_probability(point)
    return content.words("rank, probability and point", rank=style.rank, value=value, point=shown)


def _key_of(rows: Sequence[_Row], kinds: Sequence[str], look: Style) -> list[list[key_entries.KeyEntry]]:
    known = [kind if kind in get_args(Kind) else "class" for kind in kinds]
    if not set(known) - {"radiograph"} and not rows[0].boxes:
        return []
    shown = {canonical_pathology(kind) for kind in kinds}
    for row in rows:
        if set(known) & {"fused", "winner", "predictions"}:
            shown |= {canonical_pathology(style.pathology) for style in row.content.styles}
        if "boxes" in known or row.boxes:
            shown |= {box.pathology for box in boxes_in(row.content, row.window)}
        if "masks" in known:
            shown |= {canonical_pathology(name) for name in row.masks}
    styles = [each for each in rows[0].content.shared if canonical_pathology(each.pathology) in shown]
    contents, windows = [row.content for row in rows], [row.window for row in rows]
    known += ["boxes"] if rows[0].boxes else []
    classes = key_entries.class_entries(styles, look, ranked=False)
    return [group for group in (classes, key_entries.sign_entries(contents, known, look, windows)) if group]


def notes_of(
    contents: Sequence[Content],
    look: Style,
    *,
    names: Sequence[str | None] | None = None,
    scale_bar: bool,
    class_maps: bool,
    provenance: bool,
    disclaimer: bool,
    measures: Sequence[str] = (),
) -> list[Note]:
    """What a figure says below its key.

    Args:
        contents: what its rows show.
        look: how it looks.
        names: names of the rows.
        scale_bar: whether scale bars are drawn.
        class_maps: whether class maps are drawn.
        provenance: whether to say how maps were made.
        disclaimer: whether to say what the figure is for.
        measures: what there is to say of the numbers of the figure.
    """
    words, notes = look.words, [Note(text) for text in measures]
    radiographs = [content.radiograph for content in contents]
    sources = {each.pixel_spacing_source or "" for each in radiographs if each.pixel_spacing}
    if scale_bar or measures:
        notes += [Note(words(_SCALES[source])) for source in sorted(sources)]
    if class_maps:
        notes.append(Note(words("class maps of the panel")))
    if provenance:
        made = dict.fromkeys(_how_made(content.explanation, look) for content in contents)
        notes += [Note(text) for text in made]
    notes += [Note(text, look.ink, "bold") for text in _phantom_notes(contents, look, names)]
    if disclaimer:
        notes.append(Note(words("research use only"), look.alert, "bold"))
    return notes


def _phantom_notes(contents: Sequence[Content], look: Style, names: Sequence[str | None] | None) -> list[str]:
    words, notes = look.words, []
    phantoms = [at for at, content in enumerate(contents) if content.phantom]
    if len(phantoms) == len(contents):
        notes.append(words("phantoms in all rows"))
    elif phantoms:
        given = names or [None] * len(contents)
        rows = [given[at] or words("row of a figure", row=at + 1) for at in phantoms]
        notes.append(words("phantoms in some rows", rows=", ".join(rows)))
    models = dict.fromkeys(
        content.explanation.provenance.model for content in contents if content.phantom_only
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
    provenance, settings = explanation.provenance, explanation.provenance.map_settings
    weights = weights_text(provenance.weights_sha256, look.words)
    fusion = f"({settings.normalisation}, {settings.activation})"
    reduced = "" if settings.dtype == "float32" else settings.dtype
    version = ", ".join(
        filter(None, (f"cxr-explain {provenance.package_version}", engine_text(provenance), reduced))
    )
    kind = provenance.probability_kind
    scores = "" if kind == "sigmoid" else f"; {scores_text(kind, look.words)}"
    return f"{provenance.method} {fusion}, {provenance.model}, {weights}; {version}{scores}."


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


def boxes_in(content: Content, window: ShownPart | None) -> list[ReferenceBox]:
    """The reference boxes that a part of the radiograph shows some of."""
    height, width = content.radiograph.shape
    left, top, right, bottom = window or (0, 0, width, height)
    return [
        box
        for box in content.boxes
        if box.x < right and box.x + box.width > left and box.y < bottom and box.y + box.height > top
    ]


def window_of(content: Content, crop: Crop, unit: CropUnit) -> ShownPart | None:
    """The part of a radiograph that is shown, in whole pixels."""
    if crop is None:
        return None
    if isinstance(crop, str):
        edges = _around_boxes(content, crop)
    else:
        try:
            edges = np.asarray(crop, np.float64)
        except (TypeError, ValueError):
            edges = np.empty(0)
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
