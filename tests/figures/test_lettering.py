"""Names in other scripts: drawn where a font of the machine has their letters, else the letters are named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text
from networks import small_net

from cxr_explain import HookedClassifier, Outputs, Radiograph, ReferenceLabels
from cxr_explain.errors import CxrExplainWarning
from cxr_explain.explaining.explainer import Explainer
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures import lettering
from cxr_explain.figures.page import Page

STIX = str(Path(matplotlib.get_data_path(), "fonts", "ttf", "STIXGeneral.ttf"))
ONLY_STIX = "ⒶⒷ"
"""Letters that Matplotlib's DejaVu Sans has not, and another font that it ships has."""

JAPANESE, CHINESE, GERMAN = ("胸水", "気胸"), ("肺部感染",), ("Pleuraerguß",)


@pytest.fixture
def fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The other fonts of a machine."""
    files: list[str] = []
    monkeypatch.setattr(lettering, "_other_fonts", lambda: tuple(files))
    for each in (lettering._advance, lettering._elsewhere):
        each.cache_clear()
    yield files
    for each in (lettering._advance, lettering._elsewhere):
        each.cache_clear()


def explained(*names: str) -> Explanation:
    classifier = HookedClassifier(small_net(len(names)), "5", Outputs(names), input_size=64)
    pixels = np.random.default_rng(0).uniform(-1024, 1024, (64, 64)).astype(np.float32)
    return Explainer(classifier).explain(Radiograph.from_array(pixels))


def texts(figure: object) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]  # type: ignore[attr-defined]


def drawn(text: str, kind: str) -> bytes:
    page = Page(2, 1, 100)
    page.text(0.1, 0.5, text, room=1.8)
    return page.figure.to_bytes(kind)


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_letters_come_from_another_font(fonts: list[str], kind: str) -> None:
    assert lettering.Typeface().unknown_letters([ONLY_STIX]) == ONLY_STIX
    assert lettering.Typeface().clean(f"Mass {ONLY_STIX}") == "Mass ??"
    lettering._advance.cache_clear()
    lettering._elsewhere.cache_clear()
    fonts += ["/no/such/font.ttf", STIX]
    assert lettering.Typeface().unknown_letters([ONLY_STIX]) == ""
    assert lettering.Typeface().clean(f"Mass {ONLY_STIX}") == f"Mass {ONLY_STIX}"
    content = drawn(
        ONLY_STIX, kind
    )  # Matplotlib warns of letters that it cannot draw, and warnings are errors
    assert content != drawn("??", kind)
    if kind == "svg":
        assert content.count(b'xlink:href="#STIXGeneral-Regular') == len(ONLY_STIX)


def test_a_line_is_as_wide_as_its_letters(fonts: list[str]) -> None:
    fonts.append(STIX)
    page = Page(4, 1, 200)
    page.text(0, 0.5, ONLY_STIX * 4, size=20)
    (text,) = (each for each in page.figure.findobj(Text) if ONLY_STIX in each.get_text())
    measured = text.get_window_extent().width / 200
    assert lettering.Typeface().width(ONLY_STIX * 4, 20) == pytest.approx(measured, rel=0.05)


def test_what_no_font_has_is_named(fonts: list[str]) -> None:
    explanation = explained("胸水")
    with pytest.warns(
        CxrExplainWarning, match="No font has the letters 胸, 水, 無, 気, 肺, which the figure"
    ):
        figure = explanation.figure(ReferenceLabels({"胸水": 1, "無気肺": 1}))
    shown = texts(figure)
    assert "??" in shown
    assert "No font has the letters U+80F8, U+6C34, U+7121, U+6C17, U+80BA, which are shown as ?." in shown


@pytest.mark.parametrize("names", [JAPANESE, CHINESE, GERMAN], ids=lambda names: names[0])
def test_names_are_legible_where_a_font_is_there(names: tuple[str, ...]) -> None:
    if lettering.Typeface().unknown_letters(names):
        pytest.skip(f"no font of this machine has {lettering.Typeface().unknown_letters(names)}")
    figure = explained(*names).figure()
    assert set(names) <= set(texts(figure))
    assert figure.to_bytes("pdf")


def test_arabic_is_joined_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "التهاب رئوي"
    if matplotlib.__version_info__ >= (3, 11):
        assert lettering.Typeface().unknown_letters([name]) == "", (
            "DejaVu Sans has Arabic, and Matplotlib joins it"
        )
        assert name in texts(explained(name).figure())
    lettering._advance.cache_clear()
    monkeypatch.setattr(matplotlib, "__version_info__", (3, 10, 0, "final", 0))
    assert lettering.Typeface().unknown_letters([name]) == "التهبرئوي"
    lettering._advance.cache_clear()


def test_accents_apart_from_their_letters_are_composed() -> None:
    apart = "Trànse"
    assert lettering.Typeface().clean(apart) == "Trànse"


def test_the_table_and_pages_show_the_letters_themselves(fonts: list[str]) -> None:
    """A browser and a terminal have fonts of their own."""
    assert lettering.display_name("胸水") == "胸水"
    assert "胸水" in explained("胸水")._repr_html_()
