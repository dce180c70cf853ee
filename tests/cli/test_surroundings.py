"""The commands where something is amiss around them: nobody's home, closed streams, a locale without letters.

In each surrounding five commands run one after the other, as their entry point does. What a process is born
with, its user and its locale, has a process of its own; what may change later, the home folder and standard
output, changes within it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from cxr_explain.explaining.explanation import Explanation
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.weights.folder import place_of
from cxr_explain.weights.registry import find_entry

UNNAMED = ("unshare", "--user", "--map-user=54321", "--map-group=54321")
"""A user id that no passwd entry has, with the file permissions of the user who runs the tests."""

SCRIPT = """
import json, os, sys
from cxr_explain.cli.main import main
surroundings, end_of_one = json.loads(sys.argv[1]), sys.argv[2]
for surrounding in surroundings:
    os.chdir(surrounding["folder"])
    os.environ.pop("HOME", None)
    if surrounding["home"]:
        os.environ["HOME"] = surrounding["home"]
    if surrounding["closed"]:
        os.close(1)
        sys.stdout = None  # as Python finds it where it starts with such a stream
    codes = {}
    for words in surrounding["commands"]:
        sys.argv = ["cxr-explain", *words]
        try:
            main()
        except SystemExit as end:
            codes[words[0]] = end.code or 0
    with open("codes.json", "w") as file:
        json.dump(codes, file)
    for stream in (sys.stdout, sys.stderr):
        print(end_of_one, file=stream, flush=True)
"""

COMMANDS = ("explain", "evaluate", "weights", "manifest", "audit")


END = "-- end of a surrounding --"


@dataclass(frozen=True)
class Surrounding:
    """What is amiss while five commands run.

    Args:
        folder: folder in which they run.
        home: the home folder, if there is one.
        closed: standard output is closed, now and from now on.
    """

    folder: Path
    home: Path | None = None
    closed: bool = False


@dataclass(frozen=True)
class Ran:
    """What became of the five commands."""

    folder: Path
    stdout: str
    stderr: str

    @property
    def codes(self) -> dict[str, int]:
        return json.loads((self.folder / "codes.json").read_text())  # type: ignore[no-any-return]

    def said(self, text: str) -> int:
        return sum(text in line for line in self.stderr.splitlines())


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantoms, and the bundled weights under a name of one's own, whose digest is recorded."""
    folder = tmp_path_factory.mktemp("data")
    list(write_dataset(folder / "phantoms", n=2, seed=62, size=96))
    shutil.copy(place_of(find_entry("phantom")), folder / "own.safetensors")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def unnamed() -> Sequence[str]:
    script = "import os, pwd\ntry: pwd.getpwuid(os.getuid())\nexcept KeyError: print('nobody')"
    try:
        ran = subprocess.run([*UNNAMED, sys.executable, "-c", script], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("needs Linux's unshare")
    if ran.stdout.strip() != "nobody":
        pytest.skip("this machine gives nobody a user namespace of their own")
    return UNNAMED


def run_all(
    surroundings: Sequence[Surrounding],
    data: Path,
    environment: Mapping[str, str],
    *,
    prefix: Sequence[str] = (),
) -> list[Ran]:
    """Run the five commands in each surrounding, all in one process, in a nearly bare environment."""
    images = data / "phantoms" / "images"
    weights = ("--weights", str(data / "own.safetensors"))
    one = str(images / "phantom-000062.png")
    words = (
        ("explain", one, *weights, "--out", "explained", "--page", "--top-k", "2"),
        ("evaluate", one, "--masks", str(data / "phantoms" / "masks"), "--quick", "--resamples", "10",
         "--top-k", "1", "--out", "evaluated"),
        ("weights", "list"),
        ("manifest", "nih", "--source", str(data / "phantoms"), "--out", "manifest.csv"),
        ("audit", "manifest.csv", "--images", str(images), *weights, "--out", "audited", "--top-k", "2"),
    )  # fmt: skip
    given = []
    for each in surroundings:
        each.folder.mkdir()
        home = each.home and str(each.home)
        given.append({"folder": str(each.folder), "home": home, "closed": each.closed, "commands": words})
    bare = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    ran = subprocess.run(
        [*prefix, sys.executable, "-c", SCRIPT, json.dumps(given), END],
        env={**bare, "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = ran.stderr.split(f"{END}\n")
    assert len(said) == len(given) + 1, ran.stderr
    printed = [*ran.stdout.split(f"{END}\n"), ""]  # of the last one, too, if its standard output is closed
    return [Ran(each.folder, *texts) for each, *texts in zip(surroundings, printed, said, strict=False)]


def assert_all_well(ran: Ran) -> None:
    assert "Traceback" not in ran.stderr
    assert ran.codes == dict.fromkeys(COMMANDS, 0), ran.stderr
    explanation = Explanation.load(ran.folder / "explained" / "phantom-000062.json")
    assert explanation.ranking.k == 2
    assert (ran.folder / "explained" / "index.html").is_file()
    assert (ran.folder / "evaluated" / "report.md").is_file()
    assert (ran.folder / "audited" / "results.parquet").is_file()


@pytest.mark.long
def test_nobody_without_a_home_and_with_one_that_may_not_be_written_to(
    tmp_path: Path, data: Path, home: Path, unnamed: Sequence[str]
) -> None:
    """Not even by its owner, and root is nobody in a user namespace."""
    home.chmod(0o555)
    surroundings = (Surrounding(tmp_path / "without"), Surrounding(tmp_path / "with", home))
    without, closed = run_all(surroundings, data, {}, prefix=unnamed)
    assert_all_well(without)
    nobody = "The SHA-256 of own.safetensors could not be recorded (this user has no home folder"
    assert without.said(nobody) == 2, "by the two commands that use it, once each"
    assert without.said("note: found no home folder for ~/.torchxrayvision/models_data") == 1
    assert without.said("No folder for Matplotlib's cache can be written to") == 1
    assert "densenet121-res224-all       no" in without.stdout
    assert_all_well(closed)
    assert closed.said("own.safetensors could not be recorded") == 2
    assert closed.said(f"({home}/.local/state/cxr-explain/weights: Permission denied)") == 2
    assert f"folder: {home}/.torchxrayvision/models_data" in closed.stdout


def test_matplotlib_in_a_home_that_may_not_be_written_to(home: Path, unnamed: Sequence[str]) -> None:
    """It looks for its folder once for a process."""
    home.chmod(0o555)
    script = (
        "from cxr_explain.cli.surroundings import make_good\nmake_good()\n"
        "import matplotlib\nmatplotlib.get_cachedir()"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "MPL"))}
    ran = subprocess.run(
        [*unnamed, sys.executable, "-c", script],
        env={**environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr.count("No folder for Matplotlib's cache can be written to") == 1
    assert ran.stderr.count("\n") == 1


@pytest.mark.long
def test_a_locale_without_letters_and_closed_standard_output(tmp_path: Path, data: Path, home: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    surroundings = (
        Surrounding(tmp_path / "open", tmp_path / "another"),
        Surrounding(tmp_path / "closed", home, closed=True),
    )
    opened, closed = run_all(surroundings, data, ascii_only)
    assert_all_well(opened)
    assert opened.said("note: File names are ASCII here") == 5
    assert opened.stdout.isascii()
    assert "densenet121-res224-all       no" in opened.stdout
    assert_all_well(closed)
    assert closed.stdout == ""
    assert (home / ".local" / "state" / "cxr-explain" / "weights").is_dir()
    for path in (*closed.folder.rglob("*.*"), *home.rglob("*.*")):
        assert path.is_dir() or b"densenet121-res224-all       no" not in path.read_bytes()


# -- a command that needs no model: what becomes of what it says --


def shell(line: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = f'"{sys.executable}" -m cxr_explain'
    return subprocess.run(
        ["sh", "-c", line.replace("cxr-explain", command)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_a_reader_that_leaves_ends_nothing(tmp_path: Path) -> None:
    ran = shell("{ cxr-explain weights list; echo $? >code; } | head -1 | wc -l", tmp_path)
    assert (ran.stdout.strip(), ran.stderr) == ("1", "")
    assert (tmp_path / "code").read_text().strip() == "0"


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_streams(tmp_path: Path, closed: str) -> None:
    ran = shell(f"cxr-explain weights path phantom {closed}", tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert bool(ran.stdout) == (" >&-" not in f" {closed}")
    refused = shell(f"cxr-explain weights path nowhere.pt {closed}", tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert ("no such checkpoint file" in refused.stderr) == ("2>&-" not in closed)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("words", ["weights list", "--help", "--version"])
def test_a_full_disk_behind_standard_output(tmp_path: Path, words: str) -> None:
    ran = shell(f"cxr-explain {words} > /dev/full", tmp_path)
    assert (ran.returncode, ran.stderr) == (1, "error: No space left on device.\n")


def test_a_current_folder_that_was_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    ran = shell("rmdir ../gone; cxr-explain weights list", folder)
    assert ran.returncode == 2
    assert (
        ran.stderr
        == "error: found a current folder that was deleted; expected a folder. Change to one: cd.\n"
    )


def test_a_name_that_the_encoding_has_not(tmp_path: Path) -> None:
    ran = shell("cxr-explain weights path 胸水.pt", tmp_path, PYTHONIOENCODING="ascii")
    assert ran.returncode == 1
    assert ran.stderr.startswith(r"error: \u80f8\u6c34.pt: no such checkpoint file")


def test_a_fault_is_one_line_unless_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import cxr_explain.weights as w\ndef broken(*_): raise ZeroDivisionError('patient data')\n"
        "w.list_weights = broken\n"
    )
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    ran = shell("cxr-explain weights list", tmp_path, PYTHONPATH=path)
    assert ran.returncode == 1
    assert ran.stderr.startswith("error: an unexpected ZeroDivisionError. Please report it")
    assert ran.stderr.count("\n") == 1
    debugged = shell("cxr-explain weights list", tmp_path, PYTHONPATH=path, CXR_EXPLAIN_DEBUG="1")
    assert "patient data" in debugged.stderr


def test_a_warning_of_many_images_is_one_line(tmp_path: Path) -> None:
    """Also where readers of images change the filters meanwhile, after which Python would say it again."""
    script = (
        "import sys, warnings\n"
        "from cxr_explain.cli.surroundings import make_good\n"
        "from cxr_explain.errors import CxrExplainWarning\n"
        "make_good()\n"
        "for number in range(6):\n"
        "    with warnings.catch_warnings():\n"
        "        warnings.simplefilter('ignore')\n"
        "    warnings.warn(f'letters {number % 2}', CxrExplainWarning)\n"
        "warnings.warn('of another library')\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stderr.startswith(
        "note: letters 0\nnote: letters 1\n<string>:9: UserWarning: of another library"
    )
    assert ran.stderr.count("note:") == 2


def test_what_may_not_be_read_is_named(tmp_path: Path, unnamed: Sequence[str]) -> None:
    """As a user who has no rights, as root in a user namespace has none."""
    folder = tmp_path / "in"
    (folder / "closed").mkdir(parents=True)
    for name in ("a.png", "closed/b.png", "c.txt"):
        (folder / name).write_bytes(b"x")
        (folder / name).chmod(0)
    (folder / "closed").chmod(0)
    script = (
        "import sys\n"
        "from cxr_explain.explaining.files import expand_inputs\n"
        "from cxr_explain.loaders import read_radiograph\n"
        "files, notes = expand_inputs([sys.argv[1]])\n"
        "print(*notes, sep='\\n')\n"
        "for path in [*files, f'{sys.argv[1]}/closed/b.png']:\n"
        "    try: read_radiograph(path)\n"
        "    except Exception as error: print(error.code, error)\n"
    )
    ran = subprocess.run(
        [*unnamed, sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True
    )
    (folder / "closed").chmod(0o755)
    denied = "a file that may not be read. Check the permissions of the file and its folder."
    assert ran.stdout.splitlines() == [
        f"{folder}: passed over folders that may not be read: 'closed'",
        *(f"unreadable-file {folder}/{name}: {denied}" for name in ("a.png", "c.txt", "closed/b.png")),
    ]
