"""DICOM radiographs, in the order of PS3.3 C.8.11.3 and PS3.4 N.2."""

from __future__ import annotations

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import uid

from cxr_explain.errors import CorruptImageError, OptionError, UnsupportedImageError
from cxr_explain.loaders.acceptance import check_acceptable
from cxr_explain.loaders.acquisition import read_acquisition
from cxr_explain.loaders.codecs import FrameFormat, codec_for, decode_frame
from cxr_explain.loaders.decode_settings import DecodeSettings, size_warnings
from cxr_explain.loaders.encapsulated import MOST_FRAMES
from cxr_explain.loaders.grayscale import Rendered, render
from cxr_explain.loaders.header import (
    check_keywords,
    is_phantom,
    mend_decimal_commas,
    parse_dicom,
    requested,
    text,
    whole,
)
from cxr_explain.loaders.identity import choose_id
from cxr_explain.loaders.metered import metered
from cxr_explain.loaders.pixel_data import check_pixel_data, declared_length
from cxr_explain.loaders.stored_bits import StoredPixels
from cxr_explain.loaders.voi import DISPLAY_STEP
from cxr_explain.loaders.xrv import xrv_dicom_pixels, xrv_warnings
from cxr_explain.radiograph import AS_PIXELS, Radiograph, to_display

_UNCOMPRESSED = {
    (True, True): uid.ImplicitVRLittleEndian,
    (False, True): uid.ExplicitVRLittleEndian,
    (False, False): uid.ExplicitVRBigEndian,
}

_LONGEST_SIDE = 2**16 - 1
"""Rows and Columns are unsigned shorts (PS3.6)."""


def read_dicom(data: bytes, settings: DecodeSettings) -> Radiograph:
    """Turn the bytes of a DICOM file into a Radiograph.

    Raises:
        RadiographError: a file that gives no radiograph; `read_radiograph` lists the kinds.
    """
    check_keywords(settings.metadata)
    with metered(settings.limits):
        return _radiograph(parse_dicom(data), settings)


def _radiograph(dataset: pydicom.Dataset, settings: DecodeSettings) -> Radiograph:
    warnings = mend_decimal_commas(dataset) + check_acceptable(dataset)
    syntax_notes = _settle_syntax(dataset)
    layout = _layout(dataset, settings)
    frame = _choose_frame(layout, settings.frame)
    warnings += check_pixel_data(dataset, layout)
    decoded = decode_frame(dataset, layout, frame, settings.limits)
    stored, layout = decoded.stored, decoded.layout
    shown = render(dataset, stored, layout, settings.voi)
    seen = shown
    if settings.rendering == "equalised":
        seen = render(dataset, stored, layout, settings.voi, rendering="equalised")
        seen.steps.append(DISPLAY_STEP + shown.voi)
    name, id_notes = choose_id(dataset, settings)
    acquisition = read_acquisition(dataset)
    pixels, steps = _pixels(dataset, stored, layout, seen, settings)
    return Radiograph(
        pixels=pixels,
        display=AS_PIXELS if pixels is shown.pixels else to_display(shown.pixels),
        sha256=settings.sha256,
        id=name,
        format="DICOM",
        view=acquisition.view,
        laterality=acquisition.laterality,
        patient_orientation=acquisition.patient_orientation,
        pixel_spacing=acquisition.pixel_spacing,
        pixel_spacing_source=acquisition.pixel_spacing_source,
        steps=(*syntax_notes, _decode_step(layout, frame), *steps),
        warnings=(
            *(warnings + syntax_notes + id_notes + acquisition.warnings),
            *decoded.warnings,
            *shown.warnings,
            *(each for each in seen.warnings if each not in shown.warnings),
            *size_warnings(layout.rows, layout.columns),
            *(xrv_warnings(pixels, shutter=shown.shutter) if settings.xrv_compatible else ()),
        ),
        frame=frame if layout.frames > 1 else None,
        xrv_compatible=settings.xrv_compatible,
        metadata=requested(dataset, settings.metadata),
        phantom=is_phantom(dataset),
    )


def _pixels(
    dataset: pydicom.Dataset,
    stored: StoredPixels,
    layout: FrameFormat,
    seen: Rendered,
    settings: DecodeSettings,
) -> tuple[NDArray[np.float32], list[str]]:
    if not settings.xrv_compatible:
        return seen.pixels, seen.steps
    inverted = text(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    return xrv_dicom_pixels(stored, layout.bits_allocated, layout.bits_stored, inverted)


def _settle_syntax(dataset: pydicom.Dataset) -> list[str]:
    """Give a data set without a transfer syntax the one it was parsed with, where that can be known."""
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and text(meta, "TransferSyntaxUID"):
        return []
    encoding = dataset.original_encoding
    syntax = _UNCOMPRESSED.get((bool(encoding[0]), bool(encoding[1])))
    if syntax is None or declared_length(dataset.get_item("PixelData")) is None:
        raise CorruptImageError(
            "compressed pixel data without a transfer syntax", expected="a Transfer Syntax UID in the file"
        )
    if meta is None:
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return [f"no transfer syntax in the file: read as {syntax.name}"]


def _layout(dataset: pydicom.Dataset, settings: DecodeSettings) -> FrameFormat:
    """Read how the pixels are stored, and refuse what contradicts itself before anything is allocated."""
    layout = FrameFormat(
        syntax=uid.UID(str(dataset.file_meta.TransferSyntaxUID)),
        rows=whole(dataset, "Rows"),
        columns=whole(dataset, "Columns"),
        frames=whole(dataset, "NumberOfFrames", 1),
        bits_allocated=whole(dataset, "BitsAllocated"),
        bits_stored=whole(dataset, "BitsStored", whole(dataset, "BitsAllocated")),
        signed=whole(dataset, "PixelRepresentation", 0) == 1,
    )
    if whole(dataset, "PixelRepresentation", 0) not in (0, 1):
        raise CorruptImageError("a Pixel Representation that is neither 0 nor 1")
    codec_for(layout.syntax)
    settings.limits.check_pixels(layout.rows, layout.columns)
    if layout.bits_allocated not in (8, 16):
        raise UnsupportedImageError(f"{layout.bits_allocated} bits allocated", expected="8 or 16")
    if not 2 <= layout.bits_stored <= layout.bits_allocated:
        raise CorruptImageError(
            f"{layout.bits_stored} bits stored of {layout.bits_allocated}",
            expected=f"2 to {layout.bits_allocated}",
        )
    high = whole(dataset, "HighBit", layout.bits_stored - 1)
    if high != layout.bits_stored - 1:
        # Left-aligned or sloppy: nothing in the file tells, and one reading of the two is garbage.
        raise UnsupportedImageError(
            f"high bit {high} with {layout.bits_stored} bits stored", expected=f"{layout.bits_stored - 1}"
        )
    if not 1 <= layout.frames <= MOST_FRAMES:
        found = f"{layout.frames} frames" if layout.frames < 1 else f"more than {MOST_FRAMES:,} frames"
        raise CorruptImageError(found, expected="at least 1" if layout.frames < 1 else "fewer")
    if max(layout.rows, layout.columns) > _LONGEST_SIDE:
        raise CorruptImageError(
            f"an image of {layout.rows} x {layout.columns} pixels", expected=f"at most {_LONGEST_SIDE} each"
        )
    for keyword, value in (
        ("SamplesPerPixel", 1),
        ("PixelRepresentation", 0),
        ("BitsStored", layout.bits_stored),
    ):
        if keyword not in dataset:
            setattr(dataset, keyword, value)  # pydicom's decoder insists on them
    # And on the standard's own capitals.
    dataset.PhotometricInterpretation = (text(dataset, "PhotometricInterpretation") or "").upper()
    return layout


def _choose_frame(layout: FrameFormat, frame: int | None) -> int:
    if frame is None:
        if layout.frames > 1:
            raise UnsupportedImageError(
                f"{layout.frames} frames",
                expected="one frame",
                remedy=f"Choose one with frame= / --frame, from 0 to {layout.frames - 1}.",
            )
        return 0
    if frame >= layout.frames:
        raise OptionError(f"frame={frame} where the file has {layout.frames}", expected="a frame of the file")
    return frame


def _decode_step(layout: FrameFormat, frame: int) -> str:
    which = f", frame {frame} of {layout.frames}" if layout.frames > 1 else ""
    sign = " (signed)" if layout.signed else ""
    return f"decoded {codec_for(layout.syntax).name}, {layout.bits_stored} bits stored{sign}{which}"
