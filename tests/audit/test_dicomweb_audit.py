"""An audit whose images are in a PACS: a real Orthanc that asks for a password, over DICOMweb."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from click.testing import Result
from pydicom import Dataset, uid
from typer.testing import CliRunner

from cxr_explain import Explainer
from cxr_explain.audit.images import ImageFolder
from cxr_explain.audit.run import RunSettings, run_audit
from cxr_explain.audit.store import AuditRun
from cxr_explain.cli.app import app
from cxr_explain.dicomweb.addresses import InstanceAddress
from cxr_explain.dicomweb.server import DicomWebServer
from cxr_explain.errors import AuditError, DicomWebError, ManifestError, OptionError
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.reference import Manifest, make_manifest, write_manifest
from cxr_explain.reference.data_sets.dicomweb import image_name
from tests.audit.test_audit_run import assert_same_table
from tests.dicom_sources import changed, phantom_file
from tests.orthanc_server import Orthanc, needs_orthanc, orthanc

pytestmark = needs_orthanc

RUN = CliRunner()
USER, SECRET = "reader-7", "s3cret-of-the-reader"
QUERY = ["StudyDate=20240101-20241231"]
PEOPLE = ("DOE^JANE", "PAT-4711", "ROE^RICHARD", "PAT-4712", "19600101", "ACC-99")
ROOT = "1.2.826.0.1.3680043.8.498"


def of_study(study: int, number: int, **changes: str) -> bytes:
    """A phantom as an image of one of two patients, each with one study; written into it are names."""

    def change(header: Dataset) -> None:
        header.PatientName, header.PatientID = PEOPLE[2 * study], PEOPLE[2 * study + 1]
        header.PatientBirthDate, header.AccessionNumber = "19600101", "ACC-99"
        header.PatientAge, header.StudyDate = f"06{study}Y", "20240229"
        header.StudyInstanceUID, header.SeriesInstanceUID = f"{ROOT}.{study}", f"{ROOT}.{study}.1"
        header.SOPInstanceUID = uid.UID(f"{ROOT}.{study}.1.{number}")
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
        for keyword, value in changes.items():
            setattr(header, keyword, value)
        header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID

    return changed(phantom_file(100 + 3 * study + number, 96), change)


IMAGES = [of_study(study, number) for study in (0, 1) for number in (1, 2, 3)]
OTHERS = (
    of_study(0, 7, ViewPosition="LL"),
    of_study(1, 7, BodyPartExamined="HAND"),
    of_study(1, 8, Modality="CT", SOPClassUID=uid.CTImageStorage),
    of_study(1, 9, Manufacturer="cxr-explain", ManufacturerModelName="cxr-explain capture"),
)


def header_of(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)


def address_of(data: bytes) -> InstanceAddress:
    header = header_of(data)
    return InstanceAddress(header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID)


def run(*arguments: object) -> Result:
    result = RUN.invoke(app, [str(argument) for argument in arguments])
    assert "Traceback" not in result.output
    assert SECRET not in result.output
    return result


@pytest.fixture(scope="module", autouse=True)
def password() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_EXPLAIN_DICOMWEB_USER", USER)
        patch.setenv("CXR_EXPLAIN_DICOMWEB_PASSWORD", SECRET)
        yield


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory, password: None) -> Iterator[Orthanc]:
    """It holds two studies with three frontal chest radiographs each, and what is none."""
    folder = tmp_path_factory.mktemp("pacs")
    with orthanc(folder, users={USER: SECRET}, MaximumStorageCacheSize=0) as server:
        for study in {address_of(each).study for each in IMAGES}:
            files = [each for each in (*IMAGES, *OTHERS) if address_of(each).study == study]
            DicomWebServer(server.url).store(files, study)
        yield server


@pytest.fixture(scope="module")
def manifest(pacs: Orthanc) -> Manifest:
    return make_manifest("dicomweb", pacs.url, query=QUERY)


@pytest.fixture(scope="module")
def in_folder(manifest: Manifest, explainer: Explainer, tmp_path_factory: pytest.TempPathFactory) -> AuditRun:
    """The audit of the same files in a folder."""
    folder = tmp_path_factory.mktemp("copies")
    for data in IMAGES:
        (folder / f"{image_name(address_of(data))}.dcm").write_bytes(data)
    copies = Manifest(manifest.ids, [f"{each}.dcm" for each in manifest.ids], views=manifest.views)
    return run_audit(explainer, copies, folder, folder / "run", running=RunSettings(batch_size=2))


def place_of(server: Orthanc) -> str:
    return f"dicomweb+{server.url}"


def test_the_manifest_is_of_the_frontal_chest_radiographs(manifest: Manifest) -> None:
    addresses = sorted((address_of(data) for data in IMAGES), key=lambda each: each.path)
    assert manifest.paths == tuple(each.path for each in addresses)
    assert manifest.ids == tuple(map(image_name, addresses))
    assert manifest.patients == ("1", "1", "1", "2", "2", "2")
    assert manifest.ages == (60.0, 60.0, 60.0, 61.0, 61.0, 61.0)
    headers = {address_of(data).path: header_of(data) for data in IMAGES}
    assert manifest.sexes == tuple(headers[path].PatientSex for path in manifest.paths)
    assert manifest.views == tuple(headers[path].ViewPosition for path in manifest.paths)
    assert set(manifest.label_sources) == {"no labels: DICOM headers"}
    (note,) = manifest.notes
    assert note.startswith("passed over 4 instances of 2 studies: ")
    for why in ("an object of cxr-explain 1", "body part HAND 1", "lateral view (LL) 1", "modality CT"):
        assert why in note


def test_a_manifest_is_made_the_same_again_from_either_spelling(pacs: Orthanc, manifest: Manifest) -> None:
    query = {"00080020": "20240229", "StudyInstanceUID": f"{ROOT}.0,{ROOT}.1"}
    again = make_manifest("dicomweb", f"{place_of(pacs)}/", query=query)
    assert again == manifest


def test_the_commands_from_a_query_to_a_report(pacs: Orthanc, in_folder: AuditRun, tmp_path: Path) -> None:
    made = run("manifest", "dicomweb", "--source", pacs.url, "--query", QUERY[0], "--out", tmp_path / "m.csv")
    assert made.exit_code == 0, made.output
    assert "6 images of 2 patients" in made.output
    assert f"audit {tmp_path}/m.csv --images {place_of(pacs)} --weights NAME" in made.output
    images, folder = ("--images", place_of(pacs)), tmp_path / "run"
    audited = run("audit", tmp_path / "m.csv", *images, "--weights", "phantom", "--out", folder)
    assert audited.exit_code == 0, audited.output
    assert f"report {tmp_path}/run --images {place_of(pacs)}" in audited.output
    opened = AuditRun.open(folder)
    assert_same_table(in_folder, opened)
    assert opened.results["sha256"].to_pylist() == in_folder.results["sha256"].to_pylist()
    bare = run("report", folder, "--out", tmp_path / "bare")
    assert "the report will hold no radiographs: " + place_of(pacs) in " ".join(bare.output.split())
    report = run("report", folder, *images)
    assert report.exit_code == 0, report.output
    cases = list((folder / "report" / "cases").iterdir())
    assert len(cases) == 6
    assert not any('"missing"' in case.read_text() for case in cases)
    assert all('"missing"' in case.read_text() for case in (tmp_path / "bare" / "cases").iterdir())
    figure = run("figure", folder, opened.manifest.ids[0], *images, "--out", tmp_path / "a.png")
    assert figure.exit_code == 0, figure.output
    assert (tmp_path / "a.png").stat().st_size > 10_000
    for path in tmp_path.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for told in (USER, SECRET, *PEOPLE):
            assert told.encode() not in content, (path, told)


def test_a_folder_of_images_is_pickled_without_a_password(pacs: Orthanc, manifest: Manifest) -> None:
    images = ImageFolder(place_of(pacs))
    first = images.read(manifest.paths[0], ReadSettings())
    pickled = pickle.dumps(images)
    assert SECRET.encode() not in pickled
    again: ImageFolder = pickle.loads(pickled)
    assert again.read(manifest.paths[0], ReadSettings()).sha256 == first.sha256


def test_an_instance_that_is_not_there_is_a_failure_of_its_own(
    pacs: Orthanc, manifest: Manifest, explainer: Explainer, tmp_path: Path
) -> None:
    gone = InstanceAddress(f"{ROOT}.0", f"{ROOT}.0.1", f"{ROOT}.0.1.99").path
    odd = Manifest([*manifest.ids, "gone", "odd"], [*manifest.paths, gone, "images/a.png"])
    result = run_audit(explainer, odd, place_of(pacs), tmp_path / "run")
    assert len(result.results) == 6
    assert result.failures["image_id"].to_pylist() == ["gone", "odd"]
    assert result.failures["code"].to_pylist() == ["no-such-file", "unreadable-file"]


def test_a_wrong_password_is_one_line_and_stores_nothing(
    pacs: Orthanc, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_EXPLAIN_DICOMWEB_PASSWORD", "wrong-word")
    table = write_manifest(manifest, tmp_path / "m.csv")
    commands = (
        ("manifest", "dicomweb", "--source", pacs.url, "--query", QUERY[0], "--out", tmp_path / "n.csv"),
        ("audit", table, "--images", place_of(pacs), "--weights", "phantom", "--out", tmp_path / "run"),
    )
    for command in commands:
        said = run(*command)
        assert said.exit_code == 1
        errors = [line for line in said.output.splitlines() if line.startswith("error:")]
        assert len(errors) == 1
        assert "(HTTP 401)" in errors[0]
        assert "wrong-word" not in said.output
    assert not (tmp_path / "n.csv").exists()
    assert len(AuditRun.open(tmp_path / "run").failures) == 0


def test_a_server_that_is_killed_and_comes_back(
    pacs: Orthanc, manifest: Manifest, in_folder: AuditRun, explainer: Explainer, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """What was explained stays, what was not is no failure, and the same command goes on."""
    where, running = tmp_path / "run", RunSettings(batch_size=1, workers=1, part_rows=1)
    done: list[object] = []

    def advance(progress: object) -> None:
        done.append(progress)
        if len(done) == 2:
            pacs.kill()

    with monkeypatch.context() as hurried:
        hurried.setattr("time.sleep", lambda _: None)  # between attempts
        with pytest.raises(AuditError, match="no connection") as caught:
            run_audit(explainer, manifest, place_of(pacs), where, running=running, advance=advance)
    assert str(caught.value).startswith(f"{pacs.url}: ")
    assert "the same command goes on from there" in str(caught.value)
    assert f"not finished: {pacs.url}: " in (where / "audit.log").read_text()
    stopped = AuditRun.open(where)
    assert 2 <= len(stopped.results) < 6
    assert len(stopped.failures) == 0
    pacs.start()
    again = run_audit(explainer, manifest, place_of(pacs), where, running=running, advance=done.append)
    assert_same_table(in_folder, again)
    assert len(done) < 12, "what was finished is not done again"


def test_an_image_that_the_server_cannot_give_is_a_failure_of_its_own(
    pacs: Orthanc, manifest: Manifest, explainer: Explainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is gone from the storage folder: Orthanc finds it, and fails to read it."""
    content = sorted(path for path in (pacs.folder / "orthanc").rglob("*") if path.is_file())
    lost = next(path for path in content if IMAGES[4] == path.read_bytes())
    monkeypatch.setattr("time.sleep", lambda _: None)
    lost.rename(tmp_path / "lost")
    try:
        result = run_audit(explainer, manifest, place_of(pacs), tmp_path / "run")
    finally:
        (tmp_path / "lost").rename(lost)
    assert result.failures["image_id"].to_pylist() == [image_name(address_of(IMAGES[4]))]
    assert len(result.results) == 5
    again = run_audit(
        explainer, manifest, place_of(pacs), tmp_path / "run", running=RunSettings(retry_failed=True)
    )
    assert len(again.results) == 6


@pytest.mark.parametrize(
    ("place", "error", "said"),
    [
        ("dicomweb+{url}/nothing", AuditError, r"no image can be fetched.*\(HTTP 404\)"),
        ("{url}", OptionError, "a manifest of a PACS; expected dicomweb"),
    ],
)
def test_an_address_that_is_no_service_is_said_once(
    place: str, error: type[Exception], said: str, pacs: Orthanc, manifest: Manifest, explainer: Explainer,
    tmp_path: Path,
) -> None:  # fmt: skip
    with pytest.raises(error, match=said):
        run_audit(explainer, manifest, place.format(url=pacs.url), tmp_path / "run")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (None, "no query"), ([], "no query"), (["PatientName"], "the query 'PatientName'"),
        (["NoSuchKeyword=1"], "the query 'NoSuchKeyword'"), (["limit=1"], "the query 'limit'"),
        (["PatientID=secret", "PatientID=2"], "a keyword twice"),
        ({"StudyDate": ""}, "the query 'StudyDate'"),
    ],
)  # fmt: skip
def test_no_query_is_sent_that_is_none(query: object, said: str) -> None:
    with pytest.raises(OptionError, match=said) as caught:
        make_manifest("dicomweb", "http://127.0.0.1:9/dicom-web", query=query)
    assert "secret" not in str(caught.value)


def test_studies_without_a_radiograph_are_said_to_have_none(pacs: Orthanc) -> None:
    with pytest.raises(ManifestError, match="no frontal chest radiograph in 0 studies"):
        make_manifest("dicomweb", pacs.url, query=["PatientID=nobody"])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://pacs.example/dicom-web", "plain http"),
        ("https://reader:word@pacs.example/a", "user or password"),
        ("https://pacs.example/a?token=word", "no address"), ("ftp://pacs.example", "no address"),
    ],
)  # fmt: skip
def test_an_address_that_is_refused_is_said_at_once(
    url: str, said: str, manifest: Manifest, explainer: Explainer, tmp_path: Path
) -> None:
    with pytest.raises((OptionError, DicomWebError), match=said) as caught:
        make_manifest("dicomweb", url, query=QUERY)
    assert "word" not in str(caught.value).replace("password", "").replace("PASSWORD", "")
    if url.startswith("http"):
        with pytest.raises((OptionError, DicomWebError), match=said):
            run_audit(explainer, manifest, f"dicomweb+{url}", tmp_path / "run")
        assert list(tmp_path.iterdir()) == []


def test_options_of_a_folder_are_refused(tmp_path: Path) -> None:
    asked = ("--query", QUERY[0], "--out", tmp_path / "m")
    command = ("manifest", "dicomweb", "--source", "http://127.0.0.1:9", *asked)
    assert "--present-in for dicomweb" in run(*command, "--present-in", tmp_path).output
    assert "split for dicomweb; expected one of query" in run(*command, "--split", "test").output
    assert "query for nih" in run("manifest", "nih", "--source", tmp_path, *asked).output
