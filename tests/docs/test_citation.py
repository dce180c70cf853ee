"""CITATION.cff says what the Citation File Format 1.2.0 asks for, and what the package says of itself."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import cxr_explain
from cxr_explain.figures.bibliography import bibliography

ROOT = Path(__file__).resolve().parent.parent.parent

# Of the format's schema guide, version 1.2.0.
REQUIRED = {"authors", "cff-version", "message", "title"}
REQUIRED_OF_A_REFERENCE = {"authors", "title", "type"}
PERSON, ENTITY = {"family-names", "given-names"}, {"name"}


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_all_that_the_format_requires_is_there(citation: dict[str, Any]) -> None:
    assert citation.keys() >= REQUIRED
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    for reference in citation["references"]:
        assert reference.keys() >= REQUIRED_OF_A_REFERENCE
    for cited in (citation, *citation["references"]):
        assert all(author.keys() in (PERSON, ENTITY) for author in cited["authors"])


def test_it_says_what_the_package_says(citation: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["title"] == project["name"]
    assert citation["license"] == project["license"]
    assert citation["keywords"] == project["keywords"]
    assert citation["authors"] == project["authors"]
    assert citation["version"] == cxr_explain.__version__


def test_the_method_s_paper_is_cited(citation: dict[str, Any]) -> None:
    (paper,) = (each for each in citation["references"] if each["title"].startswith("FM-G-CAM"))
    assert paper["url"] == "https://arxiv.org/abs/2312.05975"
    assert [author["family-names"] for author in paper["authors"]] == ["Silva", "Bird"]


def test_the_papers_are_those_of_the_bibliography(citation: dict[str, Any]) -> None:
    """Which says the same in BibTeX, for `methods_text`."""
    for cited in citation["references"]:
        entry = bibliography()[cited["title"].split(":")[0]].fields
        people = [f"{each['family-names']}, {each['given-names']}" for each in cited["authors"]]
        assert re.sub("[{}]", "", entry["title"]) == cited["title"]
        assert entry["author"].split(" and ") == people
        assert entry["year"] == str(cited["year"])
        assert cited["url"] == f"https://arxiv.org/abs/{entry['eprint']}"
