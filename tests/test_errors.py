"""The exception tree and its messages."""

from __future__ import annotations

import inspect
import pickle
import re
from pathlib import Path

import pytest

from cxr_explain import errors
from cxr_explain.errors import CxrExplainError, OptionError

TREE = [
    value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, CxrExplainError)
]


def test_the_drawing_is_the_tree() -> None:
    drawn = set(re.findall(r"\w+Error\b", errors.__doc__ or "")) - {"CxrExplainError.at"}
    assert drawn == {error.__name__ for error in TREE}


def test_codes_are_unique_and_docstrings_there() -> None:
    codes = [error.code for error in TREE]
    assert len(set(codes)) == len(codes)
    assert all(error.__doc__ for error in TREE)


@pytest.mark.parametrize("error", TREE)
def test_an_error_survives_pickling(error: type[CxrExplainError]) -> None:
    raised = error("a", expected="b", remedy="Do c.", source="d")
    copy = pickle.loads(pickle.dumps(raised))
    assert str(copy) == str(raised) == "d: found a; expected b. Do c."
    assert type(copy) is error


def test_the_innermost_source_stays() -> None:
    error = CxrExplainError("a").at(Path("inner")).at("outer")
    assert str(error) == "inner: a."
    assert isinstance(OptionError("x"), ValueError)
