"""The command dicom: objects of files and of audits, without names where they are to stay unknown."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from typer.testing import CliRunner, Result

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests/killing.py
from killing import Kill, run_command, try_command

from cxr_explain.cli.app import app

RUN = CliRunner()
FAST = ("--weights", "phantom", "--offline", "--top-k", 2, "--objects", "overlay")
NAME = "Zebrason"


def run(*words: object, code: int = 0) -> Result:
    result = RUN.invoke(app, list(map(str, words)))
    assert result.exit_code == code, result.output
    return result


def said(result: Result) -> str:
    return " ".join(result.output.split())


def objects_in(folder: Path) -> dict[str, str]:
    """SOP Instance UIDs by the name of the file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): str(pydicom.dcmread(path).SOPInstanceUID) for path in files}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two phantoms, and an audit of them."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(root / "state"))
        patch.chdir(root)
        run("phantom", "--n", 2, "--size", 96, "--seed", 39, "--out", "phantoms")
        run("manifest", "dicom", "--source", "phantoms/dicom", "--out", "manifest.csv")
        run("audit", "manifest.csv", "--images", "phantoms/dicom", "--weights", "phantom", "--out", "run")
        yield root


@pytest.fixture
def secret(made: Path, tmp_path: Path) -> Path:
    """A folder of files that name a person, in their names and in their headers."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, file in enumerate(sorted((made / "phantoms" / "dicom").iterdir())):
        header = pydicom.dcmread(file)
        for keyword in ("PatientName", "PatientID", "StudyDescription", "WindowCenterWidthExplanation"):
            setattr(header, keyword, NAME)
        header.save_as(folder / f"{NAME}_{number}.dcm")
    return folder


def test_objects_of_files_and_a_line_for_what_fails(made: Path, tmp_path: Path) -> None:
    (made / "phantoms" / "dicom" / "notes.txt").write_text("no image")
    png = made / "phantoms" / "images" / "phantom-000039.png"
    result = run("dicom", made / "phantoms" / "dicom", png, *FAST, "--out", tmp_path / "out", code=1)
    (made / "phantoms" / "dicom" / "notes.txt").unlink()
    assert set(objects_in(tmp_path / "out")) == {
        "phantom-000039/overlay.dcm",
        "phantom-000040/overlay.dcm",
    }
    text = said(result)
    assert f"failed: {png}: found a PNG file; expected a DICOM file" in text
    assert "1 of 3 inputs failed" in text
    assert "2 objects of 2 radiographs in" in text
    assert "notes.txt" in text
    assert "Research use only" in text


def test_twice_is_the_same_and_other_settings_are_not(made: Path, tmp_path: Path) -> None:
    words = ("dicom", made / "phantoms" / "dicom", *FAST)
    run(*words, "--out", tmp_path / "out")
    first = objects_in(tmp_path / "out")
    run(*words, "--out", tmp_path / "out")
    assert objects_in(tmp_path / "out") == first
    run(*words, "--out", tmp_path / "out", "--threshold", 0.7)
    other = objects_in(tmp_path / "out")
    assert set(other) == set(first)
    assert not set(other.values()) & set(first.values())


def test_objects_of_an_audit_from_its_store(made: Path, tmp_path: Path) -> None:
    run("dicom", made / "run", "--objects", "overlay", "--out", tmp_path / "all")
    assert set(objects_in(tmp_path / "all")) == {
        "phantom-000039/overlay.dcm",
        "phantom-000040/overlay.dcm",
    }
    ids = ("--ids", "phantom-000040,phantom-000039", "--ids", "phantom-000040")
    run("dicom", made / "run", *ids, "--objects", "overlay", "--out", tmp_path / "some")
    assert objects_in(tmp_path / "some") == objects_in(tmp_path / "all")
    result = run("dicom", made / "run", "--ids", "nobody", "--out", tmp_path / "none", code=2)
    assert "nobody: found no such image in this audit" in said(result)
    assert not (tmp_path / "none").exists()


def test_an_audits_image_that_was_replaced_since_is_a_failure(made: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(made / "phantoms" / "dicom", images)
    shutil.copy(images / "phantom-000040.dcm", images / "phantom-000039.dcm")
    words = ("dicom", made / "run", "--images", images, "--objects", "overlay", "--out", tmp_path / "out")
    result = run(*words, code=1)
    assert "phantom-000039: found SHA-256" in said(result)
    assert set(objects_in(tmp_path / "out")) == {"phantom-000040/overlay.dcm"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("{run}", "--top-k", "3"), "for an audit, which knows that"),
        (("{run}", "--labels", "Mass"), "for an audit, which knows that"),
        (("{run}", "--voi", "1"), "for an audit, which knows that"),
        (("{run}", "--layer", "features"), "for an audit, which knows that"),
        (("{run}", "{files}"), "an audit beside other inputs"),
        (("{files}", "--ids", "a"), "expected a folder with run.json"),
        (("{files}", "--objects", "figures"), "the kind of object 'figures'"),
        (("{files}", "--threshold", "1"), "threshold=1.0"),
        (("{files}", "--threshold", "nan"), "threshold=nan"),
        (("{files}", "--deidentify-key", "key"), "without --deidentify"),
        (("{files}", "--retain", "patient-characteristics"), "without --deidentify"),
        (("nowhere",), "no image in nowhere"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(
    made: Path, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    places = {"run": made / "run", "files": made / "phantoms" / "dicom"}
    given = [word.format(**places) for word in words]
    result = RUN.invoke(app, ["dicom", *given, "--out", str(tmp_path / "out")])
    assert result.exit_code in (1, 2), result.output
    assert told in said(result)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("of_audit", [False, True])
def test_nobody_is_named_anywhere(made: Path, secret: Path, tmp_path: Path, of_audit: bool) -> None:
    (secret / f"{NAME}_bad.dcm").write_bytes((secret / f"{NAME}_0.dcm").read_bytes()[:3000])
    (secret / f"{NAME}.txt").write_text("no image")
    before = {keyword.value for file in secret.glob("*.dcm") for keyword in _identifiers(file)}
    out, key = tmp_path / "out", ("--deidentify", "--deidentify-key", tmp_path / "key")
    if of_audit:
        run("manifest", "dicom", "--source", secret, "--out", tmp_path / "m.csv")
        run(
            "audit",
            tmp_path / "m.csv",
            "--images",
            secret,
            "--weights",
            "phantom",
            "--out",
            tmp_path / "run",
            code=1,
        )
        words = (tmp_path / "run", "--objects", "figure,overlay")
    else:
        words = (secret, "--weights", "phantom", "--objects", "figure,overlay", "--labels", "Mass")
    result = run("dicom", *words, *key, "--out", out, code=0 if of_audit else 1)
    there = objects_in(out)
    assert len(there) == 6
    assert {Path(name).name for name in there} == {"figure.dcm", "overlay.dcm", "radiograph.dcm"}
    leaks = [NAME.casefold(), *before]
    texts = [result.output.casefold(), *map(str.casefold, there)]
    texts += [path.read_bytes().decode("latin-1").casefold() for path in out.rglob("*") if path.is_file()]
    assert not [leak for leak in leaks for text in texts if leak in text]
    for name, uid in there.items():
        if name.endswith("radiograph.dcm"):
            assert Path(name).parent.name == uid
    if not of_audit:
        run("dicom", *words, *key, "--out", out, code=1)
        assert objects_in(out) == there, "with the key, the same again"


def _identifiers(file: Path) -> list[pydicom.DataElement]:
    header = pydicom.dcmread(file, stop_before_pixels=True)
    return [
        header[name] for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID") if name in header
    ]


def test_a_copy_and_its_objects_are_one_study(secret: Path, tmp_path: Path) -> None:
    run("dicom", secret, *FAST, "--deidentify", "--out", tmp_path / "out")
    for folder in (tmp_path / "out").iterdir():
        copy, made = (pydicom.dcmread(folder / f"{name}.dcm") for name in ("radiograph", "overlay"))
        for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate"):
            assert made[keyword] == copy[keyword]
        assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == copy.SOPInstanceUID
    result = run("dicom", secret, *FAST, "--deidentify", "--out", tmp_path / "out", code=2)
    assert "a folder that is not empty" in said(result), "the key is gone, and all would be there twice"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_killed_anywhere_the_same_command_finishes(made: Path, tmp_path: Path) -> None:
    words = ["dicom", str(made / "phantoms" / "dicom"), "--weights", "phantom", "--offline", "--top-k", "2"]
    words += ["--objects", "figure,overlay", "--out", "out"]

    def root(name: str) -> Path:
        (tmp_path / name / "tmp").mkdir(parents=True)
        return tmp_path / name

    undisturbed = root("undisturbed")
    seen = run_command(words, undisturbed)
    expected = objects_in(undisturbed / "out")
    assert len(expected) == 4
    moves = [number for number, each in enumerate(seen) if each.event == "os.rename"]
    for number in (moves[0], moves[1], moves[-1]):
        killed = root(f"killed-{number}")
        code, _ = try_command(words, killed, Kill(number))
        assert code == -9
        for path in (killed / "out").glob("*/*"):
            if not path.name.startswith("."):
                pydicom.dcmread(path)  # whole
        run_command(words, killed)
        assert objects_in(killed / "out") == expected
        assert not list((killed / "out").rglob(".*")), "nothing temporary is left"
