"""The words of the documentation: spelled, in one English, and the terms of the field.

The house writes British English with -ise, and says radiograph, pathology, reference label, class map and
saliency. Quotations, titles of papers and names of other projects keep their own words.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from blocks import ROOT, pages
from test_links import CODE, NOTEBOOKS, prose_of

WORDS = Path(__file__).with_name("words.txt")

TERMS = {
    r"ground[ -]truths?": "reference label, reference standard",
    r"gold[ -]standards?": "reference standard",
    r"class[ -]names?": "pathology",
    r"heat[ -]?maps?": "class map, fused map, saliency map",
    r"(?:chest )?x-?ray images?|chest x-?rays?": "radiograph",
    r"scans?(?= of the chest)": "radiograph",
}
"""What is not said here, and what is said instead."""

AMERICAN = {
    r"\w*(?:normali|randomi|initiali|optimi|summari|recogni|visuali|locali|generali|standardi|organi|minimi|maximi|"
    r"utili|emphasi|categori|penali|reali|speciali|customi)z\w*": "-ise",
    r"colors?|colored|coloring": "colour",
    r"gray\w*": "grey",
    r"cent(?:er|ered|ering|ers)": "centre",
    r"behavior\w*": "behaviour",
    r"favor\w*": "favour",
    r"labeled|labeling|unlabeled": "labelled",
    r"modeled|modeling": "modelled",
    r"analyz\w*": "analyse",
    r"artifacts?": "artefact",
    r"catalog": "catalogue",
}
"""American spellings, and the house's."""

POINTING_AWAY = {r"likewise": "what it is, said again", r"of its": "of what it is"}
"""Words that send a reader to the line above, and what stands there instead."""

QUOTED = (
    "Augmented Grad-CAM: Heat-Maps Super Resolution Through Augmentation",
    "CENTER/WIDTH",
    "CheXlocalize",
    "Digital X-Ray Image Storage",
)
"""Titles and names that keep their words."""

_QUOTATION = re.compile(r"\"[^\"\n]{1,60}\"|“[^”]{1,60}”")
_ADDRESS = re.compile(r"\]\([^)]*\)|<?https?://[^\s>)]+>?")
_ITALIC = re.compile(r"(?<!\*)\*[^*\n]+(?:\n[^*\n]+)*\*(?!\*)")


@cache
def docstrings() -> tuple[tuple[str, str], ...]:
    """Where, and the text without its examples."""
    return tuple(_docstrings())


def _docstrings() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "cxr_explain").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node) or ""
                name = getattr(node, "name", "")
                yield f"{path.relative_to(ROOT)}:{name}", _without_examples_and_sources(text)


def _without_examples_and_sources(text: str) -> str:
    """Examples are code, and sources are titles."""
    text = re.sub(r"^Source:\n(?:[ \t]+.*\n?|\n)*", "", text, flags=re.MULTILINE)
    return re.sub(r"^\s*>>>.*(?:\n(?!\s*$).*)*", "", text, flags=re.MULTILINE)


@cache
def texts() -> dict[str, str]:
    """All prose by its place, without code, addresses and titles, which stand in italics."""
    found = {page: _ITALIC.sub(" ", prose_of(page)) for page in [*pages(), *NOTEBOOKS]}
    found |= dict(docstrings())
    for pattern in (CODE, _ADDRESS, _QUOTATION):
        found = {place: pattern.sub(" ", text) for place, text in found.items()}
    return found


def faults(text: str, words: dict[str, str]) -> list[str]:
    """What a text says that the house does not, each with what it says instead."""
    for quoted in QUOTED:
        text = re.sub(re.escape(quoted).replace(r"\ ", r"\s+"), "", text, flags=re.IGNORECASE)
    return [
        f"{found[0]!r}: {instead}"
        for pattern, instead in words.items()
        for found in re.finditer(rf"(?<![\w-])(?:{pattern})(?![\w])", text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("words", [TERMS, AMERICAN, POINTING_AWAY], ids=["terms", "spelling", "pointers"])
def test_the_words_are_those_of_the_house(words: dict[str, str]) -> None:
    assert {place: found for place, text in texts().items() if (found := faults(text, words))} == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the ground truth", ["'ground truth': reference label, reference standard"]),
        (
            "Heatmaps of chest X-rays",
            ["'Heatmaps': class map, fused map, saliency map", "'chest X-rays': radiograph"],
        ),
        ("radiographs of ChestX-ray14, a reference label", []),
    ],
)
def test_terms_are_found(text: str, expected: list[str]) -> None:
    assert faults(text, TERMS) == expected


_BARE = re.compile(r"^\s+(\*{0,2}\w+): of ", re.MULTILINE)


def test_every_argument_says_what_it_is() -> None:
    """`seed: of the draws` leaves a reader to guess; `seed: seed of the random draws` does not."""
    assert {place: names for place, text in docstrings() if (names := _BARE.findall(text))} == {}


def test_a_bare_argument_is_found() -> None:
    assert _BARE.findall("Args:\n    seed: of the draws.\n    level: level of the interval.") == ["seed"]


def test_american_spellings_are_found_and_british_ones_are_not() -> None:
    american = "normalized colors in gray, centered; the behavior of labeled artifacts is analyzed"
    assert len(faults(american, AMERICAN)) == 8
    assert faults("normalised colours in grey, centred; the size of a prize is recognised", AMERICAN) == []


def test_the_texts_are_spelled() -> None:
    """codespell, over texts, docstrings and code; `words.txt` has what it takes for mistakes and is none."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "codespell_lib", "--ignore-words", str(WORDS), "--skip", SKIPPED),
            *(str(ROOT / name) for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile")),
            *(str(ROOT / name) for name in ("cxr_explain", "docs", "tests", "benchmarks", "data_manifests")),
            *(str(path) for path in (ROOT / "notebooks").glob("*.py")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout, result.returncode) == ("", 0)


FOREIGN = (
    "*/spelling.py,*/ordinary_names.py,*/test_spelled_otherwise.py,"  # months and names of other languages
    "*/languages/de.toml"  # a figure's words in German
)
SKIPPED = (
    "*/_build/*,*/__pycache__/*,*.ipynb,*.safetensors,*.png,*.npz,*.csv,*.json,*.svg,*.js,*/words.txt,"
    + FOREIGN
)
