"""Questions to a page that is open in the browser."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

MISSING = "!document.getElementById('case-missing').hidden"


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


def until(page: Any, said: str) -> None:
    """Wait for an expression to hold; asked from outside, as the page's policy lets nothing evaluate text."""
    for _ in range(400):
        if page.evaluate(f"Boolean({said})"):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"never: {said}")


def array_of(page: Any, said: str, kind: str) -> np.ndarray:
    """A typed array of the page; in base64, as JSON takes seconds."""
    text = page.evaluate(
        f"""() => {{
          const bytes = new Uint8Array({said}.slice().buffer);
          const texts = [];
          for (let at = 0; at < bytes.length; at += 8192) {{
            texts.push(String.fromCharCode(...bytes.subarray(at, at + 8192)));
          }}
          return btoa(texts.join(""));
        }}"""
    )
    return np.frombuffer(base64.b64decode(text), kind)


def overlay_bytes(page: Any) -> np.ndarray:
    canvas = "document.getElementById('overlay')"
    area = f"0, 0, {canvas}.width, {canvas}.height"
    return array_of(page, f"{canvas}.getContext('2d').getImageData({area}).data", "u1").reshape(-1, 4)


SHEET_WIDTH = "document.getElementById('sheet').getBoundingClientRect().width"
_SHEET_LEFT = "document.getElementById('sheet').getBoundingClientRect().left"


def check_zoom_and_pan(page: Any) -> float:
    """Zoom and pan by button, mouse, wheel and key, and back; gives the width of the image that fits."""
    fitted = page.evaluate(SHEET_WIDTH)
    for _ in range(3):
        page.get_by_role("button", name="Zoom in").click()
    assert page.evaluate(SHEET_WIDTH) == pytest.approx(fitted * 1.25**3, rel=1e-3)
    before = page.evaluate(_SHEET_LEFT)
    stage = page.locator("#stage").bounding_box()
    middle = (stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2)
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 60, middle[1] + 20, steps=3)
    page.mouse.up()
    assert page.evaluate(_SHEET_LEFT) == pytest.approx(before + 60, abs=1)
    page.keyboard.press("ArrowRight")
    assert page.evaluate(_SHEET_LEFT) == pytest.approx(before + 12, abs=1)
    page.mouse.wheel(0, -200)
    until(page, f"{SHEET_WIDTH} > {fitted * 2.5}")
    page.keyboard.press("f")
    assert page.evaluate(SHEET_WIDTH) == pytest.approx(fitted, rel=1e-3)
    return float(fitted)
