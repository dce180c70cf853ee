"""Distances between colours against a literal reading of CIEDE2000, and the simulation of dichromats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import deltaE_ciede2000

from cxr_explain.figures.colour_vision import VISIONS, as_seen, distances, least_distances

SHARMA = (
    ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
    ((50, 3.1571, -77.2803), (50, 0, -82.7485), 2.8615),
    ((50, -1.3802, -84.2814), (50, 0, -82.7485), 1.0000),
    ((50, 0, 0), (50, -1, 2), 2.3669),
    ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
    ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
    ((50, -0.001, 2.49), (50, 0.0009, -2.49), 4.8045),
    ((50, -0.001, 2.49), (50, 0.0011, -2.49), 4.7461),
    ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
    ((50, 2.5, 0), (73, 25, -18), 27.1492),
    ((50, 2.5, 0), (61, -5, 29), 22.8977),
    ((50, 2.5, 0), (56, -27, -3), 31.9030),
    ((50, 2.5, 0), (58, 24, 15), 19.4535),
    ((50, 2.5, 0), (50, 3.1736, 0.5854), 1.0000),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((63.0109, -31.0961, -5.8663), (62.8187, -29.7946, -4.0864), 1.2630),
    ((61.2901, 3.7196, -5.3901), (61.4292, 2.2480, -4.9620), 1.8731),
    ((35.0831, -44.1164, 3.7933), (35.0232, -40.0716, 1.5901), 1.8645),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((36.4612, 47.8580, 18.3852), (36.2715, 50.5065, 21.2231), 1.4146),
    ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ((90.9257, -0.5406, -0.9208), (88.6381, -0.8985, -0.7239), 1.5381),
    ((6.7747, -0.2908, -2.4247), (5.8714, -0.0985, -2.2286), 0.6377),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
)
"""Of Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula", Color Res. Appl. 30, 2005, table 1."""

COLOURS = st.tuples(*[st.integers(0, 255)] * 3).map(lambda values: tuple(value / 255 for value in values))


def literal_ciede2000(first, second):
    """The formula as Sharma, Wu and Dalal write it, for one pair."""
    (l1, a1, b1), (l2, a2, b2) = first, second
    mean_chroma = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    g = 0.5 * (1 - math.sqrt(mean_chroma**7 / (mean_chroma**7 + 25**7)))
    c1, c2 = math.hypot((1 + g) * a1, b1), math.hypot((1 + g) * a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, (1 + g) * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = h2 - h1
    if c1 * c2 == 0:
        turn, mean_hue = 0.0, h1 + h2
    else:
        turn += 360 * ((turn < -180) - (turn > 180))
        mean_hue = (h1 + h2) / 2
        if abs(h1 - h2) > 180:
            mean_hue += 180 if h1 + h2 < 360 else -180
    dl, dc = l2 - l1, c2 - c1
    dh = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn / 2))
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * math.cos(math.radians(mean_hue - 30))
        + 0.24 * math.cos(math.radians(2 * mean_hue))
        + 0.32 * math.cos(math.radians(3 * mean_hue + 6))
        - 0.20 * math.cos(math.radians(4 * mean_hue - 63))
    )
    sl = 1 + 0.015 * (lightness - 50) ** 2 / math.sqrt(20 + (lightness - 50) ** 2)
    sc, sh = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    rc = 2 * math.sqrt(chroma**7 / (chroma**7 + 25**7))
    rt = -math.sin(math.radians(60 * math.exp(-(((mean_hue - 275) / 25) ** 2)))) * rc
    return math.sqrt((dl / sl) ** 2 + (dc / sc) ** 2 + (dh / sh) ** 2 + rt * (dc / sc) * (dh / sh))


def literal_lab(light):
    """CIELAB under D65 of linear red, green and blue."""
    to_xyz = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
    white = (0.95047, 1.0, 1.08883)
    x, y, z = (
        sum(share * value for share, value in zip(row, light, strict=True)) / of_white
        for row, of_white in zip(to_xyz, white, strict=True)
    )
    fx, fy, fz = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def literal_light(colour, vision):
    """What light is left of a colour, channel by channel."""
    light = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour]
    return [
        min(max(sum(share * value for share, value in zip(row, light, strict=True)), 0.0), 1.0)
        for row in VISIONS[vision]
    ]


@pytest.mark.parametrize(("first", "second", "expected"), SHARMA)
def test_the_published_pairs(first, second, expected):
    assert literal_ciede2000(first, second) == pytest.approx(expected, abs=5e-5)
    assert deltaE_ciede2000(np.array(first, float), np.array(second, float)) == pytest.approx(
        expected, abs=5e-5
    )


@given(first=COLOURS, second=COLOURS, vision=st.sampled_from(sorted(VISIONS)))
def test_distances_follow_the_formula(first, second, vision):
    expected = literal_ciede2000(*(literal_lab(literal_light(each, vision)) for each in (first, second)))
    (found,) = distances([first], [second], vision).ravel()
    assert found.dtype == np.float64
    assert found == pytest.approx(expected, abs=2e-3)


@given(first=COLOURS, second=COLOURS)
def test_the_least_distance_is_that_of_the_worst_vision(first, second):
    every = [float(distances([first], [second], vision)[0, 0]) for vision in VISIONS]
    assert float(least_distances([first], [second])[0, 0]) == min(every)


@pytest.mark.parametrize("vision", VISIONS)
def test_grey_and_white_stay_as_they_are(vision):
    greys = np.repeat(np.linspace(0, 1, 11)[:, None], 3, axis=1)
    assert np.abs(as_seen(greys, vision) - greys).max() < 2e-3


def test_what_dichromats_confuse():
    red, green = (0.84, 0.37, 0.0), (0.46, 0.51, 0.0)
    seen = {vision: float(distances([red], [green], vision)[0, 0]) for vision in VISIONS}
    assert min(seen["normal"], seen["tritanopia"]) > 30
    assert seen["deuteranopia"] < 10


def test_an_image_is_seen_pixel_by_pixel():
    image = np.random.default_rng(0).uniform(0, 1, (4, 5, 3))
    assert np.allclose(as_seen(image, "protanopia")[2, 3], as_seen(image[2, 3], "protanopia"))
