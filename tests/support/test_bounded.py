"""Files, JSON and values that somebody else made are looked at as far as a limit goes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_explain.support import bounded
from cxr_explain.support.bounded import open_regular, parse_json, quoted, read_bounded

PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner), st.lists(inner).map(tuple), st.dictionaries(st.text(max_size=9), inner)
    ),
    max_leaves=20,
)


@given(PLAIN)
def test_a_value_is_quoted_as_python_writes_it(value: object) -> None:
    whole = repr(value)
    assert quoted(value) == (whole if len(whole) <= 60 else f"{whole[:57]}...") or (
        "'" in whole and '"' in whole  # of a text that is cut, the quotation marks go by what is shown
    )


def test_values_without_end_are_quoted_at_once() -> None:
    laughs: list = []
    for _ in range(40):
        laughs = [laughs] * 10
    circle: list = []
    circle.append(circle)
    began = time.process_time()
    for value in (laughs, circle, [[]] * 10**6, "a" * 10**7, 10**100_000, {"a": circle}):
        assert len(quoted(value)) <= 60
    assert time.process_time() - began < 0.5


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_bounded(path, 4)
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "b", 4)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no file whose size is not known beforehand")
def test_a_file_whose_size_is_not_known_is_read_up_to_its_limit() -> None:
    assert os.stat("/proc/self/maps").st_size == 0
    assert len(read_bounded("/proc/self/maps", 2**24)) > 1000
    with pytest.raises(OSError, match="more than 1,000 bytes"):
        read_bounded("/proc/self/maps", 1000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(OSError, match="a folder, or no regular file"), open_regular(path):
            pass
    assert not before or len(os.listdir("/proc/self/fd")) == before


@given(PLAIN.filter(lambda value: "b'" not in ascii(value) and 'b"' not in ascii(value)))
def test_json_is_read_as_python_reads_it(value: object) -> None:
    text = json.dumps(value)
    assert ascii(parse_json(text)) == ascii(json.loads(text))
    assert ascii(parse_json(text.encode())) == ascii(json.loads(text))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("9" * 5000, "Exceeds the limit"),
        ("[" + "{}," * 400_000 + "0]", "more values than there is memory for"),
        ("[" + "0," * 9_000_000 + "0]", "JSON of more than 16,777,216 bytes"),
    ],
    ids=["lists", "objects", "digits", "values", "bytes"],
)
def test_json_that_fills_the_memory_is_a_value_error(
    monkeypatch: pytest.MonkeyPatch, text: str, match: str
) -> None:
    monkeypatch.setattr(bounded, "_SPARE_MEMORY", 2**25)
    for given_as in (text, text.encode()):
        with pytest.raises(ValueError, match=match):
            parse_json(given_as)
