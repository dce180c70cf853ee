"""What a figure shows, checked before anything is laid out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self, get_args

import numpy as np

from cxr_explain.chest.orientation import image_sides
from cxr_explain.errors import CxrExplainWarning, OptionError, OutputError, ReferenceLabelError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.ranking import Prediction
from cxr_explain.explaining.stability import Stability
from cxr_explain.figures.comparison import ComparisonRow, comparison_rows
from cxr_explain.figures.overlay import MAX_OPACITY
from cxr_explain.figures.palette import ClassStyle, class_styles
from cxr_explain.figures.style import LIGHT, Style
from cxr_explain.figures.wording import Wording
from cxr_explain.options import FigurePart, check_option
from cxr_explain.pathologies import ReferenceBox, ReferenceLabels, ReferenceLabelsLike, canonical_pathology
from cxr_explain.radiograph import Radiograph


@dataclass(frozen=True, eq=False)
class Content:
    """An explanation, its radiograph and its reference standard.

    Args:
        explanation: the explanation to draw.
        radiograph: the radiograph that it explains.
        labels: reference labels; without states where none were given.
        boxes: reference boxes to outline, in the radiograph's pixels.
        max_opacity: opacity of the strongest evidence, in (0, 1].
        contours: whether to outline each pathology at half the peak of that pathology.
        look: how the figure looks.
        colours: colour of a pathology by name, where it is not the package's own.
        parts: what the figure has below and beside its images.
        disclaimer: whether the figure says what it is for.
        shared: how pathologies are drawn in a figure of several explanations.
        boxes_outside: reference boxes outside of the radiograph, which cannot be drawn; those among `boxes`
            are moved here.
    """

    explanation: Explanation
    radiograph: Radiograph
    labels: ReferenceLabels
    boxes: tuple[ReferenceBox, ...]
    max_opacity: float = MAX_OPACITY
    contours: bool = True
    look: Style = LIGHT
    colours: Mapping[str, str] | None = None
    parts: tuple[FigurePart, ...] = get_args(FigurePart)
    disclaimer: bool = True
    shared: tuple[ClassStyle, ...] = ()
    boxes_outside: tuple[ReferenceBox, ...] = ()

    @classmethod
    def of(
        cls,
        explanation: Explanation,
        radiograph: Radiograph | None = None,
        reference_labels: ReferenceLabelsLike = None,
        *,
        boxes: Iterable[ReferenceBox] | None = None,
        needs_pixels: bool = True,
        **look: Any,
    ) -> Self:
        """What there is to draw of an explanation.

        Args:
            explanation: the explanation to draw.
            radiograph: the radiograph that it explains; by default its own.
            reference_labels: in any form that `ReferenceLabels.coerce` takes; by default those that the
                explanation brought with it.
            boxes: reference boxes; those of the reference labels by default.
            needs_pixels: whether a radiograph is drawn, with a warning of boxes outside of it; without, none
                need be there.
            **look: the other fields.

        Raises:
            OutputError: no radiograph, or not the one that was explained.
            ReferenceLabelError: labels that cannot be read.
        """
        if reference_labels is None and explanation.reference is not None:
            reference_labels = explanation.reference.labels
        predicted = [prediction.pathology for prediction in explanation.ranking.predictions]
        labels = ReferenceLabels.coerce(reference_labels, further=predicted)
        drawn = labels.boxes if boxes is None else tuple(boxes)
        if needs_pixels or radiograph is not None:
            radiograph = explanation.own_radiograph(radiograph)
        else:
            radiograph = explanation.radiograph or _no_pixels(explanation)
        content = cls(explanation, radiograph, labels, drawn, **look)
        if needs_pixels:
            content._warn_of_boxes_outside()
        return content

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn; `draw_explanation` says what is raised."""
        explanation, shape = self.explanation, self.radiograph.shape
        if not 0 < self.max_opacity <= 1:
            raise OptionError(f"max_opacity={self.max_opacity!r}", expected="a number in (0, 1]")
        if shape != explanation.geometry.radiograph_shape:
            expected = f"the one that was explained, {explanation.geometry.radiograph_shape}"
            raise OutputError(f"a radiograph of {shape}", expected=expected)
        if not (np.isfinite(explanation.maps).all() and np.isfinite(explanation.class_maps).all()):
            raise OutputError("maps with values that are not finite", expected="finite maps")
        for box in self.boxes:
            _check_box(box)
        self._put_boxes_outside_apart()
        for part in self.parts:
            check_option("parts", part, FigurePart)
        _ = self.styles  # a wrong colour is refused before anything is drawn
        _ = self.unknown_letters

    @cached_property
    def rows(self) -> tuple[ComparisonRow, ...]:
        """Predictions beside reference labels."""
        return comparison_rows(self.explanation.ranking, self.labels)

    @cached_property
    def stabilities(self) -> dict[str, Stability]:
        """How sure the class maps are, where that was asked for, by the key of the words."""
        explanation = self.explanation
        found = {
            "stability": explanation.stability,
            "stability across models": explanation.stability_across_models,
        }
        return {said: each for said, each in found.items() if each is not None}

    @cached_property
    def unknown_letters(self) -> str:
        """Letters of names, of where data come from, and of the language that no font of this machine has."""
        names = (row.pathology for row in self.rows)
        boxed = (box.pathology for box in (*self.boxes, *self.boxes_outside))
        shown = map(self.look.name_of, (*names, *boxed))
        provenance, labels = self.explanation.provenance, self.labels
        others = self.explanation.stability_across_models
        models = (provenance.model, *(others.over if others else ()))
        about = (self.explanation.id, *models, *provenance.training_sets, labels.source)
        return self.look.check_letters((*shown, *about, labels.view or "", *self.look.words.texts))

    def _put_boxes_outside_apart(self) -> None:
        height, width = self.radiograph.shape
        outside = tuple(box for box in self.boxes if _lies_outside(box, height, width))
        object.__setattr__(self, "boxes", tuple(box for box in self.boxes if box not in outside))
        object.__setattr__(self, "boxes_outside", (*self.boxes_outside, *outside))

    def _warn_of_boxes_outside(self) -> None:
        if not self.boxes_outside:
            return
        height, width = self.radiograph.shape
        named = ", ".join(dict.fromkeys(box.pathology for box in self.boxes_outside))
        warnings.warn(
            f"Reference boxes outside of the radiograph of {width} x {height} pixels are not drawn: {named}."
            " Boxes are in the radiograph's own pixels.",
            CxrExplainWarning,
            stacklevel=4,
        )

    @property
    def words(self) -> Wording:
        """The figure's words in its language."""
        return self.look.words

    @property
    def phantom(self) -> bool:
        """The image is a computed phantom; an explanation saved before it knew takes the file's word."""
        return self.explanation.provenance.phantom or self.radiograph.phantom

    @property
    def phantom_only(self) -> bool:
        """The model was trained on phantoms alone."""
        return self.explanation.provenance.phantom_only

    @property
    def fused(self) -> bool:
        """Several class maps were fused into what is shown; one alone is not."""
        return self.explanation.provenance.map_settings.fused and self.explanation.ranking.k > 1

    @property
    def subject(self) -> str:
        """What the image is of, for headings."""
        return self.words("phantom" if self.phantom else "radiograph")

    @cached_property
    def styles(self) -> tuple[ClassStyle, ...]:
        """One style for each of the K pathologies, in the order of their ranks."""
        if self.shared:
            known = {canonical_pathology(style.pathology): style for style in self.shared}
            ranked = enumerate(self.explanation.ranking.pathologies, start=1)
            return tuple(
                replace(known[canonical_pathology(name)], pathology=name, rank=rank) for rank, name in ranked
            )
        return class_styles(self.explanation.ranking.pathologies, self.colours)

    @cached_property
    def sides(self) -> tuple[str, str] | None:
        """What the left and the right edge of the image point to; None where the header does not say."""
        return image_sides(self.radiograph.patient_orientation)

    def colour_of(self, pathology: str) -> str | None:
        """The colour of a pathology in this figure; None where the figure has none for it."""
        name = canonical_pathology(pathology)
        styles = (*self.styles, *self.shared)
        return next((each.colour for each in styles if canonical_pathology(each.pathology) == name), None)

    def prediction_of(self, pathology: str) -> Prediction | None:
        """What the model says of a pathology, ranked or not; None where it does not predict it."""
        name, all_of_them = canonical_pathology(pathology), self.explanation.ranking.predictions
        return next((each for each in all_of_them if canonical_pathology(each.pathology) == name), None)

    def style_of(self, pathology: str) -> ClassStyle | None:
        """The style of a pathology; None where it is not among the K."""
        name = canonical_pathology(pathology)
        return next((each for each in self.styles if canonical_pathology(each.pathology) == name), None)


def _no_pixels(explanation: Explanation) -> Radiograph:
    """What is known of a radiograph that is not at hand."""
    shape, provenance = explanation.geometry.radiograph_shape, explanation.provenance
    return Radiograph(
        np.broadcast_to(np.float32(0), shape),
        np.broadcast_to(np.uint8(0), shape),
        provenance.radiograph_sha256,
        explanation.id,
        "none",
        phantom=provenance.phantom,
    )


def _lies_outside(box: ReferenceBox, height: int, width: int) -> bool:
    across, down = (box.x < width and box.x + box.width > 0), (box.y < height and box.y + box.height > 0)
    return not (across and down)


def _check_box(box: ReferenceBox) -> None:
    edges = (box.x, box.y, box.width, box.height)
    if not all(math.isfinite(edge) for edge in edges) or box.width <= 0 or box.height <= 0:
        raise ReferenceLabelError(
            f"a reference box {edges} for {box.pathology!r}",
            expected="finite x, y and a positive width and height",
        )


@dataclass
class ContentBlock:
    """A block of the page that shows a part of the content.

    Args:
        content: the content of the figure.
        width: width of the block in inches.
    """

    content: Content
    width: float
