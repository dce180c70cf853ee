"""The picture of a mean map in the frame of the thorax."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cxr_explain.figures.frame_picture import SIDE, frame_picture


def drawn(mean_map: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    with Image.open(io.BytesIO(frame_picture(mean_map, peaks))) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), np.int64)


def test_bright_is_where_the_evidence_lies_and_a_ring_is_where_peaks_are() -> None:
    values, peaks = np.zeros((24, 24)), np.zeros((6, 6))
    values[12:16, 4:8] = 6.0
    peaks[5, 5] = 3
    picture = drawn(values, peaks)
    assert picture.shape == (SIDE, SIDE, 3)
    brightness = picture.sum(axis=2)
    assert brightness[140, 60] > 500
    assert brightness[20:36, 20:36].max() < 120  # the margin, where nothing is
    assert brightness[204:240, 204:240].max() > 450  # the ring in the last place
    assert drawn(values, peaks * 0)[204:240, 204:240].sum(axis=2).max() < 120


def test_an_even_map_is_grey_and_twice_of_it_is_not() -> None:
    peaks = np.zeros((6, 6))
    one, two = (drawn(np.full((24, 24), level), peaks)[20, 120] for level in (1.0, 2.0))
    assert one == pytest.approx([74, 84, 110], abs=6)
    assert two[0] - two[2] > 60  # warm


def test_the_same_map_is_the_same_file() -> None:
    values, peaks = np.random.default_rng(0).uniform(0, 3, (24, 24)), np.eye(6)
    assert frame_picture(values, peaks) == frame_picture(values, peaks)
