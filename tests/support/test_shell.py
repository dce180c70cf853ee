"""Names in commands that are shown to be copied: each is one word, and nothing in it runs."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cxr_explain.support.shell import shell_word

NAMES = [
    *(
        "run a",
        "a; touch PWNED",
        "$(touch PWNED)",
        "`touch PWNED`",
        "a'b",
        'a"b',
        "a\\b",
        "a|b",
        "a>b",
        "a&b",
    ),
    *("-x", "--out=x", "~", "~root", "$HOME", "$@", "*", "?", "[a]", "{a,b}", "#a", "!a", "a\nb", "a\x1b[2J"),
    *("a\u202eb", "a\x85b", "a\udcffb\n", "'$x\n", "Thorax ä", "=x", "%x", "(a)", "", " ", "a\\\nb"),
]


def as_read(words: list[str]) -> list[str]:
    """What Bash gives a program for each word."""
    bash = shutil.which("bash")
    if bash is None or os.name == "nt":
        pytest.skip("no bash")
    command = f"printf '%s\\0' {' '.join(map(shell_word, words))}"
    environment = {"LC_ALL": "C.UTF-8"}
    result = subprocess.run([bash, "-c", command], capture_output=True, check=True, env=environment)
    return result.stdout.decode(errors="surrogateescape").split("\0")[:-1]


def test_a_shell_reads_each_name_as_one_word() -> None:
    read = as_read(NAMES)
    assert [os.path.normpath(each) for each in read] == [os.path.normpath(each) for each in NAMES]
    assert not any(each.startswith(("-", "$", "@", "%", "~")) for each in read)


def test_plain_names_stay_as_they_are() -> None:
    for name in ("run", "runs/a-1.b", "/data/a_b", "../x", "s3://bucket/run"):
        assert shell_word(name) == name


@example(["a\\'\n$x"])
@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), min_size=1))
def test_any_name_is_one_word_on_one_line(names: list[str]) -> None:
    assert all(len(shell_word(name).splitlines()) <= 1 for name in names)
    assert [each.removeprefix("./") for each in as_read(names)] == [name.removeprefix("./") for name in names]
