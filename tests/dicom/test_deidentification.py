"""De-identification: nothing of a patient is left in a copy of a source, nor in the objects made of it."""

from __future__ import annotations

import io
import os
import random
import re
import stat
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_sources import changed, explainer, phantom_file
from dicom_tools import dciodvfy_errors, needs_dciodvfy
from pydicom import Dataset, uid
from pydicom.datadict import DicomDictionary, dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from cxr_explain import read_radiograph
from cxr_explain.dicom.deidentification import Deidentifier, created, folder_name, notes
from cxr_explain.dicom.kinds import OBJECT_KINDS
from cxr_explain.dicom.objects import dicom_objects
from cxr_explain.dicom.profile import actions
from cxr_explain.dicom.source import Source
from cxr_explain.errors import CxrExplainError, DicomObjectError, OptionError, OutputError
from cxr_explain.loaders.header import parse_dicom

KEY = bytes(range(32))
SECRET = Deidentifier(KEY)
KINDS = tuple(
    name
    for name, kind in OBJECT_KINDS.items()
    if find_spec(f"cxr_explain.dicom.{kind.home.partition(':')[0]}") is not None
)
TEXTS = ("AE", "AS", "CS", "DS", "IS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT")
DAY, UID_ROOT = "19470313", "1.2.826.0.1.3680043.4711"
MARKS = re.compile(rb"PHI\d{4}|" + DAY.encode() + rb"|" + re.escape(UID_ROOT).encode())
NEEDED_TO_READ = frozenset(
    {
        *("Modality", "PhotometricInterpretation", "PresentationLUTShape", "PresentationIntentType"),
        *("RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth"),
        *("VOILUTFunction", "PatientOrientation", "ImageLaterality", "NumberOfFrames", "PixelAspectRatio"),
        *("ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing", "BodyPartExamined"),
        *("ImageType", "ViewPosition", "Laterality", "LossyImageCompression", "ShutterShape"),
        *("ImageRotation", "ImageHorizontalFlip", "Manufacturer", "ManufacturerModelName"),
        *("ModalityLUTSequence", "VOILUTSequence", "PresentationLUTSequence"),
    }
)
"""Texts that make a file no radiograph, or another one, where they are nonsense."""


def raw(tag: int, vr: str, value: bytes) -> RawDataElement:
    """An element as a file has it, whatever pydicom thinks of its value."""
    value += b" " * (len(value) % 2)
    return RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)


def plant(dataset: Dataset, except_for: frozenset[str], every: int) -> None:
    """Put a mark into every text, date, time and unique identifier that the standard knows."""
    for number, (tag, (vr, *_, keyword)) in enumerate(DicomDictionary.items()):
        if tag >> 16 < 0x0008 or keyword in except_for or number % every:
            continue
        if vr in TEXTS:
            dataset[tag] = raw(tag, vr, b"PHI%04d" % number)
        elif vr in ("DA", "DT"):
            dataset[tag] = raw(tag, vr, DAY.encode() + b"041759" * (vr == "DT"))
        elif vr == "UI" and keyword not in ("SOPClassUID", ""):
            dataset[tag] = raw(tag, vr, f"{UID_ROOT}.{number}".encode())
        elif vr == "SQ" and not (except_for and number % 5):  # reading takes long with all of them
            dataset[tag] = _planted_items(tag, number)
    for block in (0x0011, 0x0029):
        dataset.private_block(block, f"PHI{block:04d}", create=True).add_new(1, "LO", "PHI1111")
    for group in (0x5000, 0x5012, 0x6000, 0x6002):
        dataset[group << 16 | 0x4000] = raw(group << 16 | 0x4000, "LT", b"PHI2222")
        dataset[group << 16 | 0x0022] = raw(group << 16 | 0x0022, "LO", b"PHI3333")
        dataset[group << 16 | 0x3000] = raw(group << 16 | 0x3000, "OW", b"PHI4444")
    for tag in (0x00090001, 0x0008FFF0, 0x00270010, 0xFFFCFFFC):
        dataset[tag] = raw(tag, "LO", b"PHI5555")


def _planted_items(tag: int, number: int) -> pydicom.DataElement:
    inner, outer, code = Dataset(), Dataset(), Dataset()
    inner.PatientName, inner.CodeMeaning, inner.ReferencedSOPInstanceUID = (
        "PHI7777",
        "PHI8888",
        f"{UID_ROOT}.1",
    )
    outer.PurposeOfReferenceCodeSequence = [inner]
    outer.StudyDescription = outer.ManufacturerModelName = "PHI6666"
    if number % 10 == 0:
        outer.private_block(0x0011, "PHI9999", create=True).add_new(1, "LO", "PHI1111")
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "43799004", "SCT", "PHI0001"
    return pydicom.DataElement(tag, "SQ", Sequence([outer, code]))


@cache
def planted(*, readable: bool, every: int = 1) -> bytes:
    """A phantom with a mark in everything."""

    def change(header: Dataset) -> None:
        plant(header, NEEDED_TO_READ if readable else frozenset(), every)
        header.PixelData += b"PHI9876 "
        header.preamble = b"PHI1234 ".ljust(128, b"\0")
        header.file_meta.SourceApplicationEntityTitle = "PHI1235"
        header.file_meta.PrivateInformationCreatorUID = f"{UID_ROOT}.2"
        header.file_meta.PrivateInformation = b"PHI1236 "
        header.file_meta.ImplementationVersionName = "PHI1237"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return changed(phantom_file(size=96), change)


def contents(data: bytes) -> bytes:
    """Bytes, and what is deflated in them where they hold a PDF."""
    streams = [data]
    for start in (each.end() for each in re.finditer(rb"stream\r?\n", data)):
        with suppress(zlib.error):
            streams.append(zlib.decompressobj().decompress(data[start:]))
    return b"".join(streams)


def marks_in(data: bytes) -> set[bytes]:
    """The marks in bytes, in any encoding of a letter."""
    plain = contents(data)
    return set(MARKS.findall(plain)) | set(MARKS.findall(plain.replace(b"\0", b"")))


def pixels_of(folder: Path, data: bytes) -> np.ndarray:
    """The pixels that the package reads from a file's bytes."""
    file = folder / "read.dcm"
    file.write_bytes(data)
    return read_radiograph(file).pixels


def opened(data: bytes) -> pydicom.FileDataset:
    """A file's data set, read by pydicom alone."""
    return pydicom.dcmread(io.BytesIO(data))


def with_values(**values: object) -> Callable[[Dataset], None]:
    """A change of a header that sets attributes."""

    def change(header: Dataset) -> None:
        for keyword, value in values.items():
            setattr(header, keyword, value)

    return change


def test_a_copy_has_no_mark_anywhere() -> None:
    source = planted(readable=False)
    assert len(marks_in(source)) > 2000
    copy = SECRET.whole(source)
    assert marks_in(copy) == set()
    assert copy[:128] == bytes(128)
    assert opened(copy).PixelData == opened(phantom_file(size=96)).PixelData


def test_objects_of_a_planted_source_have_no_mark(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "PHI0123_19470313.dcm"
    file.write_bytes(planted(readable=True))
    caplog.clear()
    explanation = explainer().explain(file, top_k=3)
    source = Source.read(file, change=SECRET)
    made = dicom_objects(explanation, source, kinds=KINDS, created=created(source.dataset))
    assert not made.not_made, {kind: str(error) for kind, error in made.not_made.items()}
    for path in made.save(tmp_path / "objects" / folder_name(source.dataset)):
        assert marks_in(path.read_bytes()) == set(), path.name
        assert marks_in(os.fsencode(path.relative_to(tmp_path))) == set()
    assert marks_in("".join((*capfd.readouterr(), caplog.text, *made.notes)).encode()) == set()


def test_objects_refer_to_the_copy_and_do_not_say_on_which_day_they_were_made(tmp_path: Path) -> None:
    file = tmp_path / "source.dcm"
    file.write_bytes(phantom_file(size=96))
    explanation, source = explainer().explain(file, top_k=3), Source.read(file, change=SECRET)
    made = dicom_objects(explanation, source, kinds=KINDS, created=created(source.dataset))
    copy, own = opened(SECRET.whole(phantom_file(size=96))), {str(each.uid) for each in made}
    today = f"{datetime.now():%Y%m%d}".encode()
    assert source.is_deidentified
    for each in made:
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID"):
            assert each.dataset[keyword] == copy[keyword], (each.kind, keyword)
        referred = {
            element.value
            for element in each.dataset.iterall()
            if element.keyword in ("ReferencedSOPInstanceUID", "ReferencedStudyInstanceUID")
        }
        assert referred <= {copy.SOPInstanceUID, copy.StudyInstanceUID, *own}, each.kind
        assert today not in contents(each.to_bytes()), each.kind


def test_objects_keep_the_same_of_a_copy_as_of_a_header_that_was_changed() -> None:
    data = planted(readable=True, every=5)
    assert Source.read(SECRET.whole(data)).dataset == Source.read(data, change=SECRET).dataset


def _rewritten(syntax: uid.UID) -> bytes:
    dataset, out = opened(phantom_file(size=96)), io.BytesIO()
    if syntax.is_encapsulated:
        dataset.compress(syntax, generate_instance_uid=False)
    elif syntax == uid.ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(out, dataset, enforce_file_format=True)
    return out.getvalue()


@pytest.mark.parametrize(
    "syntax",
    [
        uid.ImplicitVRLittleEndian,
        uid.ExplicitVRLittleEndian,
        uid.ExplicitVRBigEndian,
        uid.DeflatedExplicitVRLittleEndian,
        uid.RLELossless,
        uid.JPEGLSLossless,
        uid.JPEG2000Lossless,
    ],
    ids=lambda syntax: syntax.name.split(" (")[0],
)
def test_transfer_syntax_and_pixels_stay(tmp_path: Path, syntax: uid.UID) -> None:
    source = _rewritten(syntax)
    copy = SECRET.whole(source)
    before, after = opened(source), opened(copy)
    assert after.file_meta.TransferSyntaxUID == syntax
    assert after.PixelData == before.PixelData
    assert np.array_equal(pixels_of(tmp_path, copy), pixels_of(tmp_path, source))


def test_a_data_set_without_file_meta_becomes_a_file() -> None:
    dataset = opened(phantom_file(size=96))
    bare = io.BytesIO()
    Dataset(dataset).save_as(bare, implicit_vr=True, little_endian=True)
    copy = opened(SECRET.whole(bare.getvalue()))
    assert copy.file_meta.TransferSyntaxUID == uid.ImplicitVRLittleEndian
    assert copy.file_meta.MediaStorageSOPInstanceUID == copy.SOPInstanceUID
    assert copy.PixelData == dataset.PixelData


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_copy_reads_as_the_same_radiograph(tmp_path: Path, photometric: str) -> None:
    source = phantom_file(size=96, photometric=photometric)  # type: ignore[arg-type]
    first, second = tmp_path / "source.dcm", tmp_path / "copy.dcm"
    first.write_bytes(source)
    second.write_bytes(SECRET.whole(source))
    before, after = read_radiograph(first), read_radiograph(second)
    assert np.array_equal(before.pixels, after.pixels)
    for name in ("view", "laterality", "patient_orientation", "pixel_spacing", "phantom"):
        assert getattr(after, name) == getattr(before, name), name


@pytest.fixture(scope="module")
def shared_copies(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> list[tuple[Path, Path, bool]]:
    """Shared sources, their copies, and whether both read as the same pixels."""
    folder, found = tmp_path_factory.mktemp("copies"), []
    for file in sorted((real_data / "dicom").glob("*.dcm")):
        try:
            before = read_radiograph(file)
        except CxrExplainError:
            continue
        copy = folder / file.name
        copy.write_bytes(SECRET.whole(file.read_bytes()))
        found.append((file, copy, np.array_equal(before.pixels, read_radiograph(copy).pixels)))
    return found


@pytest.mark.real_data
def test_shared_sources_read_as_the_same_radiograph(shared_copies: list[tuple[Path, Path, bool]]) -> None:
    assert [file.name for file, _, same in shared_copies if not same] == []
    assert len(shared_copies) > 10


def test_identifiers_are_consistent_within_and_over_files() -> None:
    def refer(header: Dataset) -> None:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = header.SOPClassUID, "1.2.3.4"
        header.SourceImageSequence = [item]

    referring = opened(SECRET.whole(changed(phantom_file(size=96), refer)))
    referred = opened(SECRET.whole(changed(phantom_file(size=96), with_values(SOPInstanceUID="1.2.3.4"))))
    assert referring.SourceImageSequence[0].ReferencedSOPInstanceUID == referred.SOPInstanceUID
    assert referring.SourceImageSequence[0].ReferencedSOPClassUID == referring.SOPClassUID
    assert referring.StudyInstanceUID == referred.StudyInstanceUID
    assert referring.SOPInstanceUID != opened(phantom_file(size=96)).SOPInstanceUID
    assert referring.file_meta.MediaStorageSOPInstanceUID == referring.SOPInstanceUID
    other = opened(Deidentifier(bytes(32)).whole(phantom_file(size=96)))
    assert other.StudyInstanceUID != referring.StudyInstanceUID


def _day(header: Dataset, keyword: str = "StudyDate") -> date:
    return datetime.strptime(header[keyword].value, "%Y%m%d").date()


def test_days_between_the_studies_of_a_patient_stay_and_no_two_patients_are_moved_alike() -> None:
    def study(patient: str, day: str) -> Dataset:
        change = with_values(
            PatientID=patient, StudyDate=day, SeriesDate=day, AcquisitionDateTime=f"{day}093000"
        )
        return opened(SECRET.whole(changed(phantom_file(size=96), change)))

    first, second = study("A", "20190228"), study("A ", "20200301")
    assert (_day(second) - _day(first)).days == 367
    assert first.PatientID == second.PatientID == first.PatientName
    assert first.AcquisitionDateTime == f"{first.StudyDate}093000"
    assert first.SeriesDate == first.StudyDate
    assert first.StudyTime == opened(phantom_file(size=96)).StudyTime
    others = [study(patient, "20190228") for patient in "BCDE"]
    assert len({first.StudyDate, *(each.StudyDate for each in others)}) == 5
    assert len({first.PatientID, *(each.PatientID for each in others)}) == 5
    assert all((date(2019, 2, 28) - _day(each)).days >= 365 for each in others)


def test_two_persons_never_become_one() -> None:
    def patient(**values: str) -> str:
        return str(opened(SECRET.whole(changed(phantom_file(size=96), with_values(**values)))).PatientID)

    known = patient(PatientID="1")
    assert patient(PatientID="1", IssuerOfPatientID="another hospital") != known
    unknown = {patient(PatientID="", StudyInstanceUID=study) for study in ("1.2.3", "1.2.4")}
    assert len(unknown | {known}) == 3


def test_the_header_says_what_was_done_and_nothing_of_clean_pixels() -> None:
    plain = opened(SECRET.whole(phantom_file(size=96)))
    retaining = opened(Deidentifier(KEY, ("patient-characteristics",)).whole(phantom_file(size=96)))
    assert plain.PatientIdentityRemoved == "YES"
    assert plain.LongitudinalTemporalInformationModified == "MODIFIED"
    assert [c.CodeValue for c in plain.DeidentificationMethodCodeSequence] == ["113100", "113107"]
    assert [c.CodeValue for c in retaining.DeidentificationMethodCodeSequence] == [
        "113100",
        "113107",
        "113108",
    ]
    assert (
        plain.DeidentificationMethodCodeSequence[0].CodeMeaning == "Basic Application Confidentiality Profile"
    )
    before = opened(phantom_file(size=96))
    assert (plain.PatientSex, "PatientAge" in plain) == ("", False)
    assert (retaining.PatientSex, retaining.PatientAge) == (before.PatientSex, before.PatientAge)
    assert retaining.PatientBirthDate == ""


def test_retained_characteristics_are_no_free_text() -> None:
    values = {
        "PatientAge": "PHI1",
        "PatientWeight": "71.5",
        "EthnicGroup": "PHI0124",
        "PatientSex": "PHI0125",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = changed(phantom_file(size=96), with_values(**values))
    copy = Deidentifier(KEY, ("patient-characteristics",)).whole(source)
    assert b"PHI" not in copy
    assert opened(copy).PatientWeight == 71.5


@pytest.mark.parametrize(("said", "kept"), [("YES", "YES"), ("NO", "NO"), (None, None)])
def test_burned_in_annotation_is_as_the_source_has_it_and_flagged(said: str | None, kept: str | None) -> None:
    def change(header: Dataset) -> None:
        del header.BurnedInAnnotation
        if said is not None:
            header.BurnedInAnnotation = said

    copy = opened(SECRET.whole(changed(phantom_file(size=96), change)))
    assert copy.get("BurnedInAnnotation") == kept
    assert any("BurnedInAnnotation" in note for note in notes(copy)) == (said != "NO")


def test_an_overlay_in_the_pixels_is_flagged() -> None:
    header = opened(phantom_file(size=96))
    header[0x60000102] = raw(0x60000102, "US", b"\x0c\0")
    assert any("OverlayBitPosition" in note for note in notes(header))


def test_notes_of_a_hostile_file_say_nothing_of_it(caplog: pytest.LogCaptureFixture) -> None:
    data = planted(readable=False)
    caplog.clear()
    assert marks_in("".join(notes(data)).encode()) == marks_in(caplog.text.encode()) == set()


# As PS3.15 table E.1-1 has them, basic profile: independent of the library's table.
QUOTED = {
    "AccessionNumber": "Z",
    "ContentDate": "Z/D",
    "DeviceSerialNumber": "X/Z/D",
    "IconImageSequence": "X",
    "InstitutionName": "X/Z/D",
    "OperatorsName": "X/Z/D",
    "PatientAddress": "X",
    "PatientBirthDate": "Z",
    "PatientComments": "X",
    "PatientID": "Z/D",
    "PatientName": "Z",
    "ProtocolName": "X/D",
    "ReferringPhysicianName": "Z",
    "SOPInstanceUID": "U",
    "SeriesDescription": "X",
    "StudyDescription": "X",
    "StudyID": "Z",
}
NAMES = {
    "X": "delete",
    "Z": "empty",
    "U": "replace_UID",
    "Z/D": "empty_or_replace",
    "X/D": "delete_or_replace",
    "X/Z/D": "delete_or_empty_or_replace",
}


@pytest.mark.parametrize("keyword", QUOTED)
def test_the_table_is_that_of_the_standard(keyword: str) -> None:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    assert actions()[tag] == NAMES[QUOTED[keyword]]


def test_what_the_profile_removes_is_not_there_and_what_it_empties_is_empty() -> None:
    def fill(header: Dataset) -> None:
        for keyword, action in QUOTED.items():
            if action != "U" and dictionary_VR(keyword) not in ("SQ", "DA"):
                setattr(header, keyword, "VALUE")

    copy = opened(SECRET.whole(changed(phantom_file(size=96), fill)))
    for keyword, action in QUOTED.items():
        if action.startswith("X"):
            assert keyword not in copy, keyword
        elif action == "Z" and keyword != "PatientName":
            assert copy[keyword].is_empty, keyword


def kinds_of_errors(file: Path) -> set[str]:
    """The errors of a file, without the values that they quote."""
    return {re.sub("<[^>]*>", "", error) for error in dciodvfy_errors(file)}


@pytest.mark.parametrize("test", [pytest.param("dciodvfy", marks=needs_dciodvfy)])
@pytest.mark.parametrize("retain", [(), ("patient-characteristics",)])
def test_a_copy_has_no_error_that_the_source_has_not(
    tmp_path: Path, test: str, retain: tuple[str, ...]
) -> None:
    for name, data in _valid_sources():
        before, after = tmp_path / f"{name}.dcm", tmp_path / f"{name}_copy.dcm"
        before.write_bytes(data)
        after.write_bytes(Deidentifier(KEY, retain).whole(data))
        assert kinds_of_errors(after) <= kinds_of_errors(before), (name, test)


def _valid_sources() -> Iterator[tuple[str, bytes]]:
    yield "mono2", phantom_file(size=96)
    yield "mono1", phantom_file(size=96, photometric="MONOCHROME1")
    yield "jpegls", _rewritten(uid.JPEGLSLossless)

    def describe(header: Dataset) -> None:
        header.InstitutionName, header.StationName, header.OperatorsName = "Ward 7", "XR1", "Doe^Jane"
        header.SeriesDescription, header.ProtocolName = "Chest PA", "Thorax"
        header.DeviceSerialNumber, header.DetectorID = "1", "2"
        header.PatientBirthDate, header.AccessionNumber = "19470313", "A1"

    yield "described", changed(phantom_file(size=96), describe)


@pytest.mark.real_data
@pytest.mark.parametrize("test", [pytest.param("dciodvfy", marks=needs_dciodvfy)])
def test_copies_of_shared_radiographs_have_no_new_error(
    shared_copies: list[tuple[Path, Path, bool]], test: str
) -> None:
    new = set[tuple[str, str]]()
    for file, copy, _ in shared_copies:
        new |= {(file.name, error) for error in kinds_of_errors(copy) - kinds_of_errors(file)}
    assert new == set(), test


def test_a_key_file_is_made_once_and_for_the_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "study.key"
    first, second = Deidentifier.of(file), Deidentifier.of(file)
    assert first == second
    assert file.read_text().strip() == first.key.hex()
    assert first.key.hex() not in repr(first)
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["study.key"]
    assert Deidentifier.of().key != Deidentifier.of().key


@pytest.mark.parametrize("content", [b"", b"abc", b"x" * 64, b"0" * 63, b"0" * 10_000, b"\xff" * 64])
def test_a_file_that_holds_no_key_is_refused_and_stays(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(OptionError, match=r"key: found .* key.*; expected 64 hexadecimal digits") as told:
        Deidentifier.of(file)
    assert file.read_bytes() == content
    assert "xxx" not in str(told.value)


def test_a_folder_is_no_key_and_a_key_in_a_file_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="a key that cannot be read"):
        Deidentifier.of(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="a key that cannot be written"):
        Deidentifier.of(tmp_path / "file" / "key")


@pytest.mark.parametrize("wrong", [{"retain": ("names",)}, {"key": b"short"}])
def test_options_out_of_range_are_refused(wrong: dict) -> None:
    with pytest.raises(OptionError):
        Deidentifier(**{"key": KEY, **wrong})


def test_an_unknown_sop_class_is_refused() -> None:
    source = changed(phantom_file(size=96), with_values(SOPClassUID="1.2.3"))
    with pytest.raises(DicomObjectError, match="an SOPClassUID that is none of the standard's"):
        SECRET.whole(source)


def test_items_within_items_without_end_are_cut_off() -> None:
    item = Dataset()
    item.Rows = 1
    for _ in range(40):
        outer = Dataset()
        outer.ViewCodeSequence = [item]
        outer.Rows = 1
        item = outer
    copy = opened(SECRET.whole(changed(phantom_file(size=96), with_values(ViewModifierCodeSequence=[item]))))
    assert str(copy).count("View Code Sequence") <= 8


def test_texts_without_end_go_and_numbers_stay_whether_read_before_or_not() -> None:
    header = parse_dicom(phantom_file(size=96))
    header[0x00281050] = raw(0x00281050, "DS", b"1\\" * 2**20)
    assert header.ImagerPixelSpacing[0] > 0  # which makes a value of it
    SECRET(header)
    assert "WindowCenter" not in header
    assert header.ImagerPixelSpacing == opened(phantom_file(size=96)).ImagerPixelSpacing


def whole_or_error(data: bytes) -> bytes:
    """The copy, or what the error says instead; any other exception fails the test."""
    try:
        return SECRET.whole(data)
    except CxrExplainError as error:
        return str(error).encode()


@pytest.mark.parametrize(
    "seeds", [range(1), pytest.param(range(1, 60), marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_damaged_files_give_a_copy_without_marks_or_one_error(seeds: range) -> None:
    source = planted(readable=False, every=23)
    header_ends = source.rindex(b"\xe0\x7f\x10\x00")
    for rng in (random.Random(8 * seed + turn) for seed in seeds for turn in range(8)):
        data = bytearray(source)
        for _ in range(rng.choice((1, 4, 64))):
            data[rng.randrange(132, header_ends)] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(200, len(data)) :]
        copy = whole_or_error(bytes(data))
        assert marks_in(copy) == set()
        if copy[128:132] == b"DICM":
            assert opened(copy).PatientIdentityRemoved == "YES"
