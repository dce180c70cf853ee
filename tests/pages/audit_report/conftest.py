"""A browser, and reports to open in it. Errors of the page, its console and its policy fail the test."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))  # tests/synthetic.py
from synthetic_audit import SyntheticAudit, statistics

from cxr_explain.pages.audit_report import build_report


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def profile(browser: Any) -> Iterator[Any]:
    """One profile for all tests, which is faster than one for each; what a test stored there is cleared."""
    made = browser.new_context(accept_downloads=True)
    yield made
    made.close()


@pytest.fixture
def opened(browser: Any, profile: Any) -> Iterator[Callable[..., Any]]:
    """Opens a report as a file; whatever goes wrong in it fails the test."""
    problems: list[str] = []
    pages: list[Any] = []

    def open_report(
        folder: Path, address: str = "", *, width: int = 1280, height: int = 800, scripts: bool = True
    ) -> Any:
        page = profile.new_page() if scripts else browser.new_page(java_script_enabled=False)
        pages.append(page)
        page.set_viewport_size({"width": width, "height": height})
        page.set_default_timeout(8000)
        page.on("console", lambda message: _note(f"{message.type}: {message.text}", problems))
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: _check_request(request.url, folder, problems))
        page.goto((folder / "index.html").as_uri() + address)
        return page

    yield open_report
    for page in pages:
        page.evaluate("localStorage.clear()")
        page.close()
    assert problems == []


def _note(message: str, problems: list[str]) -> None:
    if "willReadFrequently" not in message:  # the tests read a canvas more often than the page does
        problems.append(message)


def _check_request(url: str, folder: Path, problems: list[str]) -> None:
    if not url.startswith((folder.as_uri(), "data:", "blob:")):
        problems.append(f"request: {url}")


@pytest.fixture(scope="session")
def audit() -> SyntheticAudit:
    return SyntheticAudit(rows=24)


@pytest.fixture(scope="session")
def report(audit: SyntheticAudit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 24 images, ten of them with pixels."""
    return build_report(
        audit, tmp_path_factory.mktemp("run") / "report", cases=10, statistics=statistics(audit)
    ).parent
