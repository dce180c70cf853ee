from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import synthetic_explanation, synthetic_radiograph

from cxr_explain.errors import OutputError
from cxr_explain.figures import draw_explanation, overlay
from cxr_explain.figures.key import ramp_pixels
from cxr_explain.figures.palette import PREFERRED, ClassStyle, class_styles, rgb_of
from cxr_explain.geometry import Geometry
from cxr_explain.pathologies import PATHOLOGIES


def literal_hatch(i, j, period, sign):
    """The lines of a second sign at one sample: across columns minus rows, columns plus rows, or both."""
    across = {1: (j - i,), 2: (j + i,), 3: (j - i, j + i)}[sign]
    wave = max(abs(each % period - period / 2) / (period / 2) for each in across)
    return min(max((wave - 0.72) / 0.2, 0.0), 1.0)


def literal_overlay(grey, maps, colours, max_opacity, signs, period):
    """The formula of the module's docstring, pixel by pixel."""
    height, width = grey.shape
    total = [[sum(max(m[i, j], 0.0) for m in maps) for j in range(width)] for i in range(height)]
    peak = max(max(row) for row in total)
    out = np.zeros((height, width, 3))
    for i in range(height):
        for j in range(width):
            opacity = max_opacity * (total[i][j] / peak) ** 0.75 if peak else 0.0
            for channel in range(3):
                colour = 0.0
                for m, c, sign in zip(maps, colours, signs, strict=True):
                    line = 0.5 * literal_hatch(i, j, period, sign) if sign else 0.0
                    ink = 0.0 if 0.299 * c[0] + 0.587 * c[1] + 0.114 * c[2] > 0.42 else 1.0
                    own = (1 - line) * c[channel] + line * ink
                    colour += max(m[i, j], 0.0) * own / total[i][j] if total[i][j] else 0.0
                out[i, j, channel] = (1 - opacity) * grey[i, j] + opacity * colour
    return out


@given(
    signs=st.lists(st.integers(0, 3), max_size=4),
    seed=st.integers(0, 10_000),
    max_opacity=st.floats(0.05, 1.0),
    period=st.integers(2, 9),
)
def test_overlay_follows_its_formula(signs, seed, max_opacity, period):
    rng = np.random.default_rng(seed)
    grey = rng.uniform(0, 1, (5, 4))
    maps = rng.normal(0, 1, (len(signs), 5, 4)) * rng.choice([1e-6, 1.0, 1e4])
    colours = [tuple(colour) for colour in rng.uniform(0, 1, (len(signs), 3))]
    drawn = overlay.fuse_over(grey, maps, colours, signs=signs, period=period, max_opacity=max_opacity).rgb
    expected = literal_overlay(grey, maps, colours, max_opacity, signs, period) * 255
    assert np.abs(drawn - expected).max() <= 1.01  # truncation to bytes


@pytest.mark.parametrize("sign", [1, 2, 3])
@pytest.mark.parametrize("colour", PREFERRED.values())
def test_a_second_sign_is_seen_in_grey(sign, colour):
    """Its lines are lighter or darker than its colour, on dark and on bright lung alike."""
    for level in (0.15, 0.45, 0.75):
        grey, everywhere = np.full((24, 24), level), np.ones((24, 24))
        drawn = overlay.fuse_over(grey, [everywhere], [rgb_of(colour)], signs=[sign], period=12).rgb
        luminance = drawn @ (0.2126, 0.7152, 0.0722)
        assert np.ptp(luminance) > 18, level
        assert 0.1 < (np.abs(luminance - np.median(luminance)) > 9).mean() < 0.5


def test_second_signs_differ():
    drawn = [overlay.hatch((24, 36), 12, sign) for sign in (1, 2, 3)]
    assert all(lines.min() == 0 and lines.max() == 1 for lines in drawn)
    for one, other in itertools.combinations(drawn, 2):
        assert np.abs(one - other).mean() > 0.1
    assert (overlay.hatch((24, 36), 12, 4) == drawn[0]).all()


@pytest.mark.parametrize("sign", [0, 1, 2, 3])
def test_a_swatch_is_the_overlay_at_full_opacity(sign):
    style = ClassStyle("Mass", 1, "#A86089", sign)
    over = overlay.fuse_over(
        np.zeros((9, 14)), [np.ones((9, 14))], [style.rgb], signs=[sign], period=5, max_opacity=1
    )
    assert (overlay.swatch(style, (9, 14), 5) == over.rgb).all()
    assert (len(np.unique(over.rgb.reshape(-1, 3), axis=0)) > 1) == bool(sign)


def test_without_positive_evidence_the_radiograph_stays_as_it_is():
    grey = np.full((3, 3), 0.5, np.float32)
    result = overlay.fuse_over(grey, [-np.ones((3, 3))], [(1.0, 0.0, 0.0)])
    assert result.peak == 0
    assert (result.rgb == 127).all()


def test_maps_that_are_not_finite_are_refused():
    with pytest.raises(OutputError, match="not finite"):
        overlay.fuse_over([[0.5]], [[[np.inf]]], [(1.0, 0.0, 0.0)])


@pytest.mark.parametrize("style", class_styles(PATHOLOGIES), ids=PATHOLOGIES)
def test_the_key_has_the_overlays_colours(style):
    ramp = ramp_pixels((style,), 0.6, (3, 256), 8)
    over = overlay.fuse_over(np.full((1, 1), 0.45), [np.ones((1, 1))], [style.rgb], max_opacity=0.6)
    assert (ramp[:, -1] == over.rgb[0, 0]).all()
    assert (ramp[:, 0] == int(0.45 * 255)).all()


@pytest.mark.parametrize("shape", [(60, 100), (100, 60), (64, 64), (101, 37)])
def test_unseen_is_exactly_what_lies_beyond_the_crop(shape):
    geometry = Geometry.fit_square(shape, 32)
    left, top, right, bottom = geometry.seen_box
    expected = np.ones(shape, bool)
    expected[top:bottom, left:right] = False
    assert (overlay.unseen_mask(shape, geometry) == expected).all()
    white = np.full((*shape, 3), 255, np.uint8)
    marked = overlay.mark_unseen(white, geometry, 6)
    assert ((marked < 255).all(axis=2) == expected).all()


def test_padding_leaves_nothing_unseen():
    assert not overlay.unseen_mask((50, 80), Geometry.fit_square((50, 80), 32, "pad")).any()


def test_nothing_is_drawn_beyond_the_crop():
    geometry = Geometry.fit_square((60, 100), 32)
    field = geometry.maps_to_radiograph(np.ones((7, 7)), (60, 100))
    drawn = overlay.fuse_over(np.full((60, 100), 0.5), [field], [(1.0, 0.0, 0.0)]).rgb
    assert (drawn[:, :20] == 127).all()
    assert (drawn[:, 20:80, 0] > 127).all()


def test_outlines_enclose_half_of_the_peak():
    geometry = Geometry.fit_square((200, 200), 64)
    values = np.zeros((5, 5))
    values[2, 2] = 4.0
    (line,) = overlay.outlines(values, geometry)
    on_line = overlay_value(values, geometry, line)
    assert np.allclose(on_line, 2.0, atol=0.1)


def overlay_value(values, geometry, points):
    field = geometry.maps_to_radiograph(values)
    columns, rows = np.clip(points.astype(int), 0, 199).T
    return field[rows, columns]


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_peaks_lie_in_what_the_model_saw_or_are_not_marked(fit):
    geometry = Geometry.fit_square((100, 60), 32, fit)
    marked = []
    for cell in range(9):
        values = np.zeros(9)
        values[cell] = 1.0
        point = overlay.peak_point(values.reshape(3, 3), geometry)
        marked.append(point is not None)
        if point is not None:
            assert geometry.sees(point)
    # Padded to 100 x 100, the outer columns of three have their centres 3.3 pixels outside of the radiograph.
    assert marked == ([False, True, False] * 3 if fit == "pad" else [True] * 9)


def test_a_large_radiograph_is_drawn_in_little_memory():
    radiograph = synthetic_radiograph((400, 360))
    pixels = np.tile(radiograph.pixels, (10, 10))
    large = type(radiograph).from_array(pixels)
    explanation = synthetic_explanation(large, k=18)
    tracemalloc.start()
    try:
        draw_explanation(explanation, large)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150e6
