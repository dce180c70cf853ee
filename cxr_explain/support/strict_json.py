"""JSON that is read strictly: what this package wrote, of the types that it wrote, or a `ValueError`.

Python's own reader takes NaN, keeps the last of two entries of one name, and gives whatever type stands
there. A document may also carry a digest of itself. That shows damage and edits by hand; it is no signature:
whoever means to deceive writes a new one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from cxr_explain.support.bounded import parse_json

T = TypeVar("T")

DIGEST = "sha256"
"""The last entry of a document that carries a digest of itself."""

_LARGEST = 2**63
"""Of a whole number: nothing that this package writes counts so far."""

_DEEP = (ValueError, RecursionError)


def read_json(text: str | bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: what `parse_json` refuses; numbers that are not finite; or an entry twice.

    >>> read_json('{"a": [1, 0.5, null]}')
    {'a': [1, 0.5, None]}
    >>> read_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: the entry 'a' twice
    """
    return parse_json(text, pairs=_each_once, numbers=_finite)


def with_digest(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document and, as its last entry, the SHA-256 of what it says; line breaks and blanks do not count.

    Raises:
        ValueError: a number that is not finite.

    >>> with_digest({"rows": 2})["sha256"][:8]
    '19b98918'
    """
    return {**document, DIGEST: digest_of(document)}


def digest_of(document: Mapping[str, Any]) -> str:
    """Hexadecimal SHA-256 of what a document says.

    Raises:
        ValueError: a number that is not finite.
    """
    plain = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(plain.encode()).hexdigest()


def is_as_written(document: Mapping[str, Any]) -> bool:
    """Whether a document says what it said when `with_digest` made it.

    >>> made = with_digest({"rows": 2})
    >>> is_as_written(made), is_as_written(made | {"rows": 3}), is_as_written({"rows": 2})
    (True, False, False)
    """
    try:
        said = {name: value for name, value in document.items() if name != DIGEST}
        return document.get(DIGEST) == digest_of(said)
    except _DEEP:
        return False


def from_plain(kind: type[T], value: Any, **stand_ins: Any) -> T:
    """A dataclass back from what JSON makes of it: lists become tuples, and every type must fit.

    Args:
        kind: class of the object; fields may be of such classes themselves.
        value: its fields.
        **stand_ins: types that have no JSON, by the names that annotations give them, and what is there in
            their place.

    Raises:
        ValueError: a field that is missing, unknown, or of another type; or what the class itself refuses.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Point:
    ...     at: tuple[float, ...]
    ...     name: str | None = None
    >>> from_plain(Point, {"at": [1, 0.5]})
    Point(at=(1.0, 0.5), name=None)
    >>> from_plain(Point, {"at": [True]})
    Traceback (most recent call last):
    ValueError: at is a list with a bool
    """
    return cast(T, _object(kind, value, tuple(stand_ins.items())))


def _object(kind: Any, value: Any, stand_ins: tuple[tuple[str, Any], ...]) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{_type(value)} in place of a {kind.__name__}")
    hints = _hints(kind, stand_ins)
    unknown = [name for name in value if name not in hints]
    missing = [
        item.name
        for item in fields(kind)
        if item.name not in value and item.default is MISSING and item.default_factory is MISSING
    ]
    if unknown or missing:
        what = f"an unknown {unknown[0][:40]!r}" if unknown else f"no {missing[0]}"
        raise ValueError(f"a {kind.__name__} with {what}")
    return kind(**{name: _field(hints[name], each, name, stand_ins) for name, each in value.items()})


@cache
def _hints(kind: Any, stand_ins: tuple[tuple[str, Any], ...]) -> dict[str, Any]:
    hints = get_type_hints(kind, localns=dict(stand_ins))
    return {item.name: hints[item.name] for item in fields(kind)}


def _field(hint: Any, value: Any, name: str, stand_ins: tuple[tuple[str, Any], ...]) -> Any:
    if is_dataclass(hint):
        return _object(hint, value, stand_ins)
    try:
        return _fitting(hint, value)
    except TypeError:
        raise ValueError(f"{name} is {_type(value)}") from None


def _fitting(hint: Any, value: Any) -> Any:
    """The value as its type has it.

    Raises:
        TypeError: it has another type.
    """
    kind, choices = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(value, dict):
        return _object(hint, value, ())
    if kind in (Union, UnionType):
        return _first_fitting(choices, value)
    if kind is Literal:
        if isinstance(value, str) and value in choices:
            return value
    elif kind is tuple:
        if isinstance(value, list) and (choices[-1] is ... or len(choices) == len(value)):
            each = choices[:1] * len(value) if choices[-1] is ... else choices
            return tuple(map(_fitting, each, value))
    elif hint is float and type(value) in (int, float) and _fits_a_float(value):
        return float(value)
    elif type(value) is hint and (hint is not int or abs(value) < _LARGEST):
        return value
    raise TypeError


def _first_fitting(choices: tuple[Any, ...], value: Any) -> Any:
    for choice in choices:
        try:
            return _fitting(choice, value)
        except TypeError:
            continue
    raise TypeError


def _fits_a_float(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _type(value: Any) -> str:
    """What JSON made of it, in words that quote nothing."""
    if isinstance(value, list) and value:
        return f"a list with {_type(value[0])}" if len({type(each) for each in value}) == 1 else "a list"
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return "an int beyond 64 bits"
    names = {dict: "an object", list: "an empty list", int: "an int", NoneType: "null"}
    return names.get(type(value), f"a {type(value).__name__}")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the entry {name[:40]!r} twice")
        found[name] = value
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]}, which is not finite")
    return number
