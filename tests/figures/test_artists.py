from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from cxr_explain.figures.artists import Samples, TextLine
from cxr_explain.figures.letter_shapes import line_shape
from cxr_explain.figures.lettering import Typeface
from cxr_explain.figures.output import ExplanationFigure, own_style
from cxr_explain.figures.page import Page

WORDS = "Pleural Thickening $x_1$ fi"


def pixels_of(figure):
    return np.asarray(Image.open(io.BytesIO(figure.to_bytes())))


def empty():
    figure = ExplanationFigure(figsize=(2, 1), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, 2)
    axes.set_ylim(1, 0)
    return figure, axes


def noise(rows, columns):
    return np.random.default_rng(5).integers(0, 256, (rows, columns, 3), np.uint8)


def drawn_by_both(words, *, align="left", vertical="baseline", rotation=0.0, dpi=100, size=6.4, face="bold"):
    """The pixels of a line of this package, and of Matplotlib's text."""
    drawn = []
    for kind in (TextLine, Text):
        with own_style():
            figure, axes = empty()
            figure.set_dpi(dpi)
            if kind is TextLine:
                style = {
                    "size": size,
                    "face": face,
                    "colour": "#A32A00",
                    "align": align,
                    "vertical": vertical,
                }
            else:
                style = {
                    "fontproperties": Typeface().font(face, size, words),
                    "color": "#A32A00",
                    "horizontalalignment": align,
                    "verticalalignment": vertical,
                    "parse_math": False,
                }
            axes.add_artist(kind(0.913, 0.517, words, rotation=rotation, **style))
        drawn.append(pixels_of(figure).astype(int))
    assert (drawn[0] != 255).any()
    return drawn


@pytest.mark.parametrize(("vertical", "rotation"), [("center", 0.0), ("baseline", 90.0), ("center", 90.0)])
@pytest.mark.parametrize("align", ["left", "center", "right"])
def test_a_line_off_the_baseline_has_the_pixels_of_matplotlibs_text(align, vertical, rotation):
    ours, theirs = drawn_by_both(WORDS, align=align, vertical=vertical, rotation=rotation)
    assert (ours == theirs).all()


@pytest.mark.parametrize("align", ["left", "center", "right"])
@pytest.mark.parametrize("face", ["regular", "bold", "oblique"])
@pytest.mark.parametrize(
    "words",
    [
        WORDS,
        "AVATAR To. Ta, P.",
        "fluffy official flow",
        "Ödem; œdème, Ёлка",
        "\u2713 agrees \u2013 \u00b7 \u2026",
    ],
)
def test_a_line_on_the_baseline_is_as_matplotlibs_text_to_a_part_of_a_pixel(words, face, align):
    """Filled as one outline: the same letters, kerning and ligatures, with starts that are not rounded."""
    ours, theirs = drawn_by_both(words, align=align, dpi=200, face=face)
    ink = 255 * 3 - theirs.sum(axis=2)
    shifts = [np.abs(np.roll(255 * 3 - ours.sum(axis=2), shift, axis=1) - ink).sum() for shift in (-1, 0, 1)]
    assert np.argmin(shifts) == 1
    assert shifts[1] < 0.35 * ink.sum()
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.001)


@pytest.mark.parametrize("words", ["Mass \u05e9\u05dc", "e\u0301", "\ufb03\u0e01", "\u6f22"])
def test_what_needs_more_than_letters_in_a_row_is_left_to_matplotlib(words):
    assert line_shape(Typeface().font().get_file(), words) is None
    assert line_shape(None, "Mass") is None


def test_a_hidden_line_is_not_drawn():
    with own_style():
        figure, axes = empty()
        axes.add_artist(TextLine(0.2, 0.5, WORDS, size=8, visible=False))
    assert (pixels_of(figure) == 255).all()


def test_samples_are_the_pages_pixels_as_they_are():
    pixels = noise(40, 60)
    with own_style():
        page = Page(2, 1, 100)
        page.image(pixels, 0.3004, 0.1996, 0.6, 0.4)
    drawn = pixels_of(page.figure).copy()
    assert (drawn[20:60, 30:90] == pixels).all()
    drawn[20:60, 30:90] = 255
    assert (drawn == 255).all()


@pytest.mark.parametrize("x", [0.304, 0.305, 0.306, 0.3095])
def test_an_image_covers_as_many_pixels_as_it_has_samples_wherever_it_stands(x):
    pixels = noise(40, 61)
    with own_style():
        page = Page(2, 1, 100)
        page.image(pixels, x, 0.2, 0.606, 0.4)
    left = round(x * 100)
    assert (pixels_of(page.figure)[20:60, left : left + 61] == pixels).all()


@pytest.mark.parametrize("dpi", [50, 100, 137])
def test_samples_are_drawn_as_matplotlib_draws_them(dpi, monkeypatch):
    """At the page's resolution they skip what Matplotlib does; at another, Matplotlib does it."""

    def drawn():
        with own_style():
            page = Page(2, 1, 100)
            extent = (0.0, 30.0, 20.0, 0.0)
            axes = page.panel(0.3, 0.2, 0.6, 0.4, extent)
            axes.add_image(Samples(axes, noise(40, 60), extent))
        return np.asarray(Image.open(io.BytesIO(page.figure.to_bytes(dpi=dpi))))

    ours = drawn()
    monkeypatch.delattr(Samples, "make_image")
    assert (ours == drawn()).all()


@pytest.mark.parametrize(("transparent", "mode"), [(False, "RGB"), (True, "RGBA")])
def test_an_opaque_figure_has_no_alpha_channel(transparent, mode):
    with own_style():
        page = Page(1, 1, 60)
    image = Image.open(io.BytesIO(page.figure.to_bytes(transparent=transparent)))
    assert image.mode == mode
    assert image.info["dpi"] == pytest.approx((60, 60), abs=0.1)
