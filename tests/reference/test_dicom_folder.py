"""A folder of DICOM files gives away nothing of its headers but view, sex and age."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from cxr_explain.errors import CxrExplainWarning, ManifestError
from cxr_explain.reference import make_manifest
from cxr_explain.reference.csv_file import csv_bytes

PLANT = "QXZPLANT"


def dicom(path: Path, **values: object) -> Path:
    """A header; its identifying elements hold the plant."""
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.SOPInstanceUID = "2.25.1"
    dataset.PatientName = f"{PLANT}^{PLANT}"
    dataset.PatientID = dataset.AccessionNumber = dataset.StudyID = PLANT
    dataset.PatientBirthDate = dataset.StudyDate = "19580217"
    dataset.InstitutionName = dataset.StudyDescription = dataset.ReferringPhysicianName = PLANT
    for name, value in values.items():
        setattr(dataset, name, value)
    dataset.Rows = dataset.Columns = 4
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_view_sex_and_age_are_all_that_is_taken(tmp_path: Path) -> None:
    dicom(tmp_path / "a.dcm", ViewPosition="PA", PatientSex="F", PatientAge="058Y")
    (entry,) = manifest = make_manifest("dicom", tmp_path)
    assert (entry.image_id, entry.path, entry.patient) == ("a", "a.dcm", "1")
    assert (entry.view, entry.sex, entry.age) == ("PA", "F", 58.0)
    text = csv_bytes(manifest).decode()
    assert PLANT not in text
    assert "1958" not in text
    assert manifest.source == "no labels: DICOM headers"
    assert manifest.pathologies == ()


def test_patients_get_a_number_in_the_order_of_their_files(tmp_path: Path) -> None:
    for name, patient in {"d.dcm": "X", "a.dcm": "Y", "c/b.dcm": "X", "b.dcm": "Y", "e.dcm": ""}.items():
        dicom(tmp_path / name, PatientID=patient)
    dicom(tmp_path / "f.dcm", PatientID="X", IssuerOfPatientID="elsewhere")
    found = {entry.path: entry.patient for entry in make_manifest("dicom", tmp_path)}
    assert found == {"a.dcm": "1", "b.dcm": "1", "d.dcm": "2", "e.dcm": None, "f.dcm": "3", "c/b.dcm": "2"}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"PatientSex": "O", "PatientAge": "000Y"}, (None, None, None)),
        ({"PatientAge": "006M", "ViewPosition": "LL"}, ("LL", None, 0.5)),
        ({"PatientAge": "999Y"}, (None, None, None)),
        ({}, (None, None, None)),
    ],
)
def test_what_is_not_known(values: dict, expected: tuple, tmp_path: Path) -> None:
    dicom(tmp_path / "a.dcm", **values)
    (entry,) = make_manifest("dicom", tmp_path)
    assert (entry.view, entry.sex, entry.age) == expected


@pytest.mark.parametrize("text", ["pa of Mr. Smith", "DOE JANE", "SMITH", "PA SMITH", "19500112"])
def test_free_text_is_no_view(text: str, tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    dataset.add_new("ViewPosition", "LO", text)
    dataset.save_as(path)
    assert make_manifest("dicom", tmp_path).views == (None,)


@pytest.mark.parametrize(
    "term", ["PA", "AP", "LL", "RLD", "LATERAL", "AP AXIAL", "XTABLE LATERAL", "SWIMMERS"]
)
def test_terms_of_the_standard_and_of_data_sets_are_views(term: str, tmp_path: Path) -> None:
    dicom(tmp_path / "a.dcm", ViewPosition=term)
    assert make_manifest("dicom", tmp_path).views == (term,)


def test_a_name_that_repeats_the_header_is_replaced(tmp_path: Path) -> None:
    path = dicom(tmp_path / f"{PLANT}_1.dcm")
    dicom(tmp_path / "19580217.dcm", SOPInstanceUID="2.25.2")
    entries = list(make_manifest("dicom", tmp_path))
    assert all(len(entry.image_id) == 12 and entry.image_id.isalnum() for entry in entries)
    assert PLANT not in entries[1].image_id
    assert entries[1].path == path.name  # without it, the file could not be found


def test_the_same_name_in_two_folders(tmp_path: Path) -> None:
    for folder in ("a", "b", "c"):
        dicom(tmp_path / folder / "1.dcm", SOPInstanceUID=f"2.25.{ord(folder)}")
    assert make_manifest("dicom", tmp_path).ids == ("1", "1-2", "1-3")


def test_other_files_and_links_are_left_out(tmp_path: Path) -> None:
    images = tmp_path / "images"
    dicom(images / "no-extension")
    dicom(tmp_path / "outside.dcm")
    (images / "notes.dcm").write_text("no DICOM")
    (images / "empty.dcm").write_bytes(b"")
    (images / "out.dcm").symlink_to(tmp_path / "outside.dcm")
    (images / "up").symlink_to(tmp_path)
    with pytest.warns(CxrExplainWarning) as told:
        assert make_manifest("dicom", images).paths == ("no-extension",)
    assert [str(each.message).partition(": ")[2] for each in told] == [
        "passed over linked folders, which are searched where they are named themselves: 'up'",
        "passed over links that lead out of the folder: 'out.dcm'",
    ]


def test_the_index_of_a_disc_is_no_image(tmp_path: Path) -> None:
    dicom(tmp_path / "DICOM" / "IM000001")
    index = dicom(tmp_path / "DICOMDIR")
    content = pydicom.dcmread(index)
    content.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    content.save_as(index)
    with pytest.warns(CxrExplainWarning, match="passed over the index of a disc: 'DICOMDIR'$"):
        assert make_manifest("dicom", tmp_path).paths == ("DICOM/IM000001",)


def test_a_damaged_header_is_kept_for_the_audit_to_refuse(tmp_path: Path) -> None:
    data = dicom(tmp_path / "a.dcm", ViewPosition="PA").read_bytes()
    (tmp_path / "a.dcm").write_bytes(data[:140] + b"\xff" * 40)
    (entry,) = make_manifest("dicom", tmp_path)
    assert (entry.patient, entry.view) == (None, None)


def test_no_dicom(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no DICOM file"):
        make_manifest("dicom", tmp_path)
    dicom(tmp_path / "a\\b.dcm")
    with pytest.raises(ManifestError, match=r"1 names such as the path .* backslash.*Rename the files"):
        make_manifest("dicom", tmp_path)


@pytest.mark.real_data
def test_the_shared_files(real_data: Path) -> None:
    manifest = make_manifest("dicom", real_data / "dicom")
    assert len(manifest) == 40  # all but the HTML page and the table
    for entry in manifest:
        header = pydicom.dcmread(real_data / "dicom" / entry.path, stop_before_pixels=True, force=True)
        assert entry.patient is None or entry.patient != header.PatientID
