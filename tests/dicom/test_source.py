"""Reading the file that was explained: bounded, quiet, the same whatever pydicom is set to."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import pydicom
import pytest
from dicom_sources import changed, phantom_file
from pydicom import Dataset, uid
from radiograph_files import LOSSLESS, LOSSY, NATIVE, dataset, encode, phantom, raster

from cxr_explain.dicom.source import Source
from cxr_explain.errors import (
    CorruptImageError,
    CxrExplainError,
    DicomObjectError,
    ImageNotFoundError,
    ImageTooLargeError,
    NotAnImageError,
    OutputError,
)
from cxr_explain.loaders.scope import quiet_decoders

IDENTITY = {
    "PatientName": "Doe^Jane",
    "PatientID": "0815",
    "StudyInstanceUID": "1.2.3",
    "SeriesInstanceUID": "1.2.3.4",
}


def kept_texts(source: Source) -> dict[str, str]:
    return {element.keyword: str(element.value) for element in source.dataset}


@pytest.mark.parametrize("syntax", [*NATIVE, *LOSSLESS[:3], *LOSSY[:1]], ids=lambda each: each.name)
def test_the_same_is_kept_in_every_transfer_syntax(syntax: uid.UID) -> None:
    bits = 8 if syntax == uid.JPEGBaseline8Bit else 12
    plain = Source.read(encode(dataset(phantom(bits=bits), bits, **IDENTITY)))
    source = Source.read(encode(dataset(phantom(bits=bits), bits, **IDENTITY), syntax))
    found = kept_texts(source)
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        found.pop(keyword, None)
    assert found == kept_texts(plain)
    assert source.notes == ()


def test_a_file_and_its_bytes_are_the_same(tmp_path: Path) -> None:
    file = tmp_path / "source.dcm"
    file.write_bytes(phantom_file(size=64))
    from_file, from_bytes = Source.read(file), Source.read(phantom_file(size=64))
    assert from_file.sha256 == from_bytes.sha256
    assert kept_texts(from_file) == kept_texts(from_bytes)


def test_what_is_no_dicom_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DicomObjectError, match=r"^found a PNG file; expected the DICOM file"):
        Source.read(raster(phantom(bits=8), "PNG"))
    with pytest.raises(DicomObjectError, match="a text file"):
        Source.read(b"id,label\n1,2\n")
    with pytest.raises(NotAnImageError, match="a folder"):
        Source.read(tmp_path)
    with pytest.raises(ImageNotFoundError):
        Source.read(tmp_path / "none.dcm")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotAnImageError, match="no regular file"):
        Source.read(tmp_path / "pipe")


def test_a_file_without_header_information_is_read() -> None:
    whole = encode(dataset(phantom(), **IDENTITY))
    length = int.from_bytes(whole[140:144], "little")
    source = Source.read(whole[144 + length :])
    assert source.dataset.PatientID == "0815"


def test_the_data_set_counts_where_the_file_says_another_instance() -> None:
    whole = encode(dataset(phantom(), **IDENTITY))
    other = whole.replace(b"1.2.826.0.1.3680043.8.498.1", b"1.2.826.0.1.3680043.8.498.2", 1)
    source = Source.read(other)
    assert source.dataset.SOPInstanceUID == "1.2.826.0.1.3680043.8.498.1"
    assert len(source.notes) == 1
    assert "another SOPInstanceUID" in source.notes[0]


def test_a_class_that_nobody_knows_is_kept_and_one_that_is_missing_refused() -> None:
    assert (
        Source.read(encode(dataset(phantom(), **IDENTITY, SOPClassUID="1.2.9"))).dataset.SOPClassUID
        == "1.2.9"
    )
    with pytest.raises(DicomObjectError, match="no SOPClassUID in the source"):
        Source.read(encode(dataset(phantom(), **IDENTITY, SOPClassUID="")))


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID"])
@pytest.mark.parametrize("syntax", NATIVE[:2], ids=lambda each: each.name)
def test_an_identity_that_is_told_twice_is_refused(keyword: str, syntax: uid.UID) -> None:
    data = encode(dataset(phantom(), **IDENTITY), syntax)
    value = IDENTITY[keyword].encode() + b"\0" * (len(IDENTITY[keyword]) % 2)
    at = data.index(value) - 8
    told = data[at : at + 8 + len(value)]
    assert Source.read(data).dataset.PatientID == "0815"
    with pytest.raises(DicomObjectError, match=f"{keyword} twice in the header"):
        Source.read(data[:at] + told.replace(value[:1], b"9") + data[at:])


def test_a_decimal_comma_is_read_as_the_radiograph_was() -> None:
    data = phantom_file(size=64)
    spacing = str(pydicom.dcmread(io.BytesIO(data)).ImagerPixelSpacing[0]).encode()
    source = Source.read(data.replace(spacing, spacing.replace(b".", b",")))
    assert source.notes == ("ImagerPixelSpacing has a decimal comma: read as a decimal point",)
    assert str(source.dataset.ImagerPixelSpacing[0]).encode() == spacing


def test_reading_is_bounded_as_that_of_radiographs_is() -> None:
    with pytest.raises(ImageTooLargeError):
        Source.read(bytes(128) + b"DICM" + bytes(2**26), max_pixels=1)
    texts = ("StudyDescription", "SeriesDescription", "ProtocolName", "RequestingService")
    many = encode(dataset(phantom(), **IDENTITY, **dict.fromkeys(texts, "S" * 64)))
    long = b"LO" + (60_000).to_bytes(2, "little") + b"\\" * 60_000
    many = many.replace(b"LO" + (64).to_bytes(2, "little") + b"S" * 64, long)
    with pytest.raises(ImageTooLargeError, match="more than 200,000 elements"):
        Source.read(many, max_pixels=1_000_000)


@pytest.mark.parametrize("length", [140, 200, 400, 700])
def test_a_header_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises((CorruptImageError, DicomObjectError)):
        Source.read(phantom_file(size=64)[:length])


def test_an_error_within_is_told_by_its_type_alone() -> None:
    def change(header: Dataset) -> None:
        raise RuntimeError(str(header.PatientName))

    with pytest.raises(OutputError, match="RuntimeError") as caught:
        Source.read(encode(dataset(phantom(), **IDENTITY)), change=change)
    assert "Doe" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_changes_the_header_comes_before_everything_that_is_kept() -> None:
    def change(header: Dataset) -> None:
        header.PatientName, header.PatientID = "Nobody", "1"

    bad = encode(dataset(phantom(), **IDENTITY)).replace(b"Doe^Jane", b"D=o=e=Ja")
    with pytest.raises(CxrExplainError):
        Source.read(bad)
    source = Source.read(bad, change=change)
    assert source.is_deidentified
    assert (source.dataset.PatientName, source.dataset.PatientID) == ("Nobody", "1")


def test_nothing_is_said_of_a_value_that_pydicom_warns_of(caplog: pytest.LogCaptureFixture) -> None:
    with quiet_decoders():
        data = changed(phantom_file(size=64), lambda header: setattr(header, "PatientAge", "Jane Doe"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = Source.read(data)
    assert caplog.records == []
    assert source.notes == ("PatientAge is not an age such as 042Y: left out",)


def test_pydicom_may_be_set_to_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    data = phantom_file(size=64)
    plain = Source.read(data)
    monkeypatch.setattr(pydicom.config.settings, "_reading_validation_mode", pydicom.config.RAISE)
    monkeypatch.setattr(pydicom.config, "use_none_as_empty_text_VR_value", True)
    monkeypatch.setattr(pydicom.config, "use_DS_decimal", True)
    monkeypatch.setattr(pydicom.config, "replace_un_with_known_vr", False)
    source = Source.read(data)
    assert kept_texts(source) == kept_texts(plain)
    assert source.notes == plain.notes
