"""Models beside each other: what the figure says is what the numbers say."""

from __future__ import annotations

import re
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from diagonal import diagonal
from drawn_texts import drawn_texts
from matplotlib.text import Text
from synthetic import synthetic_explanation, synthetic_radiograph

import cxr_explain as cxr
from cxr_explain.errors import OptionError, OutputError
from cxr_explain.figures.marks import Marks
from cxr_explain.figures.style import Style
from cxr_explain.pathologies import ReferenceBox, ReferenceLabels


def explained(seed=0, spacing=(0.5, 0.5), **options):
    radiograph = synthetic_radiograph(
        (200, 240), pixel_spacing=spacing, pixel_spacing_source="PixelSpacing" if spacing else None
    )
    return synthetic_explanation(radiograph, seed=seed, **({"k": 4} | options))


@pytest.fixture(scope="module")
def models():
    return {"DenseNet": explained(0), "ResNet": explained(5, k=3, fit="pad", model_size=320)}


def texts(figure):
    return [text.get_text() for text in drawn_texts(figure) if text.get_text()]


def test_the_table_says_what_the_numbers_are(models):
    figure = cxr.compare(models, style="light", dpi=150)
    found = texts(figure)
    for each in figure.differences.pathologies:
        for model in each.models.values():
            assert any(text.startswith(f"{model.rank or '–'} (") for text in found)
        for pair in each.pairs:
            assert f"{pair.peak_distance_mm:.0f} mm" in found
            assert f"{pair.overlap:.2f}" in found
            assert f"{pair.spearman:.2f}".replace("-", "−") in found
    assert {"A DenseNet", "B ResNet"} <= set(found)
    alone = figure.differences.ranked_by_one_only
    assert alone
    said = next(text for text in found if text.startswith("Explained by one alone: "))
    for pathology, model in alone.items():
        assert f"{pathology.replace('_', ' ')} ({'A' if model == 'DenseNet' else 'B'})" in said


def test_without_a_pixel_spacing_distances_are_pixels_and_a_share_of_the_diagonal():
    figure = cxr.compare({"A": explained(0, None), "B": explained(5, None)}, style="light", dpi=150)
    pair = next(pair for each in figure.differences.pathologies for pair in each.pairs)
    assert pair.peak_distance_mm is None
    assert f"{pair.peak_distance_px:.0f} px ({100 * pair.peak_distance_share:.1f} %)" in texts(figure)


def test_every_pathology_has_a_row_of_maps_or_those_that_are_asked_for(models):
    def rows(**options):
        figure = cxr.compare(models, style="light", dpi=150, **options)
        return sum(bool(axes.images) and axes.get_xlim() != (0, 1) for axes in figure.axes) / 3

    names = [each.pathology for each in cxr.compare(models, dpi=150).differences.pathologies]
    assert (rows(), rows(pathologies=0), rows(pathologies=99)) == (4, 1, 1 + len(names))
    assert rows(pathologies=[names[0]]) == 2
    with pytest.raises(OptionError, match="one that is ranked"):
        rows(pathologies=["Enlarged Cardiomediastinum"])
    with pytest.raises(OptionError, match="pathologies=-1"):
        rows(pathologies=-1)


def test_peaks_and_outlines_of_both_stand_on_one_radiograph(models):
    mirrored = explained(0)
    mirrored = replace(mirrored, class_maps=mirrored.class_maps[..., ::-1].copy())
    given = {"DenseNet": models["DenseNet"], "mirrored": mirrored}
    figure = cxr.compare(given, style="light", dpi=150, pathologies=1)
    first = figure.differences.pathologies[0]
    axes = [each for each in figure.axes if each.images and each.get_xlim() != (0, 1)][3]
    (marks,) = [child for child in axes.get_children() if type(child).__name__ == "Marks"]
    for letter, model in zip("AB", first.models.values(), strict=True):
        (text,) = [
            each for each in marks.get_children() if isinstance(each, Text) and each.get_text() == letter
        ]
        place = axes.transData.inverted().transform(text.get_transform().transform(text.get_position()))
        assert place == pytest.approx(model.peak, abs=0.6)
    inside = [line for line in axes.lines if line.get_transform() != axes.transAxes]
    assert {line.is_dashed() for line in inside} == {False, True}


@pytest.mark.parametrize(
    ("count", "style"), diagonal([2, 3, 4], [Style(size=7), "dark", Style(size=9, language="zh")])
)
def test_nothing_leaves_the_page(count, style):
    given = {f"model number {at}": explained(at, k=3) for at in range(count)}
    figure = cxr.compare(given, style=style, dpi=150, provenance=True, pathologies=1)
    figure.to_bytes()
    renderer = figure.canvas.get_renderer()
    for text in drawn_texts(figure):
        if text.get_text():
            box = text.get_window_extent(renderer)
            assert box.x0 >= -1, text
            assert box.x1 <= figure.bbox.x1 + 1, text
            assert box.y0 >= -1, text
            assert box.y1 <= figure.bbox.y1 + 1, text


def test_width_bytes_and_settings_are_those_of_a_panel(models):
    with matplotlib.rc_context({"font.size": 7}):
        figures = [cxr.compare(models, width_mm=174, dpi=150, pathologies=1) for _ in range(2)]
    drawn = {kind: figures[0].to_bytes(kind) for kind in ("png", "pdf", "svg")}
    (box,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+)", drawn["pdf"])
    assert float(box) / 72 * 25.4 == pytest.approx(174, abs=0.1)
    assert drawn == {kind: figures[1].to_bytes(kind) for kind in drawn}


def test_loaded_explanations_and_boxes(models, tmp_path):
    loaded = {name: cxr.Explanation.load(each.save(tmp_path / name)) for name, each in models.items()}
    with pytest.raises(OutputError, match="without its radiograph"):
        cxr.compare(loaded)
    labels = ReferenceLabels(boxes=(ReferenceBox("Hernia", 20, 30, 40, 50),))
    radiograph = models["DenseNet"].radiograph
    figure = cxr.compare(loaded, radiograph=radiograph, reference_labels=labels, dpi=150, pathologies=1)
    assert "Hernia" in texts(figure)  # in the key
    labelled = cxr.compare(loaded, radiograph=radiograph, reference_labels=labels, dpi=150, key=False)
    assert {"Hernia", "reference: Hernia"} & {*texts(labelled)}
    assert figure.differences == cxr.compare(models, dpi=150, pathologies=1).differences


def test_what_cannot_be_compared_is_refused(models):
    with pytest.raises(OptionError, match="1 explanation"):
        cxr.compare({"A": models["DenseNet"]})
    other = synthetic_explanation(synthetic_radiograph((200, 240), seed=9), k=2)
    with pytest.raises(OptionError, match="different radiographs"):
        cxr.compare({"A": models["DenseNet"], "B": other})


def test_one_without_any_pathology_is_compared_too(models):
    none = models["DenseNet"]
    none = replace(
        none,
        ranking=replace(none.ranking, top=()),
        maps=np.zeros((0, 7, 7), np.float32),
        class_maps=np.zeros((0, 7, 7), np.float32),
    )
    figure = cxr.compare({"some": models["DenseNet"], "none": none}, style="light", dpi=150, pathologies=1)
    assert set(figure.differences.ranked_by_one_only.values()) == {"some"}
    assert "No pathology to explain" in texts(figure)


@pytest.mark.parametrize(("count", "width_mm"), diagonal([2, 3, 6], [85, 180]))
def test_no_word_of_the_table_breaks_and_no_cell_is_cut(count, width_mm):
    given = {f"model-{at}": explained(at, k=3) for at in range(count)}
    figure = cxr.compare(given, style=Style(size=10), width_mm=width_mm, dpi=150, pathologies=0)
    found = texts(figure)
    assert not [text for text in found if "…" in text]
    assert found.count("overlap") == found.count("correlation") == count - 1
    assert {f"A – {letter}" for letter in "BCDEF"[: count - 1]} <= {*found}
    assert min(text.get_fontsize() for text in drawn_texts(figure) if text.get_text()) >= 5
    for each in figure.differences.pathologies:
        for pair in each.pairs:
            if pair.one == "model-0":
                assert f"{pair.peak_distance_mm:.0f} mm" in found
    heads = [text for text in found if text == "rank (probability)"]
    tables = found.count("pathology")
    assert 1 <= len(heads) <= tables
    assert width_mm == 85 or count == 6 or tables == 1


def test_the_sum_over_pathologies_has_no_distance_of_peaks(models):
    figure = cxr.compare(models, style="light", dpi=150, pathologies=0)
    (whole,) = figure.differences.whole
    found = texts(figure)
    at = found.index(f"{whole.overlap:.2f}")
    distances = [text for text in found if re.fullmatch(r"\d+ mm", text)]
    assert at
    assert len(distances) == sum(len(each.pairs) for each in figure.differences.pathologies)


def test_each_of_eight_models_has_a_line_of_its_own():
    given = {f"model {at}": explained(at, k=1) for at in range(8)}
    figure = cxr.compare(given, style="light", dpi=150, pathologies=0, table=False)
    keys = [child for axes in figure.axes for child in axes.artists if isinstance(child, Marks)]
    groups = [group for marks in keys for mark in marks.marks for group in mark.keywords.get("groups", ())]
    models = {f"{letter} model {at}" for at, letter in enumerate("ABCDEFGH")}
    dashes = [entry.dashes for group in groups for entry in group if entry.text in models]
    assert len(dashes) == len(set(dashes)) == 8
