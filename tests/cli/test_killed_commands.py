"""Killed anywhere, a command that is run again ends as if nothing had been, and nothing is left behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests/killing.py
from killing import Kill, Operation, run_command

from cxr_explain.cli.main import app

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")

VERDICTS = b'{"schema": "cxr-explain/verdicts/1", "verdicts": []}\n'
KILLS = 30

Start = Callable[[Path, Path], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms, their manifest, an audit of them and an older report on it, with a reader's verdicts.

    Made in this process, which then has everything imported that the killed ones need.
    """
    root = tmp_path_factory.mktemp("made")
    with contextlib.chdir(root):
        for words in (
            "phantom --n 3 --seed 39 --size 64 --out phantoms",
            "manifest nih --source phantoms --out manifest.csv",
            "explain phantoms/images/phantom-000039.png --weights phantom --top-k 1 --out out --page",
            "audit manifest.csv --images phantoms/images --weights phantom --out run",
            "report run --resamples 100 --cases 3",
        ):
            result = CliRunner().invoke(app, words.split())
            assert result.exit_code == 0, result.output
    (root / "run" / "report" / "verdicts.json").write_bytes(VERDICTS)
    (root / "run" / "report" / "notes").mkdir()
    (root / "run" / "report" / "notes" / "mine.txt").write_bytes(VERDICTS)
    return root


def nothing(_made: Path, _root: Path) -> None:
    """A first run."""


def old_figures(made: Path, root: Path) -> None:
    shutil.copytree(made / "out", root / "out")


def run_with_report(made: Path, root: Path) -> None:
    shutil.copytree(made / "run", root / "run")


def run_without_report(made: Path, root: Path) -> None:
    shutil.copytree(made / "run", root / "run", ignore=shutil.ignore_patterns("report"))


def old_manifest(made: Path, root: Path) -> None:
    (root / "manifest.csv").write_text("".join((made / "manifest.csv").read_text().splitlines(True)[:-1]))


COMMANDS: dict[str, tuple[str, tuple[Start, ...]]] = {
    "explain": (
        "explain {made}/phantoms/images/phantom-000039.png {made}/phantoms/images/phantom-000040.png "
        "--weights phantom --top-k 2 --out out --page",
        (old_figures, nothing),
    ),
    "audit": (
        "audit {made}/manifest.csv --images {made}/phantoms/images --weights phantom --out run",
        (nothing,),
    ),
    "report": (
        "report run --resamples 100 --seed 1 --cases 2",
        (run_with_report, run_without_report),
    ),
    "stats": ("stats run --resamples 100 --seed 1", (run_with_report,)),
    "manifest": ("manifest nih --source {made}/phantoms --out manifest.csv", (old_manifest, nothing)),
    "phantom": ("phantom --n 2 --seed 38 --size 64 --out phantoms", (nothing,)),
}
"""What is run, and what is there before: results of other settings, or nothing."""


def points(seen: list[Operation]) -> Iterator[Kill]:
    """Before and after each rename, within the writing of each file, and then at every operation."""
    opened: dict[str, int] = {}
    for number, operation in enumerate(seen):
        if operation.event == "open":
            opened[operation.name] = number
        if operation.event == "os.rename":
            yield Kill(number)
            yield Kill(number + 1)
            if operation.size > 1:
                yield Kill(opened[operation.name], operation.size // 2)
    yield from map(Kill, range(len(seen)))
    for number, operation in enumerate(seen):
        if operation.event == "os.rename" and operation.size > 40:
            yield from (Kill(opened[operation.name], operation.size * part // 40) for part in range(40))


def state(root: Path) -> dict[str, str]:
    """Every file and folder, with the digest of what is in it; tables of an audit without times."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.suffix == ".parquet":
            table = pq.read_table(path, partitioning=None)
            table = table.select([column for column in table.column_names if not column.endswith("_ms")])
            found[name] = hashlib.sha256(str(table.to_pylist()).encode()).hexdigest()
        elif path.is_file() and path.name != "audit.log":  # which says when what happened
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = ""
    return found


def begin(root: Path, made: Path, start: Start) -> Path:
    (root / "tmp").mkdir(parents=True)
    start(made, root)
    return root


@pytest.mark.parametrize("kills", [2, pytest.param(KILLS, marks=pytest.mark.slow)])
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_and_run_again(command: str, kills: int, made: Path, tmp_path: Path) -> None:
    text, starts = COMMANDS[command]
    words = text.format(made=made).split()
    died, renames = 0, 0
    for start in starts if kills == KILLS else starts[:1]:
        undisturbed = begin(tmp_path / start.__name__, made, start)
        seen = run_command(words, undisturbed)
        renames += sum(operation.event == "os.rename" for operation in seen)
        wanted = state(undisturbed)
        chosen = list(dict.fromkeys(points(seen)))
        ...
        at_least = 2 * sum(operation.event == "os.rename" for operation in seen)
        for kill in chosen[: max(-(-kills // len(starts)), 3 * renames)] if kills == KILLS else chosen[-3:-1]:
            root = begin(tmp_path / "killed", made, start)
            verdicts = list(root.rglob("verdicts.json"))
            run_command(words, root, kill)
            died += 1
            assert all(path.read_bytes() == VERDICTS for path in verdicts), kill
            run_command(words, root)
            assert state(root) == wanted, kill
            shutil.rmtree(root)
    print(f"{command}: {died} kills at {renames} renames, and within what they move")
