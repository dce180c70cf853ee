"""Objects of many files: a folder for each source, whole or not at all, failures as values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pydicom
import pytest
from dicom_sources import explained, explainer, phantom_file

from cxr_explain.dicom.files import SavedObjects, explain_to_objects
from cxr_explain.dicom.folders import ObjectFolders, check_new_or_empty, write_objects
from cxr_explain.errors import CxrExplainError, DicomObjectError, ImageTooLargeError, OptionError, OutputError
from cxr_explain.explaining.settings import RankingSettings
from cxr_explain.loaders.read import read_radiograph
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.pathologies import ReferenceLabels

SIZE = 96
KINDS = ("overlay",)


def phantom(folder: Path, name: str, seed: int = 42) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(phantom_file(seed, SIZE))
    return file


Results = list[tuple[Path, SavedObjects | CxrExplainError]]


def save(files: list[Path], output: Path, **options: Any) -> Results:
    given: dict[str, Any] = {"kinds": KINDS, "asked": RankingSettings(2)} | options
    return list(explain_to_objects(explainer(), files, output, **given))


def names(results: Results) -> list[str]:
    return [result.folder.name if isinstance(result, SavedObjects) else result.code for _, result in results]


def sources_in(output: Path) -> dict[str, str]:
    """The instance that the objects in each folder refer to."""
    return {
        file.parent.name: pydicom.dcmread(file).SourceImageSequence[0].ReferencedSOPInstanceUID
        for file in output.glob("*/overlay.dcm")
    }


def uid_of(file: Path) -> str:
    return str(pydicom.dcmread(file).SOPInstanceUID)


def test_files_of_one_name_keep_apart_and_are_found_again(tmp_path: Path) -> None:
    files = [phantom(tmp_path / "in", f"{folder}/gamma.dcm", seed) for folder, seed in (("a", 1), ("b", 2))]
    for _ in range(2):
        first, second = names(save(files, tmp_path / "out"))
        assert first == "gamma"
        assert second.startswith("gamma-")
        assert sources_in(tmp_path / "out") == {first: uid_of(files[0]), second: uid_of(files[1])}
    assert names(save(files[1:], tmp_path / "out")) == [second], "also without the other"


def test_the_objects_of_the_same_source_are_replaced_and_what_is_beside_them_stays(tmp_path: Path) -> None:
    file, out = phantom(tmp_path, "gamma.dcm"), tmp_path / "out"
    save([file], out, kinds=("figure", "overlay"))
    (out / "gamma" / "notes.txt").write_text("mine")
    before = {name: uid_of(out / "gamma" / f"{name}.dcm") for name in ("figure", "overlay")}
    save([file], out, threshold=0.7)
    after = {name: uid_of(out / "gamma" / f"{name}.dcm") for name in ("figure", "overlay")}
    assert after["overlay"] != before["overlay"]
    assert after["figure"] == before["figure"], "was not asked for"
    assert (out / "gamma" / "notes.txt").read_text() == "mine"
    assert {path.name for path in out.iterdir()} == {"gamma"}


@pytest.mark.parametrize("what", ["text", "folder", "link", "source", "file"])
def test_what_is_of_another_is_never_written_over(tmp_path: Path, what: str) -> None:
    file, out = phantom(tmp_path, "gamma.dcm"), tmp_path / "out"
    place = out / "gamma"
    if what == "text":
        place.mkdir(parents=True)
        (place / "overlay.dcm").write_text("mine")
    elif what == "folder":
        (place / "report.dcm").mkdir(parents=True)
    elif what == "link":
        (tmp_path / "elsewhere").mkdir()
        out.mkdir()
        place.symlink_to(tmp_path / "elsewhere")
    elif what == "source":
        place.mkdir(parents=True)
        (place / "overlay.dcm").write_bytes(phantom_file(43, SIZE))
    else:
        out.mkdir()
        place.write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    (name,) = names(save([file], out))
    assert name.startswith("gamma-")
    assert {path: path.read_bytes() for path in before} == before
    made = pydicom.dcmread(out / name / "overlay.dcm")
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == uid_of(file)


def test_failures_are_values_in_their_place_and_name_the_file(tmp_path: Path) -> None:
    png = tmp_path / "gamma.png"
    PIL.Image.new("L", (SIZE, SIZE), 99).save(png)
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(phantom_file(1, SIZE)[:3000])
    files = [png, phantom(tmp_path, "a.dcm"), cut, tmp_path / "nowhere.dcm", phantom(tmp_path, "b.dcm", 2)]
    results = save(files, tmp_path / "out")
    assert [path for path, _ in results] == files
    assert names(results)[1::3] == ["a", "b"]
    errors = [str(result) for _, result in results if isinstance(result, CxrExplainError)]
    assert len(errors) == 3
    assert "found a PNG file; expected a DICOM file" in errors[0]
    for file, error in zip([png, cut, files[3]], errors, strict=True):
        assert error.startswith(f"{file}: ")
        assert "\n" not in error
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "b"}


def test_an_option_that_fits_no_file_is_said_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        save([phantom(tmp_path, "a.dcm")], tmp_path / "out", kinds=("figures",))
    assert not (tmp_path / "out").exists()


def test_nothing_takes_its_place_before_all_is_safe(tmp_path: Path) -> None:
    folder = ObjectFolders(tmp_path / "out").folder("a", instance="1.2", sha256="ab" * 32)
    write_objects(folder, {"figure.dcm": b"old", "report.dcm": b"old", "pdf.dcm": b"old"})
    with pytest.raises(OutputError):
        write_objects(folder, {"figure.dcm": b"new", "x/y.dcm": b"cannot be written"})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "figure.dcm": b"old", "report.dcm": b"old", "pdf.dcm": b"old",
    }  # fmt: skip
    write_objects(folder, {"figure.dcm": b"new"}, outdated=["pdf.dcm", "overlay.dcm"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "figure.dcm": b"new", "report.dcm": b"old",
    }  # fmt: skip
    assert list((tmp_path / "out").iterdir()) == [folder], "nothing temporary is left"


def test_a_folder_is_new_or_empty(tmp_path: Path) -> None:
    check_new_or_empty(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    check_new_or_empty(tmp_path / "empty")
    with pytest.raises(OptionError, match="not empty"):
        check_new_or_empty(tmp_path)


def test_names_of_folders_do_not_repeat_the_header(tmp_path: Path) -> None:
    patient = pydicom.dcmread(phantom(tmp_path, "gamma.dcm")).PatientID
    file = phantom(tmp_path, f"{uid_of(tmp_path / 'gamma.dcm')}.dcm")
    (name,) = names(save([file], tmp_path / "out"))
    assert name not in (file.stem, patient)
    assert name == read_radiograph(file).sha256[:12]


def test_labels_are_those_of_the_file(tmp_path: Path) -> None:
    files = [phantom(tmp_path, "a.dcm", 1), phantom(tmp_path, "b.dcm", 2)]
    given = {files[0]: ReferenceLabels.from_text("Mass"), files[1]: None}
    asked: list[Path] = []

    def labels_for(path: Path, shape: tuple[int, int]) -> ReferenceLabels | None:
        assert shape == (SIZE, SIZE)
        asked.append(path)
        return given[path]

    plain = [uid_of(result.folder / "overlay.dcm") for _, result in save(files, tmp_path / "plain")]  # type: ignore[union-attr]
    labelled = save(files, tmp_path / "labelled", labels_for=labels_for)
    found = [uid_of(result.folder / "overlay.dcm") for _, result in labelled]  # type: ignore[union-attr]
    assert asked == files
    assert (found[0] != plain[0], found[1] == plain[1]) == (True, True)


def test_bytes_are_read_as_the_file_is(tmp_path: Path) -> None:
    file = phantom(tmp_path, "gamma.dcm")
    one, other = ReadSettings().read(file), ReadSettings().read_bytes(file.read_bytes(), "gamma")
    assert np.array_equal(one.pixels, other.pixels)
    assert (one.id, one.sha256, one.steps, one.warnings) == (
        other.id,
        other.sha256,
        other.steps,
        other.warnings,
    )
    with pytest.raises(ImageTooLargeError):
        ReadSettings(max_pixels=100).read_bytes(file.read_bytes(), "gamma")


def test_an_explanation_writes_its_objects(tmp_path: Path) -> None:
    explanation, file = explained(tmp_path, phantom_file(42, SIZE))
    made = explanation.to_dicom(tmp_path / "out", file, "Mass", kinds=KINDS)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["overlay.dcm"]
    assert uid_of(tmp_path / "out" / "overlay.dcm") == made["overlay"].uid
    saved = explanation.save(tmp_path / "saved.json")
    loaded = type(explanation).load(saved)
    with pytest.raises(OutputError, match="without its radiograph"):
        loaded.to_dicom(tmp_path / "again", file, "Mass", kinds=KINDS)
    loaded.to_dicom(tmp_path / "again", file, "Mass", radiograph=read_radiograph(file), kinds=KINDS)
    assert uid_of(tmp_path / "again" / "overlay.dcm") == made["overlay"].uid
    with pytest.raises(DicomObjectError, match="SHA-256"):
        explanation.to_dicom(tmp_path / "other", phantom_file(43, SIZE))
    assert not (tmp_path / "other").exists()
