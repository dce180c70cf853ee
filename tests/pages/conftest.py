"""A browser, and pages to open in it as files. Errors of a page, its console and its policy fail the test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--process-per-site"]
        )
        yield started
        started.close()


@pytest.fixture(scope="session")
def profile(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One profile for all tests, which is faster than one for each; what a test stored there is cleared.

    An empty page stays open in it. Its process is that of every page opened after it, as all are files.
    """
    made = browser.new_context(accept_downloads=True)
    empty = tmp_path_factory.mktemp("empty") / "empty.html"
    empty.write_text("<!doctype html><title>empty</title>")
    made.new_page().goto(empty.as_uri())
    yield made
    made.close()


@pytest.fixture
def opened(browser: Any, profile: Any) -> Iterator[Callable[..., Any]]:
    """Opens a page, or the index of a folder, as a file; whatever goes wrong in it fails the test."""
    problems: list[str] = []
    pages: list[Any] = []

    def open_page(
        path: Path, address: str = "", *, width: int = 1280, height: int = 800, scripts: bool = True
    ) -> Any:
        page = profile.new_page() if scripts else browser.new_page(java_script_enabled=False)
        pages.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.set_default_timeout(8000)
        page.on("console", lambda message: _note(f"{message.type}: {message.text}", problems))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: _check_request(request.url, path, problems))
        page.goto((path / "index.html" if path.is_dir() else path).as_uri() + address)
        return page

    yield open_page
    for page in pages:
        page.evaluate("localStorage.clear()")
        page.close()
    assert problems == []


def _note(message: str, problems: list[str]) -> None:
    if "willReadFrequently" not in message:  # the tests read a canvas more often than the page does
        problems.append(message)


def _check_request(url: str, path: Path, problems: list[str]) -> None:
    """Nothing but what was opened, or what is in the folder that was opened."""
    if not url.startswith((path.as_uri(), "data:", "blob:")):
        problems.append(f"request: {url}")
