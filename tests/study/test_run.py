"""A study on disk: the same whatever the processes, and going on where it was stopped."""

from __future__ import annotations

import csv
import functools
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cxr_explain.errors import OutputError, PhantomWeightsError
from cxr_explain.explaining.explainer import Pretrained
from cxr_explain.radiograph import Radiograph
from cxr_explain.study.cases import Case, phantom_cases
from cxr_explain.study.plan import Plan, contenders
from cxr_explain.study.run import run_study
from cxr_explain.support.strict_json import with_digest

PLAN = Plan(contenders(("grad-cam",)), ks=(1, 2), steps=2, percentages=(), faithful=1, randomised=0, robust=0)
MODEL = Pretrained("phantom")
TABLES = ("alone", "fused", "ranks", "randomised", "robust")


@functools.cache
def rendered(seed: int) -> tuple[Case, ...]:
    return tuple(phantom_cases(5, seed=seed, size=64))


def cases() -> Iterator[Case]:
    return iter(some(3))


def csvs(folder: Path) -> dict[str, bytes]:
    return {name: (folder / f"{name}.csv").read_bytes() for name in TABLES}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "out"
    done: list[int] = []
    run_study(MODEL, cases(), PLAN, folder, of="three phantoms", advance=done.append)
    assert done == [2, 1]
    return folder


class StoppedError(Exception):
    pass


def test_what_was_interrupted_goes_on_and_gives_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        run_study(MODEL, cases(), PLAN, tmp_path / "out", of="three phantoms", advance=stop)
    assert [path.name for path in (tmp_path / "out" / "parts").iterdir()] == ["00000.json"]
    assert not (tmp_path / "out" / "alone.csv").exists()
    kept = (tmp_path / "out" / "parts" / "00000.json").stat().st_mtime_ns
    run_study(MODEL, cases(), PLAN, tmp_path / "out", of="three phantoms")
    assert (tmp_path / "out" / "parts" / "00000.json").stat().st_mtime_ns == kept
    assert csvs(tmp_path / "out") == csvs(whole)


@pytest.mark.slow
def test_two_processes_give_the_same_tables(whole: Path, tmp_path: Path) -> None:
    """Equal but for the rounding of another number of threads."""
    run_study(MODEL, cases(), PLAN, tmp_path / "out", of="three phantoms", jobs=2)
    for name, content in csvs(tmp_path / "out").items():
        ours, theirs = (list(csv.reader(text.decode().splitlines())) for text in (content, csvs(whole)[name]))
        assert len(ours) == len(theirs)
        for row, other in zip(ours, theirs, strict=True):
            for cell, wanted in zip(row, other, strict=True):
                try:
                    assert float(cell) == pytest.approx(float(wanted), abs=2e-3)
                except ValueError:
                    assert cell == wanted


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"of": "other phantoms"}, "cases"),
        ({"plan": replace(PLAN, steps=3)}, "plan"),
    ],
)
def test_another_study_in_the_folder_is_refused(whole: Path, changed: dict[str, object], named: str) -> None:
    arguments = {"model": MODEL, "plan": PLAN, "of": "three phantoms"} | changed
    before = csvs(whole)
    with pytest.raises(OutputError, match=f"a study of another {named}"):
        run_study(cases=cases(), folder=whole, **arguments)  # type: ignore[arg-type]
    assert csvs(whole) == before


def test_a_folder_that_is_none_or_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        run_study(MODEL, cases(), PLAN, tmp_path / "file", of="")
    (tmp_path / "study.json").write_text("no json")
    with pytest.raises(OutputError, match="something else than the record"):
        run_study(MODEL, cases(), PLAN, tmp_path, of="")


def test_what_is_not_estimable_is_an_empty_cell_and_comes_back(whole: Path) -> None:
    text = "".join(content.decode() for content in csvs(whole).values())
    assert "nan" not in text.lower().replace("nand", "")
    rows = list(csv.DictReader((whole / "fused.csv").read_text(encoding="utf-8").splitlines()))
    assert any(row["survived"] == "" for row in rows)
    again = run_study(MODEL, cases(), PLAN, whole, of="three phantoms")
    assert any(math.isnan(row["survived"]) for row in again.fused)
    parts = [json.loads(path.read_text()) for path in (whole / "parts").glob("*.json")]
    assert sum(len(part["fused"]) for part in parts) == len(rows) == len(again.fused)


LEAN = replace(PLAN, ks=(1,), normalisations=("joint",), activations=("relu",), faithful=0, ranked=())


def some(n: int, seed: int = 10_000_000) -> list[Case]:
    return list(rendered(seed)[:n])


def parts_of(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in sorted((folder / "parts").iterdir())}


def test_more_or_fewer_cases_than_before_are_those_that_were_asked(tmp_path: Path) -> None:
    """An odd last part is measured again with the case that it lacks; what is beyond is not counted."""
    for n in (1, 5, 3, 4):
        found = run_study(MODEL, some(n), LEAN, tmp_path / "grown", of="phantoms")
        assert list(dict.fromkeys(row["case"] for row in found.alone)) == [case.id for case in some(n)]
    run_study(MODEL, some(4), LEAN, tmp_path / "fresh", of="phantoms")
    assert csvs(tmp_path / "grown") == csvs(tmp_path / "fresh")


def test_other_cases_of_the_same_kind_are_refused(tmp_path: Path) -> None:
    """They are named alike in words; their pixels and masks are others."""
    run_study(MODEL, some(2), LEAN, tmp_path, of="radiographs with masks")
    before, kept = csvs(tmp_path), parts_of(tmp_path)
    first, second = some(2)
    moved = replace(first, masks={name: mask[::-1] for name, mask in first.masks.items()})
    for other in (some(2, seed=10_000_100), [second, first], [moved, second], [moved]):
        with pytest.raises(OutputError, match="a study of another choice of cases"):
            run_study(MODEL, other, LEAN, tmp_path, of="radiographs with masks")
    assert (csvs(tmp_path), parts_of(tmp_path)) == (before, kept)


def test_another_fit_is_another_study(tmp_path: Path) -> None:
    run_study(MODEL, some(1), LEAN, tmp_path, of="phantoms")
    run_study(Pretrained("phantom", {"fit": "crop", "device": "cpu"}), some(1), LEAN, tmp_path, of="phantoms")
    with pytest.raises(OutputError, match="a study of another fit"):
        run_study(Pretrained("phantom", {"fit": "pad"}), some(1), LEAN, tmp_path, of="phantoms")


def test_a_part_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fails while the second part is written: the first stays, and nothing else is left."""
    import os

    real, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) > 2:  # the record, the first part
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        run_study(MODEL, some(3), LEAN, tmp_path, of="phantoms")
    monkeypatch.undo()
    assert list(parts_of(tmp_path)) == ["00000.json"]
    json.loads((tmp_path / "parts" / "00000.json").read_text())
    run_study(MODEL, some(3), LEAN, tmp_path, of="phantoms")
    assert list(parts_of(tmp_path)) == ["00000.json", "00001.json"]


@pytest.mark.parametrize("content", ["", "[]", '{"alone": ['])
def test_a_part_that_something_else_wrote_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "00000.json").write_text(content)
    with pytest.raises(OutputError, match=r"00000\.json: something else than a part") as error:
        run_study(MODEL, some(1), LEAN, tmp_path, of="phantoms")
    assert "Remove the file" in str(error.value)


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_what_fails_in_a_process_fails_here(tmp_path: Path, jobs: int) -> None:
    case = some(1)[0]
    real = replace(case, radiograph=Radiograph.from_array(case.radiograph.pixels, id="no phantom"))
    with pytest.raises(PhantomWeightsError, match="phantom"):
        run_study(MODEL, [real], LEAN, tmp_path, of="radiographs", jobs=jobs)
    assert parts_of(tmp_path) == {}


def test_changed_weights_are_another_study(whole: Path, tmp_path: Path) -> None:
    """A file that was replaced under its name is told by its SHA-256."""
    record = json.loads((whole / "study.json").read_text())
    assert len(record["SHA-256 of the weights"]) == 64
    (tmp_path / "study.json").write_text(json.dumps(record | {"SHA-256 of the weights": 64 * "0"}))
    with pytest.raises(OutputError, match="a study of another SHA-256 of the weights"):
        run_study(MODEL, cases(), PLAN, tmp_path, of="three phantoms")


def test_a_part_that_was_edited_or_is_of_another_study_is_named(whole: Path, tmp_path: Path) -> None:
    """And measured again, once it is removed as the message says."""
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    part = out / "parts" / "00001.json"
    document = json.loads(part.read_text())
    number = next(name for name, value in document["fused"][0].items() if isinstance(value, float))
    edited = document | {"fused": [document["fused"][0] | {number: 0.125}, *document["fused"][1:]]}
    del document["sha256"]
    for changed in (edited, with_digest(document | {"study": "0" * 64})):
        part.write_text(json.dumps(changed))
        with pytest.raises(OutputError, match=r"00001\.json: something else than a part of this study"):
            run_study(MODEL, cases(), PLAN, out, of="three phantoms")
    part.unlink()
    run_study(MODEL, cases(), PLAN, out, of="three phantoms")
    assert csvs(out) == csvs(whole)
