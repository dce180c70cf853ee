"""CheXpert and CheXlocalize, full and small, with all their tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tables import CHEXPERT_HEADER, EXAMPLES, LABELS, written

from cxr_explain.errors import ManifestError, OptionError, ReferenceLabelError
from cxr_explain.pathologies import LabelState
from cxr_explain.reference import Manifest, check_manifest, make_manifest

SMALL, FULL = "CheXpert-v1.0-small", "CheXpert-v1.0"


def row(path: str, sex: str = "Female", age: str = "68", view: str = "Frontal,AP", labels: str = "") -> str:
    return f"{path},{sex},{age},{view},{labels or ',' * 13}"


def frontal(patient: int = 1, root: str = SMALL, split: str = "train") -> str:
    return f"{root}/{split}/patient{patient:05d}/study1/view1_frontal.jpg"


def of(folder: Path, *rows: str, header: str = CHEXPERT_HEADER, name: str = "train.csv") -> Manifest:
    written(folder / name, header, *rows)
    return make_manifest("chexpert", folder)


def test_labels_are_kept_as_they_are(tmp_path: Path) -> None:
    """-1 stays uncertain: what is done with it is decided later; a blank is not a negative."""
    (entry,) = of(tmp_path, row(frontal(), labels="1.0,,0.0,-1.0,1,0,-1,,,,1.0,,,"))
    assert entry.labels.states == {
        "Enlarged Cardiomediastinum": LabelState.NOT_MENTIONED,
        "Cardiomegaly": LabelState.NEGATIVE,
        "Lung Opacity": LabelState.UNCERTAIN,
        "Lung Lesion": LabelState.POSITIVE,
        "Edema": LabelState.NEGATIVE,
        "Consolidation": LabelState.UNCERTAIN,
        "Pneumonia": LabelState.NOT_MENTIONED,
        "Atelectasis": LabelState.NOT_MENTIONED,
        "Pneumothorax": LabelState.NOT_MENTIONED,
        "Effusion": LabelState.POSITIVE,
        "Pleural Other": LabelState.NOT_MENTIONED,
        "Fracture": LabelState.NOT_MENTIONED,
        "Support Devices": LabelState.NOT_MENTIONED,
    }
    for name in ("Infiltration", "Emphysema", "Fibrosis", "Nodule", "Mass", "Hernia"):
        assert entry.labels[name] is LabelState.NOT_LABELLED
    assert entry.extra == {"no_finding": "1"}


def test_each_image_keeps_its_own_labels(tmp_path: Path) -> None:
    """TorchXRayVision's `unique_patients` mixes the labels of a patient's images; here each row is itself."""
    second = frontal().replace("study1", "study2")
    first, other = of(tmp_path, row(frontal(), labels=",1" + "," * 12), row(second, labels="," * 10 + "1,,,"))
    assert first.patient == other.patient == "patient00001"
    assert (first.labels["Effusion"], other.labels["Effusion"]) == ("not mentioned", "positive")
    assert other.image_id == "patient00001_study2_view1_frontal"


@pytest.mark.parametrize(
    ("view", "path", "expected"),
    [
        ("Frontal,AP", "view1_frontal", "AP"),
        ("Frontal,PA", "view1_frontal", "PA"),
        ("Frontal,", "view1_frontal", "frontal"),
        ("Lateral,", "view2_lateral", "lateral"),
        ("Frontal,LL", "view1_frontal", "LL"),
        ("Frontal,RL", "view1_frontal", "RL"),
    ],
)
def test_views(view: str, path: str, expected: str, tmp_path: Path) -> None:
    assert of(tmp_path, row(frontal().replace("view1_frontal", path), view=view)).views == (expected,)


def test_people(tmp_path: Path) -> None:
    rows = [
        row(frontal(n), sex, age) for n, (sex, age) in enumerate([("Male", "90"), ("Unknown", "0"), ("", "")])
    ]
    manifest = of(tmp_path, *rows)
    assert manifest.sexes == ("M", None, None)
    assert manifest.ages == (90.0, None, None)


@pytest.mark.parametrize("root", [SMALL, FULL, "CheXpert-v1.0 batch 2 (train 1)"])
def test_paths_are_relative_to_the_source(root: str, tmp_path: Path) -> None:
    path = "train/patient00001/study1/view1_frontal.jpg"
    assert of(tmp_path, row(frontal(root=root))).paths == (path,)


def test_the_folder_above_and_the_size(tmp_path: Path) -> None:
    path = "train/patient00001/study1/view1_frontal.jpg"
    written(tmp_path / SMALL / "train.csv", CHEXPERT_HEADER, row(frontal()))
    assert make_manifest("chexpert", tmp_path).paths == (f"{SMALL}/{path}",)
    written(tmp_path / FULL / "train.csv", CHEXPERT_HEADER, row(frontal(root=FULL)))
    assert make_manifest("chexpert", tmp_path, size="full").paths == (f"{FULL}/{path}",)
    assert make_manifest("chexpert", tmp_path, size="small").paths == (f"{SMALL}/{path}",)
    with pytest.raises(ManifestError, match=r"found CheXpert-v1.0 and CheXpert-v1.0-small.*Choose with size"):
        make_manifest("chexpert", tmp_path)
    with pytest.raises(OptionError, match="size='tiny'"):
        make_manifest("chexpert", tmp_path, size="tiny")
    with pytest.raises(ManifestError, match=r"no label table.*Name the folder with train\.csv"):
        make_manifest("chexpert", written(tmp_path / "empty" / "x").parent)


def test_one_table_by_itself(tmp_path: Path) -> None:
    path = written(tmp_path / "my-valid.csv", CHEXPERT_HEADER, row(frontal(split="valid")))
    assert make_manifest("chexpert", path).splits == ("valid",)


def test_splits(tmp_path: Path) -> None:
    written(tmp_path / "valid.csv", CHEXPERT_HEADER, row(frontal(2, split="valid")))
    assert of(tmp_path, row(frontal())).splits == ("train", "valid")
    assert make_manifest("chexpert", tmp_path, split="valid").patients == ("patient00002",)
    with pytest.raises(ManifestError, match=r"no label table; expected one of test\.csv"):
        make_manifest("chexpert", tmp_path, split="test")


@pytest.mark.parametrize(("said", "there"), [("valid", "val"), ("val", "valid"), ("valid", "valid")])
def test_valid_may_be_called_val(said: str, there: str, tmp_path: Path) -> None:
    rest = "patient00001/study1/view1_frontal.jpg"
    written(tmp_path / there / rest)
    manifest = of(tmp_path, row(frontal(split=said)), name="valid.csv")
    assert manifest.splits == ("valid",)
    assert manifest.paths == (f"{there}/{rest}",)
    assert check_manifest(manifest, tmp_path, []).is_complete


def test_the_test_table_has_no_people(tmp_path: Path) -> None:
    rows = (
        "test/patient64741/study1/view1_frontal.jpg" + ",0" * 14,
        "test/patient64741/study1/view2_lateral.jpg" + ",1" * 14,
    )
    manifest = of(tmp_path, *rows, header=f"Path,{LABELS}", name="test_labels.csv")
    assert manifest.views == ("frontal", "lateral")
    assert manifest.sexes == manifest.ages == (None, None)
    assert manifest.states.tolist() == [[0] * 13, [1] * 13]
    assert manifest.splits == ("test", "test")


def test_all_bad_rows_at_once(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        of(
            tmp_path,
            row("elsewhere/a.jpg"),
            row(frontal(), sex="F?"),
            row(frontal(2), age="x"),
            row(frontal(3), view="Frontal,XX"),
            row(frontal(4), labels="," * 13 + "2.0"),
            row("../../" + frontal(5)),
            "a,b",
        )
    text = str(caught.value)
    for expected in (
        "train.csv: line 2: the path 'elsewhere/a.jpg', which is not CheXpert's",
        "line 3: the sex 'F?'",
        "line 4: the age 'x'",
        "line 5: the view 'XX'",
        "line 6: the label '2.0' of 'Support Devices'",
        "line 7: the path '../../CheXpert",
        "line 8: 2 cells where the header has 19",
    ):
        assert expected in text


def test_no_label_columns(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no label column"):
        of(tmp_path, frontal(), header="Path")


def test_an_image_in_two_tables(tmp_path: Path) -> None:
    written(tmp_path / "valid.csv", CHEXPERT_HEADER, row(frontal()))
    with pytest.raises(ManifestError, match="'patient00001_study1_view1_frontal' again"):
        of(tmp_path, row(frontal()))


@pytest.mark.parametrize("masks", ["segmentation", "annotation"])
def test_chexlocalizes_masks_are_referred_to(masks: str) -> None:
    source = EXAMPLES / "chexlocalize"
    manifest = make_manifest("chexlocalize", source, masks=masks)
    first = manifest[0]
    assert list(first.masks) == ["Cardiomegaly", "Lung Opacity"]  # Airspace Opacity in their files
    assert {mask.path for mask in first.masks.values()} == {f"gt_{masks}s_val.json"}
    assert first.path == "CheXpert/valid/patient90003/study1/view1_frontal.jpg"
    expected = np.zeros((40, 50), bool)
    expected[10:20, 15:30] = True
    assert np.array_equal(first.mask_in("Airspace Opacity", (40, 50), source), expected)
    assert sorted(manifest.masks) == [0, 1]
    assert manifest[2].masks == {}
    assert make_manifest("chexlocalize", source, split="test", masks=masks).ids == manifest.ids[1:]


def test_chexlocalize_without_its_files(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"no label table; expected CheXpert/val_labels\.csv"):
        make_manifest("chexlocalize", tmp_path)
    written(tmp_path / "CheXpert" / "val_labels.csv", CHEXPERT_HEADER, row(frontal(split="valid")))
    with pytest.raises(ManifestError, match=r"no gt_segmentations_val\.json"):
        make_manifest("chexlocalize", tmp_path)
    with pytest.raises(ManifestError, match=r"no CheXpert/test_labels\.csv"):
        make_manifest("chexlocalize", tmp_path, split="test")
    (tmp_path / "gt_annotations_val.json").write_text(json.dumps({"x": {"Flu": []}}))
    with pytest.raises(ReferenceLabelError, match="no img_size"):
        make_manifest("chexlocalize", tmp_path, masks="annotation")


BATCHES = ("batch 1 (validate & csv)", "batch 2 (train 1)", "batch 3 (train 2)")


def batched(root: Path, *, inner: str = "") -> Path:
    """The layout of the download: the tables in the first batch or above, patients in the batches."""
    first, second, third = (root / f"{FULL} {name}" for name in BATCHES)
    place = "study1/view1_frontal.jpg"
    for folder in (
        first / "valid" / "patient00003",
        second / inner / "patient00001",
        third / inner / "patient00002",
    ):
        written(folder / place)
    return first


@pytest.mark.parametrize("inner", ["", "train"])
@pytest.mark.parametrize("tables", ["above", "first batch"])
def test_the_batches_of_the_download(tables: str, inner: str, tmp_path: Path) -> None:
    folder = (
        batched(tmp_path, inner=inner) if tables == "first batch" else batched(tmp_path, inner=inner).parent
    )
    written(folder / "train.csv", CHEXPERT_HEADER, row(frontal(1, FULL)), row(frontal(2, FULL)))
    written(folder / "valid.csv", CHEXPERT_HEADER, row(frontal(3, FULL, "valid")))
    manifest = make_manifest("chexpert", tmp_path)
    assert check_manifest(manifest, tmp_path, []).missing == ()
    assert manifest.splits == ("train", "train", "valid")
    assert manifest.paths[2] == f"{FULL} {BATCHES[0]}/valid/patient00003/study1/view1_frontal.jpg"


def test_images_in_another_layout_are_refused_at_once(tmp_path: Path) -> None:
    first = batched(tmp_path)
    written(first / "train.csv", CHEXPERT_HEADER, row(frontal(1, FULL)))
    with pytest.raises(
        ManifestError, match=r"one batch of CheXpert's download.*Name the folder that holds all"
    ):
        make_manifest("chexpert", first)
    written(tmp_path / "odd" / "pictures" / "patient00001" / "study1" / "view1_frontal.jpg")
    written(tmp_path / "odd" / "train.csv", CHEXPERT_HEADER, row(frontal()))
    with pytest.raises(
        ManifestError, match=r"images in 'pictures/patient00001'; expected train/patient00001"
    ):
        make_manifest("chexpert", tmp_path / "odd")


def test_backslashes_and_an_index_in_front(tmp_path: Path) -> None:
    (entry,) = of(tmp_path, "0," + row(frontal().replace("/", "\\")), header=f",{CHEXPERT_HEADER}")
    assert entry.path == "train/patient00001/study1/view1_frontal.jpg"


def test_label_columns_in_other_spellings(tmp_path: Path) -> None:
    header = CHEXPERT_HEADER.replace("Pleural Effusion", "pleural_effusion")
    (entry,) = of(tmp_path, row(frontal(), labels="," * 10 + "1,,,"), header=header)
    assert entry.labels["Effusion"] is LabelState.POSITIVE
    header = CHEXPERT_HEADER.replace("Pleural Effusion", "Pleural Efusion")
    with pytest.raises(
        ManifestError, match="the column 'Pleural Efusion'; the nearest known pathology is 'Eff"
    ):
        of(tmp_path, row(frontal(), labels="," * 10 + "1,,,"), header=header)


def test_chexlocalizes_blinded_test_table(tmp_path: Path) -> None:
    """Path and labels only, as the test table is published."""
    rows = ["CheXpert-v1.0/test/patient64741/study1/view1_frontal.jpg" + ",1.0" * 14]
    written(tmp_path / "CheXpert" / "test_labels.csv", f"Path,{LABELS}", *rows)
    (tmp_path / "gt_segmentations_test.json").write_text(
        (EXAMPLES / "chexlocalize" / "gt_segmentations_test.json").read_text()
    )
    (entry,) = make_manifest("chexlocalize", tmp_path, split="test")
    assert (entry.view, entry.sex, entry.age, entry.split) == ("frontal", None, None, "test")
    assert entry.path == "CheXpert/test/patient64741/study1/view1_frontal.jpg"
