"""Pieces of a figure on the user's own axes: whatever their size, in subplots, subfigures or an inset.

The coordinates of the axes become the radiograph's pixels. Text, lines and colours follow Matplotlib's
settings unless a style is given. Limits, aspect and ticks of the axes are set; titles, spines and all else
stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from cxr_explain.errors import OptionError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures import bars
from cxr_explain.figures.content import Content
from cxr_explain.figures.key_entries import class_entries, inset_key, key, sign_entries
from cxr_explain.figures.marks import Marks
from cxr_explain.figures.overlay import MAX_OPACITY
from cxr_explain.figures.palette import ClassStyle
from cxr_explain.figures.pieces import HATCH_PERIOD, Pieces, class_message_of, message_of
from cxr_explain.figures.style import Style, style_of
from cxr_explain.options import StyleName, check_option
from cxr_explain.pathologies import ReferenceLabelsLike
from cxr_explain.radiograph import Radiograph

Corner = Literal["upper left", "upper right", "lower left", "lower right"]
"""Where in a picture a key stands."""

DPI = 300
"""Pixels in an inch of the images that are made for axes of a given size."""

_LONGEST = 4096


def draw_radiograph(
    axes: Axes,
    explanation: Explanation,
    radiograph: Radiograph | None = None,
    *,
    sides: bool = True,
    scale_bar: bool = False,
    style: Style | StyleName | None = None,
    dpi: float = DPI,
) -> Axes:
    """Draw the radiograph.

    Args:
        axes: axes to draw on.
        explanation: explanation of the radiograph.
        radiograph: wanted where the explanation was loaded, as that does not store pixels.
        sides: mark the patient's sides, where the header says which they are.
        scale_bar: draw a bar of a round length, where the header has the pixel spacing.
        style: how text and lines look; by default as Matplotlib's settings say.
        dpi: pixels in an inch of the image, for axes of the size that these have now.

    Returns:
        The axes.

    Raises:
        OutputError: no radiograph, or not the one that was explained.

    >>> from cxr_explain.explaining.example import example_explanation
    >>> from matplotlib.figure import Figure
    >>> axes = draw_radiograph(Figure().add_subplot(), example_explanation())
    >>> [*map(float, axes.get_xlim()), *map(float, axes.get_ylim())]
    [0.0, 80.0, 64.0, 0.0]
    """
    pieces = _pieces(axes, _content(explanation, radiograph, style=style), dpi)
    pieces.radiograph()
    if sides:
        pieces.sides()
    if scale_bar:
        pieces.scale_bar()
    return axes


def draw_overlay(
    axes: Axes,
    explanation: Explanation,
    radiograph: Radiograph | None = None,
    *,
    outlines: bool = True,
    peaks: bool = True,
    sides: bool = True,
    max_opacity: float = MAX_OPACITY,
    colours: Mapping[str, str] | None = None,
    style: Style | StyleName | None = None,
    dpi: float = DPI,
) -> Axes:
    """Draw the radiograph with the fused map over it, hatched where the model did not see.

    Args:
        axes: axes to draw on.
        explanation: the explanation.
        radiograph: wanted where the explanation was loaded, as that does not store pixels.
        outlines: outline what reaches half of each pathology's own peak.
        peaks: number the strongest cell of each pathology by rank.
        sides: mark the patient's sides, where the header says which they are.
        max_opacity: opacity of the strongest evidence, in (0, 1].
        colours: colour of a pathology by name, where it is not the package's own.
        style: how text and lines look; by default as Matplotlib's settings say.
        dpi: pixels in an inch of the image, for axes of the size that these have now.

    Returns:
        The axes.

    Raises:
        OptionError: an opacity out of range, or a colour that is none.
        OutputError: no radiograph, or not the one that was explained.

    >>> from cxr_explain.explaining.example import example_explanation
    >>> from matplotlib.figure import Figure
    >>> len(draw_overlay(Figure().add_subplot(), example_explanation()).images)
    1
    """
    content = _content(
        explanation, radiograph, style=style, colours=colours, max_opacity=max_opacity, contours=outlines
    )
    paint_overlay(_pieces(axes, content, dpi), peaks=peaks, sides=sides)
    return axes


def draw_class_map(
    axes: Axes,
    explanation: Explanation,
    pathology: str,
    radiograph: Radiograph | None = None,
    *,
    outlines: bool = True,
    peaks: bool = True,
    sides: bool = True,
    max_opacity: float = MAX_OPACITY,
    colours: Mapping[str, str] | None = None,
    style: Style | StyleName | None = None,
    dpi: float = DPI,
) -> Axes:
    """Draw the radiograph with the class map of one pathology, before fusion and relative to its own peak.

    Args:
        axes: axes to draw on.
        explanation: the explanation.
        pathology: one of those that are ranked.
        radiograph: wanted where the explanation was loaded, as that does not store pixels.
        outlines: outline what reaches half of the peak.
        peaks: number the strongest cell by the pathology's rank.
        sides: mark the patient's sides, where the header says which they are.
        max_opacity: opacity of the strongest evidence, in (0, 1].
        colours: colour of a pathology by name, where it is not the package's own.
        style: how text and lines look; by default as Matplotlib's settings say.
        dpi: pixels in an inch of the image, for axes of the size that these have now.

    Returns:
        The axes.

    Raises:
        OptionError: a pathology that is not ranked, an opacity out of range, or a colour that is none.
        OutputError: no radiograph, or not the one that was explained.

    >>> from cxr_explain.explaining.example import example_explanation
    >>> from matplotlib.figure import Figure
    >>> explanation = example_explanation()
    >>> axes = draw_class_map(Figure().add_subplot(), explanation, explanation.ranking.pathologies[0])
    """
    content = _content(
        explanation, radiograph, style=style, colours=colours, max_opacity=max_opacity, contours=outlines
    )
    paint_class_map(_pieces(axes, content, dpi), _ranked(content, pathology), peaks=peaks, sides=sides)
    return axes


def draw_winners(
    axes: Axes,
    explanation: Explanation,
    radiograph: Radiograph | None = None,
    *,
    colours: Mapping[str, str] | None = None,
    style: Style | StyleName | None = None,
    dpi: float = DPI,
) -> Axes:
    """Draw the radiograph with each cell in the flat colour of the pathology that wins there.

    Args:
        axes: axes to draw on.
        explanation: the explanation.
        radiograph: wanted where the explanation was loaded, as that does not store pixels.
        colours: colour of a pathology by name, where it is not the package's own.
        style: how text and lines look; by default as Matplotlib's settings say.
        dpi: pixels in an inch of the image, for axes of the size that these have now.

    Returns:
        The axes.

    Raises:
        OptionError: a colour that is none.
        OutputError: no radiograph, or not the one that was explained.

    >>> from cxr_explain.explaining.example import example_explanation
    >>> from matplotlib.figure import Figure
    >>> axes = draw_winners(Figure().add_subplot(), example_explanation())
    """
    pieces = _pieces(axes, _content(explanation, radiograph, style=style, colours=colours), dpi)
    pieces.winners()
    return axes


def draw_boxes(
    axes: Axes,
    explanation: Explanation,
    reference_labels: ReferenceLabelsLike = None,
    *,
    masks: Mapping[str, ArrayLike] | None = None,
    names: bool = True,
    colours: Mapping[str, str] | None = None,
    style: Style | StyleName | None = None,
) -> Axes:
    """Draw reference boxes, and the outlines of reference masks, over what is there.

    Args:
        axes: axes to draw on, with or without a picture.
        explanation: the explanation of the radiograph that the boxes lie in.
        reference_labels: labels with boxes; by default those that the explanation brought with it.
        masks: reference mask by pathology, (H, W) bool in radiograph pixels.
        names: write the pathology's name beside each box.
        colours: colour of a pathology by name, where it is not the package's own.
        style: how text and lines look; by default as Matplotlib's settings say.

    Returns:
        The axes.

    Raises:
        OptionError: a mask of another size, or a colour that is none.
        ReferenceLabelError: labels that cannot be read, or a box without an extent.

    >>> from cxr_explain import ReferenceBox, ReferenceLabels
    >>> from cxr_explain.explaining.example import example_explanation
    >>> from matplotlib.figure import Figure
    >>> labels = ReferenceLabels(boxes=(ReferenceBox("Mass", 20, 30, 25, 25),))
    >>> len(draw_boxes(Figure().add_subplot(), example_explanation(), labels).lines)
    1
    """
    content = _content(explanation, None, reference_labels, style=style, colours=colours, needs_pixels=False)
    pieces = _pieces(axes, content, DPI)
    pieces.reference_boxes(names=names)
    pieces.mask_outlines(masks or {})
    return axes


def draw_key(
    axes: Axes,
    explanation: Explanation,
    *,
    loc: Corner | None = None,
    signs: bool | None = None,
    colours: Mapping[str, str] | None = None,
    style: Style | StyleName | None = None,
) -> Axes:
    """Draw the colour key of an overlay.

    Args:
        axes: empty axes, which the key fills from the top left corner; or those of a picture.
        explanation: the explanation.
        loc: corner of a picture in which the key stands, on a dark plate; "lower left" where there is an
            image on the axes.
        signs: also explain numbers, outlines and the like; by default not in a picture, which they would
            cover.
        colours: colour of a pathology by name, where it is not the package's own.
        style: how text and lines look; by default as Matplotlib's settings say.

    Returns:
        The axes.

    Raises:
        OptionError: another corner, or a colour that is none.

    >>> from cxr_explain.explaining.example import example_explanation
    >>> from matplotlib.figure import Figure
    >>> axes = draw_key(Figure().add_subplot(), example_explanation())
    """
    content = _content(explanation, None, style=style, colours=colours, needs_pixels=False)
    look = content.look
    entries = class_entries(content.styles, look, ranked=True)
    in_picture = loc is not None or bool(axes.images)
    further = sign_entries([content], ["fused"], look) if (signs is None and not in_picture) or signs else []
    if in_picture:
        place = loc or "lower left"
        check_option("loc", place, Corner)
        if shown := [*entries, *further]:
            Marks.of(axes, look).add(inset_key, first=True, entries=shown, loc=place)
    else:
        axes.set_axis_off()
        groups = [*([entry] for entry in entries), *([entry] for entry in further)]
        Marks(axes, look).add(key, groups=groups, ink=look.ink)
    return axes


def draw_predictions(
    axes: Axes,
    explanation: Explanation,
    *,
    colours: Mapping[str, str] | None = None,
    style: Style | StyleName | None = None,
) -> Axes:
    """Draw the probabilities of the ranked pathologies as bars, with their operating points.

    Args:
        axes: axes to draw on; as many pathologies are drawn as fit their height.
        explanation: the explanation.
        colours: colour of a pathology by name, where it is not the package's own.
        style: how text and lines look; by default as Matplotlib's settings say.

    Returns:
        The axes.

    Raises:
        OptionError: a colour that is none.

    >>> from cxr_explain.explaining.example import example_explanation
    >>> from matplotlib.figure import Figure
    >>> axes = draw_predictions(Figure().add_subplot(), example_explanation())
    """
    content = _content(explanation, None, style=style, colours=colours, needs_pixels=False)
    axes.set_axis_off()
    top = explanation.ranking.top
    Marks(axes, content.look).add(bars.predictions, top=top, styles=content.styles)
    return axes


def paint_overlay(pieces: Pieces, *, peaks: bool = True, sides: bool = True) -> None:
    """Everything of a fused overlay; `content.contours` says whether with outlines."""
    content = pieces.content
    peak = pieces.overlay()
    _marked(pieces, content.explanation.maps, content.styles, peaks=peaks, sides=sides)
    if text := message_of(content, peak):
        pieces.message(text)


def paint_class_map(pieces: Pieces, style: ClassStyle, *, peaks: bool = True, sides: bool = True) -> None:
    """Everything of one class map; `content.contours` says whether with outlines."""
    pieces.class_map(style)
    at = style.rank - 1
    _marked(pieces, pieces.content.explanation.class_maps[at : at + 1], (style,), peaks=peaks, sides=sides)
    if text := class_message_of(pieces.content, style):
        pieces.message(text)


def _marked(
    pieces: Pieces,
    maps: NDArray[np.float32],
    styles: tuple[ClassStyle, ...],
    *,
    peaks: bool,
    sides: bool,
) -> None:
    if sides:
        pieces.sides()
    pieces.unseen()
    if pieces.content.contours:
        pieces.outlines(maps, styles)
    if peaks:
        pieces.peaks(maps, styles)


def _content(
    explanation: Explanation,
    radiograph: Radiograph | None,
    reference_labels: ReferenceLabelsLike = None,
    *,
    style: Style | StyleName | None,
    colours: Mapping[str, str] | None = None,
    **options: Any,
) -> Content:
    look = Style.from_rcparams() if style is None else style_of(style)
    return Content.of(explanation, radiograph, reference_labels, look=look, colours=colours, **options)


def _ranked(content: Content, pathology: str) -> ClassStyle:
    style = content.style_of(pathology)
    if style is None:
        ranked = ", ".join(content.explanation.ranking.pathologies) or "none"
        raise OptionError(f"the pathology {pathology!r}", expected=f"one that is ranked: {ranked}")
    return style


def _pieces(axes: Axes, content: Content, dpi: float) -> Pieces:
    """Axes in the radiograph's pixels, for images of a resolution that their present size asks for."""
    if not 0 < dpi <= 2400:
        raise OptionError(f"dpi={dpi!r}", expected="a number of up to 2400")
    if axes.name != "rectilinear":
        raise OptionError(f"{axes.name} axes for a radiograph", expected="plain axes")
    if any(_twin(axes, other) for other in axes.figure.axes):
        raise OptionError("twin axes, on which a radiograph is distorted", expected="axes of their own")
    own = content.explanation.provenance.radiograph_sha256
    if any(isinstance(each, Marks) and each.explained not in ("", own) for each in axes.artists):
        raise OptionError(
            "axes that show another radiograph",
            expected="axes of its own",
            remedy="Or clear them: axes.clear().",
        )
    height, width = content.radiograph.shape
    if not axes.images:
        axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
        axes.set_aspect("equal")
    box = axes.get_window_extent()
    scale = min(box.width / width, box.height / height) * dpi / axes.figure.dpi
    scale = min(scale, _LONGEST / max(height, width))
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    return Pieces(axes, content, shape, max(4, round(HATCH_PERIOD * content.look.scale * dpi)))


def _twin(axes: Axes, other: Axes) -> bool:
    """Whether axes share an axis with others at the same place."""
    shared = axes.get_shared_x_axes().joined(axes, other) or axes.get_shared_y_axes().joined(axes, other)
    return other is not axes and shared and bool(axes.bbox.bounds == other.bbox.bounds)
