"""Damaged headers: objects of their own patient that dciodvfy has nothing against, or one of our errors."""

from __future__ import annotations

import io
import random
import re
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_sources import phantom_file
from dicom_tools import dciodvfy_errors, needs_dciodvfy
from pydicom import Dataset, uid
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from radiograph_files import LOSSLESS, NATIVE, dataset, encode, phantom

import cxr_explain as cxr
from cxr_explain.dicom.kept import IDENTITY, OF_THE_IMAGE, PATIENT_AND_STUDY, REQUIRED
from cxr_explain.dicom.kinds import OBJECT_KINDS
from cxr_explain.dicom.objects import DicomObjects, dicom_objects
from cxr_explain.errors import CxrExplainError
from cxr_explain.loaders import read_radiograph
from cxr_explain.loaders.scope import quiet_decoders
from cxr_explain.radiograph import Radiograph

sys.path.append(str(Path(__file__).parents[1] / "fuzz"))
from mutate import mutate

pytestmark = needs_dciodvfy

KEPT = tuple(
    keyword
    for keyword in (*PATIENT_AND_STUDY, *OF_THE_IMAGE)
    if keyword not in ("Rows", "Columns", "Modality")
)
IDENTITIES = ("PatientName", "PatientID", "StudyInstanceUID", "SOPInstanceUID", "SpecificCharacterSet")
_ITUS_ROOT = 'Error - Illegal root for UID - "0.'
"""What dciodvfy says of identifiers below ITU-T's root, which PS3.5 9.1 does not forbid."""
REFERRED = {"SOPInstanceUID": "ReferencedSOPInstanceUID", "SOPClassUID": "ReferencedSOPClassUID"}
NASTY = (
    *(
        b"",
        b" ",
        b"\\",
        b"\0\0",
        b"0",
        b"-1",
        b"1e400",
        b"nan",
        b"inf",
        b"1.2.3",
        b"1.2.03",
        b"9.9",
        b"M",
        b"YES",
    ),
    *(b"L\\F", b"R\\R", b"20240230", b"20240131", b"235960", b"999Y", b"x" * 65, b"x" * 2000, b"a^b^c^d^e^f"),
    *(
        b"=====",
        b"\x1b$B\x1b(B",
        b"\x1b$)A\xd5\xc5",
        b"\xff\xfe",
        "M\xfcller^J\xf6rg".encode(),
        b"M\xfcller^J\xf6rg",
    ),
    *(
        b"ISO_IR 100",
        b"ISO_IR 192",
        b"\\ISO 2022 IR 87",
        b"GB18030",
        b"utf-8",
        b"\xfe\xff\x00\xe0\x00\x00\x00\x00",
    ),
    *(
        b"1.2.840.10008.5.1.4.1.1.1",
        b"1.2.840.10008.5.1.4.1.1.77.1.6",
        b"1\\2\\3",
        b"\x80\x81",
        b"<a>&'\"\n\t",
    ),
)


@cache
def corpus() -> list[tuple[str, bytes]]:
    """One file for each transfer syntax that a header may be in, and the phantom's own."""
    identity = {
        keyword: f"1.2.3.{number}" for number, keyword in enumerate(REQUIRED) if keyword != "SOPClassUID"
    }
    said = {"PatientName": "Doe^Jane", "PatientID": "0815", "PatientSex": "F", "StudyDate": "20240131"}
    files = [
        (syntax.name, encode(dataset(phantom(bits=12), 12, **identity, **said), syntax))
        for syntax in (*NATIVE, *LOSSLESS[:3])
    ]
    names = {
        "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
        "PatientName": "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce",
    }
    capture = dataset(
        phantom(bits=8), 8, "MONOCHROME1", **identity, **{**said, **names},
        SOPClassUID=uid.SecondaryCaptureImageStorage, Modality="OT", ConversionType="DI",
    )  # fmt: skip
    return [
        *files,
        ("capture", encode(capture)),
        ("phantom", phantom_file(size=64)),
        ("phantom", phantom_file(size=64)),
    ]


def damaged(number: int) -> bytes:
    """The bytes of an input; the same number gives the same ones."""
    rng, files = random.Random(number), corpus()
    data = files[number % len(files)][1]
    if rng.random() < 0.7:
        with suppress(Exception):  # what pydicom cannot write
            return _with_other_values(data, rng)
    end = _end_of_header(data)
    return mutate(data[:end], [each for _, each in files], rng) + data[end:]


def _end_of_header(data: bytes) -> int:
    stream = io.BytesIO(data)
    pydicom.dcmread(stream, stop_before_pixels=True)
    return stream.tell()


def _with_other_values(data: bytes, rng: random.Random) -> bytes:
    """Up to three attributes that objects keep have bytes that nobody checked."""
    header = pydicom.dcmread(io.BytesIO(data))
    syntax = header.file_meta.TransferSyntaxUID
    implicit, little = syntax.is_implicit_VR, syntax.is_little_endian
    for _ in range(rng.randint(1, 3)):
        keyword = rng.choice(IDENTITIES if rng.random() < 0.3 else KEPT)
        vr = (
            dictionary_VR(keyword) if rng.random() < 0.8 else rng.choice(("UN", "LO", "UI", "OB", "US", "PN"))
        )
        value = rng.choice(NASTY) if rng.random() < 0.7 else rng.randbytes(rng.choice((1, 2, 8, 66)))
        if vr == "SQ":
            header[keyword] = pydicom.DataElement(
                tag_for_keyword(keyword), "SQ", [_item(rng), _item(rng)][: rng.randint(1, 2)]
            )
            continue
        value += b" " * (len(value) % 2)
        tag = Tag(tag_for_keyword(keyword))
        header[tag] = RawDataElement(tag, vr, len(value), value, 0, implicit, little)
    out = io.BytesIO()
    pydicom.dcmwrite(out, header, implicit_vr=implicit, little_endian=little)
    return out.getvalue()


def _item(rng: random.Random) -> Dataset:
    item = Dataset()
    for keyword in (
        "CodeValue",
        "CodingSchemeDesignator",
        "CodeMeaning",
        "ReferencedSOPInstanceUID",
        "PatientID",
    ):
        if rng.random() < 0.7:
            value = rng.choice(NASTY)
            tag = Tag(tag_for_keyword(keyword))
            item[tag] = RawDataElement(tag, dictionary_VR(keyword), len(value), value, 0, False, True)
    return item


@cache
def explanation_of_size(rows: int, columns: int) -> cxr.Explanation:
    """An explanation of some radiograph of this size; the model is asked once."""
    explainer = cxr.Explainer.from_pretrained("phantom", device="cpu", allow_phantom_weights=True)
    pixels = phantom(rows, columns, bits=8).astype(np.float32) * 8 - 1024
    return explainer.explain(Radiograph.from_array(pixels), top_k=3)


def explanation_of(radiograph: Radiograph) -> cxr.Explanation:
    known = explanation_of_size(*radiograph.shape)
    provenance = replace(known.provenance, radiograph_sha256=radiograph.sha256, steps=radiograph.steps)
    return replace(known, provenance=provenance, radiograph=radiograph, id=radiograph.id)


def outcome(number: int, folder: Path) -> tuple[str, list[str]]:
    """What became of an input, and what is wrong with that."""
    file, out = folder / "source.dcm", folder / f"objects {number}"
    with quiet_decoders():
        file.write_bytes(damaged(number))
    try:
        radiograph = read_radiograph(file, max_pixels=250_000)
        kinds = tuple(OBJECT_KINDS) if number % 40 == 0 else (tuple(OBJECT_KINDS)[1 + number % 4],)
        made = dicom_objects(explanation_of(radiograph), file, kinds=kinds)
        made.save(out)
    except CxrExplainError as error:
        return type(error).__name__, [f"{number}: {error}"] if "unexpected" in str(
            error
        ) or out.exists() else []
    faults = [
        f"{number}: {kind}: {error}" for kind, error in made.not_made.items() if "unexpected" in str(error)
    ]
    wrong = [*_wrong_files(made, out), *_other_identity(made, file), *_errors(made, out, file)]
    return "objects" if not made.not_made else "some objects", faults + [
        f"{number}: {each}" for each in wrong
    ]


def _wrong_files(made: DicomObjects, out: Path) -> list[str]:
    written = {file.name: file.read_bytes() for file in out.iterdir()} if out.exists() else {}
    meant = {f"{each.kind}.dcm": each.to_bytes() for each in made}
    return [] if written == meant else [f"files {sorted(written)} where {sorted(meant)} were made"]


def _other_identity(made: DicomObjects, file: Path) -> list[str]:
    keywords = (*IDENTITY, "StudyInstanceUID")
    with quiet_decoders():
        source = pydicom.dcmread(file, force=True)
        own = [_plain(source.get(keyword)) for keyword in keywords]
        others = [pydicom.dcmread(io.BytesIO(each.to_bytes())) for each in made]
        return [
            f"{other.SOPClassUID.name} has another {keyword}"
            for other in others
            for keyword, value in zip(keywords, own, strict=True)
            if _plain(other.get(keyword)) != value
        ]


def _plain(value: object) -> str:
    return str("" if value is None else value).replace("\x1b$)A", "")


def _errors(made: DicomObjects, out: Path, file: Path) -> list[str]:
    """Errors of dciodvfy that the source has not, of the identity that was kept in spite of them."""
    tolerated = {note.split()[0] for note in made.notes if "kept as it is" in note}
    own = _tags_in(_own_errors(file, tolerated)) if tolerated else set()
    names = (name for keyword in tolerated for name in (keyword, REFERRED.get(keyword, keyword)))
    referred = {tag_for_keyword(name): tag_for_keyword(keyword) for keyword, name in REFERRED.items()}
    tags = {tag for tag in map(tag_for_keyword, names) if referred.get(tag, tag) in own}
    roots = [error for error in dciodvfy_errors(file) if error.startswith(_ITUS_ROOT)]
    return [
        f"{each.kind}: {error}"
        for each in made
        for error in dciodvfy_errors(out / f"{each.kind}.dcm")
        if error not in roots
        and not (_tags_in([error]) and _tags_in([error]) <= tags)
        and not (tags and "invalid data values" in error)
    ]


def _own_errors(file: Path, keywords: Iterable[str]) -> list[str]:
    """What dciodvfy says of a source; where it cannot read that, of some attributes in a sound header."""
    errors = dciodvfy_errors(file)
    if not any("read failed" in error for error in errors):
        return errors
    source, sound = pydicom.dcmread(file, force=True), pydicom.dcmread(io.BytesIO(phantom_file(size=64)))
    for keyword in (*keywords, "SpecificCharacterSet"):
        found = source.get_item(keyword)
        sound.pop(keyword, None)
        if isinstance(found, RawDataElement):
            sound[keyword] = found._replace(is_implicit_VR=False, is_little_endian=True)
    copy = file.with_name("sound.dcm")
    sound.save_as(copy)
    return dciodvfy_errors(copy)


def _tags_in(errors: list[str]) -> set[int]:
    found = (re.search(r"\(0x([0-9a-f]{4}),0x([0-9a-f]{4})\)", error) for error in errors)
    return {int(match[1] + match[2], 16) for match in found if match}


def _check(numbers: range, folder: Path) -> Counter[str]:
    outcomes, wrong = Counter[str](), list[str]()
    for number in numbers:
        what, found = outcome(number, folder)
        outcomes[what] += 1
        wrong += found
    print(dict(outcomes))
    assert wrong == []
    return outcomes


def test_damaged_headers_give_objects_of_their_patient_or_a_clear_error(tmp_path: Path) -> None:
    outcomes = _check(range(30), tmp_path)
    assert outcomes["objects"] > 10
    assert outcomes["DicomObjectError"] > 3


@pytest.mark.slow
def test_many_damaged_headers_give_objects_of_their_patient_or_a_clear_error(tmp_path: Path) -> None:
    _check(range(30, 6_000), tmp_path)
