"""The region of each pathology's evidence: where the fused map reaches a share of the pathology's peak."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures.overlay import outlines, strong
from cxr_explain.figures.palette import ClassStyle, class_styles
from cxr_explain.geometry import Geometry
from cxr_explain.support.arrays import Mask


@dataclass(frozen=True, eq=False)
class EvidenceRegion:
    """Where the fused map of one pathology reaches a share of that pathology's own peak.

    Args:
        pathology: name of the pathology.
        rank: rank from 1.
        style: colour and line of the pathology.
        values: (I, J), the fused map of the pathology.
        geometry: where the map lies in the radiograph.
        threshold: share of the peak.
    """

    pathology: str
    rank: int
    style: ClassStyle
    values: NDArray[np.float32]
    geometry: Geometry
    threshold: float

    @cached_property
    def mask(self) -> Mask:
        """(H, W) of the radiograph."""
        field = self.geometry.maps_to_radiograph(np.maximum(self.values, 0))
        return np.asarray(field >= self.threshold * field.max())

    @cached_property
    def outlines(self) -> tuple[NDArray[np.float64], ...]:
        """Closed lines (n, 2) of (x, y) in the radiograph's pixels, from the outer edge of the first one.

        The last point of each is its first one again.
        """
        return tuple(outlines(self.values, self.geometry, self.threshold, closed=True))


def evidence_regions(
    explanation: Explanation, threshold: float, colours: Mapping[str, str] | None = None
) -> tuple[EvidenceRegion, ...]:
    """The regions of the ranked pathologies that have one, best rank first.

    Without one are those that the fused map shows nowhere, that are faint beside the strongest (as in the
    figures), and whose evidence lies beyond the radiograph's edge.

    Args:
        explanation: the explanation.
        threshold: share of a pathology's own peak, in (0, 1).
        colours: colour of a pathology by name, where it is not the package's own.

    Raises:
        OptionError: a colour that is none.
    """
    styles = class_styles(explanation.ranking.pathologies, colours)
    regions = (
        EvidenceRegion(style.pathology, style.rank, style, values, explanation.geometry, threshold)
        for style, values, is_strong in zip(styles, explanation.maps, strong(explanation.maps), strict=True)
        if is_strong
    )
    return tuple(region for region in regions if region.outlines)
