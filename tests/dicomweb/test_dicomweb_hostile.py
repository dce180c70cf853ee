"""Servers that are slow, broken or hostile, over real connections: one clear line each, and an end."""

from __future__ import annotations

import gzip
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import certificate
from dicom_sources import changed
from weights_server import FileServer, saying, scripted, serving, to

from cxr_explain.dicomweb import server as server_module
from cxr_explain.dicomweb import session
from cxr_explain.dicomweb.addresses import InstanceAddress
from cxr_explain.dicomweb.credentials import PASSWORD, TOKEN, USER
from cxr_explain.dicomweb.multipart import encode
from cxr_explain.dicomweb.server import DicomWebServer
from cxr_explain.errors import CxrExplainWarning, DicomWebError

STUDY = "1.2.3"
HERE = InstanceAddress(STUDY, "1.2.3.4", "1.2.3.4.5")
JSON = "Content-Type: application/dicom+json"


@pytest.fixture
def web() -> Iterator[FileServer]:
    with serving(b"[]") as state:
        yield state


def client(web: FileServer, **settings: Any) -> DicomWebServer:
    return DicomWebServer(f"{web.base}/dicom-web", **({"backoff": 0.0, "timeout": 5.0} | settings))


def said(data: object, status: str = "200 OK", *headers: str) -> Callable:
    """A behaviour: an answer in JSON."""
    return saying(JSON, *headers, status=status, body=json.dumps(data).encode())


def item(**values: object) -> dict[str, Any]:
    """A data set in JSON, by keywords."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    return {
        f"{tag_for_keyword(keyword):08X}": {"vr": dictionary_VR(keyword), "Value": [value]}
        for keyword, value in values.items()
    }


def instance(address: InstanceAddress = HERE, **values: object) -> dict[str, Any]:
    uids = {
        "StudyInstanceUID": address.study,
        "SeriesInstanceUID": address.series,
        "SOPInstanceUID": address.instance,
    }
    return item(**uids, **values)


# What is no answer to a query.


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", "an answer that is no JSON, or was cut off"),
        (b"\xff\xfe", "an answer that is no JSON"),
        (b"[" * 100_000, "an answer that is no JSON"),
        (b"<!DOCTYPE html><html>Log in</html>", "a page in HTML or XML, such as one to log in"),
        (b'[1, "a"]', "JSON that holds something else than data sets"),
        (b"17", "JSON that holds something else"),
        (b"null", "JSON that holds something else"),
        (b'{"0020000D": 17}', "an answer without StudyInstanceUID"),
        (b'[{"0020000D": {"vr": "UI", "Value": []}}]', "an answer without StudyInstanceUID"),
        (b'[{"0020000D": {"vr": "UI", "Value": [{"a": 1}]}}]', "an answer without StudyInstanceUID"),
        (b'[{"0020000D": {"vr": "UI", "Value": ["../patients"]}}]', "what is no unique identifier"),
        (b'[{"0020000D": {"vr": "UI", "Value": ["1.2\\n3"]}}]', "what is no unique identifier"),
    ],
)
def test_what_is_no_answer_is_one_line(web: FileServer, body: bytes, expected: str) -> None:
    web.plan = [saying(JSON, body=body)]
    with pytest.raises(DicomWebError, match=expected) as refused:
        list(client(web).find_studies({}))
    assert str(refused.value).startswith(f"{web.base}/dicom-web: ")
    assert "\n" not in str(refused.value)


def test_values_of_any_shape_are_read_or_left_out(web: FileServer) -> None:
    odd = {"vr": "PN", "Value": [{"Alphabetic": {"x": 1}}, None, [], 7, {"Alphabetic": "A^B"}]}
    web.plan = [said([item(StudyInstanceUID=STUDY) | {"00100010": odd, "zzzzzzzz": 1, "00100020": []}])]
    (study,) = client(web).find_studies({})
    assert study.attributes == {"StudyInstanceUID": STUDY, "PatientName": "7\\A^B"}
    assert "A^B" not in repr(study)
    shapes = [{}, [], 1, None, {"vr": "CS"}, {"vr": "SQ", "Value": [{"vr": 1}]}, {"vr": "??", "Value": [1]}]
    for shape in shapes:
        web.plan = [said([instance() | {"00185101": shape, "00280008": shape, "00080060": shape}])]
        (found,) = client(web).instances(STUDY)
        assert found.address == HERE


def test_a_study_or_series_other_than_asked_for_is_refused(web: FileServer) -> None:
    web.plan = [said([instance(InstanceAddress("9.9", "1", "1"))])]
    with pytest.raises(DicomWebError, match="an answer about another study"):
        client(web).instances(STUDY)
    web.plan = [said([item(StudyInstanceUID=STUDY, PatientID="ANOTHER")])]
    with pytest.raises(DicomWebError, match="a study of another PatientID than was asked for") as refused:
        list(client(web).find_studies({"PatientID": "THIS"}))
    assert "ANOTHER" not in str(refused.value)
    web.plan = [said([instance(InstanceAddress(STUDY, HERE.series, "1.2.9"))])]
    assert not client(web).has(HERE)


def test_a_server_that_knows_no_offset_is_asked_twice(web: FileServer) -> None:
    web.plan = [said([item(StudyInstanceUID=STUDY)])] * 9
    assert [study.uid for study in client(web).find_studies({})] == [STUDY]
    assert len(web.paths) == 2


def test_a_server_that_always_finds_more_is_left(web: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_MOST_RESULTS", 5)
    web.plan = [said([item(StudyInstanceUID=f"1.{n}.{i}") for i in range(2)]) for n in range(9)]
    with pytest.raises(DicomWebError, match="more than 5 results"):
        list(client(web).find_studies({}))
    assert len(web.paths) == 3


def test_no_more_pages_are_asked_for_than_are_taken(web: FileServer) -> None:
    web.plan = [said([item(StudyInstanceUID=f"1.{n}") for n in range(3)])] * 2
    assert len(list(client(web).find_studies({}, limit=2))) == 2
    assert web.paths == ["/dicom-web/studies?limit=2&offset=0"]
    assert web.requests[0]["Host"] == web.base.removeprefix("http://")  # with the port


def test_what_a_query_leaves_out_is_read_from_the_metadata_of_its_series(web: FileServer) -> None:
    little = [instance(Modality="DX"), instance(InstanceAddress(STUDY, "7", "7.1"), Modality="SR")]
    web.plan = [said(little), said([]), said([instance(Modality="DX", ViewPosition="LL")])]
    radiograph, report = client(web).instances(STUDY)
    assert radiograph.why_not == "lateral view (LL)"
    assert report.why_not == "modality SR (a structured report)"
    assert web.paths[2:] == [f"/dicom-web/studies/{STUDY}/series/{HERE.series}/metadata"]


# Refusals, and trying again.


@pytest.mark.parametrize(
    "status", [400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 429, 500, 501, 503, 507]
)
def test_a_refusal_is_one_line_without_what_the_server_wrote(web: FileServer, status: int) -> None:
    body = b'{"Details": "no such patient DOE^JANE", "path": "/var/lib"}'
    web.plan = [saying(JSON, status=f"{status} No", body=body)] * 9
    with pytest.raises(DicomWebError, match=rf"\(HTTP {status}\)") as refused:
        client(web).instances(STUDY)
    assert "DOE" not in str(refused.value)
    assert len(web.paths) == (5 if status in (429, 500, 503) else 1)


def test_what_passes_is_tried_again_and_the_whole_body_sent_again(
    web: FileServer, files: list[bytes]
) -> None:
    stored = said({"00081199": {"vr": "SQ", "Value": [item(ReferencedSOPInstanceUID=HERE.instance)]}})
    file = changed(files[0], _named)
    web.plan = ["500", saying(status="503 Later"), "drop", stored]
    assert client(web).store([file], STUDY) == [HERE]
    assert len(set(web.bodies)) == 1
    assert file in web.bodies[0]
    assert web.requests[3]["Content-Length"] == str(len(web.bodies[0]))


def test_an_answer_that_breaks_off_is_asked_for_again(web: FileServer) -> None:
    web.content = json.dumps([item(StudyInstanceUID=STUDY)]).encode()
    web.plan = ["drop", "too-long-a-length", "good"]
    assert next(client(web).find_studies({})).uid == STUDY
    web.plan = ["drop"] * 9
    with pytest.raises(DicomWebError, match="broke off"):
        list(client(web).find_studies({}))
    assert len(web.paths) == 8


def test_a_server_says_when_to_ask_again(web: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(session.time, "sleep", waited.append)
    web.plan = [saying("Retry-After: 7", status="503 Later"), saying("Retry-After: soon", status="429 Later")]
    assert list(client(web, backoff=0.25).find_studies({})) == []
    assert waited == [7.0, 0.5]
    web.plan = [saying("Retry-After: 86400", status="503 Later")]
    with pytest.raises(DicomWebError, match="overloaded or being looked after"):
        list(client(web).find_studies({}))
    assert len(waited) == 2


# Redirects.


def test_a_redirect_within_the_server_is_followed_with_credentials(
    web: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "s3cret")
    web.plan = [to("/pacs/studies")]
    assert list(client(web).find_studies({})) == []
    assert web.paths[1] == "/pacs/studies"
    assert [each["Authorization"] for each in web.requests] == ["Bearer s3cret"] * 2


def test_no_redirect_leads_elsewhere_and_no_credentials_go_there(
    web: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(USER, "reader")
    monkeypatch.setenv(PASSWORD, "s3cret")
    with serving(b"[]") as other:
        host = web.base.removeprefix("http://")
        targets = [
            other.base,
            f"http://localhost:{host.split(':')[1]}/",
            f"https://{host}/",
            f"http://reader:s3cret@{host}/",
            f"//{other.base[7:]}/",
            "file:///etc/passwd",
            "http://[",
            "/ä",
            "",
        ]
        for target in targets:
            web.plan = [to(target)]
            with pytest.raises(DicomWebError, match="a redirect to ") as refused:
                list(client(web).find_studies({}))
            assert "s3cret" not in str(refused.value)
        assert other.requests == []
    web.plan = [to("/round")] * 20
    with pytest.raises(DicomWebError, match="more than 5 redirects"):
        list(client(web).find_studies({}))


def test_storing_is_not_turned_into_reading_by_a_redirect(web: FileServer, files: list[bytes]) -> None:
    web.plan = [to("/studies")]
    with pytest.raises(DicomWebError, match="a redirect to "):
        client(web).store([changed(files[0], _named)], STUDY)
    assert len(web.paths) == 1


# Time and size.


def _drip(stream: Any, over: Any) -> None:
    stream.write(b"HTTP/1.1 200 OK\r\n")
    while not over.wait(0.02):
        stream.write(b"X-Slow: 1\r\n")


def _drip_body(stream: Any, over: Any) -> None:
    stream.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not over.wait(0.02):
        stream.write(b"1\r\n \r\n")


def _silent(stream: Any, over: Any) -> None:
    over.wait(20)


@pytest.mark.parametrize(
    ("scheme", "script", "expected"),
    [
        ("http", _drip, "no whole answer within the time allowed"),
        ("http", _drip_body, "no whole answer within the time allowed"),
        ("http", _silent, "no whole answer within the time allowed"),
        ("https", _silent, "no whole answer within the time allowed"),
        ("https", _drip, "a server that speaks no TLS"),
    ],
)
def test_a_server_without_an_end_is_left_in_time(scheme: str, script: Callable, expected: str) -> None:
    with scripted(script) as port:
        began = time.monotonic()
        server = DicomWebServer(f"{scheme}://127.0.0.1:{port}", longest=0.4, attempts=2)
        for _ in range(2):
            with pytest.raises(DicomWebError, match=expected):
                server.has(HERE)
        assert time.monotonic() - began < 5


def test_a_silent_server_is_asked_as_often_as_allowed(web: FileServer) -> None:
    web.plan = ["slow"] * 3
    with pytest.raises(DicomWebError, match=r"no whole answer within the time allowed\. Give more"):
        client(web, timeout=0.2, attempts=2).has(HERE)
    assert len(web.paths) == 2


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_without_an_end_is_left_at_the_limit(
    web: FileServer, monkeypatch: pytest.MonkeyPatch, packed: bool
) -> None:
    monkeypatch.setattr(session, "MOST_JSON", 2**20)
    body = b"[" + b" " * 2**24 + b"]"
    headers = ["Content-Encoding: gzip"] if packed else []
    web.plan = [saying(JSON, *headers, body=gzip.compress(body) if packed else body)]
    with pytest.raises(DicomWebError, match="an answer of more than 1 MiB"):
        list(client(web).find_studies({}))


def test_what_is_packed_wrongly_is_one_line(web: FileServer) -> None:
    web.plan = [saying(JSON, "Content-Encoding: gzip", body=b"[]")] * 9
    with pytest.raises(DicomWebError, match="an answer that is packed wrongly"):
        list(client(web).find_studies({}))


def test_a_greeting_of_another_protocol_is_one_line() -> None:
    with scripted(lambda stream, over: stream.write(b"220 mail ready\r\n")) as port:
        server = DicomWebServer(f"http://127.0.0.1:{port}", attempts=2, backoff=0)
        with pytest.raises(DicomWebError, match="no connection, or one that broke off"):
            server.has(HERE)


# A retrieved instance.


def _named(dataset: Any, address: InstanceAddress = HERE) -> None:
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = address.study, address.series
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = address.instance


def parts(*files: bytes, end: int | None = None) -> Callable:
    body, content_type = encode(files)
    return saying(f"Content-Type: {content_type}", body=body[:end])


def test_an_instance_is_taken_as_a_part_or_as_it_is(web: FileServer, files: list[bytes]) -> None:
    file = changed(files[0], _named)
    body, content_type = encode([file])
    odd = body.replace(content_type.split("boundary=")[1].encode(), b"a b'(?)")
    web.plan = [
        parts(file),
        saying("Content-Type: application/dicom", body=file),
        saying('Content-Type: Multipart/Related; Boundary="a b\'(?)"; type=x', body=b"preamble\r\n" + odd),
    ]
    assert [client(web).retrieve(HERE) for _ in range(3)] == [file] * 3
    assert web.paths[0] == f"/dicom-web/{HERE.path}"
    assert web.requests[0]["Accept"] == 'multipart/related; type="application/dicom"; transfer-syntax=*'
    assert web.requests[0]["Host"] == web.base.removeprefix("http://")


def test_what_is_no_instance_or_another_one_is_refused(web: FileServer, files: list[bytes]) -> None:
    file = changed(files[0], _named)
    other = InstanceAddress(STUDY, HERE.series, "1.2.3.4.6")
    another = changed(files[0], lambda dataset: _named(dataset, other))
    body, content_type = encode([file])
    boundary = content_type.split("boundary=")[1]
    behaviours: list[tuple[Callable, str]] = [
        (parts(another), "another instance"),
        (parts(files[1]), "an instance of another study"),
        (parts(file, file), "an answer with 2 instances"),
        (parts(), "an answer with 0 instances"),
        (parts(file, end=-100), "an answer that was cut off"),
        (parts(file, end=len(body) - 2), "an answer that was cut off"),
        (parts(b"nothing"), "what is no DICOM file"),
        (parts(b""), "what is no DICOM file"),
        (saying("Content-Type: multipart/related", body=body), "does not name what separates them"),
        (saying("Content-Type: text/html", body=b"<html>"), "an answer of another kind"),
        (saying(body=file), "an answer of another kind"),
        (saying(f"Content-Type: multipart/related; boundary=not{boundary}", body=body), "first of them"),
        (saying(f"Content-Type: {content_type}", body=b""), "first of them"),
        (
            saying(f"Content-Type: {content_type}", body=f"--{boundary}\r\nx\r\n--{boundary}--".encode()),
            "headers have no end",
        ),
    ]
    for behaviour, expected in behaviours:
        web.plan = [behaviour]
        with pytest.raises(DicomWebError, match=expected):
            client(web).retrieve(HERE)


# What a server says it has stored.


def outcome(stored: list[dict] | None = None, failed: list[dict] | None = None) -> dict[str, Any]:
    return {
        "00081199": {"vr": "SQ", "Value": stored or []},
        "00081198": {"vr": "SQ", "Value": failed or []},
    }


NAMED = item(ReferencedSOPInstanceUID=HERE.instance)
IS_THERE, IS_NOT = said([instance()]), said([])


@pytest.mark.parametrize(
    ("answer", "asked"),
    [
        (said(outcome([NAMED])), None),
        (saying(status="200 OK"), IS_THERE),
        (saying(JSON, body=b"<xml/>"), IS_THERE),
        (saying(JSON, body=b"{"), IS_THERE),
        (said(outcome()), IS_THERE),
        (said([outcome()]), IS_THERE),
        (said({"00081199": {"Value": [1, None, {"00081155": 3}]}}), IS_THERE),
        (said(outcome(failed=[NAMED | item(FailureReason=0x0111)]), "409 Conflict"), IS_THERE),
        (saying(status="409 Conflict"), IS_THERE),
    ],
)
def test_what_is_there_is_stored(
    web: FileServer, files: list[bytes], answer: Callable, asked: Callable | None
) -> None:
    web.plan = [answer] if asked is None else [answer, asked]
    assert client(web).store([changed(files[0], _named)], STUDY) == [HERE]
    assert len(web.paths) == (1 if asked is None else 2)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (saying(status="200 OK"), r"an instance that was not stored\. Look"),
        (
            said(outcome(failed=[NAMED | item(FailureReason=0xA700)]), "202 Accepted"),
            r"out of resources \(A700\)",
        ),
        (said(outcome(failed=[NAMED | item(FailureReason=0xC123)]), "409 No"), r"cannot understand \(C123\)"),
        (said(outcome(failed=[NAMED | item(FailureReason=0xB1)]), "400 No"), "failure reason 00B1"),
        (said(outcome([NAMED], [NAMED])), r"processing failure \(0110\)"),
        (saying(status="400 No"), r"\(HTTP 400\)"),
        (saying(status="413 No"), r"more than the server takes at once \(HTTP 413\)"),
        (saying(status="409 No"), "an instance that was not stored"),
    ],
)
def test_what_is_not_there_is_not_stored(
    web: FileServer, files: list[bytes], answer: Callable, expected: str
) -> None:
    web.plan = [answer, IS_NOT]
    with pytest.raises(DicomWebError, match=expected):
        client(web).store([changed(files[0], _named)], STUDY)


def test_values_that_the_server_changed_are_told(web: FileServer, files: list[bytes]) -> None:
    web.plan = [said(outcome([NAMED | item(WarningReason=0xB000)]))]
    with pytest.warns(CxrExplainWarning, match=r"values changed by the server \(B000\)"):
        client(web).store([changed(files[0], _named)], STUDY)


def test_files_that_are_too_much_at_once_are_sent_one_after_another(
    web: FileServer, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cxr_explain.dicomweb import storing

    monkeypatch.setattr(storing, "MOST_AT_ONCE", len(files[0]) + 10)
    web.plan = [said(outcome([NAMED]))] * 2
    file = changed(files[0], _named)
    assert client(web).store([file, file], STUDY) == [HERE, HERE]
    assert len(web.bodies) == 2


# Secrets.


def test_neither_secrets_nor_patients_are_logged(
    web: FileServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(TOKEN, "s3cret")
    caplog.set_level(logging.DEBUG)
    web.plan = [saying("Warning: 299 dicom-web: DOE^JANE", JSON, body=b"[]"), "500", "drop"]
    server = client(web)
    assert list(server.find_studies({"PatientName": "DOE^JANE"})) == []
    assert not server.has(HERE)
    assert "DOE" not in caplog.text
    assert STUDY not in caplog.text
    assert "s3cret" not in caplog.text
    logging.getLogger("urllib3.connectionpool").debug("others log as before")
    assert "others log as before" in caplog.text


def test_a_netrc_gives_a_password_to_the_host_that_it_names_alone(
    web: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine pacs.example login reader password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert list(client(web).find_studies({})) == []
    assert "Authorization" not in web.requests[0]


def test_a_proxy_is_not_asked_for_this_machine(web: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(b"[]") as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base)
        assert list(client(web).find_studies({})) == []
        assert proxy.requests == []
        far = DicomWebServer("http://pacs.example/dicom-web", allow_http=True)
        assert list(far.find_studies({})) == []
        assert proxy.paths == ["http://pacs.example/dicom-web/studies?limit=200&offset=0"]


def test_a_certificate_for_another_host_is_not_trusted(tmp_path: Path) -> None:
    made = certificate(tmp_path)
    with serving(b"[]", made.context()) as secure:
        port = secure.base.rsplit(":", 1)[1]
        assert not DicomWebServer(secure.base, ca=made.authority).has(HERE)
        with pytest.raises(DicomWebError, match="whose certificate is not trusted"):
            DicomWebServer(f"https://localhost:{port}", ca=made.authority).has(HERE)
