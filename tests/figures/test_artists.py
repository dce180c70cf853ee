from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text
from PIL import Image

from cxr_explain.figures.artists import Samples, TextLine
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


@pytest.mark.parametrize("vertical", ["baseline", "center"])
@pytest.mark.parametrize("align", ["left", "center", "right"])
@pytest.mark.parametrize("rotation", [0.0, 90.0])
def test_a_line_has_the_pixels_of_matplotlibs_text(align, vertical, rotation):
    drawn = []
    for kind in (TextLine, Text):
        with own_style():
            figure, axes = empty()
            if kind is TextLine:
                style = {
                    "size": 6.4,
                    "face": "bold",
                    "colour": "#A32A00",
                    "align": align,
                    "vertical": vertical,
                }
            else:
                style = {
                    "fontproperties": Typeface().font("bold", 6.4),
                    "color": "#A32A00",
                    "horizontalalignment": align,
                    "verticalalignment": vertical,
                    "parse_math": False,
                }
            text = kind(0.913, 0.517, WORDS, rotation=rotation, **style)
            axes.add_artist(text)
        drawn.append(pixels_of(figure))
    assert (drawn[0] != 255).any()
    assert (drawn[0] == drawn[1]).all()


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
            axes = page.panel(noise(40, 60), 0.3, 0.2, 0.6, 0.4, (0.0, 30.0, 20.0, 0.0))
            assert isinstance(axes, Axes)
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
