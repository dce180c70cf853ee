"""NIH's localisation protocol: boxes around regions, IoBB, accuracy and false positives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cxr_explain.errors import OptionError
from cxr_explain.measures.boxes import (
    IOBB_THRESHOLDS,
    BoxAccuracy,
    as_boxes,
    box_accuracy,
    boxes_of,
    iobb,
    map_boxes,
    region_boxes,
    whole_box,
)
from cxr_explain.pathologies import ReferenceBox

masks = arrays(bool, (6, 7))
whole_boxes = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 5), st.integers(1, 5)).map(
    lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
)


def slow_region_boxes(mask: np.ndarray) -> list[tuple[float, ...]]:
    """Flood from each pixel that no region has yet."""
    seen: set[tuple[int, ...]] = set()
    boxes = []
    for start in np.ndindex(mask.shape):
        if not mask[start] or start in seen:
            continue
        region, todo = set(), [start]
        while todo:
            i, j = todo.pop()
            if (i, j) in region or not (0 <= i < mask.shape[0] and 0 <= j < mask.shape[1] and mask[i, j]):
                continue
            region.add((i, j))
            todo += [(i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1)]
        seen |= region
        rows, columns = zip(*region, strict=True)
        boxes.append((min(columns), min(rows), max(columns) + 1.0, max(rows) + 1.0))
    return boxes


def slow_iobb(box: tuple[int, ...], reference: tuple[int, ...]) -> float:
    """Count the unit squares of the box that lie in the reference box."""
    cells = [(x, y) for x in range(box[0], box[2]) for y in range(box[1], box[3])]
    left, top, right, bottom = reference
    return sum(left <= x < right and top <= y < bottom for x, y in cells) / len(cells)


@given(masks)
def test_the_boxes_around_regions_are_their_definition(mask: np.ndarray) -> None:
    assert sorted(map(tuple, region_boxes(mask))) == sorted(slow_region_boxes(mask))


@given(whole_boxes, whole_boxes)
def test_the_iobb_is_its_definition(box: tuple[int, ...], reference: tuple[int, ...]) -> None:
    assert iobb([box], [reference]).item() == pytest.approx(slow_iobb(box, reference))


def test_a_map_of_the_reference_box_is_found_at_every_threshold() -> None:
    saliency = np.zeros((32, 32))
    saliency[4:10, 6:20] = 3
    reference = boxes_of([ReferenceBox("Mass", 6, 4, 14, 6), ReferenceBox("Nodule", 0, 0, 1, 1)], "Mass")
    found = map_boxes(saliency)
    np.testing.assert_array_equal(found, [[6, 4, 20, 10], [6, 4, 20, 10]])  # the same at both levels
    assert box_accuracy([(found, reference)]) == tuple(
        BoxAccuracy(threshold, 1.0, 0.0, 1) for threshold in IOBB_THRESHOLDS
    )
    inverted = box_accuracy([(map_boxes(3 - saliency), reference)])
    share = 14 * 6 / 32**2  # a box around all the rest is one around everything
    assert [row.accuracy for row in inverted] == [float(share > t) for t in IOBB_THRESHOLDS]


def test_a_map_without_a_positive_value_has_no_boxes_and_is_no_case() -> None:
    """Min-max alone would draw a box around the least negative values, and call it found."""
    assert map_boxes(-np.eye(5)) is map_boxes(np.zeros((5, 5))) is None
    (row,) = box_accuracy([(None, [[0, 0, 2, 2]])], thresholds=[0.1])
    assert row == BoxAccuracy(0.1, None, None, 0)


def test_what_is_negative_is_no_part_of_a_box() -> None:
    saliency = np.array([[-9.0, 0.0, 1.0, 2.0, 4.0]])  # of 0 ... 255: 0, 0, 63.75, 127.5, 255
    np.testing.assert_array_equal(map_boxes(saliency), [[2, 0, 5, 1], [4, 0, 5, 1]])


def test_an_even_map_has_no_box_and_misses() -> None:
    assert map_boxes(np.ones((5, 5))).shape == (0, 4)
    (row,) = box_accuracy([([], [[0, 0, 2, 2]])], thresholds=[0.1])
    assert row == BoxAccuracy(0.1, 0.0, 0.0, 1)


def test_several_boxes_several_references_and_images_without() -> None:
    detected = [[0, 0, 2, 2], [4, 4, 6, 6], [8, 8, 9, 9]]
    references = [[0, 0, 1, 2], [4, 4, 10, 6]]
    np.testing.assert_allclose(iobb(detected, references), [[0.5, 0], [0, 1], [0, 0]])
    cases = [(detected, references), (detected, []), ([[20, 20, 21, 21]], references)]
    (low, high) = box_accuracy(cases, thresholds=[0.4, 0.5])
    assert low == BoxAccuracy(0.4, 0.5, 1.0, 2)  # one of three wrong, and the one of the other case
    assert high == BoxAccuracy(0.5, 0.5, 1.5, 2)  # "greater": the half box is wrong as well


def test_no_case_is_not_estimable() -> None:
    assert box_accuracy([], thresholds=[0.1]) == (BoxAccuracy(0.1, None, None, 0),)
    assert box_accuracy([([[0, 0, 1, 1]], [])], thresholds=[0.1]) == (BoxAccuracy(0.1, None, None, 0),)


def test_a_random_single_pixel_is_at_chance_and_so_is_the_whole_image() -> None:
    reference = [[2, 3, 7, 8]]
    scores = [
        iobb([[column, row, column + 1, row + 1]], reference).item()
        for row in range(10)
        for column in range(10)
    ]
    assert np.mean(scores) == iobb(whole_box((10, 10)), reference).item() == 0.25


def test_levels_cut_at_255ths_of_the_range() -> None:
    ramp = np.arange(256.0)[None] + 7
    np.testing.assert_array_equal(map_boxes(ramp, levels=[60, 180]), [[61, 0, 256, 1], [181, 0, 256, 1]])


@pytest.mark.parametrize(
    "call",
    [
        lambda: as_boxes([[0, 0, 0, 1]]),
        lambda: as_boxes([[3, 0, 1, 1]]),
        lambda: as_boxes([0, 0, 1, 1]),
        lambda: as_boxes([[0, 0, math.nan, 1]]),
        lambda: map_boxes(np.zeros((2, 2)), levels=[255]),
        lambda: map_boxes(np.full((2, 2), np.nan)),
        lambda: box_accuracy([], thresholds=[1.0]),
        lambda: region_boxes(np.zeros((2, 2))),
    ],
)
def test_what_does_not_fit_is_refused(call: object) -> None:
    with pytest.raises(OptionError):
        call()  # type: ignore[operator]
