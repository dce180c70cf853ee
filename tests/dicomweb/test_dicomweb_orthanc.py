"""Against a real Orthanc: found, read to the byte, stored once; killed in mid-transfer; passwords, TLS."""

from __future__ import annotations

import io
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from certificates import certificate
from dicom_sources import changed, phantom_file
from orthanc_server import Orthanc, killed_during, needs_orthanc, orthanc, over_tls

from cxr_explain.dicomweb import server as server_module
from cxr_explain.dicomweb.addresses import InstanceAddress
from cxr_explain.dicomweb.credentials import PASSWORD, TOKEN, USER
from cxr_explain.dicomweb.server import DicomWebServer
from cxr_explain.errors import DicomWebError

pytestmark = needs_orthanc


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("pacs")) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    with orthanc(tmp_path_factory.mktemp("guarded"), users={"reader": "s3cret:+ü"}) as running:
        yield running


def in_study(file: bytes, count: int) -> list[bytes]:
    """Further instances of a file's study and series."""

    def renamed(number: int) -> Callable[[pydicom.Dataset], None]:
        def change(dataset: pydicom.Dataset) -> None:
            dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID[:50]}.{number}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID

        return change

    return [changed(file, renamed(number)) for number in range(count)]


def test_what_is_stored_is_found_and_read_back_to_the_byte(
    pacs: Orthanc, files: list[bytes], addresses: list[InstanceAddress]
) -> None:
    server = DicomWebServer(pacs.url)
    for file, address in zip(files, addresses, strict=True):
        assert not server.has(address)
        assert server.store([file], address.study) == [address]
        assert server.has(address)
        assert server.retrieve(address) == file
    found = {study.uid: study for study in server.find_studies({})}
    assert found.keys() == {address.study for address in addresses}
    assert found[addresses[0].study].attributes["PatientID"] == "COMPUTED-000001"
    (instance,) = server.instances(addresses[0].study)
    assert (instance.address, instance.why_not, instance.notes) == (addresses[0], None, ())
    assert (instance.modality, instance.view, instance.body_part) == ("DX", "AP", "CHEST")


def test_storing_again_doubles_nothing(pacs: Orthanc, files: list[bytes]) -> None:
    server, more = DicomWebServer(pacs.url), in_study(files[0], 3)
    study = str(pydicom.dcmread(io.BytesIO(files[0])).StudyInstanceUID)
    first = server.store(more, study)
    held = pacs.uids()
    assert server.store(more, study) == first
    assert pacs.uids() == held
    assert len(set(first)) == 3


def test_a_query_matches_as_the_standard_has_it(
    pacs: Orthanc, files: list[bytes], addresses: list[InstanceAddress]
) -> None:
    server = DicomWebServer(pacs.url)
    for file, address in zip(files, addresses, strict=True):
        server.store([file], address.study)

    def found(**query: str) -> list[str]:
        return sorted(study.uid for study in server.find_studies(query))

    every = sorted(address.study for address in addresses)
    assert found(PatientID="COMPUTED-000002") == [addresses[1].study]
    assert found(StudyInstanceUID=addresses[2].study) == [addresses[2].study]
    assert found(PatientID="COMPUTED-*", StudyDate="19991231-20000102", ModalitiesInStudy="DX") == every
    assert found(StudyDate="20000102-") == []
    assert found(PatientName="COMPUTED?CHEST") == every
    assert found(**{"00100020": "COMPUTED-000003"}) == [addresses[2].study]
    assert len(list(server.find_studies({}, limit=2))) == 2


def test_pages_are_put_together(
    pacs: Orthanc, files: list[bytes], addresses: list[InstanceAddress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_PAGE", 2)
    server, study = DicomWebServer(pacs.url), addresses[1].study
    stored = server.store([files[1], *in_study(files[1], 4)], study)
    assert {each.address for each in server.instances(study)} == set(stored)
    for file, address in zip(files, addresses, strict=True):
        server.store([file], address.study)
    assert {each.uid for each in server.find_studies({})} == {each.study for each in addresses}


def test_a_study_that_is_not_there_has_no_instances_and_an_instance_is_named_as_absent(
    pacs: Orthanc, addresses: list[InstanceAddress]
) -> None:
    server, absent = DicomWebServer(pacs.url), InstanceAddress("1.2.3", "1.2.3.4", "1.2.3.4.5")
    assert server.instances("1.2.3") == []
    assert not server.has(absent)
    with pytest.raises(DicomWebError, match=r"nothing under this address \(HTTP 404\)"):
        server.retrieve(absent)
    elsewhere = InstanceAddress(addresses[0].study, "1.2.3", addresses[0].instance)
    assert not server.has(elsewhere)


@pytest.mark.parametrize(
    ("coded", "expected"),
    [
        ({"ViewPosition": "LL"}, "lateral view (LL)"),
        ({"ViewPosition": ""}, None),
        ({"ViewPosition": "", "ViewCodeSequence": "399067008"}, "lateral view (LATERAL)"),
        ({"BodyPartExamined": "HAND"}, "body part HAND"),
        ({"Manufacturer": "cxr-explain", "ManufacturerModelName": "FM-G-CAM"}, "an object of cxr-explain"),
        ({"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "modality CT (computed tomography)"),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1", "PresentationIntentType": "FOR PROCESSING"},
            "an image FOR PROCESSING, whose grey scale is the detector's own",
        ),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, "a colour image (RGB)"),
    ],
)
def test_why_an_instance_is_not_taken(pacs: Orthanc, coded: dict, expected: str | None) -> None:
    def change(dataset: pydicom.Dataset) -> None:
        if not coded.get("ViewPosition", "AP"):
            del dataset.ViewCodeSequence
        for keyword, value in coded.items():
            if keyword == "ViewCodeSequence":
                dataset.ViewCodeSequence = [code := pydicom.Dataset()]
                code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SCT", "lateral"
            else:
                setattr(dataset, keyword, value)
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        for kind in ("Study", "Series", "SOP"):
            uid = pydicom.uid.generate_uid(entropy_srcs=[kind, repr(coded)])
            setattr(dataset, f"{kind}InstanceUID", uid)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID

    server, file = DicomWebServer(pacs.url), changed(phantom_file(5, 96), change)
    study = str(pydicom.dcmread(io.BytesIO(file)).StudyInstanceUID)
    server.store([file], study)
    (found,) = server.instances(study)
    assert found.why_not == expected
    assert found.is_frontal_chest == (expected is None)
    assert found.notes == (("view unknown",) if coded == {"ViewPosition": ""} else ())


def test_a_file_that_orthanc_cannot_read_is_named_and_the_others_are_stored(
    pacs: Orthanc, files: list[bytes], addresses: list[InstanceAddress]
) -> None:
    with pytest.raises(DicomWebError, match="no DICOM file"):
        DicomWebServer(pacs.url).store([b"nothing"], addresses[0].study)
    held = pacs.uids()
    with pytest.raises(DicomWebError, match="an instance of another study"):
        DicomWebServer(pacs.url).store([files[0], files[1]], addresses[0].study)
    assert pacs.uids() == held


def test_a_request_for_each_page_and_none_more(pacs: Orthanc, addresses: list[InstanceAddress]) -> None:
    server = DicomWebServer(pacs.url)
    server.store([phantom_file(1, 96)], addresses[0].study)
    line, count = server._line(), 0

    def counted(*given: object, **settings: object) -> object:
        nonlocal count
        count += 1
        return send(*given, **settings)

    send, line.session.send = line.session.send, counted  # type: ignore[method-assign]
    assert [each.address for each in server.instances(addresses[0].study) if each.is_frontal_chest]
    assert count == 2


def test_several_threads_may_ask_at_once(
    pacs: Orthanc, files: list[bytes], addresses: list[InstanceAddress]
) -> None:
    server, got = DicomWebServer(pacs.url), dict[int, bool]()
    for file, address in zip(files, addresses, strict=True):
        server.store([file], address.study)

    def ask(index: int) -> None:
        got[index] = all(server.retrieve(addresses[index % 3]) == files[index % 3] for _ in range(5))

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert got == dict.fromkeys(range(4), True)


def test_a_forked_process_asks_through_a_connection_of_its_own(
    pacs: Orthanc, files: list[bytes], addresses: list[InstanceAddress]
) -> None:
    server = DicomWebServer(pacs.url)
    server.store([files[0]], addresses[0].study)
    line = server._line()
    assert server._line() is line
    server._own.line = type(line)(os.getpid() + 1, line.session, line.client)
    assert server._line().session is not line.session
    assert server.retrieve(addresses[0]) == files[0]


# Who asks.


@pytest.mark.parametrize("way", ["environment", "netrc"])
def test_a_user_and_password_come_from_the_environment_or_a_netrc(
    guarded: Orthanc, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    if way == "environment":
        monkeypatch.setenv(USER, "reader")
        monkeypatch.setenv(PASSWORD, "s3cret:+ü")
    else:
        (tmp_path / "netrc").write_text(
            'machine 127.0.0.1 login reader password "s3cret:+ü"\n', encoding="utf-8"
        )
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = DicomWebServer(guarded.url)
    assert list(server.find_studies({})) == []
    again = pickle.loads(pickle.dumps(server))
    assert list(again.find_studies({})) == []
    assert b"s3cret" not in pickle.dumps(server)
    assert "s3cret" not in repr(server) + repr(vars(server)) + repr(vars(server._credentials).keys())


@pytest.mark.parametrize(
    ("set_to", "expected"),
    [
        ({}, r"a server that asks for a user and password, or a token \(HTTP 401\)"),
        (
            {USER: "reader", PASSWORD: "wr0ng"},
            r"password or token that the server does not take \(HTTP 401\)",
        ),
        ({TOKEN: "wr0ng"}, r"password or token that the server does not take \(HTTP 401\)"),
    ],
)
def test_who_may_not_is_told_so_in_one_line_without_the_secret(
    guarded: Orthanc,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    set_to: dict[str, str],
    expected: str,
) -> None:
    caplog.set_level(0)
    for name, value in set_to.items():
        monkeypatch.setenv(name, value)
    server = DicomWebServer(guarded.url)
    with pytest.raises(DicomWebError, match=expected) as refused:
        list(server.find_studies({"PatientID": "SECRET-PATIENT"}))
    said = str(refused.value)
    assert said.startswith(f"{guarded.url}: ")
    assert "\n" not in said
    assert USER in said  # the way in
    assert "wr0ng" not in said + caplog.text
    assert "SECRET-PATIENT" not in said + caplog.text


def test_another_address_on_the_same_server_is_a_404(pacs: Orthanc) -> None:
    with pytest.raises(DicomWebError, match=r"nothing under this address \(HTTP 404\)"):
        list(DicomWebServer(f"{pacs.base}/pacs").find_studies({}))


def test_tls_is_verified_by_the_authority_that_is_given(
    pacs: Orthanc,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: list[bytes],
    addresses: list[InstanceAddress],
) -> None:
    made = certificate(tmp_path)
    (tmp_path / "another").mkdir()
    another = certificate(tmp_path / "another")
    with over_tls(pacs, made) as url:
        server = DicomWebServer(url, ca=made.authority)
        assert server.store([files[0]], addresses[0].study) == [addresses[0]]
        assert pickle.loads(pickle.dumps(server)).retrieve(addresses[0]) == files[0]
        for distrusting in (DicomWebServer(url), DicomWebServer(url, ca=another.authority)):
            with pytest.raises(DicomWebError, match="whose certificate is not trusted"):
                distrusting.has(addresses[0])
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(made.authority))
        assert DicomWebServer(url).has(addresses[0])
        with pytest.raises(DicomWebError, match="whose certificate is not trusted"):  # `ca` alone counts
            DicomWebServer(url, ca=another.authority).has(addresses[0])
        with pytest.raises(DicomWebError, match="one that broke off"):
            DicomWebServer(url.replace("https", "http"), attempts=1).has(addresses[0])


# Killed.


@pytest.mark.parametrize(("received", "answers"), [(100, False), (30_000, False), (10, True)])
def test_a_server_killed_in_mid_transfer_has_everything_once(
    tmp_path: Path, files: list[bytes], addresses: list[InstanceAddress], received: int, answers: bool
) -> None:
    sent = [files[0], *in_study(files[0], 2)]
    with orthanc(tmp_path) as pacs:
        with killed_during(pacs, received, answers=answers) as url:
            stored = DicomWebServer(url, backoff=0.1).store(sent, addresses[0].study)
        server = DicomWebServer(pacs.url)
        assert pacs.uids() == sorted(each.instance for each in stored)
        assert [server.retrieve(each) for each in stored] == sent


@pytest.mark.parametrize("received", [10, 3_000])
def test_a_server_killed_while_it_answers_gives_the_whole_file(
    tmp_path: Path, files: list[bytes], addresses: list[InstanceAddress], received: int
) -> None:
    with orthanc(tmp_path) as pacs:
        DicomWebServer(pacs.url).store([files[0]], addresses[0].study)
        with killed_during(pacs, received, answers=True) as url:
            assert DicomWebServer(url, backoff=0.1).retrieve(addresses[0]) == files[0]


def test_a_server_that_is_gone_is_one_line(tmp_path: Path, addresses: list[InstanceAddress]) -> None:
    with orthanc(tmp_path) as pacs:
        server = DicomWebServer(pacs.url, attempts=2, backoff=0.01)
        assert not server.has(addresses[0])
        pacs.kill()
        with pytest.raises(DicomWebError, match=r"no connection, or one that broke off\. Check"):
            server.has(addresses[0])
        pacs.start()
        assert not server.has(addresses[0])
