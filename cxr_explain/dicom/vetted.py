"""One attribute of a header as objects may have it, and why the standard does not allow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from pydicom import Dataset, Sequence
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue

from cxr_explain.dicom.values import NOT_IN_THE_SET, flaw
from cxr_explain.loaders.header import given, raw_element

UNDECLARED: Final = "has letters beyond ASCII, and the file declares no character set of the standard"
"""What is wrong with a text that only its writer can read (PS3.5 6.1.2.1)."""
LETTERS: Final = frozenset({"PN", "LO", "SH", "ST", "LT", "UC", "UT"})
"""What the character set is for (PS3.5 6.1.2.2)."""
_TO_GB_2312: Final = "\x1b$)A"


@dataclass(frozen=True)
class ItemRule:
    """What an item of a sequence holds.

    Args:
        required: type 1.
        either: groups of attributes of which one is there, and with it what the group names after it.
        optional: what else is kept.
        most: items that there may be.
    """

    required: tuple[str, ...] = ()
    either: tuple[tuple[str, ...], ...] = ()
    optional: tuple[str, ...] = ()
    most: int = 100


_CODE: Final = ItemRule(
    required=("CodeMeaning",),
    either=(
        ("CodeValue", "CodingSchemeDesignator"),
        ("LongCodeValue", "CodingSchemeDesignator"),
        ("URNCodeValue",),
    ),
    optional=("CodingSchemeVersion",),
)
_ONE_CODE: Final = ItemRule(_CODE.required, _CODE.either, _CODE.optional, most=1)
_ISSUER: Final = ItemRule(
    either=(("LocalNamespaceEntityID",), ("UniversalEntityID", "UniversalEntityIDType")), most=1
)
ITEMS: Final[Mapping[str, ItemRule]] = MappingProxyType(
    {
        **dict.fromkeys(
            (
                *("ProcedureCodeSequence", "ReasonForPerformedProcedureCodeSequence"),
                *("AdmittingDiagnosesCodeSequence", "DeidentificationMethodCodeSequence"),
                *("RequestedProcedureCodeSequence", "ScheduledProtocolCodeSequence"),
            ),
            _CODE,
        ),
        **dict.fromkeys(("AnatomicRegionSequence", "ViewCodeSequence"), _ONE_CODE),
        **dict.fromkeys(
            (
                *("IssuerOfAccessionNumberSequence", "IssuerOfAdmissionIDSequence"),
                "AssigningFacilitySequence",
            ),
            _ISSUER,
        ),
        "IssuerOfPatientIDQualifiersSequence": ItemRule(
            either=(
                *(("UniversalEntityID", "UniversalEntityIDType"), ("AssigningFacilitySequence",)),
                ("IdentifierTypeCode",),
            ),
            most=1,
        ),
        "OtherPatientIDsSequence": ItemRule(
            required=("PatientID", "TypeOfPatientID"), optional=("IssuerOfPatientID",)
        ),
        "ReferencedStudySequence": ItemRule(required=("ReferencedSOPClassUID", "ReferencedSOPInstanceUID")),
        "RequestAttributesSequence": ItemRule(
            required=("RequestedProcedureID", "ScheduledProcedureStepID"),
            optional=(
                *("AccessionNumber", "IssuerOfAccessionNumberSequence", "StudyInstanceUID"),
                *("RequestedProcedureDescription", "RequestedProcedureCodeSequence"),
                *("ScheduledProcedureStepDescription", "ScheduledProtocolCodeSequence"),
            ),
        ),
    }
)
"""What is kept of the items of each sequence (PS3.3, tables 8.8-1, 10-15, 10-17, 10-18 and 10-9)."""


def vetted(header: Dataset, keyword: str, *, declared: bool) -> tuple[DataElement | None, str | None]:
    """An attribute as the source has it, and why the standard does not allow it; None where it does.

    Args:
        header: the source's data set, or an item within it.
        keyword: the attribute.
        declared: whether the source declares a character set that letters beyond ASCII belong to.

    Returns:
        No attribute where there is none, where it is empty, and where nothing can be read.

    >>> source = Dataset()
    >>> source.PatientSex = "W"
    >>> vetted(source, "PatientSex", declared=False)[1], vetted(source, "PatientAge", declared=False)
    ('is none of F, M, O', (None, None))
    """
    if not given(header, keyword):
        return None, None
    found = raw_element(header, keyword)
    vr = dictionary_VR(keyword)
    if found is None or vr != found.VR:
        return None, "cannot be read" if found is None else "has another value representation"
    if vr == "SQ":
        return _vetted_items(found.value, keyword, declared=declared)
    value = _without_escapes(found.value) if vr in LETTERS else found.value
    values = texts(value)
    if values in ([], [""]):
        return None, None
    why = flaw(keyword, values)
    if why in (None, NOT_IN_THE_SET) and vr in LETTERS and not declared:
        why = None if all(map(str.isascii, values)) else UNDECLARED
    return DataElement(tag_for_keyword(keyword) or keyword, vr, value), why


def texts(value: Any) -> list[str]:
    """The values of an attribute, as texts.

    >>> texts(None), texts("a"), texts([1, 2])
    ([], ['a'], ['1', '2'])
    """
    if value is None:
        return []
    return [str(each) for each in (value if isinstance(value, MultiValue | list | tuple) else (value,))]


def _without_escapes(value: Any) -> Any:
    """A text without the escape sequences that pydicom leaves in it where the set is ISO 2022 IR 58."""
    values = texts(value)
    if not any(_TO_GB_2312 in each for each in values):
        return value
    return [each.replace(_TO_GB_2312, "") for each in values]


def _vetted_items(found: Sequence, keyword: str, *, declared: bool) -> tuple[DataElement | None, str | None]:
    """All items, each with what is kept of it; none at all where one of them is flawed."""
    rule, kept = ITEMS[keyword], list[Dataset]()
    if len(found) > rule.most:
        return None, f"has more than {rule.most} {'item' if rule.most == 1 else 'items'}"
    for item in found:
        copy, why = _vetted_item(item, rule, declared=declared)
        if why is not None:
            return None, why
        kept.append(copy)
    return (
        (DataElement(tag_for_keyword(keyword) or keyword, "SQ", Sequence(kept)), None)
        if kept
        else (None, None)
    )


def _vetted_item(item: Dataset, rule: ItemRule, *, declared: bool) -> tuple[Dataset, str | None]:
    copy = Dataset()
    for keyword in dict.fromkeys(
        (*rule.required, *(k for group in rule.either for k in group), *rule.optional)
    ):
        element, why = vetted(item, keyword, declared=declared)
        if why is not None:
            return copy, f"has an item whose {keyword} {why}"
        if element is not None:
            copy[keyword] = element
    missing = next((keyword for keyword in rule.required if keyword not in copy), None)
    if missing is not None:
        return copy, f"has an item without {missing}"
    if rule.either and not any(all(k in copy for k in group) for group in rule.either):
        return copy, f"has an item without {' or '.join(group[0] for group in rule.either)}"
    return copy, None
