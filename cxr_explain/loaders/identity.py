"""A name for output files that does not repeat patient data from the header (PS3.15 Annex E)."""

from __future__ import annotations

import re
from typing import Final

import pydicom
from pydicom.datadict import tag_for_keyword

from cxr_explain.loaders.decode_settings import DecodeSettings
from cxr_explain.loaders.file_name import DATES, NUMBERS, FileName
from cxr_explain.loaders.header import element, is_phantom
from cxr_explain.loaders.header_texts import HeaderText, HeaderTooLongError, header_texts
from cxr_explain.loaders.ordinary_names import is_ordinary
from cxr_explain.loaders.spelling import folded
from cxr_explain.pathologies import DATA_SET_PATHOLOGIES, PATHOLOGIES
from cxr_explain.radiograph import PHANTOM_DATE, PHANTOM_PATIENT

_SAFE: Final = frozenset(
    tag_for_keyword(keyword)
    for keyword in (
        *("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "SpecificCharacterSet"),
        *("TimezoneOffsetFromUTC", "CodeValue", "CodingSchemeDesignator", "CodingSchemeVersion"),
        *("LongCodeValue", "ContextIdentifier", "MappingResource", "ContextGroupVersion"),
        *("ImplementationVersionName", "FileMetaInformationVersion"),
    )
)
"""Attributes of text that PS3.15 table E.1-1 does not list: they are about a product or a code."""
_SAFE_GROUPS: Final = frozenset({0x0018, 0x0028})  # for numbers: how an image was taken, and is stored
_WORDS = re.compile(r"[^\W\d_]+")
_FINDINGS: Final = frozenset(
    word for name in (*PATHOLOGIES, *DATA_SET_PATHOLOGIES) for word in _WORDS.findall(folded(name))
)
_OWN_PHANTOM = re.compile(re.escape(PHANTOM_PATIENT) + r"-\d+")


def choose_id(dataset: pydicom.Dataset, settings: DecodeSettings) -> tuple[str, list[str]]:
    """Take the file's stem as the id, unless it repeats patient data; then a part of the digest.

    Both sides are folded before they are compared (`cxr_explain.loaders.spelling`). Every value of the header
    counts, also nested, private and undecoded ones; what it is says how:

    - parts of names from three letters and ideograms from one on anywhere in the stem, shorter ones as words;
    - dates in every usual order, times of six digits, unique identifiers;
    - of other texts words from four letters on and numbers anywhere, shorter ones as words; what numbers a
      patient or a study counts from two letters or three digits on;
    - coded values from four letters on, and numbers from five digits on, as words.

    Words of the stem from four letters on, and numbers from six digits on, are looked for in the header's
    texts, too. Words that radiographs are usually called by do not count in texts, nor do attributes that are
    about a product or a code. What is in doubt counts: a header too long to compare, and a stem like a
    person's name (two words with capitals, that neither radiographs nor findings are called by) where the
    header's name was removed.

    Returns:
        The id, and a warning that does not repeat what was found.
    """
    try:
        repeats = _repeats_header(settings.stem, dataset)
    except HeaderTooLongError:
        return settings.hashed_id, [
            "the header is too long to compare the file's name with it: id taken from the SHA-256 digest"
        ]
    if repeats:
        return settings.hashed_id, [
            "the file's name repeats data of the header: id taken from the SHA-256 digest"
        ]
    if _is_like_a_name(settings.stem) and _names_nobody(dataset):
        return settings.hashed_id, [
            "the file's name may be a person's, and the header has none to compare it with: id taken from "
            "the SHA-256 digest"
        ]
    return settings.safe_id, []


def _is_like_a_name(stem: str) -> bool:
    words = (word for word in _WORDS.findall(stem) if word[0].isupper() and len(word) > 2)
    return sum(not (is_ordinary(folded(word)) or folded(word) in _FINDINGS) for word in words) > 1


def _names_nobody(dataset: pydicom.Dataset) -> bool:
    """Whether the name was removed from a header, or replaced by a word such as "Anonymous"."""
    name = folded(str(element(dataset, "PatientName") or ""))
    return all(map(is_ordinary, _WORDS.findall(name)))


def _repeats_header(stem: str, dataset: pydicom.Dataset) -> bool:
    names = FileName.readings(stem)
    own = is_phantom(dataset)
    for value in header_texts(dataset):
        if isinstance(value, HeaderText) and _is_nobodys(value, phantom=own):
            continue
        if any(name.repeats(value) for name in names):
            return True
    return False


def _is_nobodys(value: HeaderText, *, phantom: bool) -> bool:
    """About a product or a code, or what this package writes for its own phantoms."""
    if value.tag in _SAFE or (value.vr in NUMBERS and value.tag >> 16 in _SAFE_GROUPS):
        return True
    own_date = phantom and value.vr in DATES and value.tag >> 16 == 0x0008 and value.text == PHANTOM_DATE
    return own_date or bool(_OWN_PHANTOM.fullmatch(value.text))
