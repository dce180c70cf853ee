"""How the report looks and reads: widths, labels, contrast, focus and print."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import until

pytestmark = pytest.mark.browser
Opened = Callable[..., Any]

ADDRESSES = ("#overview", "#cases", "#queue=edges", "#case=8", "#case=5")

UNLABELLED = """() => Array.from(document.querySelectorAll(
    'main button, main input, main select, main textarea, main a, [tabindex="0"]'))
  .filter((e) => e.offsetParent !== null)
  .filter((e) => {
    const by = e.getAttribute('aria-labelledby');
    const name = e.getAttribute('aria-label') || (by && document.getElementById(by)?.textContent)
      || (e.labels?.length && Array.from(e.labels, (l) => l.textContent).join(' ')) || e.textContent;
    return !(name || '').trim();
  }).map((e) => e.outerHTML.slice(0, 120))"""

FAINT = """() => {
  const channel = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const numbers = (text) => (text.match(/[0-9.]+/g) || []).map(Number);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const colour = numbers(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.5) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const e = node.parentElement;
    if (!node.data.trim() || e.closest('#stage, [hidden], script, noscript, option')) continue;
    if (e.offsetParent === null && !e.closest('svg')) continue;
    if (e.closest(':disabled')) continue;
    const svg = e.closest('svg');
    if (svg && !svg.getBoundingClientRect().width) continue;
    const style = getComputedStyle(e);
    const a = light(numbers(svg ? style.fill : style.color));
    const b = light(behind(svg ? svg.parentElement : e));
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.push([contrast.toFixed(2), node.data.trim().slice(0, 40)]);
  }
  return found;
}"""


TWICE = """() => {
  const ids = Array.from(document.querySelectorAll('[id]'), (e) => e.id);
  return ids.filter((id, at) => ids.indexOf(id) !== at);
}"""

NOWHERE = """() => Array.from(document.querySelectorAll('[aria-labelledby], label[for], output[for]'))
  .flatMap((e) => (e.getAttribute('aria-labelledby') || e.getAttribute('for')).split(' '))
  .filter((id) => !document.getElementById(id))"""

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


def test_every_control_has_a_label_and_every_text_contrast(opened: Opened, report: Path) -> None:
    page = opened(report, "#overview")
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
    page.emulate_media(media="print")
    page.wait_for_timeout(500)
    assert page.locator("nav").first.is_hidden()
    assert page.get_by_role("button").count() == 0
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
