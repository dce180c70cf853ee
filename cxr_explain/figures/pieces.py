"""The pieces of which figures are made, each drawn on axes whose coordinates are the radiograph's pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from cxr_explain.errors import OptionError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures import marks, overlay
from cxr_explain.figures.artists import Samples
from cxr_explain.figures.content import Content
from cxr_explain.figures.marks import SHADOW, Marks
from cxr_explain.figures.palette import UNKNOWN_BOX, ClassStyle, Dashes
from cxr_explain.geometry import Geometry
from cxr_explain.pathologies import canonical_pathology
from cxr_explain.support.arrays import Floats, Mask, Points, Shape, as_mask

HATCH_PERIOD = 0.075
"""Distance of the lines that hatch what the model did not see, in inches."""

BOX_DASHES: Dashes = (0, (3.2, 2.2))

ShownPart = tuple[int, int, int, int]
"""(left, top, right, bottom) of a part of the radiograph, in its pixels."""

_MASK_OPACITY = 0.35
_SMALL_PICTURE = 1.6  # inches, where ordinary text has 7.4 points: below, lines are thinner
_THINNEST = 0.6


@dataclass(eq=False)
class Pieces:
    """What can be drawn of one explanation, in one axes.

    Args:
        axes: axes whose coordinates are the radiograph's pixels.
        content: what there is to draw.
        shape: height and width of the images that are made, in samples.
        period: distance in samples of the lines that hatch what the model did not see.
        window: the part of the radiograph that the axes show; all of it by default.
    """

    axes: Axes
    content: Content
    shape: Shape
    period: int
    window: ShownPart | None = None
    labels: Marks = field(init=False)

    def __post_init__(self) -> None:
        self.labels = Marks.of(self.axes, self.content.look)
        self.labels.explained = self.content.explanation.provenance.radiograph_sha256

    def radiograph(self) -> None:
        """The radiograph as it is."""
        self._image(np.repeat(overlay.to_bytes(self.background)[..., None], 3, axis=2))

    def overlay(self) -> float:
        """The radiograph with the fused map; gives the largest sum of evidence that it shows."""
        over = overlay.maps_over(
            self.background,
            self._shown,
            self.content.styles,
            self.period,
            max_opacity=self.content.max_opacity,
            peak=self._peak_of(self.content.explanation.maps),
        )
        self._image(over.rgb)
        return over.peak

    def class_map(self, style: ClassStyle) -> None:
        """The radiograph with the positive part of one class map, in the pathology's colour."""
        class_maps, at = self.content.explanation.class_maps, style.rank - 1
        over = overlay.maps_over(
            self.background,
            self._shown,
            self.content.styles,
            self.period,
            maps=class_maps,
            shown=[style.rank],
            max_opacity=self.content.max_opacity,
            peak=self._peak_of(class_maps[at : at + 1]),
        )
        self._image(over.rgb)

    def winners(self) -> None:
        """The radiograph with each cell in the flat colour of the pathology that wins there."""
        self._image(overlay.winners_over(self.background, self._shown, self.content.styles, self.period))

    def masks(self, masks: Mapping[str, ArrayLike]) -> None:
        """The radiograph with reference masks, filled and outlined.

        Raises:
            OptionError: a mask of another type or size than the radiograph.
        """
        rgb = np.repeat(self.background[..., None], 3, axis=2)
        for pathology, given in masks.items():
            mask = self._mask(pathology, given)
            colour = np.array(to_rgb(self.content.colour_of(pathology) or UNKNOWN_BOX), np.float32)
            shown = self._sampled(mask)
            rgb[shown] = (1 - _MASK_OPACITY) * rgb[shown] + _MASK_OPACITY * colour
        self._image(overlay.to_bytes(rgb))
        self.mask_outlines(masks)

    def mask_outlines(self, masks: Mapping[str, ArrayLike]) -> None:
        """Lines around reference masks.

        Raises:
            OptionError: a mask of another type or size than the radiograph.
        """
        for pathology, given in masks.items():
            colour = self.content.colour_of(pathology) or UNKNOWN_BOX
            for line in overlay.mask_outlines(self._mask(pathology, given)):
                self._line(line, colour, "solid", 1.0)

    def outlines(self, maps: NDArray[np.float32], styles: tuple[ClassStyle, ...]) -> None:
        """Lines around what reaches half of each pathology's own peak, unless that is faint."""
        for style, values, is_strong in zip(styles, maps, overlay.strong(maps), strict=True):
            if is_strong:
                self.outline(values, style.colour, style.dashes)

    def outline(
        self,
        values: NDArray[np.float32],
        colour: str,
        dashes: Dashes = "solid",
        geometry: Geometry | None = None,
    ) -> None:
        """Lines around what reaches half of the peak of one map (I, J), the content's or another model's."""
        for line in overlay.outlines(values, geometry or self.content.explanation.geometry):
            self._line(line, colour, dashes, 0.9)

    def peaks(self, maps: NDArray[np.float32], styles: tuple[ClassStyle, ...]) -> None:
        """The number of each pathology at its strongest cell."""
        for style, values in zip(styles, maps, strict=True):
            if (point := self.content.explanation.geometry.peak_of(values)) is not None:
                extent = _extent_at_peak(values, self.content.explanation.geometry)
                self.labels.add(marks.badge, point=point, style=style, extent=extent)

    def unseen(self) -> None:
        """The edges of what the model saw, and a label in what it did not."""
        geometry = self.content.explanation.geometry
        if geometry.sees_everything:
            return
        unseen = self.content.words("not seen by the model")
        left, top, right, bottom = geometry.seen_box
        self._frame((left, top, right, bottom), "white", "solid", 0.7)
        height, width = geometry.radiograph_shape
        for corners in ((0, 0, left, height), (right, 0, width, height)):
            self.labels.add(marks.strip_label, corners=corners, text=unseen)
        for corners in ((0, 0, width, top), (0, bottom, width, height)):
            self.labels.add(marks.strip_label, corners=corners, text=unseen)

    def reference_boxes(self, *, names: bool = True) -> None:
        """Dashed outlines of the reference boxes, with their names."""
        for box in self.content.boxes:
            colour = self.content.colour_of(box.pathology) or UNKNOWN_BOX
            corners = (box.x, box.y, box.x + box.width, box.y + box.height)
            self._frame(corners, colour, BOX_DASHES, 1.2)
            if names:
                name = self.content.look.name_of(box.pathology)
                texts = (self.content.words("reference box of", pathology=name), name)
                self.labels.add(marks.box_label, corners=corners, texts=texts, colour=colour)

    def sides(self) -> None:
        """The patient's sides, as a viewer marks them; nothing where the header does not say."""
        for text, at_right in zip(self.content.sides or (), (False, True), strict=False):
            self.labels.add(marks.side, text=text, at_right=at_right)

    def scale_bar(self) -> None:
        """A bar of a round length; nothing where the pixel spacing is not known."""
        if self.content.radiograph.pixel_spacing is not None:
            self.labels.add(marks.scale_bar, spacing=self.content.radiograph.pixel_spacing[1])

    def notice(self, text: str) -> None:
        """A notice at the upper left that goes with the picture wherever it is cut out."""
        self.labels.add(marks.notice, text=text)

    def message(self, text: str) -> None:
        """Say in words what there is in place of a map."""
        self.labels.add(marks.message, text=text)

    def frame(self) -> None:
        """A hairline around the image: the margin of a radiograph may be as white as the page."""
        look = self.content.look
        corners = {"x": [0, 1, 1, 0, 0], "y": [0, 0, 1, 1, 0]}
        line = Line2D(
            corners["x"],
            corners["y"],
            color=look.rule,
            linewidth=0.5 * look.scale * look.line_width,
            transform=self.axes.transAxes,
            solid_joinstyle="miter",
        )
        line.set_zorder(3)
        self.axes.add_line(line)
        line.set_clip_on(False)

    @cached_property
    def background(self) -> Floats:
        """(h, w) grey levels of what the axes show, in [0, 1]."""
        left, top, right, bottom = self.shown_window
        return overlay.grey(self.content.radiograph.display[top:bottom, left:right], self.shape)

    @property
    def shown_window(self) -> ShownPart:
        """What the axes show, as (left, top, right, bottom)."""
        height, width = self.content.radiograph.shape
        return self.window or (0, 0, width, height)

    @cached_property
    def _shown(self) -> Explanation:
        """The explanation in what the axes show."""
        explanation = self.content.explanation
        if self.window is None:
            return explanation
        return replace(explanation, geometry=explanation.geometry.within(self.window))

    def _peak_of(self, maps: NDArray[np.float32]) -> float | None:
        """What opacities are relative to: the whole radiograph, also in a part of it."""
        return None if self.window is None else overlay.evidence_peak(maps, self.content.explanation.geometry)

    def _mask(self, pathology: str, given: ArrayLike) -> Mask:
        mask, shape = as_mask(given), self.content.explanation.geometry.radiograph_shape
        if mask.shape != shape:
            raise OptionError(f"a mask of {mask.shape} for {pathology!r}", expected=f"{shape}")
        return mask

    def _sampled(self, mask: Mask) -> Mask:
        left, top, right, bottom = self.shown_window
        rows, columns = (
            start + ((np.arange(samples) + 0.5) * (end - start) / samples).astype(np.intp)
            for start, end, samples in ((top, bottom, self.shape[0]), (left, right, self.shape[1]))
        )
        return np.asarray(mask[rows[:, None], columns])

    def _image(self, pixels: NDArray[np.uint8]) -> None:
        left, top, right, bottom = self.shown_window
        self.axes.add_image(Samples(self.axes, pixels, (left, right, bottom, top)))

    def _frame(
        self, corners: tuple[float, float, float, float], colour: str, dashes: Dashes, weight: float
    ) -> None:
        left, top, right, bottom = corners
        line = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        self._line(np.array(line, np.float64), colour, dashes, weight)

    def _line(self, points: Points, colour: str, dashes: Dashes, weight: float) -> None:
        look = self.content.look
        weight *= look.scale * look.line_width * self._thinner
        line = Line2D(*points.T, color=colour, linewidth=weight, linestyle=dashes, path_effects=SHADOW)
        self.axes.add_line(line)

    @cached_property
    def _thinner(self) -> float:
        """A factor of line widths, below 1 in a picture that is small beside its text."""
        box = self.axes.get_window_extent()
        side = min(box.width, box.height) / (self.axes.figure.dpi * self.content.look.scale)
        return min(1.0, max(_THINNEST, side / _SMALL_PICTURE))


def _extent_at_peak(values: NDArray[np.float32], geometry: Geometry) -> float:
    """How far what reaches half of the peak reaches from the strongest cell, in pixels of the radiograph."""
    reached = values >= 0.5 * values.max()
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    across, down = _run(reached[row], int(column)), _run(reached[:, column], int(row))
    return float(geometry.side * max(across / values.shape[1], down / values.shape[0]))


def _run(reached: Mask, at: int) -> int:
    """Length of the run of true values around an index."""
    ends = np.flatnonzero(~reached)
    position = int(np.searchsorted(ends, at))
    before = int(ends[position - 1]) if position else -1
    after = int(ends[position]) if position < len(ends) else len(reached)
    return after - before - 1


def message_of(content: Content, peak: float) -> str:
    """Why there is no overlay, or none that shows where; '' where there is one.

    Args:
        content: what is drawn.
        peak: the largest sum of evidence that the overlay shows.
    """
    explanation, words = content.explanation, content.words
    if explanation.ranking.k == 0:
        return words("no pathology to explain")
    if len(explanation.without_gradient) == explanation.ranking.k:
        return words("no gradient reaches this layer")
    if explanation.maps.shape[1:] == (1, 1):
        return words("one value for the whole image")
    if peak:
        return ""
    if explanation.maps.max() > 0:  # what is shown has none, but the model saw more
        return words("evidence in the margin alone")
    maps = "class map" if explanation.ranking.k == 1 else "fused map" if content.fused else "class maps"
    return words(f"no positive evidence in the {maps}")


def class_message_of(content: Content, style: ClassStyle) -> str:
    """Why a class map shows nothing; '' where it does."""
    explanation = content.explanation
    if canonical_pathology(style.pathology) in map(canonical_pathology, explanation.without_gradient):
        return content.words("no gradient reaches this layer")
    values = explanation.class_maps[style.rank - 1]
    if values.shape == (1, 1):
        return content.words("one value for the whole image")
    return "" if values.max(initial=0) > 0 else content.words("no positive evidence in the class map")


def has_peak_beyond(maps: NDArray[np.float32], geometry: Geometry) -> bool:
    """Whether the strongest cell of some of K maps lies beyond the picture, where an arrow points to it.

    Args:
        maps: (K, I, J).
        geometry: where the maps lie in what the picture shows.
    """
    height, width = geometry.radiograph_shape
    peaks = map(geometry.peak_of, maps)
    return any(peak and not (0 <= peak[0] <= width and 0 <= peak[1] <= height) for peak in peaks)
