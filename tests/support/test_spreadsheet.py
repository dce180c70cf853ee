from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cxr_explain.errors import legible
from cxr_explain.support.spreadsheet import safe_cell, safe_csv

SIGNS = "=+-@＝＋－＠−"
FORMULA = "cmd|' /C calc'!A0"


@pytest.mark.parametrize(
    "start", [*SIGNS, "\t", "\r", "\n", " =", "\u3000=", "\ufeff=", "\x00=", "\u200b@", "\xa0+"]
)
def test_what_a_spreadsheet_would_run_is_text(start: str) -> None:
    assert safe_cell(f"{start}{FORMULA}") == f"'{start}{FORMULA}"


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("separator", [";", "|", "\t", "\n", "\r\n", "; "])
def test_a_cell_of_another_separator_is_no_formula(sign: str, separator: str) -> None:
    cell = safe_cell(f"Mass{separator}{sign}1+1")
    assert not re.search(rf"[;|\t\r\n]\s*{re.escape(sign)}", cell)


DANGEROUS = st.text(st.sampled_from(" ;|\t\r\n,\"'a1\ufeff" + SIGNS))


@given(st.one_of(st.text(), DANGEROUS))
def test_every_other_sign_stays(text: str) -> None:
    cell = safe_cell(text)
    assert cell.replace("'", "") == text.replace("'", "")
    if not re.fullmatch(r"[+-]?[\d.einfa+-]+", text):
        assert not re.match(r"[\s\ufeff]*[=+\-@＝＋－＠−]|[\t\r\n]", cell)
        assert not re.search(r"[;|\t\r\n][\s\ufeff]*[=+\-@＝＋－＠−]", cell)


@given(st.lists(st.one_of(st.text(), DANGEROUS), min_size=1, max_size=4))
@example([';"−'])
@example(['; " "=1'])
def test_no_separator_finds_a_formula_in_a_file(names: list[str]) -> None:
    """The head of a table is as much from outside as its cells: it names the pathologies of a model."""
    text = safe_csv([("id", *names, "error"), ("a", *("" for _ in names), "x")])
    head = next(csv.reader(io.StringIO(text, newline="")))
    assert [cell.replace("'", "") for cell in head[1:-1]] == [legible(n).replace("'", "") for n in names]
    assert text.count("\n") == 2
    for separator in ",;\t|":
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            numbers = r"[+-]?[\d.einfa+-]+\"?"
            bad = [
                c for c in row if re.match(r"[\s\ufeff]*[=+\-@＝＋－＠−]", c) and not re.fullmatch(numbers, c)
            ]
            assert not bad


@given(st.one_of(st.integers(), st.floats()))
def test_numbers_stay_numbers(number: float) -> None:
    assert safe_cell(number) == safe_cell(str(number)) == str(number)
