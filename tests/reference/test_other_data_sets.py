"""RSNA, VinDr-CXR, MIMIC-CXR-JPG, and a CSV of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from tables import EXAMPLES, ON_DISK, written

from cxr_explain.errors import ManifestError, OptionError
from cxr_explain.pathologies import LabelState
from cxr_explain.reference import DATA_SETS, Manifest, make_manifest
from cxr_explain.reference.csv_file import csv_bytes

RSNA = "patientId,x,y,width,height,Target"
VINDR = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"


def vindr(folder: Path, *rows: str, header: str = VINDR) -> Manifest:
    written(folder / "train.csv", header, *rows)
    return make_manifest("vindr", folder)


def marks(*readings: str, image: str = "a") -> list[str]:
    """Rows of readings such as `R1 Mass`."""
    return [
        f"{image},{name},0,{reader},{'10,20,30,60' if name != 'No finding' else ',,,'}"
        for reader, name in (reading.split(" ", 1) for reading in readings)
    ]


def test_rsnas_rows_are_boxes(tmp_path: Path) -> None:
    written(tmp_path / "stage_2_train_images" / "b.dcm")
    written(tmp_path / "stage_2_train_labels.csv", RSNA, "a,,,,,0", "b,1.0,2,3,4,1", "b,5,6,7,8,1")
    first, second = make_manifest("rsna", tmp_path)
    assert first.labels.states == {"Lung Opacity": LabelState.NEGATIVE}
    assert second.labels["Airspace Opacity"] is LabelState.POSITIVE
    assert second.labels["Pneumonia"] is LabelState.NOT_LABELLED
    assert [(box.x, box.y, box.width, box.height) for box in second.boxes] == [(1, 2, 3, 4), (5, 6, 7, 8)]
    assert second.box_space == (1024, 1024)
    assert (first.path, second.path) == ("stage_2_train_images/a.dcm", "stage_2_train_images/b.dcm")
    assert (first.patient, second.line) == ("a", 3)


def test_rsnas_images_in_another_format(tmp_path: Path) -> None:
    written(tmp_path / "png" / "a.png")
    written(tmp_path / "stage_2_train_labels.csv", RSNA, "a,,,,,0")
    assert make_manifest("rsna", tmp_path, images=tmp_path / "png").paths == ("a.png",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,,,,,2"], "line 2: the Target '2'"),
        (["a,1,2,3,4,1", "a,,,,,0"], "line 3: another Target than before"),
        (["a,1,2,3,4,0"], "line 2: the box .* without opacity"),
        (["a,,,,,1"], "line 2: the box"),
        (["a,1,2,3,nan,1"], "line 2: the box"),
        (["a,1,2,3000,4,1"], "line 2: the box"),
    ],
)
def test_rsnas_bad_rows(rows: list[str], message: str, tmp_path: Path) -> None:
    written(tmp_path / "stage_2_train_labels.csv", RSNA, *rows)
    with pytest.raises(ManifestError, match=message):
        make_manifest("rsna", tmp_path)


@pytest.mark.parametrize(
    ("readings", "state"),
    [
        (["R1 Mass", "R2 Mass", "R3 Mass"], "positive"),
        (["R1 Mass", "R2 Mass", "R3 No finding"], "positive"),
        (["R1 Mass", "R1 Mass", "R2 No finding", "R3 No finding"], "negative"),  # two boxes of one reader
        (["R1 Mass", "R2 ILD", "R3 No finding"], "negative"),
        (["R1 Mass", "R2 No finding"], "uncertain"),
        (["R1 No finding", "R2 No finding"], "not labelled"),  # nobody of this table marks it in any image
    ],
)
def test_vindrs_readers_vote(readings: list[str], state: str, tmp_path: Path) -> None:
    (entry,) = vindr(tmp_path, *marks(*readings))
    assert entry.labels["Mass"] == state
    assert entry.labels["Pneumothorax"] is LabelState.NEGATIVE
    expected = sum(reading.endswith("Mass") for reading in readings) if state == "positive" else 0
    assert len(entry.boxes) == expected


def test_vindrs_names_and_boxes(tmp_path: Path) -> None:
    entry, other = vindr(
        tmp_path,
        *marks("R1 Pleural effusion", "R1 Nodule/Mass", "R1 Rib fracture"),
        *marks("R1 ILD", image="b"),
    )
    assert entry.labels["Effusion"] is LabelState.POSITIVE
    assert entry.labels["Nodule/Mass"] is LabelState.POSITIVE
    assert entry.labels["Nodule"] is entry.labels["Mass"] is LabelState.NOT_LABELLED
    assert entry.labels["Fracture"] is LabelState.POSITIVE
    assert other.labels["Fracture"] is LabelState.NOT_LABELLED  # no rib fracture, but perhaps another
    assert entry.patient is None
    assert entry.box_space is None
    (box,) = (box for box in entry.boxes if box.pathology == "Effusion")
    assert (box.x, box.y, box.width, box.height) == (10, 20, 20, 40)
    assert "positive where more than half of an image's readers mark it" in entry.labels.source


def test_vindrs_test_table_is_a_consensus(tmp_path: Path) -> None:
    written(tmp_path / "annotations_test.csv", "image_id,class_name,x_min,y_min,x_max,y_max", "a,ILD,1,2,3,4")
    written(tmp_path / "test" / "a.dicom")
    (entry,) = make_manifest("vindr", tmp_path, split="test")
    assert (entry.labels["ILD"], entry.path, entry.split) == ("positive", "test/a.dicom", "test")
    assert entry.labels.source.endswith("consensus")


@pytest.mark.parametrize("place", [",,,", "1,2,1,4", "1,2,3,inf", "-1,2,3,4", "x,2,3,4"])
def test_vindrs_bad_boxes(place: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"line 2: the box .* of 'ILD'"):
        vindr(tmp_path, f"a,ILD,5,R1,{place}")


def test_no_vindr(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no table of annotations"):
        make_manifest("vindr", tmp_path)


def mimic(tmp_path: Path, **tables: str) -> Path:
    for path in (EXAMPLES / "mimic").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    for name, text in tables.items():
        (tmp_path / f"mimic-cxr-2.0.0-{name}.csv").write_text(text)
    return tmp_path


def test_mimics_labels_are_the_studys(tmp_path: Path) -> None:
    first, second, third = make_manifest("mimic", mimic(tmp_path))
    name = "90000000-00000000-00000000-00000000-00000001"
    assert first.path == f"files/p90/p90000001/s90000011/{name}.jpg"
    assert (first.patient, first.view, first.split, first.extra) == (
        *("90000001", "PA", "train", {"study": "90000011", "no_finding": ""}),
    )
    assert first.labels.states == second.labels.states
    assert [first.labels[name] for name in ("Cardiomegaly", "Edema", "Effusion", "Pneumonia")] == [
        *("positive", "uncertain", "negative", "not mentioned"),
    ]
    assert third.labels.states == {}  # a study without a report: not labelled
    assert "21800506" not in csv_bytes(make_manifest("mimic", tmp_path)).decode()


def test_mimics_no_finding_is_the_studys(tmp_path: Path) -> None:
    table = "subject_id,study_id,No Finding,Edema\n90000001,90000011,1.0,\n"
    manifest = make_manifest("mimic", mimic(tmp_path, chexpert=table))
    assert manifest.extra["no_finding"] == ("1", "1", "")  # the third image has a study without labels
    assert manifest.pathologies == ("Edema",)


def test_mimics_splits_and_labelers(tmp_path: Path) -> None:
    folder = mimic(tmp_path)
    assert make_manifest("mimic", folder, split="test").patients == ("90000002",)
    with pytest.raises(ManifestError, match=r"no mimic-cxr-2\.\*-negbio\.csv"):
        make_manifest("mimic", folder, labeler="negbio")
    (folder / "mimic-cxr-2.0.0-split.csv").unlink()
    assert set(make_manifest("mimic", folder).splits) == {None}
    with pytest.raises(ManifestError, match=r"no mimic-cxr-2\.\*-split\.csv"):
        make_manifest("mimic", folder, split="test")


@pytest.mark.parametrize(
    ("table", "text", "message"),
    [
        ("chexpert", "subject_id,study_id,Edema\n1,2,1\n1,2,0\n", "line 3: the study '2' again"),
        ("chexpert", "subject_id,study_id,Edema\n1,2,5\n", "line 2: the label '5' of 'Edema'"),
        ("metadata", "dicom_id,subject_id,study_id\na,../x,1\n", "line 2: the number '../x'"),
        ("metadata", "dicom_id,subject_id\n", "expected a column 'study_id'"),
    ],
)
def test_mimics_bad_rows(table: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=message) as caught:
        make_manifest("mimic", mimic(tmp_path, **{table: text}))
    assert f"-{table}.csv" in str(caught.value)


def plain(folder: Path, *lines: str) -> Manifest:
    return make_manifest("csv", written(folder / "t.csv", *lines))


def test_a_column_of_labels(tmp_path: Path) -> None:
    first, second = plain(tmp_path, "image,labels,site", "x/a.png,Effusion|Mass=uncertain,=A", "b.png,,")
    assert (first.image_id, first.path, first.extra) == ("a", "x/a.png", {"site": "=A"})
    assert first.labels.states == {"Effusion": LabelState.POSITIVE, "Mass": LabelState.UNCERTAIN}
    assert second.labels.states == {}


def test_a_column_for_each_pathology(tmp_path: Path) -> None:
    (entry,) = plain(
        tmp_path, "id,path,airspace opacity,Mass,Edema,age,sex", "i,a.png,1,negative,N/A,61,Female"
    )
    assert entry.labels.states == {"Lung Opacity": LabelState.POSITIVE, "Mass": LabelState.NEGATIVE}
    assert (entry.image_id, entry.age, entry.sex) == ("i", 61.0, "F")


def test_names_that_repeat_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    assert plain(tmp_path, "path", "p1/x.png", "p2/x.png", "y.png").ids == ("p1_x", "p2_x", "y")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,labels", "a.png,Mass=perhaps"], "line 2: the label state 'perhaps'"),
        (["path,Mass", "a.png,7"], "line 2: the label '7' of 'Mass'"),
        (["path,Mass,labels", "a.png,1,"], "a column of labels beside the columns Mass"),
        (["path,Effusion,Pleural Effusion", "a.png,1,1"], "two columns for one pathology"),
        (["path", "../a.png"], "line 2: the path"),
        (["path", "a\\b.png"], "line 2: the path .* backslash"),
        (["name", "a.png"], "expected a column 'path' or 'image'"),
    ],
)
def test_bad_plain_tables(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=message):
        plain(tmp_path, *lines)


def test_the_registry() -> None:
    assert set(DATA_SETS) == {
        "nih",
        "chexpert",
        "chexlocalize",
        "rsna",
        "vindr",
        "mimic",
        "padchest",
        "xrv",
        "csv",
        "dicom",
        "dicomweb",
    }
    assert {name: each.given_as for name, each in DATA_SETS.items() if not each.is_on_disk} == {
        "xrv": "object",
        "dicomweb": "url",
    }
    assert DATA_SETS["dicom"].options == {}
    assert list(DATA_SETS["dicomweb"].options) == ["query"]
    assert list(DATA_SETS["nih"].options) == ["split", "images"]
    labeler = DATA_SETS["mimic"].options["labeler"]
    assert (labeler.choices, labeler.default) == (("chexpert", "negbio"), "chexpert")
    assert DATA_SETS["chexpert"].options["split"].choices == ("train", "valid", "test")
    with_images = {
        name: each.options["images"] for name, each in DATA_SETS.items() if "images" in each.options
    }
    assert set(with_images) == {"nih", "rsna", "vindr", "padchest", "csv"}
    assert all(option.choices == () for option in with_images.values())
    with pytest.raises(OptionError, match="the data set 'imagenet'; expected one of nih"):
        make_manifest("imagenet", "x")
    with pytest.raises(OptionError, match="size for nih; expected one of split, images"):
        make_manifest("nih", "x", size="small")
    with pytest.raises(OptionError, match="split for dicom; expected no option"):
        make_manifest("dicom", "x", split="test")


@pytest.mark.parametrize("name", sorted(set(ON_DISK) - {"csv", "chexpert"}))
def test_a_folder_that_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no folder"):
        make_manifest(name, tmp_path / "none")


def test_vindrs_classes_in_any_spelling(tmp_path: Path) -> None:
    """Two spellings of a class are one class: here two of three readers mark it."""
    readings = ("R1 Pleural effusion", "R2 PLEURAL_EFFUSION", "R3 No Finding")
    (entry,) = vindr(
        tmp_path,
        *(row.replace("10,20,30,60", ",,,") if "No Finding" in row else row for row in marks(*readings)),
    )
    assert entry.labels["Effusion"] is LabelState.POSITIVE
    assert len(entry.boxes) == 2
    (entry,) = vindr(tmp_path, *marks("R1 Nodule/mass", "R2 nodule / Mass", "R3 lung opacity"))
    assert (entry.labels["Nodule/Mass"], entry.labels["Lung Opacity"]) == ("positive", "negative")
    assert {"Nodule", "Mass"}.isdisjoint(entry.labels.states)
    (entry,) = vindr(tmp_path, *marks("R1 Rib Fracture", "R2 Mediastinal shift", "R3 Clavicle fracture"))
    assert (entry.labels["Fracture"], entry.labels["Mediastinal shift"]) == ("not labelled", "negative")


@pytest.mark.parametrize("name", ["Pleural efusion", ""])
def test_unknown_classes_of_vindr(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        ManifestError, match=r"line 2: (the unknown .* nearest known is 'Effusion'|no pathology)"
    ):
        vindr(tmp_path, f"a,{name},0,R1,1,2,3,4")


def test_mimics_view_by_the_meaning_of_its_code(tmp_path: Path) -> None:
    header = "dicom_id,subject_id,study_id,ViewPosition,ViewCodeSequence_CodeMeaning"
    meanings = ("Postero-anterior", "antero-posterior", "left lateral", "lateral", "Erect", "")
    rows = [f"d{at},90000001,90000011,,{meaning}" for at, meaning in enumerate(meanings)]
    table = "\n".join((header, *rows, "d9,90000001,90000011,AP,postero-anterior"))
    manifest = make_manifest("mimic", mimic(tmp_path, metadata=table))
    assert manifest.views == ("PA", "AP", "LL", "LATERAL", None, None, "AP")


def test_a_split_that_no_image_is_in(tmp_path: Path) -> None:
    folder = mimic(tmp_path, split="dicom_id,split\nother,train\n")
    with pytest.raises(ManifestError, match="0 of 3 images in the split 'train'"):
        make_manifest("mimic", folder, split="train")


def test_mimics_labels_of_other_studies_are_named(tmp_path: Path) -> None:
    folder = mimic(tmp_path, chexpert="subject_id,study_id,Edema\n1,2,1\n")
    notes = make_manifest("mimic", folder).notes
    assert notes == ("3 of 3 images are of studies that mimic-cxr-2.0.0-chexpert.csv has not",)


def test_two_tables_that_contradict_themselves(tmp_path: Path) -> None:
    name = "90000000-00000000-00000000-00000000-00000001"
    folder = mimic(tmp_path, split=f"dicom_id,split\n{name},train\n{name},train\n{name},test\n")
    with pytest.raises(ManifestError, match=r"line 4: the split 'test' of '90000000.*, after 'train'"):
        make_manifest("mimic", folder)
    written(tmp_path / "r" / "stage_2_train_labels.csv", RSNA, "a,,,,,0")
    rows = ("a,Normal", "a,Normal")
    written(tmp_path / "r" / "stage_2_detailed_class_info.csv", "patientId,class", *rows)
    assert make_manifest("rsna", tmp_path / "r")[0].extra == {"class": "Normal"}
    written(tmp_path / "r" / "stage_2_detailed_class_info.csv", "patientId,class", *rows, "a,Lung Opacity")
    with pytest.raises(ManifestError, match="line 4: the class 'Lung Opacity' of 'a', after 'Normal'"):
        make_manifest("rsna", tmp_path / "r")


def test_vindrs_boxes_in_smaller_copies(tmp_path: Path) -> None:
    written(tmp_path / "train" / "a.png")
    table = vindr(tmp_path, *marks("R1 Mass"))
    assert table[0].box_space is None
    assert "those of 1 images, such as 'train/a.png', are right only where these have" in table.notes[0]
    table = vindr(tmp_path, *(f"{row},200,100" for row in marks("R1 Mass")), header=f"{VINDR},width,height")
    assert (table[0].box_space, table.notes) == ((200, 100), ())
    (box,) = table[0].boxes_in((50, 100))
    assert (box.x, box.y, box.width, box.height) == (5, 10, 10, 20)
    with pytest.raises(ManifestError, match=r"line 2: the size \['0', '100'\]"):
        vindr(tmp_path, *(f"{row},0,100" for row in marks("R1 Mass")), header=f"{VINDR},width,height")


def test_vindrs_originals_need_no_word(tmp_path: Path) -> None:
    assert vindr(tmp_path, *marks("R1 Mass")).notes == ()
