"""Queries for studies, and whether what a server found is what was asked for.

A server leaves a key that it does not know out of account, and finds more than was asked for (PS3.18 8.3.4):
a query for one patient would then explain everybody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.tag import Tag

from cxr_explain.dicomweb.attributes import Json, texts
from cxr_explain.errors import DicomWebError, OptionError

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_DATE = re.compile(r"[0-9]{8}")


def check_query(query: Mapping[str, str]) -> dict[str, str]:
    """Refuse what a server would leave out of account.

    Args:
        query: what to match, by keyword or tag; attributes within sequences with points between.

    Raises:
        OptionError: what is no attribute, or an empty value, which would match every study.

    >>> check_query({"StudyDate": "20260101-"})
    {'StudyDate': '20260101-'}
    >>> check_query({"Born": "2026"})
    Traceback (most recent call last):
    cxr_explain.errors.OptionError: found the query's 'Born'; expected a keyword such as StudyDate, or a tag.
    """
    for key, value in query.items():
        if not all(part and (tag_for_keyword(part) or _TAG.fullmatch(part)) for part in key.split(".")):
            raise OptionError(f"the query's {key!r}", expected="a keyword such as StudyDate, or a tag")
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise OptionError(
                f"an empty or unprintable value for the query's {key}", expected="what to match"
            )
    return dict(query)


def check_match(query: Mapping[str, str], item: Json) -> None:
    """Refuse a study that a server found, where it says itself that it is another than was asked for.

    Args:
        query: what was asked for.
        item: what the server says of the study.

    Raises:
        DicomWebError: it does not match.

    >>> check_match({"PatientID": "A"}, {"00100020": {"vr": "LO", "Value": ["B"]}})
    Traceback (most recent call last):
    cxr_explain.errors.DicomWebError: found a study of another PatientID than was asked for; expected ...
    """
    for key, asked in query.items():
        keyword = keyword_for_tag(Tag(key)) if _TAG.fullmatch(key) else key
        said = texts(item, keyword) if keyword in _MATCHES else ()
        if said and not any(_MATCHES[keyword](asked.strip(), each.strip()) for each in said):
            raise DicomWebError(
                f"a study of another {keyword} than was asked for",
                expected="one that matches",
                remedy=f"This server seems to leave {keyword} out of account: ask by StudyInstanceUID.",
            )


def _one_of(asked: str, said: str) -> bool:
    return said in re.split(r"[\\,]", asked)


def _wildcards(asked: str, said: str) -> bool:
    if "*" in asked or "?" in asked:
        return True  # how letters match is for the server
    return said.casefold() in re.split(r"[\\,]", asked.casefold())


def _date(asked: str, said: str) -> bool:
    first, dash, last = asked.partition("-")
    if not _DATE.fullmatch(said) or any(each and not _DATE.fullmatch(each) for each in (first, last)):
        return True
    return (first or said) <= said <= (last or said) if dash else said == first


_MATCHES: Mapping[str, Callable[[str, str], bool]] = {
    "StudyInstanceUID": _one_of,
    "PatientID": _wildcards,
    "AccessionNumber": _wildcards,
    "StudyDate": _date,
    "ModalitiesInStudy": _wildcards,
}
