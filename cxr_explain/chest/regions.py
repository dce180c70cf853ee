"""Regions of a radiograph: lungs, thorax, margins that show nothing, markers and burned-in text.

They come from fixed rules on a small copy of the radiograph, not from a trained model:
:mod:`~cxr_explain.chest.lung_template` finds the lungs,
:mod:`~cxr_explain.chest.lung_outlines` draws them, :mod:`~cxr_explain.chest.margins` and
:mod:`~cxr_explain.chest.markers` find what is no anatomy.
They are approximate. A large share is a question to look at the image, never a verdict on the model.

Measured, and no more is claimed:

- 100 phantoms of 512 pixels (`python -m benchmarks.regions_accuracy`): 89 recognised; median Dice 0.93 of
  the lungs and 0.96 of the thorax, worst twentieth below 0.82 and 0.88. Edema is mostly not recognised, and a
  large effusion is often cut off the lung. Of 129 burned-in letters and words, which are faint, 63 were
  found; of 73 boxes, 72 touched one.
- 80 radiographs of NIH ChestX-ray14, drawn at random and judged by eye, by no radiologist: 75 recognised,
  lungs acceptable in about 69. Wrong were a lung over the liver or cut in its middle. About 85 % of the
  markers were found, and about one box in six was none: a cable, jewellery, a chin, an arm.
- 34 of them with boxes of findings, at 1024 pixels: 27 recognised. What is refused is mostly a white lung, so
  that shares are not missing at random: the sicker a patient, the more often there is none.
- Of 150 such radiographs, none was recognised after a quarter turn, 3 with inverted grey levels, but about
  one in three upside down. Limbs beside a white shutter have been taken for chests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from cxr_explain.chest.lungs_and_thorax import (
    HEART,
    SMALLEST,
    TOO_SMALL,
    LungsAndThorax,
    find_lungs,
    lungs_from_masks,
    resampled,
)
from cxr_explain.chest.margins import margins_of
from cxr_explain.chest.markers import MarkerBox, marker_boxes
from cxr_explain.chest.thumbnail import thumbnail_of
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.arrays import Mask, Points, Shape

Share = Literal["outside_thorax", "outside_lungs", "border", "markers"]
"""What a share is of."""

Region = Literal["lungs", "thorax", "markers"]
"""What has an outline."""

Segment = Callable[[Radiograph], Mapping[str, ArrayLike] | str]
"""A segmentation: (h, w) masks of "Left Lung" and "Right Lung", and of "Heart" where it has one, of the whole
radiograph, at any resolution; or why there are none. See
:class:`~cxr_explain.chest.segmentation.Segmenter`."""

_CENTRE = 0.2  # of the sides: how far from the edges a chest that is not recognised may begin


@dataclass(frozen=True, eq=False)
class Regions:
    """Regions of one radiograph, in cells of a small grid that covers it.

    Args:
        shape: (h, w) of the grid, in cells.
        radiograph_shape: (H, W) of the radiograph, in pixels.
        lungs: (h, w) bool, both lung fields; None where not recognised.
        thorax: (h, w) bool, their hull with the chest wall; None where not recognised.
        markers: (h, w) bool, boxes around burned-in text and markers; None where too few pixels show letters.
        inside: (left, top, right, bottom) in radiograph pixels, within margins that show nothing.
        reasons: why a share cannot be estimated, by the share's name.
        outlines: by region, polygons (n, 2) x and y in radiograph pixels, to draw; () for what is None.
        heart: (h, w) bool, from a segmentation; None where the heart follows from the lungs.
    """

    shape: Shape
    radiograph_shape: Shape
    lungs: Mask | None = field(repr=False)
    thorax: Mask | None = field(repr=False)
    markers: Mask | None = field(repr=False)
    inside: tuple[float, float, float, float]
    reasons: Mapping[Share, str]
    outlines: Mapping[Region, tuple[Points, ...]] = field(repr=False)
    heart: Mask | None = field(default=None, repr=False)

    @property
    def thorax_box(self) -> tuple[float, float, float, float] | None:
        """(left, top, right, bottom) of the thorax in radiograph pixels; None where not recognised."""
        outlines = self.outlines.get("thorax")
        if not outlines:
            return None
        points = np.concatenate(outlines)
        (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return left, top, right, bottom


def regions_of(radiograph: Radiograph, *, segment: Segment | None = None) -> Regions:
    """Find the regions of one radiograph.

    Args:
        radiograph: a frontal view, at any size.
        segment: takes the place of the fixed rules for lungs and thorax.

    Raises:
        OptionError: masks of the segmentation that are missing or not two-dimensional.

    >>> regions = regions_of(Radiograph.from_array(np.zeros((200, 200), np.float32)))
    >>> regions.lungs is None, regions.reasons["outside_lungs"]
    (True, 'no place where the image resembles two lungs')
    """
    thumbnail, heart = thumbnail_of(radiograph), None
    if segment is None:
        found = find_lungs(radiograph, thumbnail)
    else:
        masks = segment(radiograph)
        found = masks if isinstance(masks, str) else lungs_from_masks(masks, thumbnail)
        if not isinstance(masks, str) and HEART in masks:
            heart = resampled(masks[HEART], thumbnail.shape)
    chest = None if isinstance(found, str) else found
    reasons: dict[Share, str] = {}
    if isinstance(found, str):
        reasons |= {"outside_thorax": found, "outside_lungs": found}
    small = min(radiograph.shape) < SMALLEST
    if small:
        reasons["markers"] = TOO_SMALL
    boxes = () if small else marker_boxes(thumbnail.values, _without_markers(chest, thumbnail.shape))
    left, top, right, bottom = margins_of(thumbnail.values)
    (h, w), (x, y) = thumbnail.shape, thumbnail.cell
    return Regions(
        shape=thumbnail.shape,
        radiograph_shape=radiograph.shape,
        lungs=chest.lungs if chest else None,
        thorax=chest.thorax if chest else None,
        markers=None if small else _cells_of(boxes, thumbnail.shape),
        inside=(left * x, top * y, (w - right) * x, (h - bottom) * y),
        reasons=MappingProxyType(reasons),
        outlines=_outlines(chest, boxes, (x, y)),
        heart=heart,
    )


def _outlines(
    chest: LungsAndThorax | None, boxes: tuple[MarkerBox, ...], cell: tuple[float, float]
) -> Mapping[Region, tuple[Points, ...]]:
    """All outlines in the radiograph's pixels, of which a cell has so many across and down."""
    outlines: dict[Region, tuple[Points, ...]] = {
        "lungs": chest.lung_outlines if chest else (),
        "thorax": (chest.thorax_outline,) if chest else (),
        "markers": tuple(box.corners for box in boxes),
    }
    return {region: tuple(line * cell for line in lines) for region, lines in outlines.items()}


def _without_markers(chest: LungsAndThorax | None, shape: Shape) -> Mask:
    """Where no markers are looked for: the thorax; where it is not known, the middle of the image."""
    if chest is not None:
        return chest.thorax
    middle = np.zeros(shape, bool)
    rows, columns = (slice(round(_CENTRE * side), round((1 - _CENTRE) * side)) for side in shape)
    middle[rows, columns] = True
    return middle


def _cells_of(boxes: tuple[MarkerBox, ...], shape: Shape) -> Mask:
    mask = np.zeros(shape, bool)
    for box in boxes:
        mask[box.top : box.bottom, box.left : box.right] = True
    return mask
