"""Figures drawn by processes: as in one process, whatever happens to them, and none is left behind."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from networks import small_xrv
from PIL import Image

from cxr_explain import Explainer, XRVDenseNet
from cxr_explain.errors import CxrExplainError, OptionError
from cxr_explain.explaining import drawing
from cxr_explain.explaining.drawing import WORTHWHILE, Drawers, draw_file, processes_for
from cxr_explain.explaining.files import explain_files
from cxr_explain.explaining.many import Saved
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.pathologies import ReferenceBox, ReferenceLabels
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.support.cores import available_cores

UNKNOWN = "\U00013080"
"""A hieroglyph, which no font here has."""
ASKED = RankingSettings(top_k=1)


def labels_of(path: Path, _shape: tuple[int, int]) -> ReferenceLabels | None:
    """Labels; a letter without a font for two, an error for one, and for another a box without a width."""
    if path.stem == "r1":
        raise OptionError("no labels for this one")
    if path.stem == "r2":
        return ReferenceLabels({}, boxes=(ReferenceBox("Mass", 1, 1, 0, 4),))
    if path.stem in ("r3", "r4"):
        return ReferenceLabels.coerce({UNKNOWN: 1}, further=[UNKNOWN])
    return ReferenceLabels.coerce("Mass|Effusion=negative")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"r{number}.png" for number in range(7)]
    for seed, path in enumerate(paths):
        grey = np.random.default_rng(seed).integers(0, 256, (60, 70)).astype(np.uint8)
        Image.fromarray(grey).save(path)
    paths[5].write_bytes(paths[5].read_bytes()[:400])
    return paths


Found = list[tuple[Path, Saved | CxrExplainError]]


def run(files: list[Path], output: Path, workers: int) -> tuple[Found, list[object]]:
    explainer = Explainer(XRVDenseNet(small_xrv(), input_size=64))
    drawing._shown.clear()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("default")
        found = list(
            explain_files(explainer, files, output, asked=ASKED, labels_for=labels_of, workers=workers)
        )
    return found, [(str(each.message), each.category, each.filename, each.lineno) for each in said]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def summary(found: Found) -> list[object]:
    return [
        (path, str(one))
        if isinstance(one, CxrExplainError)
        else (path, one.labels, one.json.name, one.figure and one.figure.name, one.figure_size)
        for path, one in found
    ]


@pytest.fixture(scope="module")
def alone(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Found, list[object]]:
    output = tmp_path_factory.mktemp("alone")
    return output, *run(files, output, workers=1)


def test_two_processes_give_what_one_gives(
    files: list[Path], alone: tuple[Path, Found, list[object]], tmp_path: Path
) -> None:
    output, expected, said = alone
    found, also_said = run(files, tmp_path / "out", workers=2)
    assert [type(one).__name__ for _, one in found] == [
        "Saved", "OptionError", "ReferenceLabelError", "Saved", "Saved", "CorruptImageError", "Saved",
    ]  # fmt: skip
    assert summary(found) == summary(expected)
    assert content(tmp_path / "out") == content(output)
    assert also_said == list(dict.fromkeys(said))
    assert UNKNOWN in str(also_said[0])
    assert not multiprocessing.active_children()


def test_what_a_killed_process_was_drawing_is_drawn_here(
    files: list[Path],
    alone: tuple[Path, Found, list[object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed = []
    begin = Drawers.begin

    def begin_and_kill(self: Drawers, *args: object) -> object:
        begun = begin(self, *args)  # type: ignore[arg-type]
        if not killed:
            (process,) = multiprocessing.active_children()
            os.kill(process.pid or 0, signal.SIGKILL)
            killed.append(process)
        return begun

    monkeypatch.setattr(Drawers, "begin", begin_and_kill)
    found, _ = run(files, tmp_path / "out", workers=2)
    assert killed
    assert summary(found) == summary(alone[1])
    assert content(tmp_path / "out") == content(alone[0])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows starts processes by another way")
def test_what_a_process_with_a_closed_pipe_could_not_be_started_for_is_drawn_here(
    files: list[Path],
    alone: tuple[Path, Found, list[object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pipe that closes while a process is started may leave its number to the next: one number twice."""
    from multiprocessing.popen_spawn_posix import Popen

    once = Popen.duplicate_for_child
    twice = []

    def duplicate_twice(self: Popen, descriptor: int) -> int:
        twice.append(once(self, descriptor))
        return int(once(self, descriptor))

    monkeypatch.setattr(Popen, "duplicate_for_child", duplicate_twice)
    found, _ = run(files, tmp_path / "out", workers=2)
    assert twice
    assert summary(found) == summary(alone[1])
    assert content(tmp_path / "out") == content(alone[0])


@pytest.mark.skipif(sys.platform == "win32", reason="limits of open files are POSIX")
def test_what_no_process_could_be_started_for_is_drawn_here(
    files: list[Path],
    alone: tuple[Path, Found, list[object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import resource

    started = []
    begin = Drawers.begin

    def begin_without_files(self: Drawers, *args: object) -> object:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            return begin(self, *args)  # type: ignore[arg-type]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            started.extend(multiprocessing.active_children())

    monkeypatch.setattr(Drawers, "begin", begin_without_files)
    found, _ = run(files, tmp_path / "out", workers=2)
    assert not started
    assert summary(found) == summary(alone[1])
    assert content(tmp_path / "out") == content(alone[0])


def test_whoever_stops_early_leaves_no_process(files: list[Path], tmp_path: Path) -> None:
    explainer = Explainer(XRVDenseNet(small_xrv(), input_size=64))
    results = explain_files(explainer, files, tmp_path / "out", asked=ASKED, workers=2, batch_size=2)
    next(results)
    assert multiprocessing.active_children()
    results.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    for _ in write_dataset(folder, n=10, seed=5, size=64):
        pass
    return folder / "images"


@contextlib.contextmanager
def started(phantoms: Path, output: Path) -> Iterator[subprocess.Popen[str]]:
    """The command, once it has written a figure, in a group of processes of its own, as a shell has it."""
    # Tests that run in the background of a shell ignore Ctrl-C, and so would what they start.
    heed = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    module = [sys.executable, "-c", heed + "runpy.run_module('cxr_explain', run_name='__main__')"]
    command = [*module, "explain", str(phantoms), "--weights", "phantom"]
    with subprocess.Popen(
        [*command, "--out", str(output), "--workers", "2", "--batch-size", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            while not list(output.glob("*.json")):
                assert process.poll() is None
                time.sleep(0.01)
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def members(group: int) -> set[int]:
    """The processes of a group that are not dead."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of_group = entry.read_text().rpartition(")")[2].split()[:3]
            if int(of_group) == group and state != "Z":
                found.add(int(entry.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    "by",
    [
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.long),
    ],
)
def test_whoever_ends_the_command_ends_its_processes(
    by: signal.Signals, phantoms: Path, tmp_path: Path
) -> None:
    with started(phantoms, tmp_path / "out") as process:
        assert len(members(process.pid)) >= 2
        if by is signal.SIGINT:  # Ctrl-C is for all of them
            os.killpg(process.pid, by)
        else:
            process.send_signal(by)
        _, said = process.communicate(timeout=60)
        assert process.returncode
        end = time.monotonic() + 20
        while (left := members(process.pid)) and time.monotonic() < end:
            time.sleep(0.05)
        assert not left
        assert "Traceback" not in said
    for saved in (tmp_path / "out").glob("*.json"):
        assert saved.with_suffix(".png").read_bytes().endswith(b"IEND\xaeB`\x82")


UNGUARDED = {
    "draws": (
        "import pickle\nfrom cxr_explain.explaining.drawing import Drawers\n"
        "print('begun', flush=True)\n"
        "explanation = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "with Drawers(2) as drawers:\n"
        "    drawers.begin(explanation, explanation.radiograph, None, 'png')()\n"
        "    drawers.check()\n"
    ),
    "explains": (
        "from cxr_explain import Explainer\nfrom cxr_explain.explaining.files import explain_files\n"
        "print('begun', flush=True)\n"
        "explainer = Explainer.from_pretrained('phantom', device='cpu', allow_phantom_weights=True)\n"
        "files = [*map(Path, sys.argv[3:])]\n"
        "for path, result in explain_files(explainer, files, Path(sys.argv[2]), workers=2):\n"
        "    print(result)\n"
    ),
}


@pytest.mark.parametrize("work", ["draws", pytest.param("explains", marks=pytest.mark.slow)])
def test_a_script_that_does_not_guard_its_work_is_told(work: str, files: list[Path], tmp_path: Path) -> None:
    """Each process imports the script, and would do everything once more; torch makes that slow."""
    script, explained = tmp_path / "unguarded.py", tmp_path / "explanation.pickle"
    script.write_text("import sys\nfrom pathlib import Path\n" + UNGUARDED[work])
    explanation = Explainer(XRVDenseNet(small_xrv(), input_size=64)).explain(files[0], top_k=2)
    explained.write_bytes(pickle.dumps(explanation))
    command = [sys.executable, str(script), str(explained), str(tmp_path / "out"), *map(str, files[:4])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert done.stdout.split() in (["begun"] * 2, ["begun"] * 3)
    assert "if __name__ == '__main__':" in done.stderr.splitlines()[-1]
    assert done.stderr.count("Traceback") == 1


def test_processes_that_draw_do_not_load_torch(files: list[Path]) -> None:
    """Three seconds and 300 MB of each."""
    explanation = Explainer(XRVDenseNet(small_xrv(), input_size=64)).explain(files[0], top_k=2)
    assert explanation.radiograph is not None
    with Drawers(2) as drawers:
        drawn = drawers.begin(explanation, explanation.radiograph, None, "png")()
        assert drawn == draw_file(explanation, explanation.radiograph, None, "png")
        assert drawers._pool is not None
        modules = drawers._pool.submit(eval, "sorted(__import__('sys').modules)").result()
    assert "matplotlib.figure" in modules
    assert "torch" not in modules


def test_a_few_files_are_drawn_here() -> None:
    assert processes_for(WORTHWHILE - 1) == 1
    assert processes_for(WORTHWHILE) == available_cores()
    assert processes_for(1, asked=3) == 3


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", None), ("100000 100000", 1), ("50000 100000", 1), ("", None), ("99900000 100000", None)],
)
def test_a_container_may_use_fewer_cores_than_there_are(
    quota: str, cores: int | None, tmp_path: Path
) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    without = available_cores(tmp_path / "missing")
    assert available_cores(tmp_path / "cpu.max") == (cores or without)
    if hasattr(os, "sched_getaffinity"):
        assert without == len(os.sched_getaffinity(0))
