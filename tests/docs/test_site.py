"""The built site: strict, whole, and the same without a network.

`make docs` builds it and runs these tests on what it built, named by CXR_EXPLAIN_SITE; by themselves they
build first.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import cxr_explain

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built site."""
    if built := os.environ.get("CXR_EXPLAIN_SITE"):
        return Path(built).resolve()
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html"]
    result = subprocess.run(
        [*command, str(ROOT / "docs"), str(target)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return target


@dataclass
class Page(HTMLParser):
    """What a page has, leads to and fetches."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    headings: int = 0
    formulas: int = 0
    without_alt: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        self.headings += tag == "h1"
        self.formulas += tag == "math"
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in {"script", "img", "iframe", "source", "video"} and "src" in given:
            self.fetched.append(given["src"])
        if tag == "link" and given.get("rel") not in {"next", "prev", "canonical", "index", "search"}:
            self.fetched.append(given["href"])
        if tag == "img" and not given.get("alt") and not given.get("src", "").startswith("data:"):
            self.without_alt.append(given.get("src", ""))


@pytest.fixture(scope="module")
def read(site: Path) -> dict[str, Page]:
    """All pages of the site, parsed, by their path."""
    found = {}
    for path in sorted(site.rglob("*.html")):
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        found[path.relative_to(site).as_posix()] = page
    assert len(found) > 30
    return found


def test_links_within_the_site_lead_to_pages_and_anchors(site: Path, read: dict[str, Page]) -> None:
    lost = [
        f"{name}: {link}"
        for name, page in read.items()
        for link in (*page.links, *page.fetched)
        if not urlsplit(link).scheme and not _leads(site, read, name, link)
    ]
    assert lost == []


def _leads(site: Path, read: dict[str, Page], name: str, link: str) -> bool:
    parts = urlsplit(link)
    target = (site / name).parent / unquote(parts.path) if parts.path else site / name
    there = Path(os.path.normpath(target))
    if not there.is_file():
        return False
    page = read.get(there.relative_to(site).as_posix())
    return not parts.fragment or page is None or unquote(parts.fragment) in page.anchors


def test_nothing_is_fetched_from_elsewhere(site: Path, read: dict[str, Page]) -> None:
    assert [(name, link) for name, page in read.items() for link in page.fetched if _elsewhere(link)] == []
    for style in site.rglob("*.css"):
        fetched = re.findall(r"(?:@import\s+|url\()['\"]?([^'\")]+)", style.read_text(encoding="utf-8"))
        assert [link for link in fetched if _elsewhere(link)] == [], style.name


def _elsewhere(link: str) -> bool:
    return urlsplit(link).scheme not in {"", "data"} or link.startswith("//")


def test_each_page_has_one_heading_and_its_pictures_have_words(read: dict[str, Page]) -> None:
    generated = {"genindex.html", "search.html", "py-modindex.html"}
    assert [name for name, page in read.items() if page.headings != 1 and name not in generated] == []
    # Outputs of the notebooks have none; the text around them says what is to be seen.
    assert [
        (name, page.without_alt)
        for name, page in read.items()
        if page.without_alt and not name.startswith("tutorials/")
    ] == []


def test_every_public_name_has_a_place(read: dict[str, Page]) -> None:
    anchors = set().union(*(page.anchors for page in read.values()))
    homes = {name: module for module, names in cxr_explain._HOMES.items() for name in names}
    assert set(homes) == set(cxr_explain.__all__) - {"__version__"}
    for name, module in homes.items():
        assert {f"cxr_explain.{name}", f"cxr_explain.{module}.{name}"} & anchors, name


def test_formulas_are_set_by_the_browser(site: Path, read: dict[str, Page]) -> None:
    assert sum(page.formulas for page in read.values()) > 0
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"mathjax[\w.-]*\.js|\\\(|\\\[", text), path
        assert "merror" not in text, path


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_a_screen_and_ask_for_nothing(site: Path, width: int) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = "/usr/bin/chromium"
    if not Path(chromium).is_file():
        pytest.skip("needs Debian's chromium")
    pages = [
        "index.html",
        "reference/command_line.html",
        "reference/explaining.html",
        "how_to/own_weights.html",
    ]
    pages += sorted(path.relative_to(site).as_posix() for path in (site / "tutorials").glob("*.html"))
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 800})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda said: asked.append(said.text) if said.type == "error" else None)
        for name in pages:
            page.goto((site / name).as_uri())
            overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(overflow) <= 0, name
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
