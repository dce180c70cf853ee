"""Which attributes of a source its objects keep, and that each value is one that the standard allows.

Patient, study, frame of reference and orientation come from the source as they are. A value that the standard
does not allow would make every object invalid: what identifies the patient or the study is then refused, so
that no object has another identity than its source; everything else is left out, and named.
"""

from __future__ import annotations

from pydicom import Dataset

from cxr_explain.errors import DicomObjectError

PATIENT_AND_STUDY = (
    *("SpecificCharacterSet", "TimezoneOffsetFromUTC"),
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientComments"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
    *("StudyDescription", "PatientAge"),
)
"""What every object has as the source has it: the modules Patient (PS3.3 C.7.1.1), General Study (C.7.2.1)
and Patient Study (C.7.2.2), and what their texts and times depend on."""

OF_THE_IMAGE = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality"),
    *("SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "ContentDate", "ContentTime"),
    *("BodyPartExamined", "ViewPosition", "Laterality", "ImageLaterality", "PatientOrientation"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator", "AnatomicRegionSequence"),
    *("Rows", "Columns", "NumberOfFrames", "BurnedInAnnotation"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"),
    *("Manufacturer", "ManufacturerModelName", "SoftwareVersions"),
)
"""What some kinds of object take from the source."""

REQUIRED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
"""Type 2 in every object: there, and empty where the source has none."""


def kept_of(header: Dataset) -> tuple[Dataset, list[str]]:
    """What objects keep of a header, and notes on what they do not.

    Args:
        header: the source's data set.

    Raises:
        DicomObjectError: no unique identifier of study, series or instance, or an identity that cannot be
            kept as it is.
    """
    kept, notes = Dataset(), list[str]()
    for keyword in (*PATIENT_AND_STUDY, *OF_THE_IMAGE):
        if keyword in header:
            kept[keyword] = header[keyword]
    for keyword in EMPTY:
        if keyword not in kept:
            setattr(kept, keyword, "")
    for keyword in REQUIRED:
        if not kept.get(keyword):
            raise DicomObjectError(
                f"no {keyword} in the source",
                expected="the unique identifiers that every object refers to",
                remedy="Export the file from the PACS again.",
            )
    return kept, notes
