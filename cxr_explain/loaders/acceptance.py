"""Which DICOM objects are radiographs that this package may explain.

An error or warning quotes an attribute only where its value is one of the standard's defined terms: anything
else may be free text, and free text may carry patient data.
"""

from __future__ import annotations

from typing import Final

import pydicom
from pydicom import uid

from cxr_explain.errors import NotAnImageError, UnsupportedImageError
from cxr_explain.loaders.display_modules import display_warnings
from cxr_explain.loaders.header import element, text

_RADIOGRAPHY: Final = frozenset({"CR", "DX", "RG"})
_UNSPECIFIC: Final = frozenset({"SC", "OT"})
_OTHER_MODALITIES: Final = {
    "CT": "computed tomography",
    "MR": "magnetic resonance",
    "US": "ultrasound",
    "NM": "nuclear medicine",
    "PT": "positron emission tomography",
    "MG": "mammography",
    "XA": "angiography",
    "RF": "fluoroscopy",
    "SEG": "a segmentation",
    "IO": "intra-oral radiography",
    "PX": "panoramic dental radiography",
    "BMD": "bone densitometry",
    "SM": "slide microscopy",
    "XC": "photography",
    "ES": "endoscopy",
    "GM": "microscopy",
    "OP": "ophthalmic photography",
    "RTIMAGE": "a radiotherapy image",
    "RTDOSE": "a radiotherapy dose",
    "SR": "a structured report",
    "PR": "a presentation state",
    "KO": "a selection of key objects",
    "DOC": "a document",
}
_STORAGE: Final = frozenset(
    {
        uid.ComputedRadiographyImageStorage,
        uid.DigitalXRayImageStorageForPresentation,
        uid.SecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        uid.MultiFrameSingleBitSecondaryCaptureImageStorage,
        uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
    }
)
_STRIPPED: Final = (
    "The header is that of an image: the file was cut off before its pixel data, or they were removed."
)
_GREY: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})
_COLOUR: Final = frozenset(
    {"RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_ICT"}
    | {"YBR_RCT", "ARGB", "CMYK", "HSV", "XYB"}
)
_CHEST: Final = (
    "CHEST",
    "THORAX",
    "LUNG",
    "RIB",
    "STERNUM",
    "HEART",
    "CLAVICLE",
    "THORACIC",
    "CTSPINE",
    "TSPINE",
)
_ELSEWHERE: Final = (
    *("SKULL", "HEAD", "NECK", "ELBOW", "EXTREMITY", "ABDOMEN", "PELVIS", "HIP", "KNEE", "ANKLE", "FOOT"),
    *("HAND", "WRIST", "SHOULDER", "ARM", "LEG", "CSPINE", "LSPINE", "SPINE", "JAW", "BREAST", "HUMERUS"),
    *("FEMUR", "TIBIA", "FOREARM", "FINGER", "TOE", "SINUS", "TEETH", "HEEL", "BRAIN", "COCCYX", "SACRUM"),
)


def check_acceptable(dataset: pydicom.Dataset) -> list[str]:
    """Refuse what is no grey radiograph ready for display; return what a reviewer should know.

    FOR PROCESSING images are refused rather than warned about: their grey scale is the detector's own, linear
    in exposure and often inverted, so a score or map made from one looks like a result and is none.

    Raises:
        NotAnImageError: an object without pixels.
        UnsupportedImageError: another modality, colour, floats, or an image for processing.
    """
    _check_has_pixels(dataset)
    warnings = [*_check_modality(dataset), *_check_storage(dataset)]
    _check_intent(dataset)
    _check_photometric(dataset)
    return warnings + _body_part_warnings(dataset) + _annotation_warnings(dataset)


def check_kind(dataset: pydicom.Dataset) -> None:
    """Refuse what a header without pixels, such as a server's answer, shows to be no radiograph for display.

    Raises:
        UnsupportedImageError: another modality or storage class, an image for processing, or colour.

    >>> header = pydicom.Dataset()
    >>> header.Modality = "CT"
    >>> check_kind(header)
    Traceback (most recent call last):
    cxr_explain.errors.UnsupportedImageError: found modality CT (computed tomography); expected a ...
    """
    _check_modality(dataset)
    _check_storage(dataset)
    _check_intent(dataset)
    if element(dataset, "PhotometricInterpretation") is not None:
        _check_photometric(dataset)


def says_radiograph(dataset: pydicom.Dataset) -> bool:
    """Whether the header's modality is that of radiographs, rather than of pictures of any kind."""
    return (text(dataset, "Modality") or "").upper() in _RADIOGRAPHY


def says_chest(dataset: pydicom.Dataset) -> bool:
    """Whether the header names the chest as the body part.

    >>> header = pydicom.Dataset()
    >>> header.BodyPartExamined = "THORAX AP"
    >>> says_chest(header)
    True
    """
    value = (text(dataset, "BodyPartExamined") or "").upper()
    return any(word in value for word in _CHEST)


def body_part_elsewhere(dataset: pydicom.Dataset) -> str | None:
    """The body part that the header names, where it is a known one other than the chest.

    >>> header = pydicom.Dataset()
    >>> header.BodyPartExamined = "LEFT HAND"
    >>> body_part_elsewhere(header)
    'HAND'
    """
    words = (text(dataset, "BodyPartExamined") or "").upper().replace("_", " ").split()
    return None if says_chest(dataset) else next((word for word in _ELSEWHERE if word in words), None)


def _check_has_pixels(dataset: pydicom.Dataset) -> None:
    if "PixelData" in dataset:
        return
    if "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset:
        raise UnsupportedImageError(
            "floating-point pixel data, as of a parametric map", expected="8 or 16-bit grey values"
        )
    if "DirectoryRecordSequence" in dataset:
        raise NotAnImageError(
            "the index of a disc (DICOMDIR)", expected="a CR or DX image", remedy="Give its folder."
        )
    name = _known_storage(dataset)
    raise NotAnImageError(
        f"a DICOM object without pixel data ({name})" if name else "a DICOM object without pixel data",
        expected="a CR or DX image",
        remedy=_STRIPPED if "Rows" in dataset and "BitsAllocated" in dataset else None,
    )


def _check_modality(dataset: pydicom.Dataset) -> list[str]:
    modality = (text(dataset, "Modality") or "").upper()
    if modality in _RADIOGRAPHY:
        return []
    if modality in _UNSPECIFIC:
        return [f"modality {modality}: the header does not say that this is a radiograph"]
    if not modality:
        return ["no modality in the header: it does not say that this is a radiograph"]
    meaning = _OTHER_MODALITIES.get(modality)
    found = f"modality {modality} ({meaning})" if meaning else "another modality than radiography"
    raise UnsupportedImageError(found, expected="a radiograph (CR, DX, RG)")


def _check_storage(dataset: pydicom.Dataset) -> list[str]:
    value = text(dataset, "SOPClassUID")
    if value in _STORAGE:
        return []
    if value == uid.DigitalXRayImageStorageForProcessing:
        raise _for_processing()
    name = _known_storage(dataset)
    if name:
        raise UnsupportedImageError(f"{name}", expected="CR, DX or Secondary Capture Image Storage")
    return ["no known SOP class in the header: it does not say what kind of image this is"]


def _check_intent(dataset: pydicom.Dataset) -> None:
    if (text(dataset, "PresentationIntentType") or "").upper() == "FOR PROCESSING":
        raise _for_processing()


def _for_processing() -> UnsupportedImageError:
    return UnsupportedImageError(
        "an image FOR PROCESSING, whose grey scale is the detector's own",
        expected="the FOR PRESENTATION image",
        remedy="Export the processed image of the same exposure.",
    )


def _check_photometric(dataset: pydicom.Dataset) -> None:
    photometric = (text(dataset, "PhotometricInterpretation") or "").upper()
    samples = element(dataset, "SamplesPerPixel")
    if photometric in _GREY and samples in (None, 1):
        return
    if photometric in _GREY:
        found = "more than one sample per pixel in a MONOCHROME image"
    elif photometric in _COLOUR:
        found = f"a colour image ({photometric})"
    else:
        found = "no known photometric interpretation"
    raise UnsupportedImageError(
        found,
        expected="MONOCHROME1 or MONOCHROME2",
        remedy="Export the image in grey; where it only looks grey, a PNG of it can be read.",
    )


def _body_part_warnings(dataset: pydicom.Dataset) -> list[str]:
    if text(dataset, "BodyPartExamined") is None or says_chest(dataset):
        return []
    known = body_part_elsewhere(dataset)
    named = f"body part {known}" if known else "a body part of another name"
    return [f"{named} in the header: the models know frontal chest radiographs only"]


def _annotation_warnings(dataset: pydicom.Dataset) -> list[str]:
    burned_in = (text(dataset, "BurnedInAnnotation") or "").upper() == "YES"
    named = ["burned-in annotation: the pixels may show patient data"] if burned_in else []
    return named + display_warnings(dataset)


def _known_storage(dataset: pydicom.Dataset) -> str | None:
    """The SOP class by name, where it is one of the standard's."""
    value = text(dataset, "SOPClassUID")
    name = uid.UID(value or "", pydicom.config.IGNORE).name
    return name if name != value else None
