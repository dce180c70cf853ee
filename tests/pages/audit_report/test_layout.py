"""How the report looks and reads: widths, labels, contrast, focus and print."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import FAINT, NOWHERE, TWICE, UNLABELLED, until

pytestmark = pytest.mark.browser
Opened = Callable[..., Any]

ADDRESSES = ("#overview", "#cases", "#cases?queue=edges", "#case=8", "#case=5")

OUTLINE = """() => {
  const e = document.activeElement, style = getComputedStyle(e);
  return [e.id || e.textContent, style.outlineStyle, parseFloat(style.outlineWidth)];
}"""


def settled(page: Any) -> None:
    until(page, "document.querySelector('main > section:not([hidden])')")
    until(page, "!CXR.app || document.getElementById('case').getAttribute('aria-busy') !== 'true'")
    page.wait_for_timeout(120)


def test_nothing_runs_off_the_side(opened: Opened, report: Path) -> None:
    page = opened(report, "#overview")
    for address in ADDRESSES:
        page.evaluate(f"location.hash = '{address}'")
        settled(page)
        for width, height in ((1280, 800), (820, 1180), (390, 800)):
            page.set_viewport_size({"width": width, "height": height})
            page.wait_for_timeout(50)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (address, width)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_control_has_a_label_and_every_text_contrast(opened: Opened, report: Path, scheme: str) -> None:
    page = opened(report, "#overview")
    page.emulate_media(color_scheme=scheme)
    for address in ADDRESSES:
        page.evaluate(f"location.hash = '{address}'")
        settled(page)
        assert page.evaluate(UNLABELLED) == [], address
        assert page.evaluate(FAINT) == [], address


def test_ids_are_unique_and_labels_point_to_something(opened: Opened, report: Path) -> None:
    page = opened(report, "#case=8")
    settled(page)
    assert page.evaluate(TWICE) == []
    assert page.evaluate(NOWHERE) == []


def test_the_focus_is_seen(opened: Opened, report: Path) -> None:
    page = opened(report, "#case=8")
    settled(page)
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        outline = page.evaluate(OUTLINE)
        if outline[0] and page.evaluate("document.activeElement !== document.body"):
            assert outline[1] != "none", outline
            assert outline[2] >= 2, outline
            seen.add(outline[0])
    assert {
        "stage",
        "opacity",
        "window",
        "level",
        "layer-0",
        "verdict-agree",
        "note",
        "load",
    } <= seen


def test_colours_are_not_the_only_sign(opened: Opened, report: Path) -> None:
    """Layers carry their rank in the table and at their peak; agreement is a word."""
    page = opened(report, "#case=8")
    settled(page)
    assert page.locator("#marks .peak-name").all_text_contents() == ["1", "2", "3"]
    assert [text.strip() for text in page.locator(".layer-cell").all_text_contents()] == ["1", "2", "3"]
    assert re.search("agrees", page.locator("#predictions").inner_text())


def test_print_shows_the_content_and_no_controls(opened: Opened, report: Path) -> None:
    page = opened(report, "#case=8")
    settled(page)
    page.get_by_label("Agree with the model", exact=True).check()
    page.get_by_label(re.compile("Note")).fill("seen on paper")
    page.emulate_media(media="print", color_scheme="dark")
    page.wait_for_timeout(500)
    assert page.locator("nav").first.is_hidden()
    assert page.get_by_role("button").count() == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.get_by_text("seen on paper").last.is_visible()
    box = page.locator("#radiograph").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(400 / 300, rel=0.01)
    assert page.locator("#overlay").bounding_box() == pytest.approx(box, abs=1)
    assert page.locator(".disclaimer").is_visible()
    assert len(page.pdf(format="A4")) > 20_000


def test_without_scripts_the_overview_is_there(opened: Opened, report: Path) -> None:
    page = opened(report, scripts=False)
    assert "Performance by pathology" in page.locator("main").inner_text()
    assert "need JavaScript" in page.locator("main").inner_text()
