"""The Radiograph refuses what is no radiograph, and does not change afterwards."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_explain import Radiograph
from cxr_explain.errors import CorruptImageError, OptionError
from cxr_explain.radiograph import to_display


def test_pixels_are_copied_and_read_only() -> None:
    pixels = np.zeros((3, 4), np.float32)
    radiograph = Radiograph.from_array(pixels)
    pixels[0, 0] = 5
    assert radiograph.pixels[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        radiograph.pixels[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        radiograph.display[0, 0] = 1
    with pytest.raises(AttributeError):
        radiograph.id = "other"  # type: ignore[misc]


@given(st.floats(-1024, 1024))
def test_display_is_the_nearest_of_256_greys(value: float) -> None:
    grey = float(to_display(np.array([[value]]))[0, 0])
    assert abs(grey / 255 * 2048 - 1024 - value) <= 2048 / 255 / 2 + 1e-9


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.full((2, 2), 1025.0), r"1025.*\[-1024, 1024\].*Scale first"),
        (np.full((2, 2), -4000.0), "-4000"),
        (np.array([[0.2, 0.9]]), r"within \[0, 1\].*Scale first"),
        (np.full((2, 2), 128, np.uint8), "uint8.*Scale first"),
        (np.full((2, 2), 500, np.uint16), "uint16.*Scale first"),
        (np.array([[True, False]]), "bool"),
    ],
)
def test_values_in_another_range_are_refused(pixels: np.ndarray, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Radiograph.from_array(pixels)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 3), (0, 4), (4, 0)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(CorruptImageError, match="pixels of shape"):
        Radiograph.from_array(np.full(shape, -5.0))


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_pixels_that_are_not_finite_are_refused() -> None:
    with pytest.raises(CorruptImageError, match="non-finite"):
        Radiograph.from_array(np.array([[-5.0, np.nan]]))


def test_a_display_of_another_shape_is_refused() -> None:
    with pytest.raises(CorruptImageError, match=r"uint8 \(3, 3\)"):
        Radiograph(np.zeros((2, 2), np.float32), np.zeros((3, 3), np.uint8), "", "a", "array")


def test_the_digest_is_of_the_pixels() -> None:
    first, second = (Radiograph.from_array(np.full((2, 2), value)) for value in (-1.0, -2.0))
    assert first.sha256 != second.sha256
    assert first.sha256 == Radiograph.from_array(np.full((2, 2), -1.0)).sha256


def test_it_can_be_sent_to_another_process() -> None:
    radiograph = Radiograph.from_array(np.full((2, 3), -7.0), id="a", view="PA")
    other = pickle.loads(pickle.dumps(radiograph))
    np.testing.assert_array_equal(other.pixels, radiograph.pixels)
    assert (other.id, other.view, other.sha256) == ("a", "PA", radiograph.sha256)
