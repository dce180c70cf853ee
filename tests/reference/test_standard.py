"""What is known of an image file: found by its name; in tables, mask folders and CheXlocalize's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tables import BOX_HEADER, NIH_HEADER, nih_row, written

from cxr_explain.errors import CxrExplainError, ManifestError, ReferenceLabelError
from cxr_explain.pathologies import LabelState, ReferenceBox
from cxr_explain.reference import (
    Manifest,
    MaskReference,
    ReferenceStandard,
    make_manifest,
    read_references,
    write_manifest,
)
from cxr_explain.reference.chexlocalize import (
    CHEXLOCALIZE_NAMES,
    OutlineSet,
    write_annotations,
    write_segmentations,
)
from cxr_explain.reference.outlines import Polygons

ID = "patient64541_study1_view1_frontal"


def table_of(folder: Path, *lines: str, name: str = "table.csv") -> Path:
    return written(folder / name, *lines)


def image(path: Path, side: int = 32) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side), np.uint8)).save(path)
    return path


# --- how a file is found ---


@pytest.mark.parametrize("path", ["00000001_000.png", "00000001_000.dcm", "deep/00000001_000.jpeg"])
def test_a_copy_in_another_format_is_found_and_its_boxes_scaled(path: str, tmp_path: Path) -> None:
    labels = table_of(tmp_path, NIH_HEADER, nih_row(labels="Infiltration"))
    boxes = table_of(tmp_path, BOX_HEADER, "00000001_000.png,Infiltrate,256,512,128,64,,,", name="boxes.csv")
    found = read_references(labels=labels, boxes=boxes).labels_for(path, (512, 512))
    assert found is not None
    (box,) = found.boxes
    assert (box.pathology, box.x, box.y, box.width, box.height) == ("Infiltration", 128, 256, 64, 32)
    assert found["Infiltration"] is LabelState.POSITIVE
    assert found["Mass"] is LabelState.NEGATIVE


def test_the_whole_name_counts_before_the_name_without_extension() -> None:
    standard = ReferenceStandard(Manifest(["one", "two"], ["x/a.dcm", "a.png"]))
    assert [standard.row(name) for name in ("a.png", "y/a.dcm", "b.png")] == [1, 0, None]
    with pytest.raises(ReferenceLabelError, match=r"y/a\.jpg: found 2 images of this name.* lines 2 and 3"):
        standard.row("y/a.jpg")
    assert not standard.covers("y/a.jpg")


def test_chexperts_images_are_told_apart_by_their_folders() -> None:
    """All of them have one of a few names, which must not find another patient's labels."""
    path = "CheXpert-v1.0/valid/patient1/study1/view1_frontal.jpg"
    labels = {"pathologies": ["Mass"], "states": [[1]]}
    standard = ReferenceStandard(Manifest(["a"], [path], **labels))  # type: ignore[arg-type]
    assert standard.row("/data/valid/patient1/study1/view1_frontal.png") == 0
    assert standard.row("patient1_study1_view1_frontal.dcm") == 0
    for other in ("patient2/study1/view1_frontal.jpg", "view1_frontal.jpg", "study1/view1_frontal.jpg"):
        assert standard.row(other) is None
        assert standard.labels_for(other, (5, 5)) is None


def test_every_image_of_a_manifest_finds_its_own_row(tmp_path: Path) -> None:
    for name in ("nih", "chexpert", "chexlocalize", "vindr", "rsna", "mimic"):
        manifest = make_manifest(name, Path(__file__).parents[2] / "data_manifests" / "examples" / name)
        standard = ReferenceStandard(manifest)
        assert [standard.row(tmp_path / path) for path in manifest.paths] == list(range(len(manifest)))


# --- tables of labels and boxes ---


@pytest.mark.parametrize(
    "header", [NIH_HEADER, NIH_HEADER + ",", NIH_HEADER.replace("Gender", "Sex"), "\ufeff" + NIH_HEADER]
)
def test_nihs_variants(header: str, tmp_path: Path) -> None:
    row = nih_row(labels="Effusion|Pleural_Thickening", age="058Y")
    standard = read_references(labels=table_of(tmp_path, header, row, ""))
    labels = standard.labels_for("x/00000001_000.png", (10, 10))
    assert labels is not None
    assert labels["Pleural Thickening"] is LabelState.POSITIVE
    assert labels["Mass"] is LabelState.NEGATIVE
    assert labels["Fracture"] is LabelState.NOT_LABELLED
    assert labels.source == "table.csv, in NIH ChestX-ray14's layout"
    assert standard.labels_for("00000002_000.png", (10, 10)) is None


def test_no_finding_is_negative_for_nihs_labels_only(tmp_path: Path) -> None:
    table = table_of(tmp_path, "Image Index,Finding Labels", "a.png,No Finding")
    labels = read_references(labels=table).labels_for("a.png", (10, 10))
    assert labels is not None
    assert len(labels.states) == 14
    assert set(labels.states.values()) == {LabelState.NEGATIVE}


def test_a_plain_csv_says_nothing_of_what_it_does_not_name(tmp_path: Path) -> None:
    table = table_of(tmp_path, "image,labels", "study.dcm,Mass|Edema=uncertain", "b.dcm,")
    labels = read_references(labels=table).labels_for("study.dcm", (5, 9))
    assert labels is not None
    assert [labels[name] for name in ("Mass", "Edema", "Hernia")] == ["positive", "uncertain", "not labelled"]
    assert labels.source == "table.csv"


def test_labels_in_columns_and_in_manifests(tmp_path: Path) -> None:
    columns = table_of(tmp_path, "path,Pleural Effusion,Mass", "x/a.png,1,-1")
    box = ReferenceBox("Mass", 1, 2, 3, 4)
    manifest = Manifest(
        ["one"], ["x/a.png"], pathologies=["Effusion", "Mass"], states=[[1, -1]], boxes={0: (box,)}
    )
    written_down = write_manifest(manifest, tmp_path / "manifest.csv")
    for path, boxes in ((columns, ()), (written_down, (box,))):
        labels = read_references(labels=path).labels_for("a.png", (9, 5))
        assert labels is not None
        assert (labels["Effusion"], labels["Mass"], labels["Edema"]) == (
            "positive",
            "uncertain",
            "not labelled",
        )
        assert labels.boxes == boxes


def test_boxes_of_images_without_labels_are_positive_labels(tmp_path: Path) -> None:
    labels = table_of(tmp_path, "image_id,image,labels", "1,a.dcm,Edema", "2,c.png,Edema=negative")
    rows = (
        "a.png,Mass,0,0,512,512",
        "b.png,Mass,0,0,10,10",
        "b.png,Infiltrate,0,0,20,20",
        "b.png,Mass,0,0,5,5",
    )
    boxes = table_of(tmp_path, BOX_HEADER, *rows, name="boxes.csv")
    standard = read_references(labels=labels, boxes=boxes)
    first, second, third = (standard.labels_for(name, (1024, 1024)) for name in ("a.png", "b.png", "c.png"))
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.states, [box.pathology for box in first.boxes]) == ({"Edema": "positive"}, ["Mass"])
    assert second.states == {"Mass": "positive", "Infiltration": "positive"}
    assert (second.source, len(second.boxes)) == ("reference boxes", 3)
    assert (third.states, third.boxes) == ({"Edema": "negative"}, ())
    assert [standard.covers(name) for name in ("a.png", "b.png", "c.png", "d.png")] == [
        True,
        True,
        False,
        False,
    ]
    assert read_references(boxes=boxes).labels_for("a.jpg", (8, 8)) is not None


def test_boxes_of_an_image_that_is_no_copy_are_refused(tmp_path: Path) -> None:
    boxes = table_of(tmp_path, BOX_HEADER, "a.png,Mass,1,2,3,4")
    with pytest.raises(ReferenceLabelError, match="boxes in 1024 x 1024 pixels for an image of 70 x 90"):
        read_references(boxes=boxes).labels_for("a.png", (90, 70))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "an empty file"),
        (["a,b", "1,2"], "no labels in the columns 'a', 'b'; expected NIH's 'Image Index'"),
        (["image,b", "1,2"], "no labels in the columns 'image', 'b'.* or 'image' and 'labels'"),
        (["name,labels", "a,Mass"], "the columns 'name', 'labels'; expected a column 'path' or 'image'"),
        (["Finding Labels", "Mass"], "expected a column 'Image Index'"),
        (["image,labels", "a.png"], "line 2: 1 cells where the header has 2"),
        (["image,labels", "a.png,Mass=perhaps", "b.png,="], "line 2.*perhaps.*line 3"),
        (["image,labels", "a.png,Mass", "a.png,Edema"], "line 3: the image_id 'a' again, after line 2"),
        (["Image Index,Finding Labels", "a.png,Mass", "a.png,Edema"], "line 3: the image_id 'a' again"),
        (["Image Index,Finding Labels", "a.png,Flu"], "line 2: the unknown pathology 'Flu'"),
        (["Image Index,Finding Labels", "a.png,Fracture"], "line 2: 'Fracture', which is none of NIH's 14"),
        (["Image Index,Finding Labels", "a.png,"], "line 2: no label at all"),
        (["image,labels", *["a.png"] * 22], r"line 21.* and 2 more"),
        (["image,labels", "../a.png,Mass"], r"line 2: the path '\.\./a\.png'"),
        (["image,labels", '"a.png,Mass', "x" * 200_000], "something else than CSV"),
    ],
)
def test_bad_tables_are_described_with_their_lines(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=message) as caught:
        read_references(labels=table_of(tmp_path, *lines))
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "row",
    [
        "a.png,Mass,1,2,3",
        "a.png,Mass,x,2,3,4",
        "a.png,Mass,nan,2,3,4",
        "a.png,Mass,1000,2,90,4",
        "a.png,Mass,1,2,-3,4",
    ],
)
def test_bad_boxes(row: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"table\.csv: line 2: (the box|5 cells)"):
        read_references(boxes=table_of(tmp_path, BOX_HEADER, row))


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    with pytest.raises(ManifestError, match="something else than text"):
        read_references(labels=tmp_path / "binary.csv")
    with pytest.raises(ManifestError, match="no readable file"):
        read_references(labels=tmp_path)
    with pytest.raises(ManifestError, match="no readable file"):
        read_references(boxes=tmp_path / "none.csv")


@pytest.mark.real_data
def test_the_shared_tables(real_data: Path) -> None:
    standard = read_references(
        labels=real_data / "Data_Entry_2017_v2020.csv", boxes=real_data / "BBox_List_2017.csv"
    )
    assert len(standard.manifest.boxes) == 34
    assert sum(len(boxes) for boxes in standard.manifest.boxes.values()) == 38
    assert {path.name for path in (real_data / "nih256").iterdir()} <= set(standard.manifest.paths)


# --- where findings are ---


def test_a_pixel_is_in_a_box_where_its_centre_is(tmp_path: Path) -> None:
    rows = ("a.png,Mass,32,64,48,32", "a.png,Mass,0,0,32,32", "a.png,Infiltrate,0,0,1024,1024")
    standard = read_references(boxes=table_of(tmp_path, BOX_HEADER, *rows))
    assert standard.kind == "boxes"
    masks = standard.masks("a.png", (32, 32))
    expected = np.zeros((32, 32), bool)
    expected[2, 1] = expected[0, 0] = True  # 1.5 pixels wide: the second one's centre is on the edge, outside
    assert np.array_equal(masks["Mass"], expected)
    assert masks["Infiltration"].all()
    assert standard.masks("b.png", (32, 32)) == {}


def test_a_finding_is_its_mask_and_its_boxes_together(tmp_path: Path) -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[0, 0] = 1
    Image.fromarray(mask).save(tmp_path / "m.png")
    manifest = Manifest(
        ["a"],
        ["a.png"],
        boxes={0: (ReferenceBox("Mass", 3, 3, 1, 1), ReferenceBox("Edema", 0, 0, 4, 4))},
        masks={0: {"Mass": MaskReference("png", "m.png")}},
    )
    found = ReferenceStandard(manifest, tmp_path).masks("a.png", (4, 4))
    assert np.argwhere(found["Mass"]).tolist() == [[0, 0], [3, 3]]
    assert found["Edema"].all()


def test_masks_in_a_folder(tmp_path: Path) -> None:
    for name in ("a-mass", "a-lung lesion", "a.b-Edema", "a-b-mass", "c-nothing", "notes"):
        image(tmp_path / "masks" / f"{name}.png")
    standard = read_references(masks=tmp_path / "masks")
    assert standard.kind == "masks"
    assert set(standard.masks("x/a.dcm", (32, 32))) == {"Mass", "Lung Lesion"}
    found = [standard.covers(f"x/{name}.dcm") for name in ("a", "a.b", "a-b", "b", "c", "a.c")]
    assert found == [True, True, True, False, False, False]


def test_masks_in_other_files_are_named(tmp_path: Path) -> None:
    for name in ("a-mass.png", "b-mass.PNG", "c-mass.jpg", "d_mass.png"):
        image(tmp_path / name)
    (tmp_path / "README.md").write_text("masks")
    standard = read_references(masks=tmp_path)
    assert [standard.covers(f"{name}.dcm") for name in "abcd"] == [True, True, False, False]
    (note,) = standard.manifest.notes
    assert note == "2 files that are named after no pathology left out: 'c-mass.jpg' (no PNG, but .jpg)"


def test_masks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for folder in ("masks", "nowhere"):
        with pytest.raises(ReferenceLabelError, match=r"no mask.*IMAGE-pathology"):
            read_references(masks=tmp_path / folder)
    image(tmp_path / "masks" / "a-mass.png", side=16)
    (tmp_path / "masks" / "b-mass.png").write_bytes(b"no image")
    standard = read_references(masks=tmp_path / "masks")
    with pytest.raises(ReferenceLabelError, match="16 x 16 pixels for an image of 32 x 32"):
        standard.masks("a.png", (32, 32))
    with pytest.raises(CxrExplainError, match=r"b-mass\.png"):
        standard.masks("b.png", (32, 32))


@pytest.mark.parametrize("kind", ["segmentations", "annotations"])
def test_outlines_belong_to_the_image_by_the_end_of_its_path(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("pycocotools")
    square = ((4.0, 4.0), (12.0, 4.0), (12.0, 20.0), (4.0, 20.0))
    drawn = {name: Polygons((32, 32), ()) for name in CHEXLOCALIZE_NAMES}
    drawn["Edema"] = Polygons((32, 32), (square,))
    write = write_segmentations if kind == "segmentations" else write_annotations
    path = write(tmp_path / "files" / f"{kind}.json", OutlineSet({ID: drawn}))
    (tmp_path / "link.json").symlink_to(path)
    for given in (path, tmp_path / "link.json"):
        standard = read_references(segmentations=given)
        assert standard.kind == "outlines"
        found = "valid/patient64541/study1/view1_frontal.jpg"
        assert standard.covers(found)
        assert standard.covers(tmp_path / f"{ID}.jpg")
        assert not standard.covers(tmp_path / "view1_frontal.jpg")
        assert not standard.covers(tmp_path / "patient1/study1/view1_frontal.jpg")
        masks = standard.masks(found, (32, 32))
        assert list(masks) == ["Edema"]
        assert np.array_equal(masks["Edema"], drawn["Edema"].mask())
        with pytest.raises(ReferenceLabelError, match="32 x 32 pixels for an image of 30 x 32"):
            standard.masks(found, (32, 30))


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"a": {}}', "no json", '{"a": {"Edema": 3}}'])
def test_what_is_neither_kind_of_outline_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "outlines.json"
    path.write_text(content)
    with pytest.raises(ReferenceLabelError) as error:
        read_references(segmentations=path)
    assert str(path) in str(error.value)


def test_names_that_no_image_can_have_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "outlines.json"
    path.write_text('{"../a": {"img_size": [2, 2], "Edema": [[[0, 0], [1, 1]]]}}')
    with pytest.raises(ManifestError, match=r"outlines\.json: line 2: the path '\.\./a\.png'"):
        read_references(segmentations=path)
