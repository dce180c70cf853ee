"""Names and texts from outside cannot act on a terminal, nor pass for lines of the command's own."""

from __future__ import annotations

import os
import unicodedata
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from typer.testing import CliRunner

from cxr_explain.cli import console
from cxr_explain.cli.app import app
from cxr_explain.errors import CxrExplainError, CxrExplainWarning, legible
from cxr_explain.support.plain_table import PlainTable

RUN = CliRunner()
FORGED = "ok: 99 images explained"
NAMES = [
    f"a\n{FORGED}",
    f"b\r{FORGED}\x1b[2J",
    f"c\u2028{FORGED}",
    f"d\x85{FORGED}",
    "e\u202egnp",
    "f\x1b]0;title\x07",
    "g\x9b31m",
    "h[red]i",
    "i\\",
]


def acts(text: str) -> list[str]:
    """Signs that a terminal obeys, line ends left out."""
    return [
        c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c not in "\n\u200c\u200d"
    ]


@pytest.fixture
def forged(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in NAMES:
        try:
            (folder / f"{name}.png").write_text("no image")
        except OSError:
            pytest.skip("this file system has no such names")
    return folder


def test_failures_of_explain_are_one_line_each(forged: Path, tmp_path: Path) -> None:
    words = ["explain", str(forged), "--weights", "phantom", "--out", str(tmp_path / "out")]
    result = RUN.invoke(app, words)
    lines = result.stderr.splitlines()
    assert not acts(result.output)
    assert len([line for line in lines if line.startswith("failed: ")]) == len(NAMES)
    assert not [line for line in lines if line.startswith(("ok", "title"))]
    assert f"a\\n{FORGED}.png: found a text file" in result.stderr
    assert "h[red]i.png" in result.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_usage_error_is_one_line(name: str) -> None:
    for words in (
        ["explain", name],
        ["audit", name, "--images", name],
        ["report", name],
        ["figure", name, name],
    ):
        result = RUN.invoke(app, words)
        assert not acts(result.stderr)
        assert not [line for line in result.stderr.splitlines() if line.startswith(("ok", "title"))]


@given(st.text())
def test_no_message_has_a_second_line_or_acts(text: str) -> None:
    error = CxrExplainError(text, expected=text, remedy=text, source=text)
    for said in (str(error), str(CxrExplainWarning(text)), legible(text)):
        assert len(said.splitlines()) <= 1
        assert not acts(said)


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_every_other_text_is_shown_as_it_is(text: str) -> None:
    assert legible(text) == text


def test_joiners_stay_where_languages_need_them() -> None:
    assert legible("می‌خواهم क्‍ष 👩‍⚕️") == "می‌خواهم क्‍ष 👩‍⚕️"


@pytest.mark.parametrize("name", NAMES)
def test_nothing_printed_acts(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(name)
    table.add_row("x", name)
    plain = PlainTable(name, (name, "n"), [[name, "1"]])
    for print_it in (
        *(console.tell, console.note, console.failed, console.say),
        lambda _: console.out.print(table),
        lambda _: console.say(plain.to_text()),
    ):
        print_it(name)
    shown = capsys.readouterr()
    assert not acts(shown.out.replace("\t", "") + shown.err)
    assert not [line for line in shown.err.splitlines() if line.startswith("ok")]
    assert len(plain.to_text().splitlines()) == 4


def test_a_warning_is_one_line() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn(f"a\n{FORGED}\x1b[2J", CxrExplainWarning, stacklevel=1)
    (one,) = caught
    text = warnings.formatwarning(one.message, one.category, one.filename, one.lineno, line="")
    assert len(text.splitlines()) == 1
    assert not acts(text)


def test_a_name_that_is_no_unicode_is_shown(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xfclatin.png")
    try:
        path.write_text("no image")
    except OSError:
        pytest.skip("this file system has no such names")
    result = RUN.invoke(app, ["explain", str(path), "--weights", "phantom", "--out", str(tmp_path / "out")])
    assert "\\udcfclatin.png: found a text file" in result.stderr


def test_commands_to_go_on_with_are_quoted_for_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not RUN.invoke(app, ["phantom", "--n", "1", "--size", "512", "--out", "ph"]).exit_code
    assert not RUN.invoke(app, ["manifest", "nih", "--source", "ph", "--out", "m.csv"]).exit_code
    words = ["audit", "m.csv", "--images", "ph/images", "--weights", "phantom"]
    audited = RUN.invoke(app, [*words, "--out", "r; touch PWNED\nok: 2"])
    assert audited.exit_code == 0, audited.output
    assert audited.stdout.splitlines()[-1] == r"Go on with: cxr-explain report $'r; touch PWNED\nok: 2'"
    assert not [line for line in audited.stdout.splitlines() if line.startswith("ok")]


def test_the_command_that_runs_a_bundle_is_quoted_for_a_shell(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("ignite")
    pytest.importorskip("fire")
    monkeypatch.chdir(tmp_path)
    written = RUN.invoke(app, ["bundle", "--weights", "phantom", "--out", "$exit() b"])
    assert written.exit_code == 0, written.output
    assert " --bundle_root './$exit() b' " in written.stdout
    assert " --config_file './$exit() b/configs/inference.json' " in written.stdout
