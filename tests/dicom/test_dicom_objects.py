"""What all DICOM objects of an explanation have in common."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_sources import changed, explained, objects_of, phantom_file
from dicom_tools import dciodvfy_errors, needs_dciodvfy

from cxr_explain.dicom.objects import DicomObjects, dicom_objects
from cxr_explain.dicom.settings import ObjectSettings
from cxr_explain.errors import DicomObjectError, OptionError
from cxr_explain.pathologies import ReferenceLabels

WHEN = datetime(2020, 1, 2, 3, 4, 5)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> DicomObjects:
    """Every kind of object of a phantom."""
    return objects_of(tmp_path_factory.mktemp("made"), phantom_file(size=96), created=WHEN)


def test_the_same_input_settings_and_time_give_the_same_bytes(made: DicomObjects, tmp_path: Path) -> None:
    again = objects_of(tmp_path, phantom_file(size=96), created=WHEN)
    assert [each.to_bytes() for each in made] == [each.to_bytes() for each in again]


def test_identifiers_depend_on_settings_and_source_and_not_on_time(tmp_path: Path) -> None:
    kinds = ("overlay",)
    data = phantom_file(size=96)
    plain = objects_of(tmp_path, data, kinds=kinds, created=WHEN)["overlay"].uid
    later = objects_of(tmp_path, data, kinds=kinds)["overlay"].uid
    other = objects_of(tmp_path, data, kinds=kinds, threshold=0.6)["overlay"].uid
    fewer = objects_of(tmp_path, data, kinds=kinds, top_k=2)["overlay"].uid
    another = changed(data, lambda header: setattr(header, "SOPInstanceUID", "1.2.3"))
    source = objects_of(tmp_path, another, kinds=kinds)["overlay"].uid
    assert plain == later
    assert len({plain, other, fewer, source}) == 4


def test_identifiers_do_not_depend_on_the_path_of_the_labels(tmp_path: Path) -> None:
    explanation, file = explained(tmp_path, phantom_file(size=96))
    labels = ReferenceLabels.coerce(["Mass"])
    here, there, elsewhere = (
        dicom_objects(explanation, file, replace(labels, source=source), kinds=("report",))["report"].uid
        for source in ("/here/labels.csv", "C:\\there\\labels.csv", "labels.csv")
    )
    assert here == there != elsewhere  # which the report says


def test_identifiers_do_not_depend_on_why_there_are_no_labels(tmp_path: Path) -> None:
    """An audit's manifest says it in other words than a file that is explained by itself."""
    explanation, file = explained(tmp_path, phantom_file(size=96))
    manifest = ReferenceLabels(source="no labels: DICOM headers")
    of_an_audit, alone = (
        dicom_objects(explanation, file, labels, kinds=("overlay",))["overlay"].uid
        for labels in (manifest, None)
    )
    assert of_an_audit == alone


TOKYO = timezone(timedelta(hours=9))


@pytest.mark.parametrize(
    ("created", "is_said"),
    [(datetime(2020, 1, 2, 20, 4, 5, tzinfo=UTC), "20200103050405"), (WHEN, "20200102030405")],
)
def test_times_are_of_the_zone_that_the_source_declares(
    tmp_path: Path, created: datetime, is_said: str
) -> None:
    data = changed(phantom_file(size=96), lambda header: setattr(header, "TimezoneOffsetFromUTC", "+0900"))
    made = objects_of(tmp_path, data, kinds=("overlay",), created=created)["overlay"].dataset
    assert made.TimezoneOffsetFromUTC == "+0900"
    for what in ("InstanceCreation", "Content"):
        assert (made[f"{what}Date"].value + made[f"{what}Time"].value)[:14] == is_said


def test_by_default_objects_are_made_now_wherever_the_source_is(tmp_path: Path) -> None:
    data = changed(phantom_file(size=96), lambda header: setattr(header, "TimezoneOffsetFromUTC", "+0900"))
    made = objects_of(tmp_path, data, kinds=("overlay",))["overlay"].dataset
    said = datetime.strptime(made.ContentDate + made.ContentTime, "%Y%m%d%H%M%S.%f").replace(tzinfo=TOKYO)
    assert abs(datetime.now(UTC) - said) < timedelta(minutes=10)


def test_patient_and_study_are_those_of_the_source(made: DicomObjects, tmp_path: Path) -> None:
    source = pydicom.dcmread(io.BytesIO(phantom_file(size=96)))
    for path in made.save(tmp_path / "out"):
        written = pydicom.dcmread(path)
        for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "PatientAge", "StudyDescription"):
            assert written[keyword] == source[keyword], (path.name, keyword)
        assert written.SeriesInstanceUID != source.SeriesInstanceUID
        assert "research use only" in written.SeriesDescription


def test_another_source_than_was_explained_is_refused(tmp_path: Path) -> None:
    explanation, _ = explained(tmp_path, phantom_file())
    with pytest.raises(DicomObjectError, match="a source with SHA-256"):
        dicom_objects(explanation, phantom_file(seed=43))


@pytest.mark.parametrize(
    "options",
    [
        {"kinds": ("figures",)},
        {"threshold": 1.0},
        {"threshold": float("nan")},
        {"threshold": "0.5"},
        {"created": "20200102"},
    ],
)
def test_options_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(OptionError):
        ObjectSettings(**options)


def test_a_threshold_is_a_number_of_python() -> None:
    """Identifiers are made of it, and the segmentation says it."""
    assert repr(ObjectSettings(threshold=np.float32(0.5)).threshold) == "0.5"


@needs_dciodvfy[0]
@needs_dciodvfy[1]
def test_a_source_of_a_makers_own_class_has_the_objects_that_need_not_know_it(tmp_path: Path) -> None:
    """Such as Philips' Private X-Ray MF Storage."""
    data = changed(
        phantom_file(size=96), lambda header: header.update({"SOPClassUID": "1.3.46.670589.2.3.1.1"})
    )
    explanation, file = explained(tmp_path, data, top_k=1)
    made = dicom_objects(explanation, file)
    assert [each.kind for each in made] == ["figure", "overlay", "segmentation", "pdf"]
    for kind in ("report", "presentation"):
        assert "a SOPClassUID of the source that highdicom does not know" in str(made.not_made[kind])
    made.save(tmp_path / "objects")
    for each in (tmp_path / "objects").iterdir():
        assert dciodvfy_errors(each) == []
