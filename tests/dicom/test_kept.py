"""What objects keep of a source's header: values that the standard allows, and nobody else's identity."""

from __future__ import annotations

import io

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from cxr_explain.dicom.character_sets import with_character_set
from cxr_explain.dicom.kept import EMPTY, IDENTITY, REQUIRED, kept_of
from cxr_explain.errors import DicomObjectError
from cxr_explain.loaders.scope import quiet_decoders

UIDS = {keyword: f"1.2.{number}" for number, keyword in enumerate(REQUIRED, start=1)}


def item(**attributes: object) -> Dataset:
    """A data set, with values that the standard may not allow."""
    made = Dataset()
    with quiet_decoders():
        for keyword, value in attributes.items():
            setattr(made, keyword, value)
    return made


def read(data: bytes) -> Dataset:
    return pydicom.dcmread(io.BytesIO(data))


def written(dataset: Dataset) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def header(**attributes: object) -> Dataset:
    """A header as it is read from a file, with values that the standard may not allow."""
    with quiet_decoders():
        return read(written(item(**{**UIDS, **attributes})))


def kept(**attributes: object) -> tuple[Dataset, list[str]]:
    with quiet_decoders():
        return kept_of(header(**attributes))


CODE = item(CodeValue="1", CodingSchemeDesignator="99LOCAL", CodeMeaning="Chest")
ALLOWED = {
    "PatientName": "Yamada^Tarou=Y^T",
    "PatientID": " 0815",
    "PatientBirthDate": "20000229",
    "PatientSex": "O",
    "PatientAge": "003M",
    "PatientWeight": "7.5E1",
    "PatientComments": "two\r\nlines and a \\",
    "StudyTime": "2359",
    "TimezoneOffsetFromUTC": "-1200",
    "ImageLaterality": "B",
    "PatientOrientation": ["LH", "FA"],
    "PixelSpacing": ["0.139", "1e-1"],
    "FrameOfReferenceUID": "2.25.0",
    "OtherPatientNames": ["A^B", "C^D"],
    "Rows": 65535,
    "NumberOfFrames": "3",
    "ProcedureCodeSequence": [CODE, CODE],
    "AnatomicRegionSequence": [item(URNCodeValue="urn:oid:1.2", CodeMeaning="Chest")],
    "ReferencedStudySequence": [item(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID="1.3")],
    "IssuerOfPatientIDQualifiersSequence": [item(UniversalEntityID="1.2", UniversalEntityIDType="ISO")],
    "IssuerOfAccessionNumberSequence": [item(LocalNamespaceEntityID="here")],
    "RequestAttributesSequence": [
        item(RequestedProcedureID="1", ScheduledProcedureStepID="2", RequestedProcedureCodeSequence=[CODE])
    ],
}
NOT_ALLOWED = [
    ("PatientSex", "m"),
    ("PatientSex", "OTHER"),
    ("DeidentificationMethod", ["", ""]),
    ("PatientBirthDate", "20010229"),
    ("PatientBirthDate", "2001.02.28"),
    ("StudyDate", "99991231"),
    ("StudyTime", "24"),
    ("StudyTime", "12:30"),
    ("StudyID", "a longer one than 16"),
    ("AccessionNumber", "tab\there"),
    ("ReferringPhysicianName", "a^b^c^d^e^f"),
    ("PatientAge", "42"),
    ("StudyDescription", "x" * 65),
    ("TimezoneOffsetFromUTC", "+0160"),
    ("TimezoneOffsetFromUTC", "-0000"),  # which PS3.5 6.2 forbids
    ("Laterality", "B"),
    ("ImageLaterality", "LEFT"),
    ("PatientOrientation", "L"),
    ("PatientOrientation", ["LR", "F"]),
    ("PatientOrientation", ["LL", "F"]),
    ("PatientOrientation", ["L", ""]),
    ("PixelSpacing", ["0", "0.1"]),
    ("PixelSpacing", ["-0.1", "0.1"]),
    ("ImagerPixelSpacing", ["1e999", "1e999"]),
    ("ImagerPixelSpacing", ["0.1", "0.1", "0.1"]),
    ("NominalScannedPixelSpacing", "0.1"),
    ("BurnedInAnnotation", "MAYBE"),
    ("FrameOfReferenceUID", "1.2.03"),
    ("FrameOfReferenceUID", "3.1"),
    ("Rows", 0),
    ("NumberOfFrames", "0"),
    ("AnatomicRegionSequence", [CODE, CODE]),
    ("ViewCodeSequence", [item(CodeValue="1", CodeMeaning="no scheme")]),
    ("ProcedureCodeSequence", [item(CodeValue="1" * 17, CodingSchemeDesignator="99X", CodeMeaning="long")]),
    ("ProcedureCodeSequence", [item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning="")]),
    ("ReferencedStudySequence", [item(ReferencedSOPInstanceUID="1.2")]),
    ("RequestAttributesSequence", [item(RequestedProcedureID="1")]),
    ("PatientIdentityRemoved", "YES"),
]
REFUSED = [
    ("PatientName", "x" * 65),
    ("PatientName", ["A^B", "C^D"]),
    ("PatientName", "A^B=C^D=E^F=G^H"),
    ("PatientID", "x" * 65),
    ("PatientID", ["1", "2"]),
    ("PatientID", "1\x1b[2J"),
    ("IssuerOfPatientID", "a\0b"),
    ("StudyInstanceUID", "1.2." + "3" * 61),
    ("StudyInstanceUID", "a study"),
    ("SeriesInstanceUID", "1..2"),
    ("SOPInstanceUID", ["1.2", "1.3"]),
]


def test_all_values_that_the_standard_allows_are_kept_as_they_are() -> None:
    source, (found, notes) = header(**ALLOWED), kept(**ALLOWED)
    assert notes == []
    for keyword in ALLOWED:
        assert found[keyword].value == source[keyword].value, keyword
        assert found[keyword].VR == source[keyword].VR


@pytest.mark.parametrize(("keyword", "value"), NOT_ALLOWED)
def test_another_value_is_left_out_and_named_but_not_told(keyword: str, value: object) -> None:
    found, notes = kept(**{keyword: value})
    assert found[keyword].is_empty if keyword in EMPTY else keyword not in found, keyword
    assert [note.split()[0] for note in notes] == [keyword]
    assert not (isinstance(value, str) and f" {value} " in notes[0])


def test_the_laterality_of_a_series_is_kept_where_it_belongs() -> None:
    assert kept(Laterality="L")[0].Laterality == "L"
    assert kept(Laterality="L", BodyPartExamined="LUNG")[0].Laterality == "L"
    for other in ({"BodyPartExamined": "CHEST"}, {"ImageLaterality": "L"}):
        found, notes = kept(Laterality="L", **other)
        assert "Laterality" not in found
        assert [note.split()[0] for note in notes] == ["Laterality"]


@pytest.mark.parametrize(("keyword", "value"), REFUSED)
def test_an_identity_that_the_standard_does_not_allow_is_refused(keyword: str, value: object) -> None:
    with pytest.raises(DicomObjectError, match=f"found a {keyword} that .* de-identify it") as caught:
        kept(**{keyword: value})
    assert "x" * 65 not in str(caught.value)


@pytest.mark.parametrize("keyword", REQUIRED)
@pytest.mark.parametrize("value", ["", None])
def test_a_source_that_nothing_can_refer_to_is_refused(keyword: str, value: str | None) -> None:
    source = header()
    setattr(source, keyword, value)
    with pytest.raises(DicomObjectError, match=f"no {keyword} in the source"):
        kept_of(source)


def test_what_is_type_2_is_there_and_empty() -> None:
    found, notes = kept()
    assert [keyword for keyword in EMPTY if not found[keyword].is_empty] == []
    assert notes == []


def test_nothing_else_is_kept() -> None:
    source = header(PatientAddress="here", InstitutionName="there", WindowCenter="1", PatientID="1")
    source.private_block(0x0011, "MAKER", create=True).add_new(1, "PN", "Doe^Jane")
    code = item(CodeValue="1", CodingSchemeDesignator="99X", CodeMeaning="Chest", OperatorsName="Doe^Jane")
    code.private_block(0x0011, "MAKER", create=True).add_new(1, "PN", "Doe^Jane")
    source.AnatomicRegionSequence = [code]
    found, _ = kept_of(source)
    assert set(found.dir()) == {*REQUIRED, *EMPTY, "AnatomicRegionSequence"}
    assert set(found.AnatomicRegionSequence[0].dir()) == {
        *("CodeValue", "CodingSchemeDesignator", "CodeMeaning"),
    }
    assert "Doe" not in str(found)


@pytest.mark.parametrize("vr", ["UI", "OB", "SH", "US"])
def test_an_identity_of_another_value_representation_is_refused(vr: str) -> None:
    source = header()
    source.add_new("PatientID", vr, {"OB": b"12", "US": 12}.get(vr, "12"))
    with pytest.raises(DicomObjectError, match="PatientID that has another value representation"):
        kept_of(source)


def test_an_identity_of_unknown_value_representation_is_read_by_the_dictionary() -> None:
    data = written(item(**UIDS, PatientID="1234"))
    found, notes = kept_of(
        read(data.replace(b"\x10\x00\x20\x00LO\x04\x00", b"\x10\x00\x20\x00UN\0\0\x04\0\0\0"))
    )
    assert (found.PatientID, notes) == ("1234", [])


def test_leading_zeros_of_an_identifier_are_kept_and_named() -> None:
    found, notes = kept(StudyInstanceUID="1.2.003")
    assert found.StudyInstanceUID == "1.2.003"
    assert len(notes) == 1
    assert "kept as it is" in notes[0]


TRIAL = {
    "ClinicalTrialSponsorName": "Sponsor",
    "ClinicalTrialProtocolID": "Protocol",
    "ClinicalTrialSubjectID": "Subject",
}


def test_a_clinical_trial_is_kept_as_a_whole_or_not_at_all() -> None:
    found, notes = kept(**TRIAL)
    assert notes == []
    assert {keyword: found[keyword].value for keyword in TRIAL} == TRIAL
    assert found["ClinicalTrialSiteName"].is_empty
    for keyword in TRIAL:
        found, notes = kept(**{**TRIAL, keyword: ""})
        assert [each for each in found.dir() if each.startswith("Clinical")] == []
        assert len(notes) == 1


NAMES = {
    "ISO_IR 100": "M\xfcller^J\xf6rg",
    "ISO_IR 101": "Kov\xe1cs^\u0150rs",
    "ISO_IR 144": "\u041b\u044e\u043ace\u043c\u0431yp\u0433",
    "ISO_IR 127": "\u0642\u0628\u0627\u0646\u064a^\u0644\u0646\u0632\u0627\u0631",
    "ISO_IR 126": "\u0394\u03b9\u03bf\u03bd\u03c5\u03c3\u03b9\u03bf\u03c2",
    "ISO_IR 192": "Wang^XiaoDong=\u738b^\u5c0f\u4e1c",
    "GB18030": "Wang^XiaoDong=\u738b^\u5c0f\u4e1c",
    "\\ISO 2022 IR 87": "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046",
    "\\ISO 2022 IR 149": "Hong^Gildong=\u6d2a^\u5409\u6d1e=\ud64d^\uae38\ub3d9",
    "ISO 2022 IR 13\\ISO 2022 IR 87": "\uff94\uff8f\uff80\uff9e^\uff80\uff9b\uff73=\u5c71\u7530^\u592a\u90ce",
}


@pytest.mark.parametrize("terms", NAMES)
def test_a_name_keeps_its_character_set_and_its_bytes(terms: str) -> None:
    source = written(item(**UIDS, SpecificCharacterSet=terms.split("\\"), PatientName=NAMES[terms]))
    found, notes = kept_of(read(source))
    copy = written(with_character_set(found, found))
    assert notes == []
    assert read(copy).PatientName == NAMES[terms]
    assert raw_value(copy, "PatientName") == raw_value(source, "PatientName")
    assert raw_value(copy, "SpecificCharacterSet") == raw_value(source, "SpecificCharacterSet")


@pytest.mark.parametrize("terms", NAMES)
def test_what_the_set_has_no_letters_for_puts_the_whole_object_into_unicode(terms: str) -> None:
    found, _ = kept_of(header(SpecificCharacterSet=terms.split("\\"), PatientName=NAMES[terms]))
    made = item(**UIDS, PatientName=found.PatientName, SeriesDescription="\u2297 \u80ba \xe4 \u0416 \u0e17")
    copy = read(written(with_character_set(made, found)))
    assert copy.SpecificCharacterSet == ("GB18030" if terms == "GB18030" else "ISO_IR 192")
    assert copy.PatientName == NAMES[terms]
    assert copy.SeriesDescription == made.SeriesDescription


def test_ascii_needs_no_character_set_and_nested_texts_count() -> None:
    found, _ = kept_of(header(PatientName="Doe^Jane"))
    assert "SpecificCharacterSet" not in with_character_set(item(PatientName="Doe^Jane"), found)
    nested = item(
        ProcedureCodeSequence=[item(CodeMeaning="Lungen\xf6dem", SpecificCharacterSet="ISO_IR 100")]
    )
    assert with_character_set(nested, found).SpecificCharacterSet == "ISO_IR 192"
    assert "SpecificCharacterSet" not in nested.ProcedureCodeSequence[0]


def foreign(name: bytes, terms: bytes | None, other: bytes = b"") -> Dataset:
    """A header of a name in bytes that may not be what its character set says."""
    filled = b"N" * (len(name) + len(name) % 2)
    said = {} if terms is None else {"SpecificCharacterSet": "S" * (len(terms) + len(terms) % 2)}
    given = {**said, **({"StudyDescription": "D" * (len(other) + len(other) % 2)} if other else {})}
    data = written(item(**UIDS, PatientName=filled.decode(), **given))
    data = data.replace(filled, name.ljust(len(filled)))
    if terms is not None:
        data = data.replace(
            b"S" * len(said["SpecificCharacterSet"]), terms.ljust(len(terms) + len(terms) % 2)
        )
    if other:
        data = data.replace(b"D" * (len(other) + len(other) % 2), other.ljust(len(other) + len(other) % 2))
    return read(data)


CYRILLIC = "\u0418\u0432\u0430\u043d\u043e\u0432^\u0418\u0432\u0430\u043d"


def test_chinese_in_code_extensions_is_read_and_written_in_unicode() -> None:
    name = b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab"  # PS3.5 K
    with quiet_decoders():
        found, notes = kept_of(foreign(name, b"\\ISO 2022 IR 58"))
    copy = read(written(with_character_set(found, found)))
    assert notes == []
    assert copy.SpecificCharacterSet == "ISO_IR 192"
    assert copy.PatientName == "Zhang^XiaoDong=\u5f20^\u5c0f\u4e1c"


@pytest.mark.parametrize("terms", [None, b"", b"ISO_IR 6"])
def test_a_name_in_no_declared_character_set_keeps_its_bytes(terms: bytes | None) -> None:
    name = CYRILLIC.encode("cp1251")
    with quiet_decoders():
        found, notes = kept_of(foreign(name, terms, other=name))
    copy = with_character_set(found, found)
    assert raw_value(written(copy), "PatientName").rstrip() == name
    assert "SpecificCharacterSet" not in copy
    assert "StudyDescription" not in copy
    assert notes[-2].startswith("PatientName has letters beyond ASCII")
    assert notes[-1].endswith("left out")
    with pytest.raises(DicomObjectError, match="SpecificCharacterSet"):
        with_character_set(item(PatientName=found.PatientName, SeriesDescription="\xe4"), found)


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("M\xfcller".encode("latin-1"), b"ISO_IR 192"),
        (b"\xff\xff\xff", b"GB18030"),
        (b"Yamada=\x1b$B\xff\xff\x1b(B", b"\\ISO 2022 IR 87"),
        (b"Yamada=\x1b$X;3ED\x1b(B", b"\\ISO 2022 IR 87"),
        (CYRILLIC.encode("cp1251"), b"cp1251"),
        (CYRILLIC.encode("cp1251"), b"ISO_IR 999"),
        (CYRILLIC.encode("utf-8"), b"utf-8"),
    ],
)
def test_a_name_that_its_character_set_cannot_decode_is_refused(name: bytes, terms: bytes) -> None:
    with quiet_decoders(), pytest.raises(DicomObjectError, match="a PatientName that"):
        kept_of(foreign(name, terms))


def raw_value(data: bytes, keyword: str) -> bytes:
    dataset = read(data)
    value = dataset.get_item(keyword).value
    return value if isinstance(value, bytes) else str(value).encode()


@given(
    name=st.binary(max_size=40),
    number=st.binary(max_size=20),
    terms=st.sampled_from([None, *(each.encode() for each in NAMES), b"ISO_IR 6", b"none", b"GBK"]),
    implicit=st.booleans(),
)
def test_no_object_has_another_identity_than_its_source(
    name: bytes, number: bytes, terms: bytes | None, implicit: bool
) -> None:
    made = item(**UIDS, PatientSex="F")
    for tag, vr, value in ((0x00100010, "PN", name), (0x00100020, "LO", number), (0x00080005, "CS", terms)):
        if value is not None:
            made[tag] = pydicom.dataelem.RawDataElement(
                pydicom.tag.Tag(tag), vr, len(value), value, 0, implicit, True
            )
    out = io.BytesIO()
    with quiet_decoders():
        pydicom.dcmwrite(out, made, implicit_vr=implicit, little_endian=True)
        source = pydicom.dcmread(io.BytesIO(out.getvalue()), force=True)
        try:
            found, _ = kept_of(source)
            copy = read(written(with_character_set(found, found)))
        except DicomObjectError:
            return
        for keyword in IDENTITY:
            assert str(copy.get(keyword, "")) == str(source.get(keyword) or ""), keyword
        if terms is None:
            assert raw_value(written(found), "PatientID").rstrip(b" \0") == number.rstrip(b" \0")
