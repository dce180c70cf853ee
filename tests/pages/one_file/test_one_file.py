"""One explanation in one file, opened from a disk in a real browser: each control, and what is not in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from asking import (
    FAINT,
    NOWHERE,
    SHEET_WIDTH,
    TWICE,
    UNLABELLED,
    array_of,
    check_zoom_and_pan,
    overlay_bytes,
    until,
)
from PIL import Image

from cxr_explain import Explainer, Explanation, Radiograph, read_radiograph
from cxr_explain.cam.fusion import fuse
from cxr_explain.errors import OptionError, OutputError
from cxr_explain.explaining.explainer import Pretrained
from cxr_explain.figures import overlay
from cxr_explain.figures.palette import class_styles
from cxr_explain.options import Activation, Normalisation
from cxr_explain.pages.one_file.page import explanation_page
from cxr_explain.pathologies import LabelState, ReferenceBox, ReferenceLabels
from cxr_explain.phantom import render, sample_patient, to_radiograph

browser_test = pytest.mark.browser
Opened = Callable[..., Any]

LABELS = ReferenceLabels(
    {
        "Effusion": LabelState.POSITIVE,
        "Hernia": LabelState.NEGATIVE,
        "Support Devices": LabelState.POSITIVE,
    },
    (ReferenceBox("Effusion", 140, 150, 60, 50), ReferenceBox("Support Devices", 50, 25, 25, 25)),
    "a table of labels",
)
HOSTILE = "</script><script>alert(1)</script>"
TURNED = "\u202egnp.exe\u202c <img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    """Five pathologies of a phantom of 256 pixels, which a browser draws quickly."""
    return explained(256)


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same phantom with the pixels of a radiograph."""
    return explained(1024).to_html(tmp_path_factory.mktemp("sent") / "case.html", LABELS)


def explained(size: int) -> Explanation:
    explainer = Explainer.from_pretrained("phantom", device="cpu")
    return explainer.explain(to_radiograph(render(sample_patient(42), size=size)), top_k=5)


@pytest.fixture(scope="module")
def file(explanation: Explanation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return explanation.to_html(tmp_path_factory.mktemp("sent") / "case.html", LABELS)


def shown(page: Any) -> Any:
    """Wait until the page is drawn."""
    until(page, "document.getElementById('case').getAttribute('aria-busy') === 'false'")
    return page


def viewer(page: Any, said: str) -> Any:
    return page.evaluate(f"CXR.app.viewer.{said}")


def fused(explanation: Explanation, k: int) -> np.ndarray:
    """The first K class maps, fused by Python."""
    settings = explanation.provenance.map_settings
    maps = torch.from_numpy(explanation.class_maps[:k].copy())[None]
    return fuse(
        maps, normalisation=settings.normalisation, activation=settings.activation, fused=settings.fused
    ).maps[0].numpy()  # fmt: skip


def test_a_radiograph_of_1024_pixels_takes_less_than_a_megabyte(large_file: Path) -> None:
    assert large_file.stat().st_size < 1_000_000
    assert [path.name for path in large_file.parent.iterdir()] == ["case.html"]


def test_noise_takes_less_than_a_megabyte_too(tmp_path: Path) -> None:
    """Nothing takes more bytes of a JPEG; every pathology is ranked, and the radiograph is larger."""
    noise = np.random.default_rng(0).uniform(-1024, 1024, (1200, 1200)).astype(np.float32)
    noise = noise.clip(-1024, 1024)
    explainer = Explainer.from_pretrained("phantom", device="cpu", allow_phantom_weights=True)
    for side in (1024, 1200):
        radiograph = Radiograph.from_array(noise[:side, :side].copy(), id="noise")
        path = explainer.explain(radiograph, top_k=18).to_html(tmp_path / "noise.html")
        assert path.stat().st_size < 1_000_000


def test_the_same_explanation_gives_the_same_bytes(
    explanation: Explanation, file: Path, tmp_path: Path
) -> None:
    assert explanation.to_html(tmp_path / "again.html", LABELS).read_bytes() == file.read_bytes()


def test_the_policy_lets_nothing_in_but_the_page_itself(file: Path) -> None:
    html = file.read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1]
    assert "trusted-types &#39;none&#39;" in policy[1]
    assert not re.search(r"unsafe|https?:|\*|file:|self", policy[1])
    assert not re.search(r"\son[a-z]+=|\sstyle=|\ssrc=\"(?!data:)|\shref=\"(?!#)", html)
    assert set(re.findall(r"https?://[^\s\"']+", html)) == {"http://www.w3.org/2000/svg"}


@browser_test
def test_nothing_else_is_asked_for_and_nothing_complains(opened: Opened, file: Path) -> None:
    page = shown(opened(file))
    assert (
        page.evaluate("performance.getEntriesByType('resource').filter(e => !/^data:/.test(e.name)).length")
        == 0
    )
    assert page.title() == "phantom-000042 · FM-G-CAM"
    assert page.locator(".disclaimer").inner_text() == "Research use only - not for diagnosis"
    assert "No patient is in it." in page.locator("header").inner_text()
    assert "never seen a radiograph" in page.locator("header").inner_text()


@browser_test
def test_the_maps_are_those_of_the_overlay(opened: Opened, file: Path, explanation: Explanation) -> None:
    page = shown(opened(file))
    height, width = explanation.geometry.radiograph_shape
    rgba = overlay_bytes(page).reshape(height, width, 4).astype(float)
    opacity = 0.6 * rgba[..., 3:] / 255
    mine = (1 - opacity) * 255 + opacity * rgba[..., :3]
    maps = explanation.geometry.maps_to_radiograph(explanation.maps)
    styles = class_styles(explanation.ranking.pathologies)
    on_white = overlay.fuse_over(
        np.ones((height, width)), maps, [style.rgb for style in styles],
        signs=[style.sign for style in styles], period=overlay.hatch_period((height, width)),
    ).rgb  # fmt: skip
    assert np.abs(mine - on_white).max() <= 2.5


@browser_test
def test_a_second_sign_is_drawn_as_in_the_printed_overlay(opened: Opened, file: Path) -> None:
    page = shown(opened(file))
    height, width = 90, 120
    y, x = np.mgrid[:height, :width]
    maps = [np.exp(-((x - 25 * k - 20) ** 2 + (y - 45) ** 2) / 900).astype(np.float32) for k in range(4)]
    styles = [
        {"colour": colour, "ink": "#000000" if overlay.reads_black(rgb) else "#FFFFFF", "sign": sign}
        for sign, (colour, rgb) in enumerate(
            (f"#{bytes(rgb).hex().upper()}", tuple(value / 255 for value in rgb))
            for rgb in ((230, 159, 0), (86, 180, 233), (90, 20, 110), (0, 114, 178))
        )
    ]
    page.evaluate(
        """([maps, styles, width, height]) => {
          const picture = new ImageData(width, height);
          const peak = CXR.maps.peakOf(maps, width * height);
          CXR.maps.mix(maps, styles, peak, picture);
          globalThis.mixed = picture.data;
        }""",
        [[each.ravel().tolist() for each in maps], styles, width, height],
    )
    rgba = array_of(page, "globalThis.mixed", "u1").reshape(height, width, 4).astype(float)
    opacity = rgba[..., 3:] / 255
    mine = (1 - opacity) * 255 + opacity * rgba[..., :3]
    colours = [tuple(bytes.fromhex(style["colour"][1:])) for style in styles]
    expected, plain = (
        overlay.fuse_over(
            np.ones((height, width)), maps, [tuple(v / 255 for v in rgb) for rgb in colours],
            signs=signs, period=overlay.hatch_period((height, width)), max_opacity=1,
        ).rgb
        for signs in ([0, 1, 2, 3], None)
    )  # fmt: skip
    assert np.abs(expected.astype(int) - plain).max() > 60, "the signs are drawn at all"
    assert np.abs(mine - expected).max() <= 2.5


@browser_test
def test_the_fusion_is_pythons_for_every_k(opened: Opened, file: Path, explanation: Explanation) -> None:
    page = shown(opened(file))
    maps = explanation.class_maps.copy()
    maps[1, 3, 4] = maps[0, 3, 4]  # a tie goes to the better rank
    maps[4] = 0
    maps[2] *= 1e-25  # whose squares vanish in float32
    K, height, width = maps.shape
    page.evaluate("(maps) => { globalThis.classMaps = Float32Array.from(maps) }", maps.ravel().tolist())
    choices = product(get_args(Normalisation), get_args(Activation), (True, False), range(1, K + 1))
    for normalisation, activation, whether, k in choices:
        settings = {"normalisation": normalisation, "activation": activation, "fused": whether}
        page.evaluate(
            """([cells, k, settings]) => {
              globalThis.fusedMaps = CXR.fusion.fuse(globalThis.classMaps, cells, k, settings);
            }""",
            [[K, height, width], k, settings],
        )
        mine = array_of(page, "globalThis.fusedMaps", "<f4").reshape(k, height, width)
        expected = fuse(torch.from_numpy(maps[:k])[None], **settings).maps[0].numpy()  # type: ignore[arg-type]
        np.testing.assert_allclose(mine, expected, rtol=2e-6, atol=1e-9, err_msg=f"{k} {settings}")


@browser_test
def test_k_fuses_anew(opened: Opened, file: Path, explanation: Explanation) -> None:
    page = shown(opened(file))
    shape = explanation.maps.shape[1:]
    for k in (1, 2, 3, 4, 5):
        page.get_by_label("Top K").fill(str(k))
        assert page.locator("#top-k-value").inner_text() == str(k)
        maps = array_of(page, "CXR.app.viewer.fused", "<f4").reshape(k, *shape)
        np.testing.assert_allclose(maps, fused(explanation, k), rtol=2e-6, atol=1e-9)
        peaks = [overlay.peak_point(each, explanation.geometry) for each in fused(explanation, k)]
        there = [peak for peak in peaks if peak is not None]
        drawn = page.locator("#marks circle.peak").evaluate_all(
            "all => all.map(e => [+e.getAttribute('cx'), +e.getAttribute('cy')])"
        )
        np.testing.assert_allclose(drawn, there, atol=1e-6)
        assert [box.is_disabled() for box in page.locator("input.layer").all()] == [
            at >= k for at in range(5)
        ]
    page.get_by_label("Top K").fill("1")
    rgba = overlay_bytes(page)
    colour = bytes.fromhex(class_styles(explanation.ranking.pathologies)[0].colour[1:])
    strong = rgba[rgba[:, 3] > 100, :3].astype(int)  # faint pixels keep few bits of their colour
    assert len(strong) > 1000
    assert np.abs(strong - list(colour)).max() <= 2


@browser_test
def test_every_pathology_has_a_switch(opened: Opened, file: Path, explanation: Explanation) -> None:
    page = shown(opened(file))
    before = overlay_bytes(page)
    strongest = page.locator("#marks circle.peak").count()
    switch = page.get_by_role("checkbox", name="Layer 1: Effusion")
    switch.uncheck()
    without = overlay_bytes(page)
    assert (without[:, 3] > 0).sum() < (before[:, 3] > 0).sum()
    assert page.locator("#marks circle.peak").count() == strongest - 1
    switch.check()
    assert (overlay_bytes(page) == before).all()
    for at in range(5):
        page.locator(f"#layer-{at}").uncheck()
    assert overlay_bytes(page).max() == 0


@browser_test
def test_opacity_window_level_and_reset(opened: Opened, file: Path) -> None:
    page = shown(opened(file))
    grey = """() => {
      const canvas = document.getElementById('radiograph');
      return canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[0];
    }"""
    shade = "e => getComputedStyle(e).opacity"
    original = page.evaluate(grey)
    page.get_by_label("Opacity").fill("25")
    assert page.locator("#overlay").evaluate(shade) == "0.25"
    page.get_by_label("Window").fill("100")
    page.get_by_label("Level").fill(str(original))
    assert abs(page.evaluate(grey) - 128) <= 1
    page.get_by_label("Level").fill("0")
    assert page.evaluate(grey) == min(255, round((original + 50) / 100 * 255))
    page.get_by_label("Top K").fill("2")
    page.get_by_label("Map", exact=True).select_option("class-1")
    page.locator("#layer-0").uncheck()
    page.get_by_role("button", name="Reset").click()
    assert page.evaluate(grey) == original
    assert page.locator("#overlay").evaluate(shade) == "0.6"
    assert viewer(page, "topK") == 5
    assert viewer(page, "kind") == "fused"
    assert page.locator("#layer-0").is_checked()


@browser_test
def test_boxes_peaks_and_what_was_not_seen(opened: Opened, file: Path, explanation: Explanation) -> None:
    page = shown(opened(file))
    boxes = page.locator("#marks rect.box")
    first = [boxes.first.get_attribute(name) for name in ("x", "y", "width", "height", "stroke")]
    assert first == ["140", "150", "60", "50", class_styles(explanation.ranking.pathologies)[0].colour]
    assert boxes.nth(1).get_attribute("stroke") == "#FFFFFF"
    assert page.locator("#marks .box-name").all_text_contents() == ["Effusion", "Support Devices"]
    page.get_by_label("Reference boxes").uncheck()
    assert boxes.count() == 0
    assert page.locator("#marks circle.peak").count() >= 3
    page.get_by_label("Peaks").uncheck()
    assert page.locator("#marks circle.peak").count() == 0


@browser_test
def test_what_the_model_did_not_see_is_marked(
    opened: Opened, explanation: Explanation, tmp_path: Path
) -> None:
    assert explanation.radiograph is not None
    radiograph = Radiograph.from_array(explanation.radiograph.pixels[:150])
    explainer = Explainer.from_pretrained("phantom", device="cpu", allow_phantom_weights=True)
    seen = explainer.explain(radiograph, top_k=2)
    page = shown(opened(seen.to_html(tmp_path / "wide.html")))
    assert page.locator("#marks .unseen").count() == 1
    page.get_by_label("Not seen by the model").uncheck()
    assert page.locator("#marks .unseen").count() == 0
    assert "No reference boxes or outlines for this image" in page.locator("#look-note").inner_text()
    assert page.locator("th").all_text_contents()[:4] == [
        "Layer",
        "Pathology",
        "Probability",
        "Operating point",
    ]
    assert "Reference label" not in page.locator("#predictions").inner_text()


@browser_test
def test_each_class_map_can_be_looked_at(opened: Opened, file: Path, explanation: Explanation) -> None:
    page = shown(opened(file))
    options = page.locator("#map-kind option").all_text_contents()
    names = [name.replace("_", " ") for name in explanation.ranking.pathologies]
    assert options == ["fused map", *(f"class map: {name}" for name in names)]
    height, width = explanation.geometry.radiograph_shape
    for at, values in enumerate(explanation.class_maps):
        page.get_by_label("Map", exact=True).select_option(f"class-{at}")
        layer = array_of(page, f"CXR.app.viewer.layers[{at}]", "<f4").reshape(height, width)
        scale = np.abs(values).max()
        expected = explanation.geometry.maps_to_radiograph(values)
        np.testing.assert_allclose(layer / scale, expected / scale, atol=2e-6)
    assert page.locator("#marks circle.peak").count() == 0, "the peaks are those of the fused map"


@browser_test
def test_zoom_pan_and_keys(opened: Opened, file: Path) -> None:
    page = shown(opened(file))
    fitted = check_zoom_and_pan(page)
    page.keyboard.press("+")
    assert page.evaluate(SHEET_WIDTH) == pytest.approx(fitted * 1.25, rel=1e-3)
    page.get_by_role("button", name="Fit").click()
    page.keyboard.press("2")
    assert not page.locator("#layer-1").is_checked()
    page.keyboard.press("0")
    assert page.locator("input.layer:checked").count() == 0
    page.keyboard.press("0")
    assert page.locator("input.layer:checked").count() == 5
    page.locator("summary", has_text="Keys").click()
    page.get_by_label("Single keys work on this page").uncheck()
    page.locator("#stage").focus()
    page.keyboard.press("1")
    assert page.locator("#layer-0").is_checked()


@browser_test
def test_every_control_is_reached_and_used_by_keyboard(opened: Opened, file: Path) -> None:
    page = shown(opened(file))
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
        outline = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
        assert outline >= 2 or reached[-1] == "", reached
    controls = (
        "stage",
        "opacity",
        "window",
        "level",
        "top-k",
        "zoom-out",
        "zoom-in",
        "fit",
        "reset",
        "map-kind",
    )
    assert set(controls) | {"show-boxes", "show-peaks", "show-unseen", "layer-0", "layer-4"} <= set(reached)
    page.locator("#top-k").focus()
    page.keyboard.press("ArrowLeft")
    assert viewer(page, "topK") == 4
    page.locator("#opacity").focus()
    page.keyboard.press("Home")
    assert page.locator("#overlay").evaluate("e => getComputedStyle(e).opacity") == "0"
    page.locator("#show-boxes").focus()
    page.keyboard.press("Space")
    assert page.locator("#marks rect.box").count() == 0


@browser_test
def test_predictions_stand_beside_reference_labels(
    opened: Opened, file: Path, explanation: Explanation
) -> None:
    page = shown(opened(file))
    rows = [row.inner_text() for row in page.locator("#predictions tbody tr").all()]
    assert len(rows) == 6
    for row, prediction in zip(rows, explanation.ranking.top, strict=False):
        assert prediction.pathology.replace("_", " ") in row
        assert ("above" if prediction.above else "below") in row
    assert "agrees" in rows[0]
    assert "disagrees" in rows[1]
    assert "not predicted by this model" in rows[5]
    assert "a table of labels" in page.locator("main").inner_text()
    facts = page.locator(".about").inner_text()
    for said in (
        "FM-G-CAM",
        "densenet-res224-phantom",
        "normalisation joint",
        explanation.provenance.radiograph_sha256[:12],
    ):
        assert said in facts
    swatches = page.locator("#predictions .swatch rect").evaluate_all(
        "all => all.map(e => e.getAttribute('fill'))"
    )
    assert swatches == [style.colour for style in class_styles(explanation.ranking.pathologies)]
    page.locator("summary", has_text="How this file was read").click()
    page.locator("summary", has_text="Words for a paper").click()
    words = page.locator("main > details").inner_text()
    for text in (explanation.caption(LABELS), explanation.methods_text(), explanation.bibtex()):
        assert "".join(text.split()) in "".join(words.split())
    assert page.locator("ol li").all_text_contents() == list(explanation.provenance.steps)


@browser_test
def test_own_colours(opened: Opened, explanation: Explanation, tmp_path: Path) -> None:
    path = explanation.to_html(tmp_path / "own.html", colours={"Effusion": "#112233", "Hernia": "#112233"})
    page = shown(opened(path))
    fills = page.locator("#predictions .swatch rect").evaluate_all(
        "all => all.map(e => e.getAttribute('fill'))"
    )
    assert fills[:2] == ["#112233"] * 2
    assert page.locator("#predictions .swatch path").count() >= 1, "what shares a colour has a second sign"
    with pytest.raises(OptionError, match="colours"):
        explanation.to_html(tmp_path / "none.html", colours={"Effusion": "no colour"})
    assert not (tmp_path / "none.html").exists()


@browser_test
def test_names_that_try_to_run_are_text(opened: Opened, explanation: Explanation, tmp_path: Path) -> None:
    page = shown(opened(hostile(explanation).to_html(tmp_path / "a.html", hostile_labels())))
    assert HOSTILE in page.locator("#predictions").inner_text()
    assert HOSTILE in page.locator("h1").inner_text()
    assert "gnp.exe <img src=x onerror=alert(2)>" in page.locator("#predictions").inner_text()
    assert HOSTILE in page.locator(".about").inner_text()
    assert page.evaluate("document.querySelectorAll('main script, main img').length") == 0
    assert page.locator("#marks .box-name").first.text_content() == HOSTILE
    assert HOSTILE in page.locator("#map-kind option").nth(1).text_content()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    html = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert not re.search(r"[\u202a-\u202e\u2066-\u2069\x00-\x08]", html)
    assert html.count("<script") == 2


def hostile(explanation: Explanation) -> Explanation:
    ranking, provenance = explanation.ranking, explanation.provenance
    named = dict(zip((each.pathology for each in ranking.top), (HOSTILE, TURNED, "x" * 3000), strict=False))
    predictions = [
        replace(each, pathology=named.get(each.pathology, each.pathology)) for each in ranking.predictions
    ]
    by_index = {each.index: each for each in predictions}
    top = tuple(by_index[each.index] for each in ranking.top)
    return replace(
        explanation,
        id=HOSTILE,
        ranking=replace(ranking, top=top, predictions=tuple(predictions), notes=(HOSTILE,)),
        provenance=replace(
            provenance,
            model=HOSTILE,
            steps=(HOSTILE, TURNED),
            warnings=(TURNED,),
            view=HOSTILE,
            laterality=TURNED,
        ),
    )


def hostile_labels() -> ReferenceLabels:
    return ReferenceLabels(
        {HOSTILE: LabelState.POSITIVE}, (ReferenceBox(HOSTILE, 10, 10, 50, 50),), f"{HOSTILE} {TURNED}"
    )


def test_no_path_no_file_name_and_no_patient(tmp_path: Path, explanation: Explanation) -> None:
    folder = tmp_path / "Jane Doe"
    folder.mkdir()
    picture = folder / "jane-doe-1970.png"
    assert explanation.radiograph is not None
    Image.fromarray(explanation.radiograph.display[:100, :100]).save(picture)
    explainer = Explainer.from_pretrained("phantom", device="cpu", allow_phantom_weights=True)
    radiograph = replace(read_radiograph(picture), id="0123456789ab")  # as with ids="sha256"
    text = (
        explainer.explain(radiograph, top_k=2)
        .to_html(tmp_path / "a.html")
        .read_text(encoding="utf-8")
        .lower()
    )
    assert "jane" not in text
    assert str(tmp_path).lower() not in text
    assert "exif" not in text


@browser_test
def test_without_its_radiograph_the_maps_lie_on_grey(
    opened: Opened, explanation: Explanation, tmp_path: Path
) -> None:
    explanation.save(tmp_path / "saved")
    loaded = Explanation.load(tmp_path / "saved")
    page = shown(opened(loaded.to_html(tmp_path / "grey.html")))
    assert "the maps lie on plain grey" in page.locator("header").inner_text()
    assert len(set(array_of(page, "CXR.app.viewer.pixels", "u1").tolist())) == 1
    assert overlay_bytes(page)[:, 3].max() == 255
    with_it = loaded.to_html(tmp_path / "full.html", radiograph=explanation.radiograph)
    assert with_it.read_text() == explanation.to_html(tmp_path / "same.html").read_text()
    other = to_radiograph(render(sample_patient(7), size=64))
    with pytest.raises(OutputError, match="a radiograph with SHA-256"):
        loaded.to_html(tmp_path / "other.html", radiograph=other)
    assert not (tmp_path / "other.html").exists()


@browser_test
def test_where_nothing_is_ranked(opened: Opened, explanation: Explanation, tmp_path: Path) -> None:
    none = replace(
        explanation, ranking=replace(explanation.ranking, top=()), maps=explanation.maps[:0],
        class_maps=explanation.class_maps[:0],
    )  # fmt: skip
    page = shown(opened(none.to_html(tmp_path / "none.html")))
    assert page.locator("#top-k").is_hidden()
    assert overlay_bytes(page).max() == 0
    assert page.locator("input.layer").count() == 0
    page.get_by_role("button", name="Reset").click()


@browser_test
def test_without_scripts_there_is_a_picture_the_table_and_the_facts(opened: Opened, large_file: Path) -> None:
    page = opened(large_file, scripts=False)
    assert (
        page.get_by_role("img", name=re.compile("FM-G-CAM of Effusion")).evaluate("e => e.naturalWidth")
        == 512
    )
    assert page.locator("#tools").is_hidden()
    assert page.locator("#predictions tbody tr").count() == 6
    assert page.locator("input.layer").first.is_hidden()
    assert "The controls need JavaScript" in page.locator("main").inner_text()


@browser_test
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_labels_contrast_and_room(opened: Opened, file: Path, scheme: str) -> None:
    page = opened(file)
    page.emulate_media(color_scheme=scheme)
    shown(page)
    for details in page.locator("summary").all():
        details.click()
    assert page.evaluate(UNLABELLED) == []
    assert page.evaluate(FAINT) == []
    assert page.evaluate(TWICE) == []
    assert page.evaluate(NOWHERE) == []
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 28)"}[scheme]
    for width in (1280, 820, 375, 320):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_timeout(50)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        stage = page.locator("#stage").bounding_box()
        assert stage["width"] > 0.35 * width


@browser_test
def test_on_paper_there_is_the_content_and_no_control(opened: Opened, file: Path) -> None:
    page = shown(opened(file))
    page.emulate_media(media="print", color_scheme="dark")
    page.wait_for_timeout(300)
    assert page.get_by_role("slider").count() == 0
    assert page.get_by_role("button").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    box = page.locator("#radiograph").bounding_box()
    assert box["width"] == pytest.approx(box["height"], rel=0.01)
    assert page.locator("#overlay").bounding_box() == pytest.approx(box, abs=1)
    assert page.locator("#predictions").is_visible()


def test_options_out_of_range(explanation: Explanation, tmp_path: Path) -> None:
    for opacity in (0, -1, 1.1, float("nan")):
        with pytest.raises(OptionError, match="max_opacity"):
            explanation.to_html(tmp_path / "a.html", max_opacity=opacity)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="a page that cannot be written"):
        explanation.to_html("/proc/nowhere/a.html")


def test_what_fails_leaves_the_old_page(explanation: Explanation, tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    path.write_text("old")
    folder = tmp_path / "b.html"
    folder.mkdir()
    with pytest.raises(OutputError):
        explanation.to_html(folder)
    with pytest.raises(OptionError):
        explanation.to_html(path, max_opacity=2)
    assert path.read_text() == "old"


def test_a_single_class_map_is_not_called_a_fusion(explanation: Explanation) -> None:
    one = replace(
        explanation, ranking=replace(explanation.ranking, top=explanation.ranking.top[:1]),
        maps=explanation.maps[:1], class_maps=explanation.class_maps[:1],
    )  # fmt: skip
    assert "strongest evidence" not in explanation_page(one)
    assert "strongest evidence" in explanation_page(explanation)


@browser_test
@pytest.mark.real_data
@pytest.mark.parametrize("number", [0, *(pytest.param(each, marks=pytest.mark.slow) for each in (1, 2))])
def test_real_radiographs_take_less_than_a_megabyte_and_are_shown(
    opened: Opened, real_data: Path, tmp_path: Path, number: int
) -> None:
    explainer = Pretrained("phantom", {"device": "cpu", "allow_phantom_weights": True}).load()
    path = sorted((real_data / "nih1024").glob("*.png"))[number]
    written = explainer.explain(path, top_k=18).to_html(tmp_path / f"{path.stem}.html")
    assert written.stat().st_size < 1_000_000, path.name
    page = shown(opened(written))
    assert overlay_bytes(page)[:, 3].max() == 255
