"""One explanation as the viewer is told of it: where its maps lie, their colours, and how they were fused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_explain.chest.orientation import image_sides
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures.overlay import fused_overlay, mask_outlines
from cxr_explain.figures.palette import UNKNOWN_BOX, ClassStyle, class_styles
from cxr_explain.pages.templating import image_url
from cxr_explain.pages.viewer.images import case_jpeg, jpeg_within
from cxr_explain.pages.viewer.script_data import column
from cxr_explain.pathologies import ReferenceBox, canonical_pathology
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.arrays import Mask

_THUMBNAIL, _THUMBNAIL_QUALITY = 120, 75  # pixels of its longer side, and of a JPEG
_EDGE = 0.0006  # of the longer side, by which a simplified line may differ: half a pixel of the viewer's copy
_STAIR = 0.6  # pixels: a line around pixels has stairs of half a pixel
_CORNERS = 3  # and the first again


def viewer_case(
    explanation: Explanation,
    boxes: Sequence[ReferenceBox] = (),
    masks: Mapping[str, Mask] = MappingProxyType({}),
    *,
    reference: Explanation | None = None,
    colours: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What the viewer shows of an explanation, but for the pixels.

    The maps of all K pathologies come as they were fused; for fewer, the viewer fuses the class maps anew.

    Args:
        explanation: the explanation.
        boxes: reference boxes, in the radiograph's pixels.
        masks: reference mask (H, W) bool by pathology, of which the edges are shown.
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
            [box.pathology, box.x, box.y, box.width, box.height, _colour_of(box.pathology, styles)]
            for box in boxes
        ],
        "outlines": [
            [name, lines, _colour_of(name, styles)] for name, mask in masks.items() if (lines := _edges(mask))
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


def thumbnail_of(explanation: Explanation, radiograph: Radiograph) -> str:
    """Address of a small picture of a radiograph under its fused map, for a list of many."""
    pixels = fused_overlay(explanation, radiograph, longest=_THUMBNAIL)
    return image_url(jpeg_within(Image.fromarray(pixels), best=_THUMBNAIL_QUALITY), "jpeg")


def _edges(mask: Mask) -> list[list[float]]:
    """The lines around the parts of a mask, each as x, y, x, y, ... of the radiograph, with fewer corners."""
    from skimage.measure import approximate_polygon  # costs 0.2 s that a case without masks need not pay

    tolerance = max(_EDGE * max(mask.shape), _STAIR)
    lines = (approximate_polygon(line, tolerance) for line in mask_outlines(mask))
    return [line.round(1).ravel().tolist() for line in lines if len(line) > _CORNERS]


def _colour_of(pathology: str, styles: Mapping[str, ClassStyle]) -> str:
    name = canonical_pathology(pathology)
    known = (style.colour for each, style in styles.items() if canonical_pathology(each) == name)
    return next(known, UNKNOWN_BOX)
