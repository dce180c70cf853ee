"""Each promise of docs/explanation/safety.md names tests that are there."""

from __future__ import annotations

import re

import pytest
from blocks import ROOT

PAGE = (ROOT / "docs" / "explanation" / "safety.md").read_text(encoding="utf-8")
PROMISES, _, NOT_PROMISED = PAGE.partition("## What is not promised")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[^`]+)`", PAGE))))
def test_a_test_that_is_named_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_promise_to_others_names_a_test() -> None:
    """But two, which say what is not done."""
    promises = re.split(r"^- ", PROMISES, flags=re.MULTILINE)[1:]
    untested = [promise.split()[0] for promise in promises if "`tests/" not in promise]
    assert untested == ["Ids", "Permissions"]
    assert NOT_PROMISED
