"""Secondary Captures: the record figure, and the overlay at the radiograph's own resolution (PS3.3 A.8.1).

Many systems show nothing else of all objects, so that each capture has in its pixels what its colours mean
and what it may be used for.

- Modality is the source's, DX or CR: in a Secondary Capture it says what "originally acquired the data"
  (PS3.3 C.8.6.1). That it is no acquisition say Image Type, DERIVED and SECONDARY, and the SOP class.
- The pixels are not compressed, in Explicit VR Little Endian. Run lengths save nothing of an overlay (11 of
  12 MB at 2000 x 2000 pixels); JPEG 2000 would make it a quarter (3 MB), and what shows nothing but captures
  may not decode it. An archive that wants them small compresses them itself.
- Orientation, laterality and body part are as the source has them, and empty where it does not say. The
  figure shows the radiograph twice beside text, and has no direction of rows and columns and no spacing.
- Burned In Annotation is YES: text is drawn, and whether what lay below says who it is, nobody has looked.
"""

from __future__ import annotations

import io

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from cxr_explain._version import __version__
from cxr_explain.dicom.burnt_key import with_key
from cxr_explain.dicom.content import MANUFACTURER, MODEL_NAME, ObjectContent
from cxr_explain.dicom.derivation import add_body_part, add_derivation, aspect_ratio
from cxr_explain.dicom.record_figure import record_figure

_OF_THE_IMAGE = (
    *("ImageLaterality", "AnatomicRegionSequence"),
    *("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
_NO_MODALITY = "OT"
_PLACEHOLDER = ("L", "F")


def figure_capture(content: ObjectContent) -> Dataset:
    """The record figure, dark as a viewer is.

    Args:
        content: what the object is made from.

    Raises:
        OutputError: a figure that cannot be drawn; see `cxr_explain.figures.draw_explanation`.
    """
    figure = record_figure(content, "dark")
    with Image.open(io.BytesIO(figure.to_bytes("png"))) as image:
        made = _capture(content, "figure", np.asarray(image.convert("RGB")))
    made.PatientOrientation = ""
    add_derivation(made, content, "The radiograph beside its overlay, with predictions", in_place=False)
    return made


def overlay_capture(content: ObjectContent) -> Dataset:
    """The fused map over the radiograph, pixel for pixel, with its key on the lower or upper edge.

    Args:
        content: what the object is made from.

    Raises:
        OptionError: a colour that is none.
    """
    source = content.source.dataset
    overlay = content.explanation.overlay(radiograph=content.radiograph, colours=content.settings.colours)
    burnt = with_key(overlay, content)
    made = _capture(content, "overlay", burnt.pixels)
    made.PatientOrientation = source.get("PatientOrientation") or ""
    how = "Colours over the radiograph, their opacity relative within the image; rows {} to {} hold the key"
    add_derivation(made, content, how.format(burnt.first_row + 1, burnt.last_row), in_place=True)
    _add_spacing(made, source)
    return made


def _capture(content: ObjectContent, kind: str, pixels: NDArray[np.uint8]) -> Dataset:
    """An image of colours; its orientation is still to be set."""
    source = content.source.dataset
    made = SCImage.from_ref_dataset(
        ref_dataset=source,
        pixel_array=np.ascontiguousarray(pixels),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=_PLACEHOLDER,  # highdicom demands one, and knows fewer than the standard
        transfer_syntax_uid=ExplicitVRLittleEndian,
        **content.common(kind),
    )
    made.Modality = source.get("Modality") or _NO_MODALITY
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.BurnedInAnnotation = "YES"
    made.ConversionType = "WSD"
    made.SecondaryCaptureDeviceManufacturer = MANUFACTURER
    made.SecondaryCaptureDeviceManufacturerModelName = MODEL_NAME
    made.SecondaryCaptureDeviceSoftwareVersions = __version__
    made.ImageComments = f"{kind.capitalize()}: research use only - not for diagnosis"
    for keyword in _OF_THE_IMAGE:
        if keyword in source:
            made[keyword] = source[keyword]
    add_body_part(made, source)
    return made


def _add_spacing(made: Dataset, source: Dataset) -> None:
    """Carry the spacing over (PS3.3 C.8.6.2 and 10.7.1.1).

    A Secondary Capture has no Imager Pixel Spacing. The Nominal Scanned Pixel Spacing is the same thing for
    it: the distance in the plane of what was exposed. Pixel Spacing equal to that says that it was not
    corrected for magnification, and another one that it was, as in the source.
    """
    exposed = source.get("ImagerPixelSpacing") or source.get("NominalScannedPixelSpacing")
    in_patient = source.get("PixelSpacing") or exposed
    if exposed:
        made.NominalScannedPixelSpacing = exposed
    if in_patient:
        made.PixelSpacing = in_patient
    elif (ratio := aspect_ratio(source)) is not None:
        made.PixelAspectRatio = ratio
