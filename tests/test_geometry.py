"""The affine and its inverse; maps, boxes and masks against independent interpolators."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st

from cxr_explain import Geometry
from cxr_explain.errors import OptionError

shapes = st.tuples(st.integers(1, 60), st.integers(1, 60))
fits = st.sampled_from(["crop", "pad"])
sizes = st.integers(1, 40)


@given(shapes, sizes, fits)
def test_the_affine_and_its_inverse_are_one(shape: tuple[int, int], size: int, fit: str) -> None:
    geometry = Geometry.fit_square(shape, size, fit)
    np.testing.assert_allclose(geometry.to_model @ geometry.to_radiograph, np.eye(3), atol=1e-12)
    points = np.random.default_rng(0).uniform(-100, 100, (7, 2))
    np.testing.assert_allclose(
        geometry.points_to_radiograph(geometry.points_to_model(points)), points, atol=1e-9
    )
    homogeneous = np.c_[points, np.ones(7)] @ geometry.to_model.T
    np.testing.assert_allclose(geometry.points_to_model(points), homogeneous[:, :2], atol=1e-9)
    boxes = points[:6].reshape(3, 4)
    np.testing.assert_allclose(geometry.boxes_to_radiograph(geometry.boxes_to_model(boxes)), boxes, atol=1e-9)
    np.testing.assert_allclose(geometry.boxes_to_model(boxes)[:, 2:], geometry.points_to_model(boxes[:, 2:]))


@given(shapes, sizes)
def test_the_crop_is_that_of_torchxrayvision(shape: tuple[int, int], size: int) -> None:
    geometry = Geometry.fit_square(shape, size)
    height, width = shape
    side = min(shape)
    assert (geometry.left, geometry.top) == (width // 2 - side // 2, height // 2 - side // 2)
    left, top, right, bottom = geometry.seen_box
    assert (right - left, bottom - top) == (side, side)
    assert geometry.sees_everything == (height == width)


@given(shapes, sizes)
def test_padding_loses_nothing(shape: tuple[int, int], size: int) -> None:
    geometry = Geometry.fit_square(shape, size, "pad")
    assert geometry.sees_everything
    assert geometry.seen_box == (0, 0, shape[1], shape[0])
    assert geometry.side == max(shape)


def test_corners_by_hand() -> None:
    crop = Geometry.fit_square((100, 300), 50)
    assert crop.points_to_model([[100, 0], [200, 100]]).tolist() == [[0, 0], [50, 50]]
    assert crop.boxes_to_radiograph([0, 0, 25, 50]).tolist() == [100, 0, 150, 100]
    pad = Geometry.fit_square((100, 300), 50, "pad")
    assert pad.points_to_model([0, -100]).tolist() == [0, 0]
    assert pad.scale == pytest.approx(1 / 6)


def oracle_by_torch(geometry: Geometry, maps: np.ndarray) -> np.ndarray:
    """Resize to the square's pixels with torch, then copy what lies within the radiograph."""
    square = torch.nn.functional.interpolate(
        torch.from_numpy(maps)[None],
        size=(geometry.side, geometry.side),
        mode="bilinear",
        align_corners=False,
    )[0].numpy()
    result = np.zeros((len(maps), *geometry.radiograph_shape), np.float32)
    left, top, right, bottom = geometry.seen_box
    result[:, top:bottom, left:right] = square[
        :, top - geometry.top : bottom - geometry.top, left - geometry.left : right - geometry.left
    ]
    return result


@given(shapes, fits, st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
def test_maps_lie_where_torch_puts_them(
    shape: tuple[int, int], fit: str, rows: int, columns: int, seed: int
) -> None:
    geometry = Geometry.fit_square(shape, 224, fit)
    maps = np.random.default_rng(seed).random((2, rows, columns), dtype=np.float32)
    np.testing.assert_allclose(geometry.maps_to_radiograph(maps), oracle_by_torch(geometry, maps), atol=2e-6)


def test_maps_lie_where_scipy_puts_them() -> None:
    geometry = Geometry.fit_square((37, 61), 224)
    maps = np.random.default_rng(0).random((7, 7))
    rows, columns = np.mgrid[: geometry.side, : geometry.side]
    at = [(axis + 0.5) * 7 / geometry.side - 0.5 for axis in (rows, columns)]
    expected = scipy.ndimage.map_coordinates(maps, at, order=1, mode="nearest")
    left, top, right, bottom = geometry.seen_box
    result = geometry.maps_to_radiograph(maps)
    np.testing.assert_allclose(result[top:bottom, left:right], expected, atol=1e-6)
    assert (result[:, :left] == 0).all()
    assert (result[:, right:] == 0).all()


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("shape", [(400, 300), (300, 400), (301, 300), (400, 401), (300, 300)])
def test_a_blob_of_model_space_appears_at_its_place(shape: tuple[int, int], fit: str) -> None:
    """The centre of mass of a blob, in the radiograph's pixels, is the blob's centre sent back."""
    geometry = Geometry.fit_square(shape, 224, fit)
    cells = 28
    rows, columns = np.mgrid[:cells, :cells] + 0.5
    for row, column in ((10.0, 13.0), (14.0, 14.0), (17.5, 11.0)):
        blob = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 2).astype(np.float32)
        spread = geometry.maps_to_radiograph(blob)
        y, x = scipy.ndimage.center_of_mass(spread)
        expected = geometry.points_to_radiograph([column * 224 / cells, row * 224 / cells])
        np.testing.assert_allclose((x + 0.5, y + 0.5), expected, atol=0.02)
        peak = np.unravel_index(spread.argmax(), spread.shape)
        np.testing.assert_allclose((peak[1] + 0.5, peak[0] + 0.5), expected, atol=geometry.side / cells)


@given(shapes, sizes, fits, st.floats(-5, 5))
def test_outside_is_where_the_model_did_not_look(
    shape: tuple[int, int], size: int, fit: str, outside: float
) -> None:
    geometry = Geometry.fit_square(shape, size, fit)
    spread = geometry.maps_to_radiograph(np.full((3, 7, 7), 100.0), outside=outside)
    left, top, right, bottom = geometry.seen_box
    seen = np.zeros(shape, bool)
    seen[top:bottom, left:right] = True
    np.testing.assert_allclose(spread[:, seen], 100, rtol=1e-6)
    assert (spread[:, ~seen] == np.float32(outside)).all()


def test_sampling_at_another_size_covers_the_same_field() -> None:
    geometry = Geometry.fit_square((200, 300), 224)
    maps = np.random.default_rng(0).random((1, 5, 5))
    small = geometry.maps_to_radiograph(maps, (100, 150))
    large = geometry.maps_to_radiograph(maps, (200, 300))
    np.testing.assert_allclose(small, large.reshape(1, 100, 2, 150, 2).mean(axis=(2, 4)), atol=0.02)
    assert (small[..., :25] == 0).all()
    assert (small[..., 26:124] != 0).all()


def test_no_class_gives_no_map() -> None:
    assert Geometry.fit_square((20, 30), 8).maps_to_radiograph(np.zeros((0, 7, 7))).shape == (0, 20, 30)


@given(shapes, sizes, fits, st.integers(0, 2**31))
def test_averaging_to_the_model_keeps_the_mass(
    shape: tuple[int, int], size: int, fit: str, seed: int
) -> None:
    geometry = Geometry.fit_square(shape, size, fit)
    values = np.random.default_rng(seed).random(shape, dtype=np.float32)
    left, top, right, bottom = geometry.seen_box
    cells = geometry.maps_to_model(values)
    mass = values[top:bottom, left:right].astype(float).sum()
    assert cells.shape == (size, size)
    np.testing.assert_allclose(cells.sum(dtype=float) * (geometry.side / size) ** 2, mass, rtol=1e-4)


def test_averaging_by_hand() -> None:
    geometry = Geometry.fit_square((4, 6), 2)
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    expected = values[:, 1:5].reshape(2, 2, 2, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(geometry.maps_to_model(values), expected)
    np.testing.assert_allclose(geometry.maps_to_model(values, 4), values[:, 1:5])
    with pytest.raises(OptionError, match=r"\(4, 5\).*\(4, 6\)"):
        geometry.maps_to_model(values[:, :5])


@given(st.integers(1, 8), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31))
def test_masks_come_back_where_each_cell_is_whole_pixels(
    cells: int, per_cell: int, margin: int, seed: int
) -> None:
    side = cells * per_cell
    geometry = Geometry.fit_square((side, side + margin), cells)
    mask = np.random.default_rng(seed).random((2, cells, cells)) < 0.5
    spread = geometry.mask_to_radiograph(mask)
    assert spread.shape == (2, side, side + margin)
    assert spread.sum() == mask.sum() * per_cell**2
    np.testing.assert_array_equal(geometry.mask_to_model(spread), mask)


@given(st.integers(1, 30), st.integers(1, 30))
def test_a_cell_covered_by_exactly_half_is_set(half: int, cells: int) -> None:
    """Thirds and sevenths are no float32: rounding must not decide."""
    side = 2 * half * cells
    geometry = Geometry.fit_square((side, side), cells)
    mask = np.zeros((side, side), bool)
    mask.reshape(cells, 2 * half, side)[:, :half] = True
    assert geometry.mask_to_model(mask).all()
    mask.reshape(cells, 2 * half, side)[:, half - 1] = False
    assert not geometry.mask_to_model(mask).any()


def test_a_mask_is_not_set_where_nothing_was_seen() -> None:
    spread = Geometry.fit_square((10, 20), 5).mask_to_radiograph(np.ones((5, 5), bool))
    assert spread[:, 5:15].all()
    assert not spread[:, :5].any()
    assert not spread[:, 15:].any()


def test_another_fit_is_refused() -> None:
    with pytest.raises(OptionError, match=r"fit='stretch'.*crop, pad"):
        Geometry.fit_square((3, 4), 2, "stretch")
