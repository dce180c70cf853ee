"""TorchXRayVision's data sets, all 16 classes: over their bundled tables, or small ones in their layouts."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tables import CHEXPERT_HEADER, LABELS, NIH_HEADER, nih_row, written

from cxr_explain import ensure_torchvision_imports, make_manifest
from cxr_explain.errors import ManifestError, OptionError
from cxr_explain.reference import Manifest

ensure_torchvision_imports()
import torchxrayvision as xrv  # noqa: E402

DATA = xrv.datasets

pytestmark = pytest.mark.filterwarnings("ignore:Parsing integer or float values")  # of its PC_Dataset


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), 100, np.uint8)).save(path)
    return path


def nih(folder: Path, *rows: str, **options: Any) -> Any:
    table = written(folder / "Data_Entry.csv", NIH_HEADER, *rows or (nih_row(),))
    return DATA.NIH_Dataset(str(folder), str(table), unique_patients=False, **options)


def chexpert(folder: Path, *rows: str, unique: bool = False) -> Any:
    table = written(folder / "train.csv", CHEXPERT_HEADER, *rows)
    return DATA.CheX_Dataset(str(folder), str(table), views=["AP", "PA"], unique_patients=unique)


def chexpert_row(patient: int = 1, study: int = 1, labels: str = ",1.0,-1.0" + "," * 11) -> str:
    path = f"CheXpert-v1.0-small/train/patient{patient:05d}/study{study}/view1_frontal.jpg"
    return f"{path},Male,60,Frontal,AP,{labels}"


def google(folder: Path) -> Any:
    header = "Image Index,Patient ID,View Position,Fracture,Pneumothorax,Airspace opacity,Nodule or mass"
    table = written(folder / "g.csv", header, "00000001_000.png,1,PA,NO,NO,YES,YES")
    return DATA.NIH_Google_Dataset(str(folder), str(table))


def padchest(folder: Path) -> Any:
    header = "ImageID,StudyDate_DICOM,PatientID,PatientBirth,PatientSex_DICOM,Projection,Labels"
    row = "a.png,20150101,7,1950.0,F,PA,\"['pulmonary mass', 'stent']\""
    return DATA.PC_Dataset(str(folder), str(written(folder / "pc.csv", header, row)))


def rsna(folder: Path) -> Any:
    table = written(folder / "r.csv", "patientId,x,y,width,height,Target", "a,1,2,3,4,1", "a,5,6,7,8,1")
    headers = written(folder / "h.csv", "PatientID,ViewPosition", "a,PA")
    return DATA.RSNA_Pneumonia_Dataset(str(folder), str(table), str(headers), extension=".dcm")


def chexlocalize(folder: Path) -> Any:
    path = "CheXpert-v1.0/test/patient64741/study1/view1_frontal.jpg"
    table = written(folder / "test_labels.csv", f"Path,{LABELS}", path + ",0,1" + ",0" * 12)
    return DATA.CheXlocalize_Dataset(str(folder), str(table), pathology_masks=False)


def mimic(folder: Path) -> Any:
    labels = written(folder / "l.csv", f"subject_id,study_id,{LABELS}", "10000032,50414267,,1.0" + "," * 12)
    header = "dicom_id,subject_id,study_id,ViewPosition,StudyDate"
    meta = written(folder / "m.csv", header, "aa-1,10000032,50414267,PA,21800506")
    return DATA.MIMIC_Dataset(str(folder), str(labels), str(meta))


def brax(folder: Path) -> Any:
    header = f"PngPath,PatientID,PatientSex,PatientAge,ViewPosition,Rows,Columns,{LABELS}"
    row = "images/id_1/Study_1/a.png,id_1,F,85 or more,PA,10,10,,1.0" + "," * 12
    return DATA.BRAX_Dataset(str(folder), str(written(folder / "b.csv", header, row)))


def covid(folder: Path) -> Any:
    rows = ("1,0,Pneumonia/Viral/COVID-19,PA,a.png", "2,0,No Finding,AP,b.png")
    table = written(folder / "metadata.csv", "patientid,offset,finding,view,filename", *rows)
    return DATA.COVID19_Dataset(str(folder), str(table))


def tuberculosis(folder: Path) -> Any:
    image(folder / "CXR_png" / "MCUCXR_0001_1.png")
    return DATA.NLMTB_Dataset(str(folder))


def tbx(folder: Path) -> Any:
    names = ("ActiveTuberculosis", "ObsoletePulmonaryTuberculosis", "PulmonaryTuberculosis")
    categories = [{"id": at, "name": name, "supercategory": "Tuberculosis"} for at, name in enumerate(names)]
    document = {
        "images": [{"id": 1, "file_name": "tb/tb0003.png"}],
        "annotations": [{"image_id": 1, "category_id": 0, "bbox": [1, 2, 3, 4]}],
        "categories": categories,
    }
    written(folder / "annotations" / "json" / "TBX11K_train.json", json.dumps(document))
    return DATA.TBX11K_Dataset(str(folder))


def siim(folder: Path) -> Any:
    DATA._cache_dict.pop("siim_file_map", None)  # TorchXRayVision keeps the files of the first folder it saw
    written(folder / "deep" / "1.2.3.dcm")
    rows = ("1.2.3,7 5", "1.2.3,8 2", "1.2.4,-1")
    table = written(folder / "s.csv", "ImageId, EncodedPixels", *rows)
    found = DATA.SIIM_Pneumothorax_Dataset(str(folder), str(table))
    DATA._cache_dict.pop("siim_file_map", None)
    return found


def vindr(folder: Path) -> Any:
    header = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max"
    table = written(folder / "v.csv", header, "0a,Pulmonary fibrosis,13,R1,1,2,3,4")
    return DATA.VinDr_Dataset(str(folder), str(table))


def stony_brook(folder: Path) -> Any:
    header = "Subject_ID,Exam_DateTime,Total GEOGRAPHIC,Total OPACITY,Total GEOGRAPHIC,Total OPACITY"
    table = written(folder / "ralo.csv", "a title", header, "s1,20200301_1,2,4,3,5")
    return DATA.StonyBrookCOVID_Dataset(str(folder), str(table))


def objects(folder: Path) -> Any:
    with zipfile.ZipFile(folder / "o.zip", "w") as archive:
        archive.writestr("train/00001.jpg", b"")
    table = written(folder / "o.csv", "image_name,annotation", '00001.jpg,"0 1 2 3 4"')
    return DATA.ObjectCXR_Dataset(str(folder / "o.zip"), str(table))


CLASSES = {
    "NIH_Dataset": (nih, "00000001_000.png", {"Mass": "positive", "Edema": "negative"}),
    "NIH_Google_Dataset": (
        google,
        "00000001_000.png",
        {"Nodule/Mass": "positive", "Lung Opacity": "positive"},
    ),
    "PC_Dataset": (padchest, "a.png", {"Mass": "positive", "Tube": "positive", "Hernia": "negative"}),
    "CheX_Dataset": (
        lambda folder: chexpert(folder, chexpert_row()),
        "train/patient00001/study1/view1_frontal.jpg",
        {"Enlarged Cardiomediastinum": "positive", "Cardiomegaly": "not labelled"},
    ),
    "RSNA_Pneumonia_Dataset": (rsna, "a.dcm", {"Lung Opacity": "positive"}),
    "CheXlocalize_Dataset": (
        chexlocalize,
        "test/patient64741/study1/view1_frontal.jpg",
        {"Enlarged Cardiomediastinum": "positive", "Effusion": "negative"},
    ),
    "MIMIC_Dataset": (
        mimic,
        "p10/p10000032/s50414267/aa-1.jpg",
        {"Enlarged Cardiomediastinum": "positive", "Effusion": "not labelled"},
    ),
    "BRAX_Dataset": (brax, "id_1/Study_1/a.png", {"Enlarged Cardiomediastinum": "positive"}),
    "COVID19_Dataset": (covid, "a.png", {"Pneumonia": "positive", "COVID-19": "positive"}),
    "NLMTB_Dataset": (tuberculosis, "CXR_png/MCUCXR_0001_1.png", {"Tuberculosis": "positive"}),
    "TBX11K_Dataset": (tbx, "imgs/tb/tb0003.png", {"Tuberculosis": "positive"}),
    "SIIM_Pneumothorax_Dataset": (siim, "deep/1.2.3.dcm", {"Pneumothorax": "positive"}),
    "VinDr_Dataset": (vindr, "0a.dicom", {"Fibrosis": "positive", "Nodule/Mass": "negative"}),
    "StonyBrookCOVID_Dataset": (stony_brook, "0.jpg", {"Lung Opacity": "not labelled"}),
    "ObjectCXR_Dataset": (objects, "train/00001.jpg", {"Foreign Object": "positive"}),
    "Openi_Dataset": (
        lambda folder: DATA.Openi_Dataset(str(folder)),  # its reports come with TorchXRayVision
        "CXR10_IM-0002-1001.png",
        {"Lung Lesion": "negative"},
    ),
}


def test_every_class_is_here() -> None:
    classes = {each.__name__ for each in vars(DATA).values() if isinstance(each, type)}
    others = {"MergeDataset", "FilterDataset", "SubsetDataset", "CovariateDataset"}
    assert {name for name in classes if name.endswith("Dataset")} - others - {"Dataset"} == set(CLASSES)
    assert len(CLASSES) == 16


@pytest.mark.parametrize("name", CLASSES)
def test_paths_and_labels_are_the_data_sets(name: str, tmp_path: Path) -> None:
    make, path, states = CLASSES[name]
    data_set = make(tmp_path)
    assert type(data_set).__name__ == name
    manifest = make_manifest("xrv", data_set)
    first = manifest[0]
    assert first.path == path
    assert {pathology: str(first.labels[pathology]) for pathology in states} == states
    assert first.labels.source == f"TorchXRayVision's {name}"


def test_people_are_taken_over(tmp_path: Path) -> None:
    (entry,) = make_manifest("xrv", nih(tmp_path))
    assert (entry.patient, entry.view, entry.sex, entry.age) == ("1", "PA", "M", 58.0)
    (entry,) = make_manifest("xrv", padchest(tmp_path))
    assert (entry.patient, entry.sex, entry.age) == ("7", "F", 67.0)
    (entry,) = make_manifest("xrv", brax(tmp_path))
    assert (entry.sex, entry.age) == ("F", 85.0)


def test_what_is_no_label_becomes_a_column(tmp_path: Path) -> None:
    manifest = make_manifest("xrv", stony_brook(tmp_path))
    assert manifest.pathologies == ()
    assert manifest.extra == {"Geographic Extent": ("2.5",), "Lung Opacity": ("4.5",)}
    assert manifest.notes == ("'Geographic Extent' is kept as a column", "'Lung Opacity' is kept as a column")
    manifest = make_manifest("xrv", covid(tmp_path))
    assert manifest.extra == {"no_finding": ("0", "1")}


def test_an_image_in_several_rows(tmp_path: Path) -> None:
    manifest = make_manifest("xrv", siim(tmp_path))
    assert (manifest.paths, manifest.states.tolist()) == (("deep/1.2.3.dcm", "1.2.4.dcm"), [[1], [0]])
    assert manifest.notes == ("1 rows repeat an image, with the same labels",)
    with pytest.raises(ManifestError, match=r"'00000001_000\.png' in rows 0 and 1, with other labels"):
        make_manifest("xrv", nih(tmp_path, nih_row(), nih_row(labels="Edema")))


def test_merged_and_partial_data_sets(tmp_path: Path) -> None:
    one = nih(tmp_path / "one", *(nih_row(f"0000000{at}_000.png", "Mass|Edema") for at in (1, 2, 3)))
    other = chexpert(tmp_path / "other", chexpert_row())
    for each in (one, other):
        DATA.relabel_dataset(["Mass", "Enlarged Cardiomediastinum"], each, silent=True)
    part = DATA.SubsetDataset(one, [2, 0])
    assert make_manifest("xrv", part).ids == ("00000003_000", "00000001_000")
    assert len(make_manifest("xrv", DATA.FilterDataset(one, ["Mass"]))) == 3
    merged = make_manifest("xrv", DATA.MergeDataset([part, other]))
    assert merged.paths == (
        "one/00000003_000.png",
        "one/00000001_000.png",
        "other/train/patient00001/study1/view1_frontal.jpg",
    )
    assert merged.states.tolist() == [[1, -3], [1, -3], [-3, 1]]


def test_labels_that_torchxrayvision_mixes_are_named(tmp_path: Path) -> None:
    """Its `unique_patients` takes the first label that is not blank, of whichever image of the patient."""
    rows = [chexpert_row(), chexpert_row(2), chexpert_row(2, study=2, labels="," * 10 + "1.0,,,")]
    mixed = make_manifest("xrv", chexpert(tmp_path, *rows, unique=True))
    assert mixed.source == "TorchXRayVision's CheX_Dataset, labels of a patient's images mixed"
    assert "unique_patients=False" in mixed.notes[0]
    assert make_manifest("xrv", chexpert(tmp_path, *rows)).notes == ()
    masked = make_manifest("xrv", nih(tmp_path, pathology_masks=True))
    assert masked.notes == ("masks are not in the manifest: they come with the samples",)


class Other:
    """A data set of somebody's own, with what TorchXRayVision's have."""

    def __init__(self, data_set: Any) -> None:
        self.csv, self.labels, self.pathologies = data_set.csv, data_set.labels, data_set.pathologies


def test_what_is_no_data_set_of_torchxrayvision(tmp_path: Path) -> None:
    with pytest.raises(
        OptionError, match=r"found a PosixPath; expected a data set of TorchXRayVision.*In Python"
    ):
        make_manifest("xrv", tmp_path)
    with pytest.raises(OptionError, match="found a Other, of which the images' files are not known"):
        make_manifest("xrv", Other(nih(tmp_path)))
    with pytest.raises(OptionError, match="split for xrv; expected no option"):
        make_manifest("xrv", nih(tmp_path), split="test")


def test_such_a_manifest_is_written_and_read_back(tmp_path: Path) -> None:
    from cxr_explain.reference import read_manifest, write_manifest

    manifest: Manifest = make_manifest("xrv", covid(tmp_path))
    assert read_manifest(write_manifest(manifest, tmp_path / "m.csv")) == manifest
