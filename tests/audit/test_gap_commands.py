"""Columns that are joined to a manifest or a run, and references, at the command line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cxr_explain.audit.store import AuditRun
from cxr_explain.cli.app import app
from cxr_explain.reference import read_manifest

RUN = CliRunner()


def run(*arguments: object) -> Result:
    return RUN.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def further(finished: AuditRun, tmp_path: Path) -> Path:
    """A table by patient: two insurances, and a number for each patient."""
    people = list(dict.fromkeys(finished.manifest.patients))
    rows = [f"{name},{'private' if at % 2 else 'public'},MRN{at:05d}" for at, name in enumerate(people)]
    path = tmp_path / "secret-folder" / "further.csv"
    path.parent.mkdir()
    path.write_text("patient,insurance,number\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_statistics_with_a_joined_column(finished: AuditRun, further: Path) -> None:
    before = (Path(finished.place.name) / "manifest.csv").read_bytes()
    found = run("stats", finished.place.name, "--join", further, "--reference", "insurance=private")
    assert found.exit_code == 0, found.output
    text = (Path(finished.place.name) / "statistics.json").read_text(encoding="utf-8")
    document = json.loads(text)
    assert document["joined"] == {
        "columns": ["insurance"],
        "by": "patient",
        "images": len(finished.manifest),
        "table_sha256": hashlib.sha256(further.read_bytes()).hexdigest(),
    }
    assert document["references"] == {"insurance": "private"}
    assert {each["value"] for each in document["subgroups"] if each["column"] == "insurance"} == {
        "private",
        "public",
    }
    assert any("'number' has" in note and "left out" in note for note in document["notes"])
    assert "secret-folder" not in text
    assert "MRN0" not in text
    assert (Path(finished.place.name) / "manifest.csv").read_bytes() == before


def test_a_manifest_with_a_joined_column(phantoms: Path, further: Path, tmp_path: Path) -> None:
    out = tmp_path / "joined.csv"
    found = run("manifest", "nih", "--source", phantoms, "--join", further, "--out", out)
    assert found.exit_code == 0, found.output
    assert set(read_manifest(out).extra["insurance"]) == {"private", "public"}
    assert "'number'" in found.output
    assert "MRN0" not in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--reference", "insurance"), "--reference 'insurance'"),
        (("--reference", "=x"), "COLUMN=VALUE"),
        (("--reference", "sex=M", "--reference", "sex=F"), "each column once"),
        (("--reference", "race=x"), "a reference in the column 'race'"),
        (("--join", "nowhere.csv"), "nowhere.csv: found no readable file"),
    ],
)
def test_what_cannot_be_compared_or_joined_is_one_line(
    options: tuple[str, ...], said: str, finished: AuditRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = run("stats", finished.place.name, *options)
    assert found.exit_code in (1, 2), found.output
    assert said in " ".join(found.output.split())
    assert "Traceback" not in found.output


def test_the_report_has_the_joined_column(finished: AuditRun, further: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    found = run("report", finished.place.name, "--join", further, "--cases", "1", "--out", out)
    assert found.exit_code == 0, found.output
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "insurance" in page
    assert "secret-folder" not in page
    assert "MRN0" not in page
