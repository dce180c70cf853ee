"""Parts of a figure that can be left out, and what stays."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import get_args

import pytest
from odd_figures import drawn, plain
from test_figure import assert_legible, written

from cxr_explain.errors import OptionError
from cxr_explain.figures import draw_explanation
from cxr_explain.figures.style import Style
from cxr_explain.figures.texts import DISCLAIMER
from cxr_explain.options import FigurePart

PARTS = get_args(FigurePart)
HEADINGS = {
    "table": "Predictions and reference labels",
    "class maps": "Class maps",
    "facts": "Method",
    "notes": "Warnings and notes",
}
FEW = ((), ("class maps",), ("table", "notes"), ("facts",))
CHOICES = [chosen for count in range(len(PARTS) + 1) for chosen in combinations(PARTS, count)]
FEW_OR_MOST = (0, 1, len(PARTS) - 1, len(PARTS))
"""So many parts are chosen by default: each alone, and each left out."""


def figure_of(k: int = 5, shape: tuple[int, int] = (160, 160), **options):
    explanation, radiograph, labels = plain(k, shape, warnings=("a warning",))
    return draw_explanation(explanation, radiograph, reference_labels=labels, dpi=60, **options)


@pytest.mark.parametrize(
    "parts",
    [pytest.param(parts, marks=() if len(parts) in FEW_OR_MOST else pytest.mark.slow) for parts in CHOICES],
)
def test_a_figure_has_the_parts_that_are_asked_for(parts):
    figure = figure_of(parts=parts)
    assert_legible(figure)
    said = written(figure).splitlines()
    assert {part for part, heading in HEADINGS.items() if heading in said} == set(parts)
    assert said.count(DISCLAIMER) == 2
    assert "Colour key" in said


@pytest.mark.parametrize(
    ("k", "shape", "parts"),  # each two of them once
    [
        (k, shape, FEW[(at + place) % len(FEW)])
        for at, k in enumerate([0, 1, 18])
        for place, shape in enumerate([(160, 160), (320, 160), (160, 320)])
    ],
)
def test_every_layout_is_legible_without_some_parts(k, shape, parts):
    assert_legible(figure_of(k, shape, parts=parts))


def test_a_figure_without_parts_is_lower():
    heights = [figure_of(parts=parts).get_figheight() for parts in ((), ("table",), PARTS)]
    assert heights == sorted(heights)
    assert heights[0] < 0.7 * heights[-1]


def test_the_intended_use_goes_by_name_alone():
    assert DISCLAIMER in written(figure_of(parts=()))
    without = figure_of(disclaimer=False)
    assert "Research use only" not in written(without)
    assert "not for diagnosis" not in written(without)
    assert_legible(without)
    assert_legible(figure_of(parts=(), disclaimer=False))


@pytest.mark.parametrize("name", ["a phantom", "a phantom, by a model for phantoms", "a model for phantoms"])
def test_a_phantom_is_always_called_one(name):
    said = written(drawn(name, parts=(), disclaimer=False))
    assert "PHANTOM" in said


def test_another_part_is_refused():
    with pytest.raises(OptionError, match="parts"):
        figure_of(parts=("footer",))
    with pytest.raises(OptionError, match="parts"):
        figure_of(parts="table")


@pytest.mark.parametrize(
    ("size", "name"), [(4.0, "print"), (6.0, "dark"), (8.0, "print"), (10.0, "light"), (16.0, "print")]
)
def test_styles_and_sizes_keep_the_layout(size, name):
    from dataclasses import replace

    from cxr_explain.figures.style import STYLES

    figure = figure_of(style=replace(STYLES[name], size=size))
    assert_legible(figure)
    body = next(text for text in figure.axes[0].texts if text.get_text() == "Effusion")
    assert body.get_size() == pytest.approx(size)
    width = figure.get_figwidth()
    assert width == pytest.approx(11.69, abs=0.02) if size <= 10 else width > 11.7


@pytest.mark.parametrize(
    ("size", "language", "fonts"),
    [
        pytest.param(size, language, (fonts,), marks=() if size == quick else pytest.mark.slow)
        for fonts, quick in (("DejaVu Serif", 6.0), ("DejaVu Sans Mono", 10.0), ("STIXGeneral", 10.0))
        for size, language in ((6.0, "de"), (8.0, "en"), (10.0, "de"))
    ],
)
def test_other_fonts_keep_the_layout(fonts, size, language):
    figure = figure_of(18, style=Style(fonts=fonts, size=size, language=language))
    assert_legible(figure)
    drawn_with = {text.get_fontfamily()[0] for text in figure.axes[0].texts}
    assert all(fonts[0].replace(" ", "") in Path(file).stem for file in drawn_with)


@pytest.mark.parametrize("part", ["paper", "ink", "quiet", "rule", "alert", "track", "bar"])
def test_a_colour_that_is_none_is_refused_at_once(part):
    assert getattr(Style(**{part: "white"}), part) == "#FFFFFF"
    for none in ("nope", "#FFF", "", None, (1, 0, 0)):
        with pytest.raises(OptionError, match=rf"{part}="):
            Style(**{part: none})


def test_display_names_are_checked():
    with pytest.raises(OptionError, match=r"'Efusion'.*'Effusion'"):
        Style(names={"Efusion": "Pleural effusion"})
    with pytest.raises(OptionError, match="a mapping"):
        Style(names=[("Effusion", "Pleural effusion")])
    for nothing in ("", " ", "\u202e"):
        assert Style(names={"Effusion": nothing}).name_of("Effusion") == "Effusion"
    with pytest.raises(OptionError, match="a Style, or one of"):
        figure_of(style={"size": 8})
    with pytest.raises(OptionError, match="a mapping"):
        figure_of(colours=["red"])


def test_lines_are_as_wide_as_the_style_has_them():
    def widths(line_width: float) -> list[float]:
        figure = figure_of(style=Style(line_width=line_width))
        return [
            line.get_linewidth()
            for axes in figure.axes
            for line in axes.lines
            if line.get_linestyle() != "None"
        ]

    assert widths(2.0) == pytest.approx([2 * width for width in widths(1.0)])
