"""Regions of evidence whose outlines meet the radiograph's edge."""

from __future__ import annotations

import numpy as np
import pytest

from cxr_explain.dicom.regions import EvidenceRegion
from cxr_explain.figures.palette import class_styles
from cxr_explain.geometry import Geometry

GEOMETRY = Geometry.fit_square((30, 40), 30, "pad")


def region(values: np.ndarray) -> EvidenceRegion:
    return EvidenceRegion("Mass", 1, class_styles(["Mass"])[0], np.float32(values), GEOMETRY, 0.5)


def area(line: np.ndarray) -> float:
    x, y = line.T
    return float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2


@pytest.mark.parametrize(
    "values",
    [
        np.pad(np.ones((3, 3)), (0, 5)),  # in a corner
        np.pad(np.ones((8, 3)), ((0, 0), (2, 3))),  # from edge to edge
        np.pad(np.ones((2, 2)), 3),  # away from the edges
        np.ones((8, 8)),  # everywhere
    ],
)
def test_outlines_are_closed_and_enclose_what_the_mask_has(values: np.ndarray) -> None:
    found = region(values)
    assert all((line[0] == line[-1]).all() for line in found.outlines)
    assert abs(sum(map(area, found.outlines))) == pytest.approx(found.mask.sum(), rel=0.05)


def test_a_hole_has_an_outline_that_runs_the_other_way() -> None:
    ring = np.pad(np.ones((6, 6)), 1)
    ring[3:5, 3:5] = 0
    outer, inner = sorted(map(area, region(ring).outlines))
    assert outer < 0 < inner
    assert -(outer + inner) == pytest.approx(region(ring).mask.sum(), rel=0.05)
