"""Phantoms as DICOM: Digital X-Ray Image Storage - For Presentation (PS3.3 A.26), in either polarity."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

from cxr_explain._version import __version__
from cxr_explain.options import check_option
from cxr_explain.phantom.patient import AgeBand
from cxr_explain.phantom.render import Phantom
from cxr_explain.radiograph import PHANTOM_DATE, PHANTOM_MAKER, PHANTOM_PATIENT

Photometric = Literal["MONOCHROME1", "MONOCHROME2"]

_TIME = "120000"  # as fixed as the date: the same phantom gives the same bytes
_AGES = {AgeBand.YOUNG: "028Y", AgeBand.MIDDLE: "052Y", AgeBand.OLD: "074Y"}
_CHEST = ("43799004", "SCT", "Chest")
_VIEWS = {"PA": ("272479007", "SCT", "postero-anterior"), "AP": ("399348003", "SCT", "antero-posterior")}
_SHAPES = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}


def to_dicom(phantom: Phantom, photometric: Photometric = "MONOCHROME2") -> bytes:
    """The phantom as a DICOM file; every name in it says that it is a phantom.

    Args:
        phantom: what `render` gave.
        photometric: how the image is stored; both read back to the same picture.

    Returns:
        The bytes of the file, Explicit VR Little Endian; the same phantom gives the same bytes.

    Raises:
        OptionError: another photometric interpretation.

    >>> from cxr_explain.phantom import render, sample_patient
    >>> to_dicom(render(sample_patient(1), size=64))[128:132]
    b'DICM'
    """
    check_option("photometric", photometric, Photometric)
    instance = _uid(phantom, "instance", photometric)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid.UID("2.25.118329744390129875124905")
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = instance
    _add_patient_and_study(dataset, phantom)
    _add_series_and_equipment(dataset, phantom)
    _add_projection(dataset, phantom)
    _add_pixels(dataset, phantom, photometric)
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _uid(phantom: Phantom, *what: str) -> uid.UID:
    return uid.generate_uid(
        prefix="2.25.", entropy_srcs=["cxr-explain", phantom.id, str(phantom.bits), *what]
    )


def _add_patient_and_study(dataset: Dataset, phantom: Phantom) -> None:
    patient = phantom.patient
    dataset.PatientName = f"{PHANTOM_PATIENT}^CHEST"
    dataset.PatientID = f"{PHANTOM_PATIENT}-{patient.seed:06d}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = str(patient.sex)
    dataset.PatientAge = _AGES[patient.age]
    dataset.PatientComments = "Computed phantom, not a patient."
    dataset.StudyInstanceUID = _uid(phantom, "study")
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = dataset.AcquisitionDate = PHANTOM_DATE
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = dataset.AcquisitionTime = _TIME
    dataset.StudyID = "1"
    dataset.StudyDescription = "Chest phantom"
    dataset.AccessionNumber = dataset.ReferringPhysicianName = ""


def _add_series_and_equipment(dataset: Dataset, phantom: Phantom) -> None:
    dataset.Modality = "DX"
    dataset.SeriesInstanceUID = _uid(phantom, "series")
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.Manufacturer, dataset.ManufacturerModelName = PHANTOM_MAKER  # what the reader knows it by
    dataset.SoftwareVersions = __version__
    dataset.AcquisitionContextSequence = []


def _add_projection(dataset: Dataset, phantom: Phantom) -> None:
    projection = str(phantom.patient.projection)
    dataset.BodyPartExamined = "CHEST"
    dataset.AnatomicRegionSequence = [_code(*_CHEST)]
    dataset.ViewPosition = projection
    dataset.ViewCodeSequence = [_code(*_VIEWS[projection])]
    dataset.ImageLaterality = "U"
    dataset.PatientOrientation = ["L", "F"]
    dataset.DetectorType = "SCINTILLATOR"
    dataset.PositionerType = "NONE"
    spacing = f"{phantom.pixel_spacing:.6f}"
    dataset.ImagerPixelSpacing = [spacing, spacing]


def _add_pixels(dataset: Dataset, phantom: Phantom, photometric: Photometric) -> None:
    stored = phantom.monochrome1() if photometric == "MONOCHROME1" else phantom.pixels
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.DerivationDescription = "Computed from a model of a chest"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = photometric
    dataset.PresentationLUTShape = _SHAPES[photometric]
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, phantom.bits, phantom.bits - 1
    dataset.PixelRepresentation = 0
    dataset.PixelIntensityRelationship = "LOG"
    dataset.PixelIntensityRelationshipSign = -1 if photometric == "MONOCHROME2" else 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    dataset.WindowCenter, dataset.WindowWidth = str(2 ** (phantom.bits - 1)), str(2**phantom.bits)
    dataset.LossyImageCompression = "00"
    dataset.BurnedInAnnotation = "NO"
    dataset.PixelData = np.ascontiguousarray(stored, "<u2").tobytes()
    dataset["PixelData"].VR = "OW"


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item
