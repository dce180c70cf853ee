"""Segmentation: a segment for each pathology, where its fused map reaches the threshold (PS3.3 A.51).

The segments are binary: a pixel reaches a share of the map's own peak or does not. A fractional segmentation
would have to call the map's values a probability or an occupancy (PS3.3 C.8.20.2), and they are neither: they
are relative within one image.

A radiograph is a projection and lies nowhere in the patient's coordinates. The planes say no more than that
each frame is the radiograph, pixel for pixel: the first pixel at the origin, rows and columns along the axes,
in no frame of reference, not even the source's. Viewers lay a segmentation over its image by them; OHIF 3.12
stops without them. A projection has no slice thickness either, without which highdicom 0.28 does not read
pixel measures: it is a nominal 1 mm, so that what a program takes for a volume is the area.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from pydicom import Dataset
from pydicom.pixels.utils import pack_bits
from pydicom.sr.codedict import codes
from pydicom.uid import SecondaryCaptureImageStorage
from pydicom.valuerep import format_number_as_ds

from cxr_explain.dicom.codes import PRIVATE_SCHEME, coding_scheme, pathology_code, plain
from cxr_explain.dicom.content import MANUFACTURER, ObjectContent
from cxr_explain.dicom.derivation import add_body_part, derivation_of
from cxr_explain.dicom.regions import EvidenceRegion
from cxr_explain.errors import DicomObjectError
from cxr_explain.pathologies import readable

LABEL = "RESEARCH ONLY"
"""The content label: a code string of at most 16 signs (PS3.3 C.8.20.2)."""

NO_SPACING = "The radiograph says no pixel spacing: distances are unknown"
"""What the Pixel Measures of a source without spacing say: a number would be made up, and a ruler read it."""

NOMINAL_THICKNESS = 1
"""Slice thickness in mm, of which a projection has none."""

_NO_PLACE = ("FrameOfReferenceUID", "PositionReferenceIndicator", "NumberOfFrames")
_LONGEST = 64  # letters of a long string (PS3.5 table 6.2-1)


def segmentation(content: ObjectContent) -> Dataset:
    """The regions of evidence as pixels of the radiograph.

    Args:
        content: what the object is made from.

    Raises:
        DicomObjectError: no pathology has a region.
    """
    if not content.regions:
        raise DicomObjectError(
            "no region of evidence for a SegmentSequence",
            expected="a pathology whose map has evidence within the radiograph",
        )
    made = Segmentation(
        source_images=[_without(content.source.dataset, _NO_PLACE)],
        pixel_array=np.stack([region.mask for region in content.regions], axis=-1)[np.newaxis],
        segmentation_type="BINARY",
        segment_descriptions=[
            _segment(content, number, region) for number, region in enumerate(content.regions, 1)
        ],
        content_label=LABEL,
        content_description=f"{_rule(content)}. Research use only.",
        **content.common("segmentation"),
    )
    made.PixelData = _pixels(content.regions)
    _describe(made, content)
    _place(made, content.radiograph.pixel_spacing)
    return made


def _pixels(regions: tuple[EvidenceRegion, ...]) -> bytes:
    """Frames bit after bit, then zeros (PS3.5 8.1.1 and 8.2).

    highdicom 0.28 ends an odd number of bytes with the digit 0, and packs frames of less than a byte wrongly.
    """
    return pack_bits(np.stack([region.mask for region in regions]).astype(np.uint8))


def _rule(content: ObjectContent) -> str:
    return f"Fused map at {100 * content.settings.threshold:.4g} % of the peak or more"


def _segment(content: ObjectContent, number: int, region: EvidenceRegion) -> SegmentDescription:
    name = _name(region.pathology)
    segment = SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=pathology_code(region.pathology),
        algorithm_type="AUTOMATIC",
        algorithm_identification=_algorithm(content),
        tracking_id=f"{name}, region of the evidence",
        tracking_uid=content.uid("region", region.pathology),
        display_color=CIELabColor.from_string(region.style.colour),
    )
    where = f"where the evidence for {name} is, not the outline of a finding"
    segment.SegmentDescription = f"{_rule(content)}: {where}. Research use only."
    return segment


def _name(pathology: str) -> str:
    """A pathology as a long string may have it (PS3.5 6.2).

    >>> _name("Pleural_Thickening"), len(_name("a" * 99))
    ('Pleural Thickening', 64)
    """
    return plain(readable(pathology))[:_LONGEST].strip() or "unnamed"


def _algorithm(content: ObjectContent) -> AlgorithmIdentificationSequence:
    known = content.explanation.provenance
    return AlgorithmIdentificationSequence(
        name=plain(f"{known.method}, {known.model}")[:_LONGEST],
        family=codes.cid7162.ArtificialIntelligence,
        version=plain(f"cxr-explain {known.package_version}")[:_LONGEST],
        source=MANUFACTURER,
        parameters={
            "K": str(content.explanation.ranking.k),
            "threshold": repr(content.settings.threshold),
            "weights SHA-256": known.weights_sha256 or "unknown",
        },
    )


def _describe(made: Segmentation, content: ObjectContent) -> None:
    """Put in what highdicom does not take, or makes anew each time."""
    source = content.source.dataset
    nominal = "A projection, not a slice: any slice thickness is nominal"
    made.DerivationDescription = plain(f"{derivation_of(content)}. {_rule(content)}. {nominal}.")
    made.PatientOrientation = source.get("PatientOrientation") or ""  # type 2C: empty where it is unknown
    add_body_part(made, source)
    for organised in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        organised.DimensionOrganizationUID = content.uid("dimensions")
    types = [each.SegmentedPropertyTypeCodeSequence[0] for each in made.SegmentSequence]
    if any(each.CodingSchemeDesignator == PRIVATE_SCHEME for each in types):
        made.CodingSchemeIdentificationSequence = [coding_scheme()]
    _name_class(made, source)
    if content.radiograph.frame is not None:
        _refer_to_frame(made, content.radiograph.frame + 1)


def _refer_to_frame(made: Segmentation, number: int) -> None:
    """Name the frame of the source, counted from 1 (PS3.3 10.3)."""
    made.SourceImageSequence = deepcopy(
        made.SourceImageSequence
    )  # shared with the Referenced Series Sequence
    derived = (frame.DerivationImageSequence[0] for frame in made.PerFrameFunctionalGroupsSequence)
    for described in (made, *derived):
        described.SourceImageSequence[0].ReferencedFrameNumber = number


def _without(dataset: Dataset, keywords: tuple[str, ...]) -> Dataset:
    """A copy without some attributes: with them, highdicom asks for planes that a projection has not.

    So it does of the classes of several frames, and it knows no others than the standard's.
    """
    kept = Dataset()
    kept.update({element.tag: element for element in dataset if element.keyword not in keywords})
    kept.add_new("SOPClassUID", "UI", SecondaryCaptureImageStorage)  # the elements are the source's own
    return kept


def _name_class(made: Dataset, source: Dataset) -> None:
    """Say the source's own class wherever the object refers to it."""
    for element in made:
        for item in element.value if element.VR == "SQ" else ():
            if item.get("ReferencedSOPInstanceUID") == source.SOPInstanceUID:
                item.ReferencedSOPClassUID = source.SOPClassUID
            _name_class(item, source)


def _place(made: Segmentation, spacing: tuple[float, float] | None) -> None:
    """Say that each frame is the radiograph (PS3.3 C.7.6.16.2.1, C.7.6.16.2.3 and C.7.6.16.2.4).

    Args:
        made: the object.
        spacing: distance in mm of rows and of columns as the source has it, at the detector or on the film
            where it says no other: without a correction for magnification (PS3.3 10.7.1.3). None if unknown.
    """
    measures, plane = Dataset(), Dataset()
    if spacing is not None:
        measures.PixelSpacing = [format_number_as_ds(float(each)) for each in spacing]
        measures.SliceThickness = NOMINAL_THICKNESS
    else:  # an item without content would not survive a server's JSON, and then the viewer stops
        measures.PixelSpacingCalibrationDescription = NO_SPACING
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared = made.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [plane]
    for frame in made.PerFrameFunctionalGroupsSequence:
        position = Dataset()
        position.ImagePositionPatient = [0, 0, 0]
        frame.PlanePositionSequence = [position]
