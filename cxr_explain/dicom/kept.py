"""Which attributes of a source its objects keep, and that each value is one that the standard allows.

Patient, study, frame of reference and orientation come from the source as they are. A value that the standard
does not allow would make every object invalid: what identifies the patient or the study is then refused, so
that no object has another identity than its source; everything else is left out, and named. What no list here
names is never kept, private attributes among them.

Two flaws of an identity are kept, since refusing them would shut out whole archives and nothing can read
another identity out of them: components of a unique identifier that begin with zeros, and letters that the
declared character set has not, such as those beyond ASCII where none is declared; their bytes stay the same.
"""

from __future__ import annotations

import re
from typing import Final

from pydicom import Dataset

from cxr_explain.dicom.character_sets import is_defined
from cxr_explain.dicom.laterality import allows_laterality
from cxr_explain.dicom.values import NOT_IN_THE_SET
from cxr_explain.dicom.vetted import UNDECLARED, texts, vetted
from cxr_explain.errors import DicomObjectError
from cxr_explain.loaders.header import given, raw_element

CLINICAL_TRIAL = (
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName"),
    *("ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID"),
    *("ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription"),
)
"""The modules Clinical Trial Subject (PS3.3 C.7.1.3) and Clinical Trial Study (C.7.2.3)."""

PATIENT_AND_STUDY = (
    *("SpecificCharacterSet", "TimezoneOffsetFromUTC"),
    *("PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence"),
    *("TypeOfPatientID", "PatientBirthDate", "PatientBirthTime", "PatientSex", "QualityControlSubject"),
    *("OtherPatientIDsSequence", "OtherPatientNames", "EthnicGroup", "PatientComments"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    *("IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "ConsultingPhysicianName"),
    *("StudyDescription", "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "RequestingService"),
    *("ReferencedStudySequence", "ProcedureCodeSequence", "ReasonForPerformedProcedureCodeSequence"),
    *("AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence"),
    *("PatientAge", "PatientSize", "PatientWeight", "MedicalAlerts", "Allergies", "SmokingStatus"),
    *("PregnancyStatus", "LastMenstrualDate", "PatientState", "AdditionalPatientHistory", "Occupation"),
    *("AdmissionID", "IssuerOfAdmissionIDSequence", "ServiceEpisodeID", "ServiceEpisodeDescription"),
    *CLINICAL_TRIAL,
)
"""What every object has as the source has it: the modules Patient (PS3.3 C.7.1.1), General Study (C.7.2.1)
and Patient Study (C.7.2.2), those of a clinical trial, and what their texts and times depend on."""

OF_THE_IMAGE = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "SeriesNumber", "InstanceNumber"),
    *("SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "ContentDate", "ContentTime"),
    *("SeriesDescription", "ProtocolName", "RequestAttributesSequence"),
    *("BodyPartExamined", "ViewPosition", "ViewCodeSequence", "AnatomicRegionSequence"),
    *("Laterality", "ImageLaterality", "PatientOrientation"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator"),
    *("Rows", "Columns", "NumberOfFrames", "BurnedInAnnotation"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"),
    *("LongitudinalTemporalInformationModified",),
    *("Manufacturer", "ManufacturerModelName", "SoftwareVersions"),
)
"""What some kinds of object take from the source: the modules General Series (C.7.3.1), General Image
(C.7.6.1), Frame of Reference (C.7.4.1), and of DX and CR what says how the image lies."""

IDENTITY = ("PatientName", "PatientID", "IssuerOfPatientID")
"""Refused rather than left out, as it says whose the object is."""
REQUIRED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
"""Type 2 in every object: there, and empty where the source has none."""

_LEADING_ZEROS: Final = re.compile(r"(?=.{1,64}$)\d+(\.\d+)+")
_REMEDY: Final = "Correct it in the PACS and export the file again, or de-identify it."


def kept_of(header: Dataset) -> tuple[Dataset, list[str]]:
    """What objects keep of a header, and notes on what they do not.

    Args:
        header: the source's data set.

    Raises:
        DicomObjectError: no unique identifier of study, series or instance, or an identity that cannot be
            kept as it is.

    >>> source = Dataset()
    >>> for keyword in REQUIRED:
    ...     setattr(source, keyword, "2.25.1")
    >>> source.PatientID, source.PatientSex = "0815", "W"
    >>> kept, notes = kept_of(source)
    >>> kept.PatientID, kept.PatientSex, notes
    ('0815', '', ['PatientSex is none of F, M, O: left empty'])
    """
    kept, notes = Dataset(), list[str]()
    declared = _keep_character_set(header, kept, notes)
    unknown = not declared and bool(notes)
    for keyword in (*PATIENT_AND_STUDY, *OF_THE_IMAGE):
        if keyword == "SpecificCharacterSet":
            continue
        element, why = vetted(header, keyword, declared=declared)
        if element is not None and (
            why is None or _is_tolerated(keyword, element.value, why, unknown=unknown)
        ):
            kept[keyword] = element
        if why is not None:
            notes.append(f"{keyword} {why}: {_consequence(keyword, why, is_kept=keyword in kept)}")
    for keyword in EMPTY:
        if keyword not in kept:
            setattr(kept, keyword, "")
    for keyword in REQUIRED:
        if keyword not in kept:
            raise DicomObjectError(
                f"no {keyword} in the source",
                expected="the unique identifiers that every object refers to",
                remedy="Export the file from the PACS again.",
            )
    _complete_modules(kept, notes)
    return kept, notes


def _keep_character_set(header: Dataset, kept: Dataset, notes: list[str]) -> bool:
    """Keep the character set, and say whether the source declares one (PS3.3 C.12.1.1.2)."""
    if not given(header, "SpecificCharacterSet"):
        return False
    element = raw_element(header, "SpecificCharacterSet")
    terms = [] if element is None else [term.strip() for term in texts(element.value)]
    if not terms or not is_defined(terms):
        notes.append("SpecificCharacterSet is none that the standard defines: left out")
        return False
    if terms in ([""], ["ISO_IR 6"]):  # the default repertoire, which has no name
        return False
    kept.SpecificCharacterSet = terms if len(terms) > 1 else terms[0]
    return True


def _is_tolerated(keyword: str, value: object, why: str, *, unknown: bool) -> bool:
    """Flaws of an identity that nothing can read another identity out of.

    In an unknown character set there is no telling what was read, or how to write it again.
    """
    if keyword in REQUIRED:
        return bool(_LEADING_ZEROS.fullmatch(str(value)))
    return keyword in IDENTITY and why in (UNDECLARED, NOT_IN_THE_SET) and not unknown


def _consequence(keyword: str, why: str, *, is_kept: bool) -> str:
    if is_kept:
        return "kept as it is, since the source is known by it"
    if keyword in (*IDENTITY, *REQUIRED):
        raise DicomObjectError(
            f"a {keyword} that {why}", expected="one that an object may have", remedy=_REMEDY
        )
    return f"left {'empty' if keyword in EMPTY else 'out'}"


def _complete_modules(kept: Dataset, notes: list[str]) -> None:
    """Leave out what the standard allows only beside something else that is not there."""
    trial = [keyword for keyword in CLINICAL_TRIAL if keyword in kept]
    if trial and not (
        "ClinicalTrialSponsorName" in kept
        and "ClinicalTrialProtocolID" in kept
        and ("ClinicalTrialSubjectID" in kept or "ClinicalTrialSubjectReadingID" in kept)
    ):
        for keyword in trial:
            del kept[keyword]
        notes.append("the clinical trial lacks its sponsor, protocol or subject: left out")
    elif trial:
        for keyword in ("ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName"):
            kept.setdefault(keyword, "")
        if "ClinicalTrialTimePointDescription" in kept:
            kept.setdefault("ClinicalTrialTimePointID", "")
    if "Laterality" in kept and not allows_laterality(kept):
        del kept.Laterality
        notes.append("Laterality is given of an unpaired body part, or beside ImageLaterality: left out")
    if kept.get("PatientIdentityRemoved") == "YES" and not (
        "DeidentificationMethod" in kept or "DeidentificationMethodCodeSequence" in kept
    ):
        del kept.PatientIdentityRemoved
        notes.append("PatientIdentityRemoved is without its method: left out")
