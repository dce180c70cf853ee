from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diagonal import diagonal
from drawn_texts import drawn_texts
from figure_hash import DPI, distance, figure_hash
from matplotlib.text import Text
from synthetic import synthetic_explanation, synthetic_radiograph

from cxr_explain.errors import OptionError, OutputError, ReferenceLabelError
from cxr_explain.figures import draw_explanation, lettering, palette
from cxr_explain.figures.output import own_style
from cxr_explain.figures.style import Style
from cxr_explain.figures.texts import DISCLAIMER
from cxr_explain.pathologies import PATHOLOGIES, ReferenceBox, ReferenceLabels

TOLERANCE = 60  # of 8000 bits; another dpi already moves the glyphs by more
LABELS = {"Effusion": 1, "Cardiomegaly": 0, "Nodule": -1}
HASHES = {
    int(k): v for k, v in json.loads(Path(__file__).with_name("figure_hashes.json").read_text()).items()
}

HOSTILE = (
    "$\\frac{1}{2}$",
    "a_b^c \\alpha $",
    "\u202eright-to-left\u202c \u05e9\u05dc\u05d5\u05dd",
    "\u6f22\u5b57\x07\x00",
    "Very long name " * 40,
)


def draw(k, shape=(256, 256), dpi=DPI, **options):
    radiograph = synthetic_radiograph(shape, patient_orientation=("L", "F"))
    return draw_explanation(
        synthetic_explanation(radiograph, k=k), radiograph, reference_labels=LABELS, dpi=dpi, **options
    )


def texts(figure):
    return [text for text in drawn_texts(figure) if text.get_visible() and text.get_text().strip()]


def written(figure):
    return "\n".join(text.get_text() for text in texts(figure))


def assert_legible(figure):
    """Every text lies on the page, and none covers another."""
    renderer = figure.canvas.get_renderer()
    with own_style():
        boxes = [(text.get_text(), text.get_window_extent(renderer).extents) for text in texts(figure)]
    said = [text for text, _ in boxes]
    x0, y0, x1, y1 = np.array([box for _, box in boxes]).T
    off_page = (x0 < 0) | (y0 < 0) | (x1 > figure.bbox.x1) | (y1 > figure.bbox.y1)
    assert [said[at] for at in np.flatnonzero(off_page)] == []
    across = np.minimum.outer(x1, x1) - np.maximum.outer(x0, x0)
    down = np.minimum.outer(y1, y1) - np.maximum.outer(y0, y0)
    # Boxes are as high as the tallest letters; 15 % of that is the space between two lines.
    covered = (across > 1) & (down > 0.15 * np.minimum.outer(y1 - y0, y1 - y0) + 1)
    assert [(said[a], said[b]) for a, b in np.argwhere(np.triu(covered, 1))] == []


@pytest.mark.parametrize("k", [1, 5, 18])
def test_layouts_look_as_they_did(k):
    assert distance(figure_hash(draw(k).to_bytes()), HASHES[k]) <= TOLERANCE


def test_the_hash_sees_another_k_other_colours_and_a_lost_overlay(monkeypatch):
    k = 5

    def moved(figure):
        return distance(figure_hash(figure.to_bytes()), HASHES[k]) > TOLERANCE

    assert moved(draw(k - 1))
    assert moved(draw(k, max_opacity=0.02))
    turned = dict(
        zip(PATHOLOGIES, map(palette.PREFERRED.get, (*PATHOLOGIES[1:], PATHOLOGIES[0])), strict=True)
    )
    monkeypatch.setattr(palette, "PREFERRED", turned)
    assert moved(draw(k))


@pytest.mark.parametrize(
    ("k", "shape"),
    [
        *((k, (200, 200)) for k in (0, 1, 2, 5, 8, 18)),
        *diagonal((1, 5, 18), ((400, 200), (200, 400), (230, 190))),
        (7, (200, 208)),
        (5, (32, 32)),
    ],
)
def test_texts_lie_on_the_page_and_apart(k, shape):
    figure = draw(k, shape, dpi=100)
    assert_legible(figure)
    assert DISCLAIMER in written(figure)
    assert "relative within image" in written(figure)


def test_a_crop_is_named_even_where_its_strips_are_narrow():
    narrow, wide, whole = (draw(1, shape) for shape in ((200, 204), (200, 300), (200, 200)))
    assert written(narrow).count("not seen by the model") == 2  # the caption and the key
    assert written(wide).count("not seen by the model") == 4
    assert "not seen" not in written(whole)


@pytest.mark.parametrize(
    ("shape", "language"), diagonal([(90, 400), (100, 300), (400, 150), (40, 400)], ["en", "de"])
)
def test_what_was_not_seen_is_said_there_and_nowhere_else(shape, language):
    figure = draw(7, shape, style=Style(language=language, size=8))
    canvas = figure.canvas
    canvas.draw()
    radiograph = synthetic_radiograph(shape)
    left, top, right, bottom = synthetic_explanation(radiograph).geometry.seen_box
    words = Style(language=language).words("not seen by the model")
    for axes in figure.axes[1:]:
        labels = [text for text in axes.findobj(Text) if text.get_text() == words]
        for label in labels:
            with own_style():
                box = label.get_window_extent(canvas.get_renderer())
            (x0, y0), (x1, y1) = axes.transData.inverted().transform([(box.x0, box.y1), (box.x1, box.y0)])
            assert x1 <= left or x0 >= right or y1 <= top or y0 >= bottom


def test_hostile_strings_are_drawn_as_they_are_or_cut():
    note = "value $x_1$ \\alpha\nwith newline " * 30
    radiograph = synthetic_radiograph(
        (64, 64), id="$id_1$ \x00" + "L" * 300, warnings=(note, *map(str, range(14)))
    )
    explanation = synthetic_explanation(radiograph, steps=tuple(f"step {i}: {note}" for i in range(20)))
    top = tuple(
        replace(prediction, pathology=name)
        for prediction, name in zip(explanation.ranking.top, HOSTILE, strict=True)
    )
    ranking = replace(explanation.ranking, top=top, predictions=top)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw_explanation(
            replace(explanation, ranking=ranking),
            radiograph,
            reference_labels=ReferenceLabels({"B" * 400: 1, HOSTILE[3]: 0, "Mass $x$": -1}),
            dpi=100,
        )
        for kind in ("png", "pdf", "svg"):
            figure.to_bytes(kind)
    assert_legible(figure)
    assert "$\\frac{1}{2}$" in written(figure)
    assert not any(text.get_parse_math() for text in texts(figure))


def test_states_are_said_in_words():
    radiograph = synthetic_radiograph((64, 64))
    explanation = synthetic_explanation(radiograph)
    nothing = replace(explanation, maps=explanation.maps * 0, class_maps=-np.abs(explanation.class_maps))
    said = written(draw_explanation(nothing, radiograph))
    assert "No positive evidence in the fused map" in said
    assert "wins nowhere in the fused map" in said
    assert "no positive" in said
    assert "nan" not in said.lower()
    assert "none given" in said
    said = written(draw_explanation(synthetic_explanation(radiograph, k=0), radiograph))
    assert "No pathology to explain" in said


def test_a_layer_that_no_gradient_reaches_is_no_lack_of_evidence():
    radiograph = synthetic_radiograph((64, 64))
    explanation = synthetic_explanation(radiograph)
    names = explanation.ranking.pathologies
    empty = replace(explanation, maps=explanation.maps * 0, class_maps=explanation.class_maps * 0)
    figure = draw_explanation(_without_gradient(empty, names), radiograph)
    assert_legible(figure)
    said = written(figure)
    assert "No gradient reaches this layer" in said
    assert "no gradient reaches the layer" in said
    assert "wins nowhere" not in said
    assert "evidence" not in said.replace("strongest here", "")


def test_one_pathology_without_gradient_is_told_from_those_without_evidence():
    radiograph = synthetic_radiograph((64, 64))
    explanation = synthetic_explanation(radiograph)
    maps, class_maps = explanation.maps.copy(), explanation.class_maps.copy()
    maps[:2], class_maps[0], class_maps[1] = 0, 0, -1
    one = replace(explanation, maps=maps, class_maps=class_maps)
    figure = draw_explanation(_without_gradient(one, one.ranking.pathologies[:1]), radiograph)
    assert_legible(figure)
    said = " ".join(written(figure).split())
    assert "no gradient, or wins nowhere" in said
    assert "No gradient" in said
    assert "no positive" in said


def test_a_single_cell_is_called_one_value():
    radiograph = synthetic_radiograph((64, 64))
    explanation = synthetic_explanation(radiograph)
    cell = np.ones((len(explanation.maps), 1, 1), np.float32)
    said = written(draw_explanation(replace(explanation, maps=cell, class_maps=cell), radiograph))
    assert "One value for the whole image" in said


def _without_gradient(explanation, names):
    return replace(explanation, provenance=replace(explanation.provenance, without_gradient=names))


def test_nothing_unknown_is_guessed():
    radiograph = synthetic_radiograph((64, 64))
    said = written(draw_explanation(synthetic_explanation(radiograph), radiograph))
    assert "view unknown · laterality unknown · orientation unknown" in said
    assert not {"R", "L"} & set(said.splitlines())
    known = replace(radiograph, patient_orientation=("L", "F"), view="PA")
    figure = draw_explanation(synthetic_explanation(known), known)
    marks = {text.get_text(): text.get_window_extent() for text in texts(figure) if text.get_text() in "RL"}
    assert marks["R"].x1 < marks["L"].x0
    assert "view PA (from header)" in written(figure)


def test_the_table_tells_label_states_apart():
    radiograph = synthetic_radiograph((64, 64))
    labels = {"Effusion": 1, "Cardiomegaly": 0, "Mass": -1, "Infiltration": None, "Support Devices": 1}
    said = written(draw_explanation(synthetic_explanation(radiograph), radiograph, reference_labels=labels))
    for words in (
        "positive",
        "negative",
        "uncertain",
        "not mentioned",
        "not labelled",
        "no operating point",
        "not predicted by this model",
        "✓ agrees",
        "✗ disagrees",
    ):
        assert words in said.splitlines()


def test_boxes_are_drawn_in_both_panels_in_the_radiographs_pixels():
    radiograph = synthetic_radiograph((100, 100))
    box = ReferenceBox("Mass", 10, 20, 30, 40)
    labels = ReferenceLabels({"Mass": "positive"}, (box, replace(box, pathology="Hernia", x=50)))
    figure = draw_explanation(synthetic_explanation(radiograph), radiograph, reference_labels=labels)
    assert written(figure).count("reference: Mass") == 2
    assert written(figure).count("reference: Hernia") == 2
    outlines = [
        (line.get_color(), list(line.get_xdata()), list(line.get_ydata()))
        for axes in figure.axes
        for line in axes.lines
        if len(line.get_xdata()) == 5
    ]
    mass = palette.PREFERRED["Mass"]
    assert outlines.count((mass, [10, 40, 40, 10, 10], [20, 20, 60, 60, 20])) == 2
    assert sum(colour == palette.UNKNOWN_BOX for colour, _, _ in outlines) == 2
    none = draw_explanation(synthetic_explanation(radiograph), radiograph, reference_labels=labels, boxes=())
    assert "reference: Mass" not in written(none)


def test_a_faint_map_has_its_number_but_no_outline():
    radiograph = synthetic_radiograph((100, 100))
    explanation = synthetic_explanation(radiograph, k=2)

    def outlines_of_the_second(share):
        maps = explanation.maps.copy()
        maps[1] *= share * maps[0].max() / maps[1].max()
        figure = draw_explanation(replace(explanation, maps=maps), radiograph, max_opacity=0.6)
        lines = [line for axes in figure.axes for line in axes.lines]
        return sum(
            line.get_color() == palette.PREFERRED[explanation.ranking.pathologies[1]] for line in lines
        )

    assert outlines_of_the_second(0.2) > 0
    assert outlines_of_the_second(0.1) == 0


def test_bad_arguments_are_refused():
    radiograph = synthetic_radiograph((64, 64))
    explanation = synthetic_explanation(radiograph)
    with pytest.raises(OptionError, match="dpi"):
        draw_explanation(explanation, radiograph, dpi=5)
    with pytest.raises(OptionError, match="max_opacity"):
        draw_explanation(explanation, radiograph, max_opacity=0)
    with pytest.raises(OutputError, match="64, 65"):
        draw_explanation(explanation, synthetic_radiograph((64, 65)))
    with pytest.raises(ReferenceLabelError, match="box"):
        draw_explanation(explanation, radiograph, boxes=[ReferenceBox("Mass", 0, 0, float("nan"), 1)])
    with pytest.raises(OutputError, match="finite"):
        draw_explanation(replace(explanation, maps=explanation.maps * np.nan), radiograph)


def test_explanation_draws_itself():
    radiograph = synthetic_radiograph((64, 64))
    explanation = synthetic_explanation(radiograph, k=2)
    assert explanation.figure("Mass", dpi=50).to_bytes() == (
        draw_explanation(explanation, radiograph, reference_labels="Mass", dpi=50).to_bytes()
    )


@pytest.mark.parametrize("limit", [0.3, 1.0, 2.5])
def test_wrapped_lines_keep_every_word_and_the_limit(limit):
    text = "alpha beta gamma 0123456789abcdef0123456789abcdef delta " * 3
    lines = lettering.Typeface().wrap(text, limit, 7)
    assert all(lettering.Typeface().width(line, 7) <= limit for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_synthetic_input_is_the_same_every_time():
    first, second = synthetic_radiograph((90, 70), seed=3), synthetic_radiograph((90, 70), seed=3)
    assert first.sha256 == second.sha256 != synthetic_radiograph((90, 70), seed=4).sha256
    assert (synthetic_explanation(first).maps == synthetic_explanation(second).maps).all()
