"""Every kind of object from every kind of source: dciodvfy finds no error, and other programs read it."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import highdicom
import pydicom
import pytest
from dicom_sources import changed, explainer, phantom_file
from dicom_tools import dciodvfy_errors, needs_dciodvfy, needs_dcmtk
from pydicom import Dataset, uid

import cxr_explain as cxr
from cxr_explain.dicom.kinds import OBJECT_KINDS
from cxr_explain.dicom.objects import DicomObjects, dicom_objects
from cxr_explain.explaining.ranking import Ranking
from cxr_explain.loaders import read_radiograph

SIZE = 96
HALVES = (("overlay", "report"), ("segmentation", "presentation"))
COSTLY = ("figure", "pdf")
"""Kinds that draw the record figure, which knows nothing of the header: from one source by default."""
OF_DX_ALONE = (
    *("ImageLaterality", "PresentationIntentType", "DetectorType", "PositionerType", "ViewCodeSequence"),
    *("PixelIntensityRelationship", "PixelIntensityRelationshipSign", "AnatomicRegionSequence"),
    *("PresentationLUTShape", "AcquisitionContextSequence"),
)

FACTORS: Mapping[str, Sequence[str]] = {
    "class": ("DX", "CR", "SC"),
    "photometric": ("MONOCHROME2", "MONOCHROME1"),
    "orientation": ("L\\F", "A\\F", "none"),
    "spacing": ("ImagerPixelSpacing", "PixelSpacing", "NominalScannedPixelSpacing", "none"),
    "frame of reference": ("given", "none"),
    "study date": ("given", "none"),
    "laterality": ("L", "R", "U", "none"),
    "body part": ("CHEST", "LUNG", "none"),
    "kinds": tuple(map(" ".join, HALVES)),
}


def pairwise(factors: Mapping[str, Sequence[str]]) -> Iterator[dict[str, str]]:
    """Choices of which every two values of two factors meet in one, found greedily."""
    names = list(factors)
    pairs = {
        ((a, x), (b, y)) for a, b in itertools.combinations(names, 2) for x in factors[a] for y in factors[b]
    }
    choices = [
        frozenset(itertools.combinations(zip(names, values, strict=True), 2))
        for values in itertools.product(*factors.values())
    ]
    while pairs:
        best = max(choices, key=lambda choice: len(pairs & choice))
        pairs -= best
        chosen = {name: value for pair in best for name, value in pair}
        yield {name: chosen[name] for name in names}


def source_of(choice: Mapping[str, str]) -> bytes:
    """A phantom's file as a choice says."""

    def change(header: Dataset) -> None:
        spacing = header.ImagerPixelSpacing
        header.SOPInstanceUID = uid.generate_uid("2.25.", [str(sorted(choice.items()))])
        if choice["class"] != "DX":
            for keyword in OF_DX_ALONE:
                header.pop(keyword, None)
            header.Modality = {"CR": "CR", "SC": "OT"}[choice["class"]]
            header.SOPClassUID = {
                "CR": uid.ComputedRadiographyImageStorage,
                "SC": uid.SecondaryCaptureImageStorage,
            }[choice["class"]]
        for keyword, value in (
            ("ImageLaterality" if choice["class"] == "DX" else "Laterality", choice["laterality"]),
            ("PatientOrientation", choice["orientation"]),
            ("BodyPartExamined", choice["body part"]),
        ):
            header.pop(keyword, None)
            if value != "none":
                setattr(header, keyword, value)
        header.pop("ImagerPixelSpacing")
        if choice["spacing"] != "none":
            setattr(header, choice["spacing"], spacing)
        if choice["frame of reference"] == "given":
            header.FrameOfReferenceUID, header.PositionReferenceIndicator = "1.2.3.4", ""
        if choice["study date"] == "none":
            header.StudyDate = header.StudyTime = ""

    return changed(phantom_file(size=SIZE, photometric=choice["photometric"]), change)


@cache
def explanation(top_k: int = 3) -> cxr.Explanation:
    """Of the phantom's pixels, which all sources here have."""
    drawn = cxr.phantom.to_radiograph(cxr.phantom.render(PATIENT, size=SIZE))
    return explainer().explain(drawn, top_k=top_k)


PATIENT = cxr.phantom.sample_patient(42)
ALL = tuple(OBJECT_KINDS)
CHEAP = tuple(kind for kind in ALL if kind not in COSTLY)


@dataclass(frozen=True)
class Made:
    """The objects of a source, and what may be missing."""

    objects: DicomObjects
    files: list[Path]


def objects_of(
    folder: Path,
    data: bytes,
    kinds: tuple[str, ...] = ALL,
    frame: int | None = None,
    explained: cxr.Explanation | None = None,
) -> Made:
    """The objects of a file that has the phantom's pixels, without asking the model again."""
    explained = explained or explanation()
    file = folder / "source.dcm"
    file.write_bytes(data)
    radiograph = read_radiograph(file, frame=frame)
    known = replace(
        explained.provenance,
        radiograph_sha256=radiograph.sha256,
        steps=radiograph.steps,
        laterality=radiograph.laterality,
        patient_orientation=radiograph.patient_orientation,
    )
    own = replace(explained, provenance=known, radiograph=radiograph, id=radiograph.id)
    made = dicom_objects(own, file, kinds=kinds)
    assert not made.not_made, {kind: str(error) for kind, error in made.not_made.items()}
    assert [each.kind for each in made] == list(kinds)
    return Made(made, made.save(folder / "objects"))


def errors_in(files: list[Path]) -> dict[str, list[str]]:
    found = {file.stem: dciodvfy_errors(file) for file in files}
    return {name: errors for name, errors in found.items() if errors}


CHOICES = list(pairwise(FACTORS))


def _name(choice: Mapping[str, str]) -> str:
    return "-".join(value for factor, value in choice.items() if factor != "kinds").replace("\\", "")


class TestEverySource:
    pytestmark = needs_dciodvfy

    @pytest.mark.parametrize(
        ("choice", "kinds"),
        [
            *(
                pytest.param(
                    choice,
                    kinds,
                    id=f"{_name(choice)}-{' '.join(kinds)}",
                    marks=() if choice["kinds"] == " ".join(kinds) else pytest.mark.slow,
                )
                for choice in CHOICES
                for kinds in HALVES
            ),
            pytest.param(CHOICES[0], COSTLY, id="drawn"),
            *(
                pytest.param(choice, COSTLY, id=f"drawn-{_name(choice)}", marks=pytest.mark.slow)
                for choice in CHOICES[1:]
            ),
        ],
    )
    def test_dciodvfy_finds_no_error(
        self, tmp_path: Path, choice: dict[str, str], kinds: tuple[str, ...]
    ) -> None:
        made = objects_of(tmp_path, source_of(choice), kinds, explained=explanation(top_k=1))
        assert errors_in(made.files) == {}
        source = pydicom.dcmread(tmp_path / "source.dcm")
        for file in made.files:
            written = pydicom.dcmread(file)
            for keyword in ("PatientOrientation", "Laterality", "ImageLaterality"):  # as it is, never guessed
                assert (
                    keyword not in written
                    or written[keyword].is_empty
                    or (written[keyword].value == source[keyword].value)
                ), (file.name, keyword)

    @pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEG2000Lossless, uid.ExplicitVRBigEndian])
    def test_the_transfer_syntax_of_the_source_does_not_matter(self, tmp_path: Path, syntax: uid.UID) -> None:
        data = in_syntax(phantom_file(size=SIZE), syntax)
        assert errors_in(objects_of(tmp_path, data, CHEAP).files) == {}

    def test_one_frame_of_a_multi_frame_secondary_capture(self, tmp_path: Path) -> None:
        made = objects_of(tmp_path, changed(phantom_file(size=SIZE), _three_frames), CHEAP, frame=1)
        assert errors_in(made.files) == {}
        referred = [
            item.ReferencedFrameNumber
            for each in made.objects
            for item in _references_to(each.dataset, "1.2.3")
            if "ReferencedFrameNumber" in item
        ]
        assert set(referred) == {2}

    @pytest.mark.parametrize(
        "terms", ["ISO_IR 100", "\\ISO 2022 IR 87", "\\ISO 2022 IR 149", "GB18030", "ISO_IR 192"]
    )
    def test_the_character_set_of_the_source_stays(self, tmp_path: Path, terms: str) -> None:
        names = {
            "ISO_IR 100": "M\xfcller^J\xf6rg",
            "\\ISO 2022 IR 149": "Hong^Gildong=\u6d2a^\u5409\u6d1e=\ud64d^\uae38\ub3d9",
        }
        name = names.get(terms, "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce")

        def change(header: Dataset) -> None:
            header.SpecificCharacterSet, header.PatientName = terms.split("\\"), name

        made = objects_of(tmp_path, changed(phantom_file(size=SIZE), change), CHEAP)
        assert errors_in(made.files) == {}
        for file in made.files:
            assert pydicom.dcmread(file).PatientName == name

    @pytest.mark.parametrize(
        ("terms", "name", "declared"),
        [
            (None, "A^B", "ISO_IR 192"),
            ("ISO_IR 100", "M\xfcller^J\xf6rg", "ISO_IR 192"),
            ("GB18030", "\u738b^\u4e94", "GB18030"),
        ],
    )
    def test_a_pathology_keeps_its_letters(
        self, tmp_path: Path, terms: str | None, name: str, declared: str
    ) -> None:
        def change(header: Dataset) -> None:
            header.SpecificCharacterSet, header.PatientName = terms, name

        own = "\u80ba\u708e"
        with_own_name = replace(explanation(), ranking=_renamed(explanation().ranking, own))
        made = objects_of(tmp_path, changed(phantom_file(size=SIZE), change), SAYING, explained=with_own_name)
        assert errors_in(made.files) == {}
        for file in made.files:
            written = pydicom.dcmread(file)
            said = {str(each.value) for each in written.iterall() if each.keyword in _NAMING}
            assert any(own in text for text in said), file.name
            assert (written.SpecificCharacterSet, written.PatientName) == (declared, name)

    def test_modules_that_few_sources_have(self, tmp_path: Path) -> None:
        made = objects_of(tmp_path, changed(phantom_file(size=SIZE), _much_of_the_patient), CHEAP)
        assert made.objects.notes == ()
        assert errors_in(made.files) == {}


SAYING = ("report", "segmentation", "presentation")
_NAMING = ("CodeMeaning", "SegmentLabel", "UnformattedTextValue")


def _renamed(ranking: Ranking, name: str) -> Ranking:
    """A ranking whose first pathology has another name."""
    first = ranking.top[0]
    return replace(
        ranking,
        top=(replace(first, pathology=name), *ranking.top[1:]),
        predictions=tuple(
            replace(each, pathology=name) if each.pathology == first.pathology else each
            for each in ranking.predictions
        ),
    )


def in_syntax(data: bytes, syntax: uid.UID) -> bytes:
    """A file of 16-bit pixels in another transfer syntax."""
    header, out = pydicom.dcmread(io.BytesIO(data)), io.BytesIO()
    if syntax.is_compressed:
        header.compress(syntax, generate_instance_uid=False)
        header.save_as(out)
    else:
        header.PixelData = header.pixel_array.byteswap().tobytes()
        header.file_meta.TransferSyntaxUID = syntax
        pydicom.dcmwrite(out, header, implicit_vr=False, little_endian=False)
    return out.getvalue()


def _three_frames(header: Dataset) -> None:
    for keyword in OF_DX_ALONE:
        header.pop(keyword, None)
    header.Modality, header.ConversionType = "OT", "DI"
    header.SOPClassUID = uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    header.SOPInstanceUID = "1.2.3"
    header.NumberOfFrames, header.FrameIncrementPointer = 3, 0x00181063
    header.FrameTime = "1"
    header.PixelData = 3 * header.PixelData


def _much_of_the_patient(header: Dataset) -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99LOCAL", "Chest radiograph"
    issuer, referred, other, request = Dataset(), Dataset(), Dataset(), Dataset()
    issuer.UniversalEntityID, issuer.UniversalEntityIDType = "1.2.3", "ISO"
    referred.ReferencedSOPClassUID, referred.ReferencedSOPInstanceUID = "1.2.840.10008.3.1.2.3.1", "1.2.3"
    other.PatientID, other.TypeOfPatientID, other.IssuerOfPatientID = "0816", "TEXT", "elsewhere"
    request.RequestedProcedureID, request.ScheduledProcedureStepID = "1", "2"
    for keyword, value in {
        "TimezoneOffsetFromUTC": "+0100",
        "IssuerOfPatientID": "here",
        "IssuerOfPatientIDQualifiersSequence": [issuer],
        "TypeOfPatientID": "TEXT",
        "PatientBirthDate": "19500229"[:6] + "28",
        "PatientBirthTime": "1200",
        "QualityControlSubject": "YES",
        "OtherPatientIDsSequence": [other],
        "OtherPatientNames": ["A^B", "C^D"],
        "EthnicGroup": "none",
        "PatientIdentityRemoved": "YES",
        "DeidentificationMethodCodeSequence": [code],
        "AccessionNumber": "1",
        "IssuerOfAccessionNumberSequence": [issuer],
        "ConsultingPhysicianName": "A^B",
        "PhysiciansOfRecord": ["A^B", "C^D"],
        "NameOfPhysiciansReadingStudy": "A^B",
        "RequestingService": "service",
        "ReferencedStudySequence": [referred],
        "ProcedureCodeSequence": [code, code],
        "ReasonForPerformedProcedureCodeSequence": [code],
        "AdmittingDiagnosesDescription": ["cough", "fever"],
        "AdmittingDiagnosesCodeSequence": [code],
        "PatientSize": "1.8",
        "PatientWeight": "80",
        "MedicalAlerts": "none",
        "Allergies": "none",
        "SmokingStatus": "NO",
        "PregnancyStatus": 1,
        "LastMenstrualDate": "20000101",
        "PatientState": "well",
        "AdditionalPatientHistory": "none",
        "Occupation": "engineer",
        "AdmissionID": "1",
        "IssuerOfAdmissionIDSequence": [issuer],
        "ServiceEpisodeID": "1",
        "ServiceEpisodeDescription": "episode",
        "ClinicalTrialSponsorName": "Sponsor",
        "ClinicalTrialProtocolID": "Protocol",
        "ClinicalTrialSubjectID": "Subject",
        "ClinicalTrialTimePointDescription": "later",
        "RequestAttributesSequence": [request],
        "LongitudinalTemporalInformationModified": "UNMODIFIED",
    }.items():
        setattr(header, keyword, value)


def _references_to(dataset: Dataset, instance: str) -> Iterator[Dataset]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                if item.get("ReferencedSOPInstanceUID") == instance:
                    yield item
                yield from _references_to(item, instance)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return objects_of(tmp_path_factory.mktemp("made"), phantom_file(size=SIZE))


def test_pydicom_reads_back_what_was_made(made: Made) -> None:
    for each, file in zip(made.objects, made.files, strict=True):
        written = pydicom.dcmread(file)
        assert written.file_meta.MediaStorageSOPInstanceUID == written.SOPInstanceUID == each.uid
        read, meant = _values(written), _values(each.dataset)
        assert read.keys() == meant.keys()
        for tag, value in meant.items():
            assert read[tag] == (pytest.approx(value, rel=1e-6) if isinstance(value, list) else value), tag


def _values(dataset: Dataset) -> dict[str, object]:
    """Every value by its place; decimals as a list."""
    found = dict[str, object]()
    for element in dataset:
        if element.VR == "SQ":
            found |= {
                f"{element.tag} {number} {tag}": value
                for number, item in enumerate(element.value)
                for tag, value in _values(item).items()
            }
        elif element.VR in ("DS", "FL") and not element.is_empty:
            values = [element.value] if element.VM == 1 else element.value
            found[str(element.tag)] = [float(value) for value in values]
        else:
            found[str(element.tag)] = "" if element.is_empty else str(element.value)
    return found


def test_highdicom_reads_back_what_is_its_own(made: Made) -> None:
    by_kind = {file.stem: file for file in made.files}
    for kind in ("figure", "overlay"):
        image = highdicom.imread(by_kind[kind])
        assert image.get_frame(1, apply_icc_profile=False).shape[-1] == 3
    segmentation = highdicom.seg.segread(by_kind["segmentation"])
    report = highdicom.sr.srread(by_kind["report"])
    assert 1 <= segmentation.number_of_segments <= len(explanation().ranking.pathologies)
    assert len(report.content.get_planar_roi_measurement_groups()) >= segmentation.number_of_segments


class TestWithDcmtk:
    pytestmark = needs_dcmtk

    def test_dcm2json_reads_every_object_to_the_same_identity(self, made: Made) -> None:
        documents = [json.loads(_output("dcm2json", file)) for file in made.files]
        patients = {
            json.dumps([each.get(tag) for tag in ("00100010", "00100020", "0020000D")]) for each in documents
        }
        assert len(documents) == len(ALL)
        assert len(patients) == 1
        assert f"COMPUTED-{PATIENT.seed:06d}" in patients.pop()

    def test_dsrdump_reads_the_report(self, made: Made) -> None:
        file = next(file for file in made.files if file.stem == "report")
        text = _output("dsrdump", file).decode()
        for pathology in explanation().ranking.pathologies:
            assert pathology.replace("_", " ").lower() in text.lower()


def _output(program: str, file: Path) -> bytes:
    run = subprocess.run([program, str(file)], capture_output=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr.decode(errors="replace")
    return run.stdout
