"""PadChest's own table, against TorchXRayVision's reader of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tables import EXAMPLES, written

from cxr_explain import ensure_torchvision_imports
from cxr_explain.errors import ManifestError
from cxr_explain.pathologies import LabelState
from cxr_explain.reference import Manifest, make_manifest

TABLE = EXAMPLES / "padchest" / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
pytestmark = pytest.mark.filterwarnings(
    "ignore:Parsing integer or float values"
)  # of TorchXRayVision's reader
HEADER = "ImageID,StudyDate_DICOM,PatientID,PatientBirth,PatientSex_DICOM,Projection,MethodLabel,Labels"

# One label for each word of TorchXRayVision's mapping, and others that it finds by a part of them.
WORDS = (
    *("infiltrates", "interstitial pattern", "ground glass pattern", "reticular interstitial pattern"),
    *("reticulonodular interstitial pattern", "alveolar pattern", "consolidation", "air bronchogram"),
    *("apical pleural thickening", "calcified adenopathy", "pulmonary artery enlargement", "pacemaker"),
    *("dual chamber device", "electrical device", "NSG tube", "chest drain tube", "double J stent"),
    *("tube in place", "pericardial effusion", "subcutaneous emphysema", "pseudonodule", "multiple nodules"),
    *("mediastinal mass", "hiatal hernia", "rib fracture", "calcified granuloma", "flattened diaphragm"),
    *("bronchiectasis", "supra aortic elongation", "scoliosis", "hilar enlargement", "tuberculosis sequelae"),
    *("air trapping", "costophrenic angle blunting", "aortic atheromatosis", "hemidiaphragm elevation"),
    *("pulmonary edema", "pulmonary fibrosis", "atypical pneumonia", "hydropneumothorax", "cardiomegaly"),
    *("laminar atelectasis", "kyphosis", "COPD signs", "normal", "unchanged"),
)


def of(folder: Path, *labels: str, **columns: str) -> Manifest:
    cells = {"date": "20150101", "birth": "1950.0", "sex": "M", "view": "PA", "method": "Physician"} | columns
    rows = [
        f"{at:03d}.png,{cells['date']},p{at},{cells['birth']},{cells['sex']},{cells['view']},{cells['method']},"
        f'"{each}"'
        for at, each in enumerate(labels)
    ]
    return make_manifest("padchest", written(folder / "PADCHEST_mine.csv", HEADER, *rows).parent)


def test_the_example() -> None:
    for source in (TABLE.parent, TABLE):
        normal, fibrosis, effusion, without = make_manifest("padchest", source)
        assert set(normal.labels.states.values()) == {LabelState.NEGATIVE}
        assert len(normal.labels.states) == 28
        there = {name for name, state in fibrosis.labels.states.items() if state is LabelState.POSITIVE}
        assert there == {"Fibrosis", "Nodule", "Infiltration"}
        assert (effusion.labels["Effusion"], effusion.labels["Tube"]) == ("positive", "positive")
        assert without.labels.states == {}  # no label is not the same as normal
        assert (fibrosis.view, fibrosis.age, fibrosis.sex, fibrosis.patient) == (
            "lateral",
            86.0,
            "M",
            "800002",
        )
        assert (effusion.view, effusion.sex) == ("AP supine", None)
        assert fibrosis.extra == {"label_method": "RNN_model"}


def test_labels_that_stand_for_nothing_here_are_named(tmp_path: Path) -> None:
    manifest = of(tmp_path, "['normal', 'kyphosis']", "['kyphosis', 'cardiomgaly', 'cardiomegaly']")
    assert manifest.notes == (
        "2 labels that stand for no pathology here are left out: 'kyphosis' 2, 'cardiomgaly' 1",
    )
    assert manifest.select([0]).notes == manifest.notes


def test_the_mapping_is_torchxrayvisions(tmp_path: Path) -> None:
    ensure_torchvision_imports()
    import torchxrayvision as xrv

    manifest = of(tmp_path, *(f"['{word}']" for word in WORDS), "['normal', ' pleural effusion', 'metal']")
    theirs = xrv.datasets.PC_Dataset(
        str(tmp_path), str(tmp_path / "PADCHEST_mine.csv"), unique_patients=False
    )
    assert theirs.csv["ImageID"].tolist() == list(manifest.paths)
    assert sorted(theirs.pathologies) == sorted(manifest.pathologies)
    np.testing.assert_array_equal(manifest.states_of(theirs.pathologies), theirs.labels.astype(np.int8))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("pneumonia", "line 2: the labels 'pneumonia', which are no list such as"),
        ("['pneumonia'", "line 2: the labels"),
        ("['a' + 'b']", "line 2: the labels"),
        ("[['pneumonia']]", "line 2: the labels"),
    ],
)
def test_what_is_no_list_is_refused(labels: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=message):
        of(tmp_path, labels)


def test_people_and_places(tmp_path: Path) -> None:
    written(tmp_path / "0" / "000.png")
    (entry,) = of(tmp_path, "nan", birth="", sex="nan", view="UNK", date="x")
    assert (entry.path, entry.age, entry.sex, entry.view) == ("0/000.png", None, None, None)
    assert of(tmp_path, "[]", birth="2020.0").ages == (None,)
    with pytest.raises(ManifestError, match="no label table"):
        make_manifest("padchest", written(tmp_path / "empty" / "x").parent)


@pytest.mark.slow
def test_the_whole_table(tmp_path: Path) -> None:
    """160,861 images, as TorchXRayVision has them; an image without any label is negative there."""
    ensure_torchvision_imports()
    import torchxrayvision as xrv

    table = Path(xrv.datasets.datapath, f"{TABLE.name}.gz")
    manifest = make_manifest("padchest", table, images=tmp_path)
    theirs = xrv.datasets.PC_Dataset(str(tmp_path), views=["*"], unique_patients=False)
    rows = {path: row for row, path in enumerate(manifest.paths)}
    mine = manifest.states_of(theirs.pathologies)[[rows[name] for name in theirs.csv["ImageID"]]]
    assert len(manifest) == 160_861
    np.testing.assert_array_equal(np.where(mine == -3, 0, mine), theirs.labels.astype(np.int8))
