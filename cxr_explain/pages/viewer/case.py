"""One explanation as the viewer is told of it: where its maps lie, their colours, and how they were fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.chest.orientation import image_sides
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures.palette import UNKNOWN_BOX, ClassStyle, class_styles
from cxr_explain.pages.templating import image_url
from cxr_explain.pages.viewer.images import case_jpeg
from cxr_explain.pages.viewer.script_data import column
from cxr_explain.pathologies import ReferenceBox, canonical_pathology


def viewer_case(
    explanation: Explanation,
    boxes: Sequence[ReferenceBox] = (),
    *,
    reference: Explanation | None = None,
    colours: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What the viewer shows of an explanation, but for the pixels.

    The maps of all K pathologies come as they were fused; for fewer, the viewer fuses the class maps anew.

    Args:
        explanation: the explanation.
        boxes: reference boxes, in the radiograph's pixels.
        reference: class maps of pathologies that the reference standard has, ranked or not.
        colours: colour of a pathology by name, where it is not the package's own.

    Raises:
        OptionError: a colour that is none.
    """
    geometry, provenance = explanation.geometry, explanation.provenance
    ranked = explanation.ranking.pathologies
    beside = () if reference is None else reference.ranking.pathologies
    # The ranked ones as every figure has them; the others beside them, as none of these lies under another.
    styles = dict(zip(ranked, class_styles(ranked, colours), strict=True))
    further = tuple(name for name in beside if name not in styles)
    styles |= dict(zip(further, class_styles((*ranked, *further), colours)[len(ranked) :], strict=True))
    settings = provenance.map_settings
    sides = image_sides(provenance.patient_orientation)
    return {
        "shape": list(geometry.radiograph_shape),
        "square": [geometry.left, geometry.top, geometry.side],
        "seen": list(geometry.seen_box),
        "sides": None if sides is None else list(sides),
        "ranked": list(ranked),
        "styles": [_style(styles[name]) for name in ranked],
        "cells": list(explanation.maps.shape),
        "maps": column(explanation.maps, "float32"),
        "classMaps": column(explanation.class_maps, "float32"),
        "fusion": {
            "normalisation": settings.normalisation,
            "activation": settings.activation,
            "fused": settings.fused,
        },
        "withoutGradient": list(explanation.without_gradient),
        "boxes": [
            [box.pathology, box.x, box.y, box.width, box.height, _colour_of(box, styles)] for box in boxes
        ],
        "referenceMaps": reference
        and {
            "pathologies": list(beside),
            "styles": [_style(styles[name]) for name in beside],
            "classMaps": column(reference.class_maps, "float32"),
        },
    }


def viewer_image(display: NDArray[np.uint8], most: int | None = None) -> dict[str, Any]:
    """A copy of a radiograph's display image, (H, W) uint8, for the viewer, of no more bytes than that."""
    jpeg, (width, height) = case_jpeg(display, most)
    return {"url": image_url(jpeg, "jpeg"), "width": width, "height": height}


def _style(style: ClassStyle) -> dict[str, Any]:
    return {"colour": style.colour, "ink": style.ink, "sign": style.sign}


def _colour_of(box: ReferenceBox, styles: Mapping[str, ClassStyle]) -> str:
    name = canonical_pathology(box.pathology)
    known = (style.colour for each, style in styles.items() if canonical_pathology(each) == name)
    return next(known, UNKNOWN_BOX)
