"""NIH ChestX-ray14, in every variant of its tables and folders."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from tables import BOX_HEADER, NIH_HEADER, nih_row, written

from cxr_explain.errors import ManifestError, OptionError
from cxr_explain.pathologies import NIH_PATHOLOGIES, LabelState
from cxr_explain.reference import Manifest, check_manifest, make_manifest, read_references

TABLE = "Data_Entry_2017_v2020.csv"


def of(folder: Path, *rows: str, header: str = NIH_HEADER) -> Manifest:
    written(folder / TABLE, header, *rows)
    return make_manifest("nih", folder)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (NIH_HEADER, nih_row(age="058Y")),
        (NIH_HEADER + ",", nih_row() + ","),
        (NIH_HEADER + ",", nih_row()),
        (NIH_HEADER, nih_row() + ","),
        (NIH_HEADER.replace("Gender", "Sex"), nih_row()),
        ("\ufeff" + NIH_HEADER, nih_row()),
    ],
)
def test_the_tables_variants(header: str, row: str, tmp_path: Path) -> None:
    (entry,) = of(tmp_path, row, header=header)
    assert (entry.image_id, entry.patient, entry.age, entry.sex, entry.view) == (
        *("00000001_000", "1", 58.0, "M", "PA"),
    )
    assert entry.labels["Mass"] is LabelState.POSITIVE
    assert entry.labels["Hernia"] is LabelState.NEGATIVE
    assert entry.labels["Fracture"] is LabelState.NOT_LABELLED
    assert entry.extra == {"follow_up": "0"}


def test_the_first_release_and_gzipped_tables(tmp_path: Path) -> None:
    written(tmp_path / "Data_Entry_2017.csv", NIH_HEADER, nih_row())
    assert make_manifest("nih", tmp_path).source == "NIH ChestX-ray14, Data_Entry_2017.csv"
    (tmp_path / "Data_Entry_2017.csv").unlink()
    data = f"{NIH_HEADER}\n{nih_row()}\n".encode()
    (tmp_path / f"{TABLE}.gz").write_bytes(gzip.compress(data))
    boxes = f"{BOX_HEADER}\n00000001_000.png,Mass,1,2,3,4\n".encode()
    (tmp_path / "BBox_List_2017.csv.gz").write_bytes(gzip.compress(boxes))
    assert make_manifest("nih", tmp_path).rows_with_boxes == (0,)
    (tmp_path / f"{TABLE}.gz").write_bytes(gzip.compress(data)[:-9])
    with pytest.raises(ManifestError, match="a gzip archive that cannot be unpacked"):
        make_manifest("nih", tmp_path)


def test_no_finding_stands_for_fourteen_negatives(tmp_path: Path) -> None:
    (entry,) = of(tmp_path, nih_row(labels="No Finding"))
    assert dict.fromkeys(NIH_PATHOLOGIES, LabelState.NEGATIVE) == entry.labels.states


def test_the_same_states_as_of_the_table_alone(tmp_path: Path) -> None:
    """`explain --labels` and an audit say the same of an image."""
    labels = ["Effusion|Pleural_Thickening", "No Finding", "Infiltration|Hernia|Mass"]
    names = [f"0000000{n}_000.png" for n in range(3)]
    manifest = of(tmp_path, *(nih_row(name, text) for name, text in zip(names, labels, strict=True)))
    alone = read_references(labels=tmp_path / TABLE).manifest
    assert [entry.labels.states for entry in alone] == [entry.labels.states for entry in manifest]
    assert [entry.path for entry in alone] == names


@pytest.mark.parametrize(
    ("age", "years"),
    [("0", 0.0), ("006M", 0.5), ("414", None), ("", None), ("120", 120.0), ("007D", 7 / 365.25)],
)
def test_ages(age: str, years: float | None, tmp_path: Path) -> None:
    assert of(tmp_path, nih_row(age=age)).ages == (years,)


def test_boxes_are_in_1024_pixels(tmp_path: Path) -> None:
    written(
        tmp_path / "BBox_List_2017.csv",
        BOX_HEADER,
        "00000001_000.png,Infiltrate,256.5,512,128,64,,,",
        "00000001_000.png,Mass,0,0,10,10",
        "00000009_000.png,Mass,0,0,10,10,,,",
    )
    first, second = of(tmp_path, nih_row(), nih_row("00000002_000.png"))
    assert [box.pathology for box in first.boxes] == ["Infiltration", "Mass"]
    assert first.box_space == (1024, 1024)
    assert first.boxes_in((512, 512))[0].x == 128.25
    assert (second.boxes, second.box_space) == ((), None)


def test_splits_are_the_lists(tmp_path: Path) -> None:
    names = [f"0000000{n}_000.png" for n in range(3)]
    written(tmp_path / "train_val_list.txt", names[1], "", newline="\r\n")
    written(tmp_path / "test_list.txt", names[0])
    assert of(tmp_path, *map(nih_row, names)).splits == ("test", "train_val", None)
    assert make_manifest("nih", tmp_path, split="test").ids == ("00000000_000",)
    assert make_manifest("nih", tmp_path, split="train_val").ids == ("00000001_000",)
    written(tmp_path / "test_list.txt", *names[:2])
    with pytest.raises(ManifestError, match=r"test_list\.txt: found '00000001_000\.png' in both lists"):
        make_manifest("nih", tmp_path)
    (tmp_path / "test_list.txt").unlink()
    with pytest.raises(ManifestError, match=r"no test_list\.txt"):
        make_manifest("nih", tmp_path, split="test")
    with pytest.raises(OptionError, match="split='valid'; expected one of train_val, test"):
        make_manifest("nih", tmp_path, split="valid")


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ("images/00000001_000.png", "00000001_000.png"),
        ("images_012/images/00000001_000.png", "images_012/images/00000001_000.png"),
        ("nih256/00000001_000.png", "nih256/00000001_000.png"),
        ("00000001_000.png", "00000001_000.png"),
    ],
)
def test_images_are_found_where_they_are(where: str, path: str, tmp_path: Path) -> None:
    written(tmp_path / where)
    manifest = of(tmp_path, nih_row(), nih_row("00000002_000.png"))
    assert manifest.paths[0] == path
    images = tmp_path / "images" if where.startswith("images/") else tmp_path
    assert check_manifest(manifest, images, []).missing == (manifest.paths[1],)


def test_another_image_folder(tmp_path: Path) -> None:
    for folder in ("small", "large/part"):
        written(tmp_path / folder / "00000001_000.png")
    written(tmp_path / TABLE, NIH_HEADER, nih_row())
    with pytest.raises(ManifestError, match=r"as 'large/part/.*Name the folder of the images"):
        make_manifest("nih", tmp_path)
    assert make_manifest("nih", tmp_path, images=tmp_path / "small").paths == ("00000001_000.png",)
    assert make_manifest("nih", tmp_path, images=tmp_path / "large").paths == ("part/00000001_000.png",)
    with pytest.raises(ManifestError, match="no folder"):
        make_manifest("nih", tmp_path, images=tmp_path / "none")


def test_all_bad_rows_at_once(tmp_path: Path) -> None:
    rows = (
        nih_row(labels="Flu"),
        nih_row("00000002_000.png", age="old"),
        nih_row("00000003_000.png", sex="?"),
    )
    with pytest.raises(ManifestError) as caught:
        of(tmp_path, *rows, nih_row("00000003_000.png"), "short,Mass", nih_row("00000004_000.png", labels=""))
    text = str(caught.value)
    for expected in (
        f"{tmp_path / TABLE}: line 2: the unknown pathology 'Flu'; the nearest known is",
        "line 3: the age 'old'",
        "line 4: the sex '?'",
        "line 5: the image_id '00000003_000' again, after line 4",
        "line 6: 2 cells where the header has 11",
        "line 7: no label at all",
    ):
        assert expected in text


@pytest.mark.parametrize("row", ["a.png,Mass,1,2,3", "a.png,Mass,x,2,3,4", "a.png,Mass,1000,2,90,4"])
def test_bad_boxes(row: str, tmp_path: Path) -> None:
    written(tmp_path / "BBox_List_2017.csv", BOX_HEADER, row)
    with pytest.raises(ManifestError, match=r"BBox_List_2017\.csv: line 2: "):
        of(tmp_path, nih_row())


def test_no_tables(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no Data_Entry_2017\*\.csv"):
        make_manifest("nih", tmp_path)
    written(tmp_path / TABLE, "a,b", "1,2")
    with pytest.raises(ManifestError, match="expected a column 'Image Index'"):
        make_manifest("nih", tmp_path)
    written(tmp_path / TABLE, NIH_HEADER, nih_row())
    written(tmp_path / "BBox_List_2017.csv", "Image Index,x", "1,2")
    with pytest.raises(ManifestError, match=r"BBox_List_2017.csv: .*expected a column 'Finding Label'"):
        make_manifest("nih", tmp_path)


@pytest.mark.real_data
def test_the_shared_folder(real_data: Path) -> None:
    manifest = make_manifest("nih", real_data, images=real_data / "nih256")
    there = {path.name for path in (real_data / "nih256").iterdir()}
    missing = check_manifest(manifest, real_data / "nih256", NIH_PATHOLOGIES).missing
    assert set(missing) == set(manifest.paths) - there
    assert len(manifest) - len(missing) == 1145
    assert sum(len(entry.boxes) for entry in manifest) == 38
    assert len(make_manifest("nih", real_data, images=real_data / "nih256", split="test")) == 245


def test_boxes_of_images_that_are_not_in_the_table_are_counted(tmp_path: Path) -> None:
    written(tmp_path / "Data_Entry_2017.csv", NIH_HEADER, nih_row())
    rows = ("00000001_000.png,Mass,1,2,3,4,,,", "00000009_000.png,Mass,1,2,3,4,,,")
    written(tmp_path / "BBox_List_2017.csv", BOX_HEADER, *rows)
    table = make_manifest("nih", tmp_path)
    assert table.notes == ("the boxes of 1 of 2 images left out, which the table has not",)
    assert len(table[0].boxes) == 1
