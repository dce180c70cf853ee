"""The Basic Application Level Confidentiality Profile (PS3.15 Annex E), element by element.

What happens to an attribute is what the table of dicom-anonymizer says, which is PS3.15 table E.1-1. Here it
is carried out at every depth, and by pseudonyms that a key gives. What the table does not list stays where it
is a number or a text of which every value is known (`terms`); everything else goes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from types import MappingProxyType
from typing import Final

from pydicom import Dataset, config
from pydicom.datadict import dictionary_has_tag, dictionary_keyword, dictionary_VM, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID

from cxr_explain.dicom.pseudonyms import Pseudonyms
from cxr_explain.dicom.terms import known_code, known_values
from cxr_explain.errors import CxrExplainError
from cxr_explain.loaders.metered import check_meter
from cxr_explain.support.extras import require

EXTRA: Final = "dicom"
TABLE: Final = "dicomfields_2026c"
PATIENT_CHARACTERISTICS: Final = (
    *("PatientSex", "PatientAge", "PatientSize", "PatientWeight", "PatientSexNeutered"),
    *("SmokingStatus", "PregnancyStatus"),
)
"""What the Retain Patient Characteristics Option keeps (PS3.15 E.3.4), as far as it is no free text."""

_MOVED: Final = frozenset(
    f"{what}{part}" for what in ("Study", "Series", "Acquisition", "Content") for part in ("Date", "Time")
) | {"AcquisitionDateTime"}
"""Dates of the examination. What a device or a whole archive has in common, such as a day of calibration or
of export, is not moved but goes: it would tell by how many days patients' dates are moved."""

_CODED: Final = ("CodeValue", "LongCodeValue", "URNCodeValue", "CodingSchemeDesignator")
_DEEPEST: Final = 8
_ACQUISITION_CONTEXT: Final = 0x00400555  # X/Z: type 2 in DX (PS3.3 C.7.6.14)
_LAST_COMMAND_GROUP: Final = 0x0006
_PIXELS: Final = ("PixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths")
_WIDTHS: Final = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "AT": 4, "UV": 8, "SV": 8}
_DECIMAL: Final = re.compile(r"[-+]?[0-9]*[.,]?[0-9]+([eE][-+]?[0-9]{1,3})?|[-+]?[0-9]+[.,]")
_LONGEST_DECIMAL: Final = 32
_TEXTS: Final = ("DS", "IS", "AS", "CS", "LO")
_LONGEST_TEXT: Final = 2**16  # bytes of one attribute
_DATE: Final = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_TIME: Final = re.compile(r"([01]\d|2[0-3])([0-5]\d(([0-5]\d|60)(\.\d{1,6})?)?)?")
_AGE: Final = re.compile(r"\d{3}[DWMY]")


@dataclass(frozen=True)
class Cleaning:
    """How a header is cleaned.

    Args:
        pseudonyms: what the key gives.
        identity: what tells the patient from others, as the header has it.
        retained: keywords of patient characteristics that stay.
    """

    pseudonyms: Pseudonyms
    identity: bytes
    retained: tuple[str, ...]

    def clean(self, dataset: Dataset, depth: int = 0) -> None:
        """Change a data set in place, and the items in it.

        Args:
            dataset: the header, or an item.
            depth: within how many items it lies.
        """
        for tag in list(dataset.keys()):
            try:
                kept = self._kept(dataset, tag, depth)
            except (MemoryError, CxrExplainError):
                raise
            except Exception:  # what cannot be read cannot be known to be harmless
                check_meter()
                kept = None
            if kept is None:
                del dataset[tag]
            elif isinstance(kept, DataElement):
                dataset[tag] = kept

    def _kept(self, dataset: Dataset, tag: BaseTag, depth: int) -> DataElement | RawDataElement | None:
        """What stays of an element: itself, another, or nothing."""
        if tag.group <= _LAST_COMMAND_GROUP or not dictionary_has_tag(tag):  # private ones are not in it
            return None
        keyword, vr = dictionary_keyword(tag), dictionary_VR(tag)
        action = actions().get(tag)
        if vr == "SQ":
            return self._sequence(dataset, tag, action, depth)
        element = dataset.get_item(tag)
        if element is None:
            return None
        if keyword in ("PatientID", "PatientName") and not depth:
            return DataElement(tag, vr, self.pseudonyms.patient(self.identity))
        if keyword in _MOVED:
            return DataElement(tag, vr, self._moved(vr, values_of(element)))
        if vr == "UI" and action in (None, "replace_UID", "replace"):
            return DataElement(tag, vr, [self._uid(value) for value in values_of(element) if value] or "")
        if action is not None and keyword not in self.retained:
            return _by_the_table(tag, vr, action)
        return _checked(dataset, tag, keyword, vr, depth)

    def _sequence(self, dataset: Dataset, tag: BaseTag, action: str | None, depth: int) -> DataElement | None:
        """The items that stay; what the standard wants to be there stays without any."""
        if action == "empty" or tag == _ACQUISITION_CONTEXT:
            return DataElement(tag, "SQ", Sequence())
        if action not in (None, "delete_or_empty_or_replace_UID") or depth >= _DEEPEST:
            return None
        items = dataset[tag].value
        if not items:
            return DataElement(tag, "SQ", Sequence())
        kept = [item for item in items if self._cleaned(item, depth + 1)]
        return DataElement(tag, "SQ", Sequence(kept)) if kept else None

    def _cleaned(self, item: Dataset, depth: int) -> bool:
        """Clean an item; whether anything is left of it."""
        coded = any(keyword in item for keyword in _CODED)
        code = known_code(*(_first(item, each) for each in (*_CODED[::3], "CodeMeaning"))) if coded else None
        self.clean(item, depth)
        if code is not None:
            item.update(code)
        return len(item) > 0 and not (coded and code is None)

    def _uid(self, old: str) -> str:
        """The standard's own identifiers stay; every other one is replaced."""
        return old if is_standard(old) else self.pseudonyms.uid(old)

    def _moved(self, vr: str, values: list[str]) -> str:
        """A date moved back, a time of day as it is; empty where it is neither."""
        if len(values) != 1:
            return ""
        if vr == "TM":
            return values[0] if _TIME.fullmatch(values[0]) else ""
        day, time = (values[0], "") if vr == "DA" else (values[0][:8], re.split("[-+]", values[0][8:])[0])
        found = _DATE.fullmatch(day)
        if not found or (time and not _TIME.fullmatch(time)):
            return ""
        year, month, number = map(int, found.groups())
        try:
            moved = date(year, month, number) - timedelta(self.pseudonyms.days(self.identity))
        except (ValueError, OverflowError):
            return ""
        return f"{moved:%Y%m%d}".rjust(8, "0") + time


def is_standard(uid: str) -> bool:
    """Whether a unique identifier is one that PS3.6 Annex A registers, and so says nothing of anybody.

    >>> is_standard("1.2.840.10008.1.2.1"), is_standard("1.2.3")
    (True, False)
    """
    return bool(UID(uid, config.IGNORE).type)


@cache
def actions() -> Mapping[int, str]:
    """What the table says of each tag, by the names that dicom-anonymizer has for it.

    Its curves and overlays are groups; here all of 50xx and 60xx goes, as no tag in them is in the dictionary
    but as a repeating one.

    Raises:
        MissingExtraError: dicom-anonymizer is not installed.
    """
    library = require("dicomanonymizer.simpledicomanonymizer", EXTRA)
    table: dict[tuple[int, ...], Callable[..., None]] = library.initialize_actions(TABLE)
    return MappingProxyType(
        {tag[0] << 16 | tag[1]: action.__name__ for tag, action in table.items() if len(tag) == 2}
    )


def values_of(element: DataElement | RawDataElement | None) -> list[str]:
    """The values of an element as texts, of which only plain ones are of use here."""
    value = None if element is None else element.value
    if value is None:
        return []
    if isinstance(value, bytes):
        pieces = value[: _LONGEST_TEXT + 1].decode("latin-1").split("\\")
    else:
        pieces = [str(v) for v in value] if isinstance(value, MultiValue | list | tuple) else [str(value)]
    return [piece.strip(" \0") for piece in pieces]


def _by_the_table(tag: BaseTag, vr: str, action: str) -> DataElement | None:
    """Nothing, an empty value or a dummy, as dicom-anonymizer has it.

    X/D and X/Z/D are X, as what they mean is optional (type 3) in the objects that hold radiographs; so is D
    where a value is no text.
    """
    if action in ("empty", "delete_or_empty", "empty_or_replace"):
        return DataElement(tag, vr, None)
    if action != "replace":
        return None
    element = DataElement(tag, vr, None)
    require("dicomanonymizer.simpledicomanonymizer", EXTRA).replace_element(element)
    return element


def _checked(
    dataset: Dataset, tag: BaseTag, keyword: str, vr: str, depth: int
) -> DataElement | RawDataElement | None:
    """What the table does not list, where every value that it may have is harmless."""
    element = dataset.get_item(tag)
    if element is None or element.VR not in (None, "UN", *vr.split(" or ")):
        return None
    if keyword in _PIXELS:
        return None if depth else element
    if keyword == "LUTData":
        return element
    if vr in _TEXTS and isinstance(element.value, bytes) and len(element.value) > _LONGEST_TEXT:
        return None
    if vr in ("DS", "IS"):
        fit = all(len(v) <= _LONGEST_DECIMAL and _DECIMAL.fullmatch(v) for v in values_of(element) if v)
        return element if fit else None
    if vr == "AS":
        values = values_of(element)
        return DataElement(tag, vr, values[0] if len(values) == 1 and _AGE.fullmatch(values[0]) else "")
    if vr in ("CS", "LO"):
        known = known_values(keyword, values_of(element))
        return None if known is None else DataElement(tag, vr, known or "")
    return element if _is_number(element, keyword, vr) else None


def _is_number(element: DataElement | RawDataElement, keyword: str, vr: str) -> bool:
    """Whether an element holds binary numbers, and no more of them than its attribute has."""
    width = _WIDTHS.get(vr.split(" or ")[0])
    if width is None or vr.endswith("OW"):
        return False
    most = dictionary_VM(keyword).split("-")[-1]
    if isinstance(element.value, bytes):
        count, rest = divmod(len(element.value), width)
        if rest:
            return False
    else:
        count = len(values_of(element))
    return not most.isdecimal() or count <= int(most)


def _first(item: Dataset, keyword: str) -> str:
    return (values_of(item.get_item(keyword)) or [""])[0]
