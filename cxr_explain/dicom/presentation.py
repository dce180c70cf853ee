"""Greyscale softcopy presentation state: the outlines as graphics over the radiograph (PS3.3 A.33.1).

Coordinates are in PIXEL units, which count columns and rows from the outer edge of the first pixel, 0.0, to
that of the last one (PS3.3 C.10.5, Graphic Annotation Units): the same as those of `EvidenceRegion.outlines`,
so that nothing is shifted. The displayed area counts pixels themselves, from 1 (C.10.4).

The state has what reading the radiograph did to its grey levels, since it overrides the image's own windows
and polarity. A display shutter of the source is not repeated.
"""

from __future__ import annotations

import re

import numpy as np
from highdicom.color import CIELabColor
from highdicom.pr import (
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from cxr_explain.dicom.codes import plain
from cxr_explain.dicom.content import ObjectContent
from cxr_explain.dicom.derivation import (
    SPACINGS,
    add_body_part,
    aspect_ratio,
    is_multi_frame,
    source_reference,
)
from cxr_explain.dicom.regions import EvidenceRegion
from cxr_explain.dicom.source import of_a_known_class
from cxr_explain.errors import DicomObjectError
from cxr_explain.figures.texts import DISCLAIMER, format_probability
from cxr_explain.pathologies import readable

LABEL = "RESEARCH ONLY"
"""The content label: a code string of at most 16 signs (PS3.3 C.11.10)."""

DESCRIPTION = f"FM-G-CAM outlines. {DISCLAIMER}"
"""What a viewer shows beside the label."""

MOST_POINTS = (2**16 - 2) // 8
"""Points that a line may have: the length of FL is a number of 16 bits in explicit VR (PS3.5 7.1.2)."""

_NOTICE = "RESEARCH USE"
_BELOW = (0.02, 0.94, 0.98, 0.99)  # left, top, right and bottom of the notice, as shares of what is displayed
_LONGEST_CODE, _LONGEST_TITLE = 16, 64  # CS and LO (PS3.5 table 6.2-1)
_NO_CODE = re.compile(r"[^A-Z0-9]+")
_WHITE = 2**16 - 1


def presentation(content: ObjectContent) -> Dataset:
    """The outline of each region in the figure's colour, with the pathology's name and probability.

    Args:
        content: what the object is made from.

    Raises:
        DicomObjectError: no pathology has a region, or the radiograph is a line.
    """
    if not content.regions:
        raise DicomObjectError(
            "no region of evidence",
            expected="one for the GraphicAnnotationSequence at least",
            remedy="The other objects say what was found.",
        )
    source = _as_one_frame(content.source.dataset)
    if min(source.Rows, source.Columns) < 2:
        raise DicomObjectError(
            "Rows or Columns of 1",
            expected="2 at least: corners of the DisplayedAreaSelectionSequence that are not the same",
        )
    layers = [_layer(region) for region in content.regions]
    notice = GraphicLayer(_NOTICE, order=len(layers) + 1, description=DISCLAIMER)
    notice.GraphicLayerRecommendedDisplayGrayscaleValue = _WHITE
    said = TextObject(DISCLAIMER, "DISPLAY", bounding_box=_BELOW, text_justification="LEFT")
    with of_a_known_class():
        annotations = [
            _annotation(content, source, region, layer)
            for region, layer in zip(content.regions, layers, strict=True)
        ]
        made = GrayscaleSoftcopyPresentationState(
            referenced_images=[source],
            content_label=LABEL,
            content_description=DESCRIPTION,
            graphic_layers=[*layers, notice],
            graphic_annotations=[*annotations, GraphicAnnotation([source], notice, text_objects=[said])],
            transfer_syntax_uid=ExplicitVRLittleEndian,
            **content.common("presentation"),
        )
    add_body_part(made, source)
    made.update(content.source.greyscale.state(content.radiograph))
    _show_everything(made.DisplayedAreaSelectionSequence[0], source)
    _refer_to_frame(made, content)
    return made


def layer_name(region: EvidenceRegion) -> str:
    """The name of a region's layer, which is unique by its rank: a code string (PS3.3 C.10.7).

    Args:
        region: the region.
    """
    name, rank = _NO_CODE.sub("_", region.pathology.upper()).strip("_"), f" {region.rank}"
    # A code string may begin with a digit, and highdicom's may not.
    return (name if name[:1].isalpha() else f"P{name}")[: _LONGEST_CODE - len(rank)] + rank


def _layer(region: EvidenceRegion) -> GraphicLayer:
    layer = GraphicLayer(
        layer_name(region),
        order=region.rank,
        description=plain(readable(region.pathology))[:_LONGEST_TITLE],
        display_color=CIELabColor.from_string(region.style.colour),
    )
    layer.GraphicLayerRecommendedDisplayGrayscaleValue = _WHITE
    return layer


def _annotation(
    content: ObjectContent, source: Dataset, region: EvidenceRegion, layer: GraphicLayer
) -> GraphicAnnotation:
    """The outlines of one region, and its name at the highest point of the longest one."""
    name, uid = plain(readable(region.pathology)), content.uid("region", region.pathology)
    probability = content.explanation.ranking.top[region.rank - 1].probability
    label = f"{region.rank} {readable(region.pathology)} {format_probability(probability)}"
    longest = max(region.outlines, key=len)
    x, y = longest[int(longest[:, 1].argmin())].tolist()
    return GraphicAnnotation(
        [source],
        layer,
        graphic_objects=[
            GraphicObject("POLYLINE", thinned(line), "PIXEL", tracking_id=name, tracking_uid=uid)
            for line in region.outlines
        ],
        text_objects=[TextObject(plain(label), "PIXEL", anchor_point=(x, y), anchor_point_visible=False)],
    )


def thinned(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """A closed line (n, 2) of no more than `MOST_POINTS` points, which ends where it began.

    Args:
        line: closed, its last point the first one again.

    >>> len(thinned(np.zeros((9, 2)))), len(thinned(np.zeros((20_000, 2))))
    (9, 6668)
    """
    step = -(-(len(line) - 1) // (MOST_POINTS - 1))
    return np.concatenate([line[:-1:step], line[-1:]])


def _as_one_frame(source: Dataset) -> Dataset:
    """The source as highdicom takes it: with one sample a pixel, and groups of frames without content."""
    one = Dataset()
    one.update(source)
    one.SamplesPerPixel = 1
    one.SharedFunctionalGroupsSequence, one.PerFrameFunctionalGroupsSequence = [Dataset()], []
    return one


def _show_everything(area: Dataset, source: Dataset) -> None:
    """Show pixels as wide and as high as they are (PS3.3 C.10.4); highdicom has whole slides in mind."""
    del area.PixelOriginInterpretation
    spacing = next((source[keyword].value for keyword in SPACINGS if source.get(keyword)), None)
    if spacing is not None and spacing[0] != spacing[1]:
        del area.PresentationPixelAspectRatio
        area.PresentationPixelSpacing = spacing
    elif (ratio := aspect_ratio(source)) is not None:
        area.PresentationPixelAspectRatio = ratio


def _refer_to_frame(made: Dataset, content: ObjectContent) -> None:
    """Apply the state and its graphics to the frame that was explained (PS3.3 table 10-3)."""
    if not is_multi_frame(content.source.dataset):
        return
    made.ReferencedSeriesSequence[0].ReferencedImageSequence = [source_reference(content)]
    for annotation in made.GraphicAnnotationSequence:
        annotation.ReferencedImageSequence = [source_reference(content)]
