"""Tables of labels, boxes, masks and outlines, as commands take them: nothing of them is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from cxr_explain.cli.app import app
from cxr_explain.phantom.dataset import write_dataset
from cxr_explain.reference import read_manifest
from cxr_explain.reference.chexlocalize import OutlineSet, write_segmentations

RUN = CliRunner()
PHANTOM = ("--weights", "phantom", "--offline")


def run(*arguments: object) -> Result:
    return RUN.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels") / "phantoms"
    for _ in write_dataset(folder, n=2, seed=10_000_002, size=96):
        pass
    return folder


def names_in(phantoms: Path) -> list[str]:
    return sorted(path.name for path in (phantoms / "images").iterdir())


def explained(phantoms: Path, out: Path, table: str) -> Result:
    (out / "table.csv").write_text(table, encoding="utf-8")
    images = ("explain", phantoms / "images", *PHANTOM, "--top-k", 1)
    return run(*images, "--labels", out / "table.csv", "--out", out / "figures")


def test_labels_behind_paths_of_windows_in_a_python_list(phantoms: Path, tmp_path: Path) -> None:
    first, second = names_in(phantoms)
    rows = f"C:\\scans\\{first},\"['pleural effusion', 'mass=0']\"\nD:\\x\\{second},No Finding\n"
    result = explained(phantoms, tmp_path, f"image,labels\n{rows}")
    assert result.exit_code == 0, result.output
    assert "images are in the table" not in result.output
    shown = [line.split() for line in result.output.splitlines()]
    assert any("Effusion" in words and "positive" in words for words in shown)
    assert any("negative" in words for words in shown)
    assert "No Finding" not in result.output


def test_a_table_of_other_images_says_so(phantoms: Path, tmp_path: Path) -> None:
    result = explained(phantoms, tmp_path, "image,labels\nother_1.png,Effusion\n")
    assert result.exit_code == 0, result.output
    assert "0 of 2 images are in the table table.csv: it has 'other_1.png', but not" in result.output


def test_unknown_names_are_refused_by_row(phantoms: Path, tmp_path: Path) -> None:
    first, second = names_in(phantoms)
    result = explained(phantoms, tmp_path, f"image,labels\n{first},Efusion\n{second},Flu;Mass\n")
    assert result.exit_code == 2
    line = " ".join(result.output.strip().splitlines()[-1].split())
    assert "line 2: the unknown pathology 'Efusion'; the nearest known is 'Effusion'" in line
    assert "line 3: the unknown pathology 'Flu'" in line
    result = run("explain", phantoms / "images", *PHANTOM, "--labels", "Efusion", "--out", tmp_path / "f")
    assert result.exit_code == 2
    assert "the nearest known is 'Effusion'" in result.output


def test_findings_without_an_output_are_named_by_an_evaluation(phantoms: Path, tmp_path: Path) -> None:
    """The bundled model has no output for Lung Opacity."""
    place = tmp_path / "patient00001" / "study1" / "view1_frontal.png"
    place.parent.mkdir(parents=True)
    place.write_bytes((phantoms / "images" / names_in(phantoms)[0]).read_bytes())
    with Image.open(place) as image:
        width, height = image.size
    mask = [[row < height // 2 and column < width // 2 for column in range(width)] for row in range(height)]
    findings = {"Cardiomegaly": mask, "Airspace Opacity": mask}
    outlines = OutlineSet.of_masks({"patient00001_study1_view1_frontal": findings})
    file = write_segmentations(tmp_path / "gt.json", outlines)
    arguments = ("evaluate", place, phantoms / "images", "--segmentations", file, "--quick", "--top-k", 1)
    result = run(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert (
        "Lung Opacity is outlined in 1 images, and left out: the model has no output for it" in result.output
    )
    assert "1 of 3 images are in the file gt.json" in result.output


def test_an_evaluation_of_other_images_shows_both_sides(phantoms: Path, tmp_path: Path) -> None:
    table = tmp_path / "boxes.csv"
    table.write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,\nz.png,Mass,1,2,3,4,,,\n", encoding="utf-8")
    result = run("evaluate", phantoms / "images", "--boxes", table, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "0 of 2 images are in the table boxes.csv: it has 'z.png', but not" in result.output


def test_an_audit_in_the_wrong_folder_is_refused_at_once(phantoms: Path, tmp_path: Path) -> None:
    made = run("manifest", "nih", "--source", phantoms, "--out", tmp_path / "m.csv")
    assert made.exit_code == 0, made.output
    audit = ("audit", tmp_path / "m.csv", "--weights", "phantom", "--out", tmp_path / "run")
    result = run(*audit, "--images", phantoms)
    assert result.exit_code == 2
    assert "0 of 2 images in the image folder, which has" in result.output
    assert not (tmp_path / "run").exists()


def test_a_manifest_says_what_was_left_out(tmp_path: Path) -> None:
    table = tmp_path / "PADCHEST.csv"
    table.write_text("ImageID,Labels\na.png,\"['kyphosis', 'nodule']\"\n", encoding="utf-8")
    result = run("manifest", "padchest", "--source", table, "--out", tmp_path / "m.csv")
    assert result.exit_code == 0, result.output
    assert "note: 1 labels that stand for no pathology here are left out: 'kyphosis' 1" in result.output
    assert str(read_manifest(tmp_path / "m.csv")[0].labels["Nodule"]) == "positive"


def test_boxes_of_a_larger_image_are_named_after_the_audit(phantoms: Path, tmp_path: Path) -> None:
    box = '"[{""pathology"":""Mass"",""x"":10,""y"":10,""width"":%s,""height"":20}]"'
    rows = zip("ab", names_in(phantoms), (box % 9, box % 900), strict=True)
    lines = ["image_id,path,boxes", *map(",".join, rows)]
    (tmp_path / "m.csv").write_text("\n".join(lines), encoding="utf-8")
    audit = (
        "audit",
        tmp_path / "m.csv",
        *PHANTOM,
        "--images",
        phantoms / "images",
        "--out",
        tmp_path / "run",
    )
    result = run(*audit)
    assert result.exit_code == 0, result.output
    assert "note: Localisation leaves out 1 image, the first since: b: found the box 'Mass'" in result.output
    assert "the column box_space says" in " ".join(result.output.split())


def test_names_of_a_model_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,labels\na.png,Flu|Mass\n", encoding="utf-8")
    made = ("manifest", "csv", "--source", tmp_path / "t.csv", "--out", tmp_path / "m.csv")
    assert run(*made).exit_code == 2
    assert run(*made, "--further-pathologies", "Flu").exit_code == 0
    assert read_manifest(tmp_path / "m.csv").pathologies == ("Flu", "Mass")
    assert run("manifest", "xrv", "--source", tmp_path, "--out", tmp_path / "m.csv").exit_code == 2
