"""The command dicomweb against a real Orthanc: what it prints, writes and answers."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from dicom_sources import changed, phantom_file
from orthanc_server import Orthanc, needs_orthanc, orthanc
from typer.testing import CliRunner, Result

from cxr_explain.cli.app import app
from cxr_explain.dicomweb.server import DicomWebServer
from cxr_explain.loaders.header import parse_dicom

pytestmark = needs_orthanc

RUN = CliRunner()
FAST = ("--weights", "phantom", "--offline", "--top-k", 2, "--objects", "overlay")
SIZE = 96


@pytest.fixture(autouse=True)
def _nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    for name in ("USER", "PASSWORD", "TOKEN"):
        monkeypatch.delenv(f"CXR_EXPLAIN_DICOMWEB_{name}", raising=False)


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Orthanc]:
    with orthanc(tmp_path / "pacs") as server:
        yield server


def put(pacs: Orthanc, *files: bytes) -> list[str]:
    studies = [str(parse_dicom(each).StudyInstanceUID) for each in files]
    for study, file in zip(studies, files, strict=True):
        DicomWebServer(pacs.url).store([file], study)
    return studies


def run(*words: object, code: int = 0) -> Result:
    result = RUN.invoke(app, ["dicomweb", *map(str, words)])
    assert result.exit_code == code, result.output
    return result


def said(result: Result) -> str:
    return " ".join(result.output.split())


def lateral(seed: int) -> bytes:
    return changed(
        phantom_file(seed, SIZE), lambda header: header.update({"ViewPosition": "LL", "ViewCodeSequence": []})
    )


def test_a_study_is_stored_and_a_second_time_nothing_is_new(pacs: Orthanc, tmp_path: Path) -> None:
    (study,) = put(pacs, phantom_file(1, SIZE))
    words = ("--url", pacs.url, "--study", study, "--store", *FAST, "--out", tmp_path / "out")
    assert "1 object of 1 radiograph in 1 study: 1 stored now, 0 failed" in said(run(*words))
    assert len(pacs.uids()) == 2
    assert "1 object of 1 radiograph in 1 study: 0 stored now, 0 failed" in said(run(*words))
    assert len(pacs.uids()) == 2
    assert (tmp_path / "out" / "failures.csv").read_text() == "number,study,radiograph,code,message\n"


def test_without_store_and_out_it_lists_and_does_nothing(pacs: Orthanc) -> None:
    first, second = put(pacs, phantom_file(1, SIZE), lateral(2))
    result = said(run("--url", pacs.url, "--query", "ModalitiesInStudy=DX"))
    assert f"{first}: 1 frontal chest radiograph" in result
    assert f"{second}: 0 frontal chest radiographs" in result
    assert f"note: passed over: lateral view (LL) ({second})" in result
    assert "1 radiograph of 2 studies would be explained: add --store" in result
    assert len(pacs.uids()) == 2


def test_a_query_with_a_limit(pacs: Orthanc) -> None:
    put(pacs, *(phantom_file(seed, SIZE) for seed in (1, 2, 3)))
    words = ("--url", pacs.url, "--query", "ModalitiesInStudy=DX", "--limit", 2)
    assert "2 radiographs of 2 studies" in said(run(*words))
    nothing = run("--url", pacs.url, "--query", "StudyDate=19000101-19000102")
    assert "0 radiographs of 0 studies" in said(nothing)


def test_failures_are_lines_and_rows(pacs: Orthanc, tmp_path: Path) -> None:
    broken = changed(phantom_file(2, SIZE), lambda header: setattr(header, "PixelData", b"\0\0"))
    good, bad = put(pacs, phantom_file(1, SIZE), broken)
    words = ("--url", pacs.url, *(word for uid in (bad, "1.2.3", good) for word in ("--study", uid)))
    result = said(run(*words, "--store", *FAST, "--out", tmp_path / "out", code=1))
    assert f"failed: {bad}: found 2 bytes of pixel data" in result
    assert "failed: 1.2.3: " in result
    assert "1 object of 1 radiograph in 3 studies: 1 stored now, 2 failed" in result
    with (tmp_path / "out" / "failures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["number"], row["study"], row["code"]) for row in rows] == [
        ("1", bad, "corrupt-image"),
        ("2", "1.2.3", "dicomweb"),
    ]
    assert all(row["message"] for row in rows)


def test_de_identified_files_and_no_identifier_anywhere(pacs: Orthanc, tmp_path: Path) -> None:
    broken = changed(phantom_file(2, SIZE), lambda header: setattr(header, "PixelData", b"\0\0"))
    studies = put(pacs, phantom_file(1, SIZE), broken)
    out, known = tmp_path / "out", [*pacs.uids(), *studies]
    words = ("--url", pacs.url, "--query", "ModalitiesInStudy=DX", *FAST, "--out", out)
    words = (*words, "--deidentify", "--deidentify-key", tmp_path / "key")
    results = [run(*words, code=1) for _ in range(2)]
    assert "1 written now" in said(results[0])
    assert "0 written now" in said(results[1])
    texts = [result.output for result in results]
    texts += [path.read_bytes().decode("latin-1") for path in out.rglob("*") if path.is_file()]
    texts += [str(path.relative_to(out)) for path in out.rglob("*")]
    assert not [uid for uid in known for text in texts if uid in text]
    assert sum(path.name == "radiograph.dcm" for path in out.rglob("*")) == 1


@pytest.mark.parametrize(
    ("words", "told", "code"),
    [
        ((), "--study UID or --query", 2),
        (("--query", "Colour=red"), "the query 'Colour'", 2),
        (("--query", "StudyDate"), "the query 'StudyDate'", 2),
        (("--query", "StudyDate=2024-01-01"), "no date for the query's StudyDate; expected YYYYMMDD", 2),
        (("--query", "00080020=2024*"), "no date for the query's 00080020", 2),
        (("--study", "1.2.3", "--deidentify"), "without --out", 2),
        (("--study", "1.2.3", "--store", "--deidentify-key", "key"), "without --out", 2),
        (("--study", "1.2.3", "--limit", "2"), "--limit without --query", 2),
        (("--study", "1.2.3", "--store", "--deidentify"), "--deidentify with --store", 2),
        (("--study", "1.2.x"), "no unique identifier", 1),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(words: tuple[str, ...], told: str, code: int) -> None:
    result = run("--url", "http://127.0.0.1:9/dicom-web", *words, code=code)
    assert told in said(result)


def test_a_wrong_password_is_one_line_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_EXPLAIN_DICOMWEB_USER", "reader")
    monkeypatch.setenv("CXR_EXPLAIN_DICOMWEB_PASSWORD", "open-sesame")
    with orthanc(tmp_path / "pacs", users={"reader": "right"}) as pacs:
        result = run("--url", pacs.url, "--query", "ModalitiesInStudy=DX", "--store", *FAST, code=1)
        assert len(result.output.strip().splitlines()) == 1
        assert "open-sesame" not in result.output
        studies = [word for number in range(1, 7) for word in ("--study", f"1.2.{number}")]
        listed = run("--url", pacs.url, *studies, code=1).output
        assert "1.2.2" in listed
        assert "1.2.4" not in listed  # it is not asked a fourth time
        monkeypatch.setenv("CXR_EXPLAIN_DICOMWEB_PASSWORD", "right")
        assert "0 radiographs of 0 studies" in said(run("--url", pacs.url, "--query", "ModalitiesInStudy=DX"))


def test_a_run_that_is_cut_short_says_that_more_may_be_there(
    pacs: Orthanc, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = put(pacs, phantom_file(1, SIZE), phantom_file(2, SIZE))
    store, stored = DicomWebServer.store, list[str]()

    def then_stop(self: DicomWebServer, files: list[bytes], study: str) -> object:
        if stored:
            raise KeyboardInterrupt
        stored.append(study)
        return store(self, files, study)

    monkeypatch.setattr(DicomWebServer, "store", then_stop)
    options = [word for study in studies for word in ("--study", study)]
    result = RUN.invoke(app, ["dicomweb", "--url", pacs.url, "--store", *map(str, FAST), *options])
    assert result.exit_code == 130
    assert "in 1 study: 1 stored now" in said(result)
    assert "objects of a study that was under way are there beside these" in said(result)
