"""The audit's commands, as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import Result
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from cxr_explain.audit.store import AuditRun
from cxr_explain.cli.app import app
from cxr_explain.reference import read_manifest
from tests.audit.conftest import COUNT

RUN = CliRunner()


def run(*arguments: object) -> Result:
    return RUN.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def audited(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the manifest and the run of the first two commands."""
    folder = tmp_path_factory.mktemp("commands")
    made = run("manifest", "nih", "--source", phantoms, "--out", folder / "all.csv")
    assert made.exit_code == 0, made.output
    assert f"{COUNT} images of {COUNT} patients" in made.output
    audit = run(
        "audit",
        folder / "all.csv",
        "--images",
        phantoms / "images",
        "--weights",
        "phantom",
        "--out",
        folder / "run",
    )
    assert audit.exit_code == 0, audit.output
    assert f"{COUNT} explained, 0 failed" in audit.output
    return folder


def test_the_commands_from_a_manifest_to_a_report(audited: Path, tmp_path: Path) -> None:
    stats = run("stats", audited / "run")
    assert stats.exit_code == 0, stats.output
    assert "Brier score" not in stats.output
    assert "Every table: the same command with --tables." in stats.output
    assert f"Go on with: cxr-explain report {audited / 'run'}" in stats.output
    tables = run("stats", audited / "run", "--tables")
    assert tables.exit_code == 0, tables.output
    assert "Brier score" in tables.output
    assert json.loads((audited / "run" / "statistics.json").read_text())["images"] == COUNT
    report = run("report", audited / "run", "--cases", "3")
    assert report.exit_code == 0, report.output
    assert (audited / "run" / "report" / "index.html").is_file()
    image_id = AuditRun.open(audited / "run").results["image_id"][0].as_py()
    figure = run("figure", audited / "run", image_id, "--out", tmp_path / "one.png")
    assert figure.exit_code == 0, figure.output
    assert (tmp_path / "one.png").read_bytes()[1:4] == b"PNG"


def test_labels_are_counted_as_asked_and_else_as_audited(
    audited: Path, phantoms: Path, tmp_path: Path
) -> None:
    def counted_as(*arguments: object) -> dict[str, str]:
        made = run(*arguments)
        assert made.exit_code == 0, made.output
        policy: dict[str, str] = json.loads((audited / "run" / "statistics.json").read_text())["policy"]
        return policy

    stats = ("stats", audited / "run")
    asked = counted_as(*stats, "--labels-as", "chexpert", "--uncertain", "ones")
    assert asked == {"uncertain": "ones", "blanks": "negative", "no_finding": "ignore"}
    report = (
        "report",
        audited / "run",
        "--cases",
        "1",
        "--out",
        tmp_path / "report",
        "--no-finding",
        "negative",
    )
    assert counted_as(*report) == {"uncertain": "ignore", "blanks": "ignore", "no_finding": "negative"}
    assert counted_as(*stats) == dict.fromkeys(asked, "ignore")
    again = ("audit", audited / "all.csv", "--images", phantoms / "images", "--weights", "phantom")
    other = run(*again, "--out", audited / "run", "--labels-as", "chexpert")
    assert other.exit_code == 1
    assert "blanks (ignore there, negative now)" in " ".join(other.output.split())


def test_measuring_is_told_as_what_is_done_and_not_as_a_result(audited: Path) -> None:
    told = run("stats", audited / "run").stderr
    assert "measuring where class maps point in " in told
    assert " images with boxes or masks" in told
    assert "0 of " not in told


def test_a_manifest_does_what_its_help_says(phantoms: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "below").mkdir(parents=True)
    named = sorted(path.name for path in (phantoms / "images").iterdir())[:3]
    for folder, name in ((images, named[0]), (images / "below", named[1])):
        (folder / name).write_bytes((phantoms / "images" / name).read_bytes())
    table = tmp_path / "mine.csv"
    rows = [f"C:\\elsewhere\\{name},Mass" for name in named]
    table.write_text("\n".join(["path,labels", *rows, ""]))
    for words, paths in (
        (
            ("csv", "--source", table, "--images", images),
            [named[0], f"below/{named[1]}", named[2]],
        ),
        (
            ("csv", "--source", table, "--images", images, "--present-in", images),
            [named[0], f"below/{named[1]}"],
        ),
        (
            ("nih", "--source", phantoms, "--images", images, "--present-in", images),
            [named[0], f"below/{named[1]}"],
        ),
    ):
        made = run("manifest", *words, "--out", tmp_path / "m.csv")
        assert made.exit_code == 0, made.output
        assert list(read_manifest(tmp_path / "m.csv").paths) == paths
    refused = run("manifest", "mimic", "--source", phantoms, "--images", images, "--out", tmp_path / "n.csv")
    assert refused.exit_code == 2
    assert "images for mimic" in " ".join(refused.output.split())


def test_most_images_missing_suggests_those_that_are_there(
    audited: Path, phantoms: Path, tmp_path: Path
) -> None:
    (tmp_path / "some").mkdir()
    first = min((phantoms / "images").iterdir())
    (tmp_path / "some" / first.name).write_bytes(first.read_bytes())
    words = ("--images", tmp_path / "some", "--weights", "phantom", "--out", tmp_path / "run")
    audit = run("audit", audited / "all.csv", *words)
    assert audit.exit_code == 1
    assert "make the manifest with --present-in" in " ".join(audit.stderr.split())


def test_a_second_audit_has_nothing_to_do(audited: Path, phantoms: Path) -> None:
    arguments = ("audit", audited / "all.csv", "--images", phantoms / "images", "--weights", "phantom")
    again = run(*arguments, "--out", audited / "run")
    assert again.exit_code == 0, again.output
    assert f"{COUNT} explained" in again.output
    other = run(*arguments, "--out", audited / "run", "--top-k", "2")
    assert other.exit_code == 1
    assert "top k (5 there, 2 now)" in " ".join(other.output.split())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("manifest", "nih", "--source", "nowhere", "--out", "m.csv"), 2, "nowhere"),
        (("manifest", "nonsense", "--source", ".", "--out", "m.csv"), 2, "the data set 'nonsense'"),
        (("manifest", "csv", "--source", "x.csv", "--split", "test", "--out", "m.csv"), 2, "split for csv"),
        (("audit", "nowhere.csv", "--images", ".", "--out", "run"), 2, "nowhere.csv"),
        (("stats", "."), 1, "no audit"),
        (("report", "nowhere"), 1, "no audit"),
        (("figure", "nowhere", "a"), 1, "no audit"),
    ],
)
def test_what_is_not_there_is_one_line(
    arguments: tuple[str, ...], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == code, result.output
    assert said in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir()), "nothing half-made"


@pytest.mark.slow
def test_ctrl_c_finishes_the_batch(phantoms: Path, audited: Path, tmp_path: Path) -> None:
    arguments = [
        "--images",
        phantoms / "images",
        "--weights",
        "phantom",
        "--out",
        tmp_path / "run",
        "--batch-size",
        "1",
    ]
    command = [
        sys.executable,
        "-m",
        "cxr_explain",
        "audit",
        audited / "all.csv",
        *arguments,
        "--workers",
        "1",
    ]
    process = subprocess.Popen(
        [*map(str, command)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    while not (tmp_path / "run" / "audit.log").exists():
        time.sleep(0.01)
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "the same command goes on from here" in output
    stopped = AuditRun.open(tmp_path / "run")
    assert 0 < len(stopped.results) < COUNT
    assert not stopped.joined


@pytest.mark.real_data
@pytest.mark.slow
def test_the_shared_nih_folder_from_tables_to_a_report(real_data: Path, tmp_path: Path) -> None:
    """The three commands of the README; AUROCs of an independent computation from the Parquet file."""
    images = real_data / "nih256"
    common = ("--images", images)
    made = run(
        "manifest", "nih", "--source", real_data, *common, "--split", "test", "--out", tmp_path / "m.csv"
    )
    assert made.exit_code == 0, made.output
    weights = ("--weights", "densenet121-res224-nih", "--weights-dir", real_data / "standin")
    audit = run("audit", tmp_path / "m.csv", *common, *weights, "--offline", "--out", tmp_path / "run")
    assert audit.exit_code in (0, 1), audit.output
    report = run("report", tmp_path / "run", "--cases", "20")
    assert report.exit_code == 0, report.output
    table = pq.read_table(tmp_path / "run" / "results.parquet")
    manifest = read_manifest(tmp_path / "m.csv")
    statistics = json.loads((tmp_path / "run" / "statistics.json").read_text())
    assert any("training overlap" in note for note in statistics["notes"])
    compared = 0
    for entry in statistics["pathologies"]:
        column = manifest.pathologies.index(entry["pathology"])
        truth = manifest.states[table["row"].to_numpy(), column]
        expected = roc_auc_score(truth, table[f"probability {entry['pathology']}"].to_numpy())
        assert entry["estimates"]["auroc"]["value"] == pytest.approx(expected, abs=1e-12)
        compared += 1
    assert compared == 14
