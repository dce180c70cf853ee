"""What differs between explanations of one radiograph: by several models, or by several methods.

Class maps are compared before fusion, pathology by pathology, on one grid: 256 samples along the radiograph's
longer side (:class:`cxr_explain.measures.ruler.SamplingGrid`), those alone whose centres both models saw.

Peak distance: between the centres of the two maps' strongest cells, in the radiograph's pixels; in mm where
the pixel spacing is known; and as a share of the radiograph's diagonal.

Region: the samples where a map's evidence, its positive part, reaches half of the largest on the grid. A peak
points into the other map's region where the sample that it lies in belongs to it.

Overlap: intersection over union of the two regions.

Correlations: Spearman's and Pearson's, of the signed maps over the samples.

None: where a map has no evidence on the grid, or is flat (for the correlations), or a peak lies outside of
what both models saw (for pointing).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from math import hypot, isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxr_explain.errors import OptionError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.explaining.ranking import Prediction
from cxr_explain.geometry import Geometry
from cxr_explain.measures.overlap import iou
from cxr_explain.measures.ruler import SamplingGrid
from cxr_explain.measures.similarity import pearson, spearman
from cxr_explain.pathologies import canonical_pathology
from cxr_explain.support.arrays import Mask

REGION_LEVEL = 0.5
"""Share of the largest evidence from which a sample belongs to a map's region."""


@dataclass(frozen=True)
class InModel:
    """What one model says of one pathology.

    Args:
        rank: rank from 1; None where it is not among the K that are explained.
        probability: the model's probability; None where the model does not predict it.
        above: whether the probability reaches the operating point; None without one.
        peak: (x, y) of the class map's strongest cell in the radiograph's pixels; None without one.
    """

    rank: int | None
    probability: float | None
    above: bool | None
    peak: tuple[float, float] | None


@dataclass(frozen=True)
class MapDifference:
    """How two maps differ.

    Args:
        one: name of the first model.
        other: name of the second model.
        peak_distance_px: distance of the peaks in the radiograph's pixels.
        peak_distance_mm: the same in mm; None where the pixel spacing is not known.
        peak_distance_share: the same as a share of the radiograph's diagonal.
        overlap: intersection over union of the regions at half of the peak.
        spearman: rank correlation of the signed maps.
        pearson: linear correlation of the signed maps.
        one_points_into_other: whether the first map's peak lies in the second map's region.
        other_points_into_one: whether the second map's peak lies in the first map's region.
    """

    one: str
    other: str
    peak_distance_px: float | None
    peak_distance_mm: float | None
    peak_distance_share: float | None
    overlap: float | None
    spearman: float | None
    pearson: float | None
    one_points_into_other: bool | None
    other_points_into_one: bool | None


@dataclass(frozen=True)
class PathologyDifference:
    """What differs for one pathology.

    Args:
        pathology: its canonical name.
        models: what each model says of it, by the model's name.
        pairs: how the class maps differ, for each two models that have one.
    """

    pathology: str
    models: Mapping[str, InModel]
    pairs: tuple[MapDifference, ...]

    @property
    def ranked_by(self) -> tuple[str, ...]:
        """The models that have it among the K that they explain."""
        return tuple(name for name, model in self.models.items() if model.rank is not None)


@dataclass(frozen=True)
class Differences:
    """What differs between explanations of one radiograph.

    Args:
        names: names of the models or methods.
        radiograph_sha256: hexadecimal digest of the radiograph's file.
        pathologies: the pathologies that any of them ranks; those that most rank come first, then by the
            best rank.
        whole: how the sums of the fused maps differ, all pathologies together, for each two models. The peaks
            of two sums may be of different pathologies.
    """

    names: tuple[str, ...]
    radiograph_sha256: str
    pathologies: tuple[PathologyDifference, ...]
    whole: tuple[MapDifference, ...]

    @property
    def ranked_by_one_only(self) -> dict[str, str]:
        """The pathologies that a single model ranks, and that model."""
        return {each.pathology: each.ranked_by[0] for each in self.pathologies if len(each.ranked_by) == 1}

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return asdict(self)


def differences(
    explanations: Mapping[str, Explanation], *, pixel_spacing: tuple[float, float] | None = None
) -> Differences:
    """Compare explanations of one radiograph, pathology by pathology.

    Args:
        explanations: two or more, by the name of the model or the method.
        pixel_spacing: (row, column) spacing of the radiograph in mm; None where it is not known.

    Raises:
        OptionError: fewer than two, or explanations of different radiographs.

    >>> from dataclasses import replace
    >>> from cxr_explain.explaining.example import example_explanation
    >>> x = example_explanation()
    >>> found = differences({"A": x, "B": replace(x, class_maps=x.class_maps[:, :, ::-1].copy())})
    >>> found.names, found.ranked_by_one_only, found.whole[0].overlap
    (('A', 'B'), {}, 1.0)
    """
    _check(explanations)
    names = [canonical_pathology(name) for each in explanations.values() for name in each.ranking.pathologies]
    found = [_of_pathology(name, explanations, pixel_spacing) for name in dict.fromkeys(names)]
    found.sort(key=lambda each: (-len(each.ranked_by), _best_rank(each)))
    whole = [
        _of_maps(
            pair, _total(explanations[pair[0]]), _total(explanations[pair[1]]), explanations, pixel_spacing
        )
        for pair in combinations(explanations, 2)
    ]
    digest = next(iter(explanations.values())).provenance.radiograph_sha256
    return Differences(tuple(explanations), digest, tuple(found), tuple(whole))


def _check(explanations: Mapping[str, Explanation]) -> None:
    if len(explanations) < 2:
        raise OptionError(
            f"{len(explanations)} explanation{'' if len(explanations) == 1 else 's'}",
            expected="two or more of one radiograph, by name",
        )
    (first, one), *others = explanations.items()
    for name, other in others:
        digests = one.provenance.radiograph_sha256, other.provenance.radiograph_sha256
        if digests[0] != digests[1]:
            raise OptionError(
                f"explanations of different radiographs: {first!r} of SHA-256 {digests[0][:12]} ({one.id}), "
                f"{name!r} of {digests[1][:12]} ({other.id})",
                expected="explanations of one radiograph",
            )
        shapes = one.geometry.radiograph_shape, other.geometry.radiograph_shape
        if shapes[0] != shapes[1]:
            raise OptionError(
                f"one file read in two ways: {first!r} has {shapes[0]} pixels, {name!r} has {shapes[1]}",
                expected="explanations of one radiograph, read alike",
            )


def _best_rank(difference: PathologyDifference) -> int:
    return min(model.rank for model in difference.models.values() if model.rank is not None)


def _of_pathology(
    pathology: str, explanations: Mapping[str, Explanation], spacing: tuple[float, float] | None
) -> PathologyDifference:
    models, maps = {}, {}
    for name, explanation in explanations.items():
        rank, prediction = _rank_of(explanation, pathology)
        peak = None
        if rank is not None:
            maps[name] = explanation.class_maps[rank - 1]
            peak = explanation.geometry.peak_of(maps[name])
        models[name] = InModel(
            rank,
            None if prediction is None else prediction.probability,
            None if prediction is None else prediction.above,
            peak,
        )
    pairs = [
        _of_maps(pair, maps[pair[0]], maps[pair[1]], explanations, spacing) for pair in combinations(maps, 2)
    ]
    return PathologyDifference(pathology, models, tuple(pairs))


def _rank_of(explanation: Explanation, pathology: str) -> tuple[int | None, Prediction | None]:
    for rank, prediction in enumerate(explanation.ranking.top, start=1):
        if canonical_pathology(prediction.pathology) == pathology:
            return rank, prediction
    others = explanation.ranking.predictions
    return None, next((each for each in others if canonical_pathology(each.pathology) == pathology), None)


def _total(explanation: Explanation) -> NDArray[np.float32]:
    """The evidence of all pathologies together, (I, J)."""
    return np.asarray(np.maximum(explanation.maps, 0).sum(axis=0), np.float32)


def _of_maps(
    pair: tuple[str, str],
    one: NDArray[np.float32],
    other: NDArray[np.float32],
    explanations: Mapping[str, Explanation],
    spacing: tuple[float, float] | None,
) -> MapDifference:
    geometries = explanations[pair[0]].geometry, explanations[pair[1]].geometry
    height, width = geometries[0].radiograph_shape
    peaks = geometries[0].peak_of(one), geometries[1].peak_of(other)
    px = mm = share = None
    if peaks[0] is not None and peaks[1] is not None:
        across, down = peaks[0][0] - peaks[1][0], peaks[0][1] - peaks[1][1]
        px = hypot(across, down)
        share = px / hypot(width, height)
        mm = None if spacing is None else hypot(across * spacing[1], down * spacing[0])
    samples = CommonSamples(*geometries)
    maps = samples.of(one, geometries[0]), samples.of(other, geometries[1])
    regions = region(maps[0]), region(maps[1])
    return MapDifference(
        *pair,
        px,
        mm,
        share,
        iou(*regions) if regions[0].any() and regions[1].any() else None,
        _number(spearman(*maps)),
        _number(pearson(*maps)),
        samples.points_into(peaks[0], regions[1]),
        samples.points_into(peaks[1], regions[0]),
    )


def region(values: NDArray[np.float32]) -> Mask:
    """Where a map's evidence reaches half of the largest; nowhere without evidence.

    >>> region(np.array([[-9.0, 1.0, 2.0, 4.0]], np.float32)).tolist()
    [[False, False, True, True]]
    """
    peak = values.max(initial=0)
    return np.asarray((values >= REGION_LEVEL * peak) & (values > 0))


def _number(found: NDArray[np.float64]) -> float | None:
    return None if isnan(found.item()) else float(found.item())


class CommonSamples:
    """The samples of the radiograph that two models both saw.

    Args:
        one: where the first model's square lies in the radiograph.
        other: where the second model's does, in the same radiograph.

    Raises:
        OptionError: models that saw no part of the radiograph in common.

    >>> wide = (100, 200)
    >>> samples = CommonSamples(Geometry.fit_square(wide, 10), Geometry.fit_square(wide, 10, "pad"))
    >>> samples.of(np.ones((3, 1, 1), np.float32), Geometry.fit_square(wide, 10)).shape
    (3, 100, 100)
    """

    def __init__(self, one: Geometry, other: Geometry) -> None:
        grids = SamplingGrid(one), SamplingGrid(other)
        self.shape, self.spacing = grids[0].shape, grids[0].spacing
        edges = np.array([grid.seen for grid in grids])
        self.left, self.top = edges[:, :2].max(axis=0).tolist()
        self.right, self.bottom = edges[:, 2:].min(axis=0).tolist()
        if self.left >= self.right or self.top >= self.bottom:
            raise OptionError("models that saw no part of the radiograph in common", expected="a common part")

    def of(self, values: NDArray[np.float32], geometry: Geometry) -> NDArray[np.float32]:
        """Maps (..., I, J) at the samples, (..., rows, columns)."""
        everywhere = geometry.maps_to_radiograph(values, self.shape)
        return everywhere[..., self.top : self.bottom, self.left : self.right]

    def points_into(self, peak: tuple[float, float] | None, where: Mask) -> bool | None:
        """Whether a point of the radiograph lies in some of the samples."""
        if peak is None or not where.any():
            return None
        column, row = int(peak[0] // self.spacing[1]), int(peak[1] // self.spacing[0])
        if not (self.left <= column < self.right and self.top <= row < self.bottom):
            return None
        return bool(where[row - self.top, column - self.left])
