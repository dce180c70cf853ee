"""`cxr-explain compare RUN_A RUN_B`: the words, the numbers, the page, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cxr_explain import Explainer
from cxr_explain.audit.example import example_inputs
from cxr_explain.audit.run import run_audit
from cxr_explain.audit.store import AuditRun
from cxr_explain.cli.app import app
from cxr_explain.reference.csv_file import csv_bytes, parse_manifest

RUN = CliRunner()
HOSTILE = "<b>x</b>&amp;'\"</script><img src=x onerror=alert(1)>"


def run(*words: object) -> tuple[int, str]:
    result = RUN.invoke(app, [str(word) for word in words])
    assert "Traceback" not in result.output
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def audits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two audits of two phantoms, one of which has a name that a page must not take for markup."""
    folder = tmp_path_factory.mktemp("audits")
    explainer, manifest, images = example_inputs(folder / "data")
    text = (
        csv_bytes(manifest).decode().replace(manifest.ids[0], f'"{HOSTILE.replace(chr(34), chr(34) * 2)}"', 1)
    )
    named = parse_manifest(text.encode(), source="hostile")
    assert named.ids[0] == HOSTILE
    run_audit(explainer, named, images, folder / "a", top_k=3)
    other = Explainer.from_pretrained("phantom", device="cpu", method="layercam", xrv_compatible=True)
    run_audit(other, named, images, folder / "b", top_k=2)
    return folder


def test_two_audits_are_compared_in_words_numbers_and_a_page(audits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, said = run("compare", audits / "a", audits / "b", "--out", out)
    assert code == 0, said
    assert "2 images of 2 patients in both; 0 in A only; 0 in B only." in said
    assert "No statistic could be compared" in said
    assert "of the first 2," in said
    assert "A − B (" not in said
    found = json.loads((out / "comparison.json").read_text())
    assert [each["name"] for each in found["runs"].values()] == ["a", "b"]
    page = (out / "index.html").read_text()
    assert page.count("data:image/jpeg") >= 3
    assert not re.search(r"<script|<img src=x|<b>x", page)
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert str(audits) not in page
    code, said = run("compare", audits / "a", audits / "b", "--out", out, "--tables", "--cases", 0)
    assert code == 0, said
    assert "Agreement of the maps" in said
    assert "data:image/jpeg" not in (out / "index.html").read_text()


def test_a_page_without_radiographs_says_so(audits: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(audits / "data" / "images", moved / "images")
    (moved / "empty").mkdir()
    code, said = run(
        "compare", audits / "a", audits / "b", "--images", moved / "empty", "--out", tmp_path / "out"
    )
    assert code == 0, said
    page = (tmp_path / "out" / "index.html").read_text()
    assert "Not at hand:" in page
    assert str(moved) not in page
    assert "under the fused map of B" in page
    code, said = run(
        "compare", audits / "a", audits / "b", "--images", moved / "images", "--out", tmp_path / "out"
    )
    assert code == 0, said
    assert "Not at hand:" not in (tmp_path / "out" / "index.html").read_text()


def test_somebody_elses_page_is_not_replaced(audits: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    code, said = run("compare", audits / "a", audits / "b", "--out", tmp_path)
    assert code == 1
    assert "a page that is no comparison of audits" in " ".join(said.split())
    assert (tmp_path / "index.html").read_text() == "mine"
    assert not (tmp_path / "comparison.json").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("a", "a"), 2, "one audit twice"),
        (("a",), 2, "found 1 audit; expected two audits"),
        (("a", "b", "a"), 2, "found 3 audits; expected two audits"),
        (("a", "b", "--class-maps", "2"), 2, "options of a figure for two audits"),
        (("a", "b", "--numbers", "x.json"), 2, "options of a figure for two audits"),
        (("a", "b", "--width-mm", "90"), 2, "options of a figure for two audits"),
        (("a", "b", "--id", "x", "--cases", "3"), 2, "options of two audits as a whole for a figure"),
        (("a", "data"), 1, "found no audit"),
        (("a", "edited"), 1, "changed since"),
        (("a", "empty"), 1, "empty"),
    ],
)
def test_what_is_wrong_is_one_line(
    audits: Path, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    shutil.copytree(audits / "b", audits / "edited", dirs_exist_ok=True)
    results = audits / "edited" / "results.parquet"
    results.write_bytes(results.read_bytes()[:-40] + b"0" * 40)
    shutil.copytree(audits / "b", audits / "empty", dirs_exist_ok=True)
    (audits / "empty" / "run.json").write_text("{}")
    given = [audits / word if (audits / word).exists() else word for word in words]
    found, said = run("compare", *given, "--out", tmp_path / "out")
    assert (found, (tmp_path / "out").exists()) == (code, False), said
    assert message in " ".join(said.split())
    assert said.count("error:") == 1


def test_an_unfinished_run_is_compared_and_said_to_be_one(audits: Path, tmp_path: Path) -> None:
    shutil.copytree(audits / "b", tmp_path / "begun")
    for name in ("SHA256SUMS.txt", "results.parquet"):
        (tmp_path / "begun" / name).unlink()
    assert not AuditRun.open(tmp_path / "begun").joined
    code, said = run("compare", audits / "a", tmp_path / "begun", "--out", tmp_path / "out")
    assert code == 0, said
    assert "2 images of 2 patients in both" in said
