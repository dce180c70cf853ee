"""One pathology, one colour: in any rank, and wherever it is shown."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image
from synthetic import synthetic_explanation, synthetic_radiograph

import cxr_explain as cxr
from cxr_explain.errors import OptionError
from cxr_explain.figures import draw_explanation
from cxr_explain.figures.palette import PREFERRED
from cxr_explain.pages.displays import explanation_card
from cxr_explain.pages.explorer import Explorer
from cxr_explain.pages.index_page import IndexEntry
from cxr_explain.pages.templating import environment
from cxr_explain.pathologies import ReferenceBox

ORDERS = (("Effusion", "Edema", "Mass"), ("Mass", "Hernia", "Effusion"))
"""Effusion ranks first, and third."""
OWN = {"effusion": "#123ABC"}
NEIGHBOUR = 5  # of 255: the pixel nearest to a cell's centre has 1.6 % of the next cell


def explanation_of(names):
    """An explanation whose k-th pathology has all the evidence of one strip, from the top."""
    radiograph = synthetic_radiograph((96, 96))
    explanation = synthetic_explanation(radiograph, k=len(names))
    top = tuple(
        replace(prediction, pathology=name)
        for prediction, name in zip(explanation.ranking.top, names, strict=True)
    )
    maps = np.zeros((len(names), 3, 3), np.float32)
    for k in range(len(names)):
        maps[k, k] = 1
    ranking = replace(explanation.ranking, top=top, predictions=top)
    return replace(explanation, ranking=ranking, maps=maps, class_maps=maps), radiograph


def pixels_of(source):
    png = base64.b64decode(source.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def expected(names, own=None):
    chosen = {"Effusion": OWN["effusion"]} if own else {}
    return [chosen.get(name, PREFERRED[name]) for name in names]


@pytest.fixture(params=ORDERS, ids=["first", "third"])
def names(request):
    return request.param


@pytest.mark.parametrize("own", [None, OWN], ids=["own", "chosen"])
def test_the_figure(names, own):
    explanation, radiograph = explanation_of(names)
    boxes = [ReferenceBox(name, 10, 10, 30, 30) for name in names]
    figure = draw_explanation(explanation, radiograph, boxes=boxes, colours=own)
    page, _, overlay, *_ = figure.axes
    colours = expected(names, own)
    drawn = [to_hex(patch.get_facecolor()).upper() for patch in page.patches]
    assert [colour for colour in drawn if colour in colours] == [
        *colours,
        *colours,
        *colours,
    ]  # key, grid, table
    inside = [line for line in overlay.lines if line.get_transform() != overlay.transAxes]  # but the frame
    lines = [to_hex(line.get_color()).upper() for line in inside]
    assert set(colours) <= set(lines) <= {*colours, "#FFFFFF"}
    dots = overlay.findobj(lambda artist: isinstance(artist, Line2D) and artist.get_marker() == "o")
    badges = [to_hex(line.get_markerfacecolor()).upper() for line in dots]
    assert badges == colours


@pytest.mark.parametrize("own", [None, OWN], ids=["own", "chosen"])
def test_the_overlay_and_the_card(names, own):
    explanation, _ = explanation_of(names)
    colours = expected(names, own)
    shown = explanation.overlay(max_opacity=1, colours=own)
    for k, colour in enumerate(colours):
        assert np.abs(shown[16 + 32 * k, 48] - 255 * np.array(to_rgb(colour))).max() <= NEIGHBOUR
    html = explanation_card(explanation, colours=own).to_html()
    swatches = re.findall(r'src="(data:[^"]+)"', html)[1:]
    assert [to_hex(pixels_of(source)[5, 5] / 255).upper() for source in swatches] == colours


@pytest.mark.parametrize("own", [None, OWN], ids=["own", "chosen"])
def test_the_explorer(names, own):
    pytest.importorskip("ipywidgets")
    explanation, _ = explanation_of(names)
    explorer = explanation.explore(colours=own)
    assert isinstance(explorer, Explorer)
    colours = expected(names, own)

    def shown():
        return np.asarray(Image.open(io.BytesIO(explorer.png())).convert("RGB"))

    explorer.opacity.value = 1
    rows = explorer._box.children[1].children[2:]
    for k, (row, colour) in enumerate(zip(rows, colours, strict=True)):
        (source,) = re.findall(r'src="(data:[^"]+)"', row.children[0].value)
        assert to_hex(pixels_of(source)[5, 5] / 255).upper() == colour
        assert np.abs(shown()[16 + 32 * k, 48] - 255 * np.array(to_rgb(colour))).max() <= NEIGHBOUR
    explorer.top_k.value = 1  # a pathology does not change colour where fewer are shown
    assert np.abs(shown()[16, 48] - 255 * np.array(to_rgb(colours[0]))).max() <= NEIGHBOUR


def test_the_index_page(names):
    entry = IndexEntry.of(*explanation_of(names), figure="a.png")
    parts = environment().get_template("parts.html").module
    html = str(parts.comparison_rows(entry, "a", 4, False))
    assert re.findall(r'class="swatch".*?fill="(#\w+)"', html) == expected(names)
    assert "<path" not in html


def test_the_overlays_of_a_batch():
    rankings = tuple(cxr.rank([3.0, 2.0, 1.0], names, top_k=3) for names in ORDERS)
    maps = torch.eye(3)[None, :, :, None].expand(1, 3, 3, 3)
    batch = cxr.BatchMaps(rankings, (cxr.fuse(maps), cxr.fuse(maps)), "closed form")
    first, second = batch.overlays(torch.zeros(2, 1, 96, 96))
    for pixel in (first[16, 48], second[80, 48]):
        assert np.abs(pixel - 0.6 * 255 * np.array(to_rgb(PREFERRED["Effusion"]))).max() <= NEIGHBOUR


def test_a_second_sign_is_explained_where_it_is_drawn_and_only_there():
    explanation, radiograph = explanation_of(ORDERS[0])

    def said(**options):
        figure = draw_explanation(explanation, radiograph, **options)
        return {text.get_text() for axes in figure.axes for text in axes.findobj(Text)}

    full, without_outlines = "hatch and dashes: colour near another's", "hatch: colour near another's"
    assert not {full, without_outlines} & said()
    near = {"Mass": PREFERRED["Effusion"]}
    assert full in said(colours=near)
    assert without_outlines in said(colours=near, contours=False)


def test_a_second_sign_is_on_the_index_page_and_on_the_card():
    explanation, radiograph = explanation_of(("Effusion", "Pleural effusion"))
    entry = IndexEntry.of(explanation, radiograph, figure="a.png")
    parts = environment().get_template("parts.html").module
    assert str(parts.comparison_rows(entry, "a", 4, False)).count("<path") == 1
    plain, signed = re.findall(r'src="(data:[^"]+)"', explanation_card(explanation).to_html())[1:]
    assert len(np.unique(pixels_of(plain).reshape(-1, 3), axis=0)) == 1
    assert len(np.unique(pixels_of(signed).reshape(-1, 3), axis=0)) > 1


def test_what_is_no_colour_is_refused_before_anything_is_drawn():
    explanation, radiograph = explanation_of(ORDERS[0])
    for show in (
        lambda: draw_explanation(explanation, radiograph, colours={"Mass": "nope"}),
        lambda: explanation.overlay(colours={"Mass": "nope"}),
        lambda: explanation.explore(colours={"Mass": "nope"}),
    ):
        with pytest.raises(OptionError, match="nope"):
            show()
