"""The ruler, read aloud: the grid, and each measure by loops over its samples in float64."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest

from cxr_explain.geometry import Geometry
from cxr_explain.measures.boxes import map_boxes
from cxr_explain.measures.ruler import SAMPLES, ClassMapMeasures, ClassShares, Ruler, SamplingGrid
from cxr_explain.measures.segmentation import segment
from cxr_explain.options import Fit
from cxr_explain.pathologies import ReferenceBox

FITS = ("crop", "pad")
SMALL = [(40, 40), (40, 64), (64, 40), (37, 53)]
LARGE = [(600, 130), (70, 601), (300, 777), (60, 257)]
"""Of radiographs, below and above the number of samples."""


@cache
def slow_samples(geometry: Geometry) -> list[list[tuple[float, float]]]:
    """The centres (y, x) of the samples that the model saw, row by row."""
    height, width = geometry.radiograph_shape
    share = min(1.0, SAMPLES / max(height, width))
    rows, columns = round(height * share), round(width * share)
    left, top, right, bottom = geometry.seen_box
    found = []
    for i in range(rows):
        y = (i + 0.5) * height / rows
        centres = [(y, (j + 0.5) * width / columns) for j in range(columns)]
        found.append([(y, x) for y, x in centres if top <= y < bottom and left <= x < right])
    return [row for row in found if row]


def slow_map(geometry: Geometry, class_map: np.ndarray) -> np.ndarray:
    """The map at each sample, from the four cells around it."""

    def cells(position: float, count: int) -> tuple[int, int, float]:
        at = min(max(position * count - 0.5, 0), count - 1)
        return int(at), min(int(at) + 1, count - 1), at - int(at)

    samples = slow_samples(geometry)
    values = np.empty((len(samples), len(samples[0])))
    for at in np.ndindex(values.shape):
        y, x = samples[at[0]][at[1]]
        i, below, v = cells((y - geometry.top) / geometry.side, class_map.shape[0])
        j, beside, u = cells((x - geometry.left) / geometry.side, class_map.shape[1])
        upper = (1 - u) * class_map[i, j] + u * class_map[i, beside]
        lower = (1 - u) * class_map[below, j] + u * class_map[below, beside]
        values[at] = (1 - v) * upper + v * lower
    return values


def slow_finding(
    geometry: Geometry, mask: np.ndarray | None, boxes: list[tuple[float, float, float, float]]
) -> np.ndarray:
    samples = slow_samples(geometry)
    inside = np.zeros((len(samples), len(samples[0])), bool)
    for at in np.ndindex(inside.shape):
        y, x = samples[at[0]][at[1]]
        drawn = mask is not None and bool(mask[int(y), int(x)])
        inside[at] = drawn or any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes)
    return inside


def slow_near(geometry: Geometry, inside: np.ndarray) -> np.ndarray:
    """Where a sample of the finding is within a 28th of the side, in pixels of the radiograph."""
    samples = np.array(slow_samples(geometry))
    there = samples[inside]
    near = np.zeros(inside.shape, bool)
    for at in np.ndindex(inside.shape):
        if len(there):
            distance = np.hypot(*(there - samples[at]).T).min()
            near[at] = distance <= geometry.side / 28 + 1e-9
    return near


def slow_hit(values: np.ndarray, region: np.ndarray) -> float | None:
    best = max(float(value) for value in values.flat)
    if best <= 0 or not region.any():
        return None
    peak = [at for at in np.ndindex(values.shape) if values[at] == best]
    return sum(bool(region[at]) for at in peak) / len(peak)


def slow_centre(region: np.ndarray) -> float | None:
    if not region.any():
        return None
    middle = [
        (i, j)
        for i, j in np.ndindex(region.shape)
        if abs(i - (region.shape[0] - 1) / 2) <= 0.5 and abs(j - (region.shape[1] - 1) / 2) <= 0.5
    ]
    return sum(bool(region[at]) for at in middle) / len(middle)


def slow_energy(values: np.ndarray, inside: np.ndarray) -> float | None:
    everything = math.fsum(max(float(value), 0) for value in values.flat)
    if not everything or not inside.any():
        return None
    return math.fsum(max(float(values[at]), 0) for at in np.ndindex(values.shape) if inside[at]) / everything


def slow_iou(values: np.ndarray, inside: np.ndarray) -> float | None:
    evidence = np.array([[max(float(value), 0) for value in row] for row in values])
    if not evidence.any() or not inside.any():
        return None
    shown = segment(evidence)
    both = sum(bool(shown[at] and inside[at]) for at in np.ndindex(inside.shape))
    return both / sum(bool(shown[at] or inside[at]) for at in np.ndindex(inside.shape))


def slow_iobb(
    geometry: Geometry, values: np.ndarray, boxes: list[tuple[float, float, float, float]]
) -> float | None:
    """In pixels of the radiograph: the map's boxes by the edges of their samples."""
    found = map_boxes(np.maximum(values, 0))
    (height, width), (rows, columns) = geometry.radiograph_shape, SamplingGrid(geometry).shape
    down, across = height / rows, width / columns
    samples = slow_samples(geometry)
    y0, x0 = samples[0][0][0] - down / 2, samples[0][0][1] - across / 2
    y1, x1 = samples[-1][-1][0] + down / 2, samples[-1][-1][1] + across / 2
    seen = [(max(a, x0), max(b, y0), min(c, x1), min(d, y1)) for a, b, c, d in boxes]
    seen = [(a, b, c, d) for a, b, c, d in seen if a < c and b < d]
    if found is None or not seen:
        return None
    best = 0.0
    for left, top, right, bottom in found:
        left, right = x0 + left * across, x0 + right * across
        top, bottom = y0 + top * down, y0 + bottom * down
        for a, b, c, d in seen:
            over = max(min(right, c) - max(left, a), 0) * max(min(bottom, d) - max(top, b), 0)
            best = max(best, over / ((right - left) * (bottom - top)))
    return best


def slow_share(stack: np.ndarray, k: int | None, region: np.ndarray) -> float | None:
    """Of a fused map with evidence somewhere."""
    if not region.any():
        return None
    sums = [
        math.fsum(max(float(layer[at]), 0) for at in np.ndindex(region.shape) if region[at])
        for layer in stack
    ]
    return 0.0 if k is None or not sum(sums) else sums[k] / sum(sums)


def box_of(edges: tuple[float, float, float, float], pathology: str = "Mass") -> ReferenceBox:
    left, top, right, bottom = edges
    return ReferenceBox(pathology, left, top, right - left, bottom - top)


@pytest.mark.parametrize("shape", SMALL)
@pytest.mark.parametrize("fit", FITS)
def test_a_small_radiograph_is_measured_at_the_pixels_that_the_model_saw(
    shape: tuple[int, int], fit: Fit
) -> None:
    draws = np.random.default_rng(0)
    geometry = Geometry.fit_square(shape, 32, fit)
    left, top, right, bottom = geometry.seen_box
    grid = SamplingGrid(geometry)
    mask, maps = draws.random(shape) < 0.3, draws.random((2, 5, 5))
    assert (grid.shape, grid.spacing, grid.seen) == (shape, (1, 1), geometry.seen_box)
    assert np.array_equal(grid.mask(mask), mask[top:bottom, left:right])
    whole = geometry.maps_to_radiograph(maps)
    assert np.array_equal(grid.maps(maps), whole[:, top:bottom, left:right])


@pytest.mark.parametrize("shape", [*SMALL, *LARGE])
@pytest.mark.parametrize("fit", FITS)
def test_the_grid_is_its_definition(shape: tuple[int, int], fit: Fit) -> None:
    draws = np.random.default_rng(1)
    geometry = Geometry.fit_square(shape, 32, fit)
    grid = SamplingGrid(geometry)
    assert max(grid.shape) == min(SAMPLES, max(shape))
    mask, class_map = draws.random(shape) < 0.5, draws.normal(size=(5, 7))
    assert np.array_equal(grid.mask(mask), slow_finding(geometry, mask, []))
    edges = tuple(draws.uniform(0, 0.5, 2) * shape[::-1]) + tuple(draws.uniform(0.5, 1, 2) * shape[::-1])
    assert np.array_equal(grid.mask_of_boxes([edges]), slow_finding(geometry, None, [edges]))
    np.testing.assert_allclose(grid.maps(class_map), slow_map(geometry, class_map), atol=1e-5)


CASES = [((40, 40), "crop"), ((40, 64), "crop"), ((64, 40), "pad"), ((130, 400), "crop"), ((400, 50), "pad")]


@pytest.mark.parametrize(("shape", "fit"), CASES)
@pytest.mark.parametrize("known", ["box", "mask", "both", "two boxes"])
def test_the_measures_of_a_class_map_are_their_definitions(
    shape: tuple[int, int], fit: Fit, known: str
) -> None:
    draws = np.random.default_rng(sum(shape))
    geometry = Geometry.fit_square(shape, 32, fit)
    height, width = shape
    mask = np.zeros(shape, bool)
    mask[height // 2 : height * 3 // 4, width // 4 : width // 2] = True
    edges = [(0.3 * width, 0.21 * height, 0.62 * width, 0.5 * height), (-3.0, -2.0, 0.31 * width, 7.7)]
    boxes = {"box": edges[:1], "mask": [], "both": edges[:1], "two boxes": edges}[known]
    masks = {"Mass": mask} if known in ("mask", "both") else {}
    ruler = Ruler.of(geometry, masks=masks, boxes=[box_of(each) for each in boxes])
    inside = slow_finding(geometry, masks.get("Mass"), boxes)
    near = slow_near(geometry, inside)
    for class_map in (draws.normal(size=(7, 7)), draws.random((3, 3)) - 0.9, np.eye(8) + 0.1):
        found = ruler.class_map("Mass", class_map)
        values = ruler.grid.maps(class_map).astype(np.float64)
        expected = ClassMapMeasures(
            peak_hit=slow_hit(values, inside),
            tolerant_hit=slow_hit(values, near),
            random_hit=float(inside.mean()),
            random_tolerant_hit=float(near.mean()),
            centre_hit=slow_centre(inside),
            centre_tolerant_hit=slow_centre(near),
            energy=slow_energy(values, inside),
            iou=slow_iou(values, inside),
            iobb=slow_iobb(geometry, values, boxes),
        )
        assert vars(found) == {name: pytest.approx(value) for name, value in vars(expected).items()}


def region_masks(shape: tuple[int, int]) -> Mapping[str, np.ndarray]:
    masks = {name: np.zeros(shape, bool) for name in ("Mass", "Edema", "Hernia")}
    height, width = shape
    masks["Mass"][height // 4 : height // 2, width // 3 : width // 2] = True
    masks["Edema"][height // 3 : height * 2 // 3, width * 2 // 5 : width * 2 // 3] = True
    masks["Hernia"][height // 3 : height // 2, width * 2 // 5 : width // 2] = True  # within Edema
    return masks


@pytest.mark.parametrize(("shape", "fit"), CASES)
def test_the_measures_of_a_fused_map_are_their_definitions(shape: tuple[int, int], fit: Fit) -> None:
    draws = np.random.default_rng(sum(shape))
    geometry = Geometry.fit_square(shape, 32, fit)
    masks = region_masks(shape)
    ruler = Ruler.of(geometry, masks=masks)
    cells = draws.normal(size=(3, 6, 6))
    found = ruler.fused_map(cells, ["", "Mass", "Hernia"])
    stack = ruler.grid.maps(cells).astype(np.float64)
    regions = {name: slow_finding(geometry, mask, []) for name, mask in masks.items()}
    covered = np.any(list(regions.values()), axis=0)
    positive = np.maximum(stack, 0)
    assert found.outside == pytest.approx(positive[:, ~covered].sum() / positive.sum())
    assert found.outside_magnitude == pytest.approx(np.abs(stack)[:, ~covered].sum() / np.abs(stack).sum())
    parts = positive.sum(axis=(1, 2)) / positive.sum()
    assert found.winner_entropy == pytest.approx(-sum(p * math.log(p, 3) for p in parts))
    for name, k in (("Mass", 1), ("Edema", None), ("Hernia", 2)):
        own = regions[name] & ~np.any([mask for other, mask in regions.items() if other != name], axis=0)
        near = slow_near(geometry, regions[name])
        expected = ClassShares(
            slow_share(stack, k, regions[name]),
            slow_share(stack, k, own),
            0.0 if k is None else slow_hit(stack[k], near),
        )
        assert vars(found.shares[name]) == pytest.approx(vars(expected))
    assert found.shares["Hernia"].own is None  # it lies in another finding altogether


SQUARE = Geometry.fit_square((64, 64), 32)
BOX = ReferenceBox("Mass", 8, 8, 16, 16)


def test_a_map_without_evidence_has_no_peak_no_box_no_energy_and_no_iou() -> None:
    ruler = Ruler.of(SQUARE, boxes=[BOX])
    for class_map in (-np.ones((4, 4)), np.zeros((4, 4)), -np.eye(4)):
        found = ruler.class_map("Mass", class_map)
        assert found.peak_hit is found.tolerant_hit is found.energy is found.iou is found.iobb is None
        assert found.random_hit == 1 / 16  # what chance is worth does not ask the map
        fused = ruler.fused_map([class_map, class_map], ["Mass", "Edema"])
        assert fused.outside is fused.winner_entropy is None
        assert fused.shares["Mass"] == ClassShares(None, None, None)


def test_the_least_negative_cells_of_a_map_are_no_evidence() -> None:
    """Scaled to its own range alone, this one would have a box in the reference box, and an IoBB of 1."""
    class_map = np.full((4, 4), -3.0)
    class_map[0, 0] = class_map[1, 1] = -1.0
    found = Ruler.of(SQUARE, boxes=[ReferenceBox("Mass", 0, 0, 32, 32)]).class_map("Mass", class_map)
    assert found.iobb is None
    assert map_boxes(class_map) is None
    assert (
        Ruler.of(SQUARE, boxes=[ReferenceBox("Mass", 0, 0, 32, 32)]).class_map("Mass", class_map + 2).iobb
        == 1
    )


def test_an_even_map_is_worth_what_chance_is_worth_and_marks_nothing() -> None:
    found = Ruler.of(SQUARE, boxes=[BOX]).class_map("Mass", np.ones((4, 4)))
    assert found.peak_hit == found.random_hit == pytest.approx(found.energy)
    assert found.tolerant_hit == found.random_tolerant_hit
    assert (found.iou, found.iobb) == (0.0, 0.0)


def test_a_class_without_a_part_of_the_fused_map_has_a_share_of_nothing() -> None:
    ruler = Ruler.of(SQUARE, boxes=[BOX])
    elsewhere = np.zeros((4, 4))
    elsewhere[3, 3] = 1
    fused = ruler.fused_map([np.zeros((4, 4)), elsewhere], ["Mass", "Edema"])
    assert fused.shares["Mass"] == ClassShares(0.0, 0.0, 0.0)
    assert ruler.fused_map([elsewhere], ["Edema"]).shares["Mass"] == ClassShares(0.0, 0.0, 0.0)


def test_a_finding_that_the_model_did_not_see_is_not_estimable() -> None:
    geometry = Geometry.fit_square((400, 800), 224)
    ruler = Ruler.of(geometry, boxes=[ReferenceBox("Mass", 50, 0, 100, 400)])
    assert set(vars(ruler.class_map("Mass", np.ones((4, 4)))).values()) == {None}
    fused = ruler.fused_map(np.ones((2, 4, 4)), ["Mass", "Edema"])
    assert fused.shares["Mass"] == ClassShares(None, None, None)
    assert fused.outside is None
    assert set(vars(ruler.class_map("Nodule", np.ones((4, 4)))).values()) == {None}


def test_a_mask_alone_has_no_iobb() -> None:
    mask = np.zeros((64, 64), bool)
    mask[8:24, 8:24] = True
    drawn, boxed = Ruler.of(SQUARE, masks={"Mass": mask}), Ruler.of(SQUARE, boxes=[BOX])
    one, other = (vars(ruler.class_map("Mass", np.eye(4)[::-1])) for ruler in (drawn, boxed))
    assert one == other | {"iobb": None}
    assert other["iobb"] is not None


def test_the_tolerance_is_a_share_of_what_the_model_saw() -> None:
    """The same finding, beside margins that the crop leaves out and that the pad takes in."""
    mask = np.zeros((280, 560), bool)
    mask[136:144, 276:284] = True
    for fit, radius in (("crop", 10), ("pad", 20)):
        ruler = Ruler.of(Geometry.fit_square((280, 560), 32, fit), masks={"Mass": mask})  # type: ignore[arg-type]
        region = ruler.regions["Mass"]
        for axis, step in zip((1, 0), ruler.grid.spacing, strict=True):
            margin = (region.near.any(axis=axis).sum() - region.mask.any(axis=axis).sum()) / 2
            assert margin * step <= radius < (margin + 1) * step
