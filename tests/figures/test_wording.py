"""The words of figures: every language says all of them, and the code says none by itself."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from odd_figures import LABELS, ODD, drawn, of_names, plain
from test_figure import assert_legible, written

from cxr_explain.errors import CxrExplainWarning, OptionError
from cxr_explain.figures import draw_explanation, wording
from cxr_explain.figures.artists import TextLine
from cxr_explain.figures.comparison import comparison_rows
from cxr_explain.figures.style import Style
from cxr_explain.figures.texts import DISCLAIMER
from cxr_explain.figures.wording import Wording, differences, languages
from cxr_explain.pathologies import PATHOLOGIES, LabelState

FIGURES = Path(wording.__file__).parent
RECORD = {
    *("banner", "image_captions", "class_grid", "comparison", "content", "facts", "figure", "key", "panels"),
    *("pieces", "table", "texts"),
}
"""Modules of the record figure, whose texts the odd figures say; others name theirs in their modules."""

MARK = "‡"
OTHERS = sorted(set(languages()) - {"en"})


def texts_in(language: str) -> dict[str, str]:
    path = files("cxr_explain.figures") / "languages" / f"{language}.toml"
    return tomllib.loads(path.read_text("utf-8"))["texts"]


def table_of(texts: dict[str, str]) -> str:
    return "[texts]\n" + "".join(f'"{key}" = "{text}"\n' for key, text in texts.items())


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A translation whose every word begins with a mark."""
    texts = {key: re.sub(r"(?<![^\s(])(?=[^\W\d_])", MARK, text) for key, text in texts_in("en").items()}
    path = tmp_path_factory.mktemp("language") / "marked.toml"
    path.write_text(table_of(texts), "utf-8")
    return str(path)


@pytest.mark.parametrize("language", OTHERS)
def test_each_language_has_the_keys_and_the_places_of_english(language: str) -> None:
    assert differences(texts_in(language), texts_in("en")) == []
    same = {key for key, text in texts_in(language).items() if text == texts_in("en")[key]}
    assert same <= {"phantom", "negative", "fact: K", "fact: software", "weights by digest"}


@pytest.mark.parametrize("language", OTHERS)
def test_each_language_names_the_18_pathologies(language: str) -> None:
    names = [Wording(language).pathology(pathology) for pathology in PATHOLOGIES]
    assert all(names)
    assert len(set(names)) == len(PATHOLOGIES)


@dataclass
class Said:
    """What figures said: the keys that were looked up, and the lines of text."""

    keys: set[str] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Said]:
    """Note what figures say that are drawn meanwhile."""
    said = Said()
    look_up, make = Wording.__call__, TextLine.__init__

    def noted(self: Wording, key: str, **values: Any) -> str:
        said.keys.add(key)
        return look_up(self, key, **values)

    def noted_line(self: TextLine, x: float, y: float, text: str, **look: Any) -> None:
        said.lines.append(text)
        make(self, x, y, text, **look)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Wording, "__call__", noted)
        patch.setattr(TextLine, "__init__", noted_line)
        yield said


@pytest.fixture(scope="module")
def said_by(marked: str) -> Callable[[str], Said]:
    """What an odd figure says in the marked language; each is drawn once."""

    @cache
    def said(name: str) -> Said:
        with listening() as found:
            written(drawn(name, Style(language=marked)))
        return found

    return said


@pytest.mark.long
def test_every_text_is_said_by_a_record_figure_or_named_by_another(said_by: Callable[[str], Said]) -> None:
    said: set[str] = set().union(*(said_by(name).keys for name in ODD))
    with listening() as found:
        drawn("thirty", contours=False)
        with pytest.warns(CxrExplainWarning, match="No font"):
            draw_explanation(*unwritable(), dpi=40, missing_letters="number")
    said |= found.keys
    others = "".join(path.read_text("utf-8") for path in FIGURES.glob("*.py") if path.stem not in RECORD)
    assert [key for key in texts_in("en") if key not in said and f'"{key}"' not in others] == []


@pytest.mark.parametrize("name", ODD)
def test_every_drawn_word_is_from_the_language_or_from_the_data(
    name: str, said_by: Callable[[str], Said]
) -> None:
    lines = said_by(name).lines
    data = set(words_of_the_data(*ODD[name]()))
    unmarked = {word for line in lines for word in words(line) if not word.startswith(MARK)}
    cut = {word for word in unmarked if word.endswith("…") and any(d.startswith(word[:-1]) for d in data)}
    assert unmarked - cut - data == set()
    assert any(MARK in line for line in lines)


def words(text: str) -> Iterator[str]:
    """Words of a text, without the punctuation around them; numbers are none."""
    for word in text.split():
        bare = word.strip("().,;:'|·")
        if re.search(r"[^\W\d_]", bare):
            yield bare


def words_of_the_data(explanation: Any, radiograph: Any, labels: Any) -> Iterator[str]:
    names = [row.pathology for row in comparison_rows(explanation.ranking, draw_labels(labels))]
    texts = [explanation.id, radiograph.format, radiograph.view or "", "R | L", "PA AP", "cxr-explain torch"]
    texts += [name.replace("_", " ") for name in names]
    texts += [LABELS.source, "given by the caller", radiograph.sha256[:12]]
    texts += [str(value) for value in flat(asdict(explanation.provenance))] + [
        "5e" * 6,
        "joint relu",
        "mm K n x",
    ]
    texts += explanation.ranking.notes
    for text in texts:
        yield from words(text)


def draw_labels(labels: Any) -> Any:
    from cxr_explain.pathologies import ReferenceLabels

    return ReferenceLabels.coerce(labels)


def flat(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        yield value
        return
    for each in value:
        yield from flat(each)


@pytest.mark.parametrize(
    ("language", "name", "size"),
    [
        # Each language and figure once by default, in small and in large letters by turns.
        pytest.param(language, name, size, marks=() if size == quick else pytest.mark.slow)
        for place, language in enumerate(languages())
        for at, name in enumerate(
            ("five, all label states", "eighteen, not all seen", "one pathology, enlarged")
        )
        for quick in ((6.0, 10.0)[(place + at) % 2],)
        for size in (6.0, 7.4, 10.0)
    ],
)
def test_no_word_of_a_language_is_cut_or_covers_another(language: str, name: str, size: float) -> None:
    figure = drawn(name, Style(language=language, size=size))
    assert_legible(figure)
    assert "…" not in written(figure)


@pytest.mark.parametrize("language", languages())
def test_labels_and_colours_follow_the_pathology_and_not_its_name(language: str) -> None:
    explanation, radiograph, labels = plain(3)
    style = Style(language=language, names={"effusion": "Mass", "Cardiomegaly": "Grand cœur"})
    figure = draw_explanation(explanation, radiograph, reference_labels=labels, style=style, dpi=60)
    said = written(figure).splitlines()
    words = style.words
    assert said.count(f"✓ {words('agrees')}") == 1  # Effusion is positive, whatever it is called
    assert said.count(f"✗ {words('disagrees')}") == 1
    assert "Grand cœur" in said
    english = draw_explanation(explanation, radiograph, reference_labels=labels, dpi=60)
    assert colours_of(figure) == colours_of(english)


def colours_of(figure: Any) -> list[Any]:
    return [line.get_color() for axes in figure.axes[1:] for line in axes.lines]


def test_display_names_leave_the_record_as_it_is(tmp_path: Path) -> None:
    explanation, radiograph, _ = plain(2)
    before = explanation.save(tmp_path / "a").read_bytes()
    explanation.figure(radiograph=radiograph, style=Style(language="zh", names={"Effusion": "x"}), dpi=40)
    assert explanation.save(tmp_path / "b").read_bytes() == before
    assert b'"Effusion"' in before


def test_a_file_of_ones_own_is_a_language(tmp_path: Path) -> None:
    path = tmp_path / "fr.toml"
    path.write_text(table_of(texts_in("en") | {"radiograph": "Radiographie"}), "utf-8")
    assert Wording(str(path))("radiograph") == "Radiographie"
    assert "Radiographie" in written(drawn("one cell", Style(language=str(path))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table_of({"radiograph": "Radiographie"}), r"\d+ other texts: \"research use only\" is missing"),
        (None, "no readable translation"),
        ("[texts", "no readable translation"),
        ("[texts]\n1 = 2", "texts in quotes"),
        (table_of(texts_in("en") | {"own": "mine"}), '"own" is no key'),
        (table_of(texts_in("en") | {"several pathologies": "{n} of them"}), "other places"),
        (table_of(texts_in("en") | {"several pathologies": "{k!r} of them"}), "other places"),
        (table_of(texts_in("en") | {"several pathologies": "{k of them"}), "other places"),
    ],
)
def test_a_translation_that_lacks_a_text_is_refused(
    tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "xx.toml"
    if content is not None:
        path.write_text(content, "utf-8")
    with pytest.raises(OptionError, match=message):
        Style(language=str(path))


def test_another_language_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(OptionError, match=r"'fr'.*de, en, zh"):
        Style(language="fr")


def test_every_label_state_has_a_word_in_each_language() -> None:
    for language in languages():
        assert len({Wording(language)(state) for state in LabelState}) == len(LabelState)
    assert Wording()("research use only") == DISCLAIMER


def unwritable() -> tuple[Any, Any]:
    """An explanation of a pathology whose name has a letter that no font has."""
    explanation, radiograph, _ = of_names(["\U00012000 Mass"], 1)
    return explanation, radiograph
