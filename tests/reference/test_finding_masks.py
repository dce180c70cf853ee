"""Where the findings of a file are: boxes, masks, CheXlocalize's outlines; what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_explain import read_radiograph
from cxr_explain.errors import CxrExplainError, ReferenceLabelError
from cxr_explain.phantom import render, sample_patient
from cxr_explain.reference.chexlocalize import OutlineSet, write_annotations, write_segmentations
from cxr_explain.reference.finding_masks import Boxes, MaskFolder, read_outlines
from cxr_explain.reference.label_tables import read_reference_table
from cxr_explain.reference.outlines import Polygons
from cxr_explain.study.cases import Case, file_cases

ID = "patient64541_study1_view1_frontal"


def image(folder: Path, name: str, side: int = 32) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side), np.uint8)).save(path)
    return path


def test_masks_on_disk_are_those_that_were_rendered(dataset: Path) -> None:
    references = MaskFolder(dataset / "masks")
    files = sorted((dataset / "images").glob("*.png"))
    found = [case for case in file_cases(files, references) if isinstance(case, Case)]
    assert found
    for case in found:
        phantom = render(sample_patient(int(case.id.removeprefix("phantom-"))), size=96)
        assert set(case.masks) == {name for name, mask in phantom.masks.items() if mask.any()}
        for name, mask in case.masks.items():
            assert np.array_equal(mask, phantom.masks[name])
        assert case.radiograph.phantom
        assert not case.boxed


def test_boxes_on_disk_hold_the_masks(dataset: Path) -> None:
    files = sorted((dataset / "images").glob("*.png"))
    boxes = Boxes(read_reference_table(None, dataset / "BBox_List_2017.csv"))
    masks = MaskFolder(dataset / "masks")
    boxed = [case for case in file_cases(files, boxes) if isinstance(case, Case)]
    assert boxed
    for case in boxed:
        assert case.boxed
        exact = masks.masks(dataset / "images" / f"{case.id}.png", case.radiograph.shape)
        for name, box in case.masks.items():
            assert (exact[name] & box).sum() > 0.9 * exact[name].sum()  # specks at the rim get no box
            assert box.sum() < box.size


def test_a_pixel_is_in_a_box_where_its_centre_is(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    header = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
    path.write_text(header + "a.png,Mass,32,64,48,32\na.png,Mass,0,0,32,32\na.png,Infiltrate,0,0,1024,1024\n")
    masks = Boxes(read_reference_table(None, path)).masks(Path("a.png"), (32, 32))
    expected = np.zeros((32, 32), bool)
    expected[2, 1] = expected[0, 0] = True  # 1.5 pixels wide: the second one's centre is on the edge, outside
    assert np.array_equal(masks["Mass"], expected)
    assert masks["Infiltration"].all()


@pytest.mark.parametrize("kind", ["segmentations", "annotations"])
def test_outlines_belong_to_the_image_by_the_end_of_its_path(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("pycocotools")
    path = image(tmp_path, "valid/patient64541/study1/view1_frontal.jpg")
    square = ((4.0, 4.0), (12.0, 4.0), (12.0, 20.0), (4.0, 20.0))
    drawn = {"Edema": Polygons((32, 32), (square,))}
    empty = {
        name: Polygons((32, 32), ())
        for name in OutlineSet.of_masks({ID: {"Edema": np.eye(32, dtype=bool)}}).outlines[ID]
    }
    outlines = OutlineSet({ID: {**empty, **drawn}})
    write = write_segmentations if kind == "segmentations" else write_annotations
    references = read_outlines(write(tmp_path / f"{kind}.json", outlines))
    assert references.covers(path)
    assert references.covers(tmp_path / f"{ID}.jpg")
    assert not references.covers(tmp_path / "view1_frontal.jpg")
    masks = references.masks(path, (32, 32))
    assert list(masks) == ["Edema"]
    assert np.array_equal(masks["Edema"], drawn["Edema"].mask())
    (case,) = file_cases([path], references)
    assert isinstance(case, Case)
    assert case.group == "patient64541"
    with pytest.raises(ReferenceLabelError, match="outlines of 32 x 32 pixels for an image of 30 x 32"):
        references.masks(path, (32, 30))


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"a": {}}', "no json", '{"a": {"Edema": 3}}'])
def test_what_is_neither_kind_of_outline_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "outlines.json"
    path.write_text(content)
    with pytest.raises(ReferenceLabelError) as error:
        read_outlines(path)
    assert str(path) in str(error.value)


def test_masks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    with pytest.raises(ReferenceLabelError, match="no mask"):
        MaskFolder(tmp_path / "masks")
    with pytest.raises(ReferenceLabelError, match="no mask"):
        MaskFolder(tmp_path / "nowhere")
    image(tmp_path, "masks/a-mass.png", side=16)
    (tmp_path / "masks" / "b-mass.png").write_bytes(b"no image")
    references = MaskFolder(tmp_path / "masks")
    assert references.covers(Path("x/a.dcm"))
    assert not references.covers(Path("x/c.dcm"))
    with pytest.raises(ReferenceLabelError, match="16 x 16 pixels for an image of 32 x 32"):
        references.masks(Path("a.png"), (32, 32))
    with pytest.raises(CxrExplainError, match=r"b-mass\.png"):
        references.masks(Path("b.png"), (32, 32))


def test_a_broken_image_is_an_error_that_names_it_and_the_others_go_on(dataset: Path, tmp_path: Path) -> None:
    good = sorted((dataset / "images").glob("*.png"))
    covered = [path for path in good if MaskFolder(dataset / "masks").covers(path)]
    broken = tmp_path / covered[0].name
    broken.write_bytes(covered[0].read_bytes()[:200])
    found = list(file_cases([broken, *covered[1:], tmp_path / "unknown.png"], MaskFolder(dataset / "masks")))
    assert isinstance(found[0], CxrExplainError)
    assert str(broken) in str(found[0])
    assert [case.id for case in found[1:] if isinstance(case, Case)] == [path.stem for path in covered[1:]]


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("images/00000013_026.png", "00000013"),
        ("CheXpert/valid/patient64541/study1/view1_frontal.jpg", "patient64541"),
        ("study/a_b.png", "a_b"),
        ("phantom-000042.png", "phantom-000042"),
    ],
)
def test_the_patient_is_read_off_the_path(tmp_path: Path, name: str, group: str) -> None:
    path = image(tmp_path, name)
    image(tmp_path, f"masks/{path.stem}-mass.png")
    (case,) = file_cases([path], MaskFolder(tmp_path / "masks"))
    assert isinstance(case, Case)
    assert case.group == group
    assert case.radiograph.sha256 == read_radiograph(path).sha256
