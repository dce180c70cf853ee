"""The ruler: where a class map and a fused map lie, against the findings that are known of a radiograph.

Studies, audits and the validity of phantom models all measure with it, so that one case has one number.

Grid: 256 samples along the radiograph's longer side, fewer where it has fewer pixels, at even distances in
both directions. A map is interpolated at the centres of the samples
(:meth:`cxr_explain.Geometry.maps_to_radiograph`), a mask is read at the pixels that the centres lie in.
Samples whose centre the model did not see are left out of maps and findings alike.

Finding: the samples in its mask together with those whose centre lies in a reference box that it has. Its own
samples are those that no other finding has.

Evidence: the positive part of a map. All that follows is of the evidence.

Peak: every sample with the largest evidence. A peak of several samples hits by the share of them that hit,
which is the expected hit of one drawn among them.

Hit: 1 where the peak lies in the finding, else 0. The tolerant hit also counts a peak whose centre is no
further from the centre of a sample of the finding than 1/28 of the side of the model's square: half a cell of
a 14 x 14 map, the same for maps of any size, so that a coarse one is not judged more kindly than a fine one.
Beside both stand the expected hits of a peak drawn at random, and of one at the centre of what was seen.

Energy: the share of the evidence that lies in the finding. An even map has the finding's share of the
samples, which is the random peak's expected hit, too.

IoU: intersection over union of the finding and of the evidence above Otsu's threshold; an even map has
nothing above it, and 0.

IoBB: boxes are drawn around the evidence above 60/255 and above 180/255 of the map's range; the largest share
of one of them that lies in a reference box, clipped to what was seen. An even map has no box, and 0. A
finding that is known by a mask alone has no IoBB: a box around a mask would be nobody's reference.

Class share: the share of a fused map's evidence within a finding, or within its own samples, that belongs to
the finding's class. 0 where another class has all of it, where there is none of it in the finding, and where
the class was not fused; so is the tolerant hit of a class that has no part of a fused map.

Outside: the share of a fused map's evidence that lies in no finding. Winner entropy: of the classes' shares
of the evidence, as a share of the largest entropy that K classes can have.

Not estimable, and None: every measure of a map without evidence, whether of a class map or of a whole fused
map; every measure of a finding of which no sample was seen; the share in own samples where there are none;
the IoBB without a reference box; the entropy of fewer than two classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cxr_explain.errors import OptionError
from cxr_explain.geometry import TOLERANCE, Geometry
from cxr_explain.measures.boxes import BoxArray, boxes_of, iobb, map_boxes
from cxr_explain.measures.fused import saliency_outside, winner_entropy
from cxr_explain.measures.localisation import (
    centre_hit,
    class_share,
    own_pixels,
    peak_hit,
    random_hit,
    within,
)
from cxr_explain.measures.overlap import energy_in_mask, iou
from cxr_explain.measures.segmentation import segment
from cxr_explain.pathologies import ReferenceBox
from cxr_explain.support.arrays import Map, Mask, as_maps, as_mask

SAMPLES = 256
"""Along the longer side of a radiograph, at most."""


@dataclass(frozen=True, eq=False)
class SamplingGrid:
    """What the model saw of a radiograph, at a bounded number of samples.

    Args:
        geometry: where the model's square lies in the radiograph.

    >>> grid = SamplingGrid(Geometry.fit_square((1024, 2048), 224))
    >>> grid.shape, grid.seen, grid.spacing
    ((128, 256), (64, 0, 192, 128), (8.0, 8.0))
    """

    geometry: Geometry

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of samples over the whole radiograph."""
        height, width = self.geometry.radiograph_shape
        share = min(1.0, SAMPLES / max(height, width))
        return max(round(height * share), 1), max(round(width * share), 1)

    @property
    def spacing(self) -> tuple[float, float]:
        """Distance of two samples, down and across, in pixels of the radiograph."""
        (height, width), (rows, columns) = self.geometry.radiograph_shape, self.shape
        return height / rows, width / columns

    @cached_property
    def seen(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom): the samples whose centres the model saw."""
        y, x = self._centres
        left, top, right, bottom = self.geometry.seen_box
        (top, bottom), (left, right) = np.searchsorted(y, (top, bottom)), np.searchsorted(x, (left, right))
        return int(left), int(top), int(right), int(bottom)

    def maps(self, maps: ArrayLike) -> NDArray[np.float32]:
        """Maps (..., I, J) of the model's square at the samples that were seen, (..., rows, columns)."""
        return np.asarray(self._cut(self.geometry.maps_to_radiograph(maps, self.shape)))

    def mask(self, mask: ArrayLike) -> Mask:
        """A mask (H, W) of the radiograph at the samples that were seen, (rows, columns).

        Raises:
            OptionError: another type or shape.
        """
        inside, shape = as_mask(mask), self.geometry.radiograph_shape
        if inside.shape != shape:
            raise OptionError(f"a mask of {inside.shape}", expected=f"{shape}, as the radiograph")
        y, x = (centres.astype(np.intp) for centres in self._centres)
        return np.asarray(self._cut(inside[y[:, None], x]))

    def boxes(self, boxes: ArrayLike) -> BoxArray:
        """Boxes (n, 4) of the radiograph in the samples that were seen; what is left of them, (m, 4)."""
        down, across = self.spacing
        left, top, right, bottom = self.seen
        corners = np.asarray(boxes, np.float64) / (across, down, across, down)
        corners = np.clip(corners, (left, top, left, top), (right, bottom, right, bottom))
        corners = corners - (left, top, left, top)
        return np.asarray(corners[(corners[:, 2:] > corners[:, :2]).all(axis=1)])

    def mask_of_boxes(self, boxes: ArrayLike) -> Mask:
        """The samples that were seen whose centre lies in one of some boxes (n, 4) of the radiograph."""
        y, x = self._centres
        inside = np.zeros((len(y), len(x)), bool)
        for left, top, right, bottom in np.asarray(boxes, np.float64):
            inside |= ((top <= y) & (y < bottom))[:, None] & (left <= x) & (x < right)
        return np.asarray(self._cut(inside))

    @cached_property
    def _centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The rows' and the columns' centres over the whole radiograph, in its pixels."""
        y, x = (
            (np.arange(samples) + 0.5) * extent / samples
            for samples, extent in zip(self.shape, self.geometry.radiograph_shape, strict=True)
        )
        return y, x

    def _cut(self, values: NDArray[Any]) -> NDArray[Any]:
        left, top, right, bottom = self.seen
        return values[..., top:bottom, left:right]


@dataclass(frozen=True, eq=False)
class FindingRegion:
    """One finding on the grid.

    Args:
        mask: its samples.
        boxes: (n, 4), its reference boxes in samples, clipped to what was seen.
        grid: grid of samples that the finding lies on.
    """

    mask: Mask
    boxes: BoxArray
    grid: SamplingGrid

    @cached_property
    def near(self) -> Mask:
        """The samples where a peak is a tolerant hit."""
        return within(self.mask, TOLERANCE * self.grid.geometry.side, self.grid.spacing)


@dataclass(frozen=True)
class ClassMapMeasures:
    """Where one class map lies, 0 to 1; None where it is not estimable.

    Args:
        peak_hit: share of the peak that lies in the finding; 1 or 0 for a peak of one sample.
        tolerant_hit: share of the peak that lies in the finding or within the tolerance.
        random_hit: expected hit of a peak drawn at random, which is also the energy of an even map.
        random_tolerant_hit: expected tolerant hit of a peak drawn at random.
        centre_hit: hit of a peak at the centre of what was seen.
        centre_tolerant_hit: tolerant hit of a peak at the centre of what was seen.
        energy: share of the evidence in the finding.
        iou: intersection over union of the finding and the evidence above Otsu's threshold.
        iobb: the largest share of a box around the evidence that lies in a reference box.
    """

    peak_hit: float | None
    tolerant_hit: float | None
    random_hit: float | None
    random_tolerant_hit: float | None
    centre_hit: float | None
    centre_tolerant_hit: float | None
    energy: float | None
    iou: float | None
    iobb: float | None


@dataclass(frozen=True)
class ClassShares:
    """What one finding has of a fused map, 0 to 1; None where it is not estimable.

    Args:
        whole: class share in the finding.
        own: class share in the samples that no other finding has.
        tolerant_hit: tolerant hit of the peak that the finding's class has in the fused map.
    """

    whole: float | None
    own: float | None
    tolerant_hit: float | None


@dataclass(frozen=True)
class FusedMapMeasures:
    """How a fused map shares the radiograph out, 0 to 1; None where it is not estimable.

    Args:
        outside: share of the evidence in no finding.
        outside_magnitude: share of the magnitude in no finding, with what ELU and GELU leave below zero.
        winner_entropy: entropy of the classes' shares of the evidence, divided by the logarithm of K.
        shares: what each finding has of the fused map, by pathology.
    """

    outside: float | None
    outside_magnitude: float | None
    winner_entropy: float | None
    shares: Mapping[str, ClassShares]


@dataclass(frozen=True, eq=False)
class Ruler:
    """The findings of one radiograph, ready to measure maps against.

    Args:
        grid: grid of samples on which everything is measured.
        regions: where each finding is, by pathology.

    >>> corner = ReferenceBox("Mass", 0, 0, 2, 2)
    >>> ruler = Ruler.of(Geometry.fit_square((4, 4), 4), boxes=[corner])
    >>> found = ruler.class_map("Mass", np.eye(4))
    >>> found.peak_hit, found.random_hit, found.energy, found.iobb
    (0.5, 0.25, 0.5, 0.25)
    """

    grid: SamplingGrid
    regions: Mapping[str, FindingRegion]

    @classmethod
    def of(
        cls,
        geometry: Geometry,
        *,
        masks: Mapping[str, ArrayLike] | None = None,
        boxes: Sequence[ReferenceBox] = (),
    ) -> Self:
        """Sample what is known of a radiograph, once for all maps.

        Args:
            geometry: where the model's square lies in the radiograph.
            masks: reference mask of each finding, (H, W) bool in radiograph pixels, by canonical pathology.
            boxes: reference boxes, in radiograph pixels. A pathology with a mask and boxes is both together.

        Raises:
            OptionError: a mask of another type or shape.
        """
        grid, drawn = SamplingGrid(geometry), masks or {}
        regions = {}
        for name in dict.fromkeys((*drawn, *(box.pathology for box in boxes))):
            corners = boxes_of(boxes, name)
            inside = grid.mask_of_boxes(corners)
            if name in drawn:
                inside = inside | grid.mask(drawn[name])
            regions[name] = FindingRegion(inside, grid.boxes(corners), grid)
        return cls(grid, regions)

    def class_map(self, pathology: str, class_map: ArrayLike) -> ClassMapMeasures:
        """Measure the class map of a pathology.

        Args:
            pathology: canonical name; where it is no finding here, nothing is estimable.
            class_map: (I, J) of the model's square, signed.

        Raises:
            OptionError: another shape, or values that are not finite.
        """
        if pathology not in self.regions:
            return ClassMapMeasures(*[None] * 9)
        region, saliency = self.regions[pathology], self.grid.maps(class_map)
        return ClassMapMeasures(
            peak_hit(saliency, region.mask),
            peak_hit(saliency, region.near),
            random_hit(region.mask),
            random_hit(region.near),
            centre_hit(region.mask),
            centre_hit(region.near),
            energy_in_mask(saliency, region.mask),
            _iou(saliency, region.mask),
            _largest_iobb(saliency, region),
        )

    def fused_map(self, maps: ArrayLike, pathologies: Sequence[str]) -> FusedMapMeasures:
        """Measure how a fused map shares the radiograph out.

        Args:
            maps: (K, I, J) of the model's square, a fused map by class, after its activation.
            pathologies: canonical names of the K classes; '' for an output without a name.

        Raises:
            OptionError: another shape, or values that are not finite.
        """
        sampled = as_maps(self.grid.maps(maps))
        nothing = ClassShares(None, None, None)
        if not (sampled > 0).any():
            return FusedMapMeasures(None, None, None, dict.fromkeys(self.regions, nothing))
        parts, masks = self._summed(np.maximum(sampled, 0)), self._parts[1]
        shares = {}
        for at, (name, region) in enumerate(self.regions.items()):
            k = list(pathologies).index(name) if name in pathologies else None
            shares[name] = ClassShares(
                _share(parts, k, masks[at]),
                _share(parts, k, own_pixels(masks, at)),
                _fused_hit(sampled, k, region.near),
            )
        return FusedMapMeasures(
            saliency_outside(parts, list(masks)),
            saliency_outside(self._summed(np.abs(sampled)), list(masks)),
            winner_entropy(parts, normalised=True),
            shares,
        )

    @cached_property
    def _parts(self) -> tuple[NDArray[np.intp], Mask]:
        """(samples,) numbers of the P parts that the findings divide the grid into; the findings, (n, 1, P).

        A share of a map is a sum over parts, so that samples are added up once for all shares.
        """
        codes = self.grid.mask_of_boxes([]).astype(np.int64)
        for at, region in enumerate(self.regions.values()):
            codes |= region.mask.astype(np.int64) << at
        found, part = np.unique(codes, return_inverse=True)
        bits = np.arange(len(self.regions))[:, None, None]
        return part.ravel(), (found >> bits & 1).astype(bool)

    def _summed(self, maps: Map) -> Map:
        """(K, rows, columns) -> (K, 1, P)."""
        part, masks = self._parts
        sums = [np.bincount(part, layer.ravel(), masks.shape[-1]) for layer in maps]
        return np.asarray(sums, np.float64)[:, None]


def _iou(saliency: NDArray[np.float32], mask: Mask) -> float | None:
    evidence = np.maximum(saliency, 0)
    return iou(segment(evidence), mask) if evidence.any() else None


def _largest_iobb(saliency: NDArray[np.float32], region: FindingRegion) -> float | None:
    found = map_boxes(saliency)
    if found is None or not len(region.boxes) or not region.mask.any():
        return None
    return float(iobb(found, region.boxes).max(initial=0.0))


def _share(parts: Map, k: int | None, mask: Mask) -> float | None:
    """Of a fused map with evidence somewhere; 0 for a class that was not fused."""
    if k is None:
        return 0.0 if mask.any() else None
    return class_share(parts, k, mask)


def _fused_hit(maps: Map, k: int | None, near: Mask) -> float | None:
    """Of a fused map with evidence somewhere; 0 for a class that has no part of it."""
    if k is None or not (maps[k] > 0).any():
        return 0.0 if near.any() else None
    return peak_hit(maps[k], near)
