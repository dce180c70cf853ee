"""The report as an auditor goes through it: first page, list, case, verdict, and a PDF of what was marked."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import array_of, overlay_bytes, until
from synthetic_audit import SyntheticAudit, statistics

from cxr_explain.audit.verdicts import marked_by_ids, marked_by_verdicts
from cxr_explain.pages.audit_report import build_report, write_pdf
from cxr_explain.pages.audit_report.listing import Listing
from cxr_explain.pages.audit_report.queues import SHOWN, queues_of

pytestmark = pytest.mark.browser
Opened = Callable[..., Any]

ROWS = 400
MASKED = 12


@pytest.fixture(scope="module")
def audit() -> SyntheticAudit:
    """400 images of 200 patients in two hospitals."""
    hospitals = [("North", "South", "")[row % 3] for row in range(ROWS)]
    return SyntheticAudit(rows=ROWS, failed=(5, 9), extra={"hospital": hospitals}, masked=range(0, ROWS, 3))


@pytest.fixture(scope="module")
def listing(audit: SyntheticAudit) -> Listing:
    return Listing.of(audit)


@pytest.fixture(scope="module")
def folder(audit: SyntheticAudit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("audit") / "report"
    return build_report(audit, target, cases=40, statistics=statistics(audit)).parent


def shown(page: Any) -> list[int]:
    return page.evaluate("Array.from(CXR.app.table.images)")


def listed(page: Any) -> None:
    until(page, "CXR.app && CXR.app.query !== null && !document.getElementById('view-cases').hidden")


def address(page: Any) -> str:
    return page.evaluate("decodeURIComponent(location.hash)")


def choose(page: Any, control: str, /, **option: Any) -> None:
    page.get_by_label(control, exact=True).select_option(**option)


def test_a_row_of_the_statistics_opens_its_images(opened: Opened, folder: Path, listing: Listing) -> None:
    page = opened(folder)
    table = page.get_by_role("region", name="Performance by pathology")
    table.get_by_role("link", name="Cardiomegaly").click()
    listed(page)
    assert address(page) == "#cases?subject=Cardiomegaly"
    assert page.get_by_label("Pathology", exact=True).input_value() == "1"
    page.go_back()
    until(page, "!document.getElementById('view-overview').hidden")
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    by_sex = page.get_by_role("region", name="Subgroups by sex")
    by_sex.get_by_role("row", name=re.compile("Mass.*unknown")).get_by_role("link").click()
    until(page, "location.hash.includes('Mass')")
    listed(page)
    assert address(page) == "#cases?subject=Mass&sex=unknown"
    assert shown(page) == [at for at in range(ROWS) if not listing.facts["sex"][at]]


def test_tables_sort_by_mouse_and_by_keyboard(opened: Opened, folder: Path) -> None:
    page = opened(folder)
    table = page.get_by_role("region", name="Performance by pathology")
    names = "all => all.map((e) => e.textContent.trim())"
    made = table.locator("tbody th").evaluate_all(names)
    head = table.get_by_role("columnheader", name=re.compile("^AUROC")).last
    head.get_by_role("button").click()
    values = "rows => rows.map((row) => row.querySelector('.estimate').dataset.value)"
    first = table.locator("tbody tr").evaluate_all(values)
    known = [float(value) for value in first if value]
    assert known == sorted(known, reverse=True)
    assert first[-1] == "", "a pathology without an estimate comes last"
    assert head.get_attribute("aria-sort") == "descending"
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    again = table.locator("tbody tr").evaluate_all(values)
    assert [float(value) for value in again if value] == known[::-1]
    assert again[-1] == ""
    page.keyboard.press("Space")
    assert table.locator("tbody th").evaluate_all(names) == made
    table.get_by_role("columnheader", name="Pathology").get_by_role("button").click()
    assert table.locator("tbody th").evaluate_all(names) == sorted(made, key=str.lower)


def test_every_control_is_in_the_address_and_back_goes_back(
    opened: Opened, folder: Path, listing: Listing
) -> None:
    page = opened(folder, "#cases")
    listed(page)
    asked = [
        ("Pathology", "Mass", "subject=Mass"), ("Prediction", "above", "side=above"),
        ("Reference label", "negative", "state=negative"), ("Agreement", "disagrees", "agreement=disagrees"),
        ("View", "PA", "view=PA"), ("Sex", "F", "sex=F"), ("hospital", "North", "hospital=North"),
        ("Explained", "explained", "status=explained"), ("Verdict", "none yet", "verdict-filter=none"),
    ]  # fmt: skip
    page.get_by_text("further filters").click()
    lists = [shown(page)]
    for label, text, _ in asked:
        choose(page, label, label=text)
        lists.append(shown(page))
    page.get_by_label("from", exact=True).fill("20")
    page.get_by_label("from", exact=True).press("Tab")
    page.get_by_label("to", exact=True).fill("79")
    page.get_by_label("to", exact=True).press("Tab")
    parts = {"age=20-79", *(part for _, _, part in asked)}
    assert set(address(page).removeprefix("#cases?").split("&")) == parts
    last, written = shown(page), address(page)
    assert 0 < len(last) < len(lists[1]) == ROWS
    mass = listing.pathologies.index("Mass")
    assert last == [
        at for at in range(ROWS)
        if listing.explained[at] and listing.above[at, mass] == 1 and listing.output_states[at, mass] == 0
        and (listing.facts["view"][at], listing.facts["sex"][at]) == ("PA", "F")
        and listing.facts["hospital"][at] == "North" and 20 <= listing.ages[at] <= 79
    ]  # fmt: skip
    page.reload()
    listed(page)
    assert (shown(page), address(page)) == (last, written)
    for _ in range(2):
        page.go_back()
    until(page, "!location.hash.includes('age')")
    until(page, f"CXR.app.table.images.length === {len(lists[-1])}")
    page.go_forward()
    until(page, "location.hash.includes('age=20-')")
    page.get_by_role("button", name="Clear").first.click()
    assert address(page) == "#cases"
    assert shown(page) == lists[0]


def test_an_address_with_unknown_names_says_so(opened: Opened, folder: Path) -> None:
    page = opened(folder, "#cases?subject=Mess&sex=F&colour=blue&age=old&patient=nobody")
    listed(page)
    said = page.locator("#address-note").inner_text()
    for name in ("subject=Mess", "colour=blue", "age=old", "patient=nobody"):
        assert name in said
    assert "sex" not in said
    assert address(page).startswith("#cases?subject=Mess")
    page.evaluate("location.hash = 'cases?subject=pleural%20thickening&age=80%2B'")
    until(page, "document.getElementById('subject').value === '3'")
    assert page.locator("#address-note").inner_text() == ""
    assert page.get_by_label("from", exact=True).input_value() == "80"


def test_ages_are_filtered_by_their_years(opened: Opened, folder: Path, listing: Listing) -> None:
    page = opened(folder, "#cases?age=60-79")
    listed(page)
    assert shown(page) == [at for at in range(ROWS) if 60 <= listing.ages[at] <= 79]
    page.evaluate("location.hash = 'cases?age=unknown'")
    until(page, "document.getElementById('age-unknown').checked")
    assert shown(page) == [at for at in range(ROWS) if listing.ages[at] < 0]
    assert page.get_by_label("from", exact=True).is_disabled()


def test_a_patients_images_are_found_without_the_patient(opened: Opened, folder: Path, audit: Any) -> None:
    page = opened(folder, "#case=12")
    until(page, "CXR.app && CXR.app.page.row === 12")
    page.get_by_role("link", name="all 2 images of this patient").click()
    listed(page)
    assert shown(page) == [12, 13]
    assert audit.manifest.patients[12] not in page.content()


def test_a_queue_obeys_the_pathology_and_shows_one_image_a_patient(
    opened: Opened, folder: Path, listing: Listing
) -> None:
    near, disagreements = (
        next(each for each in queues_of(listing) if each.key == key) for key in ("near", "disagreements")
    )
    page = opened(folder)
    part = page.locator(".queues li", has=page.get_by_role("link", name="Near the operating point"))
    assert part.locator(".count").inner_text() == str(near.found[-1])
    part.get_by_role("link", name="Effusion").click()
    listed(page)
    assert page.get_by_role("heading", level=1).inner_text() == "Near the operating point: Effusion"
    effusion = list(near.of(0, listing))
    assert shown(page) == effusion[:SHOWN]
    assert len(set(listing.patients[shown(page)].tolist())) == len(shown(page))
    assert f"{near.found[0]} images are so" in page.locator("#rule").inner_text()
    choose(page, "Pathology", label="Cardiomegaly")
    assert shown(page) == list(near.of(1, listing))[:SHOWN] != effusion[:SHOWN]
    choose(page, "Pathology", label="first ranked")
    everyone = list(near.of(-1, listing))
    assert shown(page) == everyone[:SHOWN]
    assert len(everyone) > SHOWN
    tally = f"{SHOWN} of {near.found[-1]} images: one a patient, the first {SHOWN}"
    assert page.locator("#tally").inner_text() == tally
    choose(page, "Shown", value="patients")
    assert shown(page) == everyone
    choose(page, "Shown", value="images")
    assert len(shown(page)) == near.found[-1]
    choose(page, "List", label="Confident disagreements")
    assert "if the log odds from the operating point were right, about" in page.locator("#rule").inner_text()
    assert len(shown(page)) == disagreements.found[-1]
    choose(page, "List", label="Failures")
    assert page.get_by_label("Pathology", exact=True).is_disabled()
    assert shown(page) == [5, 9]


def test_pictures_stand_in_the_list_and_can_be_taken_off(opened: Opened, folder: Path) -> None:
    page = opened(folder, "#cases?status=pixels")
    listed(page)
    page.locator("#grid-body img").first.wait_for()
    until(page, "document.querySelectorAll('#grid-body img').length > 5")
    height = "document.querySelector('#grid-body [role=row]').getBoundingClientRect().height"
    size = "(e) => [e.naturalWidth, e.naturalHeight, e.getBoundingClientRect().height]"
    assert page.locator("#grid-body img").first.evaluate(size) == [120, 90, 60]
    assert page.evaluate(height) == 64
    page.get_by_label("Pictures").uncheck()
    assert page.locator("#grid-body img").count() == 0
    assert "thumbnails=off" in address(page)
    assert page.evaluate(height) == 32


def case_with(page: Any, folder: Path, masked: bool) -> int:
    rows = page.evaluate("CXR.app.listing.about.withPixels")
    row = next(row for row in rows if (row % 3 == 0) == masked)
    page.evaluate(f"location.hash = 'case={row}'")
    until(page, f"CXR.app.page.row === {row} && CXR.app.page.data")
    return row


def test_the_radiograph_stands_beside_its_overlay(opened: Opened, folder: Path) -> None:
    page = opened(folder, "#cases")
    listed(page)
    case_with(page, folder, masked=False)
    plain, mapped = page.locator("#stage-plain").bounding_box(), page.locator("#stage").bounding_box()
    assert plain["y"] == pytest.approx(mapped["y"], abs=1)
    assert plain["x"] + plain["width"] <= mapped["x"]
    assert plain["width"] == pytest.approx(mapped["width"], abs=1)
    assert plain["width"] > 400
    size = "0, 0, 400, 300"
    grey = [
        array_of(page, f"document.getElementById('{name}').getContext('2d').getImageData({size}).data", "u1")
        for name in ("radiograph-plain", "radiograph")
    ]
    np.testing.assert_array_equal(*grey)
    page.get_by_role("button", name="Zoom in").click()
    boxes = [page.locator(f"#{name}").bounding_box() for name in ("sheet-plain", "sheet")]
    assert boxes[0]["width"] == pytest.approx(boxes[1]["width"])
    assert boxes[0]["x"] - plain["x"] == pytest.approx(boxes[1]["x"] - mapped["x"], abs=1)
    page.locator("#stage-plain").scroll_into_view_if_needed()
    plain = page.locator("#stage-plain").bounding_box()
    page.mouse.move(plain["x"] + 50, plain["y"] + 50)
    page.mouse.down()
    page.mouse.move(plain["x"] + 70, plain["y"] + 50, steps=2)
    page.mouse.up()
    moved = page.locator("#sheet").bounding_box()
    assert moved["x"] == pytest.approx(boxes[1]["x"] + 20, abs=1)
    page.get_by_label("Radiograph beside it").uncheck()
    assert page.locator("#stage-plain").is_hidden()
    assert page.locator("#stage").bounding_box()["width"] > 400


def test_masks_are_outlined_where_they_are(opened: Opened, folder: Path) -> None:
    page = opened(folder, "#cases")
    listed(page)
    case_with(page, folder, masked=True)
    d = page.locator("#marks path.outline").get_attribute("d")
    points = np.array(re.findall(r"[\d.]+", d), float).reshape(-1, 2)
    distance = np.hypot((points[:, 0] - 250.5) / 60, (points[:, 1] - 120.5) / 40)
    np.testing.assert_allclose(distance, 1, atol=0.03)
    assert len(points) < 80
    before = overlay_bytes(page)
    page.get_by_label("Reference boxes and outlines").uncheck()
    assert page.locator("#marks path.outline").count() == 0
    assert (overlay_bytes(page) == before).all()


def test_the_view_is_one_and_says_who_says_it(opened: Opened, folder: Path, listing: Listing) -> None:
    page = opened(folder, "#cases?status=pixels")
    listed(page)
    seen = set()
    for row in page.evaluate("CXR.app.listing.about.withPixels")[:12]:
        page.evaluate(f"location.hash = 'case={row}'")
        until(page, f"CXR.app.page.row === {row} && CXR.app.page.data")
        told = bool(listing.view_told[row])
        expected = f"{listing.facts['view'][row]} (from {'the manifest' if told else 'the header'})"
        assert f"view {expected}" in page.locator("#case-lead").inner_text()
        fact = page.locator("#case-facts div", has=page.get_by_text("View", exact=True)).inner_text()
        assert expected in fact
        assert ("the header says PA" in fact) == (listing.facts["view"][row] == "AP")
        assert "view unknown" not in page.locator("#view-case").inner_text()
        seen.add(expected)
    assert len(seen) == 3


@pytest.mark.parametrize("system", ["light", "dark"])
def test_light_and_dark_as_the_reader_has_it(opened: Opened, folder: Path, system: str) -> None:
    page = opened(folder)
    page.emulate_media(color_scheme=system)
    paper = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(255, 255, 255)", "rgb(21, 24, 28)"
    assert page.evaluate(paper) == {"light": light, "dark": dark}[system]
    for theme, expected in (("dark", dark), ("light", light)):
        choose(page, "Appearance", value=theme)
        assert page.evaluate(paper) == expected
        page.reload()
        assert page.evaluate(paper) == expected
    choose(page, "Appearance", value="")
    assert page.evaluate(paper) == {"light": light, "dark": dark}[system]
    choose(page, "Appearance", value="dark")
    page.emulate_media(media="print", color_scheme=system)
    assert page.evaluate(paper) == light


def test_by_keyboard_alone_from_the_first_page_to_a_verdict(
    opened: Opened, folder: Path, audit: SyntheticAudit, listing: Listing, tmp_path: Path
) -> None:
    """And from the verdicts to a PDF of the marked cases."""
    page = opened(folder)

    def tab_to(said: str, most: int = 80) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate(f"Boolean({said})"):
                return
        raise AssertionError(f"no way by Tab to: {said}")

    tab_to("document.activeElement.textContent === 'Confident disagreements'")
    page.keyboard.press("Enter")
    until(page, "document.activeElement.id === 'grid'")
    queue = next(each for each in queues_of(listing) if each.key == "disagreements")
    assert shown(page) == list(queue.of(-1, listing))[:SHOWN]
    marked: list[tuple[int, str]] = []
    for verdict in ("artefact", "unsure"):
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        until(page, "CXR.app.page.data && location.hash.includes('case=')")
        if marked:  # the case before is there until this one is
            until(page, f"CXR.app.page.data && CXR.app.page.row !== {marked[-1][0]}")
        row = page.evaluate("CXR.app.page.row")
        tab_to("document.activeElement.name === 'verdict'")
        for _ in range(4):
            page.keyboard.press("Space")
            if page.evaluate("document.activeElement.value") == verdict:
                break
            page.keyboard.press("ArrowDown")
        tab_to("document.activeElement.id === 'note'")
        page.keyboard.type(f"seen: {verdict}")
        marked.append((row, verdict))
        page.keyboard.press("Tab")
        page.evaluate("document.activeElement.blur()")
        page.go_back()
        until(page, "document.activeElement.id === 'grid'")
    assert page.locator("#review-count").inner_text() == "2 verdicts"
    tab_to("document.activeElement.id === 'save-json'", 200)
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    saved = tmp_path / "anna.json"
    download.value.save_as(saved)
    found = marked_by_verdicts(audit, [saved])
    assert [(line.row, line.verdicts) for line in found.lines] == [
        (row, (verdict,)) for row, verdict in sorted(marked)
    ]
    path = write_pdf(audit, tmp_path / "marked.pdf", cases=None, statistics={}, marked=found)
    text = text_of(path)
    for row, verdict in marked:
        assert text.count(listing.ids[row]) >= 2
        assert f"anna: {verdict}" in text
    assert "Page 3 of 3" in text
    assert "AUROC" not in text


def text_of(path: Path) -> str:
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext")
    return said_by("pdftotext", "-layout", path, "-")


def said_by(*command: Any) -> str:
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def test_a_report_of_marked_cases_has_these_alone(
    opened: Opened, audit: SyntheticAudit, listing: Listing, tmp_path: Path
) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join(listing.ids[row] for row in (30, 5, 7)))
    marked = marked_by_ids(audit, ids)
    folder = build_report(audit, tmp_path / "marked", cases=None, statistics={}, marked=marked).parent
    assert sorted(path.stem for path in (folder / "cases").iterdir()) == ["000007", "000030"]
    assert listing.ids[8] not in "".join(path.read_text() for path in folder.rglob("*.js"))
    page = opened(folder)
    assert "3 cases of the audit's 400 images" in page.locator("main").inner_text()
    assert "No statistics were made" not in page.locator("main").inner_text()
    page.get_by_role("region", name="Marked cases").get_by_role("link", name=listing.ids[30]).click()
    until(page, "CXR.app && CXR.app.page.row === 30 && CXR.app.page.data")
    page.get_by_role("link", name="Back to the list").click()
    listed(page)
    assert page.evaluate("Array.from(CXR.app.table.images, (at) => CXR.app.listing.rows[at])") == [30, 5, 7]


def test_a_printed_first_page_is_whole(opened: Opened, folder: Path, tmp_path: Path) -> None:
    page = opened(folder)
    path = tmp_path / "overview.pdf"
    page.pdf(path=path, prefer_css_page_size=True)
    text = text_of(path)
    info = said_by("pdfinfo", path)
    assert re.search(r"Page size: +59\S+ x 84\S+ pts \(A4\)", info)
    first, *_ = text.split("\f")
    for words in (
        "Research use only",
        "Audit of a chest radiograph classifier",
        "What deserves a look first",
    ):
        assert words in first
    for words in ("Subgroups by sex", "Subgroups by view", "Data set"):
        assert words in text
    assert "Appearance" not in text


def test_pages_of_the_pdf_are_numbered_and_named(audit: SyntheticAudit, tmp_path: Path) -> None:
    path = write_pdf(audit, tmp_path / "a.pdf", cases=3, statistics=statistics(audit))
    pages = text_of(path).split("\f")[:-1]
    info = said_by("pdfinfo", "-l", "-1", path)
    assert set(re.findall(r"size: +(.*pts.*)", info)) == {"841.92 x 595.2 pts (A4)"}
    for number, text in enumerate(pages, start=1):
        assert f"Page {number} of {len(pages)}" in text
    contents = dict(re.findall(r"(Performance by pathology|Subgroups|Curves|Cases) +(\d+)", pages[0]))
    assert len(contents) == 4
    for title, number in contents.items():
        assert re.search(rf"^ *{title}$", pages[int(number) - 1], re.MULTILINE), title
    listed_cases = re.findall(r"(patient\d+_\S+) +(\d+)", pages[int(contents["Cases"]) - 1])
    assert len(listed_cases) == 3
    for name, number in listed_cases:
        assert name[:13] in pages[int(number) - 1]
    for text in pages[:-3]:
        lines = [line for line in text.splitlines() if line.strip() and "Page " not in line]
        assert not re.match(r" *(Pathology|Subgroups|Curves|Cases|Uncertain|Where)", lines[-1])
