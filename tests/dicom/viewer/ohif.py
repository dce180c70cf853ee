"""The OHIF viewer in headless chromium: it opens studies and shows series, and its viewport is looked at."""

from __future__ import annotations

import io
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image
from viewport_pixels import Pixels
from workstation import Workstation

FLAGS = (
    *("--no-sandbox", "--enable-webgl", "--ignore-gpu-blocklist", "--use-angle=swiftshader"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"),
)
"""WebGL without a graphics card, and no request to elsewhere."""

HARMLESS: tuple[str, ...] = ()
"""Regular expressions of what the console says at any study; see `Viewer.complaints`."""

_PATIENCE = 120.0  # seconds that a study may take to open; 12 do on a quiet machine
_SOON = 15.0  # seconds after which what was asked for is asked for again
_TRIES = 5
_SERIES = '[data-cy^="study-browser-thumbnail"]'
_VIEWPORT = ".viewport-element"
_BARE = """
[data-cy="viewport-pane"] * { visibility: hidden }
.viewport-element, .viewport-element * { visibility: visible !important }
"""
# Neither the tour nor the note on investigational use, which wait for a click over the image.
_SEEN = """
localStorage.setItem("shownTours", JSON.stringify(["basicViewerTour"]));
sessionStorage.setItem("investigationalUseDialog", "hidden");
"""


class Viewer:
    """The viewer, in one page of a browser at a time.

    Args:
        context: the browser's context of Playwright.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self.page: Any = None
        self.said: list[str] = []

    def _renew(self) -> None:
        """Take a new page: one that has shown several studies may show no further one."""
        if self.page is not None:
            self.page.close()
        self.page = self._context.new_page()
        self.page.on("console", lambda said: self.said.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))

    @property
    def complaints(self) -> list[str]:
        """Errors in the console, and exceptions, that are not `HARMLESS`."""
        return [said for said in self.said if not any(re.search(known, said) for known in HARMLESS)]

    def open(self, workstation: Workstation, study: str) -> Pixels:
        """Open a study in a new page and wait for its first image, which is given as by `shot`."""
        self._renew()
        self.page.goto(workstation.study(study), wait_until="commit")
        self.page.wait_for_selector(_SERIES, timeout=_PATIENCE * 1000)
        shown = self._settled(lambda shot: shot.min(axis=2).max() > 0, _PATIENCE)
        assert shown is not None, "no image is shown"
        return shown

    def series(self) -> dict[str, Any]:
        """The series in the left bar, by what they are called; the radiograph's has no description."""
        found = {}
        for each in self.page.query_selector_all(_SERIES):
            _, title, *_ = each.inner_text().strip().split("\n")
            found["radiograph" if title.startswith("S:") else title.split(",")[0]] = each
        return found

    def show(self, series: str, is_there: Callable[[Pixels], bool], *, asks: bool = False) -> Pixels:
        """Show a series, and give what the viewport then shows, as by `shot`.

        The bar misses a click while it is drawn anew, and outlines of a report at times come only when it is
        opened again: as a reader would, this goes back to the radiograph and tries again.

        Args:
            series: what it is called, without the statement of use.
            is_there: whether a screenshot shows what is waited for.
            asks: whether the viewer asks before it loads it, and is told yes.
        """
        for _ in range(_TRIES):
            self.series()[series].dblclick()
            if not asks or self._agreed():
                shown = self._settled(is_there, _SOON)
                if shown is not None:
                    return shown
            self.series()["radiograph"].dblclick()
            time.sleep(1)
        raise AssertionError(f"{series}: what was waited for is not shown")

    def _agreed(self) -> bool:
        """Say yes where the viewer asks; whether it asked."""
        yes = self.page.get_by_role("button", name="Yes").first
        until = time.monotonic() + _SOON
        while time.monotonic() < until:
            if yes.is_visible():
                yes.click()
                return True
            time.sleep(0.2)
        return False

    def labels(self) -> list[str]:
        """What is written over the image by annotations, each line one."""
        return [each.text_content() or "" for each in self.page.query_selector_all(f"{_VIEWPORT} svg tspan")]

    def _settled(self, is_there: Callable[[Pixels], bool], patience: float) -> Pixels | None:
        """What the viewport shows once it shows what is expected, and shows it twice."""
        until, before = time.monotonic() + patience, None
        while time.monotonic() < until:
            shown = self.shot()
            if before is not None and np.array_equal(shown, before) and is_there(shown):
                return shown
            before = shown
            time.sleep(0.2)
        return None

    def shot(self) -> Pixels:
        """(h, w, 3): a screenshot of the image and what is drawn over it, without texts and buttons."""
        # Of the page, not the element: a viewport that is built anew under the shutter is another element.
        box = self.page.evaluate(f"document.querySelector('{_VIEWPORT}')?.getBoundingClientRect().toJSON()")
        if not box or not box["width"] or not box["height"]:
            return np.zeros((1, 1, 3), np.uint8)
        png = self.page.screenshot(style=_BARE, clip=box)
        with Image.open(io.BytesIO(png)) as image:
            return np.asarray(image.convert("RGB"))


@contextmanager
def viewer(width: int = 1280, height: int = 800) -> Iterator[Viewer]:
    """A viewer in a browser of its own, until the block ends."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        context = browser.new_context(viewport={"width": width, "height": height})
        context.add_init_script(_SEEN)
        yield Viewer(context)
        browser.close()
