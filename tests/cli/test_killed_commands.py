"""Killed anywhere, a command that is run again ends as if nothing had been, and nothing is left behind."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests/killing.py
from killing import Kill, Operation, run_command, try_command

from cxr_explain.audit.place import LocalPlace
from cxr_explain.audit.seal import SEAL, check_seal
from cxr_explain.audit.store import SEALED
from cxr_explain.cli.app import app

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
            "audit manifest.csv --images phantoms/images --weights phantom --out run",
            "report run --cases 3",
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
    image = f"{made}/phantoms/images/phantom-000039.png"
    run_command(["explain", image, "--weights", "phantom", "--top-k", "1", "--out", "out", "--page"], root)


def run_with_report(made: Path, root: Path) -> None:
    shutil.copytree(made / "run", root / "run")


def run_without_report(made: Path, root: Path) -> None:
    shutil.copytree(made / "run", root / "run", ignore=shutil.ignore_patterns("report"))


def damaged_run(made: Path, root: Path) -> None:
    """Its tables are joined again from the parts."""
    run_without_report(made, root)
    table = root / "run" / "results.parquet"
    table.write_bytes(table.read_bytes()[:-40])


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
        (nothing, damaged_run),
    ),
    "report": (
        "report run --cases 2",
        (run_with_report, run_without_report),
    ),
    "stats": ("stats run", (run_with_report,)),
    "manifest": ("manifest nih --source {made}/phantoms --out manifest.csv", (old_manifest, nothing)),
    "phantom": ("phantom --n 2 --seed 38 --size 64 --out phantoms", (nothing,)),
}
"""What is run, and what is there before: results of other settings, or nothing."""

OTHERS: dict[str, tuple[str, tuple[Start, ...]]] = {
    "pdf": ("report run --format pdf --cases 1", (run_with_report,)),
    "figure": ("figure run phantom-000039 --out one.svg", (run_with_report,)),
    "evaluate": ("evaluate --n 2 --quick --resamples 20 --out out", (nothing,)),
    "bundle": ("bundle --weights phantom --out folder/bundle", (nothing,)),
}


def at_renames(seen: list[Operation]) -> Iterator[Kill]:
    """Before and after each rename, and in the middle of writing what it moves."""
    for number, operation in enumerate(seen):
        if operation.event == "os.rename":
            yield from (Kill(number), Kill(number + 1))
            if operation.size > 1:
                yield Kill(opening(seen, operation.name), operation.size // 2)


def elsewhere(seen: list[Operation], count: int) -> Iterator[Kill]:
    """At operations from the first to the last; where they are few, at sizes of what is written."""
    yield from map(Kill, range(0, len(seen), max(1, len(seen) // count)))
    for operation in seen:
        if operation.event == "os.rename" and operation.size:
            number = opening(seen, operation.name)
            yield from (Kill(number, operation.size * part // count) for part in range(count))


def opening(seen: list[Operation], name: str) -> int:
    """When a file was opened."""
    return next(number for number, each in enumerate(seen) if (each.event, each.name) == ("open", name))


def state(root: Path) -> dict[str, str]:
    """Every file and folder, with the digest of what is in it; tables of an audit without times.

    A seal must hold; then it says no more than the files do, of which one has times.
    """
    found = {}
    for path in sorted(root.rglob("*")):
        name, content = path.relative_to(root).as_posix(), b""
        if path.suffix == ".parquet":
            table = pq.read_table(path, partitioning=None)
            kept = [column for column in table.column_names if not column.endswith("_ms")]
            content = str(table.select(kept).to_pylist()).encode()
        elif path.name == SEAL:
            check_seal(LocalPlace(path.parent), SEALED)
        elif path.is_file() and path.name != "audit.log":  # which says when what happened
            content = path.read_bytes()
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def begin(root: Path, made: Path, start: Start) -> Path:
    """A folder with what is there before the command."""
    (root / "tmp").mkdir(parents=True)
    start(made, root)
    return root


class Killing:
    """Kills a command, and looks at what the next run makes of what is left.

    Args:
        command: name of the command.
        start: what is there before it.
        made: folder of its inputs.
        folder: an empty folder.
    """

    def __init__(self, command: str, start: Start, made: Path, folder: Path) -> None:
        self.words = (COMMANDS | OTHERS)[command][0].format(made=made).split()
        self.folder = folder
        self.start = begin(folder / "start", made, start)
        shutil.copytree(self.start, folder / "undisturbed")
        self.seen = run_command(self.words, folder / "undisturbed")
        self.wanted = state(folder / "undisturbed")
        self.renames = sum(operation.event == "os.rename" for operation in self.seen)

    def check(self, *kills: Kill) -> list[int]:
        """Kill it as often as told, one after the other, and let it come to its end; the exit codes."""
        root = self.folder / "killed"
        shutil.copytree(self.start, root)
        verdicts = [path for path in root.rglob("*") if path.name in ("verdicts.json", "mine.txt")]
        codes = []
        for kill in kills:
            codes.append(try_command(self.words, root, kill)[0])
            assert all(path.read_bytes() == VERDICTS for path in verdicts), kill
        run_command(self.words, root)
        assert state(root) == self.wanted, kills
        beside = sorted(path.name for path in self.folder.iterdir())
        assert beside == ["killed", "start", "undisturbed"], kills
        shutil.rmtree(root)
        return codes


@pytest.mark.parametrize("command", ["report", "manifest", "phantom"])
def test_killed_in_the_middle_and_run_again(command: str, made: Path, tmp_path: Path) -> None:
    killing = Killing(command, COMMANDS[command][1][0], made, tmp_path)
    kills = list(at_renames(killing.seen))
    assert killing.check(kills[-3]) == [-signal.SIGKILL]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_anywhere_and_run_again(
    command: str, made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    died = renames = again = 0
    starts = COMMANDS[command][1]
    for start in starts:
        killing = Killing(command, start, made, tmp_path / start.__name__)
        kills = list(dict.fromkeys(at_renames(killing.seen)))
        further = (kill for kill in elsewhere(killing.seen, KILLS) if kill not in kills)
        kills += islice(further, max(8, KILLS - len(kills)))
        for number, kill in enumerate(kills):
            twice = number % 5 == 4  # the second may come too late
            codes = killing.check(kill, kill) if twice else killing.check(kill)
            assert codes[0] in (-signal.SIGKILL, -signal.SIGXFSZ), kill
            died += 1
            again += twice
        renames += killing.renames
    assert died >= KILLS
    with capsys.disabled():
        print(f"\n{command}: {died} kills ({again} of them twice) around and within {renames} renames, from")
        print(f"{len(starts)} kinds of start: the next run is as an undisturbed one, and nothing is left")


@pytest.mark.slow
@pytest.mark.parametrize("command", OTHERS)
def test_others_killed_and_run_again(command: str, made: Path, tmp_path: Path) -> None:
    if command == "bundle":
        pytest.importorskip("monai.bundle", reason="needs the extra monai")
    killing = Killing(command, OTHERS[command][1][0], made, tmp_path)
    kills = [*at_renames(killing.seen), *elsewhere(killing.seen, 3)]
    for kill in kills[:: max(1, len(kills) // 6)]:
        killing.check(kill)


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", COMMANDS)
def test_stopped_and_run_again(command: str, by: signal.Signals, made: Path, tmp_path: Path) -> None:
    """Ctrl-C, which is an exception wherever it comes, and the signal by which schedulers ask to end."""
    killing = Killing(command, COMMANDS[command][1][0], made, tmp_path)
    for kill in islice(elsewhere(killing.seen, KILLS // 3), KILLS // 3):
        killing.check(replace(kill, by=by))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_leaves_nothing_half_written(
    command: str, made: Path, tmp_path: Path, small_disk: Path
) -> None:
    killing = Killing(command, COMMANDS[command][1][0], made, tmp_path / "off")
    failed = 0
    for free in (0, 1, 2, 4, 8, 16, 32, 64):  # pages of 4 kB
        root = small_disk / f"{free}"
        shutil.copytree(killing.start, root)
        before = results_of(root)
        ballast = fill(small_disk, but=free)
        code, said = try_command(killing.words, root)
        assert not list(root.rglob(".*"))
        ballast.unlink()
        if code:
            failed += 1
            assert code == 1
            assert "No space left on device" in said
            assert "Traceback" not in said
            if command in ("report", "stats", "manifest"):
                assert results_of(root) == before
            run_command(killing.words, root)
        assert state(root) == killing.wanted
        shutil.rmtree(root)
    assert failed


def results_of(root: Path) -> dict[str, str]:
    """What is there; the statistics, which `report` writes before the report, may be new."""
    return {name: digest for name, digest in state(root).items() if name != "run/statistics.json"}


def fill(disk: Path, *, but: int) -> Path:
    """Fill a disk but for so many pages."""
    ballast = disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(bytes(4096))
    with ballast.open("rb+") as file:
        file.truncate(max(0, ballast.stat().st_size // 4096 - but) * 4096)
    return ballast
