"""The encapsulated PDF: its bytes are the figure's, its text can be searched, and it names nobody."""

from __future__ import annotations

import io
import shutil
import subprocess
from datetime import datetime
from pathlib import Path

import pydicom
import pytest
from altered_sources import bare, explained_frame, multi_frame
from dicom_sources import explainer, phantom_file
from dicom_tools import dciodvfy_errors
from pydicom import Dataset
from pydicom.uid import EncapsulatedPDFStorage

import cxr_explain as cxr
from cxr_explain.dicom.objects import dicom_objects
from cxr_explain.dicom.source import Source

WHEN = datetime(2020, 1, 2, 3, 4, 5)
needs_poppler = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs Debian's poppler-utils")


def document(made: Dataset) -> bytes:
    """The PDF, as a program takes it out that knows its length."""
    return bytes(made.EncapsulatedDocument[: made.EncapsulatedDocumentLength])


def text_of(pdf: bytes, folder: Path) -> str:
    """Its words, in the order in which a program finds them."""
    (folder / "out.pdf").write_bytes(pdf)
    run = subprocess.run(["pdftotext", folder / "out.pdf", "-"], capture_output=True, text=True, check=True)
    return run.stdout


Plain = tuple[cxr.Explanation, Path, bytes]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Plain:
    """An explanation, the file that it explains, and its object's file."""
    file = tmp_path_factory.mktemp("plain") / "IMG-48151623.dcm"
    file.write_bytes(phantom_file(42, 96))
    explanation = explainer().explain(file, top_k=2)
    objects = dicom_objects(explanation, file, kinds=("pdf",), created=WHEN)
    assert not objects.not_made
    return explanation, file, objects["pdf"].to_bytes()


def test_it_is_the_light_figure_padded_to_an_even_length(plain: Plain) -> None:
    explanation, file, written = plain
    made = pydicom.dcmread(io.BytesIO(written))
    assert made.SOPClassUID == EncapsulatedPDFStorage
    assert made.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert document(made) == explanation.figure(style="light").to_bytes("pdf")
    assert document(made)[:5] == b"%PDF-"
    assert len(made.EncapsulatedDocument) % 2 == 0
    assert made.SourceInstanceSequence[0].ReferencedSOPInstanceUID == pydicom.dcmread(file).SOPInstanceUID
    assert made.Modality == "DOC"
    assert made.BurnedInAnnotation == "YES"
    assert made.AcquisitionDateTime == "20000101120000"
    assert "esearch use only" in made.DocumentTitle
    assert made.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurement Report"


@needs_poppler
def test_its_words_are_found_and_its_properties_name_nobody(plain: Plain, tmp_path: Path) -> None:
    said = text_of(document(pydicom.dcmread(io.BytesIO(plain[2]))), tmp_path)
    assert "Research use only - not for diagnosis" in said
    assert "Effusion" in said
    run = subprocess.run(["pdfinfo", tmp_path / "out.pdf"], capture_output=True, text=True, check=True)
    assert "Title" not in run.stdout
    for nobody in ("COMPUTED", "CHEST", "2000"):
        assert nobody not in run.stdout


@needs_poppler
def test_a_de_identified_source_leaves_no_name_of_its_file(plain: Plain, tmp_path: Path) -> None:
    explanation, file, written = plain
    digest = explanation.provenance.radiograph_sha256[:12]

    def said(made: Dataset) -> str:
        return "".join(text_of(document(made), tmp_path).split())

    source = Source.read(file, change=lambda header: setattr(header, "SOPInstanceUID", "2.25.7"))
    kept = said(pydicom.dcmread(io.BytesIO(written)))
    removed = said(dicom_objects(explanation, source, kinds=("pdf",))["pdf"].dataset)
    for secret in ("IMG-48151623", digest):
        assert secret in kept
        assert secret not in removed
    assert "2.25.7" in removed


@pytest.mark.dicom3tools
@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="Debian's dicom3tools is not installed")
@pytest.mark.dcmtk
@pytest.mark.skipif(shutil.which("dcm2pdf") is None, reason="Debian's dcmtk is not installed")
def test_other_programs_read_it(tmp_path: Path) -> None:
    explanation, file = explained_frame(tmp_path, bare(multi_frame(phantom_file(42, 96))), 1)
    made = dicom_objects(explanation, file, kinds=("pdf",))
    (path,) = made.save(tmp_path / "out")
    assert "ReferencedFrameNumber" not in pydicom.dcmread(path).SourceInstanceSequence[0]  # PS3.3 table 10-11
    assert dciodvfy_errors(path) == []
    subprocess.run(["dcm2pdf", path, tmp_path / "out.pdf"], check=True, capture_output=True)
    assert (tmp_path / "out.pdf").read_bytes() == document(made["pdf"].dataset)
