"""JSON read strictly: the types that were written, finite, each once; and a digest of what it says."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr_explain.support.strict_json import digest_of, from_plain, is_as_written, read_json, with_digest


@dataclass(frozen=True)
class Inner:
    side: int
    fit: Literal["crop", "pad"] = "crop"


@dataclass(frozen=True)
class Outer:
    name: str
    share: float | None
    pair: tuple[int, int]
    texts: tuple[str, ...]
    inner: Inner
    sure: bool = False
    rule: Foreign = "none"  # type: ignore[name-defined]  # noqa: F821 - a type without JSON


GOOD: dict[str, Any] = {
    "name": "a", "share": 0.5, "pair": [1, 2], "texts": ["x"], "inner": {"side": 3}, "rule": "mine",
}  # fmt: skip


def test_what_was_written_comes_back() -> None:
    found = from_plain(Outer, GOOD, Foreign=str)
    assert found == Outer("a", 0.5, (1, 2), ("x",), Inner(3), rule="mine")
    assert from_plain(Outer, json.loads(json.dumps(asdict(found))), Foreign=str) == found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 3}, "name is an int"),
        ({"share": "0.5"}, "share is a str"),
        ({"share": True}, "share is a bool"),
        ({"share": 10**400}, "share is an int beyond 64 bits"),
        ({"pair": [1]}, "pair is a list with an int"),
        ({"pair": [1, 2, 3]}, "pair is a list with an int"),
        ({"pair": [1, True]}, "pair is a list"),
        ({"pair": [1, 2**63]}, "pair is a list"),
        ({"pair": [1, 1.0]}, "pair is a list"),
        ({"pair": None}, "pair is null"),
        ({"texts": "text"}, "texts is a str"),
        ({"texts": {}}, "texts is an object"),
        ({"inner": []}, "an empty list in place of a Inner"),
        ({"inner": {"side": 3, "fit": "stretch"}}, "fit is a str"),
        ({"inner": {"side": 3, "x\n": 1}}, r"a Inner with an unknown 'x\\n'"),
        ({"inner": {}}, "a Inner with no side"),
        ({"sure": 1}, "sure is an int"),
    ],
)
def test_other_types_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        from_plain(Outer, GOOD | change, Foreign=str)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "NaN", "[Infinity]", "[-Infinity]", "1e999", '{"a": 1, "a": 1}', "[" * 100_000,
        '{"a": {"b": 1, "b": 2}}', b"\xff", "1" * 5000, b"\xff\xfe[",
    ],
)  # fmt: skip
def test_what_is_no_json_of_ours_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whatever Python says of it
        read_json(text)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text().filter(lambda name: name != "sha256"), PLAIN, max_size=4), PLAIN, st.data())
def test_a_digest_is_of_all_that_is_said(document: dict[str, Any], other: Any, data: st.DataObject) -> None:
    written = read_json(json.dumps(with_digest(document), indent=2))
    assert is_as_written(written)
    assert written == document | {"sha256": digest_of(document)}
    if document:
        name = data.draw(st.sampled_from(sorted(document)))
        changed = written | {name: other}
        assert is_as_written(changed) == (json.dumps(other) == json.dumps(document[name]))


@pytest.mark.parametrize("said", [{}, {"sha256": None}, {"a": 1, "sha256": 5}, {"a": float("nan")}])
def test_a_document_without_its_digest_is_not_as_written(said: dict[str, Any]) -> None:
    assert not is_as_written(said)
