"""Panels: rows of patients, columns of pictures, on a page of an exact width."""

from __future__ import annotations

import base64
import html
import io
import re
import shutil
import subprocess
import types
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from diagonal import diagonal
from drawn_texts import drawn_texts
from matplotlib.lines import Line2D
from PIL import Image
from synthetic import synthetic_explanation, synthetic_radiograph

import cxr_explain as cxr
from cxr_explain.errors import OptionError, OutputError, ReferenceLabelError
from cxr_explain.explaining.samples import SampleReference
from cxr_explain.figures.palette import class_styles
from cxr_explain.figures.style import DARK, Style
from cxr_explain.pathologies import ReferenceBox, ReferenceLabels
from cxr_explain.phantom import render, sample_patient, to_radiograph

COLUMNS = ("radiograph", "fused", "Effusion")


def patient(seed, shape=(256, 256), **options):
    radiograph = synthetic_radiograph(shape, seed=seed, patient_orientation=("L", "F"), view="PA")
    return synthetic_explanation(radiograph, seed=seed, **({"k": 3} | options))


@pytest.fixture(scope="module")
def patients():
    return [patient(seed, shape) for seed, shape in ((0, (256, 256)), (1, (320, 256)), (2, (220, 256)))]


def texts(figure):
    return [text.get_text() for text in drawn_texts(figure) if text.get_text()]


def pictures(figure):
    return [axes for axes in figure.axes if axes.images and axes.get_xlim() != (0, 1)]


@pytest.mark.parametrize(("width_mm", "size"), diagonal([85, 120.4, 174, 180, 183.3], [5, 7, 10]))
def test_the_width_is_exact_in_every_format(patients, width_mm, size):
    figure = cxr.panel(patients[:1], ["radiograph"], width_mm=width_mm, style=Style(size=size), dpi=150)
    (box,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) [\d.]+ ?\]", figure.to_bytes("pdf"))
    assert float(box) / 72 * 25.4 == pytest.approx(width_mm, abs=0.1)
    (width,) = re.findall(rb'<svg [^>]*width="([\d.]+)pt"', figure.to_bytes("svg"))
    assert float(width) / 72 * 25.4 == pytest.approx(width_mm, abs=0.1)
    image = Image.open(io.BytesIO(figure.to_bytes("png")))
    assert image.width / image.info["dpi"][0] * 25.4 == pytest.approx(width_mm, abs=0.1)
    assert image.width == round(width_mm / 25.4 * 150)


def test_row_heights_follow_the_radiographs(patients):
    figure = cxr.panel(patients, COLUMNS, style="light", dpi=150)
    found = pictures(figure)
    assert len(found) == 9
    for at, axes in enumerate(found):
        height, width = patients[at // 3].radiograph.shape
        box = axes.get_window_extent()
        assert box.height / box.width == pytest.approx(height / width, abs=0.01)
    assert {round(axes.get_window_extent().width, 3) for axes in found} == {
        round(found[0].get_window_extent().width, 3)
    }


def test_rasters_have_the_resolution_of_the_page(patients):
    figure = cxr.panel(patients, ["fused"], width_mm=60, dpi=200)
    for axes in pictures(figure):
        (image,) = axes.images
        assert image.get_array().shape[1] == pytest.approx(axes.get_window_extent().width, abs=1)


def test_a_pathology_has_one_colour_in_all_rows():
    """It ranks first in one image and third in the other."""
    first, other = patient(0, k=3), patient(0, k=3)
    order = [2, 1, 0]
    ranking = replace(other.ranking, top=tuple(other.ranking.top[at] for at in order))
    other = replace(other, ranking=ranking, maps=other.maps[order], class_maps=other.class_maps[order])
    name = first.ranking.pathologies[0]
    assert other.ranking.pathologies[2] == name
    figure = cxr.panel([first, other], ["fused"], style="light", dpi=150, key=False)
    (style,) = [each for each in class_styles(first.ranking.pathologies) if each.pathology == name]
    peak = first.geometry.peak_of(first.maps[0])
    for axes, rank in zip(pictures(figure), ("1", "3"), strict=True):
        dots = {
            line.get_markerfacecolor()
            for child in axes.get_children()
            if type(child).__name__ == "Marks"
            for line in child.get_children()
            if getattr(line, "get_marker", str)() == "o"
            and np.allclose(
                axes.transData.inverted().transform(
                    line.get_transform().transform((line.get_xdata()[0], line.get_ydata()[0]))
                ),
                peak,
                atol=2,
            )
        }
        assert dots == {style.colour}, rank
    # The same in a comparison of two models.
    comparison = cxr.compare({"A": first, "B": other}, pathologies=[name], style="light", dpi=150)
    colours = {line.get_color() for axes in pictures(comparison)[3:] for line in axes.lines}
    assert style.colour in colours
    assert not colours & {each.colour for each in class_styles(first.ranking.pathologies)} - {style.colour}


def test_colours_given_hold_everywhere(patients):
    figure = cxr.panel(patients, ["Effusion"], colours={"pleural effusion": "#123456"}, dpi=150)
    assert {line.get_color() for axes in pictures(figure) for line in axes.lines} >= {"#123456"}


def test_the_settings_of_matplotlib_count_and_leave_no_other_trace(patients):
    settings = {"font.family": "serif", "font.serif": ["DejaVu Serif"], "font.size": 7, "lines.linewidth": 3}
    with matplotlib.rc_context(settings):
        figure = cxr.panel(patients[:1], COLUMNS, dpi=150)
        inside = figure.to_bytes("pdf")
    assert figure.to_bytes("pdf") == inside
    sizes = {round(text.get_fontsize(), 2) for text in drawn_texts(figure) if text.get_text()}
    assert 7.0 in sizes
    assert max(sizes) == pytest.approx(7 * 8.9 / 7.4, abs=0.4)
    assert min(sizes) >= 5
    fonts = {name.split(b"+")[1] for name in re.findall(rb"/BaseFont /(\w+\+[\w-]+)", inside)}
    assert fonts == {b"DejaVuSerif", b"DejaVuSerif-Bold"}


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs Debian's poppler-utils")
def test_a_pdf_has_its_fonts_and_text_that_can_be_selected(patients, tmp_path):
    path = cxr.panel(patients, COLUMNS, row_names=["one", "two", "three"], dpi=150).save(tmp_path / "a.pdf")
    rows = subprocess.run(["pdffonts", path], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(rows) > 2
    for row in rows[2:]:
        assert row.split()[-5:-2] == ["yes", "yes", "yes"], row  # embedded, a subset, with Unicode
    text = subprocess.run(["pdftotext", path, "-"], capture_output=True, text=True, check=True).stdout
    for word in ("Fused overlay", "Effusion", "two", "Research use only - not for diagnosis"):
        assert word in text
    listed = subprocess.run(["pdfimages", "-list", path], capture_output=True, text=True, check=True).stdout
    assert listed.count(" image ") >= 9


def test_an_svg_brings_its_fonts_and_is_the_same_every_time(patients):
    figure = cxr.panel(patients[:1], COLUMNS, dpi=150)
    svg = figure.to_bytes("svg").decode()
    assert svg == figure.to_bytes("svg").decode()
    faces = re.findall(r"@font-face \{ font-family: (font-\d); src: url\(data:font/woff;base64,", svg)
    assert len(faces) == 2
    used = set(re.findall(r"font-family: (font-\d)[;\"]", svg))
    assert used <= set(faces)
    assert re.search(r"<text [^>]*>Fused overlay</text>", svg)
    paths = figure.to_bytes("svg", svg_text="paths").decode()
    assert "<text" not in paths
    with pytest.raises(OptionError, match="svg_text"):
        figure.to_bytes("svg", svg_text="letters")


def test_an_svg_has_each_letter_in_a_font_that_has_it(patients):
    from fontTools.ttLib import TTFont

    if Style().typeface.unknown_letters("漢字"):
        pytest.skip("needs a font with Chinese characters")
    style = Style(names={"Effusion": "漢字 Effusion"})
    svg = cxr.panel(patients[:1], ["fused"], style=style, dpi=150).to_bytes("svg").decode()
    embedded = dict(re.findall(r"font-family: (font-\d); src: url\(data:font/woff;base64,([^)]+)\)", svg))
    letters = {
        name: set(map(chr, TTFont(io.BytesIO(base64.b64decode(data))).getBestCmap()))
        for name, data in embedded.items()
    }
    for families, text in re.findall(r'font-family: ([^"]+)"[^>]*>([^<]+)</text>', svg):
        there = set().union(*(letters[name] for name in families.split(", ")))
        assert set(html.unescape(text)) - {" "} <= there, text
    (name,) = [name for name, found in letters.items() if "漢" in found]
    assert len(letters[name]) < 30  # a subset


@pytest.mark.long
@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's chromium")
def test_a_browser_shows_the_svg_in_its_own_fonts(patients, tmp_path):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    figure = cxr.panel(patients[:1], ["radiograph"], style="light", dpi=150)
    path = figure.save(tmp_path / "a.svg")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(path.as_uri())
        page.evaluate("document.fonts.ready.then(() => 0)")
        faces = page.evaluate("[...document.fonts].map(face => `${face.family} ${face.status}`)")
        widths = page.evaluate(
            "Object.fromEntries([...document.querySelectorAll('text')]"
            ".map(text => [text.textContent, text.getComputedTextLength()]))"
        )
        browser.close()
    assert sorted(faces) == ["font-1 loaded", "font-2 loaded"]
    for text in drawn_texts(figure):
        if (shown := text.get_text()) in widths and shown != "view PA":  # kerned, where there is kerning
            points = Style().typeface.width(shown, text.get_fontsize()) * 72 / 1.01
            bold = Style().typeface.width(shown, text.get_fontsize(), "bold") * 72 / 1.01
            assert min(abs(widths[shown] - points), abs(widths[shown] - bold)) < 0.03 * points, shown


def test_equal_content_gives_equal_bytes(patients):
    one, other = (cxr.panel(patients[:1], ["fused", "Effusion"], dpi=150) for _ in range(2))
    for kind in ("png", "pdf", "svg"):
        assert one.to_bytes(kind) == other.to_bytes(kind)


def test_letters_titles_captions_and_names(patients):
    figure = cxr.panel(patients[:2], COLUMNS, row_names=["first", "second"], style="light", dpi=150)
    found = texts(figure)
    assert [text for text in found if text in list("abcdef")] == list("abcdef")
    assert {"first", "second", "Radiograph", "view PA"} <= set(found)
    figure = cxr.panel(
        patients[:2], COLUMNS, letters="A", titles=["x", "y", "z"], captions=False, style="light", dpi=150
    )
    found = texts(figure)
    assert {"A", "F", "x", "y", "z"} <= set(found)
    assert not {"view PA", "Radiograph"} & set(found)
    figure = cxr.panel(patients[:2], COLUMNS, letters=False, titles=False, style="light", dpi=150)
    assert not {"a", "A", "Radiograph"} & set(texts(figure))


def test_a_pathology_that_a_row_does_not_rank_is_said_in_its_cell():
    first, other = patient(0, k=3), patient(0, k=3)
    ranking = replace(other.ranking, top=other.ranking.top[1:])
    other = replace(other, ranking=ranking, maps=other.maps[1:], class_maps=other.class_maps[1:])
    name = first.ranking.pathologies[0]
    found = " ".join(texts(cxr.panel([first, other], [name], style="light", dpi=150)))
    assert "not among the 2 explained" in found
    unknown = replace(
        other.ranking, predictions=tuple(each for each in other.ranking.predictions if each.pathology != name)
    )
    found = " ".join(texts(cxr.panel([first, replace(other, ranking=unknown)], [name], dpi=150)))
    assert "not predicted by this model" in found
    with pytest.raises(OptionError, match="the column 'Hernia'; expected one of radiograph"):
        cxr.panel([first, other], ["Hernia"])


def test_reference_boxes_and_masks_are_columns(patients):
    mask = np.zeros((256, 256), bool)
    mask[40:90, 60:120] = True
    labels = ReferenceLabels(boxes=(ReferenceBox("Hernia", 50, 60, 40, 30),))
    figure = cxr.panel(
        patients[:1], ["boxes", "masks"], reference_labels=[labels], masks=[{"Mass": mask}], dpi=150
    )
    boxes, masks = pictures(figure)
    dashed = [line for line in boxes.lines if line.is_dashed()]
    assert dashed[0].get_xydata().tolist()[0] == [50, 60]
    outline = max(masks.lines, key=lambda line: len(line.get_xdata())).get_xydata()
    assert outline.min(axis=0) == pytest.approx([60, 40], abs=1)
    assert {"Hernia", "Mass"} <= set(texts(figure))  # in the key, with colours of their own
    brought = replace(patients[0], reference=SampleReference(labels, {"Mass": mask}))
    assert {"Hernia", "Mass"} <= set(texts(cxr.panel([brought], ["boxes", "masks"], dpi=150)))
    assert {"no reference box", "no reference mask"} <= set(
        texts(cxr.panel(patients[:1], ["boxes", "masks"], dpi=150))
    )


def test_reference_boxes_may_stand_in_every_picture(patients):
    labels = ReferenceLabels(boxes=(ReferenceBox("Hernia", 50, 60, 40, 30),))
    columns = ["radiograph", "fused", "Effusion", "winner"]
    for boxes in (False, True):
        figure = cxr.panel(
            patients[:1], columns, reference_labels=[labels], boxes=boxes, style="light", dpi=150
        )
        dashed = [any(line.is_dashed() for line in axes.lines) for axes in pictures(figure)]
        assert dashed == [boxes] * 4
        assert ("reference box" in texts(figure)) == boxes


def test_figures_hold_no_radiograph(patients):
    """A figure is kept in a notebook: it has the page's pixels, and not those of the detector."""
    import gc

    figure = cxr.panel(patients[:1], ["fused", "Effusion", "boxes", "predictions"], dpi=150)
    figure.to_bytes()
    there, todo = set(), [figure]
    while todo:
        found = [each for each in gc.get_referents(*todo) if id(each) not in there]
        found = [each for each in found if not isinstance(each, (type, types.ModuleType, types.FunctionType))]
        there |= {id(each) for each in found}
        todo = found
    assert id(patients[0].ranking.top[0]) in there  # which the bars are drawn from
    assert id(patients[0].radiograph) not in there


def test_a_crop_shows_the_same_pixels_with_the_same_strength(patients):
    whole = cxr.panel(patients[:1], ["fused"], width_mm=100, dpi=150, key=False)
    part = cxr.panel(patients[:1], ["fused"], width_mm=100, dpi=150, key=False, crop=(64, 64, 192, 192))
    (first,), (second,) = pictures(whole), pictures(part)
    assert (second.get_xlim(), second.get_ylim()) == ((64, 192), (192, 64))
    big, small = (np.asarray(axes.images[0].get_array(), np.float64) for axes in (first, second))
    side = big.shape[0]
    expected = np.asarray(
        Image.fromarray(big.astype(np.uint8))
        .crop((side // 4, side // 4, side * 3 // 4, side * 3 // 4))
        .resize(small.shape[1::-1], Image.Resampling.BICUBIC),
        np.float64,
    )
    assert np.abs(small - expected).mean() < 3
    assert np.abs(small.mean(axis=(0, 1)) - expected.mean(axis=(0, 1))).max() < 1


def test_a_crop_in_mm_or_to_a_box(patients):
    spaced = replace(
        patients[0],
        radiograph=replace(
            patients[0].radiograph, pixel_spacing=(0.5, 1.0), pixel_spacing_source="PixelSpacing"
        ),
    )
    (axes,) = pictures(cxr.panel([spaced], ["radiograph"], crop=(20, 20, 120, 90), crop_unit="mm", dpi=150))
    assert (axes.get_xlim(), axes.get_ylim()) == ((20, 120), (180, 40))
    labels = ReferenceLabels(boxes=(ReferenceBox("Mass", 100, 50, 40, 20),))
    (axes,) = pictures(
        cxr.panel(patients[:1], ["radiograph"], crop="Mass", reference_labels=[labels], dpi=150)
    )
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    assert (left + right, top + bottom) == pytest.approx((240, 120), abs=2)
    assert right - left == pytest.approx(40 * 1.7, abs=1)
    with pytest.raises(OptionError, match="pixel spacing is not known"):
        cxr.panel(patients[:1], ["radiograph"], crop=(0, 0, 9, 9), crop_unit="mm")
    with pytest.raises(ReferenceLabelError, match="no reference box of 'Mass'"):
        cxr.panel(patients[:1], ["radiograph"], crop="Mass")
    with pytest.raises(OptionError, match="leaves nothing"):
        cxr.panel(patients[:1], ["radiograph"], crop=(300, 0, 400, 100))


def test_a_scale_bar_has_its_length_and_says_where_it_comes_from(patients):
    spaced = replace(
        patients[0],
        radiograph=replace(
            patients[0].radiograph, pixel_spacing=(0.7, 0.5), pixel_spacing_source="ImagerPixelSpacing"
        ),
    )
    figure = cxr.panel([spaced, patients[1]], ["radiograph", "fused"], style="light", dpi=150)
    assert "2 cm" in texts(figure)
    assert any("in the plane of the detector" in text for text in texts(figure))
    axes = pictures(figure)[0]
    (marks,) = [child for child in axes.get_children() if type(child).__name__ == "Marks"]
    lengths = []
    for line in marks.get_children():
        if getattr(line, "get_color", str)() == "white" and hasattr(line, "get_xdata"):
            ends = axes.transData.inverted().transform(line.get_transform().transform(line.get_xydata()))
            lengths.append(abs(ends[1, 0] - ends[0, 0]) * 0.5)
    assert lengths == [pytest.approx(20, abs=0.2)]
    assert "2 cm" not in texts(cxr.panel([spaced], ["radiograph"], scale_bar=False, dpi=150))


def test_what_must_be_said_stays_unless_it_is_turned_off_by_name(patients):
    phantom = replace(patients[0], radiograph=replace(patients[0].radiograph, phantom=True))
    figure = cxr.panel([phantom, patients[1]], row_names=["p", "q"], letters=False, dpi=150)
    found = texts(figure)
    assert "Research use only - not for diagnosis" in found
    assert "Computed chest phantoms, no patients: p." in found
    assert found.count("PHANTOM · not a patient") == 1
    bare = texts(
        cxr.panel(
            [phantom], key=False, captions=False, titles=False, letters=False, disclaimer=False, dpi=150
        )
    )
    assert "Research use only - not for diagnosis" not in bare
    assert "PHANTOM · not a patient" in bare
    made = cxr.panel(patients[:1], provenance=True, dpi=150)
    assert any(patients[0].provenance.model in text for text in texts(made))
    assert not any("softmax" in text for text in texts(made))
    facts = replace(patients[0].provenance, output_kind="softmax")
    made = cxr.panel([replace(patients[0], provenance=facts)], provenance=True, dpi=150)
    assert "probabilities are a softmax, not calibrated" in " ".join(" ".join(texts(made)).split())


@pytest.mark.parametrize(
    ("style", "k"),
    diagonal(["light", "dark", Style(size=12, language="de"), "print", Style(size=5.5)], [0, 1, 10]),
)
def test_nothing_leaves_the_page(style, k):
    shown = [patient(3, k=k), patient(4, k=k)]
    columns = ["radiograph", "fused", "winner", "predictions"]
    figure = cxr.panel(shown, columns, style=style, width_mm=180, dpi=150, row_names=["a row", "a" * 90])
    figure.to_bytes()
    renderer = figure.canvas.get_renderer()
    page = figure.bbox
    for text in drawn_texts(figure):
        if text.get_text():
            box = text.get_window_extent(renderer)
            assert box.x0 >= -1, text
            assert box.x1 <= page.x1 + 1, text
            assert box.y0 >= -1, text
            assert box.y1 <= page.y1 + 1, text
    if style == "dark":
        assert figure.get_facecolor() == pytest.approx(matplotlib.colors.to_rgba(DARK.paper))


def test_loaded_explanations_find_their_radiographs(patients, tmp_path):
    loaded = [cxr.Explanation.load(each.save(tmp_path / str(at))) for at, each in enumerate(patients[:2])]
    radiographs = [each.radiograph for each in reversed(patients[:2])]
    figure = cxr.panel(loaded, COLUMNS, radiographs=radiographs, style="light", dpi=150)
    assert figure.to_bytes() == cxr.panel(patients[:2], COLUMNS, style="light", dpi=150).to_bytes()
    with pytest.raises(OutputError, match="without its radiograph"):
        cxr.panel(loaded, COLUMNS, radiographs=radiographs[:1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width_mm": 5}, "width_mm=5"),
        ({"dpi": 60}, "dpi=60"),
        ({"letters": "i"}, "letters='i'"),
        ({"row_names": ["one"]}, "row_names for 1 of 2 rows"),
        ({"reference_labels": "Mass"}, "reference_labels for 1 of 2 rows"),
        ({"titles": ["one"]}, "titles for 1 of 2"),
        ({"columns": []}, "no column"),
        ({"crop": (1, 2)}, "crop="),
        ({"crop_unit": "cm"}, "crop_unit"),
        ({"width_mm": 20, "columns": ["fused"] * 12}, "fewer columns"),
    ],
)
def test_bad_arguments_are_refused_by_name(patients, options, message):
    given = {"columns": ["radiograph", "fused"]} | options
    with pytest.raises(OptionError, match=re.escape(message)):
        cxr.panel(patients[:2], **given)
    with pytest.raises(OptionError, match="no explanation"):
        cxr.panel([])


def phantom(seed):
    """A phantom with its notices, explained by a model without sense."""
    return synthetic_explanation(to_radiograph(render(sample_patient(seed), size=128)), seed=seed, k=3)


def said_in(axes):
    return [text.get_text() for text in drawn_texts(axes) if text.get_text()]


@pytest.mark.parametrize(("width_mm", "columns"), diagonal([120, 60, 180], [3, 5]))
def test_no_text_is_cut(width_mm, columns):
    kinds = ["boxes", "masks", "fused", "Effusion", "predictions"][-columns:]
    shown = [phantom(seed) for seed in (42, 10_000_189)]
    labels = ReferenceLabels(boxes=(ReferenceBox("Effusion", 20, 30, 40, 50),))
    figure = cxr.panel(
        shown,
        kinds,
        width_mm=width_mm,
        style=Style(size=10),
        reference_labels=[labels, labels],
        row_names=["a first patient", "another patient"],
        dpi=150,
    )
    figure.to_bytes()
    assert not [text for text in texts(figure) if "…" in text]


@pytest.mark.parametrize(("width_mm", "said"), [(180, "PHANTOM · not a patient"), (20, "PHANTOM")])
def test_the_notice_of_a_phantom_is_whole_or_its_first_word(width_mm, said):
    figure = cxr.panel([phantom(42)], ["radiograph"] * 2, width_mm=width_mm, style=Style(size=10), dpi=150)
    axes, *_ = pictures(figure)
    assert " ".join(text for text in said_in(axes) if text not in "RL" and "cm" not in text) == said
    assert "All images are computed chest phantoms." in " ".join(texts(figure))


def test_boxes_that_a_crop_leaves_out_are_named_nowhere(patients):
    labels = ReferenceLabels(
        boxes=(ReferenceBox("Mass", 10, 10, 30, 30), ReferenceBox("Hernia", 200, 200, 20, 20))
    )
    options = {"reference_labels": [labels], "style": "light", "dpi": 150}
    cropped = cxr.panel(patients[:1], ["boxes"], crop="Mass", key=False, **options)
    assert [text for text in texts(cropped) if "Hernia" in text] == []
    assert "reference: Mass" in texts(cropped)
    keyed = cxr.panel(patients[:1], ["boxes"], crop="Mass", **options)
    assert "reference: Mass" not in texts(keyed)  # the key names its colour
    assert "Mass" in texts(keyed)
    assert "Hernia" not in texts(keyed)
    empty = cxr.panel(patients[:1], ["boxes"], crop=(100, 100, 150, 150), **options)
    assert "no reference box" in texts(empty)


@pytest.mark.parametrize(
    ("name", "width_mm", "said"),
    [("Mass", 90, ["reference: Mass"]), ("Mass", 35, ["Mass"]), ("Enlarged Cardiomediastinum", 60, [])],
)
def test_labels_of_boxes_are_short_in_small_pictures_and_left_out_of_smaller_ones(
    patients, name, width_mm, said
):
    labels = ReferenceLabels(boxes=(ReferenceBox(name, 60, 60, 30, 30),))
    options = {"reference_labels": [labels], "key": False, "style": Style(size=10), "dpi": 150}
    figure = cxr.panel(patients[:1], ["boxes"], width_mm=width_mm, **options)
    assert [text for text in texts(figure) if name in text] == said


def test_a_side_of_the_patient_stays_on_its_side():
    for width_mm in (20, 40, 90, 180):
        figure = cxr.panel(
            [phantom(42)], ["radiograph"] * 2, width_mm=width_mm, style=Style(size=10), dpi=150
        )
        axes, *_ = pictures(figure)
        for text in drawn_texts(axes):
            if text.get_text() in ("R", "L"):
                x = text.get_transform().transform(text.get_position())[0]
                middle = (axes.bbox.x0 + axes.bbox.x1) / 2
                assert (x < middle) == (text.get_text() == "R"), width_mm


def test_badges_leave_small_pictures_and_small_findings_to_be_seen(patients):
    def badges(**options):
        figure = cxr.panel(patients[:1], ["fused"] * options.pop("columns"), style=Style(size=10), dpi=150)
        axes, *_ = pictures(figure)
        found = [line for line in axes.findobj(Line2D) if line.get_marker() == "o"]
        return max(line.get_markersize() for line in found) / 72 * 150 / axes.bbox.width

    assert badges(columns=1) < 0.05
    assert badges(columns=5) < 0.1


def test_columns_of_predictions_have_whole_names_and_say_how_many_are_left_out():
    many = patient(0, k=10)
    for width_mm in (40, 85, 180):
        figure = cxr.panel([many], ["fused", "predictions"], width_mm=width_mm, style=Style(size=10), dpi=150)
        found = texts(figure)
        assert not [text for text in found if "…" in text]
    alone = texts(cxr.panel([many], ["predictions"], dpi=150))
    assert not [text for text in alone if "more" in text]


@pytest.mark.parametrize("kind", ["radiograph", "fused", "winner", "boxes", "masks", "Effusion"])
def test_the_first_picture_of_a_row_names_the_sides(patients, kind):
    figure = cxr.panel(patients[:1], [kind, "radiograph"], style="light", dpi=150)
    first, second = pictures(figure)
    assert {"R", "L"} <= {*said_in(first)}
    assert not {"R", "L"} & {*said_in(second)}


def test_a_crop_of_letters_is_refused(patients):
    with pytest.raises(OptionError, match="left, top, right, bottom"):
        cxr.panel(patients[:1], ["fused"], crop=("a", "b", "c", "d"))


def test_a_row_name_that_is_long_stands_in_lines_and_a_flat_row_is_high_enough_for_its_name():
    flat = patient(0, (60, 600))
    figure = cxr.panel(
        [flat], ["fused"] * 2, row_names=["a very flat landscape one"], style=Style(size=10), dpi=150
    )
    found = texts(figure)
    assert "a very flat landscape one" in " ".join(found)
    assert not [text for text in found if "…" in text]


def test_words_of_captions_do_not_break(patients):
    figure = cxr.panel(patients[:1], ["fused"] * 3, width_mm=70, style=Style(size=10), dpi=150)
    captions = [text for axes in figure.axes[:1] for text in said_in(axes)]
    for name in patients[0].ranking.pathologies:
        assert sum(name in text.split() for text in captions) == 3, (name, captions)


def test_the_key_explains_a_second_sign_and_a_missing_outline_where_they_are(patients):
    plain = patients[0]
    first, second = plain.ranking.pathologies[:2]
    sign = "hatch and dashes: colour near another's"

    def said(explanation, columns=("fused",), **options):
        return texts(cxr.panel([explanation], columns, dpi=150, **options))

    near = {first: "#8A66F0", second: "#8A66F1"}
    assert sign not in said(plain)
    assert sign in said(plain, colours={first: class_styles([second])[0].colour})
    assert sign in said(plain, colours=near)

    maps = np.zeros_like(plain.maps)
    maps[0, 3, 3], maps[1, 5, 5] = 1.0, 0.5
    strong = replace(plain, maps=maps)
    maps = maps.copy()
    maps[1] /= 10
    faint = replace(plain, maps=maps)
    assert "half of its own peak" in said(strong)
    assert "half of its own peak, unless faint" in said(faint)
    assert "half of its own peak" in said(faint, (first,))
