"""Which images a table, boxes, masks or outlines are of: found by name, and named where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tables import BOX_HEADER, written

from cxr_explain.errors import ManifestError, ReferenceLabelError
from cxr_explain.pathologies import ReferenceBox
from cxr_explain.reference import (
    Manifest,
    MaskReference,
    ReferenceStandard,
    check_manifest,
    make_manifest,
    read_references,
)
from cxr_explain.reference.chexlocalize import OutlineSet, write_segmentations
from cxr_explain.reference.coverage import coverage_notes, unpredicted_notes

FILES = [Path("in/a.png"), Path("in/b.png")]


def labelled(folder: Path, *names: str) -> ReferenceStandard:
    rows = (f"{name},Mass" for name in names)
    return read_references(labels=written(folder / "t.csv", "image,labels", *rows))


@pytest.mark.parametrize(
    "name",
    [
        r"C:\data\images\a.png",
        r"\\server\share\a.PNG",
        "/home/me/a.png",
        "./images/a.png",
        "images\\a.png",
        "a",
        "A.DCM",
        "a.jpeg",
    ],
)
def test_a_file_is_found_by_its_name_alone(name: str, tmp_path: Path) -> None:
    standard = labelled(tmp_path, name)
    assert standard.row("elsewhere/a.png") == 0
    assert standard.row("elsewhere/b.png") is None


def test_a_manifest_of_a_table_with_another_machines_paths(tmp_path: Path) -> None:
    for name in ("deep/a.png", "x/b.png", "y/b.png"):
        written(tmp_path / "images" / name)
    rows = (r"C:\scans\a.png,Mass", "/mnt/x/c.png,", "x/b.png,Edema")
    table = written(tmp_path / "t.csv", "image,labels", *rows)
    with pytest.raises(ManifestError, match=r"line 2: the path .* backslash"):
        make_manifest("csv", table)
    manifest = make_manifest("csv", table, images=tmp_path / "images")
    assert manifest.paths == ("deep/a.png", "c.png", "x/b.png")
    table = written(tmp_path / "t.csv", "image,labels", r"C:\scans\b.png,Mass")
    with pytest.raises(ManifestError, match=r"'b\.png' as .* expected each image once"):
        make_manifest("csv", table, images=tmp_path / "images")


def test_paths_of_windows_in_nihs_tables(tmp_path: Path) -> None:
    labels = written(tmp_path / "t.csv", "Image Index,Finding Labels", r"D:\nih\00000001_000.png,Mass")
    boxes = written(tmp_path / "b.csv", BOX_HEADER, r"D:\nih\00000001_000.png,Mass,1,2,3,4,,,")
    standard = read_references(labels=labels, boxes=boxes)
    assert len(standard.manifest) == 1
    assert standard.covers("x/00000001_000.png")


def test_folders_decide_between_images_of_one_name(tmp_path: Path) -> None:
    standard = labelled(tmp_path, "p1/x.png", "p2/x.png")
    assert [standard.row(name) for name in ("/data/p2/x.png", "p1/x.dcm")] == [1, 0]
    with pytest.raises(ReferenceLabelError, match="2 images of this name"):
        standard.row("p3/x.png")


def test_the_last_number_of_a_uid_is_no_extension(tmp_path: Path) -> None:
    standard = labelled(tmp_path, "1.2.840.7")
    assert standard.row("1.2.840.7.dcm") == 0
    assert standard.row("1.2.840.8") is None
    assert standard.row("1.2.840") is None


def test_a_table_that_lists_none_or_few_of_the_images_says_so(tmp_path: Path) -> None:
    (note,) = coverage_notes(labelled(tmp_path, "other_1.png", "other_2.png"), FILES)
    assert note == (
        "0 of 2 images are in the table t.csv: it has 'other_1.png', 'other_2.png', but not 'a.png', 'b.png'"
    )
    (note,) = coverage_notes(labelled(tmp_path, "b.png"), FILES)
    assert note.startswith("1 of 2 images are in the table t.csv")
    assert coverage_notes(labelled(tmp_path, "a.png", "b.png", "c.png"), FILES) == ()


def test_boxes_masks_and_outlines_say_so_too(tmp_path: Path) -> None:
    labels = written(tmp_path / "t.csv", "image,labels", "a.png,Mass", "b.png,")
    boxes = written(tmp_path / "b.csv", BOX_HEADER, "z.png,Mass,1,2,3,4,,,")
    (note,) = coverage_notes(read_references(labels=labels, boxes=boxes), FILES)
    assert note.startswith("0 of 2 images are in the table b.csv: it has 'z.png'")
    folder = written(tmp_path / "masks" / "y-mass.png").parent
    (folder / "y-flu.png").touch()
    notes = coverage_notes(read_references(masks=folder), FILES)
    assert notes[0].startswith("1 files that are named after no pathology left out: 'y-flu.png'")
    assert notes[1].startswith("0 of 2 images are in the folder masks: it has 'y.png', but not 'a.png'")
    (folder / "y-MASS.png").touch()
    with pytest.raises(ReferenceLabelError, match="two masks of 'Mass' for 'y'"):
        read_references(masks=folder)
    outlines = OutlineSet.of_masks({"patient1_study1_view1_frontal": {"Edema": [[True]]}})
    file = write_segmentations(tmp_path / "gt.json", outlines)
    (note,) = coverage_notes(read_references(segmentations=file), FILES)
    assert note.startswith(
        "0 of 2 images are in the file gt.json: it has 'patient1_study1_view1_frontal.png'"
    )


def test_images_of_one_name_that_share_a_row_are_named(tmp_path: Path) -> None:
    files = [Path("x/a.png"), Path("y/a.png"), Path("y/a.dcm")]
    (note,) = coverage_notes(labelled(tmp_path, "a.png"), files)
    assert note.startswith("3 images share line 2 of the table t.csv")
    assert coverage_notes(labelled(tmp_path, "a.png"), files[1:]) == ()  # one image in two formats


def test_findings_without_an_output_are_named(tmp_path: Path) -> None:
    rows = ("a.png,Mass,1,2,3,4", "a.png,Hernia,1,2,3,4", "b.png,Hernia,1,2,3,4", "z.png,Edema,1,2,3,4")
    standard = read_references(boxes=written(tmp_path / "b.csv", BOX_HEADER, *rows))
    assert unpredicted_notes(standard, FILES, ["Mass", ""]) == (
        "Hernia is outlined in 2 images, and left out: the model has no output for it",
    )
    assert unpredicted_notes(standard, FILES, ["hernia", "Mass"]) == ()


def test_an_audit_of_no_image_is_refused_at_once(tmp_path: Path) -> None:
    written(tmp_path / "images" / "a.png")
    manifest = Manifest(["a", "b"], ["a.png", "b.png"])
    with pytest.raises(
        ManifestError, match=r"0 of 2 images in the image folder, which has 'images'; expected"
    ):
        check_manifest(manifest, tmp_path, []).raise_if_useless()
    check_manifest(manifest, tmp_path / "images", []).raise_if_useless()


def test_a_misspelt_label_column_is_refused_by_an_audit(tmp_path: Path) -> None:
    written(tmp_path / "a.png")
    for name, nearest in (("Efusion", "Effusion"), ("pnuemonia", "Pneumonia")):
        manifest = Manifest(["a"], ["a.png"], pathologies=[name], states=[[1]])
        with pytest.raises(ManifestError, match=f"{name}.; the nearest known pathology is '{nearest}'"):
            check_manifest(manifest, tmp_path, ["Mass"]).raise_if_useless()
        check_manifest(manifest, tmp_path, ["Mass", name]).raise_if_useless()  # the model's own name


def test_findings_without_an_output_are_named_before_an_audit(tmp_path: Path) -> None:
    written(tmp_path / "a.png")
    box, mask = ReferenceBox("Hernia", 1, 2, 3, 4), MaskReference("png", "m.png")
    states = {"pathologies": ["Edema", "Mass"], "states": [[1, -3]]}
    manifest = Manifest(["a"], ["a.png"], boxes={0: (box,)}, masks={0: {"Nodule": mask}}, **states)  # type: ignore[arg-type]
    check = check_manifest(manifest, tmp_path, ["Effusion"])
    assert check.without_output == ("Edema", "Hernia", "Nodule")
    assert "labels without an output of the model: Edema, Hernia, Nodule" in check.lines()
