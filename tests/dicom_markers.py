"""A radiograph of no symmetry and an explanation whose evidence lies in corners: what is mirrored, turned,
shifted or scaled shows.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicom_sources import phantom_file
from numpy.typing import NDArray
from pydicom.uid import generate_uid
from synthetic import synthetic_explanation

import cxr_explain as cxr
from cxr_explain.dicom.objects import DicomObjects, dicom_objects
from cxr_explain.phantom.dicom import Photometric

HEIGHT, WIDTH = 300, 400
GRID = 8
FRAME = 6  # width in pixels of the white frame, by which the image is found in a screenshot
CORNERS = {0: (slice(1, 3), slice(0, 2)), 1: (slice(4, 5), slice(4, 7))}
"""Rows and columns of the map's cells with evidence, by rank from 0."""


@dataclass(frozen=True)
class MarkerStudy:
    """A study: the radiograph, and the objects made of its explanation."""

    source: bytes
    objects: DicomObjects
    explanation: cxr.Explanation

    @property
    def uid(self) -> str:
        return str(pydicom.dcmread(io.BytesIO(self.source), stop_before_pixels=True).StudyInstanceUID)

    def files(self) -> list[bytes]:
        return [self.source, *(each.to_bytes() for each in self.objects)]


def marker_study(folder: Path, photometric: Photometric = "MONOCHROME2", **options: Any) -> MarkerStudy:
    """A marker study in either polarity.

    Args:
        folder: where its radiograph is written to.
        photometric: how the image is stored.
        **options: those of `dicom_objects`.
    """
    return study_of(folder, marker_radiograph(photometric), marker_maps(), **options)


def study_of(folder: Path, source: bytes, maps: NDArray[np.float32], **options: Any) -> MarkerStudy:
    """A study whose explanation has these maps (K, I, J), whatever the radiograph shows."""
    file = folder / "source.dcm"
    file.write_bytes(source)
    explanation = synthetic_explanation(
        cxr.read_radiograph(file, frame=options.pop("frame", None)), k=len(maps), grid=GRID, fit="pad"
    )
    explanation = replace(explanation, maps=maps)
    return MarkerStudy(source, dicom_objects(explanation, file, **options), explanation)


def marker_maps() -> NDArray[np.float32]:
    """(2, 8, 8): evidence in some cells of the corners, normalised as a fusion is."""
    maps = np.zeros((len(CORNERS), GRID, GRID), np.float32)
    for rank, (rows, columns) in CORNERS.items():
        maps[rank][rows, columns] = 1
    return maps / np.linalg.norm(maps)


def marker_radiograph(
    photometric: Photometric = "MONOCHROME2", shape: tuple[int, int] = (HEIGHT, WIDTH)
) -> bytes:
    """Grey, brighter to the right and downwards, in a white frame."""
    dataset = pydicom.dcmread(io.BytesIO(phantom_file(photometric=photometric)))
    white = (1 << dataset.BitsStored) - 1
    shown = np.round(_picture(shape) * white)
    dataset.Rows, dataset.Columns = shape
    dataset.PixelData = (shown if photometric == "MONOCHROME2" else white - shown).astype("<u2").tobytes()
    dataset.PatientID, dataset.PatientName = f"MARKER-{photometric}", f"MARKER^{photometric}"
    dataset.StudyDescription = f"Marker {photometric}"
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(dataset, keyword, generate_uid(entropy_srcs=["marker", photometric, keyword]))
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _picture(shape: tuple[int, int]) -> NDArray[np.float64]:
    height, width = shape
    y, x = np.mgrid[0:height, 0:width]
    inside = np.zeros(shape, bool)
    inside[FRAME:-FRAME, FRAME:-FRAME] = True
    return np.where(inside, 0.1 + 0.25 * x / width + 0.15 * y / height, 1.0)
