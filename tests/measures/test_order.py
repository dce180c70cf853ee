"""The order of cells and pixels: sorted by hand, and fair among equals."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from cxr_explain.measures.order import (
    cell_of_pixel,
    cell_order,
    over_pixels,
    pixel_order,
    random_maps,
    saliency_of,
)

seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 6)
grids = st.tuples(sides, sides)
blocks = arrays(np.float64, (2, 3, 3, 4), elements=st.integers(0, 3).map(float))  # many equals


def slow_bilinear(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The value between the four nearest cell centres, those at the border going on beyond it."""
    result = np.zeros(size)
    for row, column in np.ndindex(size):
        y, x = (
            min(max((at + 0.5) * cells.shape[axis] / size[axis] - 0.5, 0), cells.shape[axis] - 1)
            for axis, at in enumerate((row, column))
        )
        for i, j in np.ndindex(cells.shape):
            result[row, column] += max(0, 1 - abs(y - i)) * max(0, 1 - abs(x - j)) * cells[i, j]
    return result


def assert_sorted(values: np.ndarray, places: np.ndarray) -> None:
    """Every place is taken once, and no value comes before a larger one."""
    assert sorted(places.flat) == list(range(values.size))
    listed = [0.0] * values.size
    for index in np.ndindex(values.shape):
        listed[places[index]] = values[index]
    assert all(first >= second for first, second in pairwise(listed))


def test_saliency_is_the_positive_part_in_double_precision() -> None:
    maps = torch.tensor([[-2.0, 0.0, 3.0]], requires_grad=True)
    saliency = saliency_of(maps)
    assert saliency.dtype == torch.float64
    assert not saliency.requires_grad
    assert saliency.tolist() == [[0.0, 0.0, 3.0]]


def test_maps_of_chance_come_from_their_seed() -> None:
    shape = (2, 3, 20, 20)
    one = random_maps(shape, seed=1)
    assert one.shape == shape
    assert one.dtype == torch.float64
    assert torch.equal(one, random_maps(shape, seed=1))
    assert not torch.equal(one, random_maps(shape, seed=2))
    assert 0 <= one.min() <= one.max() < 1
    assert one.mean().item() == pytest.approx(0.5, abs=4 * 12**-0.5 / one.numel() ** 0.5)


@settings(max_examples=20)
@given(blocks, seeds)
def test_cells_are_sorted_by_their_saliency(values: np.ndarray, seed: int) -> None:
    places = cell_order(torch.from_numpy(values), seed=seed)
    assert places.dtype == torch.int64
    for index in np.ndindex(values.shape[:2]):
        assert_sorted(values[index], places[index].numpy())


@settings(max_examples=20)
@given(blocks, seeds)
def test_a_map_s_order_does_not_depend_on_the_others(values: np.ndarray, seed: int) -> None:
    block = torch.from_numpy(values)
    for order in (
        lambda maps: cell_order(maps, seed=seed),
        lambda maps: pixel_order(maps, (5, 7), seed=seed),
    ):
        places = order(block)
        for b, k in np.ndindex(values.shape[:2]):
            alone = order(block[b : b + 1, k : k + 1])
            assert torch.equal(places[b : b + 1, k : k + 1], alone)


@given(arrays(np.float64, (3, 4), elements=st.integers(0, 3).map(float)), seeds)
def test_equals_go_as_in_an_even_map_of_the_same_seed(values: np.ndarray, seed: int) -> None:
    places = cell_order(torch.from_numpy(values), seed=seed)
    even = cell_order(torch.zeros(3, 4), seed=seed)
    for value in np.unique(values):
        own = torch.from_numpy(values == value)
        assert torch.equal(places[own].argsort(), even[own].argsort())


def test_every_cell_of_an_even_map_is_as_often_first_as_any_other() -> None:
    draws, cells = 1200, 6
    firsts = torch.zeros(cells)
    for seed in range(draws):
        firsts += cell_order(torch.full((2, 3), 0.7), seed=seed).flatten() == 0
    spread = 4.5 * (draws / cells * (1 - 1 / cells)) ** 0.5
    np.testing.assert_allclose(firsts, draws / cells, atol=spread)


@given(grids, st.tuples(st.integers(1, 9), st.integers(1, 9)), seeds)
def test_pixels_are_sorted_by_the_interpolated_map(
    cells: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    values = random_maps(cells, seed=seed)
    fine = torch.from_numpy(slow_bilinear(values.numpy(), size)).float().numpy()
    places = pixel_order(values[None, None], size, seed=seed)[0, 0].numpy()
    ranked = np.empty(fine.size)
    ranked[places.ravel()] = fine.ravel()
    assert sorted(places.flat) == list(range(fine.size))
    assert (np.diff(ranked) <= 1e-6).all()  # the two interpolations differ in their rounding


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 7.7])
@pytest.mark.parametrize("cells", [(5, 6), (7, 7), (10, 10)])
def test_the_pixels_of_an_even_map_go_cell_by_cell(value: float, cells: tuple[int, int]) -> None:
    """In the same order for all values: the rounding of the interpolation must not sort them."""
    size = (37, 64)
    even = torch.full((1, 1, *cells), value, dtype=torch.float64)
    places = pixel_order(even, size, seed=3)[0, 0]
    assert torch.equal(places, pixel_order(torch.zeros_like(even), size, seed=3)[0, 0])
    of_pixel = over_pixels(torch.arange(cells[0] * cells[1]).reshape(cells), size)
    listed = of_pixel.flatten()[places.flatten().argsort()]
    changes = int((listed[1:] != listed[:-1]).sum())
    assert changes == cells[0] * cells[1] - 1


def test_the_pixels_of_another_seed_go_in_another_order() -> None:
    even = torch.zeros(1, 1, 7, 7)
    assert not torch.equal(pixel_order(even, (14, 14), seed=0), pixel_order(even, (14, 14), seed=1))


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_pixel_belongs_to_the_cell_that_its_centre_lies_in(cells: int, pixels: int) -> None:
    found = cell_of_pixel(cells, pixels).tolist()
    for pixel, cell in enumerate(found):  # in halves of a pixel, without rounding
        assert cell * 2 * pixels <= (2 * pixel + 1) * cells < (cell + 1) * 2 * pixels
    if cells <= pixels:
        assert set(found) == set(range(cells))


@settings(max_examples=20)
@given(grids, st.tuples(st.integers(1, 11), st.integers(1, 11)))
def test_cells_are_spread_over_their_pixels(cells: tuple[int, int], size: tuple[int, int]) -> None:
    values = torch.arange(2 * cells[0] * cells[1]).reshape(2, *cells)
    fine = over_pixels(values, size)
    assert fine.shape == (2, *size)
    rows, columns = (cell_of_pixel(c, p).tolist() for c, p in zip(cells, size, strict=True))
    for n, row, column in np.ndindex(fine.shape):
        assert fine[n, row, column] == values[n, rows[row], columns[column]]


def test_a_map_as_fine_as_the_image_is_neither_interpolated_nor_moved() -> None:
    values: Tensor = random_maps((1, 1, 6, 6), seed=0)
    assert torch.equal(over_pixels(values, (6, 6)), values)
    assert torch.equal(pixel_order(values, (6, 6), seed=0), cell_order(values, seed=0))
