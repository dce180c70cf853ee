"""Links of the Markdown pages and the notebooks: files and anchors exist, and hosts are known.

No network is asked; `make linkcheck` does that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from blocks import MADE_BY_THE_BUILD, ROOT, blocks_of, pages

HOSTS = Path(__file__).with_name("hosts.txt")
NOTEBOOKS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks").glob("*.ipynb"))

_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^()\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
_BARE = re.compile(r"<(https?://[^>\s]+)>")
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
_TARGET = re.compile(r"^\(([^()\s]+)\)=$", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)


def prose_of(page: str) -> str:
    """A page without its fenced blocks and its code; of a notebook, the Markdown cells."""
    path = ROOT / page
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    lines = text.splitlines()
    for block in blocks_of(page):
        height = block.text.count("\n") + 1
        lines[block.line - 1 : block.line + height - 1] = [""] * height
    return "\n".join(lines)


def links_of(page: str) -> Iterator[str]:
    """Where the links of a page lead."""
    text = CODE.sub("", prose_of(page))
    yield from _LINK.findall(text)
    yield from _BARE.findall(text)


def anchors_of(page: str) -> set[str]:
    """The anchors of a page as GitHub and the site make them of its headings, and those it names itself."""
    text = prose_of(page)
    found: set[str] = set(_TARGET.findall(text))
    for heading in _HEADING.findall(text):
        slug = slug_of(heading)
        number, unique = 1, slug
        while unique in found:
            unique, number = f"{slug}-{number}", number + 1
        found.add(unique)
    return found


def slug_of(heading: str) -> str:
    """The anchor of a heading: in small letters, without markup and signs, hyphens for spaces."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    return re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", [*pages(), *NOTEBOOKS])
def test_links_within_the_repository_lead_somewhere(page: str) -> None:
    lost = [
        link
        for link in links_of(page)
        if "://" not in link and not link.startswith("mailto:") and not leads(page, link)
    ]
    assert lost == []


def leads(page: str, link: str) -> bool:
    """Whether a relative link leads to a file, and to an anchor of it where it names one."""
    target, _, anchor = unquote(link).partition("#")
    file = (ROOT / page).parent / target if target else ROOT / page
    name = file.resolve().relative_to(ROOT).as_posix()
    name = re.sub(r"^docs/tutorials/(.*\.ipynb)$", r"notebooks/\1", name)  # copied by the build
    if name in MADE_BY_THE_BUILD:
        return True
    path = ROOT / name
    if not path.exists():
        return False
    return not anchor or path.suffix not in {".md", ".ipynb"} or anchor in anchors_of(name)


@pytest.mark.parametrize("page", [*pages(), *NOTEBOOKS])
def test_links_that_leave_the_repository_are_whole_and_lead_to_known_hosts(page: str) -> None:
    known = set(HOSTS.read_text(encoding="utf-8").split())
    for link in links_of(page):
        if "://" in link:
            parts = urlsplit(link)
            assert parts.scheme == "https", f"{page}: {link} is not https"
            assert parts.hostname in known, (
                f"{page}: {link}: a host that is not in {HOSTS.name}; add it after a look"
            )
            assert not re.search(r"[.,;:]$", link), f"{page}: {link} ends in a sign of the sentence"


def test_no_host_of_the_list_is_left_over() -> None:
    used = {
        urlsplit(link).hostname for page in [*pages(), *NOTEBOOKS] for link in links_of(page) if "://" in link
    }
    assert sorted(set(HOSTS.read_text(encoding="utf-8").split()) - used) == []


def test_what_the_build_makes_is_what_this_test_takes_for_made() -> None:
    import sys

    sys.path.insert(0, str(ROOT / "docs" / "_ext"))
    import command_line
    import repository

    made = {command_line.PAGE, *repository.PAGES.values()} - repository.OWN
    assert {f"docs/{page}" for page in made} == MADE_BY_THE_BUILD


def test_a_link_to_nothing_and_an_anchor_that_is_not_there_are_found() -> None:
    assert leads("README.md", "docs/audit.md#1-a-manifest")
    assert not leads("README.md", "docs/audit.md#a-manifest-of-nothing")
    assert not leads("README.md", "docs/nothing.md")


def test_slugs_are_those_of_the_site() -> None:
    from myst_parser.config.main import MdParserConfig
    from myst_parser.mdit_to_docutils.base import default_slugify

    assert MdParserConfig().heading_slug_func is None
    for heading in ("1. A manifest", "How far it scales, on paper", "What `K` is", "Adding a rule", "A  B"):
        assert slug_of(heading) == default_slugify(heading.replace("`", ""))
