"""A study on disk: the same whatever the processes, and going on where it was stopped."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cxr_explain.errors import OutputError
from cxr_explain.study.cases import Case, phantom_cases
from cxr_explain.study.plan import Plan, contenders
from cxr_explain.study.run import Model, run_study

PLAN = Plan(contenders(("grad-cam",)), ks=(1, 2), steps=2, percentages=(), faithful=1, randomised=0, robust=0)
MODEL = Model("phantom")
TABLES = ("alone", "fused", "ranks", "randomised", "robust")


def cases() -> Iterator[Case]:
    return phantom_cases(5, seed=10_000_000, size=64)


def csvs(folder: Path) -> dict[str, bytes]:
    return {name: (folder / f"{name}.csv").read_bytes() for name in TABLES}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study") / "out"
    done: list[int] = []
    run_study(MODEL, cases(), PLAN, folder, of="five phantoms", advance=done.append)
    assert done == [2, 2, 1]
    return folder


class StoppedError(Exception):
    pass


def test_what_was_interrupted_goes_on_and_gives_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        run_study(MODEL, cases(), PLAN, tmp_path / "out", of="five phantoms", advance=stop)
    assert [path.name for path in (tmp_path / "out" / "parts").iterdir()] == ["00000.json"]
    assert not (tmp_path / "out" / "alone.csv").exists()
    kept = (tmp_path / "out" / "parts" / "00000.json").stat().st_mtime_ns
    run_study(MODEL, cases(), PLAN, tmp_path / "out", of="five phantoms")
    assert (tmp_path / "out" / "parts" / "00000.json").stat().st_mtime_ns == kept
    assert csvs(tmp_path / "out") == csvs(whole)


@pytest.mark.slow
def test_two_processes_give_the_same_tables(whole: Path, tmp_path: Path) -> None:
    """Equal but for the rounding of another number of threads."""
    run_study(MODEL, cases(), PLAN, tmp_path / "out", of="five phantoms", jobs=2)
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
        ({"model": Model("other.safetensors")}, "weights"),
    ],
)
def test_another_study_in_the_folder_is_refused(whole: Path, changed: dict[str, object], named: str) -> None:
    arguments = {"model": MODEL, "plan": PLAN, "of": "five phantoms"} | changed
    before = csvs(whole)
    with pytest.raises(OutputError, match=f"a study of another {named}"):
        run_study(cases=cases(), folder=whole, **arguments)  # type: ignore[arg-type]
    assert csvs(whole) == before


def test_a_folder_that_is_none_or_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be used"):
        run_study(MODEL, cases(), PLAN, tmp_path / "file", of="")
    (tmp_path / "study.json").write_text("no json")
    with pytest.raises(OutputError, match="something else than the record"):
        run_study(MODEL, cases(), PLAN, tmp_path, of="")


def test_what_is_not_estimable_is_an_empty_cell_and_comes_back(whole: Path) -> None:
    text = "".join(content.decode() for content in csvs(whole).values())
    assert "nan" not in text.lower().replace("nand", "")
    rows = list(csv.DictReader((whole / "fused.csv").open(encoding="utf-8")))
    assert any(row["survived"] == "" for row in rows)
    again = run_study(MODEL, cases(), PLAN, whole, of="five phantoms")
    assert any(math.isnan(row["survived"]) for row in again.fused)
    parts = [json.loads(path.read_text()) for path in (whole / "parts").glob("*.json")]
    assert sum(len(part["fused"]) for part in parts) == len(rows) == len(again.fused)
