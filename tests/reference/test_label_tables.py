"""Tables of reference labels and boxes: NIH's in their variants, a plain CSV, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxr_explain.errors import ReferenceLabelError
from cxr_explain.pathologies import LabelState
from cxr_explain.reference.label_tables import read_reference_table

NIH = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
NIH += "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
BOXES = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"


def written(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("header", [NIH, NIH + ",", NIH.replace("Gender", "Sex"), "\ufeff" + NIH])
def test_nihs_variants(header: str, tmp_path: Path) -> None:
    row = "00000001_000.png,Effusion|Pleural_Thickening,0,1,058Y,M,PA,2682,2749,0.143,0.143"
    table = read_reference_table(written(tmp_path, f"{header}\n{row}\n\n"))
    labels = table.labels_for("x/00000001_000.png", (10, 10))
    assert labels is not None
    assert labels["Pleural Thickening"] is LabelState.POSITIVE
    assert labels["Mass"] is LabelState.NEGATIVE
    assert labels["Fracture"] is LabelState.NOT_LABELLED
    assert table.labels_for("00000002_000.png", (10, 10)) is None


def test_no_finding_is_negative_for_nihs_labels_only(tmp_path: Path) -> None:
    table = read_reference_table(written(tmp_path, f"{NIH}\na.png,No Finding,0,1,1,M,PA,1,1,1,1\n"))
    states = table.labels["a.png"].states
    assert len(states) == 14
    assert set(states.values()) == {LabelState.NEGATIVE}


def test_a_plain_csv_says_nothing_of_what_it_does_not_name(tmp_path: Path) -> None:
    table = read_reference_table(written(tmp_path, "image,labels\nstudy.dcm,Mass|Edema=uncertain\n"))
    labels = table.labels_for("study.dcm", (5, 9))
    assert [labels[name] for name in ("Mass", "Edema", "Hernia")] == ["positive", "uncertain", "not labelled"]


@pytest.mark.parametrize("path", ["00000001_000.png", "00000001_000.dcm", "deep/00000001_000.jpeg"])
def test_a_copy_in_another_format_is_found_and_its_boxes_scaled(path: str, tmp_path: Path) -> None:
    labels = written(tmp_path, f"{NIH}\n00000001_000.png,Infiltration,0,1,1,M,PA,1,1,1,1\n")
    boxes = written(tmp_path, BOXES + "00000001_000.png,Infiltrate,256,512,128,64,,,\n", "boxes.csv")
    found = read_reference_table(labels, boxes).labels_for(path, (512, 512))
    (box,) = found.boxes
    assert (box.pathology, box.x, box.y, box.width, box.height) == ("Infiltration", 128, 256, 64, 32)
    assert found["Infiltration"] is LabelState.POSITIVE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"the columns \[\]"),
        ("a,b\n1,2\n", r"the columns \['a', 'b'\].*'Image Index' or 'image'"),
        ("image,labels\na.png\n", "line 2: 1 columns"),
        ("image,labels\na.png,Mass=perhaps\nb.png,=\n", "line 2.*perhaps.*line 3"),
        ("image,labels\na.png,Mass\na.png,Edema\n", "line 3: 'a.png' a second time"),
        (f"{NIH}\na.png,Flu,0\n", "line 2: 'Flu', which is none of NIH's 14"),
        (f"{NIH}\na.png,,0\n", "line 2: no label at all"),
        ("image,labels\n" + "a.png\n" * 9, r"line 6.* and 4 more"),
        ('image,labels\n"a.png,Mass\n' + "x" * 200_000, "something else than CSV|columns"),
    ],
)
def test_bad_tables_are_described_with_their_lines(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ReferenceLabelError, match=message) as caught:
        read_reference_table(written(tmp_path, text))
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
    with pytest.raises(ReferenceLabelError, match="line 2: the box"):
        read_reference_table(None, written(tmp_path, f"{BOXES}{row}\n"))


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)))
    with pytest.raises(ReferenceLabelError, match="something else than CSV text"):
        read_reference_table(tmp_path / "binary.csv")
    with pytest.raises(ReferenceLabelError, match="no readable file"):
        read_reference_table(tmp_path)


@pytest.mark.real_data
def test_the_shared_tables(real_data: Path) -> None:
    table = read_reference_table(real_data / "Data_Entry_2017_v2020.csv", real_data / "BBox_List_2017.csv")
    assert len(table.boxes) == 34
    assert sum(len(boxes) for boxes in table.boxes.values()) == 38
    assert {path.name for path in (real_data / "nih256").iterdir()} <= set(table.labels)
