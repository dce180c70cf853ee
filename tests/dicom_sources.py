"""Phantoms as DICOM sources, and their explanations, for the tests of objects."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pydicom
from pydicom import Dataset

import cxr_explain as cxr
from cxr_explain.dicom.objects import DicomObjects, dicom_objects
from cxr_explain.phantom import render, sample_patient
from cxr_explain.phantom.dicom import Photometric, to_dicom


@cache
def explainer() -> cxr.Explainer:
    """The model that comes with the package."""
    return cxr.Explainer.from_pretrained("phantom", device="cpu")


@cache
def phantom_file(seed: int = 42, size: int = 256, photometric: Photometric = "MONOCHROME2") -> bytes:
    """A phantom as a DICOM file."""
    return to_dicom(render(sample_patient(seed), size=size), photometric)


def changed(data: bytes, change: Callable[[Dataset], None]) -> bytes:
    """A DICOM file whose header is another."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    change(dataset)
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def explained(folder: Path, data: bytes, *, top_k: int = 3) -> tuple[cxr.Explanation, Path]:
    """The explanation of a file's bytes, and the file."""
    file = folder / "source.dcm"
    file.write_bytes(data)
    return explainer().explain(file, top_k=top_k), file


def objects_of(
    folder: Path, data: bytes, *, top_k: int = 3, labels: str | None = None, **options
) -> DicomObjects:  # type: ignore[no-untyped-def]
    """The DICOM objects of a file's bytes; each kind that was asked for must be there."""
    explanation, file = explained(folder, data, top_k=top_k)
    made = dicom_objects(explanation, file, labels, **options)
    assert not made.not_made, {kind: str(error) for kind, error in made.not_made.items()}
    return made
