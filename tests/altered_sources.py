"""Sources that say less than a phantom does, or hold several frames."""

from __future__ import annotations

from pathlib import Path

from dicom_sources import changed, explainer
from pydicom import Dataset
from pydicom.uid import MultiFrameGrayscaleWordSecondaryCaptureImageStorage

from cxr_explain import read_radiograph
from cxr_explain.explaining.explanation import Explanation

BARE = (
    *("PatientOrientation", "ImageLaterality", "BodyPartExamined", "AnatomicRegionSequence", "ViewPosition"),
    *("ImagerPixelSpacing", "StudyDate", "StudyTime", "StudyID", "SeriesDate", "SeriesTime"),
    *("AcquisitionDate", "AcquisitionTime"),
)


def bare(data: bytes) -> bytes:
    """The same file without what an object could take from it."""

    def change(header: Dataset) -> None:
        for keyword in BARE:
            header.pop(keyword, None)

    return changed(data, change)


def multi_frame(data: bytes) -> bytes:
    """Three frames, of which the second one is the file's."""

    def change(header: Dataset) -> None:
        header.SOPClassUID = MultiFrameGrayscaleWordSecondaryCaptureImageStorage
        header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
        header.NumberOfFrames = 3
        header.PixelData = bytes(len(header.PixelData)) + header.PixelData + bytes(len(header.PixelData))

    return changed(data, change)


def explained_frame(folder: Path, data: bytes, frame: int | None) -> tuple[Explanation, Path]:
    """The explanation of a frame of a file's bytes, and the file."""
    file = folder / "source.dcm"
    file.write_bytes(data)
    return explainer().explain(read_radiograph(file, frame=frame), top_k=3), file
