"""A name for output files that does not repeat patient data from the header (PS3.15 Annex E)."""

from __future__ import annotations

import re
from typing import Final

import pydicom

from cxr_explain.loaders.decode_settings import DecodeSettings
from cxr_explain.loaders.header import element

_ID_KEYWORDS: Final = (
    *("PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "AdmissionID", "IssuerOfPatientID"),
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "RequestedProcedureID", "ServiceEpisodeID"),
    *(
        "PatientTelephoneNumbers",
        "MilitaryRank",
        "DeviceSerialNumber",
        "FillerOrderNumberImagingServiceRequest",
    ),
    *("PlacerOrderNumberImagingServiceRequest", "ScheduledProcedureStepID", "PerformedProcedureStepID"),
)
_NAME_KEYWORDS: Final = (
    *("PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName", "ResponsiblePerson"),
    *("ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "RequestingPhysician"),
    *("NameOfPhysiciansReadingStudy", "PhysiciansOfRecord", "PersonName"),
)
_MIN_NAME, _MIN_IDEOGRAMS, _MIN_ID = 3, 2, 4
_NOT_WORD = re.compile(r"[\W_]+")


def choose_id(dataset: pydicom.Dataset, settings: DecodeSettings) -> tuple[str, list[str]]:
    """Take the file's stem as the id, unless it repeats patient data; then a part of the digest.

    Returns:
        The id, and a warning that does not repeat what was found.
    """
    if _repeats_header(settings.stem, dataset):
        return settings.hashed_id, [
            "the file's name repeats data of the header: id taken from the SHA-256 digest"
        ]
    return settings.safe_id, []


def _repeats_header(stem: str, dataset: pydicom.Dataset) -> bool:
    packed = _NOT_WORD.sub("", stem.casefold())
    words = [_NOT_WORD.sub("", word) for word in _words(dataset)]
    return any(word and word in packed for word in words)


def _values(dataset: pydicom.Dataset, keyword: str) -> list[str]:
    value = element(dataset, keyword)
    if value is None:
        return []
    several = not isinstance(value, str) and hasattr(value, "__iter__") and not hasattr(value, "components")
    return [str(v).strip().casefold() for v in (value if several else [value])]


def _words(dataset: pydicom.Dataset) -> list[str]:
    """Components of person names, identifiers and the birth date in the orders that people write it."""
    words = []
    for keyword in _NAME_KEYWORDS:
        for value in _values(dataset, keyword):
            parts = (part for part in re.split(r"[\W\d_]+", value) if part)
            words += [p for p in parts if len(p) >= (_MIN_NAME if p.isascii() else _MIN_IDEOGRAMS)]
    for keyword in _ID_KEYWORDS:
        packed = (_NOT_WORD.sub("", value) for value in _values(dataset, keyword))
        words += [value for value in packed if len(value) >= _MIN_ID]
    for value in _values(dataset, "PatientBirthDate"):
        digits = re.sub(r"\D", "", value)
        if len(digits) == 8:
            year, month, day = digits[:4], digits[4:6], digits[6:]
            words += [digits, day + month + year, month + day + year]
    return words
