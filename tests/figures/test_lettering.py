"""Names in any script: as wide as they are drawn, in their direction, and named where no font has them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from diagonal import diagonal
from matplotlib.font_manager import findfont
from matplotlib.text import Text
from networks import small_net
from synthetic import synthetic_explanation, synthetic_radiograph
from test_figure import LABELS, assert_legible, texts, written

from cxr_explain import Explainer, Explanation, HookedClassifier, Outputs, Radiograph, ReferenceLabels
from cxr_explain.errors import CxrExplainWarning, OptionError, OutputError
from cxr_explain.explaining.explainer import Explained
from cxr_explain.explaining.many import save_outputs
from cxr_explain.figures import ExplanationFigure, draw_explanation
from cxr_explain.figures.lettering import Typeface, isolated, one_line
from cxr_explain.figures.output import own_style
from cxr_explain.figures.page import Page
from cxr_explain.figures.style import Style

NAMES = {
    "German": "Pleuraerguß",
    "Vietnamese": "Tràn dịch màng phổi",
    "Cyrillic": "Плеврит",
    "Arabic": "التهاب رئوي",
    "Persian": "ذات\u200cالریه",
    "Hebrew": "דלקת ריאות",
    "Japanese": "気胸と胸水",
    "Chinese": "肺部感染",
    "Korean": "폐렴 흉수",
    "Devanagari": "निमोनिया क्षयरोग",
    "Thai": "น้ำในปอด",
}
BUNDLED = ("German", "Vietnamese", "Cyrillic", "Arabic", "Persian", "Hebrew")
"""Matplotlib's DejaVu Sans has their letters."""

KINDS = ("png", "pdf", "svg")


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the fonts that Matplotlib ships, as on a machine with no other."""
    monkeypatch.setenv("MPL_IGNORE_SYSTEM_FONTS", "1")


def name_in(script: str) -> str:
    name = NAMES[script]
    if lacking := Typeface().unknown_letters([name]):
        pytest.skip(f"no font of this machine has {lacking}")
    return name


def explained(*names: str) -> Explanation:
    classifier = HookedClassifier(small_net(len(names)), "5", Outputs(names), input_size=64)
    pixels = np.random.default_rng(0).uniform(-1024, 1024, (64, 64)).astype(np.float32)
    return Explainer(classifier).explain(Radiograph.from_array(pixels))


def page_with(text: str, style: Style | None = None, **options: object) -> Page:
    page = Page(6, 1, 100, style or Style())
    page.text(0.1, 0.5, text, size=20, **options)  # type: ignore[arg-type]
    return page


def glyphs(text: str, style: Style | None = None) -> list[str]:
    """The glyphs of a line from left to right, by their names in the SVG."""
    svg = page_with(text, style).figure.to_bytes("svg").decode()
    placed = []
    for part in re.split(r'<g style="[^"]*" transform="translate', svg)[1:]:
        left, scale = (float(part[1:].split()[0]), float(part.split("scale(")[1].split()[0]))
        uses = re.findall(r'<use xlink:href="#([^"]+)"(?: transform="translate\(([-\d.]+))?', part)
        placed += [(left + scale * float(x or 0), name) for name, x in uses]
    return [name for _, name in sorted(placed)]


# What a reader sees


@pytest.mark.parametrize(
    ("script", "kinds"),  # all names in one figure are drawn in each kind below
    [
        pytest.param(script, kinds, marks=marks, id=f"{script}-{'-'.join(kinds)}")
        for script in NAMES
        for kinds, marks in ((KINDS[:1], ()), (KINDS[1:], pytest.mark.slow))
    ],
)
def test_a_name_is_drawn_in_its_own_letters(script: str, kinds: tuple[str, ...]) -> None:
    name = name_in(script)
    figure = explained(name, "Mass").figure(ReferenceLabels({name: 1}), dpi=100)
    assert name in {text.get_text() for text in texts(figure)}
    assert_legible(figure)
    for kind in kinds:  # Matplotlib warns of letters that it cannot draw, and warnings are errors
        assert figure.to_bytes(kind)


@pytest.fixture(scope="module")
def in_every_script() -> list[ExplanationFigure]:
    """The same names drawn twice."""
    names = [name for name in NAMES.values() if not Typeface().unknown_letters([name])]
    labels, parts = ReferenceLabels({names[0]: 1}), ("table", "notes")
    return [explained(*names).figure(labels, dpi=100, parts=parts) for _ in range(2)]


@pytest.mark.parametrize("kind", KINDS)
def test_names_in_every_script_give_the_same_bytes_twice(
    in_every_script: list[ExplanationFigure], kind: str
) -> None:
    first, second = in_every_script
    assert first.to_bytes(kind) == first.to_bytes(kind) == second.to_bytes(kind)


@pytest.mark.parametrize("face", ["regular", "bold", "oblique"])
@pytest.mark.parametrize("script", NAMES)
def test_a_line_is_as_wide_as_it_is_drawn(script: str, face: str) -> None:
    line = f"{name_in(script)} {name_in('German')} 12"
    page = page_with(line, face=face)
    (text,) = (each for each in page.figure.findobj(Text) if each.get_text() == line)
    with own_style():
        drawn = page.figure.canvas.get_renderer().get_text_width_height_descent(  # type: ignore[attr-defined]
            line, text.get_fontproperties(), False
        )[0]
    measured = 100 * Typeface().width(line, 20, face)  # type: ignore[arg-type]
    assert drawn <= measured <= 1.04 * drawn


def test_joined_letters_are_measured_joined() -> None:
    joined, apart = Typeface().width("ببب", 10), 3 * Typeface().width("ب", 10)
    assert joined < 0.8 * apart


def test_hebrew_runs_from_right_to_left() -> None:
    assert glyphs("אב") == [*glyphs("ב"), *glyphs("א")]


def test_the_ellipsis_of_a_name_from_right_to_left_is_on_its_left() -> None:
    typeface, (ellipsis,) = Typeface(), glyphs("…")
    name = NAMES["Hebrew"]
    limit = 0.6 * typeface.width(name, 20)
    for whole in (name, isolated(name)):
        cut = typeface.shorten(whole, limit, 20)
        assert typeface.width(cut, 20) <= limit
        assert glyphs(cut)[0] == ellipsis
    assert glyphs(typeface.shorten("Pneumothorax", 0.9, 20))[-1] == ellipsis


def test_a_name_from_right_to_left_leaves_the_sentence_around_it_as_it_is() -> None:
    style = Style(names={"Mass": "שלום"})
    sentence = f"{style.name_of('Mass')}: 93 % (1)"
    assert glyphs(sentence, style) == [*glyphs("שלום"), *glyphs(": 93 % (1)")]
    between = glyphs(f"reference: {style.name_of('Mass')} 9")
    assert between[-6:] == [*glyphs("שלום"), *glyphs("x 9")[1:]]


@pytest.mark.parametrize("script", NAMES)
def test_nothing_cuts_a_letter_from_its_marks(script: str) -> None:
    name = name_in(script)
    typeface = Typeface()
    for limit in np.linspace(0.02, typeface.width(name, 10), 15):
        pieces = typeface.wrap(name, float(limit), 10)
        assert "".join("".join(pieces).split()) == "".join(name.split())
        for piece in (*pieces, typeface.shorten(name, float(limit), 10)):
            assert not unicodedata.category(piece[0]).startswith("M"), pieces


def test_chinese_breaks_between_characters_but_not_before_a_full_stop() -> None:
    text = "右下肺可见斑片状密度增高影，边界不清（考虑感染）。建议结合临床，必要时CT检查。"
    if Typeface().unknown_letters([text]):
        pytest.skip("no font of this machine has Chinese characters")
    for limit in np.linspace(0.5, 2, 20):
        lines = Typeface(language="zh").wrap(f"Note: {text}", float(limit), 8)
        assert "".join(lines).replace(" ", "") == f"Note:{text}"
        assert all(Typeface().width(line, 8) <= limit for line in lines)
        assert not any(line[0] in "，。）" or line[-1] == "（" for line in lines)
        assert lines[0] != "Note:"


def test_the_language_says_which_forms_chinese_characters_have() -> None:
    files = {
        language: Typeface(language=language).font(text="骨").get_family()[-1]
        for language in ("zh", "ja", "ko")
    }
    if not all("NotoSansCJK" in file for file in files.values()):
        pytest.skip("no font of this machine has the forms of several regions: Noto Sans CJK")
    assert len({file.face_index for file in files.values()}) == 3  # type: ignore[attr-defined]
    assert glyphs("骨直", Style(language="zh")) != glyphs("骨直", Style(language="en"))


# Signs that nobody sees


def test_joiners_stay_where_they_join_and_direction_marks_go() -> None:
    assert one_line(NAMES["Persian"]) == NAMES["Persian"]
    assert one_line("क्\u200dष") == "क्\u200dष"
    assert one_line("Ma\u200dss \u200c水\u200d") == "Mass 水"
    hostile = "\u202e\u2066gnp.exe\u202c \u2069\u200f\u2068x"
    assert one_line(hostile) == Typeface().clean(hostile) == "gnp.exe x"


def test_an_isolate_stays_in_a_line_and_a_lone_half_of_one_does_not() -> None:
    name = isolated("שלום")
    assert Typeface().clean(f"reference:\n{name} 9") == f"reference: {name} 9"
    assert Typeface().clean(f"{name[:-1]} 9") == "שלום 9"


def test_accents_apart_from_their_letters_are_composed() -> None:
    apart = unicodedata.normalize("NFD", "Tràn")
    assert Typeface().clean(apart) == "Tràn" != apart


# Letters that no font has


def test_an_error_names_the_letters_the_fonts_and_the_way_out(bare_machine: None) -> None:
    with pytest.raises(OutputError) as caught:
        explained("胸水").figure(ReferenceLabels({"胸水": 1, "無気肺": 1}), style=Style())
    said = str(caught.value)
    assert said.startswith(
        "No font has the letters 胸 (U+80F8), 水 (U+6C34), 無 (U+7121), 気 (U+6C17), 肺 (U+80BA)"
    )
    assert "tried DejaVu Sans and " in said
    assert "fonts-noto-cjk" in said
    assert "missing_letters='number'" in said


@pytest.mark.parametrize("where", ["id", "model", "trained on", "source", "view"])
def test_no_letter_is_lost_where_names_of_data_and_models_stand(bare_machine: None, where: str) -> None:
    radiograph = synthetic_radiograph((64, 64))
    explanation = synthetic_explanation(radiograph, k=1)
    labels = ReferenceLabels(
        {"Mass": 1},
        source="漢.csv" if where == "source" else "a table",
        view="漢" if where == "view" else None,
    )
    changed = {"model": {"model": "漢"}, "trained on": {"training_sets": ("漢",)}}.get(where, {})
    provenance = replace(explanation.provenance, **changed)
    explanation = replace(explanation, provenance=provenance, id="漢" if where == "id" else "a")
    with pytest.raises(OutputError, match=r"No font has the letters 漢 \(U\+6F22\)"):
        draw_explanation(explanation, radiograph, reference_labels=labels, style=Style())


@pytest.mark.parametrize(
    ("letters", "remedy"), [("क", "Noto Sans Devanagari"), ("한", "Noto Sans CJK"), ("\U0001fac1", "Symbola")]
)
def test_the_font_to_install_has_the_letters(bare_machine: None, letters: str, remedy: str) -> None:
    assert f"Install {remedy} (Debian's " in Typeface().no_font_has(letters)


def test_a_figure_can_show_the_numbers_of_letters(bare_machine: None) -> None:
    with pytest.warns(CxrExplainWarning, match="No font has the letters 胸"):
        figure = explained("胸水").figure(missing_letters="number", style=Style())
    assert "[U+80F8 U+6C34]" in {text.get_text() for text in texts(figure)}
    assert "No font has the letters U+80F8, U+6C34, which are shown by these numbers." in written(figure)
    assert "?" not in written(figure)
    assert figure.to_bytes("pdf")
    with pytest.raises(OptionError, match="missing_letters"):
        explained("Mass").figure(missing_letters="box")


def test_many_files_go_on_without_the_letters(bare_machine: None, tmp_path: Path) -> None:
    explanation = replace(explained("Mass"), id="患者 \U0001fac1")
    with pytest.warns(CxrExplainWarning, match="U\\+1FAC1 LUNGS"):
        saved = save_outputs(Explained(explanation.radiograph, explanation), tmp_path)
    assert saved.figure is not None
    assert saved.figure.exists()


def test_a_language_that_no_font_can_write_is_refused(bare_machine: None) -> None:
    with pytest.raises(OutputError, match="No font has the letters"):
        explained("Mass").figure(style=Style(language="zh"))


# The fonts


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (("dejavu serif",), ("DejaVu Serif",)),
        ("DejaVu Sans Mono", ("DejaVu Sans Mono",)),
        (("monospace", "DejaVu Sans"), ("DejaVu Sans Mono", "DejaVu Sans")),
    ],
)
def test_families_are_found_by_name(given: Sequence[str], found: Sequence[str]) -> None:
    assert Typeface(given).families == found  # type: ignore[arg-type]


def test_a_generic_family_is_the_one_of_matplotlibs_settings() -> None:
    with matplotlib.rc_context({"font.serif": ["No such font", "STIXGeneral"]}):
        typeface = Typeface(("serif",))
    assert typeface.families == ("STIXGeneral",)


def test_a_family_that_is_not_installed_is_refused_and_near_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"'Dejavu Serf', which is not installed.* DejaVu Serif"):
        Style(fonts=("Dejavu Serf",))
    with pytest.raises(OptionError, match="Installed are "):
        Style(fonts=("Qqq",))
    no_font = tmp_path / "none.ttf"
    no_font.write_bytes(b"none")
    with pytest.raises(OptionError, match="a TrueType or OpenType file that is there"):
        Style(fonts=(str(no_font),))


def test_a_file_is_a_font_too(tmp_path: Path) -> None:
    mono = tmp_path / "mine.ttf"
    mono.write_bytes(Path(findfont("DejaVu Sans Mono")).read_bytes())
    typeface = Typeface((str(mono),))
    assert typeface.width("i", 10) == typeface.width("m", 10)
    with pytest.raises(OptionError, match="not installed"):
        Typeface((str(tmp_path / "mine"),))


def test_faces_of_a_family_are_its_own_and_other_letters_come_from_dejavu_sans() -> None:
    style = Style(fonts=("STIXGeneral",))
    for face, name in (("regular", "Regular"), ("bold", "Bold"), ("oblique", "Italic")):
        path = Path(style.typeface.font(face).get_family()[0])  # type: ignore[arg-type]
        assert (
            path.stem
            == {"Regular": "STIXGeneral", "Bold": "STIXGeneralBol", "Italic": "STIXGeneralItalic"}[name]
        )
    latin, arabic = glyphs("aب", style)
    assert "STIX" in latin
    assert "DejaVuSans" in arabic


@pytest.mark.parametrize(
    ("style", "k"),
    diagonal(
        [
            Style(fonts=("STIXGeneral",), size=9),
            Style(fonts=("DejaVu Sans Mono",), language="de"),
            Style(fonts=("DejaVu Serif",), size=7),
        ],
        [5, 18],
    ),
)
def test_a_figure_in_another_font_is_legible(style: Style, k: int) -> None:
    from synthetic import synthetic_explanation, synthetic_radiograph

    radiograph = synthetic_radiograph((200, 200), patient_orientation=("L", "F"))
    explanation = synthetic_explanation(radiograph, k=k)
    figure = explanation.figure(LABELS, radiograph=radiograph, style=style, dpi=100)
    assert_legible(figure)
    svg = figure.to_bytes("svg").decode()
    used = set(re.findall(r'xlink:href="#([A-Za-z]+)(?:-[A-Za-z]+)?-[0-9a-f]+"', svg))
    assert any(name.startswith(style.fonts[0].replace(" ", "")) for name in used), used
