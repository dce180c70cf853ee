"""Pieces on axes that are not the package's own."""

from __future__ import annotations

import io
import pickle
import re
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from diagonal import diagonal
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from synthetic import synthetic_explanation, synthetic_radiograph

from cxr_explain.errors import OptionError, OutputError
from cxr_explain.figures import overlay
from cxr_explain.figures.marks import Marks
from cxr_explain.figures.palette import class_styles
from cxr_explain.figures.style import LIGHT, Style, small_size
from cxr_explain.geometry import Geometry
from cxr_explain.pathologies import ReferenceBox, ReferenceLabels

SHAPE = (300, 240)
BOX = ReferenceLabels(boxes=(ReferenceBox("Effusion", 20, 40, 60, 80),))


@pytest.fixture(scope="module")
def explanation():
    radiograph = synthetic_radiograph(
        SHAPE,
        patient_orientation=("L", "F"),
        pixel_spacing=(1.5, 1.5),
        pixel_spacing_source="ImagerPixelSpacing",
    )
    return synthetic_explanation(radiograph, k=3)


def pixels(figure, dpi=100):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return np.asarray(Image.open(buffer).convert("RGB"))


def words(axes):
    return [text.get_text() for text in axes.findobj(Text) if text.get_text()]


def badges(axes):
    """Centres of the numbers of peaks, in the coordinates of the axes."""
    (marks,) = [child for child in axes.get_children() if isinstance(child, Marks)]
    numbers = [each for each in marks.get_children() if isinstance(each, Text) and each.get_text().isdigit()]
    to_data = axes.transData.inverted()
    return {
        each.get_text(): to_data.transform(each.get_transform().transform(each.get_position()))
        for each in numbers
    }


def test_the_coordinates_are_the_radiographs_pixels(explanation):
    axes = Figure().add_subplot()
    assert explanation.draw_overlay(axes) is axes
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, SHAPE[1]), (SHAPE[0], 0))
    for rank, values in enumerate(explanation.maps, start=1):
        expected = explanation.geometry.peak_of(values)
        assert badges(axes)[str(rank)] == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize(("layout", "size"), diagonal([None, "constrained", "tight"], [(9, 4), (3, 2)]))
def test_numbers_stay_at_their_peaks_whatever_the_axes_become(explanation, layout, size):
    figure = Figure(figsize=size, layout=layout)
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    left.set_title("what the user wrote")
    explanation.draw_overlay(left)
    explanation.draw_class_map(right, explanation.ranking.pathologies[0])
    pixels(figure)  # the layout is settled when it is drawn
    figure.set_size_inches(size[0] * 1.3, size[1])
    pixels(figure)
    for axes, ranks in ((left, "123"), (right, "1")):
        found = badges(axes)
        assert set(found) == set(ranks)
        expected = explanation.geometry.peak_of(
            explanation.maps[0] if axes is left else explanation.class_maps[0]
        )
        assert found["1"] == pytest.approx(expected, abs=0.5)
    assert left.get_title() == "what the user wrote"


def test_pieces_stand_in_subfigures_and_insets(explanation):
    figure = Figure(figsize=(6, 3))
    first, second = figure.subfigures(1, 2)
    explanation.draw_radiograph(first.add_subplot(), scale_bar=True)
    axes = second.add_subplot()
    explanation.draw_overlay(axes)
    explanation.draw_key(axes.inset_axes((0.6, 0.6, 0.4, 0.4)), signs=False)
    assert pixels(figure).std() > 20


def test_text_follows_the_users_settings(explanation):
    settings = {
        "font.family": ["serif"],
        "font.serif": ["DejaVu Serif"],
        "font.size": 7,
        "text.color": "#FFEEDD",
        "figure.facecolor": "black",
        "lines.linewidth": 3.0,
        "text.usetex": True,  # would run TeX, which is not there
    }
    with matplotlib.rc_context(settings):
        style = Style.from_rcparams()
        figure = Figure()
        axes = figure.add_subplot()
        explanation.draw_key(axes)
    assert (style.fonts, style.size, style.ink) == (("DejaVu Serif",), 7.0, "#FFEEDD")
    assert style.line_width == pytest.approx(2)
    drawn = [text for text in axes.findobj(Text) if text.get_text() and text.get_text() != axes.get_title()]
    assert {text.get_color() for text in drawn} == {"#FFEEDD"}
    sizes = {round(text.get_fontsize(), 3) for text in drawn}
    assert max(sizes) == 7
    assert min(sizes) >= small_size(style) - 0.8  # the letter in the sign of a number


def test_no_text_is_smaller_than_journals_print():
    assert small_size(Style(size=5.2)) == 5.0
    assert small_size(Style(size=10)) == pytest.approx(10 * 6.4 / 7.4)


def test_generic_families_are_those_that_are_installed():
    with matplotlib.rc_context({"font.family": ["serif"], "font.serif": ["No Such Serif", "DejaVu Serif"]}):
        assert Style.from_rcparams().fonts == ("DejaVu Serif",)


def test_vector_output_has_text_and_one_raster_for_each_image(explanation):
    figure = Figure()
    explanation.draw_overlay(figure.add_subplot())
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg")
    text = buffer.getvalue().decode()
    assert text.count("<image ") == 1
    assert text.count("<text ") >= 3  # the ranks; what has a halo is drawn


def test_a_class_map_is_what_the_formula_says(explanation):
    """Against the overlay's formula, read literally, at the samples of the image."""
    axes = Figure(figsize=(2, 2.5)).add_subplot(position=(0, 0, 1, 1))
    explanation.draw_class_map(axes, explanation.ranking.pathologies[1], outlines=False, dpi=60)
    (image,) = axes.images
    found = np.asarray(image.get_array(), np.float64)
    style = class_styles(explanation.ranking.pathologies)[1]
    shape = found.shape[:2]
    grey = overlay.grey(explanation.radiograph.display, shape).astype(np.float64)
    field = explanation.geometry.maps_to_radiograph(np.maximum(explanation.class_maps[1], 0), shape)
    opacity = 0.6 * (field / field.max()) ** 0.75
    expected = (1 - opacity)[..., None] * grey[..., None] + opacity[..., None] * np.array(style.rgb)
    seen = ~overlay.unseen_mask(shape, explanation.geometry)
    assert np.abs(found[seen] / 255 - expected[seen]).max() < 1.5 / 255


def test_a_strong_cell_among_negatives_is_as_large_as_any():
    geometry = Geometry.fit_square((280, 280), 28)
    lone, among = np.zeros((14, 14), np.float32), np.full((14, 14), -5, np.float32)
    lone[7, 7] = among[7, 7] = 1
    explanation = synthetic_explanation(synthetic_radiograph((280, 280)), k=1)
    styles = class_styles(["Mass"])
    base = np.zeros((280, 280), np.float32)
    drawn = [
        overlay.maps_over(
            base, replace(explanation, geometry=geometry), styles, 9, maps=values[None], shown=[1]
        ).rgb
        for values in (lone, among)
    ]
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0].sum(axis=2) > 0).sum() > 280 * 280 / 14**2 * 2


def test_winners_are_the_largest_positive_class_map_cell_by_cell():
    radiograph = synthetic_radiograph((120, 160))
    explanation = synthetic_explanation(radiograph, k=3, grid=5, fit="pad")
    explanation = replace(explanation, class_maps=explanation.class_maps - np.float32(0.02))
    grey = np.zeros((120, 160), np.float32)
    styles = class_styles(explanation.ranking.pathologies)
    found = overlay.winners_over(grey, explanation, styles, 9)
    geometry = explanation.geometry
    for y, x in ((5, 5), (60, 80), (119, 159), (30, 120), (90, 20)):
        row = int((y + 0.5 - geometry.top) / geometry.side * 5)
        column = int((x + 0.5 - geometry.left) / geometry.side * 5)
        values = explanation.class_maps[:, row, column]
        colour = np.array(styles[int(values.argmax())].rgb) if values.max() > 0 else np.zeros(3)
        assert found[y, x] / 255 == pytest.approx(0.45 * colour, abs=2 / 255)


def test_badges_that_coincide_have_a_line_to_their_place(explanation):
    same = replace(explanation, maps=np.repeat(explanation.maps[:1], 3, axis=0))
    axes = Figure().add_subplot()
    same.draw_overlay(axes, sides=False)
    (marks,) = [child for child in axes.get_children() if isinstance(child, Marks)]
    places = badges(axes)
    peak = np.array(explanation.geometry.peak_of(explanation.maps[0]))
    moved = [name for name, place in places.items() if np.hypot(*(place - peak)) > 1]
    assert sorted(moved) == ["2", "3"]
    to_data = axes.transData.inverted()
    lines = [line for line in marks.get_children() if getattr(line, "get_linewidth", float)() > 0]
    starts = [
        to_data.transform(line.get_transform().transform((line.get_xdata()[0], line.get_ydata()[0])))
        for line in lines
        if hasattr(line, "get_xdata") and len(line.get_xdata()) == 2
    ]
    assert len(starts) == 2
    assert all(np.hypot(*(start - peak)) < 0.5 for start in starts)


@pytest.mark.parametrize(
    ("cell", "edge"), [((0, 3), "top"), ((6, 3), "bottom"), ((3, 3), None)], ids=["above", "below", "inside"]
)
def test_a_peak_in_the_margin_is_marked_at_the_edge_with_an_arrow(cell, edge):
    radiograph = synthetic_radiograph((100, 280))
    explanation = synthetic_explanation(radiograph, k=1, fit="pad")
    values = np.zeros((1, 7, 7), np.float32)
    values[0][cell] = 1
    explanation = replace(explanation, maps=values, class_maps=values)
    axes = Figure(figsize=(8, 4)).add_subplot()
    explanation.draw_overlay(axes, sides=False)
    (marks,) = [child for child in axes.get_children() if isinstance(child, Marks)]
    arrows = [child for child in marks.get_children() if type(child).__name__ == "Polygon"]
    _, y = badges(axes)["1"]
    assert len(arrows) == (edge is not None)
    if edge is None:
        assert y == pytest.approx(explanation.geometry.peak_of(values[0])[1], abs=0.5)
    else:
        assert 0 < y < 100
        assert (y < 25) == (edge == "top")
        tip = axes.transData.inverted().transform(arrows[0].get_transform().transform(arrows[0].get_xy()))
        assert (tip[1][1] < y) == (edge == "top")
    key = Figure().add_subplot()
    explanation.draw_key(key)
    assert ("strongest cell beyond the edge" in words(key)) == (edge is not None)


def test_specks_have_no_outline_and_the_largest_piece_always_has():
    geometry = Geometry.fit_square((560, 560), 224)
    values = np.zeros((56, 56))
    values[20:30, 20:30] = 1
    values[5, 5] = 1  # a cell of 56 x 56 is a dot
    assert len(overlay.outlines(values, geometry)) == 1
    alone = np.zeros((56, 56))
    alone[5, 5] = 1
    assert len(overlay.outlines(alone, geometry)) == 1
    two = np.zeros((14, 14))
    two[3, 3] = two[10, 10] = 1  # of 14 x 14, a cell is a region
    assert len(overlay.outlines(two, geometry)) == 2


def test_a_white_margin_has_a_frame():
    from cxr_explain.figures import draw_explanation

    radiograph = synthetic_radiograph((64, 64))
    white = replace(
        radiograph, pixels=np.full((64, 64), 1024, np.float32), display=np.full((64, 64), 255, np.uint8)
    )
    figure = draw_explanation(synthetic_explanation(white, k=1), white)
    panels = [axes for axes in figure.axes if axes.images and axes.get_xlim() == (0, 64)]
    assert len(panels) == 2
    for axes in panels:
        frames = [line for line in axes.lines if line.get_transform() == axes.transAxes]
        assert [line.get_color() for line in frames] == [LIGHT.rule]


def test_boxes_and_masks_lie_in_the_radiographs_pixels(explanation):
    mask = np.zeros(SHAPE, bool)
    mask[100:200, 50:90] = True
    axes = Figure().add_subplot()
    explanation.draw_boxes(axes, BOX, masks={"Mass": mask})
    box, outline = (line.get_xydata() for line in axes.lines)
    assert (box.min(axis=0).tolist(), box.max(axis=0).tolist()) == ([20, 40], [80, 120])
    assert outline.min(axis=0) == pytest.approx([50, 100], abs=1)
    assert outline.max(axis=0) == pytest.approx([90, 200], abs=1)
    assert any("Effusion" in text for text in words(axes))


def test_predictions_say_rank_name_probability_and_what_does_not_fit(explanation):
    axes = Figure(figsize=(3, 3)).add_subplot()
    explanation.draw_predictions(axes)
    for rank, each in enumerate(explanation.ranking.top, start=1):
        assert {str(rank), each.pathology.replace("_", " ")} <= set(words(axes))
    small = Figure(figsize=(3, 1.0)).add_subplot()
    explanation.draw_predictions(small)
    assert "2 more" in words(small)


def test_a_key_keeps_its_words_in_narrow_axes_and_in_a_corner(explanation):
    wide, narrow, corner = (Figure(figsize=(width, 4)).add_subplot() for width in (6, 2, 6))
    for axes in (wide, narrow):
        explanation.draw_key(axes)
        said = " ".join(words(axes))
        assert "no to strongest evidence in that picture" in said
        assert "…" not in said
    assert len(words(narrow)) > len(words(wide))
    explanation.draw_overlay(corner)
    explanation.draw_key(corner, loc="lower right", signs=False)
    corner.figure.draw_without_rendering()
    box = corner.get_window_extent()
    name = explanation.ranking.pathologies[1]
    (text,) = [each for each in corner.findobj(Text) if each.get_text() == name]
    place = text.get_transform().transform(text.get_position())
    assert place[0] > box.x0 + box.width / 2
    assert place[1] < box.y0 + box.height / 2


def test_a_loaded_explanation_needs_its_radiograph_for_pictures_alone(explanation, tmp_path):
    loaded = type(explanation).load(explanation.save(tmp_path / "saved"))
    loaded.draw_key(Figure().add_subplot())
    loaded.draw_predictions(Figure().add_subplot())
    with pytest.raises(OutputError, match="without its radiograph"):
        loaded.draw_overlay(Figure().add_subplot())
    with pytest.raises(OutputError, match="SHA-256"):
        loaded.draw_overlay(Figure().add_subplot(), radiograph=synthetic_radiograph(SHAPE, seed=3))
    loaded.draw_overlay(Figure().add_subplot(), radiograph=explanation.radiograph)


def test_bad_arguments_are_named(explanation):
    axes = Figure().add_subplot()
    with pytest.raises(OptionError, match="one that is ranked: Effusion"):
        explanation.draw_class_map(axes, "Hernia")
    with pytest.raises(OptionError, match="upper left"):
        explanation.draw_key(axes, loc="centre")
    with pytest.raises(OptionError, match="dpi"):
        explanation.draw_radiograph(axes, dpi=0)
    with pytest.raises(OptionError, match="a mask of"):
        explanation.draw_boxes(axes, masks={"Mass": np.zeros((3, 3), bool)})


def test_a_key_on_a_picture_stands_on_a_plate_in_a_corner(explanation):
    figure = Figure(figsize=(4, 4))
    axes = figure.add_subplot()
    explanation.draw_overlay(axes)
    explanation.draw_key(axes)
    figure.canvas.draw()
    assert axes.axison
    (marks,) = [child for child in axes.artists if isinstance(child, Marks)]  # one: labels keep clear
    names = [text for text in marks.findobj(Text) if text.get_text() in explanation.ranking.pathologies]
    assert len(names) == explanation.ranking.k
    assert {text.get_color() for text in names} == {"#FFFFFF"}
    for text in names:
        x, y = axes.transAxes.inverted().transform(text.get_transform().transform(text.get_position()))
        assert 0 < x < 1
        assert 0 < y < 0.7


def test_a_key_says_how_many_entries_have_no_room_in_a_small_picture(explanation):
    figure = Figure(figsize=(1, 0.8))
    axes = figure.add_axes((0, 0, 1, 1))
    explanation.draw_overlay(axes)
    explanation.draw_key(axes, signs=True)
    assert any(re.fullmatch(r"\d more", word) for word in words(axes))


@pytest.mark.parametrize("projection", ["polar", "3d"])
def test_axes_that_would_distort_a_radiograph_are_refused(explanation, projection):
    with pytest.raises(OptionError, match="plain axes"):
        explanation.draw_overlay(Figure().add_subplot(projection=projection))
    twin = Figure().add_subplot().twinx()
    with pytest.raises(OptionError, match="twin axes"):
        explanation.draw_overlay(twin)


def test_axes_that_share_their_limits_are_drawn_on(explanation):
    for axes in Figure().subplots(1, 2, sharex=True, sharey=True):
        explanation.draw_overlay(axes)
        assert axes.images


def test_a_figure_that_was_drawn_can_be_pickled_and_resized(explanation):
    figure = Figure(figsize=(4, 4))
    axes = figure.add_subplot()
    explanation.draw_overlay(axes)
    explanation.draw_key(axes)
    before = pixels(figure)
    again = pickle.loads(pickle.dumps(figure))
    assert np.array_equal(pixels(again), before)
    again.set_size_inches(8, 8)
    assert pixels(again).shape == (800, 800, 3)


def test_maps_of_one_radiograph_are_not_drawn_over_another(explanation):
    axes = Figure().add_subplot()
    other = synthetic_explanation(synthetic_radiograph(SHAPE, seed=8), k=2)
    other.draw_overlay(axes)
    with pytest.raises(OptionError, match="another radiograph"):
        explanation.draw_overlay(axes)
    axes.clear()
    assert explanation.draw_overlay(axes) is axes


def test_what_is_drawn_twice_is_marked_once(explanation):
    axes = Figure().add_subplot()
    explanation.draw_radiograph(axes)
    explanation.draw_overlay(axes)
    explanation.draw_overlay(axes)
    assert sorted(word for word in words(axes) if word in "RL123") == ["1", "2", "3", "L", "R"]


def test_letters_stay_legible_where_the_settings_outline_everything(explanation):
    from matplotlib import pyplot

    with pyplot.xkcd():
        axes = Figure().add_subplot()
        explanation.draw_overlay(axes)
        explanation.draw_key(axes)
    white = [text for text in axes.findobj(Text) if text.get_text() in explanation.ranking.pathologies]
    assert white
    assert not any(text.get_path_effects() for text in white)
