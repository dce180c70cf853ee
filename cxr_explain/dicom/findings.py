"""What a structured report says of one pathology: values, and a group for each outline of the region.

A viewer's label shows name, value and unit of a measurement, and not the finding: the names say which
pathology it is. Probabilities are in percent, of which viewers show two decimals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from highdicom.sr import (
    CodeContentItem,
    ContentItem,
    ContentSequence,
    ImageRegion,
    Measurement,
    NumContentItem,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID

from cxr_explain.dicom.algorithm import algorithm
from cxr_explain.dicom.codes import (
    LABEL_STATES,
    REGION_STATES,
    SIDES,
    pathology_code,
    plain,
    private_code,
)
from cxr_explain.dicom.content import ObjectContent
from cxr_explain.dicom.regions import EvidenceRegion
from cxr_explain.dicom.source import of_a_known_class
from cxr_explain.explaining.ranking import Prediction
from cxr_explain.figures.overlay import strong
from cxr_explain.pathologies import readable
from cxr_explain.support.arrays import Points

SIDE = private_code("OP-SIDE", "Side of the operating point")
LABEL = private_code("LABEL", "Reference label")
REGION = private_code("REGION", "Region of the evidence")
RANK = private_code("RANK", "Rank")
OUTPUT = private_code("OUTPUT", "Name of the model's output")
OPERATING_POINT = private_code("OPERATING-POINT", "Operating point")
CALIBRATED = private_code("CALIBRATED", "Calibrated value")

_FINEST = 0.25  # pixels that an outline may be simplified by
_PARTS = 4000  # of the longer side: a quarter of a pixel of a screen that shows 1000
_SHARE = Code("{0:1}", "UCUM", "{0:1}")
_CONTAINS = RelationshipTypeValues.CONTAINS
_PROPERTY = RelationshipTypeValues.HAS_PROPERTIES


@dataclass(frozen=True)
class ReportedPathology:
    """What is said of one pathology.

    Args:
        content: what the report is made from.
        prediction: what the model says of the pathology.
    """

    content: ObjectContent
    prediction: Prediction

    def evaluation(self) -> CodeContentItem:
        """On which side of the operating point it is, with all values (PS3.16 TID 1500)."""
        item = CodeContentItem(self._code, SIDES[self.prediction.above], relationship_type=_CONTAINS)
        item.ContentSequence = ContentSequence(list(self._properties()))
        return item

    def groups(self) -> Iterator[PlanarROIMeasurementsAndQualitativeEvaluations]:
        """A measurement group for each part of the region (PS3.16 TID 1410, which takes one outline)."""
        parts = self._parts
        for number, (line, holes) in enumerate(parts, 1):
            which = f" {number} of {len(parts)}" if len(parts) > 1 else ""
            with of_a_known_class():
                region = ImageRegion("POLYLINE", line, self._image)
            group = PlanarROIMeasurementsAndQualitativeEvaluations(
                referenced_region=region,
                tracking_identifier=TrackingIdentifier(
                    uid=self._tracking_uid(number if len(parts) > 1 else None),
                    identifier=plain(f"{self._name} region{which}"),
                ),
                finding_type=self._code,
                algorithm_id=algorithm(self.content, is_brief=True),
                measurements=list(self._measurements(number)),
                qualitative_evaluations=[QualitativeEvaluation(*each) for each in self._states()],
            )
            group[0].ContentSequence.append(
                TextContentItem(
                    codes.DCM.Comment, self._comment(which, holes), RelationshipTypeValues.CONTAINS
                )
            )
            yield group

    def _tracking_uid(self, part: int | None) -> UID:
        """That of the region in the other objects, too; a part of several has another.

        The OHIF viewer draws one outline for each identifier.
        """
        which = () if part is None else (str(part),)
        return self.content.uid("region", self.prediction.pathology, *which)

    @property
    def _name(self) -> str:
        return readable(self.prediction.pathology)

    @property
    def _code(self) -> Code:
        return pathology_code(self.prediction.pathology)

    @property
    def _image(self) -> SourceImageForRegion:
        source, frame = self.content.source.dataset, self.content.radiograph.frame
        return SourceImageForRegion(
            source.SOPClassUID, source.SOPInstanceUID, None if frame is None else [frame + 1]
        )

    @cached_property
    def _region(self) -> EvidenceRegion | None:
        of_it = (each for each in self.content.regions if each.pathology == self.prediction.pathology)
        return next(of_it, None)

    @cached_property
    def _parts(self) -> list[tuple[Points, int]]:
        """The outlines of the parts, and how many holes each has, which no SCOORD can say."""
        if self._region is None:
            return []
        longest = max(self.content.radiograph.shape)
        return parts_of(self._region.outlines, max(_FINEST, longest / _PARTS))

    def _values(self) -> Iterator[tuple[Code, float, Code]]:
        """Names, values and units of all that is known."""
        said = self.prediction
        values = (
            (codes.DCM.Probability, _percent(said.probability), codes.UCUM.Percent),
            (OPERATING_POINT, _percent(said.operating_point), codes.UCUM.Percent),
            (CALIBRATED, None if said.calibrated is None else _rounded(said.calibrated), _SHARE),
        )
        yield from ((name, value, unit) for name, value, unit in values if value is not None)

    def _measurements(self, number: int) -> Iterator[Measurement]:
        """What a viewer writes beside a part: the probability, and the operating point beside the first."""
        for name, value, unit in self._values():
            if name == codes.DCM.Probability or (name == OPERATING_POINT and number == 1):
                own = f"{self._name} {name.meaning[0].lower()}{name.meaning[1:]}"
                yield Measurement(private_code(own, own), value, unit)

    def _states(self) -> Iterator[tuple[Code, Code]]:
        yield SIDE, SIDES[self.prediction.above]
        if self.content.labels.states:
            yield LABEL, LABEL_STATES[self.content.labels[self.prediction.pathology]]

    def _properties(self) -> Iterator[ContentItem]:
        yield TextContentItem(OUTPUT, plain(self._name), _PROPERTY)
        for name, value, unit in self._values():
            yield NumContentItem(name, value, unit, relationship_type=_PROPERTY)
        for state, code in self._states():
            if state != SIDE:  # which the parent says
                yield CodeContentItem(state, code, relationship_type=_PROPERTY)
        yield CodeContentItem(REGION, self._region_state, relationship_type=_PROPERTY)
        if self._rank is not None:
            yield TextContentItem(RANK, self._rank, relationship_type=_PROPERTY)

    @property
    def _rank(self) -> str | None:
        ranked = self.content.explanation.ranking.pathologies
        if self.prediction.pathology not in ranked:
            return None
        return f"{ranked.index(self.prediction.pathology) + 1} of {len(ranked)}"

    @property
    def _region_state(self) -> Code:
        pathology, explanation = self.prediction.pathology, self.content.explanation
        if self._rank is None:
            return REGION_STATES["not ranked"]
        if self._region is not None:
            return REGION_STATES["outlined"]
        if pathology in explanation.without_gradient:
            return REGION_STATES["no gradient"]
        if pathology in explanation.shown_nowhere:
            return REGION_STATES["nowhere"]
        is_strong = strong(explanation.maps)[explanation.ranking.pathologies.index(pathology)]
        return REGION_STATES["outside" if is_strong else "faint"]

    def _comment(self, which: str, holes: int) -> str:
        share = f"{100 * self.content.settings.threshold:g} %"
        texts = [
            f"Rank {self._rank}",
            f"region{which}: where the map reaches {share} of the pathology's peak",
        ]
        if holes:
            texts.append(f"but for {holes} {'hole' if holes == 1 else 'holes'} in it")
        return "; ".join(texts)


def parts_of(outlines: tuple[Points, ...], tolerance: float) -> list[tuple[Points, int]]:
    """The outer outlines of a region with fewer points, and the number of holes in each.

    Args:
        outlines: closed lines (n, 2) of (x, y); holes run the other way round.
        tolerance: distance in pixels that a line may move by.

    >>> square = np.array([[0, 0], [0, 9], [0.1, 20], [20, 20], [20, 0], [0, 0.0]])
    >>> hole = square[::-1] / 4 + 5
    >>> [(len(line), holes) for line, holes in parts_of((square, hole), 0.5)]
    [(5, 1)]
    """
    from skimage.measure import approximate_polygon, points_in_poly

    areas = [_signed_area(line) for line in outlines]
    around = max(areas, key=abs, default=0.0)
    holes = [line[:1] for line, area in zip(outlines, areas, strict=True) if area * around < 0]
    parts = []
    for line, area in zip(outlines, areas, strict=True):
        if area * around > 0:
            fewer = approximate_polygon(line, tolerance)
            kept = fewer if len(fewer) > 3 else line  # a triangle, which is closed, has four points
            inside = sum(bool(points_in_poly(point, line)[0]) for point in holes)
            parts.append((np.round(kept, 2), inside))
    return parts


def _signed_area(line: Points) -> float:
    x, y = line.T
    return float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


def _percent(share: float | None) -> float | None:
    """In percent; what is not certain does not become 100."""
    if share is None:
        return None
    rounded = _rounded(100 * share)
    return 100 * share if rounded == 100 else rounded


def _rounded(value: float) -> float:
    """Six digits: as many as a model's scores have on every machine, and as people can read."""
    return float(f"{value:.6g}")
