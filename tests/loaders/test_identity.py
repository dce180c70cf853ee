"""Patient data of the header reaches nothing that is shown or kept."""

from __future__ import annotations

import logging

import pydicom
import pytest
from pydicom.datadict import dictionary_VR
from radiograph_files import dataset, encode, phantom

from cxr_explain.errors import CxrExplainError
from cxr_explain.loaders import read_radiograph

PLANT = "QXZPLANT"
LIMITS = {"CS": 16, "SH": 16, "LO": 64, "ST": 100, "LT": 100, "UT": 100, "UC": 100, "PN": 64, "AE": 16}
STRUCTURAL = {"SpecificCharacterSet", "TransferSyntaxUID"}


def planted(**attributes):
    """A file whose every text attribute, nested and private ones too, holds the plant."""
    ds = dataset(phantom(), **attributes)
    for tag, entry in pydicom.datadict.DicomDictionary.items():
        keyword = entry[4]
        if tag >> 16 < 8 or entry[3] == "Retired" or not keyword or keyword in STRUCTURAL or keyword in ds:
            continue
        if dictionary_VR(tag) in LIMITS:
            setattr(ds, keyword, f"{PLANT}^QXZFIRST" if dictionary_VR(tag) == "PN" else PLANT)
    item = pydicom.Dataset()
    item.PatientName = PLANT
    ds.OtherPatientIDsSequence = [item]
    ds.private_block(0x0011, PLANT, create=True).add_new(1, "LO", PLANT)
    ds.PatientBirthDate = "19580217"
    return ds


def texts(radiograph):
    return repr(radiograph) + " ".join((*radiograph.steps, *radiograph.warnings, radiograph.id))


@pytest.mark.parametrize(
    "stem", [PLANT, f"scan_{PLANT.lower()}_1", "qxzfirst", "1958-02-17 chest", "17021958"]
)
def test_planted_text_reaches_no_output(tmp_path, stem, caplog, recwarn, capfd):
    caplog.set_level(logging.DEBUG)
    path = tmp_path / f"{stem}.dcm"
    path.write_bytes(encode(planted()))
    radiograph = read_radiograph(path)
    assert radiograph.id == radiograph.sha256[:12]
    assert any("repeats data of the header" in w for w in radiograph.warnings)
    out = (
        texts(radiograph)
        + caplog.text
        + "".join(capfd.readouterr())
        + "".join(str(w.message) for w in recwarn)
    )
    assert "QXZ" not in out.upper()
    assert "1958" not in out


CODED = [
    "Modality",
    "PhotometricInterpretation",
    "BodyPartExamined",
    "ViewPosition",
    "PresentationIntentType",
]
CODED += ["ImageLaterality", "Laterality", "PresentationLUTShape", "VOILUTFunction", "BurnedInAnnotation"]


@pytest.mark.parametrize("keyword", CODED)
def test_a_planted_code_is_never_quoted(tmp_path, keyword):
    path = tmp_path / "image.dcm"
    path.write_bytes(encode(dataset(phantom(), **{keyword: PLANT})))
    try:
        said = texts(read_radiograph(path))
    except CxrExplainError as error:
        said = str(error).replace(str(path), "")
    assert PLANT not in said


def test_an_innocent_name_is_kept(tmp_path):
    path = tmp_path / "00000001_000.dcm"
    path.write_bytes(encode(dataset(phantom(), PatientName="DOE^JOHN", PatientID="1")))
    assert read_radiograph(path).id == "00000001_000"


def test_what_the_caller_asks_for_is_returned(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(encode(planted()))
    assert read_radiograph(path, metadata=["PatientName"]).metadata == {"PatientName": f"{PLANT}^QXZFIRST"}
