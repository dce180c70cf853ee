"""The report as a reviewer uses it, in a real browser, opened from a disk."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import MISSING, array_of, check_zoom_and_pan, overlay_bytes, until
from synthetic_audit import SyntheticAudit

from cxr_explain.pages.audit_report.listing import Listing
from cxr_explain.pages.audit_report.queues import queues_of

pytestmark = pytest.mark.browser
Opened = Callable[..., Any]


def shown_case(page: Any) -> int:
    """Wait for a case with its pixels; its row."""
    until(page, "CXR.app && CXR.app.page.data && location.hash.includes('case=')")
    return int(page.evaluate("CXR.app.page.row"))


def first_of(audit: SyntheticAudit, key: str) -> int:
    listing = Listing.of(audit)
    queue = next(queue for queue in queues_of(listing) if queue.key == key)
    return int(listing.rows[queue.images[0]])


def test_the_overview_says_what_must_be_known_first(opened: Opened, report: Path) -> None:
    page = opened(report)
    top = page.locator("header.top").inner_text()
    assert top.index("Research use only - not for diagnosis") < top.index("Overview")
    assert page.get_by_role("heading", level=1).inner_text() == "Audit of a chest radiograph classifier"
    table = page.get_by_role("region", name="Performance by pathology")
    assert "0.584" in table.get_by_role("row", name=re.compile("Effusion")).inner_text()
    assert "not estimable" in table.get_by_role("row", name=re.compile("Hernia")).inner_text()
    assert page.get_by_role("img", name=re.compile("ROC curve of Effusion, AUROC 0.584")).count() == 1
    assert "ground truth" not in page.locator("body").inner_text().lower()


def test_the_overview_loads_no_rows(opened: Opened, report: Path) -> None:
    page = opened(report)
    assert page.locator("script[src^='data/']").count() == 0


def test_a_queue_opens_at_its_first_image(opened: Opened, report: Path, audit: SyntheticAudit) -> None:
    page = opened(report)
    page.get_by_role("link", name="Confident disagreements").click()
    page.locator("#grid-body [role=row]").first.wait_for()
    assert page.get_by_role("heading", level=1).inner_text() == "Confident disagreements"
    assert "✗ disagrees" in page.locator("#grid-body [role=row]").first.inner_text()
    page.locator("#grid-body [role=row]").first.click()
    assert shown_case(page) == first_of(audit, "disagreements")


def test_filters_agree_with_the_columns(opened: Opened, report: Path, audit: SyntheticAudit) -> None:
    listing = Listing.of(audit)
    effusion = listing.pathologies.index("Effusion")
    page = opened(report, "#cases")
    until(page, "CXR.app")
    tally = page.locator("#tally")
    assert tally.inner_text() == "24 of 24 images"
    page.get_by_label("Pathology", exact=True).select_option(label="Effusion")
    page.get_by_label("Prediction", exact=True).select_option("above")
    assert tally.inner_text().startswith(f"{(listing.above[:, effusion] == 1).sum()} of")
    page.get_by_label("Reference label", exact=True).select_option("negative")
    both = (listing.above[:, effusion] == 1) & (listing.output_states[:, effusion] == 0) & listing.explained
    assert tally.inner_text().startswith(f"{both.sum()} of")
    page.get_by_label("Agreement", exact=True).select_option("disagrees")
    assert tally.inner_text().startswith(f"{both.sum()} of")
    page.get_by_role("button", name="Clear").first.click()
    page.get_by_label("Image id contains").fill("PATIENT00001")
    assert tally.inner_text() == "10 of 24 images"
    page.get_by_label("Image id contains").fill("nothing like it")
    assert "No image fits" in page.locator("#grid-body").inner_text()
    page.get_by_label("Image id contains").fill("")
    page.get_by_label("Explained").select_option("failed")
    assert "corrupt-image: found a JPEG that ends early" in page.locator("#grid-body").inner_text()


def test_columns_sort_both_ways_and_back(opened: Opened, report: Path, audit: SyntheticAudit) -> None:
    listing = Listing.of(audit)
    page = opened(report, "#cases")
    until(page, "CXR.app")
    page.get_by_label("Pathology", exact=True).select_option(label="Mass")
    head = page.get_by_role("columnheader", name=re.compile("Probability"))
    head.get_by_role("button").click()
    mass = listing.probabilities[:, listing.pathologies.index("Mass")]
    known = np.flatnonzero(listing.explained)
    best = known[np.argsort(-mass[known], kind="stable")]
    order = page.evaluate("Array.from(CXR.app.table.images)")
    assert order[: len(best)] == best.tolist()
    assert not listing.explained[order[len(best) :]].any()
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").click()
    assert page.evaluate("Array.from(CXR.app.table.images)")[: len(best)] == best[::-1].tolist()
    head.get_by_role("button").click()
    assert page.evaluate("Array.from(CXR.app.table.images)") == list(range(24))


def test_a_layer_is_taken_off_and_put_back(opened: Opened, report: Path, audit: SyntheticAudit) -> None:
    page = opened(report, f"#case={first_of(audit, 'disagreements')}")
    shown_case(page)
    before = overlay_bytes(page)
    assert before[:, 3].max() == 255
    layer = page.get_by_role("checkbox", name=re.compile("Layer 1"))
    layer.uncheck()
    without = overlay_bytes(page)
    assert (without != before).any()
    assert (without[:, 3] > 0).sum() < (before[:, 3] > 0).sum()
    layer.check()
    assert (overlay_bytes(page) == before).all()


def test_the_maps_are_those_of_the_printed_figure(
    opened: Opened, report: Path, audit: SyntheticAudit
) -> None:
    from cxr_explain.figures import overlay
    from cxr_explain.figures.palette import class_styles

    row = first_of(audit, "disagreements")
    page = opened(report, f"#case={row}")
    shown_case(page)
    explanation = audit.case(audit.explained.index(row)).explanation
    height, width = audit.shape
    maps = explanation.geometry.maps_to_radiograph(explanation.maps)
    for k, expected in enumerate(maps):
        layer = array_of(page, f"CXR.app.page.viewer.layers[{k}]", "<f4").reshape(height, width)
        np.testing.assert_allclose(layer, expected, atol=2e-6)
    colours = [style.rgb for style in class_styles(explanation.ranking.pathologies)]
    on_white = overlay.fuse_over(np.ones((height, width)), maps, colours, max_opacity=0.6).rgb
    rgba = overlay_bytes(page).reshape(height, width, 4).astype(float)
    opacity = 0.6 * rgba[..., 3:] / 255
    mine = (1 - opacity) * 255 + opacity * rgba[..., :3]
    # Both round to bytes; where the overlay is faint, a canvas keeps few bits of its colour.
    assert np.abs(mine - on_white).max() <= 2.5


def test_a_pathology_has_its_colour_in_each_case(opened: Opened, report: Path, audit: SyntheticAudit) -> None:
    """The same as in figures, wherever it ranks: in the table, at the peak, and around the box."""
    from cxr_explain.figures.palette import class_styles

    page = opened(report, "#cases")
    until(page, "CXR.app")
    ranks: dict[str, set[int]] = {}
    for row in page.evaluate("CXR.app.listing.about.withPixels"):
        page.evaluate(f"location.hash = 'case={row}'")
        until(page, f"CXR.app.page.row === {row} && CXR.app.page.data")
        ranked = audit.case(audit.explained.index(row)).explanation.ranking.pathologies
        expected = {style.pathology: style for style in class_styles(ranked)}
        for rank, name in enumerate(ranked):
            ranks.setdefault(name, set()).add(rank)
            line = page.locator("#predictions tr", has=page.locator(f"#layer-{rank}"))
            assert name.replace("_", " ") in line.inner_text()
            assert line.locator(".swatch rect").get_attribute("fill") == expected[name].colour
            assert line.locator(".swatch path").count() == bool(expected[name].sign)
        peaks = page.locator("#marks circle.peak").evaluate_all(
            "all => all.map((e) => e.getAttribute('fill'))"
        )
        numbers = [int(text) for text in page.locator("#marks .peak-name").all_text_contents()]
        assert peaks == [expected[ranked[number - 1]].colour for number in numbers]
        if page.locator("#marks rect.box").count() and "Effusion" in expected:
            stroke = page.locator("#marks rect.box").first.get_attribute("stroke")
            assert stroke == expected["Effusion"].colour
    assert max(map(len, ranks.values())) > 1, "one of them ranks differently in two cases"


def test_k_fuses_the_class_maps_anew(opened: Opened, report: Path, audit: SyntheticAudit) -> None:
    import torch

    from cxr_explain.cam.fusion import fuse

    row = first_of(audit, "disagreements")
    page = opened(report, f"#case={row}")
    shown_case(page)
    explanation = audit.case(audit.explained.index(row)).explanation
    for k in (1, 2, 3):
        page.get_by_label("Top K").fill(str(k))
        maps = array_of(page, "CXR.app.page.viewer.fused", "<f4").reshape(k, 7, 7)
        expected = fuse(torch.from_numpy(explanation.class_maps[:k].copy())[None]).maps[0].numpy()
        np.testing.assert_allclose(maps, expected, rtol=2e-6, atol=1e-9)
        assert page.locator("#marks .peak-name").count() <= k
        assert page.locator("#layer-2").is_disabled() is (k < 3)
    page.get_by_role("button", name="Next").click()
    until(page, "CXR.app.page.data && CXR.app.page.viewer.topK === 3")
    assert page.get_by_label("Top K").input_value() == "3"


def test_numbers_read_as_in_the_printed_figures(opened: Opened, report: Path) -> None:
    from cxr_explain.figures.texts import format_probability

    page = opened(report)
    values = [0.0, 3e-7, 1e-4, 0.00099, 0.001, 0.00225, 0.0098, 0.01, 0.0123, 0.4999, 0.9994, 0.9996, 1.0]
    assert page.evaluate("(values) => values.map(CXR.text.probability)", values) == [
        format_probability(value) for value in values
    ]


def test_opacity_window_and_level(opened: Opened, report: Path, audit: SyntheticAudit) -> None:
    page = opened(report, f"#case={first_of(audit, 'disagreements')}")
    shown_case(page)
    grey = """() => {
      const canvas = document.getElementById('radiograph');
      return canvas.getContext('2d').getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data[0];
    }"""
    original = page.evaluate(grey)
    page.get_by_label("Opacity").fill("20")
    assert page.locator("#overlay").evaluate("e => getComputedStyle(e).opacity") == "0.2"
    assert page.locator("#opacity-value").inner_text() == "20 %"
    page.get_by_label("Window").fill("100")
    page.get_by_label("Level").fill(str(int(original)))
    assert abs(page.evaluate(grey) - 128) <= 1
    page.get_by_label("Level").fill("0")
    assert page.evaluate(grey) == min(255, round((original + 50) / 100 * 255))
    page.get_by_role("button", name="Reset").click()
    assert page.evaluate(grey) == original
    assert page.locator("#overlay").evaluate("e => getComputedStyle(e).opacity") == "0.6"


def test_zoom_and_pan(opened: Opened, report: Path, audit: SyntheticAudit) -> None:
    page = opened(report, f"#case={first_of(audit, 'disagreements')}")
    shown_case(page)
    check_zoom_and_pan(page)


def test_boxes_lie_where_the_reference_standard_has_them(
    opened: Opened, report: Path, audit: SyntheticAudit
) -> None:
    page = opened(report, "#case=8")
    shown_case(page)
    boxes = page.locator("#marks rect.box")
    assert boxes.count() == 2
    assert [boxes.first.get_attribute(name) for name in ("x", "y", "width", "height")] == [
        "60",
        "150",
        "120",
        "90",
    ]
    assert page.locator("#marks").get_attribute("viewBox") == "0 0 400 300"
    page.get_by_label("Reference boxes").uncheck()
    assert boxes.count() == 0
    page.get_by_label("Map", exact=True).select_option("reference-0")
    assert page.evaluate("CXR.app.page.viewer.peak") > 0


def test_predictions_stand_beside_reference_labels(
    opened: Opened, report: Path, audit: SyntheticAudit
) -> None:
    row = first_of(audit, "disagreements")
    page = opened(report, f"#case={row}")
    shown_case(page)
    listing = Listing.of(audit)
    image = listing.rows.tolist().index(row)
    text = page.locator("#predictions").inner_text()
    for at, name in enumerate(listing.pathologies):
        line = next(line for line in text.splitlines() if name.replace("_", " ") in line)
        shown = float(re.search(r"\d\.\d+", line)[0])
        assert shown == pytest.approx(listing.probabilities[image, at], abs=5e-4)
    assert text.count("disagrees") == listing.disagrees[image].sum()
    assert "not predicted by this model" in text or "Support Devices" not in text


def test_a_case_without_pixels_says_how_to_get_them(opened: Opened, report: Path) -> None:
    page = opened(report)
    row = next(
        row for row in range(24) if not (report / "cases" / f"{row:06d}.js").exists() and row not in (5,)
    )
    page.goto((report / "index.html").as_uri() + f"#case={row}")
    until(page, "CXR.app && !document.getElementById('case-missing').hidden")
    assert "cxr-explain report RUN --cases" in page.locator("#case-missing").inner_text()
    assert page.locator("#predictions tbody tr").count() >= 6
    page.goto((report / "index.html").as_uri() + "#case=5")
    until(page, "document.getElementById('case-missing').textContent.includes('corrupt-image')")


def test_an_unknown_address_says_so(opened: Opened, report: Path) -> None:
    page = opened(report, "#case=4711")
    page.get_by_role("alert").wait_for()
    assert "Row 4711 is not in this audit" in page.get_by_role("alert").inner_text()


def test_verdicts_are_kept_saved_and_loaded(
    opened: Opened, report: Path, audit: SyntheticAudit, tmp_path: Path
) -> None:
    row = first_of(audit, "disagreements")
    page = opened(report, f"#case={row}")
    shown_case(page)
    page.get_by_label("Disagree with the model").check()
    page.get_by_label(re.compile("Note")).fill('=HYPERLINK("x")\nsecond line, <b>bold</b>')
    with page.expect_download() as download:
        page.get_by_role("button", name="Save verdicts (JSON)").click()
    saved = tmp_path / "verdicts.json"
    download.value.save_as(saved)
    (entry,) = json.loads(saved.read_text())["verdicts"]
    assert (entry["row"], entry["verdict"]) == (row, "disagree")
    assert entry["note"] == '=HYPERLINK("x")\nsecond line, <b>bold</b>'
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    table = list(csv.reader(io.StringIO(Path(download.value.path()).read_text(), newline="")))
    assert table[1][:4] == [
        str(row),
        f"patient{row:06d}_study1_view1_frontal",
        "disagree",
        "'" + entry["note"],
    ]
    page.reload()
    shown_case(page)
    assert page.get_by_label("Disagree with the model").is_checked()
    page.evaluate("localStorage.clear()")
    page.evaluate("CXR.app.page.verdicts.given.clear()")
    page.evaluate("CXR.app.page.drawVerdict()")
    page.reload()
    shown_case(page)
    assert not page.get_by_label("Disagree with the model").is_checked()
    page.get_by_label("Load verdicts").set_input_files(saved)
    until(page, "document.getElementById('verdict-message').textContent.includes('1 loaded, 0 refused')")
    assert page.get_by_label("Disagree with the model").is_checked()
    assert page.get_by_label(re.compile("Note")).input_value() == entry["note"]
    assert page.locator("#review-count").inner_text() == "1 verdict"


def test_other_files_are_refused_in_words(opened: Opened, report: Path, tmp_path: Path) -> None:
    page = opened(report, "#case=8")
    shown_case(page)
    head = '{"schema": "cxr-explain/verdicts/1"'
    for text in (
        "", "no json", "[]", "null", '"text"', "{}", head + "}", head + ', "verdicts": 3}',
        head + ', "run": null, "verdicts": []}', head + ', "run": {"manifest": "other"}, "verdicts": []}',
    ):  # fmt: skip
        (tmp_path / "a.json").write_text(text)
        page.evaluate("document.getElementById('verdict-message').textContent = ''")
        page.get_by_label("Load verdicts").set_input_files(tmp_path / "a.json")
        until(page, "document.getElementById('verdict-message').textContent.startsWith('Th')")
        assert page.evaluate("CXR.app.verdicts.size") == 0


def test_verdicts_are_loaded_beside_the_table(opened: Opened, report: Path, tmp_path: Path) -> None:
    page = opened(report, "#cases")
    until(page, "CXR.app && CXR.app.table.images.length")
    assert page.get_by_role("button", name="Save verdicts (JSON)").is_disabled()
    run = page.evaluate("CXR.app.listing.about.run")
    entry = {"row": 2, "image_id": "patient000002_study1_view1_frontal", "verdict": "artefact"}
    saved = {"schema": "cxr-explain/verdicts/1", "run": {**run, "model": "another"}, "verdicts": [entry]}
    (tmp_path / "a.json").write_text(json.dumps(saved))
    page.get_by_label("Load verdicts").set_input_files(tmp_path / "a.json")
    until(page, "document.getElementById('verdict-message').textContent.includes('1 loaded')")
    assert "another model" in page.locator("#verdict-message").inner_text()
    assert "artefact" in page.locator("#row-2").inner_text()
    page.get_by_label("Verdict", exact=True).select_option("artefact")
    assert page.locator("#tally").inner_text() == "1 of 24 images"


def test_verdicts_on_maps_of_other_settings_are_told_apart(
    opened: Opened, report: Path, tmp_path: Path
) -> None:
    page = opened(report, "#case=8")
    shown_case(page)
    page.get_by_label("Disagree with the model").check()
    run = page.evaluate("CXR.app.listing.about.run")
    assert page.evaluate(
        "Object.keys(localStorage).some((key) => key.includes(CXR.app.listing.about.run.settings))"
    )
    entry = {"row": 2, "image_id": "patient000002_study1_view1_frontal", "verdict": "artefact"}
    older = {name: value for name, value in run.items() if name != "settings"}  # which did not say
    for saved, told in ((run, False), ({**run, "settings": "0" * 64}, True), (older, False)):
        document = {"schema": "cxr-explain/verdicts/1", "run": saved, "verdicts": [entry]}
        (tmp_path / "a.json").write_text(json.dumps(document))
        page.evaluate("document.getElementById('verdict-message').textContent = ''")
        page.get_by_label("Load verdicts").set_input_files(tmp_path / "a.json")
        until(page, "document.getElementById('verdict-message').textContent.includes('1 loaded')")
        assert ("other settings" in page.locator("#verdict-message").inner_text()) is told


def test_hostile_verdicts_are_refused_one_by_one(opened: Opened, report: Path, tmp_path: Path) -> None:
    page = opened(report, "#case=8")
    shown_case(page)
    run = page.evaluate("CXR.app.listing.about.run")
    name = "patient000008_study1_view1_frontal"
    hostile = "<img src=x onerror=alert(1)></script>\u2028\u202e=cmd|"
    good = {
        "row": 8,
        "image_id": name,
        "verdict": "unsure",
        "note": hostile,
        "at": "<b>",
        "__proto__": {"x": 1},
    }
    bad: list[Any] = [
        None, 7, [], "8", {"row": "8"}, {"row": 8.5, "image_id": name, "verdict": "agree"},
        {"row": -1, "image_id": name, "verdict": "agree"},
        {"row": 8, "image_id": "other", "verdict": "agree"},
        {"row": 8, "image_id": name, "verdict": "<script>"},
        {"row": 8, "image_id": name, "verdict": ["agree"]},
        {"row": 8, "image_id": name, "verdict": "agree", "note": {"a": 1}}, {"row": 8, "image_id": name},
        {"row": 8, "image_id": name, "verdict": "agree", "note": "x" * 10001},
        {"row": 1e300, "verdict": "agree"},
    ]  # fmt: skip
    (tmp_path / "a.json").write_text(
        json.dumps({"schema": "cxr-explain/verdicts/1", "run": run, "verdicts": [*bad, good]})
    )
    page.get_by_label("Load verdicts").set_input_files(tmp_path / "a.json")
    until(
        page,
        f"document.getElementById('verdict-message').textContent.includes('1 loaded, {len(bad)} refused')",
    )
    assert page.get_by_label(re.compile("Note")).input_value() == hostile
    assert page.evaluate("CXR.app.verdicts.of(CXR.app.page.image).at") == ""
    assert page.evaluate("({}).x") is None


def test_everything_works_by_keyboard(opened: Opened, report: Path, audit: SyntheticAudit) -> None:
    page = opened(report)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Confident disagreements":
            break
    page.keyboard.press("Enter")
    until(page, "document.activeElement.id === 'grid'")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("j")
    page.keyboard.press("ArrowUp")
    assert page.locator("#grid").get_attribute("aria-activedescendant") == "row-1"
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    first = shown_case(page)
    assert first == first_of(audit, "disagreements")
    assert page.evaluate("document.activeElement.id") == "title-case"
    before = overlay_bytes(page)
    page.keyboard.press("1")
    assert (overlay_bytes(page) != before).any()
    page.keyboard.press("0")
    page.keyboard.press("0")
    assert (overlay_bytes(page) == before).all()
    page.keyboard.press("j")
    until(
        page,
        f"CXR.app.page.row !== {first} && (CXR.app.page.data || {MISSING})",
    )
    page.keyboard.press("ArrowLeft")
    until(page, f"CXR.app.page.row === {first}")
    page.get_by_label(re.compile("Note")).focus()
    page.keyboard.type("jjkk11")
    assert page.evaluate("CXR.app.page.row") == first
    assert page.get_by_label(re.compile("Note")).input_value() == "jjkk11"


def test_single_keys_can_be_switched_off(opened: Opened, report: Path) -> None:
    page = opened(report, "#case=8")
    row = shown_case(page)
    page.get_by_text("Keys", exact=True).click()
    page.get_by_label("Single keys work on this page").uncheck()
    page.locator("#title-case").focus()
    page.keyboard.press("j")
    page.wait_for_timeout(100)
    assert page.evaluate("CXR.app.page.row") == row


def test_a_list_is_saved_as_a_table(opened: Opened, report: Path) -> None:
    page = opened(report, "#cases")
    until(page, "CXR.app")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save this list").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(), newline="")))
    assert len(rows) == 24
    assert rows[5]["probability"] == ""
    assert 0 < float(rows[0]["probability"]) < 1
