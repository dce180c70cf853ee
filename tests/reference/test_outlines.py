"""Run lengths and polygons: COCO's text read aloud, its library, Pillow's polygons, and texts that lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from cxr_explain.errors import ReferenceLabelError
from cxr_explain.reference.outlines import Polygons, RunLengths, checked_shape

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12))


def slow_counts(mask: np.ndarray) -> str:
    """COCO's text of a mask, character by character."""
    runs, current = [0], False
    for value in mask.T.ravel():
        if bool(value) != current:
            runs.append(0)
            current = not current
        runs[-1] += 1
    return text_of([run - runs[at - 2] if at > 2 else run for at, run in enumerate(runs)])


def text_of(numbers: list[int]) -> str:
    """Five bits a character, least first, until what is left is only the sign."""
    text = ""
    for number in numbers:
        more = True
        while more:
            bits, number = number & 31, number >> 5
            more = number != (-1 if bits & 16 else 0)
            text += chr(48 + bits + (32 if more else 0))
    return text


@given(masks)
def test_the_text_is_its_definition_and_gives_the_mask_back(mask: np.ndarray) -> None:
    found = RunLengths.of(mask)
    assert found.counts == slow_counts(mask)
    assert found.shape == mask.shape
    assert found.is_empty == (not mask.any())
    np.testing.assert_array_equal(found.mask(), mask)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # pycocotools and NumPy 2
@given(masks)
def test_the_text_is_pycocotools_own(mask: np.ndarray) -> None:
    coco = pytest.importorskip("pycocotools.mask")
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    found = RunLengths(tuple(theirs["size"]), theirs["counts"].decode())
    assert found == RunLengths.of(mask)
    np.testing.assert_array_equal(found.mask(), coco.decode(theirs).astype(bool))


def test_a_large_mask_of_a_radiograph() -> None:
    mask = np.zeros((2320, 2828), bool)
    mask[400:1900, 300:2500] = np.random.default_rng(0).random((1500, 2200)) < 0.01
    np.testing.assert_array_equal(RunLengths.of(mask).mask(), mask)


def test_a_polygon_is_drawn_with_its_outline() -> None:
    square = Polygons((6, 8), (((1, 2), (4, 2), (4, 4), (1, 4)),)).mask()
    expected = np.zeros((6, 8), bool)
    expected[2:5, 1:5] = True  # the points' own pixels included
    np.testing.assert_array_equal(square, expected)


def test_polygons_are_united_clipped_and_may_be_lines_or_none() -> None:
    both = Polygons((5, 5), (((0, 0), (1, 0), (1, 1), (0, 1)), ((3, 3), (90, 3), (90, 90), (3, 90)))).mask()
    expected = np.zeros((5, 5), bool)
    expected[:2, :2] = expected[3:, 3:] = True
    np.testing.assert_array_equal(both, expected)
    assert Polygons((3, 3), (((0, 1), (2, 1)),)).mask().sum() == 3
    nothing = Polygons((3, 4), ())
    assert nothing.is_empty
    assert nothing.mask().shape == (3, 4)
    assert not nothing.mask().any()


@pytest.mark.parametrize(
    "counts",
    [
        "",
        "2",  # too few
        "222",  # too many
        text_of([-1, 4, 1]),  # adds up, but negative
        text_of([4])[:-1] + "T" + "P" * 12 + "0",  # 4, in more characters than any mask needs
        "2" + text_of([2**40]),
        "2" + text_of([2**33] * 2),
        "R",  # more is promised
        "2 2",
        "2\x7f2",
        "2é",
        text_of([4, 2**33, 0, 2**33]),
        b"22",
        None,
        [2, 2],
        7,
    ],
)
def test_counts_that_lie_are_refused(counts: object) -> None:
    with pytest.raises(ReferenceLabelError):
        RunLengths((2, 2), counts)  # type: ignore[arg-type]


@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=30))
def test_any_text_is_a_mask_or_refused(counts: str) -> None:
    try:
        found = RunLengths((5, 4), counts)
    except ReferenceLabelError:
        return
    assert found.mask().shape == (5, 4)


@pytest.mark.parametrize(
    "shape",
    [
        [0, 5],
        [-1, 5],
        [5],
        [5, 5, 5],
        [5.0, 5],
        [True, 5],
        ["5", 5],
        "55",
        None,
        {},
        [10**6, 10**6],
        [10**4000, 5],
    ],
)
def test_sizes_that_lie_are_refused_before_anything_is_allocated(shape: object) -> None:
    for build in (checked_shape, lambda size: RunLengths(size, "22"), lambda size: Polygons(size, ())):
        with pytest.raises(ReferenceLabelError):
            build(shape)


@pytest.mark.parametrize(
    "polygon",
    [
        (),
        ((1, 2),),
        ((1, 2), (float("nan"), 2)),
        ((1, 2), (float("inf"), 2)),
        ((1, 2), (10**400, 2)),
        ((1, 2), (1e9, 2)),
        ((1, 2), (1, 2, 3)),
        ((1, 2), ("1", 2)),
        ((1, 2), (True, 2)),
        ((1, 2), None),
    ],
)
def test_points_that_lie_are_refused(polygon: tuple[object, ...]) -> None:
    with pytest.raises(ReferenceLabelError):
        Polygons((5, 5), (polygon,))  # type: ignore[arg-type]
