"""What a figure says so that a reader misses nothing: margins, few cells, enlargement, the view, K = 1."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Rectangle
from odd_figures import ODD, SIDE, drawn, one_cell, padded, plain
from synthetic import synthetic_explanation, synthetic_radiograph
from test_figure import written

from cxr_explain.errors import CxrExplainWarning
from cxr_explain.figures import ExplanationFigure, draw_explanation
from cxr_explain.figures.content import Content
from cxr_explain.figures.image_captions import margin_share
from cxr_explain.figures.style import Style
from cxr_explain.geometry import Geometry
from cxr_explain.pathologies import ReferenceBox, ReferenceLabels
from cxr_explain.radiograph import Radiograph
from cxr_explain.reference import read_references
from cxr_explain.reference.entry import Entry


def said(figure: ExplanationFigure) -> str:
    return " ".join(written(figure).split())


def of(odd, **options) -> str:
    explanation, radiograph, labels = odd
    return said(draw_explanation(explanation, radiograph, reference_labels=labels, dpi=60, **options))


def literal_margin_share(explanation) -> float:
    """Split each cell into 50 x 50 points, and count those outside of the radiograph."""
    geometry, evidence = explanation.geometry, np.maximum(explanation.maps, 0).sum(axis=0)
    rows, columns = evidence.shape
    outside = 0.0
    for row in range(rows):
        for column in range(columns):
            ys, xs = ((at + (np.arange(50) + 0.5) / 50) for at in (row, column))
            y, x = np.meshgrid(
                ys / rows * geometry.side + geometry.top, xs / columns * geometry.side + geometry.left
            )
            height, width = geometry.radiograph_shape
            beyond = (x < 0) | (x > width) | (y < 0) | (y > height)
            outside += evidence[row, column] * beyond.mean()
    return outside / evidence.sum()


@pytest.mark.parametrize("shape", [(200, 130), (130, 200), (200, 200), (199, 77)])
@pytest.mark.parametrize("grid", [1, 7, 10])
def test_the_share_of_evidence_in_the_margin_is_that_of_the_cells_areas(shape, grid):
    radiograph = synthetic_radiograph(shape)
    explanation = synthetic_explanation(radiograph, fit="pad", grid=grid)
    maps = np.random.default_rng(1).uniform(-1, 1, explanation.maps.shape).astype(np.float32)
    explanation = replace(explanation, maps=maps)
    content = Content(explanation, radiograph, ReferenceLabels(), (), 0.6, True)
    assert margin_share(content) == pytest.approx(literal_margin_share(explanation), abs=0.02)
    cropped = replace(explanation, geometry=Geometry.fit_square(shape, 224, "crop"))
    assert margin_share(replace(content, explanation=cropped)) == pytest.approx(0, abs=1e-9)


def test_a_strongest_cell_in_the_margin_is_named_by_its_rank():
    text = of(padded(0.5))
    assert (
        "67 % of the evidence lies in the black margin, outside of the radiograph · strongest there: 1"
        in text
    )
    assert "margin" not in of(plain(5))
    assert "margin" not in of(plain(5, (SIDE, 200)))
    assert "in the margin, 100 %" in text  # below the first class map
    assert "peak 50 %" in text  # and the second
    assert "Evidence in the margin alone" in of(padded(0.0))


def test_evidence_in_few_cells_is_counted():
    assert "100 % of the evidence lies in 1 of 49 cells" in of(one_cell())
    assert "100 % of the evidence lies in 1 of 784 cells" in of(one_cell(grid=28))
    assert "of the evidence" not in of(plain(5))
    assert "of the evidence" not in of(one_cell(1))  # one value for the whole image


def test_one_strong_cell_among_negative_ones_is_seen():
    explanation, radiograph, _ = one_cell(grid=14)
    figure = draw_explanation(explanation, radiograph, contours=False, dpi=100)
    overlay = np.asarray(figure.axes[2].images[0].get_array(), int)
    coloured = (overlay.max(axis=2) - overlay.min(axis=2)) > 25
    assert coloured.mean() > 1 / 14**2


@pytest.mark.parametrize(("side", "size", "noted"), [(64, 7.4, True), (2000, 7.4, False), (420, 6.0, False)])
def test_a_small_radiograph_is_said_to_be_enlarged(side, size, noted):
    radiograph = Radiograph.from_array(np.tile(np.linspace(-1024, 1024, side, dtype=np.float32), (side, 1)))
    figure = draw_explanation(
        synthetic_explanation(radiograph, k=1), radiograph, dpi=60, style=Style(size=size)
    )
    found = re.search(r"enlarged: a pixel of the radiograph is ([\d.]+) mm wide here", said(figure))
    assert bool(found) == noted
    if found:
        bounds = figure.axes[1].get_window_extent()
        assert float(found[1]) == pytest.approx(bounds.width / figure.dpi * 25.4 / side, rel=0.05)


@pytest.mark.parametrize(
    ("header", "table", "text"),
    [
        (None, None, "view unknown"),
        ("PA", None, "view PA (from header)"),
        (None, "PA", "view PA (from reference table)"),
        ("PA", "pa", "view PA (from header) ·"),
        ("AP", "AP supine", "view AP (from header) ·"),
        ("AP", "frontal", "view AP (from header) ·"),
        ("LL", "lateral", "view LL (from header) ·"),
        ("AP", "PA", "view AP (from header; reference table: PA)"),
        ("PA", "lateral", "view PA (from header; reference table: lateral)"),
        ("frontal", "lateral", "view frontal (from header; reference table: lateral)"),
    ],
)
def test_the_view_is_said_with_where_it_is_known_from(header, table, text):
    odd = plain(1, view=header, labels=ReferenceLabels({"Mass": "positive"}, view=table))
    found = of(odd)
    assert text in found
    assert text.removeprefix("view ").removesuffix(" ·") in found.rsplit("Radiograph", 1)[1]  # the facts


def test_a_manifest_and_a_label_table_know_the_view(tmp_path: Path):
    assert Entry("a", "a.png", view="AP").labels_in((4, 4)).view == "AP"
    table = tmp_path / "labels.csv"
    table.write_text("image,labels,view\na.png,Mass,LL\n")
    labels = read_references(labels=table).labels_for("a.png", (4, 4))
    assert labels is not None
    assert labels.view == "LL"


@pytest.mark.parametrize("name", [name for name, odd in ODD.items() if odd()[0].ranking.k == 1])
def test_one_pathology_speaks_of_no_fusion(name):
    text = said(drawn(name)).replace("fusion none: a single class map", "")
    assert "fus" not in text.lower().replace("effusion", "")
    assert "1 pathology" in text


def test_the_legend_explains_what_is_drawn_and_nothing_else():
    explanation, radiograph, _ = plain(2)
    both = of((explanation, radiograph, None))
    assert "half of its own peak" in both
    assert "unless faint" not in both
    maps = explanation.maps.copy()
    maps[1] *= 0.1 * maps[0].max() / maps[1].max()
    assert "half of its own peak, unless faint" in of((replace(explanation, maps=maps), radiograph, None))
    assert "half of its own peak" not in of((explanation, radiograph, None), contours=False)
    assert "dashes" not in both
    assert "hatch and dashes" in said(drawn("thirty"))
    assert "hatch: " in said(drawn("thirty", contours=False))
    assert "half of its own peak" not in said(drawn("margin alone"))
    assert "half of its own peak" in said(drawn("margin, and inside"))
    assert "strongest cell beyond the edge" not in both
    assert "strongest cell beyond the edge" in said(drawn("margin, and inside"))


def test_the_sign_of_the_legend_has_dashes_only_where_outlines_are_drawn():
    def frames(contours: bool) -> int:
        figure = drawn("thirty", parts=(), contours=contours)
        patches = figure.findobj(Rectangle)
        return sum(patch.get_linestyle() not in ("solid", "-") for patch in patches)

    assert frames(contours=True) > 0
    assert frames(contours=False) == 0


def test_a_white_radiograph_has_an_edge_in_every_picture():
    white = Radiograph.from_array(np.full((64, 64), 1024, np.float32))
    explanation = synthetic_explanation(white, k=2)
    maps = np.zeros_like(explanation.maps)
    maps[:, 3, 3] = 1
    explanation = replace(explanation, maps=maps, class_maps=maps)
    figure = draw_explanation(explanation, white, dpi=100, parts=("class maps",))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    shown = np.asarray(canvas.buffer_rgba())[..., :3].min(axis=-1)
    images = [image for axes in figure.axes for image in axes.images if image.get_array().shape[0] > 40]
    assert len(images) == 4
    for image in images:
        box = image.get_window_extent()
        row = shown.shape[0] - 1 - round(box.y0 + 0.9 * box.height)
        for edge in (box.x0, box.x1):
            assert shown[row, round(edge) - 2 : round(edge) + 2].min() < 240


@pytest.mark.parametrize("nothing", ["", "\n", "\u202e"])
def test_an_id_that_nobody_sees_is_a_dash(nothing):
    explanation, radiograph, _ = plain(1)
    assert "diagnosis – Grad-CAM" in of((replace(explanation, id=nothing), radiograph, None))


def test_a_faint_peak_is_no_peak_of_nothing():
    explanation, radiograph, _ = plain(2)
    maps = np.abs(explanation.class_maps)
    maps[1] *= 0.001 * maps[0].max() / maps[1].max()
    text = of((replace(explanation, class_maps=maps), radiograph, None))
    assert "peak <1 %" in text
    assert "peak 0 %" not in text


def test_nothing_was_fused_where_there_is_nothing_to_explain():
    assert "fusion nothing to explain" in said(drawn("nothing to explain"))


def test_the_remark_beside_a_narrow_image_is_whole_or_not_there():
    explanation, radiograph, labels = padded(0.5)
    for language in ("en", "de"):
        text = of((explanation, radiograph, labels), style=Style(language=language))
        assert "…" not in text


def test_a_long_source_of_labels_hides_no_other_remark():
    labels = ReferenceLabels({"Mass": "positive"}, source="a table with a long name " * 20)
    text = of(plain(2, labels=labels))
    assert "Reference labels: a table with a long name" in text
    assert "15 more predictions are not shown." in text


@pytest.mark.parametrize("corner", [(SIDE, 0), (0, SIDE), (-10, 0), (0, -10)])
def test_a_box_outside_of_the_radiograph_is_named_and_not_drawn(corner):
    inside, outside = ReferenceBox("Effusion", 20, 100, 40, 30), ReferenceBox("Mass", *corner, 10, 10)
    text = of(plain(1, labels=ReferenceLabels({"Mass": "positive"}, (inside, outside))))
    assert "reference: Mass" not in text
    assert text.count("reference: Effusion") == 2
    assert "reference box outside of the image: Mass" in text
    alone = of(plain(1, labels=ReferenceLabels({"Mass": "positive"}, (outside,))))
    assert alone.count("reference box") == 1  # the legend explains no box that is not there


@pytest.mark.parametrize("corner", [(SIDE - 1, 0), (0, SIDE - 1), (-9, 0), (0, -9)])
def test_a_box_partly_inside_is_drawn(corner):
    labels = ReferenceLabels({"Mass": "positive"}, (ReferenceBox("Mass", *corner, 10, 10),))
    text = of(plain(1, labels=labels))
    assert text.count("reference: Mass") == 2
    assert "outside of the image" not in text


def test_pictures_beside_others_warn_of_a_box_outside():
    explanation, radiograph, _ = plain(1)
    labels = ReferenceLabels({"Mass": "positive"}, (ReferenceBox("Mass", SIDE + 5, 0, 10, 10),))
    with pytest.warns(CxrExplainWarning, match="160 x 160 pixels are not drawn: Mass"):
        content = Content.of(explanation, radiograph, labels)
    assert content.boxes == ()


def test_the_table_explains_the_signs_and_states_that_are_there():
    whole = "Rank –: not explained. Agreement –: needs"
    assert whole in of(plain(5))
    assert "Not mentioned: left blank" in of(plain(5))
    assert "Not labelled: the reference labels" in of(plain(5))
    labels = {"Effusion": 1, "Cardiomegaly": 0}
    clear = of(plain(2, labels=labels))
    assert "–:" not in clear
    assert "Not mentioned" not in clear
    assert "Not labelled" not in clear
    unranked = of(plain(2, labels={**labels, "Mass": 1}))
    assert "Rank –: not explained." in unranked
    assert "Agreement –" not in unranked


def test_names_are_spelt_for_readers_everywhere():
    radiograph = synthetic_radiograph((SIDE, SIDE))
    explanation = synthetic_explanation(radiograph, k=18)
    figure = draw_explanation(explanation, radiograph, reference_labels="Pleural_Thickening", dpi=60)
    assert "Pleural_Thickening" not in written(figure)
    assert "Pleural Thickening" in written(figure)
