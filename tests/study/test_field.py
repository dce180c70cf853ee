"""The grid on which maps and masks are judged: the radiograph's own pixels, or evenly among them."""

from __future__ import annotations

import numpy as np
import pytest

from cxr_explain import Geometry
from cxr_explain.errors import OptionError
from cxr_explain.options import Fit
from cxr_explain.study.field import Field

SHAPES = [(40, 40), (40, 64), (64, 40), (37, 53)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_with_enough_samples_it_is_the_pixels_that_the_model_saw(shape: tuple[int, int], fit: Fit) -> None:
    draws = np.random.default_rng(0)
    geometry = Geometry.fit_square(shape, 32, fit)
    left, top, right, bottom = geometry.seen_box
    field = Field(geometry, samples=1000)
    mask, maps = draws.random(shape) < 0.3, draws.random((2, 5, 5))
    assert np.array_equal(field.mask(mask), mask[top:bottom, left:right])
    whole = geometry.maps_to_radiograph(maps)
    assert np.array_equal(field.maps(maps), whole[:, top:bottom, left:right])
    assert field.pitch == geometry.side


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("samples", [7, 16, 20])
def test_fewer_samples_are_the_pixels_that_their_centres_lie_in(
    shape: tuple[int, int], fit: Fit, samples: int
) -> None:
    geometry = Geometry.fit_square(shape, 32, fit)
    left, top, right, bottom = geometry.seen_box
    mask = np.random.default_rng(1).random(shape) < 0.5
    field = Field(geometry, samples)
    rows, columns = field.shape
    assert max(rows, columns) == samples
    expected = []
    for row in range(rows):
        y = (row + 0.5) * shape[0] / rows
        if top <= y < bottom:
            xs = [(column + 0.5) * shape[1] / columns for column in range(columns)]
            expected.append([mask[int(y), int(x)] for x in xs if left <= x < right])
    assert np.array_equal(field.mask(mask), np.array(expected))
    assert field.maps(np.ones((3, 4, 4))).shape == (3, *np.array(expected).shape)


def test_a_map_lies_on_the_same_samples_as_a_mask() -> None:
    """A map that is 1 in the left half of the model's square is 1 where the mask of that half is."""
    geometry = Geometry.fit_square((60, 100), 32)
    mask = np.zeros((60, 100), bool)
    mask[:, :50] = True
    halves = np.repeat([[1.0] * 50 + [0.0] * 50], 100, axis=0)
    field = Field(geometry, 50)
    assert np.array_equal(field.maps(halves) > 0.5, field.mask(mask))


def test_no_sample_is_refused() -> None:
    with pytest.raises(OptionError, match="0 samples"):
        Field(Geometry.fit_square((4, 4), 2), 0)
