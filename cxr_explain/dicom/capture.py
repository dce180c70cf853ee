"""Secondary Captures: the record figure, and the overlay at the radiograph's own resolution (PS3.3 A.8)."""

from __future__ import annotations

import io

import numpy as np
from highdicom.sc import SCImage
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset

from cxr_explain.dicom.content import ObjectContent


def figure_capture(content: ObjectContent) -> Dataset:
    """The record figure."""
    style = content.settings.style or "dark"
    figure = content.explanation.figure(
        content.labels, radiograph=content.radiograph, style=style, colours=content.settings.colours
    )
    with Image.open(io.BytesIO(figure.to_bytes("png"))) as image:
        return _capture(content, "figure", np.asarray(image.convert("RGB")))


def overlay_capture(content: ObjectContent) -> Dataset:
    """The fused map over the radiograph, pixel for pixel."""
    overlay = content.explanation.overlay(radiograph=content.radiograph, colours=content.settings.colours)
    return _capture(content, "overlay", overlay)


def _capture(content: ObjectContent, kind: str, pixels: NDArray[np.uint8]) -> Dataset:
    capture = SCImage.from_ref_dataset(
        ref_dataset=content.source.dataset,
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=content.source.dataset.get("PatientOrientation") or ("L", "F"),
        **content.common(kind),
    )
    capture.ConversionType = "WSD"
    return capture
