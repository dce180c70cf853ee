"""Attributes in a server's JSON (PS3.18 annex F), of which nothing is taken on trust."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.tag import Tag

from cxr_explain.errors import DicomWebError
from cxr_explain.loaders.scope import quiet_decoders

Json = Mapping[str, Any]
"""A data set: attributes by their tags, each of which has a value representation and values."""

_LONGEST_TEXT = 1024
_MOST_VALUES = 100


def tag_of(keyword: str) -> str:
    """The tag of an attribute as JSON has it.

    >>> tag_of("StudyInstanceUID")
    '0020000D'
    """
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(keyword)
    return f"{tag:08X}"


def values(item: Json, keyword: str) -> tuple[Any, ...]:
    """The values of an attribute; none where it is absent or not as annex F has it."""
    attribute = item.get(tag_of(keyword))
    found = attribute.get("Value") if isinstance(attribute, dict) else None
    return tuple(found[:_MOST_VALUES]) if isinstance(found, list) else ()


def texts(item: Json, keyword: str) -> tuple[str, ...]:
    """The values of an attribute as texts; of a person's name the alphabetic part.

    >>> texts({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "COMPUTED^CHEST"}]}}, "PatientName")
    ('COMPUTED^CHEST',)
    """
    found = []
    for value in values(item, keyword):
        plain = value.get("Alphabetic") if isinstance(value, dict) else value
        if isinstance(plain, str | int | float):
            found.append(str(plain)[:_LONGEST_TEXT])
    return tuple(found)


def all_texts(item: Json) -> dict[str, str]:
    """Every attribute of the standard that has plain values, by its keyword."""
    found = {}
    for tag in item:
        keyword = keyword_for_tag(Tag(tag)) if _is_tag(tag) else ""
        if keyword and (said := texts(item, keyword)):
            found[keyword] = "\\".join(said)
    return found


def one_uid(item: Json, keyword: str) -> str:
    """A unique identifier that has to be there; whether it is one, `InstanceAddress` says.

    Raises:
        DicomWebError: it is absent, or there are several.
    """
    found = texts(item, keyword)
    if len(found) != 1:
        raise DicomWebError(f"an answer without {keyword}", expected="one for each result")
    return found[0].strip(" \0")


def header_of(item: Json, keywords: Iterable[str]) -> Dataset:
    """Attributes as a data set, for what judges headers; what cannot be read is left out."""
    header = Dataset()
    with quiet_decoders():
        for keyword in keywords:
            attribute = item.get(tag_of(keyword))
            if isinstance(attribute, dict):
                try:
                    header.update(Dataset.from_json({tag_of(keyword): attribute}))
                except Exception:  # noqa: S112 - pydicom raises whatever it trips over
                    continue
    return header


def _is_tag(text: str) -> bool:
    return len(text) == 8 and all(sign in "0123456789ABCDEFabcdef" for sign in text)
