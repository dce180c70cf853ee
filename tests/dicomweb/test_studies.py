"""Studies of a real Orthanc: explained, the objects in the right study, nothing lost or there twice."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from dicom_sources import changed, explainer, phantom_file
from orthanc_server import Orthanc, needs_orthanc, orthanc

from cxr_explain.dicom.journal import JOURNAL
from cxr_explain.dicom.studies import explain_studies
from cxr_explain.dicom.study import StudyResult
from cxr_explain.dicomweb.addresses import InstanceAddress
from cxr_explain.dicomweb.server import DicomWebServer
from cxr_explain.errors import DicomWebError, OptionError, OutputError
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.loaders.header import parse_dicom

pytestmark = needs_orthanc

KINDS: tuple[str, ...] = ("overlay", "segmentation")
SIZE = 96


@pytest.fixture
def pacs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Orthanc]:
    for name in ("USER", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"CXR_EXPLAIN_DICOMWEB_{name}", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    with orthanc(tmp_path / "pacs") as server:
        yield server


def client(pacs: Orthanc) -> DicomWebServer:
    return DicomWebServer(pacs.url, attempts=2, backoff=0.05)


def radiograph(seed: int, **attributes: Any) -> bytes:
    """A phantom whose header has other values."""

    def change(header: pydicom.Dataset) -> None:
        for name, value in attributes.items():
            setattr(header, name, value)

    return changed(phantom_file(seed, SIZE), change)


def put(pacs: Orthanc, *files: bytes) -> list[str]:
    """Store radiographs, and give the study of each."""
    studies = [str(parse_dicom(each).StudyInstanceUID) for each in files]
    for study, file in zip(studies, files, strict=True):
        client(pacs).store([file], study)
    return studies


def work(pacs: Orthanc, studies: list[str], **options: Any) -> list[StudyResult]:
    given: dict[str, Any] = {"store": True, "kinds": KINDS, "asked": RankingSettings(2)} | options
    return list(explain_studies(explainer(), client(pacs), studies, **given))


def new(studies: list[StudyResult]) -> list[int]:
    return [image.new for study in studies for image in study.images]


def objects_in(pacs: Orthanc) -> dict[str, list[str]]:
    """SOP Instance UIDs of our objects by study, as Orthanc itself has them."""
    found: dict[str, list[str]] = {}
    for each in pacs.get("/instances"):
        tags = pacs.get(f"/instances/{each}/simplified-tags")
        if "research use only" in tags.get("SeriesDescription", ""):
            found.setdefault(tags["StudyInstanceUID"], []).append(tags["SOPInstanceUID"])
    return {study: sorted(uids) for study, uids in found.items()}


def test_objects_are_in_the_study_of_their_radiograph_and_refer_to_it(pacs: Orthanc) -> None:
    files = {str(parse_dicom(file).StudyInstanceUID): file for file in map(radiograph, (1, 2))}
    put(pacs, *files.values())
    done = work(pacs, list(files))
    assert [study.uid for study in done] == list(files)
    assert [image.kinds for study in done for image in study.images] == [KINDS, KINDS]
    there = objects_in(pacs)
    assert {study: len(uids) for study, uids in there.items()} == dict.fromkeys(files, len(KINDS))
    for study in done:
        for address in study.there - {image.address for image in study.images}:
            stored = parse_dicom(client(pacs).retrieve(address))
            assert stored.PatientID == parse_dicom(files[study.uid]).PatientID
            referred = {each.value for each in stored.iterall() if each.keyword == "ReferencedSOPInstanceUID"}
            assert study.images[0].address.instance in referred


@pytest.mark.parametrize("journal", [False, True])
def test_twice_nothing_is_doubled_and_with_a_journal_nothing_is_explained_again(
    pacs: Orthanc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: bool
) -> None:
    studies = put(pacs, radiograph(1), radiograph(2))
    output = tmp_path / "out" if journal else None
    first = work(pacs, studies, output=output)
    there = pacs.uids()
    retrieved: list[InstanceAddress] = []
    retrieve = DicomWebServer.retrieve

    def counted(server: DicomWebServer, address: InstanceAddress) -> bytes:
        retrieved.append(address)
        return retrieve(server, address)

    monkeypatch.setattr(DicomWebServer, "retrieve", counted)
    second = work(pacs, studies, output=output)
    assert pacs.uids() == there
    assert (new(first), new(second)) == ([len(KINDS)] * 2, [0, 0])
    assert [image.kinds for study in second for image in study.images] == [KINDS, KINDS]
    assert len(retrieved) == (0 if journal else 2)
    if output is not None:
        assert {path.name for path in output.iterdir()} == {JOURNAL}


def test_the_journal_is_not_trusted_where_objects_were_taken_away(pacs: Orthanc, tmp_path: Path) -> None:
    studies = put(pacs, radiograph(1))
    work(pacs, studies, output=tmp_path / "out")
    there = pacs.uids()
    (series,) = (
        each["ID"] for each in pacs.get("/series?expand") if each["MainDicomTags"]["Modality"] == "SEG"
    )
    requests.delete(f"{pacs.base}/series/{series}", timeout=20).raise_for_status()
    assert new(work(pacs, studies, output=tmp_path / "out")) == [1]
    assert pacs.uids() == there, "the same identifiers as before"


def test_other_settings_give_other_objects_beside_the_first(pacs: Orthanc, tmp_path: Path) -> None:
    studies = put(pacs, radiograph(1))
    for options in ({}, {"threshold": 0.7}, {"asked": RankingSettings(3)}):
        assert new(work(pacs, studies, output=tmp_path / "out", **options)) == [len(KINDS)]
    assert len(objects_in(pacs)[studies[0]]) == 3 * len(KINDS)


def test_two_radiographs_of_a_study_and_neither_a_lateral_one_nor_our_own(pacs: Orthanc) -> None:
    study = str(parse_dicom(radiograph(1)).StudyInstanceUID)
    second = radiograph(2, StudyInstanceUID=study, PatientID="PHANTOM-000001")
    lateral = radiograph(3, StudyInstanceUID=study, ViewPosition="LL", ViewCodeSequence=[])
    put(pacs, radiograph(1), second, lateral)
    (done,) = work(pacs, [study])
    assert len(done.images) == 2
    assert dict(done.passed_over) == {"lateral view (LL)": 1}
    assert len(objects_in(pacs)[study]) == 2 * len(KINDS)
    (again,) = work(pacs, [study])
    assert len(again.images) == 2, "objects that are there are no radiographs"
    assert again.passed_over["an object of cxr-explain"] == 2 * len(KINDS)


def test_a_study_that_is_not_there_and_one_without_a_radiograph(pacs: Orthanc) -> None:
    (lateral,) = put(pacs, radiograph(3, ViewPosition="LL", ViewCodeSequence=[]))
    missing, empty = work(pacs, ["1.2.3", lateral])
    assert "no such study" in str(missing.error)
    assert (empty.error, empty.images) == (None, [])
    assert objects_in(pacs) == {}


def test_studies_that_are_not_there_do_not_end_a_run(pacs: Orthanc) -> None:
    (study,) = put(pacs, radiograph(1))
    studies = work(pacs, ["1.2.3", "1.2.4", "rubbish", "1.2.5", "1.2.6", study])
    assert [each.error is None for each in studies] == [*[False] * 5, True]
    assert new(studies[-1:]) == [len(KINDS)]


def test_a_radiograph_that_cannot_be_read_is_a_failure_and_the_others_are_done(pacs: Orthanc) -> None:
    study = str(parse_dicom(radiograph(1)).StudyInstanceUID)
    broken = radiograph(2, StudyInstanceUID=study, PatientID="PHANTOM-000001", PixelData=b"\0\0")
    put(pacs, radiograph(1), broken)
    (done,) = work(pacs, [study])
    assert sorted(image.error is None for image in done.images) == [False, True]
    assert len(objects_in(pacs)[study]) == len(KINDS)


def test_files_instead_of_the_server(pacs: Orthanc, tmp_path: Path) -> None:
    studies = put(pacs, radiograph(1), radiograph(2))
    options: dict[str, Any] = {"store": False, "output": tmp_path / "out"}
    folders = [image.folder for study in work(pacs, studies, **options) for image in study.images]
    assert objects_in(pacs) == {}
    first = folders[0]
    assert first is not None
    assert sorted(path.name for path in first.iterdir()) == ["overlay.dcm", "segmentation.dcm"]
    names = " ".join(str(path.relative_to(tmp_path)) for path in (tmp_path / "out").rglob("*"))
    assert not any(uid in names for uid in pacs.uids()), "no identifier of the PACS is in a name"
    (first / "segmentation.dcm").unlink()
    again = work(pacs, studies, **options)
    assert sorted(new(again)) == [0, len(KINDS)]
    assert [image.folder for study in again for image in study.images] == folders


def test_a_journal_with_broken_lines_goes_on(pacs: Orthanc, tmp_path: Path) -> None:
    studies, output = put(pacs, radiograph(1), radiograph(2)), tmp_path / "out"
    work(pacs, studies[:1], output=output)
    with (output / JOURNAL).open("a") as file:
        file.write('[1]\n{"radiograph": 3, "objects": 1}\n\0\n{"radiograph": "ab')
    for _ in range(2):
        assert sum(new(work(pacs, studies, output=output))) in (0, len(KINDS))
    assert (output / JOURNAL).read_text().count('"folder"') == 2, "a line for each, and none again"


def test_another_process_that_writes_there_is_waited_for_by_nobody(pacs: Orthanc, tmp_path: Path) -> None:
    studies = put(pacs, radiograph(1))
    running = explain_studies(explainer(), client(pacs), studies, store=True, output=tmp_path, kinds=KINDS)
    next(running)
    with pytest.raises(OutputError, match="another process"):
        work(pacs, studies, output=tmp_path)
    running.close()  # type: ignore[attr-defined]


def test_what_does_not_fit_is_refused(pacs: Orthanc) -> None:
    with pytest.raises(OptionError, match="no place"):
        work(pacs, [], store=False)


def test_a_server_that_is_gone_ends_the_run_after_three_times(pacs: Orthanc) -> None:
    studies = put(pacs, *map(radiograph, range(1, 7)))
    pacs.kill()
    running = explain_studies(explainer(), client(pacs), studies, store=True, batch_size=2)
    assert all(isinstance(next(running).error, DicomWebError) for _ in range(3))
    with pytest.raises(DicomWebError):
        next(running)


class Cutting:
    """A relay that kills the server once so many bytes of requests have passed."""

    def __init__(self, pacs: Orthanc, after: int) -> None:
        self.pacs, self.left = pacs, after
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}/dicom-web"
        self.killed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.pacs.port))
            except OSError:
                near.close()
                return
            threading.Thread(target=self._up, args=(near, far), daemon=True).start()
            threading.Thread(target=_down, args=(far, near), daemon=True).start()

    def _up(self, near: socket.socket, far: socket.socket) -> None:
        with near, far:
            while data := _received(near):
                self.left -= len(data)
                if self.left < 0 and not self.killed.is_set():
                    far.sendall(data[: len(data) // 2])
                    self.killed.set()
                    self.listening.close()
                    self.pacs.kill()
                    return
                try:
                    far.sendall(data)
                except OSError:
                    return


def _received(source: socket.socket) -> bytes:
    try:
        return source.recv(4096)
    except OSError:
        return b""


def _down(source: socket.socket, target: socket.socket) -> None:
    with source:
        while data := _received(source):
            try:
                target.sendall(data)
            except OSError:
                return


@pytest.mark.parametrize(
    "after",
    [pytest.param(10_000, marks=pytest.mark.slow), 30_000, pytest.param(80_000, marks=pytest.mark.slow)],
)
def test_a_server_that_dies_in_mid_transfer_loses_and_doubles_nothing(
    pacs: Orthanc, tmp_path: Path, after: int
) -> None:
    studies = put(pacs, *map(radiograph, range(1, 4)))
    relay = Cutting(pacs, after)
    options: dict[str, Any] = {"store": True, "kinds": KINDS, "asked": RankingSettings(2)}
    server = DicomWebServer(relay.url, attempts=2, backoff=0.05)
    with contextlib.suppress(DicomWebError):  # where three in a row failed
        list(explain_studies(explainer(), server, studies, **options, output=tmp_path / "out", batch_size=1))
    assert relay.killed.is_set()
    pacs.start()
    assert len(pacs.uids()) < 3 * (1 + len(KINDS)), "something was not stored"
    done = work(pacs, studies, output=tmp_path / "out")
    assert all(image.error is None for study in done for image in study.images)
    there = objects_in(pacs)
    assert {study: len(uids) for study, uids in there.items()} == dict.fromkeys(studies, len(KINDS))
    assert len(set(pacs.uids())) == len(pacs.uids()) == 3 * (1 + len(KINDS))
    assert new(work(pacs, studies)) == [0] * 3, "what is there is what a run without a kill stores"


@pytest.mark.slow
@pytest.mark.parametrize("lines", [1, 2])
def test_our_own_death_in_mid_run_loses_and_doubles_nothing(
    pacs: Orthanc, tmp_path: Path, lines: int
) -> None:
    studies = put(pacs, *map(radiograph, range(1, 4)))
    words = [sys.executable, "-m", "cxr_explain", "dicomweb", "--url", pacs.url, "--weights", "phantom"]
    words += ["--offline", "--store", "--objects", ",".join(KINDS), "--top-k", "2", "--batch-size", "1"]
    words += ["--out", str(tmp_path / "out"), *(word for study in studies for word in ("--study", study))]
    here = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")}
    process = subprocess.Popen(words, env=here)
    journal = tmp_path / "out" / JOURNAL
    while process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL
    assert subprocess.run(words, env=here, check=False).returncode == 0
    there = objects_in(pacs)
    assert {study: len(uids) for study, uids in there.items()} == dict.fromkeys(studies, len(KINDS))
    assert len(pacs.uids()) == 3 * (1 + len(KINDS))
