"""Run folders that were edited: one line that names the file, or the numbers of an undisturbed run."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cxr_explain import Explainer
from cxr_explain.audit.parts import Parts
from cxr_explain.audit.place import LocalPlace
from cxr_explain.audit.results import figure_of, write_statistics
from cxr_explain.audit.run import RunSettings, run_audit
from cxr_explain.audit.seal import SEAL, WRITTEN_ANEW
from cxr_explain.audit.store import SEALED, AuditRun
from cxr_explain.cli.app import app
from cxr_explain.errors import AuditError, CxrExplainError
from cxr_explain.reference.csv_file import parse_manifest
from tests.audit.conftest import manifest_text
from tests.audit.edited_runs import EDITS, changed_json, changed_value, follow, resealed, said_of, same, told
from tests.audit.test_audit_run import assert_same_table

ROWS = 6
RUNNING = RunSettings(batch_size=2, workers=2, part_rows=2)


class Runs:
    """A finished run with one failure, the same one unfinished, and one of another model."""

    def __init__(self, explainer: Explainer, phantoms: Path, folder: Path) -> None:
        lines = manifest_text(phantoms).splitlines(keepends=True)[: ROWS + 1]
        gone = lines[4].split(",")
        lines[4] = ",".join([gone[0], "gone.png", *gone[2:]])
        self.explainer, self.images = explainer, phantoms / "images"
        self.manifest = parse_manifest("".join(lines).encode(), source="phantoms")
        other = Explainer.from_pretrained("phantom")
        other.classifier.weights_sha256 = "0" * 64
        self.finished, self.half, self.other = folder / "finished", folder / "half", folder / "other"
        self.run = self.audit(self.finished)
        run_audit(other, self.manifest, self.images, self.other, running=RUNNING)
        shutil.copytree(self.finished, self.half)
        for name in (SEAL, "results.parquet", "failures.parquet", "failures.csv"):
            (self.half / name).unlink()
        sorted((self.half / "parts").iterdir())[1].unlink()
        self.said = {where: said_of(where) for where in (self.finished, self.half)}

    def audit(self, where: Path) -> AuditRun:
        """The same command again."""
        return run_audit(self.explainer, self.manifest, self.images, where, running=RUNNING)


@pytest.fixture(scope="module")
def runs(explainer: Explainer, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(explainer, phantoms, tmp_path_factory.mktemp("edited"))


def mended(runs: Runs, where: Path) -> AuditRun | CxrExplainError:
    """The same audit again, and what its messages say until it comes to its end."""
    for _ in range(4):
        found = told(lambda: runs.audit(where))
        if isinstance(found, AuditRun) or not isinstance(found, AuditError) or not follow(found):
            break
    return found


@pytest.mark.parametrize("count", [4, pytest.param(500, marks=pytest.mark.slow)])
def test_an_edited_run_is_named_or_says_the_same(count: int, runs: Runs, tmp_path: Path) -> None:
    draw = random.Random(count)
    tally: Counter[str] = Counter()
    for number in range(count):
        base = runs.finished if number % 3 else runs.half
        where = tmp_path / f"{number}"
        shutil.copytree(base, where)
        did = f"edit {number}: {draw.choice(EDITS)(where, runs.other, draw)}"
        said = told(lambda where=where: said_of(where))
        if isinstance(said, dict):
            assert same(said, runs.said[base]), did
            tally["the same numbers"] += 1
        else:
            tally["one line"] += 1
        again = mended(runs, where)
        if isinstance(again, AuditRun):
            assert_same_table(runs.run, again)
            if not (isinstance(said, dict) and base == runs.finished):
                assert same(said_of(where), runs.said[runs.finished]), did
            tally["the audit mends it"] += 1
        else:
            assert "an audit that differs" in again.found or "cannot be written" in again.found, (did, again)
            tally["the audit refuses it"] += 1
        shutil.rmtree(where)
    print(f"{count} edits: {', '.join(f'{name} {n}' for name, n in tally.items())}; other numbers 0")


def everything(where: Path) -> None:
    """What notebooks and the commands make of a run, beside what `said_of` reads."""
    said_of(where)
    run = AuditRun.open(where)
    assert run._repr_html_()
    for image_id in run.results["image_id"].to_pylist()[:1]:
        assert run.case(run.position[image_id]).explanation._repr_html_()
        figure_of(run, image_id)


@pytest.mark.parametrize("count", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_a_run_that_was_made_up_is_one_line_or_read(count: int, runs: Runs, tmp_path: Path) -> None:
    """Digests are no signatures: what is sealed anew by whoever edits it may say anything, but not crash."""
    draw = random.Random(count)
    tally: Counter[str] = Counter()
    for number in range(count):
        where = tmp_path / f"{number}"
        shutil.copytree(runs.finished if number % 2 else runs.half, where)
        draw.choice((changed_json, changed_value))(where, runs.other, draw)
        with suppress(ValueError, RecursionError, AttributeError):  # its own JSON is beyond repair
            resealed(where)
        for read in (lambda where=where: everything(where), lambda where=where: runs.audit(where)):
            tally["one line" if isinstance(told(read), CxrExplainError) else "read"] += 1
        shutil.rmtree(where)
    print(f"{count} made up: {dict(tally)}")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


FILES = (
    "results.parquet", "failures.parquet", "failures.csv", "manifest.csv", "SHA256SUMS.txt", "run.json",
    "place.json", "statistics.json", "parts",
)  # fmt: skip
DAMAGES = (cut, flip, Path.unlink)
EACH_ONCE = [(name, DAMAGES[at % 3]) for at, name in enumerate(FILES)]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *EACH_ONCE,
        *(
            pytest.param(name, damage, marks=pytest.mark.slow)
            for name in FILES
            for damage in DAMAGES
            if (name, damage) not in EACH_ONCE
        ),
    ],
)
def test_what_a_message_says_to_do_leads_back_to_the_run(
    name: str, damage: Callable[[Path], None], runs: Runs, tmp_path: Path
) -> None:
    """Each file of a finished run, damaged: named when the run is opened, and well after the remedy."""
    where = tmp_path / "run"
    shutil.copytree(runs.finished, where)
    write_statistics(AuditRun.open(where))
    path = sorted((where / "parts").iterdir())[0] if name == "parts" else where / name
    damage(path)
    said = told(lambda: said_of(where))
    if name in ("results.parquet", "failures.parquet", "failures.csv", "manifest.csv"):
        assert isinstance(said, AuditError)
        assert said.source == str(path)
        assert said.remedy == WRITTEN_ANEW
    if name in ("statistics.json", "parts", "place.json"):
        assert isinstance(said, AuditError) or same(said, runs.said[runs.finished])
    again = mended(runs, where)
    assert isinstance(again, AuditRun), again
    assert_same_table(runs.run, again)
    assert same(said_of(where), runs.said[runs.finished])


def test_a_part_of_another_model_is_refused(runs: Runs, tmp_path: Path) -> None:
    """It has the name and the rows of this run's own part, and is whole."""
    where = tmp_path / "run"
    shutil.copytree(runs.half, where)
    foreign = sorted((runs.other / "parts").iterdir())[0]
    assert (where / "parts" / foreign.name).exists()
    shutil.copy(foreign, where / "parts")
    for read in (lambda: said_of(where), lambda: runs.audit(where)):
        with pytest.raises(
            AuditError, match=r"than a part of this audit \(it belongs to another audit\)"
        ) as error:
            read()
        assert error.value.source == str(where / "parts" / foreign.name)
    follow(error.value)
    assert_same_table(runs.run, runs.audit(where))


def test_every_flipped_bit_of_a_part_is_noticed(runs: Runs, tmp_path: Path) -> None:
    where = tmp_path / "run"
    shutil.copytree(runs.half, where)
    path = sorted((where / "parts").iterdir())[0]
    content, draw = path.read_bytes(), random.Random(7)
    for _ in range(40):
        changed = bytearray(content)
        changed[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(AuditError, match="changed since it was written"):
            Parts(LocalPlace(where), runs.run.record).read(f"parts/{path.name}")


def test_several_foreign_parts_are_named_at_once(runs: Runs, tmp_path: Path) -> None:
    where = tmp_path / "run"
    shutil.copytree(runs.half, where)
    shutil.copy(runs.other / "run.json", where)
    with pytest.raises(AuditError, match=r"Remove it, and part-.*, of which the same is true"):
        said_of(where)


def test_the_record_of_another_run_is_named_and_made_anew(runs: Runs, tmp_path: Path) -> None:
    where = tmp_path / "run"
    shutil.copytree(runs.finished, where)
    shutil.copy(runs.other / "run.json", where)
    with pytest.raises(
        AuditError, match=r"run\.json: found a file that was changed.*Remove the file"
    ) as error:
        AuditRun.open(where)
    follow(error.value)
    assert_same_table(runs.run, runs.audit(where))


def test_a_part_is_parquet_to_every_reader(runs: Runs) -> None:
    """The digest stands in a place where no reader looks."""
    tables = [pq.read_table(path, partitioning=None) for path in sorted((runs.finished / "parts").iterdir())]
    assert sum(map(len, tables)) == ROWS


def test_the_digests_of_a_run_are_those_of_sha256sum(runs: Runs) -> None:
    lines = (runs.finished / SEAL).read_text().splitlines()
    assert lines == [
        f"{hashlib.sha256((runs.finished / name).read_bytes()).hexdigest()}  {name}" for name in SEALED
    ]


def test_a_run_goes_on_with_another_torch(runs: Runs, tmp_path: Path) -> None:
    """The parts belong to the record that the folder has, not to that of the machine that goes on."""
    where = tmp_path / "run"
    shutil.copytree(runs.half, where)
    record = AuditRun.open(where).record
    before = replace(record, torch_version="1.0")
    for path in (where / "parts").iterdir():
        path.unlink()
    (where / "run.json").write_bytes(before.to_json())
    run_audit(runs.explainer, runs.manifest, runs.images, where, running=RUNNING, stop=lambda: True)
    again = runs.audit(where)
    assert again.record == AuditRun.open(where).record == before
    assert again.joined
    assert again.results["image_id"].to_pylist() == runs.run.results["image_id"].to_pylist()


@pytest.mark.parametrize(
    "name", ["run.json", "manifest.csv", "results.parquet", "parts/part-00000000-0a0a0a0a.parquet"]
)
def test_a_pipe_in_place_of_a_file_does_not_hang(name: str, runs: Runs, tmp_path: Path) -> None:
    where = tmp_path / "run"
    shutil.copytree(runs.finished, where)
    (where / name).unlink(missing_ok=True)
    os.mkfifo(where / name)
    told(lambda: said_of(where))


@pytest.mark.parametrize(
    ("command", "name", "said"),
    [
        ("stats", "results.parquet", "a file that was changed since it was written"),
        ("report", "manifest.csv", "a file that was changed since it was written"),
        ("figure", "run.json", "something else than the record of an audit"),
    ],
)
def test_the_commands_say_it_in_one_line(
    command: str, name: str, said: str, runs: Runs, tmp_path: Path
) -> None:
    where = tmp_path / "run"
    shutil.copytree(runs.finished, where)
    cut(where / name)
    image = (runs.manifest.ids[0],) if command == "figure" else ()
    ran = CliRunner().invoke(app, [command, str(where), *image])
    text = " ".join(ran.output.split())
    assert ran.exit_code == 1
    assert name in text
    assert said in text
    assert "Traceback" not in text
    assert "cxr-explain audit` command again" in text
