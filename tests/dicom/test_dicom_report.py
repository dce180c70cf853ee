"""The structured report: what is written is what is read back, and other programs read it, too."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from diagonal import diagonal
from dicom_sources import changed, explained, explainer, objects_of, phantom_file
from dicom_tools import dciodvfy_errors, needs_dciodvfy, needs_dcmtk
from pydicom import Dataset
from pydicom.sr.codedict import codes
from skimage.draw import polygon2mask
from skimage.measure import label

import cxr_explain as cxr
from cxr_explain.dicom import findings
from cxr_explain.dicom.codes import LABEL_STATES, REGION_STATES, SIDES, pathology_code
from cxr_explain.dicom.identifiers import uid_of
from cxr_explain.dicom.objects import dicom_objects
from cxr_explain.dicom.regions import evidence_regions
from cxr_explain.dicom.source import Source
from cxr_explain.loaders.read import read_radiograph
from cxr_explain.pathologies import LabelState

WHEN = datetime(2020, 1, 2, 3, 4, 5)
LABELS = "Effusion|Edema=negative|Mass=uncertain"


@pytest.fixture(scope="module")
def explanation(tmp_path_factory: pytest.TempPathFactory) -> cxr.Explanation:
    return explained(tmp_path_factory.mktemp("explained"), phantom_file(), top_k=5)[0]


@pytest.fixture(scope="module")
def dataset(explanation: cxr.Explanation) -> Dataset:
    return report_of(explanation)


def report_of(explanation: cxr.Explanation, labels: str | None = LABELS, **options) -> Dataset:  # type: ignore[no-untyped-def]
    """The report of an explanation of the phantom's file, through bytes as a PACS has them."""
    made = dicom_objects(explanation, phantom_file(), labels, kinds=("report",), **options)
    assert not made.not_made, str(made.not_made)
    return pydicom.dcmread(pydicom.filebase.DicomBytesIO(made["report"].to_bytes()))


def tree(dataset: Dataset) -> hd.sr.MeasurementReport:
    root = Dataset()
    for keyword in ("ValueType", "ConceptNameCodeSequence", "ContentTemplateSequence", "ContentSequence"):
        root[keyword] = dataset[keyword]
    root.ContinuityOfContent = dataset.ContinuityOfContent
    return hd.sr.MeasurementReport.from_sequence([root])


def items(parent: Dataset, name: str) -> list[Dataset]:
    """The children whose concept has a meaning."""
    return [each for each in parent.ContentSequence if each.ConceptNameCodeSequence[0].CodeMeaning == name]


def evaluations(dataset: Dataset) -> dict[str, Dataset]:
    """The item of each prediction by the name of the model's output, in the report's order."""
    (container,) = items(dataset, "Qualitative Evaluations")
    found = [each for each in container.ContentSequence if "ContentSequence" in each]
    return {items(each, "Name of the model's output")[0].TextValue: each for each in found}


def number(parent: Dataset, name: str) -> float | None:
    found = items(parent, name)
    return float(found[0].MeasuredValueSequence[0].NumericValue) if found else None


def meaning(parent: Dataset, name: str) -> str | None:
    found = items(parent, name)
    return found[0].ConceptCodeSequence[0].CodeMeaning if found else None


def texts(dataset: Dataset) -> Iterator[str]:
    """Every value in a data set, nested ones too."""
    for element in dataset.iterall():
        if element.VR != "SQ":
            yield str(element.value)


def test_every_prediction_is_there_with_its_values(explanation: cxr.Explanation, dataset: Dataset) -> None:
    found = evaluations(dataset)
    ranking = explanation.ranking
    assert set(found) == {each.pathology for each in ranking.predictions}
    assert tuple(found)[: ranking.k] == ranking.pathologies
    for name, item in found.items():
        said = ranking[name]
        code = item.ConceptNameCodeSequence[0]
        assert (code.CodeValue, code.CodingSchemeDesignator) == tuple(pathology_code(name))[:2]
        assert number(item, "Probability") == pytest.approx(100 * said.probability, rel=1e-5)
        assert number(item, "Operating point") == pytest.approx(100 * said.operating_point, rel=1e-5)
        assert number(item, "Calibrated value") == pytest.approx(said.calibrated, rel=1e-5)
        assert item.ConceptCodeSequence[0].CodeMeaning == SIDES[said.above].meaning


def test_what_is_nearly_certain_is_not_certain(explanation: cxr.Explanation, dataset: Dataset) -> None:
    (nearly,) = (each for each in explanation.ranking.top if each.probability > 0.9999)
    assert 99.99 < number(evaluations(dataset)[nearly.pathology], "Probability") < 100


def test_reference_labels_in_every_state(explanation: cxr.Explanation) -> None:
    names = [each.pathology for each in explanation.ranking.predictions]
    states = dict(zip(names, LabelState, strict=False))
    labels = cxr.ReferenceLabels(states, source="the table of a reader")
    dataset = report_of(explanation, labels)  # type: ignore[arg-type]
    found = {name: meaning(item, "Reference label") for name, item in evaluations(dataset).items()}
    for name in names:
        assert found[name] == LABEL_STATES[states.get(name, LabelState.NOT_LABELLED)].meaning
    (container,) = items(dataset, "Qualitative Evaluations")
    assert items(container, "Source of the reference labels")[0].TextValue == "the table of a reader"
    assert not any("truth" in text.lower() for text in texts(dataset))


def test_without_labels_none_is_told(explanation: cxr.Explanation) -> None:
    dataset = report_of(explanation, None)
    assert {meaning(item, "Reference label") for item in evaluations(dataset).values()} == {None}
    assert not any("reference label" in text.lower() for text in texts(dataset))


def test_groups_read_back_by_highdicom(explanation: cxr.Explanation, dataset: Dataset) -> None:
    read = hd.sr.srread(pydicom.filebase.DicomBytesIO(as_bytes(dataset)))
    assert isinstance(read, hd.sr.ComprehensiveSR)
    report = tree(dataset)
    groups = report.get_planar_roi_measurement_groups()
    regions = evidence_regions(explanation, 0.5)
    assert [group.finding_type for group in groups] == [
        pathology_code(region.pathology)
        for region in regions
        for _ in findings.parts_of(region.outlines, 0.5)
    ]
    assert not report.get_image_measurement_groups()  # TID 1501, which leaves OHIF blank
    assert len({group.tracking_uid for group in groups}) == len(groups)
    source = pydicom.dcmread(pydicom.filebase.DicomBytesIO(phantom_file()), stop_before_pixels=True)
    for group in groups:
        name = group.tracking_identifier.partition(" region")[0]
        said = explanation.ranking[name]
        values = {each.name.meaning: (each.value, each.unit.value) for each in group.get_measurements()}
        wanted = {f"{name} probability": (pytest.approx(100 * said.probability, rel=1e-5), "%")}
        if not group.tracking_identifier.partition(" region")[2].startswith((" 2", " 3")):
            wanted[f"{name} operating point"] = (pytest.approx(100 * said.operating_point, rel=1e-5), "%")
        assert values == wanted
        assert next(iter(values)) == f"{name} probability"  # the first is a viewer's label
        states = {each.name: each.value for each in group.get_qualitative_evaluations()}
        assert states[findings.SIDE] == SIDES[said.above]
        image = group.roi.ContentSequence[0].ReferencedSOPSequence[0]
        assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert "ReferencedFrameNumber" not in image


def as_bytes(dataset: Dataset) -> bytes:
    out = pydicom.filebase.DicomBytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.parent.getvalue()


def test_regions_lie_where_the_masks_do(explanation: cxr.Explanation, dataset: Dataset) -> None:
    """Coordinates are columns and rows from the first pixel's outer corner (PS3.3 C.18.6)."""
    groups = tree(dataset).get_planar_roi_measurement_groups()
    for region in evidence_regions(explanation, 0.5):
        own = [group for group in groups if group.finding_type == pathology_code(region.pathology)]
        shape = tuple(8 * side for side in region.mask.shape)
        drawn = np.zeros(shape, bool)
        for group in own:
            assert group.roi.GraphicType == "POLYLINE"
            line = group.roi.value
            assert (line[0] == line[-1]).all()
            assert len(line) <= 200
            assert (line >= 0).all()
            assert (line <= (region.mask.shape[1], region.mask.shape[0])).all()
            drawn |= polygon2mask(shape, line[:, ::-1] * 8 - 0.5)
        cells = drawn.reshape(region.mask.shape[0], 8, region.mask.shape[1], 8).mean(axis=(1, 3)) > 0.5
        specks = label(region.mask)  # which have no outline
        mask = np.isin(specks, np.unique(specks[cells & region.mask]))
        assert (cells & mask).sum() / (cells | mask).sum() > 0.93
        centre, wanted = (np.argwhere(where).mean(axis=0) for where in (cells, mask))
        assert np.abs(centre - wanted).max() < 0.3


def test_why_there_is_no_region(explanation: cxr.Explanation) -> None:
    names = explanation.ranking.pathologies
    maps = explanation.maps.copy()
    maps[1], maps[2], maps[3] = 0, 0, maps[0] * 0.01
    without = replace(explanation.provenance, without_gradient=(names[2],))
    dataset = report_of(replace(explanation, maps=maps, provenance=without))
    found = {name: meaning(item, "Region of the evidence") for name, item in evaluations(dataset).items()}
    states = {key: code.meaning for key, code in REGION_STATES.items()}
    assert found[names[0]] == states["outlined"]
    assert found[names[1]] == states["nowhere"]
    assert found[names[2]] == states["no gradient"]
    assert found[names[3]] == states["faint"]
    assert {found[name] for name in found if name not in names} == {states["not ranked"]}
    assert [
        items(item, "Rank")[0].TextValue for item in evaluations(dataset).values() if items(item, "Rank")
    ] == [f"{rank} of 5" for rank in range(1, 6)]


def test_a_report_without_any_region(explanation: cxr.Explanation) -> None:
    dataset = report_of(replace(explanation, maps=np.zeros_like(explanation.maps)))
    assert not items(dataset, "Imaging Measurements")
    assert len(evaluations(dataset)) == len(explanation.ranking.predictions)
    assert dataset.ConceptNameCodeSequence[0].CodeMeaning == "Predictions without a region"


def test_holes_are_named_and_the_outer_line_is_kept() -> None:
    outer = np.array([[0, 0], [0, 30], [30, 30], [30, 0], [0, 0.0]])
    hole = outer[::-1] / 3 + 10
    apart = outer / 10 + 50
    assert [(len(line), holes) for line, holes in findings.parts_of((outer, hole, apart), 0.5)] == [
        (5, 1),
        (5, 0),
    ]


def test_a_region_smaller_than_the_tolerance_stays_a_polygon() -> None:
    speck = np.array([[0, 0], [0, 0.2], [0.2, 0.2], [0.2, 0], [0, 0.0]])
    ((line, _),) = findings.parts_of((speck,), 5)
    assert len(line) == len(speck)


def test_algorithm_and_use_are_told(explanation: cxr.Explanation, dataset: Dataset) -> None:
    (container,) = items(dataset, "Qualitative Evaluations")
    said = [each.TextValue for each in items(container, "Algorithm Parameters")]
    made = explanation.provenance
    assert f"weights {made.model}, SHA-256 {made.weights_sha256}" in said
    assert any(text.startswith("K = 5, ranked by") for text in said)
    assert f"radiograph: SHA-256 {made.radiograph_sha256}" in said
    assert items(container, "Algorithm Name")[0].TextValue == f"{made.method}, {made.model}"
    assert items(container, "Algorithm Version")[0].TextValue == f"cxr-explain {made.package_version}"
    assert items(container, "Statement of use")[0].TextValue == "Research use only - not for diagnosis"
    comments = [each.TextValue for each in items(container, "Comment")]
    assert sum("phantom" in text for text in comments) == 2  # the image, and the model
    for group in tree(dataset).get_planar_roi_measurement_groups():
        own = [each.TextValue for each in items(group[0], "Algorithm Parameters")]
        assert own == said[:3]


def test_the_model_is_the_observing_device(explanation: cxr.Explanation, dataset: Dataset) -> None:
    (observer,) = tree(dataset).get_observer_contexts()
    device = observer.observer_identifying_attributes
    made = explanation.provenance
    assert device.name == made.model
    assert device.uid == uid_of("cxr-explain", "device", made.model, made.weights_sha256 or "")
    mine = dataset.ContributingEquipmentSequence[-1]
    assert mine.DeviceUID == device.uid
    assert mine.PurposeOfReferenceCodeSequence[0].CodeValue == codes.DCM.ProcessingEquipment.value
    assert (dataset.VerificationFlag, dataset.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")


def test_private_codes_are_declared(dataset: Dataset) -> None:
    used = {
        element.value
        for element in dataset.iterall()
        if element.keyword == "CodingSchemeDesignator" and element.value.startswith("99")
    }
    declared = {item.CodingSchemeDesignator for item in dataset.CodingSchemeIdentificationSequence}
    assert used == declared == {"99CXREXPLAIN"}


def test_the_same_input_gives_the_same_bytes(explanation: cxr.Explanation) -> None:
    first, second = (as_bytes(report_of(explanation, created=WHEN)) for _ in range(2))
    assert first == second


def test_a_deidentified_source_leaves_no_digest_of_its_file(explanation: cxr.Explanation) -> None:
    def change(header: Dataset) -> None:
        header.PatientName = header.PatientID = "REMOVED"

    source = Source.read(phantom_file(), change=change)
    labels = cxr.ReferenceLabels({"Mass": LabelState.POSITIVE}, source="/home/doe/labels.csv")
    made = dicom_objects(explanation, source, labels, kinds=("report",))
    said = list(texts(made["report"].dataset))
    assert "REMOVED" in said
    assert not any(explanation.provenance.radiograph_sha256 in text or "doe" in text for text in said)


def test_no_path_is_told(explanation: cxr.Explanation) -> None:
    labels = cxr.ReferenceLabels({"Mass": LabelState.POSITIVE}, source=r"C:\users\doe\labels.csv")
    assert not any("doe" in text for text in texts(report_of(explanation, labels)))  # type: ignore[arg-type]


def test_a_frame_of_a_file_with_several(tmp_path: Path) -> None:
    def doubled(header: Dataset) -> None:
        header.NumberOfFrames = 2
        header.PixelData = header.PixelData * 2

    data = changed(phantom_file(size=96), doubled)
    file = tmp_path / "source.dcm"
    file.write_bytes(data)
    explanation = explainer().explain(read_radiograph(file, frame=1), top_k=3)
    made = dicom_objects(explanation, data, kinds=("report",))
    (group, *_) = tree(made["report"].dataset).get_planar_roi_measurement_groups()
    (image,) = group.roi.ContentSequence[0].ReferencedSOPSequence
    assert image.ReferencedFrameNumber == 2


CHANGES: dict[str, Callable[[Dataset], None]] = {
    "as it is": lambda header: None,
    "no orientation": lambda header: delattr(header, "PatientOrientation"),
    "no spacing": lambda header: delattr(header, "ImagerPixelSpacing"),
    "a frame of reference": lambda header: setattr(header, "FrameOfReferenceUID", "2.25.7"),
    "no study date": lambda header: setattr(header, "StudyDate", ""),
    "no view": lambda header: delattr(header, "ViewPosition"),
}


@pytest.mark.parametrize(("change", "photometric"), diagonal(list(CHANGES), ["MONOCHROME1", "MONOCHROME2"]))
@pytest.mark.dicom3tools
@needs_dciodvfy[1]
def test_dciodvfy_finds_no_error(tmp_path: Path, photometric, change) -> None:  # type: ignore[no-untyped-def]
    data = changed(phantom_file(size=96, photometric=photometric), CHANGES[change])
    made = objects_of(tmp_path, data, top_k=1, labels=LABELS, kinds=("report",))
    assert dciodvfy_errors(made.save(tmp_path)[0]) == []


@pytest.mark.dcmtk
@needs_dcmtk[1]
def test_dcmtk_reads_the_tree(tmp_path: Path, dataset: Dataset) -> None:
    file = tmp_path / "report.dcm"
    file.write_bytes(as_bytes(dataset))
    dumped = subprocess.run(["dsrdump", "+Pl", file], capture_output=True, check=True, text=True).stdout
    assert '"Effusion probability")="99.99' in dumped
    assert '"Research use only - not for diagnosis"' in dumped
    document = json.loads(subprocess.run(["dcm2json", file], capture_output=True, check=True).stdout)
    assert document["0040A730"]["vr"] == "SQ"


def test_no_warning_quotes_the_name_of_a_patient(
    explanation: cxr.Explanation, recwarn: pytest.WarningsRecorder
) -> None:
    def change(header: Dataset) -> None:
        header.PatientName = "SOLE"  # without a family name's separator, which highdicom warns of

    source = Source.read(phantom_file(), change=change)
    assert not dicom_objects(explanation, source, kinds=("report", "overlay")).not_made
    assert not any("SOLE" in str(each.message) for each in recwarn)


def test_highdicom_still_refuses_a_parametric_map_of_a_planar_radiograph() -> None:
    """The page on DICOM objects says so; where this fails, a further kind of object can be made."""
    source = pydicom.dcmread(pydicom.filebase.DicomBytesIO(phantom_file(size=96)))
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="map",
        lut_explanation="class map",
        unit=codes.UCUM.NoUnits,
        value_range=[0.0, 1.0],
        slope=1,
        intercept=0,
        quantity_definition=codes.cid7180.ClassActivation,
    )
    transformation = hd.VOILUTTransformation(window_center=0.5, window_width=1)
    with pytest.raises(RuntimeError, match="mismatch between dimension index values"):
        hd.pm.ParametricMap(
            [source],
            np.zeros((96, 96), np.float32),
            uid_of("series"),
            1,
            uid_of("instance"),
            1,
            "maker",
            "model",
            "1",
            "serial",
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[mapping],
            voi_lut_transformations=[transformation],
        )
