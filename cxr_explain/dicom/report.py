"""The structured report: probabilities, operating points, reference labels and regions (PS3.16 TID 1500).

"Qualitative Evaluations" has an item for each pathology that the model predicts, best first, with all values,
and why it has no region where it has none. "Imaging Measurements" has a group for each outline, with the
values that a viewer shows beside it. Predictions without a region are no measurement groups (TID 1501): the
OHIF viewer (3.12) shows nothing of a report in which a group has no coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ComprehensiveSR,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    LanguageOfContentItemAndDescendants,
    NumContentItem,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    TextContentItem,
    UIDRefContentItem,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from cxr_explain.dicom.algorithm import algorithm, device_observer
from cxr_explain.dicom.codes import CHEST_RADIOGRAPHY, VIEWS, coding_scheme, plain, private_code
from cxr_explain.dicom.content import ObjectContent
from cxr_explain.dicom.findings import ReportedPathology
from cxr_explain.explaining.ranking import Prediction
from cxr_explain.figures.texts import DISCLAIMER, operating_point_text, phantom_texts
from cxr_explain.radiograph import PHANTOM_WARNING

QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
STATEMENT = private_code("STATEMENT-OF-USE", "Statement of use")
LABEL_SOURCE = private_code("LABEL-SOURCE", "Source of the reference labels")
_ENGLISH = CodedConcept("en", "RFC5646", "English")
_WITHOUT_REGIONS = private_code("PREDICTIONS", "Predictions without a region")
_PIXELS = Code("{pixels}", "UCUM", "Pixels")
_MODALITIES = {"CR": codes.cid29.ComputedRadiography, "DX": codes.cid29.DigitalRadiography}

_CONTAINS = RelationshipTypeValues.CONTAINS
_CONTEXT = RelationshipTypeValues.HAS_ACQ_CONTEXT


def report(content: ObjectContent) -> Dataset:
    """The report, a Comprehensive SR (PS3.3 A.35.3), neither verified nor final.

    Args:
        content: what it is made from.
    """
    document = ComprehensiveSR(
        evidence=[content.source.dataset],
        content=_tree(content),
        is_complete=True,
        **content.common("report"),
    )
    document.CodingSchemeIdentificationSequence = [coding_scheme()]
    return document


def _tree(content: ObjectContent) -> ContainerContentItem:
    """The root and all below it; what TID 1500 has, in its order."""
    findings = [ReportedPathology(content, prediction) for prediction in _best_first(content)]
    groups = [item for finding in findings for group in finding.groups() for item in group]
    title = codes.cid7021.ImagingMeasurementReport if groups else _WITHOUT_REGIONS
    observer = ObserverContext(codes.DCM.Device, device_observer(content))
    items = ContentSequence()
    items.extend(LanguageOfContentItemAndDescendants(_ENGLISH))
    items.extend(ObservationContext(observer_device_context=observer))
    items.append(
        CodeContentItem(
            codes.DCM.ProcedureReported, CHEST_RADIOGRAPHY, RelationshipTypeValues.HAS_CONCEPT_MOD
        )
    )
    items.append(_image_library(content))
    if groups:
        items.append(_container(codes.DCM.ImagingMeasurements, groups))
    said = [*_statements(content), *(finding.evaluation() for finding in findings)]
    items.append(_container(QUALITATIVE_EVALUATIONS, [*algorithm(content), *said]))
    root = ContainerContentItem(title, is_content_continuous=False, template_id="1500")
    root.ContentSequence = items
    return root


def _best_first(content: ObjectContent) -> tuple[Prediction, ...]:
    ranking = content.explanation.ranking
    others = [each for each in ranking.predictions if each.pathology not in ranking.pathologies]
    return (*ranking.top, *sorted(others, key=lambda each: (-each.probability, -each.logit)))


def _container(name: Code, items: Sequence[ContentItem]) -> ContainerContentItem:
    container = ContainerContentItem(name, is_content_continuous=False, relationship_type=_CONTAINS)
    container.ContentSequence = ContentSequence(list(items))
    return container


def _statements(content: ObjectContent) -> Iterator[TextContentItem]:
    """What a reader must know first, and what else the explanation notes."""
    explanation = content.explanation
    made = explanation.provenance
    yield TextContentItem(STATEMENT, plain(DISCLAIMER), _CONTAINS)
    notes = (
        *phantom_texts(int(made.phantom), 1, phantom_only=made.phantom_only),
        f"Operating point: {operating_point_text(made.tuning)}.",
        *(warning for warning in made.warnings if warning != PHANTOM_WARNING),
        *explanation.ranking.notes,
        *made.notes,
    )
    for note in dict.fromkeys(map(plain, notes)):
        if note:
            yield TextContentItem(codes.DCM.Comment, note, _CONTAINS)
    labels = content.labels
    is_shown = labels.states and not content.source.is_deidentified
    if is_shown and "/" not in plain(labels.source):
        yield TextContentItem(LABEL_SOURCE, plain(labels.source) or "unknown", _CONTAINS)


def _image_library(content: ObjectContent) -> ContainerContentItem:
    """The radiograph, with what its header says of it and nothing else (PS3.16 TID 1600)."""
    source = content.source.dataset
    image = ImageContentItem(
        Code("260753009", "SCT", "Source"),
        source.SOPClassUID,
        source.SOPInstanceUID,
        referenced_frame_numbers=_frames(content),
        relationship_type=_CONTAINS,
    )
    image.ContentSequence = ContentSequence(list(_descriptors(source)))
    return _container(codes.DCM.ImageLibrary, [_container(codes.DCM.ImageLibraryGroup, [image])])


def _descriptors(source: Dataset) -> Iterator[ContentItem]:
    modality = _MODALITIES.get(str(source.get("Modality", "")))
    if modality is not None:
        yield CodeContentItem(codes.DCM.Modality, modality, _CONTEXT)
    view = VIEWS.get(str(source.get("ViewPosition", "")))
    if view is not None:
        yield CodeContentItem(codes.DCM.ImageView, view, _CONTEXT)
    if source.get("FrameOfReferenceUID"):
        yield UIDRefContentItem(codes.DCM.FrameOfReferenceUID, source.FrameOfReferenceUID, _CONTEXT)
    for name, keyword in ((codes.DCM.PixelDataRows, "Rows"), (codes.DCM.PixelDataColumns, "Columns")):
        yield NumContentItem(name, int(source[keyword].value), _PIXELS, relationship_type=_CONTEXT)
    orientation = source.get("PatientOrientation") or ()
    names = (codes.DCM.PatientOrientationRow, codes.DCM.PatientOrientationColumn)
    if len(orientation) == len(names):
        for name, direction in zip(names, orientation, strict=True):
            yield TextContentItem(name, direction, _CONTEXT)


def _frames(content: ObjectContent) -> list[int] | None:
    frame = content.radiograph.frame
    return None if frame is None else [frame + 1]
