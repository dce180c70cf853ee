"""The annotated figure of one explanation, for review on screen or on paper."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import get_args

from cxr_explain.errors import OptionError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures.banner import Banner
from cxr_explain.figures.class_grid import ClassGrid
from cxr_explain.figures.content import Content, ContentBlock
from cxr_explain.figures.facts import Closing, FactLists, figure_facts
from cxr_explain.figures.key import ColourKey, Legend
from cxr_explain.figures.output import ExplanationFigure, own_style
from cxr_explain.figures.overlay import MAX_OPACITY
from cxr_explain.figures.page import Block, Page
from cxr_explain.figures.panels import Panels
from cxr_explain.figures.style import BODY, MissingLetters, Style, style_of
from cxr_explain.figures.table import TABLE_WIDTH, PredictionTable
from cxr_explain.options import FigurePart, StyleName
from cxr_explain.pathologies import ReferenceBox, ReferenceLabels, ReferenceLabelsLike
from cxr_explain.radiograph import Radiograph

__all__ = ["DPI", "ExplanationFigure", "draw_explanation"]

DPI = 200
"""Pixels in an inch of the figure, which is as wide as an A4 page in landscape."""

_DPI_RANGE = (40, 1200)
_PAGE = 11.69
_NARROWEST_PAGE = 8.65  # in units that grow with the text: a page is wider from 10 points on
_MARGIN = 0.45
_HEADER = 0.52
_TITLES = 0.46  # of the header: its two lines
_BAND_GAP = 0.24
_GUTTER = 0.32
_PANEL_GAP = 0.14
_LEGEND_GAP = 0.14
_PANEL_HEIGHT = 4.5
_KEY = 2.52
_NARROWEST_GRID = 2.0
_GRID_HEIGHT = 1.75
_NARROWEST_SIDE = 2.4
_SMALLEST_IMAGE = 0.7

PlacedBlock = tuple[Block, float, float]
"""A block, and the x and y of its top left corner in inches."""


def draw_explanation(
    explanation: Explanation,
    radiograph: Radiograph,
    *,
    reference_labels: ReferenceLabelsLike = None,
    boxes: Iterable[ReferenceBox] | None = None,
    dpi: float = DPI,
    max_opacity: float = MAX_OPACITY,
    contours: bool = True,
    style: Style | StyleName = "light",
    colours: Mapping[str, str] | None = None,
    missing_letters: MissingLetters | None = None,
    parts: Iterable[FigurePart] = get_args(FigurePart),
    disclaimer: bool = True,
) -> ExplanationFigure:
    """Draw the radiograph beside the fused overlay, with predictions, reference labels and provenance.

    The figure is as wide as an A4 page in landscape, and wider where its text has more than 10 points; its
    height follows from its content. Opacities are relative within the image, and are not comparable between
    images.

    Args:
        explanation: the explanation to draw.
        radiograph: the radiograph that was explained.
        reference_labels: reference labels, in any form that `ReferenceLabels.coerce` takes.
        boxes: reference boxes in the radiograph's pixels; those of the reference labels by default.
        dpi: pixels in an inch, 40 to 1200; what is saved with a higher one keeps the images drawn for this.
        max_opacity: opacity of the strongest evidence, in (0, 1].
        contours: outline each pathology at half the peak of that pathology.
        style: how the figure looks: "light", "dark", "print", or a `Style` with its fonts and language.
            The settings of Matplotlib do not count, so that a record is the same on every machine.
        colours: colour of a pathology by name, where it is not the package's own; see
            `cxr_explain.figures.palette.class_styles`.
        missing_letters: what becomes of a name with letters that no font has: "error", or "number" for a
            warning and the letter's number, such as [U+6F22], in the figure; by default as the style has it.
        parts: what the figure has beside its images and their key: "table", "class maps", "facts" (method,
            model, radiograph, software), "notes" (warnings and notes); all of them by default. That an image
            is a phantom, or that a model has seen nothing else, is always said.
        disclaimer: say that the figure is for research alone.

    Returns:
        A Matplotlib figure without pyplot; `savefig` and `save` write the same bytes for the same content.

    Raises:
        OptionError: a dpi or an opacity out of range, a colour that is none, or another part.
        OutputError: a radiograph of another size, maps that are not finite, or letters that no font has.
        ReferenceLabelError: labels that cannot be read, or a box without an extent.

    >>> import numpy as np
    >>> from cxr_explain.explaining.explainer import Explainer
    >>> explainer = Explainer.from_pretrained("phantom", device="cpu", allow_phantom_weights=True)
    >>> radiograph = Radiograph.from_array(np.zeros((64, 64), np.float32))
    >>> explanation = explainer.explain(radiograph, top_k=2)
    >>> draw_explanation(explanation, radiograph, reference_labels="Mass").to_bytes()[1:4]
    b'PNG'
    """
    if not _DPI_RANGE[0] <= dpi <= _DPI_RANGE[1]:
        raise OptionError(f"dpi={dpi!r}", expected=f"{_DPI_RANGE[0]} to {_DPI_RANGE[1]}")
    predicted = [prediction.pathology for prediction in explanation.ranking.predictions]
    labels = ReferenceLabels.coerce(reference_labels, further=predicted)
    drawn = labels.boxes if boxes is None else tuple(boxes)
    look, parts = style_of(style), tuple(parts)
    if missing_letters is not None:
        look = replace(look, missing_letters=missing_letters)
    content = Content(
        explanation, radiograph, labels, drawn, max_opacity, contours, look, colours, parts, disclaimer
    )
    across = max(_PAGE / look.scale, _NARROWEST_PAGE)
    placed, height = _lay_out(content, across)
    gc.collect(1)  # the last figure, if it is garbage: 10 MB that would stay for a hundred figures
    with own_style():
        page = Page(across, height, dpi, look)
        for block, x, y in placed:
            block.draw(page, x, y)
    return page.figure


def _lay_out(content: Content, across: float) -> tuple[list[PlacedBlock], float]:
    """Bands from the top: header and banner, images and key, table and class maps, facts, closing."""
    room = across - 2 * _MARGIN
    placed: list[PlacedBlock] = [(_Heading(content, room), _MARGIN, _MARGIN)]
    banner = Banner(content, room)
    placed.append((banner, _MARGIN, _MARGIN + _TITLES))
    with_grid = bool(content.styles) and "class maps" in content.parts
    y = _MARGIN + _HEADER + banner.height
    grid_is_placed, y = _lay_out_images(content, placed, across - _MARGIN, y, with_grid)
    grid_follows = with_grid and not grid_is_placed

    facts = FactLists(figure_facts(content), room, look=content.look) if "facts" in content.parts else None
    if "table" in content.parts:
        table = PredictionTable(content)
        side_x = _MARGIN + TABLE_WIDTH + _GUTTER
        side_width = across - _MARGIN - side_x
        side: Block | None = None
        beside = side_width >= _NARROWEST_SIDE
        if grid_follows and beside:
            side, grid_follows = ClassGrid(content, side_width, max(table.height, _GRID_HEIGHT)), False
        elif facts is not None and beside and not grid_follows:
            column = FactLists(facts.lists, side_width, stacked=True, look=content.look)
            if max(table.height, column.height) < table.height + _BAND_GAP + facts.height:
                side, facts = column, None
        placed.append((table, _MARGIN, y))
        if side is not None:
            placed.append((side, side_x, y))
        y += max(table.height, side.height if side else 0.0) + _BAND_GAP
    if grid_follows:
        grid = ClassGrid(content, room, _GRID_HEIGHT)
        placed.append((grid, _MARGIN, y))
        y += grid.height + _BAND_GAP
    if facts is not None:
        placed.append((facts, _MARGIN, y))
        y += facts.height + 0.12
    closing = Closing(content, room)
    placed.append((closing, _MARGIN, y))
    return placed, y + closing.height + 0.6 * _MARGIN


def _lay_out_images(
    content: Content, placed: list[PlacedBlock], right: float, y: float, with_grid: bool
) -> tuple[bool, float]:
    """Place images, key and legend, and the class maps where they are wanted and fit beside.

    Returns:
        Whether the class maps did, and where the next band starts.
    """
    panels = _panels(content, right - _MARGIN - _KEY - _GUTTER)
    key_x = _MARGIN + panels.width + _GUTTER
    grid_x = key_x + _KEY + _GUTTER
    grid_beside_key = with_grid and right - grid_x >= _NARROWEST_GRID
    key_width = _KEY if grid_beside_key else min(right - key_x, 1.5 * _KEY)
    key, legend = ColourKey(content, key_width), Legend(content, key_width)
    placed += [(panels, _MARGIN, y), (key, key_x, y)]
    bottoms = [y + panels.height, y + key.height]

    if key.height + _LEGEND_GAP + legend.height > panels.height and panels.width >= 2 * _KEY:
        strip = Legend(content, panels.width, columns=3)
        placed.append((strip, _MARGIN, y + panels.height + _LEGEND_GAP))
        bottoms.append(y + panels.height + _LEGEND_GAP + strip.height)
    else:
        placed.append((legend, key_x, y + key.height + _LEGEND_GAP))
        bottoms.append(y + key.height + _LEGEND_GAP + legend.height)

    if grid_beside_key:
        grid = ClassGrid(content, right - grid_x, panels.height)
        placed.append((grid, grid_x, y))
        return True, max(*bottoms, y + grid.height) + _BAND_GAP
    grid_y = max(bottoms[1:]) + _LEGEND_GAP + 0.06
    grid = ClassGrid(content, key_width, bottoms[0] - grid_y)
    if with_grid and grid_y + grid.height <= bottoms[0] and grid.image_width >= _SMALLEST_IMAGE:
        placed.append((grid, key_x, grid_y))
        return True, bottoms[0] + _BAND_GAP
    return False, max(bottoms) + _BAND_GAP


def _panels(content: Content, room: float) -> Panels:
    """The largest pair of images with the radiograph's aspect."""
    height, width_ = content.radiograph.shape
    scale = min((room - _PANEL_GAP) / 2 / width_, _PANEL_HEIGHT / height)
    return Panels(content, width_ * scale, height * scale, _PANEL_GAP)


@dataclass
class _Heading(ContentBlock):
    """The radiograph's name, what was done, and the intended use."""

    @property
    def height(self) -> float:
        return _HEADER

    def draw(self, page: Page, x: float, y: float) -> None:
        room = self.width - (self._intended_use(page, x + self.width, y) if self.content.disclaimer else 0)
        name = page.style.typeface.clean(self.content.explanation.id) or "–"
        page.text(x, y + 0.15, name, size=12.5, face="bold", room=room)
        page.text(x, y + 0.33, self._summary, size=BODY, colour=page.style.quiet, room=room)

    def _intended_use(self, page: Page, right: float, y: float) -> float:
        """Say it in a frame that ends at the right edge; gives the width that it takes."""
        intended = self.content.words("research use only")
        notice = page.style.typeface.width(intended, BODY + 0.8, "bold") + 0.2
        left = right - notice
        page.box(left, y + 0.015, notice, 0.23, facecolor="none", edgecolor=page.style.alert, linewidth=0.9)
        page.text(
            left + notice / 2,
            y + 0.17,
            intended,
            size=BODY + 0.8,
            face="bold",
            colour=page.style.alert,
            align="center",
        )
        return notice + 0.3

    @property
    def _summary(self) -> str:
        explanation = self.content.explanation
        provenance = explanation.provenance
        k = explanation.ranking.k
        how_many = {0: "of no pathology", 1: "of one pathology"}.get(k, "of several pathologies")
        done = self.content.words(how_many, method=provenance.method, k=k)
        return f"{done} · {provenance.model} · cxr-explain {provenance.package_version}"
