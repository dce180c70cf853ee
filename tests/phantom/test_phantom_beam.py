"""Beer-Lambert, noise, exposure and the display's polarity."""

from __future__ import annotations

import numpy as np
import pytest

from cxr_explain.phantom import Patient, render
from cxr_explain.phantom.beam import noisy, primary, wide_blur
from cxr_explain.phantom.changes import apply_changes
from cxr_explain.phantom.chest import WATER, chest_of


def test_beer_lambert_literally() -> None:
    thickness = np.float32([[0, 10, 100, 220]])
    literal = [np.e ** (-WATER * t) for t in (0, 10, 100, 220)]
    np.testing.assert_allclose(primary(np.float32(WATER) * thickness)[0], literal, rtol=1e-5)


@pytest.mark.parametrize("mean", [50.0, 400.0, 20_000.0])
def test_the_noise_has_the_variance_of_the_signal(mean: float) -> None:
    normal = np.random.default_rng(1).standard_normal((200, 200), dtype=np.float32)
    counts = noisy(np.full((200, 200), mean, np.float32), normal)
    assert counts.mean() == pytest.approx(mean, rel=0.01)
    assert counts.var() == pytest.approx(mean, rel=0.04)


def test_more_quanta_make_less_noise() -> None:
    def roughness(exposure: float) -> float:
        pixels = render(Patient(seed=3, exposure=exposure, devices=()), (), size=96).pixels.astype(float)
        smooth = render(Patient(seed=3, exposure=1e12, devices=()), (), size=96).pixels
        return float((pixels - smooth).std())

    assert roughness(1e4) == pytest.approx(10 * roughness(1e6), rel=0.15)


def test_a_wide_blur_keeps_the_mean_and_the_shape() -> None:
    image = np.random.default_rng(0).random((65, 65)).astype(np.float32)
    blurred = wide_blur(image, 9.0)
    assert blurred.shape == image.shape
    assert blurred.mean() == pytest.approx(image.mean(), abs=0.02)
    assert blurred.std() < 0.2 * image.std()


def test_the_line_integral_of_the_abdomen_is_that_of_a_trunk_of_water() -> None:
    chest = chest_of(Patient(seed=0, devices=()), 64)
    assert 3.0 < float(apply_changes(chest, [])[58, 24]) < 6.5


def test_air_is_dark_and_bone_is_bright_and_monochrome1_is_the_other_way_round() -> None:
    phantom = render(Patient(seed=2, devices=()), (), size=128)
    white = 2**phantom.bits - 1
    beside_the_neck, lung, abdomen = (phantom.pixels[box].mean() / white for box in (
        np.s_[4:12, 4:12], np.s_[55:70, 33:43], np.s_[115:125, 60:70]))  # fmt: skip
    assert beside_the_neck < 0.2 < lung < 0.62 < abdomen
    np.testing.assert_array_equal(phantom.monochrome1().astype(int) + phantom.pixels, white)
