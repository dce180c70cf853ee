"""From a map to a mask: Otsu read aloud, OpenCV's, fixed thresholds, and maps that point nowhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cxr_explain.errors import OptionError, ReferenceLabelError
from cxr_explain.measures.segmentation import (
    CHEXLOCALIZE_THRESHOLDS,
    chexlocalize_threshold,
    min_max,
    segment,
)

maps = arrays(np.float64, (6, 7), elements=st.floats(-3, 3, width=32))


def slow_otsu(saliency: np.ndarray) -> np.ndarray:
    """Try each grey level, and keep the first that parts the two classes best, in exact integers."""
    low, high = float(saliency.min()), float(saliency.max())
    grey = [[int(255 * ((float(value) - low) / (high - low))) for value in row] for row in saliency]
    values = [value for row in grey for value in row]
    best, best_variance = 0, -1.0
    for level in range(256):
        below = [value for value in values if value <= level]
        above = [value for value in values if value > level]
        if not below or not above:
            continue
        apart = sum(below) / len(below) - sum(above) / len(above)
        variance = len(below) * len(above) * apart * apart
        if variance > best_variance * (1 + 1e-9):
            best, best_variance = level, variance
    return np.array(grey) > best


@given(maps)
def test_otsu_is_its_definition(saliency: np.ndarray) -> None:
    if np.ptp(saliency) < 1e-3:
        return
    found = segment(saliency)
    # Grey levels without a pixel are one threshold; two splits of equal variance are both right.
    assert variance_between(saliency, found) == pytest.approx(
        variance_between(saliency, slow_otsu(saliency)), rel=1e-9
    )


def variance_between(saliency: np.ndarray, mask: np.ndarray) -> float:
    grey = np.floor(255 * ((saliency - saliency.min()) / (saliency.max() - saliency.min())))
    return float(mask.sum() * (~mask).sum() * (grey[mask].mean() - grey[~mask].mean()) ** 2)


def test_otsu_parts_two_plateaus() -> None:
    plateau = np.zeros((8, 8))
    plateau[2:5, 3:6] = 1
    noisy = plateau + 0.2 * np.random.default_rng(0).random((8, 8))
    np.testing.assert_array_equal(segment(noisy), plateau > 0)
    np.testing.assert_array_equal(segment(-7 * (1 - noisy)), plateau > 0)  # scale and offset do not matter


@pytest.mark.peers
def test_otsu_is_opencvs() -> None:
    """CheXlocalize uses OpenCV's on 8 bits; scikit-image's maximises the same variance."""
    cv2 = pytest.importorskip("cv2")
    draws = np.random.default_rng(3)
    for size in ((40, 50), (224, 224)):
        saliency = draws.gamma(1.5, size=size)
        grey = (255 * min_max(saliency)).astype(np.uint8)
        _, theirs = cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)
        np.testing.assert_array_equal(segment(saliency), theirs > 0)


@given(maps, st.floats(0, 0.99))
def test_a_fixed_threshold_is_its_definition(saliency: np.ndarray, threshold: float) -> None:
    low, high = saliency.min(), saliency.max()
    expected = np.zeros(saliency.shape, bool)
    if high > low:
        for at in np.ndindex(saliency.shape):
            expected[at] = (saliency[at] - low) / (high - low) > threshold
    np.testing.assert_array_equal(segment(saliency, threshold), expected)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1e300, 5e-324])
@pytest.mark.parametrize("threshold", ["otsu", 0.0, 0.4])
def test_a_constant_map_gives_an_empty_mask(value: float, threshold: float | str) -> None:
    assert not segment(np.full((4, 5), value), threshold).any()  # type: ignore[arg-type]


def test_one_pixel_and_huge_and_tiny_values() -> None:
    assert not segment([[7.0]]).any()
    assert segment([[-1e308, 1e308]]).tolist() == [[False, True]]
    assert segment([[0.0, 5e-324]], 0.5).tolist() == [[False, True]]
    assert min_max([[-1e308, 0.0, 1e308]]).tolist() == [[0.0, 0.5, 1.0]]


def test_whole_grey_levels_stay_what_they_are() -> None:
    ramp = np.arange(256.0)
    np.testing.assert_array_equal(np.floor(255 * min_max(ramp[None])[0]), ramp)


def test_the_threshold_itself_is_not_above() -> None:
    assert segment([[0.0, 0.5, 1.0]], 0.5).tolist() == [[False, False, True]]


def test_chexlocalizes_thresholds() -> None:
    assert len(CHEXLOCALIZE_THRESHOLDS) == 10
    assert chexlocalize_threshold("pleural effusion") == chexlocalize_threshold("Pneumothorax") == 0.6
    assert chexlocalize_threshold("Support Devices") == chexlocalize_threshold("Lung Opacity") == 0.4
    assert chexlocalize_threshold("Cardiomegaly") == 0.2
    assert chexlocalize_threshold("Lung Lesion") == 0.7


@pytest.mark.parametrize(
    "call",
    [
        lambda: segment(np.zeros((2, 2)), 1.0),
        lambda: segment(np.zeros((2, 2)), -0.1),
        lambda: segment(np.zeros((2, 2)), math.nan),
        lambda: segment(np.zeros((2, 2)), "mean"),  # type: ignore[arg-type]
        lambda: segment(np.zeros((2, 2, 2))),
        lambda: segment(np.zeros((0, 2))),
        lambda: segment([[math.inf, 0.0]]),
    ],
)
def test_what_does_not_fit_is_refused(call: object) -> None:
    with pytest.raises(OptionError):
        call()  # type: ignore[operator]


def test_a_pathology_that_chexlocalize_has_not_has_no_threshold() -> None:
    with pytest.raises(ReferenceLabelError, match="Hernia"):
        chexlocalize_threshold("Hernia")
