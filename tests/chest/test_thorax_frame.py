"""The frame of the thorax, against loops over cells and points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cxr_explain.chest.thorax_frame import (
    COARSE_CELLS,
    FINE_CELLS,
    FRAME_MARGIN,
    ThoraxFrames,
    place_in_frame,
)

BOX = (30.0, 20.0, 90.0, 100.0)
SQUARE = (10.0, 0.0, 120.0)


def frames(*, mirrored: bool = False) -> ThoraxFrames:
    return ThoraxFrames(np.array([BOX]), np.array([SQUARE]), np.array([mirrored]))


def coarse(x: float, y: float) -> tuple[int, int]:
    """Row and column of the place that holds a point of the radiograph, by comparing."""
    found = []
    for at, start, end in ((y, BOX[1], BOX[3]), (x, BOX[0], BOX[2])):
        width = (end - start) / 4  # four places over the thorax, and one of the same width on either side
        edges = [start + k * width for k in range(5)]
        found.append(sum(at >= edge for edge in edges))
    return found[0], found[1]


def literal(values: np.ndarray, row: int, column: int) -> float:
    """The map in the middle of a fine cell of the frame, by hand."""
    I, J = values.shape  # noqa: E741
    at = []
    for cell, start, end in ((row, BOX[1], BOX[3]), (column, BOX[0], BOX[2])):
        fraction = (cell + 0.5) / FINE_CELLS * (1 + 2 * FRAME_MARGIN) - FRAME_MARGIN
        at.append(start + fraction * (end - start))
    y, x = (at[0] - SQUARE[1]) / SQUARE[2], (at[1] - SQUARE[0]) / SQUARE[2]
    if not (0 <= y < 1 and 0 <= x < 1):
        return 0.0
    y, x = min(max(y * I - 0.5, 0), I - 1), min(max(x * J - 0.5, 0), J - 1)
    total = 0.0
    for i, j in np.ndindex(I, J):
        total += max(0.0, 1 - abs(y - i)) * max(0.0, 1 - abs(x - j)) * max(float(values[i, j]), 0.0)
    return total / (np.maximum(values, 0).sum() / (I * J))


maps = arrays(np.float64, (5, 4), elements=st.integers(-2, 3).map(float)).filter(lambda m: (m > 0).any())


@settings(max_examples=10, deadline=None)
@given(maps)
def test_a_map_in_the_frame_is_its_definition(values: np.ndarray) -> None:
    (found,) = frames().laid(values[None].astype(np.float32), np.array([0]))
    for row, column in [(0, 0), (3, 20), (12, 12), (23, 5), (17, 23), (4, 4)]:
        assert found[row, column] == pytest.approx(literal(values, row, column), rel=1e-5, abs=1e-6)


def test_an_even_map_is_one_wherever_the_model_saw_something() -> None:
    (found,) = frames().laid(np.full((1, 7, 7), 3.0, np.float32), np.array([0]))
    assert set(found.round(6).ravel().tolist()) == {1.0}
    narrow = ThoraxFrames(np.array([BOX]), np.array([(30.0, 20.0, 60.0)]), np.array([False]))
    (found,) = narrow.laid(np.full((1, 7, 7), 3.0, np.float32), np.array([0]))
    assert found[0].tolist() == [0.0] * FINE_CELLS  # above the square
    assert found[6, 6] == 1


@pytest.mark.parametrize("mirrored", [False, True])
def test_places_are_those_of_the_middles_of_a_maps_cells(mirrored: bool) -> None:
    rows, columns = frames(mirrored=mirrored).places((7, 9))
    counts = np.zeros((COARSE_CELLS, COARSE_CELLS))
    for i, j in np.ndindex(7, 9):
        x, y = SQUARE[0] + (j + 0.5) / 9 * SQUARE[2], SQUARE[1] + (i + 0.5) / 7 * SQUARE[2]
        row, column = coarse(x, y)
        assert (rows[0, i], columns[0, j]) == (row, COARSE_CELLS - 1 - column if mirrored else column)
        counts[rows[0, i], columns[0, j]] += 1
    assert frames(mirrored=mirrored).even((7, 9))[0] == pytest.approx(counts / 63)


def test_a_mirrored_image_is_turned_back() -> None:
    """The same chest, mirrored about the middle of its radiograph of 140 columns."""
    values = np.arange(20, dtype=np.float32).reshape(1, 4, 5)
    straight = frames().laid(values, np.array([0]))
    box, square = (140 - BOX[2], BOX[1], 140 - BOX[0], BOX[3]), (140 - SQUARE[0] - SQUARE[2], 0.0, SQUARE[2])
    turned = ThoraxFrames(np.array([box]), np.array([square]), np.array([True]))
    assert turned.laid(values[..., ::-1], np.array([0])) == pytest.approx(straight, abs=1e-5)


def test_words_of_the_ring() -> None:
    last = COARSE_CELLS - 1
    words = {
        (0, 0): "upper left corner",
        (last, last): "lower right corner",
        (0, 2): "above",
        (last, 3): "below",
        (2, 0): "left side",
        (2, 2): "over it",
    }
    assert {at: place_in_frame(*at) for at in words} == words
