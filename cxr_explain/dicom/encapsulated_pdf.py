"""The record figure as an encapsulated PDF, for systems that file documents (PS3.3 A.45.1)."""

from __future__ import annotations

from highdicom import SOPClass
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from cxr_explain._version import __version__
from cxr_explain.dicom.content import MANUFACTURER, MODEL_NAME, ObjectContent
from cxr_explain.dicom.derivation import LONGEST_TEXT, derivation_of, source_reference
from cxr_explain.dicom.record_figure import record_figure

TITLE = "FM-G-CAM record figure. Research use only - not for diagnosis"
"""What a viewer shows in place of the document."""

_PDF = "application/pdf"


def encapsulated_pdf(content: ObjectContent) -> Dataset:
    """The record figure, light as paper is, with text that can be searched.

    The document is derived from the image, which Source Instance Sequence says in this class alone (PS3.3
    C.24.2). Its title has the code of the reports that hold measurements: PS3.16 CID 7020 has none for a
    figure. Burned In Annotation has to be YES or NO, and NO would say that nobody can be known by it.

    Args:
        content: what the object is made from.

    Raises:
        OutputError: a figure that cannot be drawn; see `cxr_explain.figures.draw_explanation`.
    """
    source = content.source.dataset
    document = record_figure(content, "light").to_bytes("pdf")
    made = SOPClass(
        study_instance_uid=source.StudyInstanceUID,
        sop_class_uid=EncapsulatedPDFStorage,
        modality="DOC",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **content.common("pdf"),
    )
    made.ConversionType = "WSD"
    made.SecondaryCaptureDeviceManufacturer = MANUFACTURER
    made.SecondaryCaptureDeviceManufacturerModelName = MODEL_NAME
    made.SecondaryCaptureDeviceSoftwareVersions = __version__
    made.AcquisitionDateTime = _acquired(source)
    if "ImageLaterality" in source:
        made.ImageLaterality = source.ImageLaterality
    made.BurnedInAnnotation = "YES"
    made.SourceInstanceSequence = [_instance(content)]
    made.DocumentTitle = TITLE
    made.ConceptNameCodeSequence = [CodedConcept.from_code(codes.DCM.ImagingMeasurementReport)]
    made.DerivationDescription = f"{derivation_of(content)[: LONGEST_TEXT - 20]}. Research use only."
    made.MIMETypeOfEncapsulatedDocument = _PDF
    made.EncapsulatedDocument = document + bytes(len(document) % 2)
    made.EncapsulatedDocumentLength = len(document)  # without the padding, as PS3.3 C.24.2 counts
    return made


def _instance(content: ObjectContent) -> Dataset:
    """A reference to the source; that of a document has no frames (PS3.3 table 10-11)."""
    item = source_reference(content)
    item.pop("ReferencedFrameNumber", None)
    return item


def _acquired(source: Dataset) -> str:
    """When the radiograph was taken; empty where its header does not say the day."""
    day = str(source.get("AcquisitionDate") or "")
    return day + str(source.get("AcquisitionTime") or "") if day else ""
