"""Names, numbers and dates of patients in a file's name, as people write them: the id is the digest then."""

from __future__ import annotations

import datetime as dt
import io
import string
import time
import unicodedata

import pydicom
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from cxr_explain.loaders.decode_settings import DecodeSettings
from cxr_explain.loaders.identity import choose_id
from cxr_explain.loaders.voi import parse_voi

DIGEST = "f" * 64


def header(character_set: str | None = "ISO_IR 192", **attributes) -> Dataset:
    """A small header, as it is read from a file."""
    with pydicom.config.disable_value_validation():
        ds = Dataset()
        if character_set:
            ds.SpecificCharacterSet = character_set
        ds.Modality, ds.BodyPartExamined, ds.ViewPosition = "DX", "CHEST", "PA"
        ds.Manufacturer, ds.StudyDescription = "SIEMENS", "Chest PA and lateral"
        ds.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.30719"
        ds.StudyDate, ds.StudyTime, ds.InstanceNumber = "20211109", "101530", "1"
        ds.Rows, ds.Columns, ds.DistanceSourceToDetector = 512, 2048, "1800"
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)
        return reread(ds)


def reread(ds: Dataset) -> Dataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3.4"
    ds.file_meta = meta
    buffer = io.BytesIO()
    with pydicom.config.disable_value_validation():
        ds.save_as(buffer, enforce_file_format=True)
    return pydicom.dcmread(io.BytesIO(buffer.getvalue()), force=True)


def id_of(stem: str, ds: Dataset) -> str:
    settings = DecodeSettings(format="DICOM", sha256=DIGEST, stem=stem, voi=parse_voi("auto"))
    return choose_id(ds, settings)[0]


def is_hashed(stem: str, ds: Dataset) -> bool:
    return id_of(stem, ds) == DIGEST[:12]


def item(**attributes) -> Dataset:
    nested = Dataset()
    for keyword, value in attributes.items():
        setattr(nested, keyword, value)
    return nested


NAMES = [
    ("Mückenhöfer^Jürgen", "Mueckenhoefer_J"),
    ("Mueller^Anna", "Müller"),
    ("Mueller^Anna", unicodedata.normalize("NFD", "müller") + "_pa"),
    ("Straße^Eva", "strasse"),
    ("Strasse^Eva", "Straße"),
    ("GARCÍA LÓPEZ^JOSÉ", "Garcia Lopez"),
    ("GARCIA LOPEZ^JOSE", "García_pa"),
    ("O'Brien^Pat", "OBrien"),
    ("OBrien^Pat", "O’Brien"),
    ("Smith-Jones^A", "SmithJones"),
    ("SmithJones^A", "Smith-Jones"),
    ("Łukasiewicz^Jan", "Lukasiewicz"),
    ("Sørensen^Bo", "Sorensen"),
    ("Sørensen^Bo", "Soerensen"),
    ("Ågård^Ib", "Aagaard"),
    ("Yıldız^Işık", "YILDIZ"),
    ("İnan^Ali", "inan"),
    ("Æbelø^Kim", "aebeloe"),
    ("Đặng^Thị", "dang_1"),
    ("Nguyễn^Văn", "nguyen.van"),
    ("Li^Wu", "Li_Wu"),
    ("Li^Wu", "wu-li"),
    ("Li^Wu", "LiWu_pa"),
    ("Li^Wu", "scan_li"),
    ("Li^Wu", "LiChest"),
    ("Wu^X", "Wu1"),
    ("Doe^Jane", "jdoe"),
    ("Doe^Jane", "DoeJ_1950"),
    ("Doe^Jane", "Jane.Doe"),
    ("Doe^Jane", "ｄｏｅ"),
    ("Vandenberghe^P", "vandenb"),
    ("Doe Smith^Jane^^Dr.", "smith"),
    ("王^伟", "王_pa"),
    ("王小明", "小明_pa"),
    ("王小明", "王"),
    ("Wang^XiaoDong=王^小东", "小东"),
    ("やまだ^たろう", "ヤマダ"),
    ("ﾔﾏﾀﾞ^ﾀﾛｳ", "やまた"),
    ("김^희중", "김_1"),
    ("김^희중", unicodedata.normalize("NFD", "희중")),
    ("Иванов^Иван", "Ivanov"),
    ("Ivanov^Ivan", "Иванов_ПА"),
    ("Андреев^Юрий", "Andreyev_Yuriy".replace("ye", "e")),
    ("Παπαδόπουλος^Γιώργος", "Papadopoulos"),
    ("Papadopoulos^G", "ΠΑΠΑΔΟΠΟΥΛΟΣ"),
    ("محمد^علي", "علي_محمد"),
    ("محمد^علي", "على"),
    ("محمد^علي", "محمـــد"),
    ("فاطمة^کریم", "فاطمه_كريم"),
    ("Smith^John", "SMIJOH"),
    ("Smith^John", "johsmi_2"),
    ("Kennedy^John^Fitzgerald", "JFK"),
    ("Kennedy^John^Fitzgerald", "k.j.f_pa"),
    ("Schmidt-Meyer^Ute", "MeyerSchmidt"),
    ("von der Leyen^Max", "vonderleyen01"),
    ("Nguyễn^Thị Hương", "HuongNguyenThi"),
    ("Doe^Jane", "D\u200boe"),
    ("Müller^Eva", "M%C3%BCller"),
    ("Müller^Eva", "Müller".encode().decode("latin-1")),
    ("Müller^Eva", "M\udcfcller"),
    ("Müller^Eva", "Müller".encode().decode("cp437")),
]


@pytest.mark.parametrize("keyword", ["PatientName", "ReferringPhysicianName"])
def test_a_name_is_known_in_another_spelling(keyword):
    unknown = [(name, stem) for name, stem in NAMES if not is_hashed(stem, header(**{keyword: name}))]
    assert not unknown, unknown


TEXTS = [
    ("PatientID", "0012345678", "12345678_pa"),
    ("PatientID", "12345678", "0012345678"),
    ("PatientID", "12345678", "１２３４５６７８"),
    ("PatientID", "12345678", "١٢٣٤٥٦٧٨"),
    ("PatientID", "12345678", "MRN12345678X"),
    ("PatientID", "MRN-0012345678", "12345678"),
    ("PatientID", "123-45-6789", "123456789"),
    ("PatientID", "123456789", "123-45-6789"),
    ("PatientID", "A17", "ACC_A17"),
    ("PatientID", "A0017", "a17"),
    ("PatientID", "A17", "pid_A-00-17"),
    ("PatientID", "A17", "00A17"),
    ("PatientAge", "073Y", "age073Y"),
    ("PatientAge", "073Y", "73yo_male"),
    ("PatientAge", "003M", "3-month-old"),
    ("PatientBirthDate", "19500112", "born1950"),
    ("PatientBirthDate", "19500112", "Jan1950"),
    ("PatientBirthDate", "19500112", "195001_pa"),
    ("PatientBirthDate", "19500112", "01-1950"),
    ("PatientBirthDate", "19500112", "011950"),
    ("PatientID", "512", "512_pa"),
    ("PatientID", "CASE 12", "case12"),
    ("PatientID", "patient0001", "patient1_study1"),
    ("PatientID", "Test", "test_3"),
    ("PatientID", "4711", "0004711"),
    ("AccessionNumber", "RX20/4711", "rx20-4711"),
    ("AccessionNumber", "4711", "no_4711"),
    ("PatientAddress", "Main Street 5", "MainStreet5"),
    ("PatientAddress", "Main Street 5", "5-main-str"),
    ("PatientTelephoneNumbers", "+49 170 1234567", "01701234567"),
    ("PatientTelephoneNumbers", "(0170) 123 45 67", "0170-1234567"),
    ("PatientComments", "jane.doe@x.org", "jane.doe@x.org"),
    ("PatientComments", "Is the sister of Jane Doe", "doe_jane"),
    ("PatientComments", "born 12.01.1950 in Ulm", "500112"),
    ("PatientComments", "born 12 January 1950", "19500112_pa"),
    ("ImageComments", "called Krzysztof", "krzysztof1"),
    ("InstitutionName", "Charité", "charite_04"),
    ("StationName", "XRAUM3", "xraum3"),
    ("OtherPatientIDs", ["AB123", "CD99887"], "cd99887"),
    ("ViewPosition", "DOE JANE", "jane_pa"),
    ("BodyPartExamined", "SMITHERS", "smithers"),
    ("SOPInstanceUID", "1.2.840.113619.2.5.1762583153", "1.2.840.113619.2.5.1762583153"),
    ("SOPInstanceUID", "1.2.840.113619.2.5.1762583153", "1762583153"),
    ("SOPInstanceUID", "2.25.329800735698586629295641978511506172918", "f81d4fae7dec11d0a76500a0c91e6bf6"),
    ("StudyTime", "101531.123", "20110203_101531"),
    ("StudyTime", "101531", "10-15-31"),
    ("InstanceNumber", "74110", "im_74110"),
    ("PatientWeight", "10453.5", "10453"),
]  # fmt: skip


def test_what_else_identifies_is_known():
    unknown = [each for each in TEXTS if not is_hashed(each[2], header(**{each[0]: each[1]}))]
    assert not unknown, unknown


DATES = [
    *("19500112", "12011950", "01121950", "500112", "120150", "011250", "1950-01-12", "12.1.50", "1_12_1950"),
    *("12Jan1950", "12-jan-50", "Jan-12-1950", "1950january12", "12th of January 1950", "12Januar1950"),
    *("12janv50", "12 enero 1950", "12_gennaio_1950", "12jan50x", "MRN7-19500112", "19500112123000"),
    *("500112093000", "1950年1月12日", "1950112", "doe19500112"),
    *("Jan121950", "jan1250", "12-januára-1950", "12. ledna 1950", "12 stycznia 1950"),
    *("12 Ιανουαρίου 1950", "昭和25年1月12日", "24930112", "12-01-2493"),
]


@pytest.mark.parametrize("keyword", ["PatientBirthDate", "StudyDate", "AcquisitionDateTime"])
def test_a_date_is_known_in_another_form(keyword):
    value = "19500112" if keyword.endswith("Date") else "19500112093000.000"
    ds = header(**{keyword: value})
    stems = [stem for date in DATES for stem in (f"smythe-{date}", f"{date}_pa")]
    unknown = [stem for stem in stems if not is_hashed(stem, ds)]
    assert not unknown, unknown


MONTHS_OF_MAY = ["may", "mai", "mayo", "maggio", "maio", "mei", "maj", "mayıs"]


def test_months_of_other_languages():
    ds = header(PatientBirthDate="19610503")
    unknown = [month for month in MONTHS_OF_MAY if not is_hashed(f"3{month}61", ds)]
    assert not unknown, unknown


def test_years_of_studies_and_parts_of_other_words_are_kept():
    people = {"PatientName": "Smith^John^Albert", "PatientAge": "007Y", "PatientBirthDate": "19500112"}
    for stem in ("study_2021", "2021-11_batch", "maya", "image007", "17y", "saj", "sja", "00019501_000"):
        assert is_hashed(stem, header(**people)) == (stem == "sja")


def test_names_in_nested_items_and_private_and_undecoded_attributes():
    with pydicom.config.disable_value_validation():
        deep = item(RequestAttributesSequence=Sequence([item(RequestedProcedureDescription="Nestedname")]))
        nested = header(OtherPatientIDsSequence=Sequence([item(PatientID="NESTED991"), deep]))
        ds = header()
        block = ds.private_block(0x0011, "QXZ", create=True)
        block.add_new(1, "LO", "Privatson")
        block.add_new(2, "UN", b"\x01\x02\x00\x08Undecoded^Hans\x00")
        block.add_new(3, "OB", "Utfsixteen".encode("utf-16-le"))
        block.add_new(4, "UN", bytes(100_000) + b"Farbehind" + bytes(100_000))
        block.add_new(5, "UL", 71_234_567)
        ds.add_new("PatientBirthName", "UN", b"Ut^Ko ")
        private = reread(ds)
        private.file_meta.PrivateInformationCreatorUID = "1.2.3"
        private.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"
    assert is_hashed("NESTED991_pa", nested)
    assert is_hashed("nestedname", nested)
    for stem in (
        "privatson",
        "hans_undecoded",
        "utfsixteen",
        "far_farbehind",
        "71234567",
        "elsewhere",
        "pa_ut",
    ):
        assert is_hashed(stem, private), stem


@pytest.mark.parametrize(
    ("declared", "used"),
    [
        (None, "utf-8"),
        ("ISO_IR 100", "utf-8"),
        (None, "latin-1"),
        ("ISO_IR 192", "latin-1"),
        (None, "cp1251"),
    ],
)
def test_another_character_set_than_declared(declared, used):
    name = "Жуков^Лев" if used == "cp1251" else "Mückenhöfer^Jo"
    ds = header(declared, PatientName="x" * len(name.encode(used)))
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    content = buffer.getvalue().replace(b"x" * len(name.encode(used)), name.encode(used))
    ds = pydicom.dcmread(io.BytesIO(content), force=True)
    assert is_hashed("zhukov" if used == "cp1251" else "muckenhofer", ds)


ORDINARY_NAMES = """
chest_pa IM-0001-0001 IMG_0001 image512 image_1800 img2048 1 study_2 00000001_000 phantom-000039
phantom-000039-no-Mass lateral frontal view1_frontal CR000001 DX0001 siemens_01 fluorospot chest
thorax_ap Torax-LL series3_image7 I0000001 000001 a scan pat_12 patient00001_study1_view1_frontal
chest-lateral-2 x-ray CXR1_1_IM-0001-3001 00000013_005 portable_ap test export_03 1-01 1-1 new_image
0 radiograph 02aa804e-bde0afdd-112c0b34-7bc16630-4e384014 0108949daa13dc94634a7d650a05c0bb
00030805_000
"""
PEOPLE = [
    {"PatientName": "Doe^Jane", "PatientID": "1", "PatientBirthDate": "19500112"},
    {"PatientName": "Müller^Jörg", "PatientID": "0098765432", "PatientAddress": "Hauptstraße 5, 89077 Ulm"},
    {"PatientName": "王^伟", "PatientID": "P-77A", "PatientComments": "Pneumonie nicht ausgeschlossen"},
    {"PatientName": "", "StudyDescription": "XR CHEST 2 VIEWS", "ProtocolName": "Thorax pa/ap"},
    {"PatientName": "Anonymized", "SeriesDescription": "PA", "ImageType": ["ORIGINAL", "PRIMARY"]},
    {"PatientName": "Park^Im", "StationName": "FLUOROSPOT1", "InstanceNumber": "1800"},
]


@pytest.mark.parametrize("people", PEOPLE, ids=range(len(PEOPLE)))
def test_an_ordinary_name_is_kept(people):
    ds = header(**people)
    hashed = [stem for stem in ORDINARY_NAMES.split() if is_hashed(stem, ds)]
    assert not hashed, hashed


@pytest.mark.parametrize("name", ["", "Anonymous", "PATIENT^TEST"])
def test_a_name_that_the_header_no_longer_has_is_not_kept(name):
    anonymised = header(PatientName=name)
    for stem in ("Rossi_Mario", "ROSSI^MARIO_pa", "De Luca-Anna 2021", "Müller, Jörg"):
        assert is_hashed(stem, anonymised), stem
    for stem in ("Pleural_Effusion", "Chest_PA_Left", "VinDr_01", "Mass_Nodule", "rossi_mario", "Site_A"):
        assert not is_hashed(stem, anonymised), stem
    assert not is_hashed("Rossi_Mario", header(PatientName="Doe^Jane"))


@pytest.mark.parametrize("stem", [f"phantom-{seed:06d}" for seed in (0, 39, 101, 123, 1234, 10_100, 120_001)])
def test_phantoms_keep_their_names(stem):
    ds = header(PatientName="COMPUTED^CHEST", PatientID=f"COMPUTED-{stem[-6:]}")
    ds.Manufacturer, ds.ManufacturerModelName, ds.StudyDate = "cxr-explain", "phantom", "20000101"
    ds.StudyTime, ds.PatientComments = "120000", "Computed phantom, not a patient."
    assert id_of(stem, ds) == stem
    ds.PatientName = "Doe^Jane"  # what says that it is a phantom, and names a person
    assert is_hashed("doe", ds)


WORDS = st.text(st.characters(categories=["L"]), min_size=2, max_size=12)
LATIN = st.text(string.ascii_letters + "äöüßéèñçøåæœłđışğžőấ", min_size=3, max_size=12)


@given(family=LATIN, first=LATIN, spell=st.integers(0, 11), affix=st.sampled_from(["", "_pa", "IM1_", "x"]))
@example(family="ßäÄ", first="ııı", spell=3, affix="")
def test_any_name_is_known_however_it_is_spelled(family, first, spell, affix):
    umlauts = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "ø": "oe", "å": "aa", "æ": "ae"})
    stems = [
        family,
        family.upper(),
        family.lower(),
        unicodedata.normalize("NFD", family),
        unicodedata.normalize("NFKC", family),
        "".join(c for c in unicodedata.normalize("NFD", family) if not unicodedata.combining(c)),
        family.translate(umlauts),
        f"{first}{family}",
        f"{family}_{first}",
        f"{first[0]}{family}",
        f"{family[:1]}-{family[1:]}",
        f"{family}, {first}",
    ]
    assert is_hashed(stems[spell] + affix, header(PatientName=f"{family}^{first}"))


@given(family=WORDS, first=WORDS)
def test_any_name_of_any_script_is_known_as_it_is(family, first):
    assert is_hashed(f"{first}_{family}", header(PatientName=f"{family}^{first}"))


@given(
    number=st.integers(10_000, 10**12),
    zeros=st.integers(0, 4),
    affix=st.sampled_from(["", "_pa", "X", "MRN"]),
)
def test_any_number_is_known_with_and_without_zeros(number, zeros, affix):
    ds = header(PatientID="0" * zeros + str(number))
    assert is_hashed(f"{affix}{number}", ds)
    assert is_hashed(f"{number:015d}{affix}", ds)


FORMS = [
    *(
        "%Y%m%d",
        "%d%m%Y",
        "%m%d%Y",
        "%y%m%d",
        "%d%m%y",
        "%m%d%y",
        "%Y-%m-%d",
        "%d.%m.%y",
        "%d%b%Y",
        "%d-%B-%y",
    ),
    *("%b_%d_%Y", "%Y%m%d%H%M%S"),
]


@given(
    date=st.dates(min_value=dt.date(1900, 1, 1), max_value=dt.date(2100, 12, 31)), form=st.sampled_from(FORMS)
)
def test_any_date_is_known_in_any_order(date, form):
    assert is_hashed(f"a_{date.strftime(form)}", header(PatientBirthDate=date.strftime("%Y%m%d")))


def test_a_sequence_of_very_many_items_gives_the_digest():
    ds = header()
    ds.OtherPatientIDsSequence = Sequence([Dataset()] * 60_000)
    assert is_hashed("some_file", ds)


def test_a_header_too_long_to_compare_gives_the_digest():
    ds = header(TextValue="word " * 100_000)
    began = time.perf_counter()
    settings = DecodeSettings(format="DICOM", sha256=DIGEST, stem="some_file", voi=parse_voi("auto"))
    name, notes = choose_id(ds, settings)
    assert (name, time.perf_counter() - began < 2) == (DIGEST[:12], True)
    assert "too long to compare" in notes[0]
