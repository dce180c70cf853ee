"""What studies must have, as a user asks for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from cxr_explain.errors import OptionError, legible

_TAG = re.compile(r"[0-9A-Fa-f]{8}")
EXPECTED_QUERY = "what the studies must have, such as StudyDate=20240101-20240331"
_LONGEST_SHOWN = 40
_DATES = re.compile(r"[0-9]{8}(-([0-9]{8})?)?|-[0-9]{8}")


def query_of(asked: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    """A query by keyword or tag, as PS3.18 8.3.4 and PS3.4 C.2.2.2 have it.

    Args:
        asked: values by keyword, or texts KEYWORD=VALUE.

    Raises:
        OptionError: what has no keyword and value, a keyword twice, or another form of a date, by which
            servers find nothing (PS3.4 C.2.2.2.5.1). No message repeats a value, which may be a patient's.

    >>> query_of(["StudyDate=20240101-20240331", "ModalitiesInStudy = DX"])
    {'StudyDate': '20240101-20240331', 'ModalitiesInStudy': 'DX'}
    """
    from pydicom.datadict import tag_for_keyword

    pairs = list(asked.items()) if isinstance(asked, Mapping) else [_pair(text) for text in asked]
    for keyword, value in pairs:
        if not value or not (_TAG.fullmatch(keyword) or tag_for_keyword(keyword) is not None):
            raise OptionError(f"the query {legible(keyword[:_LONGEST_SHOWN])!r}", expected=EXPECTED_QUERY)
        if _is_date(keyword) and not _DATES.fullmatch(value):
            raise OptionError(
                f"no date for the query's {legible(keyword)}",
                expected="YYYYMMDD, or a range such as 20240101-20240331",
            )
    if len(dict(pairs)) < len(pairs):
        raise OptionError("a keyword twice in a query", expected=EXPECTED_QUERY)
    return dict(pairs)


def _pair(text: str) -> tuple[str, str]:
    keyword, _, value = text.partition("=")
    return keyword.strip(), value.strip()


def _is_date(keyword: str) -> bool:
    from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword

    tag = tag_for_keyword(keyword) or int(keyword, 16)
    return dictionary_has_tag(tag) and dictionary_VR(tag) == "DA"
