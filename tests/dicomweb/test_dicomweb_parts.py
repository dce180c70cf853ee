"""Addresses, credentials, queries, multipart messages and the choice of radiographs, without a server."""

from __future__ import annotations

import copy
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from cxr_explain.dicomweb.addresses import InstanceAddress
from cxr_explain.dicomweb.attributes import all_texts, header_of, one_uid
from cxr_explain.dicomweb.credentials import PASSWORD, TOKEN, USER, Credentials
from cxr_explain.dicomweb.found import NEEDED, FoundInstance
from cxr_explain.dicomweb.location import Location
from cxr_explain.dicomweb.matching import check_match, check_query
from cxr_explain.dicomweb.multipart import decode, encode
from cxr_explain.dicomweb.server import DicomWebServer
from cxr_explain.dicomweb.storing import StoreOutcome, address_of
from cxr_explain.errors import DicomWebError, OptionError

ADDRESS = InstanceAddress("1.2.3", "1.2.3.4", "1.2.3.4.5")


# Addresses.


@pytest.mark.parametrize(
    ("given_url", "url"),
    [
        ("https://PACS.example:443/dicom-web/", "https://pacs.example/dicom-web"),
        ("https://pacs.example:8443", "https://pacs.example:8443"),
        ("http://127.0.0.1:8042/dicom-web", "http://127.0.0.1:8042/dicom-web"),
        ("http://[::1]:8042/dicom-web", "http://[::1]:8042/dicom-web"),
        ("  http://localhost/a/b_c.d~e  ", "http://localhost/a/b_c.d~e"),
    ],
)
def test_an_address_is_taken(given_url: str, url: str) -> None:
    assert DicomWebServer(given_url).name == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "pacs.example", "ftp://pacs.example", "file:///etc", "https://", "https://[::1", "https:///x"),
        *("https://pacs.example:x", "https://pacs.example:99999", "https://pacs.example/a?token=s3cret"),
        *("https://pacs.example/#s3cret", "https://pacs.example/a b", "https://pacs.example/\x1b[2J"),
        *("https://reader:s3cret@pacs.example/", "https://s3cret@pacs.example", "http://pacs.example/"),
        *("http://10.0.0.1:8042/dicom-web", "http://127.0.0.1.s3cret.example/", "http://0.0.0.0:8042/"),
    ],
)
def test_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(DicomWebError) as refused:
        DicomWebServer(url)
    assert "s3cret" not in str(refused.value)
    assert str(refused.value).isprintable()


def test_plain_http_to_another_machine_is_for_who_asks_and_without_a_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(DicomWebError, match="allow_http= / --allow-http takes it"):
        DicomWebServer("http://pacs.example")
    assert DicomWebServer("http://pacs.example", allow_http=True).name == "http://pacs.example"
    monkeypatch.setenv(TOKEN, "s3cret")
    with pytest.raises(DicomWebError, match=r"credentials for a server over plain http.*Use https"):
        DicomWebServer("http://pacs.example", allow_http=True)
    assert DicomWebServer("http://localhost").name == "http://localhost"


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://pacs.example/other", True),
        ("https://pacs.example:443/", True),
        ("https://pacs.example.", True),
        ("http://pacs.example/", False),
        ("https://pacs.example:8443/", False),
        ("https://pacs.example.evil/", False),
        ("https://evil@pacs.example/", False),
        ("https://pacs.example@evil/", False),
        ("https://pacs.example:x/", False),
        ("/x", False),
    ],
)
def test_what_is_on_the_same_server(url: str, same: bool) -> None:
    assert Location.of("https://pacs.example/dicom-web").has(url) == same


@pytest.mark.parametrize(
    "uid", ["", "1..2", ".1", "1.", "1/2", "..", "1.2\n", "1" * 65, "1.a", "1.2%2f", "\u0661"]
)
def test_what_is_no_unique_identifier_is_no_address(uid: str) -> None:
    for uids in ((uid, "1", "1"), ("1", uid, "1"), ("1", "1", uid)):
        with pytest.raises(DicomWebError, match="what is no unique identifier"):
            InstanceAddress(*uids)
    with pytest.raises(DicomWebError):
        DicomWebServer("http://localhost").instances(uid)


def test_an_address_is_read_back_from_its_path() -> None:
    assert InstanceAddress.of(ADDRESS.path) == ADDRESS
    for path in (f"/{ADDRESS.path}", f"{ADDRESS.path}/frames/1", ADDRESS.path.replace("1.2.3/", "../")):
        with pytest.raises(DicomWebError):
            InstanceAddress.of(path)


@pytest.mark.parametrize(
    "settings", [{"attempts": 0}, {"backoff": -1.0}, {"timeout": 0.0}, {"longest": float("nan")}]
)
def test_numbers_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(settings))):
        DicomWebServer("http://localhost", **settings)


def test_authorities_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DicomWebError, match="no file of certificates"):
        DicomWebServer("https://pacs.example", ca=tmp_path / "none.pem")
    (tmp_path / "bad.pem").write_text("nothing")
    with pytest.raises(DicomWebError, match="no certificate that can be read"):
        DicomWebServer("https://pacs.example", ca=tmp_path / "bad.pem")


# Credentials.


@pytest.mark.parametrize(
    ("set_to", "expected"),
    [
        ({USER: "a", PASSWORD: "s3cret", TOKEN: "s3cret"}, "both"),
        ({PASSWORD: "s3cret", TOKEN: "s3cret"}, "both"),
        ({USER: "a"}, "without"),
        ({PASSWORD: "s3cret"}, "without"),
        ({TOKEN: "s3cret\r\nX-Evil: 1"}, "a sign that no bearer token has"),
        ({TOKEN: "s3cret ü"}, "a sign that no bearer token has"),
        ({USER: "a:b", PASSWORD: "s3cret"}, "a sign that basic authentication cannot carry"),
        ({USER: "a", PASSWORD: "s3cret\n"}, "a sign that basic authentication cannot carry"),
    ],
)
def test_credentials_that_cannot_be_used_are_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, set_to: dict[str, str], expected: str
) -> None:
    for name, value in set_to.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DicomWebError, match=expected) as refused:
        DicomWebServer("https://pacs.example")
    assert "s3cret" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "content", [b"machine pacs.example s3cret", b"s3cret\xff\xfe", b"bad s3cret toplevel"]
)
def test_a_netrc_that_cannot_be_read_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "netrc").write_bytes(content)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(DicomWebError, match="a netrc that cannot be read") as refused:
        DicomWebServer("https://pacs.example")
    assert "s3cret" not in str(refused.value)


def test_the_environment_comes_before_a_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine pacs.example login a password b\ndefault login c password d\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert Credentials.for_host("pacs.example").header == "Basic YTpi"
    assert Credentials.for_host("other.example").header == "Basic Yzpk"
    monkeypatch.setenv(TOKEN, "abc")
    assert Credentials.for_host("pacs.example").header == "Bearer abc"


def test_credentials_are_neither_shown_nor_pickled_nor_copied() -> None:
    secret = Credentials("Bearer s3cret")
    assert "s3cret" not in f"{secret!r} {secret}"
    for carry in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="credentials are not pickled"):
            carry(secret)


# Queries.


@pytest.mark.parametrize(
    "query",
    [
        *({"limit": "5"}, {"offset": "1"}, {"includefield": "all"}, {"Patient": "x"}, {"0010002": "x"}),
        *({"PatientID": ""}, {"PatientID": " "}, {"PatientID": "a\nb"}, {"PatientID": 5}, {"": "x"}),
    ],
)
def test_what_a_server_would_leave_out_of_account_is_refused(query: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="the query's"):
        check_query(query)
    with pytest.raises(OptionError):
        next(DicomWebServer("http://localhost").find_studies(query))


def test_attributes_are_named_by_keyword_tag_or_path() -> None:
    query = {"00100020": "A", "RequestAttributesSequence.RequestedProcedureID": "B", "StudyDate": "2026"}
    assert check_query(query) == query


@pytest.mark.parametrize(
    ("asked", "said", "matches"),
    [
        ({"StudyInstanceUID": "1.2,1.3"}, {"0020000D": "1.3"}, True),
        ({"StudyInstanceUID": "1.2\\1.3"}, {"0020000D": "1.4"}, False),
        ({"PatientID": "abc"}, {"00100020": "ABC "}, True),
        ({"PatientID": "A?C*"}, {"00100020": "X"}, True),
        ({"00100020": "A"}, {"00100020": "B"}, False),
        ({"PatientID": "A"}, {}, True),
        ({"StudyDate": "20260101-20260131"}, {"00080020": "20260131"}, True),
        ({"StudyDate": "20260101-20260131"}, {"00080020": "20260201"}, False),
        ({"StudyDate": "-20260131"}, {"00080020": "20260201"}, False),
        ({"StudyDate": "20260201-"}, {"00080020": "20260131"}, False),
        ({"StudyDate": "20260131"}, {"00080020": "20260131"}, True),
        ({"StudyDate": "20260131"}, {"00080020": "2026"}, True),
        ({"ModalitiesInStudy": "DX"}, {"00080061": "CT"}, False),
        ({"StudyDescription": "A"}, {"00081030": "B"}, True),
    ],
)
def test_a_study_that_was_not_asked_for_is_known(
    asked: dict[str, str], said: dict[str, str], matches: bool
) -> None:
    item = {tag: {"vr": "LO", "Value": [value]} for tag, value in said.items()}
    if matches:
        check_match(asked, item)
    else:
        with pytest.raises(DicomWebError, match="than was asked for"):
            check_match(asked, item)


# The choice.


def found(**values: object) -> FoundInstance:
    header = Dataset()
    for keyword, value in values.items():
        setattr(header, keyword, value)
    return FoundInstance(ADDRESS, header)


@pytest.mark.parametrize(
    ("values", "why_not"),
    [
        ({"Modality": "DX", "ViewPosition": "PA"}, None),
        ({"Modality": "CR"}, None),
        ({"Modality": "DX", "ViewPosition": "LLO"}, "view LLO"),
        ({"Modality": "DX", "ViewPosition": "RL"}, "lateral view (RL)"),
        ({"Modality": "DX", "ViewPosition": "JANE DOE"}, None),
        ({"Modality": "DX", "BodyPartExamined": "RIBS"}, None),
        ({"Modality": "DX", "BodyPartExamined": "ABDOMEN"}, "body part ABDOMEN"),
        ({"Modality": "DX", "BodyPartExamined": "JANE DOE"}, None),
        ({"Modality": "OT"}, "nothing in the header that says it is a chest radiograph"),
        ({"Modality": "OT", "BodyPartExamined": "CHEST"}, None),
        ({"Modality": "OT", "ViewPosition": "AP"}, None),
        ({}, "nothing in the header that says it is a chest radiograph"),
        ({"Modality": "JANE"}, "another modality than radiography"),
        ({"Modality": "SR"}, "modality SR (a structured report)"),
        ({"Modality": "DX", "NumberOfFrames": 1}, None),
        ({"Modality": "DX", "NumberOfFrames": 20}, "more than one frame"),
        ({"Modality": "DX", "Manufacturer": "cxr-explain", "ManufacturerModelName": "phantom"}, None),
        ({"Modality": "DX", "Manufacturer": "cxr-explain"}, "an object of cxr-explain"),
    ],
)
def test_which_instance_is_taken(values: dict[str, object], why_not: str | None) -> None:
    assert found(**values).why_not == why_not


def test_what_is_not_known_is_noted() -> None:
    assert found(Modality="CR").notes == ("view unknown", "body part unknown")
    assert found(Modality="CR", ViewPosition="AP", BodyPartExamined="CHEST").notes == ()


# Whatever comes.

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_TAGS = st.sampled_from(["0020000D", "00080018", "00185101", "00540220", "00280008", "00081199", "00081155"])
_ATTRIBUTE = _JSON | st.fixed_dictionaries(
    {"vr": st.sampled_from(["CS", "UI", "SQ", "IS", "PN", "XX"]) | _JSON, "Value": _JSON | st.lists(_JSON)}
)


@given(st.dictionaries(_TAGS | st.text(max_size=8), _ATTRIBUTE, max_size=6))
def test_any_json_is_read_or_refused(item: dict[str, Any]) -> None:
    instance = FoundInstance(ADDRESS, header_of(item, NEEDED))
    assert instance.is_frontal_chest == (instance.why_not is None)
    assert all(isinstance(value, str) for value in all_texts(item).values())
    outcome = StoreOutcome.of(item)
    assert not outcome.stored & outcome.failed.keys()
    check_match({"StudyDate": "2026"}, item)
    with suppress(DicomWebError):
        InstanceAddress(one_uid(item, "StudyInstanceUID"), "1", one_uid(item, "SOPInstanceUID"))


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_files_are_read_back_from_a_message(files: list[bytes]) -> None:
    body, content_type = encode(files)
    assert decode(body, content_type) == files
    for end in range(len(body)):
        with pytest.raises(DicomWebError):
            decode(body[:end], content_type)


@given(st.binary(max_size=200), st.text(max_size=60))
def test_any_message_is_read_or_refused(body: bytes, content_type: str) -> None:
    for kind in (
        content_type,
        f"multipart/related; boundary={content_type}",
        "multipart/related; boundary=a",
    ):
        with suppress(DicomWebError):
            decode(body.replace(b"\x00", b"\r\n--a"), kind)


@given(st.integers(0, 20_000), st.binary(min_size=1, max_size=4))
def test_a_damaged_file_is_read_or_refused(files: list[bytes], at: int, damage: bytes) -> None:
    data = files[0][:at] + damage + files[0][at + len(damage) :]
    with suppress(DicomWebError):
        address_of(data, "1.2.3")
