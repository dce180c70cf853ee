from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_explain.support.spreadsheet import safe_cell


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_what_a_spreadsheet_would_run_is_text(start: str) -> None:
    assert safe_cell(f"{start}cmd|' /C calc'!A0") == f"'{start}cmd|' /C calc'!A0"


@given(st.text())
def test_every_other_text_stays(text: str) -> None:
    cell = safe_cell(text)
    assert cell[:1] not in tuple("=+-@\t\r\n")
    assert cell in (text, f"'{text}")


@given(st.one_of(st.integers(), st.floats()))
def test_numbers_stay_numbers(number: float) -> None:
    assert safe_cell(number) == str(number)
