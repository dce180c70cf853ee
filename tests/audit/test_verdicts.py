"""Lists of ids and files of verdicts: what they give, and what is said of those that are something else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from typer.testing import CliRunner

from cxr_explain.audit.store import AuditRun
from cxr_explain.audit.verdicts import (
    LEAST_PATIENTS,
    SCHEMA,
    marked_by_ids,
    marked_by_verdicts,
    read_verdicts,
)
from cxr_explain.cli.app import app
from cxr_explain.errors import AuditError, OptionError

N = 60
KINDS = ("agree", "disagree", "artefact", "unsure")


@pytest.fixture
def run() -> Any:
    """An audit of 60 images of 30 patients, as far as verdicts ask it."""
    ids = tuple("=1+1" if row == 3 else f"image {row}" for row in range(N))
    record = SimpleNamespace(manifest_sha256="ab" * 32, model="m", weights_sha256="5e" * 32, rows=N)
    manifest = SimpleNamespace(ids=ids, patients=[f"secret-{row // 2}" for row in range(N)])
    return SimpleNamespace(manifest=manifest, record=record)


def said(run: Any, verdicts: dict[int, str | None]) -> dict[str, Any]:
    record = run.record
    entries = [
        {"row": row, "image_id": run.manifest.ids[row], "verdict": verdict, "note": "" if verdict else "look",
         "at": "2026-11-28T06:00:00.000Z"}
        for row, verdict in verdicts.items()
    ]  # fmt: skip
    about = {"manifest": record.manifest_sha256, "model": record.model, "weights": record.weights_sha256}
    return {"schema": SCHEMA, "run": {**about, "images": N}, "verdicts": entries}


def saved(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_ids_one_a_line_or_a_list_that_a_report_saved(run: Any, tmp_path: Path) -> None:
    plain, table = tmp_path / "ids.txt", tmp_path / "images.csv"
    plain.write_text("image 7\n  image 2  \n\nimage 7\n=1+1\n", encoding="utf-8-sig")
    assert [line.row for line in marked_by_ids(run, plain).lines] == [7, 2, 3]
    table.write_bytes(b'row,image_id,pathology\r\n3,\'=1+1,Mass\r\n9,image 9,"Mass, Edema"\r\n')
    found = marked_by_ids(run, table)
    assert [line.image_id for line in found.lines] == ["=1+1", "image 9"]
    assert found.told.startswith("2 cases of the audit's 60 images.")
    assert found.readers == found.sections == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no ids"),
        (b"\n\n", "no ids"),
        (b"image 7\nnobody\nnor he\n", "2 ids that no image of the audit has, such as 'nobody'"),
        (b"row,image_id\n1,nobody\n", "1 id that no image of the audit has"),
        ("image 7".encode("utf-16"), "text in UTF-8"),
        (bytes(range(256)), "text in UTF-8"),
        (b"image_id\x00,", "1 id"),
        (b"image_id\n" + b'"' + b"x" * 200_000, "no text of ids"),
    ],
)
def test_other_lists_are_one_line(run: Any, tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "ids.txt"
    path.write_bytes(content)
    with pytest.raises(AuditError) as raised:
        marked_by_ids(run, path)
    text = str(raised.value)
    assert words in text
    assert text.startswith(str(path))
    assert "\n" not in text
    assert len(text) < 400


def test_files_that_cannot_be_read_are_one_line(run: Any, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "nothing", tmp_path, tmp_path / "pipe", Path("/dev/zero"), "a\0b"):
        with pytest.raises(AuditError, match="no readable file"):
            marked_by_ids(run, path)
        with pytest.raises(AuditError, match="no readable file"):
            marked_by_verdicts(run, [path])


def test_a_file_of_verdicts_gives_its_cases(run: Any, tmp_path: Path) -> None:
    path = saved(tmp_path / "anna.json", said(run, {9: "artefact", 4: None, 7: "agree"}))
    found = marked_by_verdicts(run, [path])
    assert found.readers == ("anna",)
    assert [(line.row, line.verdicts, line.notes) for line in found.lines] == [
        (4, (None,), ("look",)), (7, ("agree",), ()), (9, ("artefact",), ()),
    ]  # fmt: skip
    assert found.sections == found.notes == ()
    only = marked_by_verdicts(run, [path], ["artefact", "unsure"])
    assert [line.row for line in only.lines] == [9]
    with pytest.raises(AuditError, match="no case with the verdict unsure"):
        marked_by_verdicts(run, [path], ["unsure"])
    with pytest.raises(OptionError, match="one of agree, disagree, artefact, unsure"):
        marked_by_verdicts(run, [path], ["wrong"])


def test_two_readers_and_their_agreement(run: Any, tmp_path: Path) -> None:
    draws = np.random.default_rng(5)
    first = draws.integers(0, 4, N)
    second = np.where(draws.random(N) < 0.6, first, draws.integers(0, 4, N))
    a = {row: KINDS[first[row]] for row in range(50)}
    b = {row: KINDS[second[row]] for row in range(10, N)}
    (tmp_path / "other").mkdir()
    paths = [
        saved(tmp_path / "anna.json", said(run, {**a, 55: None})),
        saved(tmp_path / "other" / "anna.json", said(run, b)),
    ]
    found = marked_by_verdicts(run, paths)
    assert found.readers == ("anna", "anna (2)")
    assert len(found.lines) == N
    ((row,),) = [table.rows for section in found.sections for table in section.tables]
    assert row.heads == ("anna, anna (2)", "40", "20")
    same, kappa = row.estimates
    assert same.value == pytest.approx((first[10:50] == second[10:50]).mean())
    assert kappa.value == pytest.approx(cohen_kappa_score(first[10:50], second[10:50]))
    assert kappa.low < kappa.value < kappa.high <= 1
    text = "\n".join(table.to_text() for section in found.sections for table in section.plain())
    assert f"{kappa.value:.3f} ({kappa.low:.3f} to {kappa.high:.3f})" in text
    assert "secret" not in text


def test_three_readers_have_an_alpha_and_few_patients_no_interval(run: Any, tmp_path: Path) -> None:
    paths = [
        saved(tmp_path / f"{name}.json", said(run, {row: KINDS[(row + shift) % 3] for row in range(10)}))
        for shift, name in enumerate("abc")
    ]
    (section,) = marked_by_verdicts(run, paths).sections
    rows = section.tables[0].rows
    assert [row.heads[0] for row in rows] == ["a, b", "a, c", "b, c", "all 3"]
    assert all(estimate.low is None for row in rows for estimate in row.estimates)
    assert rows[-1].estimates[0].value is None
    assert rows[-1].estimates[1].value < 0
    assert f"fewer than {LEAST_PATIENTS} patients" in section.basis[0]


def test_verdicts_on_another_models_maps_are_told_apart(run: Any, tmp_path: Path) -> None:
    path = saved(tmp_path / "anna.json", said(run, {1: "agree"}))
    record = SimpleNamespace(**{**vars(run.record), "model": "another"})
    other = SimpleNamespace(manifest=run.manifest, record=record)
    assert "Given to another model's report: anna." in marked_by_verdicts(other, [path]).told
    assert "another model" not in marked_by_verdicts(run, [path]).told


def hostile(run: Any) -> list[tuple[str, str]]:
    good = said(run, {8: "agree"})
    (entry,) = good["verdicts"]

    def entries(*changed: Any) -> str:
        return json.dumps({**good, "verdicts": list(changed)})

    return [
        ("", "no JSON"), ("no json", "no JSON"), ("[" * 100_000, "no JSON"), ('{"a": NaN}', "no JSON"),
        ('{"schema": 1, "schema": 2}', "twice"), ("[]", "something else"), ("null", "something else"),
        ("{}", "something else"),
        (json.dumps({**good, "schema": "cxr-explain/verdicts/2"}), "something else"),
        (json.dumps({**good, "run": None}), "something else"),
        (json.dumps({**good, "verdicts": 3}), "no list of verdicts"),
        (json.dumps({**good, "run": {"manifest": "other"}}), "about other images"),
        (entries(None), "verdict 1: null"), (entries(7), "verdict 1: an int"),
        (entries({**entry, "row": "8"}), "row is a str"), (entries({**entry, "row": 8.5}), "row is a float"),
        (entries({**entry, "row": -1}), "row -1"),
        (entries({**entry, "row": 10**30}), "row is an int beyond"),
        (entries({**entry, "row": N}), f"row {N}"), (entries({**entry, "image_id": "x\n\x1b[2J"}), "row 8"),
        (entries({**entry, "verdict": "wrong"}), "verdict is a str"),
        (entries({**entry, "verdict": ["agree"]}), "verdict is a list"),
        (entries({**entry, "verdict": None}), "neither a verdict nor a note"),
        (entries({**entry, "note": "x" * 10_001}), "too long"),
        (entries({**entry, "note": {"a": 1}}), "note"),
        (entries({**entry, "at": "<b>"}), "a time that is none"), (entries({**entry, "more": 1}), "unknown"),
        (entries({"row": 8}), "no image_id"), (entries(entry, entry), "two verdicts on one image"),
    ]  # fmt: skip


def test_hostile_files_are_one_line(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "verdicts.json"
    for text, words in hostile(run):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(AuditError) as raised:
            marked_by_verdicts(run, [path])
        message = str(raised.value)
        assert words in message, (text[:80], message)
        assert message.startswith(str(path))
        assert "\n" not in message
        assert "\x1b" not in message
        assert len(message) < 500


def test_what_is_read_is_what_the_file_says(run: Any, tmp_path: Path) -> None:
    found = read_verdicts(saved(tmp_path / "anna.json", said(run, {8: "agree", 3: "unsure"})))
    assert (found.by_row[3].image_id, found.by_row[3].verdict) == ("=1+1", "unsure")
    assert (found.by_row[8].verdict, found.by_row[8].note) == ("agree", "")
    assert found.run["images"] == N


def test_the_command_makes_a_folder_or_a_pdf_of_the_marked_cases(finished: AuditRun, tmp_path: Path) -> None:
    def report(*arguments: object) -> Any:
        return CliRunner().invoke(app, ["report", finished.place.name, *map(str, arguments)])

    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join(finished.manifest.ids[row] for row in (7, 2)), encoding="utf-8")
    folder = report("--ids", ids, "--out", tmp_path / "marked")
    assert folder.exit_code == 0, folder.output
    assert sorted(path.stem for path in (tmp_path / "marked" / "cases").iterdir()) == ["000002", "000007"]
    files = [
        saved(tmp_path / f"{name}.json", said(finished, {2: "artefact", 3: second}))
        for name, second in (("anna", "agree"), ("ben", "unsure"))
    ]
    readers = [word for path in files for word in ("--verdicts", path)]
    made = report(*readers, "--verdict", "unsure", "--format", "pdf", "--out", tmp_path / "marked.pdf")
    assert made.exit_code == 0, made.output
    assert "Agreement of readers" in made.output
    assert "anna, ben" in made.output
    assert (tmp_path / "marked.pdf").read_bytes().startswith(b"%PDF")
    for arguments, words in (
        (("--ids", ids, *readers), "--ids beside --verdicts"),
        (("--verdict", "agree"), "--verdict without --verdicts"),
        ((*readers, "--verdict", "wrong"), "one of agree"),
        (("--ids", tmp_path / "none.txt"), "no readable file"),
        (("--verdicts", ids), "no JSON of verdicts"),
    ):
        refused = report(*arguments, "--out", tmp_path / "other")
        assert refused.exit_code != 0
        assert words in " ".join(refused.output.split())
        assert not (tmp_path / "other").exists()
