"""Markers and margins: what is drawn is found, and anatomy is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from scipy.ndimage import grey_dilation, grey_erosion

from cxr_explain.chest.margins import margins_of
from cxr_explain.chest.markers import extremes, marker_boxes
from cxr_explain.chest.regions import regions_of
from cxr_explain.phantom import render, sample_patient, to_radiograph
from cxr_explain.phantom.chest import chest_of
from cxr_explain.phantom.devices import device_attenuation
from cxr_explain.phantom.patient import Device

SHAPE = (192, 192)
NOWHERE = np.zeros(SHAPE, bool)


def scene(level: float = 0.1, slope: float = 0.0) -> np.ndarray:
    """A background that brightens downwards."""
    rows = np.linspace(0, slope, SHAPE[0], dtype=np.float32)
    return np.broadcast_to(level + rows[:, None], SHAPE).copy()


def letter(image: np.ndarray, left: int, top: int, height: int = 10, value: float = 0.9) -> np.ndarray:
    """An L with strokes of two cells; where its ink is."""
    ink = np.zeros(SHAPE, bool)
    ink[top : top + height, left : left + 2] = True
    ink[top + height - 2 : top + height, left : left + height // 2 + 1] = True
    image[ink] = value
    return ink


def covered(image: np.ndarray, chest: np.ndarray = NOWHERE) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    for box in marker_boxes(image.astype(np.float32), chest):
        mask[box.top : box.bottom, box.left : box.right] = True
    return mask


@given(st.integers(8, 160), st.integers(8, 160), st.integers(6, 16))
def test_a_letter_is_boxed_wherever_it_is(left: int, top: int, height: int) -> None:
    image = scene()
    ink = letter(image, left, top, height)
    mask = covered(image)
    rows, columns = np.nonzero(ink)
    assert mask.sum() == (np.ptp(rows) + 3) * (np.ptp(columns) + 3)  # a cell around the ink
    assert mask[ink].all()


def test_letters_of_one_word_are_one_marker_and_far_ones_are_two() -> None:
    image = scene()
    letter(image, 20, 20), letter(image, 28, 20)
    assert len(marker_boxes(image, NOWHERE)) == 1
    letter(image, 150, 20)
    assert len(marker_boxes(image, NOWHERE)) == 2


def test_a_turned_word_is_found() -> None:
    text = Image.new("L", (60, 16))
    ImageDraw.Draw(text).text((2, 2), "PORTABLE", fill=255)
    image = scene()
    word = np.asarray(text.rotate(90, expand=True)) / 255
    image[40:100, 150:166] = np.maximum(image[40:100, 150:166], word)
    assert covered(image)[40:100, 150:166][word > 0.9].mean() > 0.95


def test_what_is_over_the_chest_is_not_looked_for() -> None:
    image, chest = scene(), NOWHERE.copy()
    chest[40:150, 40:150] = True
    letter(image, 80, 80)
    assert not covered(image, chest).any()


def test_edges_stripes_specks_and_plains_are_no_markers() -> None:
    edge, stripe, speck, cable = scene(), scene(), scene(), scene()
    edge[:, 100:] = 0.9
    stripe[60:80] = 0.9  # wider than the window
    speck[50, 50] = 1.0
    cable[30, 20:180] = 0.9
    for image in (edge, stripe, speck, cable, scene(0.0, 1.0), scene(1.0), scene(0.0)):
        assert not covered(image).any()


def test_a_faint_letter_counts_on_an_even_background_alone() -> None:
    even, uneven = scene(0.2), scene(0.0, 3.0)
    ink = letter(even, 60, 60, value=0.4)
    uneven[ink] += 0.2
    assert covered(even)[ink].all()
    assert not covered(uneven)[ink].any()


@given(arrays(np.float32, (6, 9), elements=st.integers(0, 9)), st.sampled_from([1, 3, 5, 7]))
def test_extremes_are_scipys(image: np.ndarray, window: int) -> None:
    np.testing.assert_array_equal(
        extremes(np.minimum, image, window), grey_erosion(image, window, mode="nearest")
    )
    np.testing.assert_array_equal(
        extremes(np.maximum, image, window), grey_dilation(image, window, mode="nearest")
    )


@pytest.mark.parametrize("seed", [0, 7, 20])
def test_the_letter_of_a_phantom_is_found_and_nothing_else(seed: int) -> None:
    """Of phantoms whose letter is clear; the benchmark says how many are not."""
    patient = replace(sample_patient(seed), devices=(Device.MARKER,), collimation=(0.0, 0.0, 0.0, 0.0))
    regions = regions_of(to_radiograph(render(patient, (), size=384)))
    ink = device_attenuation(patient, chest_of(patient, 384).grid) > 0.05
    assert regions.markers is not None
    assert np.kron(regions.markers, np.ones((2, 2), bool))[ink].mean() > 0.9
    assert len(regions.outlines["markers"]) == 1


# -- margins ----


@given(st.tuples(*[st.integers(0, 9)] * 4), st.sampled_from([0.0, 0.97, 0.5]))
def test_margins_of_one_level_are_counted(widths: tuple[int, int, int, int], level: float) -> None:
    image = np.random.default_rng(0).random((60, 80), np.float32)
    left, top, right, bottom = widths
    image[:top], image[60 - bottom :] = level, level
    image[:, :left], image[:, 80 - right :] = level, level
    assert margins_of(image) == widths


def test_a_letter_in_a_margin_does_not_end_it() -> None:
    image = np.random.default_rng(0).random((100, 100), np.float32)
    image[:8] = 0
    image[3:5, 40:43] = 1
    assert margins_of(image) == (0, 8, 0, 0)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_an_image_of_one_level_has_no_margins(level: float) -> None:
    assert margins_of(np.full((50, 50), level, np.float32)) == (0, 0, 0, 0)
