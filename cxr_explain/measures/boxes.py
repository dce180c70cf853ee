"""Boxes around what a map marks, against reference boxes: NIH ChestX-ray14's localisation protocol.

Boxes are (n, 4) float64: left, top, right, bottom, in the map's pixels, counted from the outer edge of the
first one: a box around pixel (row i, column j) is (j, i, j + 1, i + 1).

The protocol of Wang et al. 2017: scale a class map to 0 ... 255, cut it at a level, draw a box around each
region that is left, and call a reference box found where the intersection with some box exceeds a share T of
that box's own area (IoBB). Boxes of all levels are candidates. Where an image has several reference boxes of
one pathology (NIH has none), a candidate is measured against the one it fits best, and the image counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import find_objects, label

from cxr_explain.errors import OptionError
from cxr_explain.measures.segmentation import min_max
from cxr_explain.pathologies import ReferenceBox
from cxr_explain.support.arrays import as_map, as_mask

BoxArray = NDArray[np.float64]
"""(n, 4): left, top, right, bottom."""

NIH_LEVELS = (60.0, 180.0)
"""Grey levels of 255 at which Wang et al. cut a map."""

IOBB_THRESHOLDS = tuple(tenth / 10 for tenth in range(1, 10))
"""T(IoBB) = 0.1 ... 0.9."""

_EIGHT_NEIGHBOURS = np.ones((3, 3), int)


@dataclass(frozen=True)
class BoxAccuracy:
    """Localisation at one T(IoBB).

    Args:
        threshold: T.
        accuracy: share of the cases in which a box exceeds T; None without a case.
        false_positives: boxes a case that do not exceed T; None without a case.
        cases: images with a reference box.
    """

    threshold: float
    accuracy: float | None
    false_positives: float | None
    cases: int


def region_boxes(mask: ArrayLike) -> BoxArray:
    """The box around each connected region of a mask; pixels that touch by a corner are connected.

    Args:
        mask: (H, W) bool.

    Returns:
        (n, 4), in the order in which the regions' first pixels are met row by row.

    >>> region_boxes([[True, True, False, True]]).tolist()
    [[0.0, 0.0, 2.0, 1.0], [3.0, 0.0, 4.0, 1.0]]
    """
    regions, _ = label(as_mask(mask), _EIGHT_NEIGHBOURS)
    found = [(x.start, y.start, x.stop, y.stop) for y, x in find_objects(regions)]
    return np.array(found, np.float64).reshape(-1, 4)


def map_boxes(saliency: ArrayLike, *, levels: Sequence[float] = NIH_LEVELS) -> BoxArray | None:
    """The boxes around the regions of a map's positive part above each level.

    Args:
        saliency: (H, W), signed; its positive part is scaled to 0 ... 255 by its least and largest value.
        levels: grey levels from 0 to 255; a region is what is greater than the level.

    Returns:
        (n, 4), by level; no box (0, 4) for an even map; None for a map without a positive value.

    Raises:
        OptionError: a level out of range, or a map that is not finite.

    Source:
        Wang et al., ChestX-ray8, CVPR 2017, arXiv 1705.02315, section 4 (disease localization).

    >>> map_boxes([[0.0, 100.0, 200.0, 255.0]]).tolist()
    [[1.0, 0.0, 4.0, 1.0], [2.0, 0.0, 4.0, 1.0]]
    """
    if not all(0 <= level < 255 for level in levels):
        raise OptionError(f"the levels {tuple(levels)}", expected="0 to below 255")
    positive = np.maximum(as_map(saliency), 0)
    if not positive.any():
        return None
    scaled = min_max(positive)
    return np.concatenate([np.empty((0, 4)), *(region_boxes(scaled > level / 255) for level in levels)])


def boxes_of(references: Iterable[ReferenceBox], pathology: str) -> BoxArray:
    """The reference boxes of a pathology, (n, 4).

    >>> boxes_of([ReferenceBox("Mass", 10, 20, 30, 40)], "Mass").tolist()
    [[10.0, 20.0, 40.0, 60.0]]
    """
    found = [
        (box.x, box.y, box.x + box.width, box.y + box.height)
        for box in references
        if box.pathology == pathology
    ]
    return np.array(found, np.float64).reshape(-1, 4)


def iobb(boxes: ArrayLike, references: ArrayLike) -> NDArray[np.float64]:
    """Intersection over the detected box: the share of each box that lies in each reference box.

    Args:
        boxes: (n, 4).
        references: (m, 4).

    Returns:
        (n, m), 0 to 1. A small box in a large reference box scores 1: it asks where, not how far.

    Raises:
        OptionError: another shape, or a box without an area.

    Source:
        Wang et al., ChestX-ray8, CVPR 2017, section 4.

    >>> iobb([[0, 0, 4, 1]], [[2, 0, 10, 10], [0, 0, 4, 1]]).tolist()
    [[0.5, 1.0]]
    """
    detected, there = as_boxes(boxes), as_boxes(references)
    low = np.maximum(detected[:, None, :2], there[None, :, :2])
    high = np.minimum(detected[:, None, 2:], there[None, :, 2:])
    area = (detected[:, 2:] - detected[:, :2]).prod(axis=1)
    return np.asarray(np.clip(high - low, 0, None).prod(axis=2) / area[:, None])


def box_accuracy(
    cases: Iterable[tuple[ArrayLike | None, ArrayLike]], *, thresholds: Sequence[float] = IOBB_THRESHOLDS
) -> tuple[BoxAccuracy, ...]:
    """Accuracy and false positives at each T(IoBB).

    Args:
        cases: for each image the map's boxes (n, 4), as :func:`map_boxes` gives them, and the reference
            boxes (m, 4). Images without a reference box, or without evidence in the map (None), are left out.
        thresholds: T; a box is right where its IoBB is greater.

    Returns:
        One entry for each T.

    Raises:
        OptionError: a T out of range, or what is no box.

    Source:
        Wang et al., ChestX-ray8, CVPR 2017, section 4: accuracy and average false positive number.

    >>> box_accuracy([([[0, 0, 4, 1], [8, 8, 9, 9]], [[2, 0, 10, 4]])], thresholds=[0.4, 0.5])
    (BoxAccuracy(threshold=0.4, accuracy=1.0, false_positives=1.0, cases=1), ...accuracy=0.0...)
    """
    if not all(0 <= threshold < 1 for threshold in thresholds):
        raise OptionError(f"the thresholds {tuple(thresholds)}", expected="0 to below 1")
    best = [
        iobb(boxes, there).max(axis=1) for boxes, there in cases if boxes is not None and len(as_boxes(there))
    ]
    return tuple(_accuracy(best, threshold) for threshold in thresholds)


def whole_box(shape: tuple[int, int]) -> BoxArray:
    """One box around everything, (1, 4). Its IoBB is the reference's share of the area: what chance gives.

    >>> iobb(whole_box((10, 10)), [[0, 0, 5, 5]]).item()
    0.25
    """
    height, width = shape
    return np.array([[0.0, 0.0, width, height]])


def as_boxes(boxes: ArrayLike) -> BoxArray:
    """Boxes as a float64 array (n, 4).

    Raises:
        OptionError: another shape, values that are not finite, or a box without an area.

    >>> as_boxes([]).shape
    (0, 4)
    """
    values = np.asarray(boxes, np.float64)
    if not values.size:
        return np.empty((0, 4))
    if values.ndim != 2 or values.shape[1] != 4 or not np.isfinite(values).all():
        raise OptionError(f"boxes of shape {values.shape}", expected="finite (n, 4)")
    if not (values[:, 2:] > values[:, :2]).all():
        raise OptionError("a box without an area", expected="left < right and top < bottom")
    return values


def _accuracy(best: list[NDArray[np.float64]], threshold: float) -> BoxAccuracy:
    if not best:
        return BoxAccuracy(threshold, None, None, 0)
    right = [scores > threshold for scores in best]
    return BoxAccuracy(
        threshold,
        float(np.mean([found.any() for found in right])),
        float(np.mean([(~found).sum() for found in right])),
        len(best),
    )
