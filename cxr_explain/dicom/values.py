"""Which values the standard allows an attribute to have: by value representation, number and meaning."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

from pydicom.datadict import dictionary_VM, dictionary_VR

TERMS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "PatientSex": frozenset({"M", "F", "O"}),
        "QualityControlSubject": frozenset({"YES", "NO"}),
        "PatientIdentityRemoved": frozenset({"YES", "NO"}),
        "LongitudinalTemporalInformationModified": frozenset({"UNMODIFIED", "MODIFIED", "REMOVED"}),
        "SmokingStatus": frozenset({"YES", "NO", "UNKNOWN"}),
        "PregnancyStatus": frozenset({"1", "2", "3", "4"}),
        "TypeOfPatientID": frozenset({"TEXT", "RFID", "BARCODE"}),
        "UniversalEntityIDType": frozenset({"DNS", "EUI64", "ISO", "URI", "UUID", "X400", "X500"}),
        "Laterality": frozenset({"R", "L"}),
        "ImageLaterality": frozenset({"R", "L", "U", "B"}),
        "BurnedInAnnotation": frozenset({"YES", "NO"}),
        "LossyImageCompression": frozenset({"00", "01"}),
    }
)
"""Enumerated values (PS3.3, the module of each attribute)."""

_LONGEST: Final = {"CS": 16, "SH": 16, "LO": 64, "UI": 64, "DS": 16, "IS": 12, "ST": 1024, "LT": 10240}
"""Characters that a value may have at most (PS3.5 table 6.2-1)."""
NOT_IN_THE_SET: Final = "has bytes that its SpecificCharacterSet has no letters for"
"""What is wrong with a text that was written in another set of single bytes (PS3.5 6.1.2.1)."""
_FORMS: Final = {
    "AS": ("an age such as 042Y", re.compile(r"\d{3}[DWMY]")),
    "CS": ("a code string", re.compile(r"[A-Z0-9 _]+")),
    "DA": ("a date such as 20240131", re.compile(r"[12]\d{7}")),
    "DS": ("a decimal number", re.compile(r" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *")),
    "IS": ("a whole number", re.compile(r" *[+-]?\d+ *")),
    "TM": (
        "a time such as 235959",
        re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?"),
    ),
    "UI": (
        "a unique identifier (PS3.5 9.1)",
        re.compile(r"(2\.(0|[1-9]\d*)|[01]\.([0-9]|[1-3]\d))(\.(0|[1-9]\d*))*"),
    ),
    "US": ("a number of 16 bits", re.compile(r"\d{1,5}")),
}
_CONTROLS: Final = frozenset(map(chr, (*range(0x20), 0x7F)))
_CONTROLS_BEYOND_ASCII: Final = frozenset(map(chr, range(0x80, 0xA0)))
_OF_LONG_TEXTS: Final = frozenset("\n\f\r")
_UNDECODABLE: Final = "\N{REPLACEMENT CHARACTER}"
_SEVERAL: Final = frozenset({"ST", "LT", "UT"})
"""Texts in which a backslash is a letter (PS3.5 6.2), and lines may end."""
_DIRECTIONS: Final = re.compile(r"(?=.{1,3}$)(?!.*(.).*\1)(?!.*(L.*R|R.*L|A.*P|P.*A|H.*F|F.*H))[LRAPHF]+")
_OFFSET: Final = re.compile(r"(?!-0000)(\+(0\d|1[0-3])[0-5]\d|\+1400|-(0\d|1[01])[0-5]\d|-1200)")
_COMPONENT_GROUPS, _COMPONENTS, _LONGEST_GROUP = 3, 5, 64


def flaw(keyword: str, values: Sequence[str]) -> str | None:
    """Why the standard does not allow an attribute these values; None where it does.

    Never says what the values are: they may be a patient's.

    Args:
        keyword: the attribute, by its keyword in PS3.6.
        values: its values as texts, of which there is at least one.

    >>> flaw("PatientSex", ["M"]) is None, flaw("PatientSex", ["W"])
    (True, 'is none of F, M, O')
    >>> flaw("StudyDate", ["20230230"]), flaw("ImagerPixelSpacing", ["0.2"])
    ('is not a date such as 20240131', 'has 1 value where 2 belong')
    """
    if why := _number_flaw(keyword, len(values)):
        return why
    if not any(values):
        return "has only empty values"
    return next(filter(None, (_value_flaw(keyword, value) for value in values)), None)


def _number_flaw(keyword: str, count: int) -> str | None:
    least, _, most = dictionary_VM(keyword).partition("-")
    if count >= int(least) and (count == int(least) if not most else most == "n" or count <= int(most)):
        return None
    due = least if not most else f"{least} to {most}" if most != "n" else f"{least} or more"
    return f"has {count} {'value' if count == 1 else 'values'} where {due} belong{'s' * (due == '1')}"


def _value_flaw(keyword: str, value: str) -> str | None:
    vr = dictionary_VR(keyword)
    if _UNDECODABLE in value:
        return "cannot be decoded by the file's SpecificCharacterSet"
    if _CONTROLS.intersection(value) - (_OF_LONG_TEXTS if vr in _SEVERAL else frozenset()):
        return "has control characters"
    if _CONTROLS_BEYOND_ASCII.intersection(value):
        return NOT_IN_THE_SET
    if vr == "PN":
        return _name_flaw(value)
    if "\\" in value and vr not in _SEVERAL:
        return "has a backslash within a value"
    if len(value) > _LONGEST.get(vr, len(value)):
        return f"has more than {_LONGEST[vr]} characters"
    form = _FORMS.get(vr)
    if form is not None and not form[1].fullmatch(value):
        return f"is not {form[0]}"
    if vr == "DA" and not _is_date(value):
        return "is not a date such as 20240131"
    if keyword in TERMS and value not in TERMS[keyword]:
        return f"is none of {', '.join(sorted(TERMS[keyword]))}"
    rule = _RULES.get(keyword)
    return f"is not {rule[0]}" if rule is not None and not rule[1](value) else None


def _name_flaw(value: str) -> str | None:
    """PS3.5 6.2.1: up to three groups of up to 64 characters and five components."""
    groups = value.split("=")
    if "\\" in value:
        return "has a backslash within a value"
    if len(groups) > _COMPONENT_GROUPS or any(group.count("^") >= _COMPONENTS for group in groups):
        return f"has more than {_COMPONENT_GROUPS} groups or {_COMPONENTS} components"
    return (
        f"has more than {_LONGEST_GROUP} characters"
        if any(len(group) > _LONGEST_GROUP for group in groups)
        else None
    )


def _is_date(value: str) -> bool:
    try:
        datetime.strptime(value, "%Y%m%d")
    except ValueError:
        return False
    return True


def _between(least: float, most: float) -> Callable[[str], bool]:
    return lambda value: math.isfinite(float(value)) and least < float(value) <= most


_ONE_OR_MORE: Final = ("a number from 1 on", _between(0, math.inf))
_LENGTH: Final = ("a length above 0", _between(0, math.inf))
_RULES: Final[dict[str, tuple[str, Callable[[str], bool]]]] = {
    **dict.fromkeys(("Rows", "Columns"), ("a number from 1 to 65535", _between(0, 65535))),
    **dict.fromkeys(("NumberOfFrames", "PixelAspectRatio"), _ONE_OR_MORE),
    **dict.fromkeys(("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"), _LENGTH),
    "LossyImageCompressionRatio": ("a ratio above 0", _between(0, math.inf)),
    "PatientOrientation": (
        "directions of rows and columns (PS3.3 C.7.6.1.1.1)",
        lambda value: bool(_DIRECTIONS.fullmatch(value)),
    ),
    "TimezoneOffsetFromUTC": ("an offset such as +0100", lambda value: bool(_OFFSET.fullmatch(value))),
}
"""What a value of one attribute means, where the value representation allows more."""
