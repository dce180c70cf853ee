"""Lungs and thorax: against phantoms, whose anatomy is known, and each step against its definition."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from skimage.measure import points_in_poly

from benchmarks.regions_accuracy import dice, lung_fields
from cxr_explain.chest import lung_outlines as outlines
from cxr_explain.chest.lung_outlines import LungOutlines, lung_outlines
from cxr_explain.chest.lung_plausibility import area_of, implausible
from cxr_explain.chest.lung_template import LungBox, locally_normalised, place_lungs
from cxr_explain.chest.lungs_and_thorax import CHEST_WALL, LungsAndThorax, filled, thorax_around
from cxr_explain.chest.regions import regions_of
from cxr_explain.chest.shares import saliency_shares
from cxr_explain.chest.thumbnail import SIDE, thumbnail_of
from cxr_explain.errors import OptionError
from cxr_explain.geometry import Geometry
from cxr_explain.phantom import Finding, Side, render, sample_patient, to_radiograph
from cxr_explain.radiograph import Radiograph

PIXELS = 384
CASES = {
    "healthy": (3, ()),
    "another": (14, ()),
    "small effusion": (5, (Finding("Effusion", seed=1, side=Side.LEFT, size=0.2),)),
    "cardiomegaly": (7, (Finding("Cardiomegaly", seed=1, size=0.6),)),
    "pneumothorax": (8, (Finding("Pneumothorax", seed=1, side=Side.RIGHT, size=0.5),)),
    "nodule": (10, (Finding("Nodule", seed=1),)),
}


@lru_cache(maxsize=8)
def rendered(case: str) -> tuple[Radiograph, np.ndarray]:
    """A phantom and its lung fields, in cells of two by two pixels."""
    seed, findings = CASES[case]
    patient = replace(sample_patient(seed), collimation=(0.0, 0.0, 0.0, 0.0))
    radiograph = to_radiograph(render(patient, findings, size=PIXELS))
    return radiograph, lung_fields(patient, findings, PIXELS)[::2, ::2]


@pytest.mark.parametrize("case", CASES)
def test_lungs_and_thorax_of_phantoms(case: str) -> None:
    radiograph, lungs = rendered(case)
    regions = regions_of(radiograph)
    assert regions.reasons == {}
    assert dice(regions.lungs, lungs) > 0.87
    thorax = filled((thorax_around(np.argwhere(lungs)[:, ::-1] + 0.5),), lungs.shape)
    assert dice(regions.thorax, thorax) > 0.9


def test_a_mirrored_chest_is_mirrored_in_the_result() -> None:
    radiograph, _ = rendered("healthy")
    mirrored = Radiograph.from_array(np.ascontiguousarray(radiograph.pixels[:, ::-1]))
    assert (
        dice(regions_of(mirrored).lungs[:, ::-1], regions_of(radiograph).lungs) > 0.85
    )  # the template has its heart on one side


def test_the_window_of_the_display_matters_little() -> None:
    radiograph, _ = rendered("healthy")
    darker = Radiograph.from_array(radiograph.pixels * 0.6 - 200)
    assert dice(regions_of(darker).lungs, regions_of(radiograph).lungs) > 0.97


# -- a segmentation instead ----


def test_a_segmentation_takes_the_place_of_the_rules() -> None:
    radiograph, lungs = rendered("healthy")
    middle = lungs.shape[1] // 2
    right, left = lungs.copy(), lungs.copy()
    right[:, middle:], left[:, :middle] = False, False
    masks = {"Right Lung": right, "Left Lung": np.kron(left, np.ones((2, 2))), "Heart": right}
    regions = regions_of(radiograph, segment=lambda _: masks)
    np.testing.assert_array_equal(regions.lungs, lungs)
    maps = np.ones((1, 7, 7))
    geometry = Geometry.fit_square(radiograph.shape, 224)
    shares = saliency_shares(maps, geometry, radiograph, segment=lambda _: masks)
    assert shares.outside_lungs == pytest.approx(1 - lungs.mean())
    rules = saliency_shares(maps, geometry, radiograph)
    assert shares.outside_thorax == pytest.approx(rules.outside_thorax, abs=0.08)


def test_its_outlines_run_around_its_masks() -> None:
    mask = np.zeros((96, 96), bool)
    mask[20:60, 10:30] = True
    flat = Radiograph.from_array(np.zeros((192, 192), np.float32))
    regions = regions_of(flat, segment=lambda _: {"Right Lung": mask, "Left Lung": mask[:, ::-1]})
    line = min(regions.outlines["lungs"], key=lambda points: points[:, 0].min())
    assert (line.min(axis=0), line.max(axis=0)) == (pytest.approx([20, 40]), pytest.approx([60, 120]))


def test_an_empty_segmentation_has_a_reason_and_a_wrong_one_an_error() -> None:
    radiograph, lungs = rendered("healthy")
    empty = np.zeros((8, 8), bool)
    regions = regions_of(radiograph, segment=lambda _: {"Right Lung": empty, "Left Lung": empty})
    assert regions.reasons["outside_lungs"] == "no lungs in the segmentation"
    for masks in ({}, {"Left Lung": lungs}, {"Left Lung": lungs[0], "Right Lung": lungs}):
        with pytest.raises(OptionError):
            regions_of(radiograph, segment=lambda _, masks=masks: masks)


def test_a_segmentation_may_say_why_there_are_no_lungs() -> None:
    radiograph, _ = rendered("healthy")
    regions = regions_of(radiograph, segment=lambda _: "a view that is not frontal: LATERAL")
    assert regions.lungs is None
    assert regions.reasons["outside_thorax"] == "a view that is not frontal: LATERAL"


# -- the steps ----


def test_a_thumbnail_is_a_mean_of_four_pixels_a_cell() -> None:
    pixels = np.random.default_rng(0).uniform(-1024, 1024, (4 * SIDE, 4 * SIDE)).astype(np.float32)
    radiograph = Radiograph.from_array(pixels)
    thumbnail = thumbnail_of(radiograph)
    for i, j in ((0, 0), (5, 77), (SIDE - 1, SIDE - 1)):
        picked = [radiograph.display[4 * i + a, 4 * j + b] for a in (1, 3) for b in (1, 3)]
        assert thumbnail.values[i, j] == pytest.approx(np.mean(picked) / 255, abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (3001, 7), (255, 256), (2320, 2828)])
def test_a_thumbnail_of_any_shape_is_even_and_covers_the_radiograph(shape: tuple[int, int]) -> None:
    thumbnail = thumbnail_of(Radiograph.from_array(np.full(shape, 1024, np.float32)))
    assert max(thumbnail.shape) <= SIDE
    assert [extent % 2 for extent in thumbnail.shape] == [0, 0]
    assert np.multiply(thumbnail.shape, thumbnail.cell[::-1]) == pytest.approx(shape)
    np.testing.assert_allclose(thumbnail.values, 1)
    np.testing.assert_allclose(thumbnail.halved(), 1)


@pytest.mark.parametrize(("x", "y", "width", "height"), [(0.5, 0.46, 0.74, 0.666), (0.46, 0.54, 0.62, 0.651)])
def test_drawn_lungs_are_placed_where_they_were_drawn(
    x: float, y: float, width: float, height: float
) -> None:
    drawn = LungBox(x, y, width, height, 1.0).outlines((96, 96))
    image = np.where(filled(tuple(drawn), (96, 96)), 0.2, 0.8).astype(np.float32)
    found = place_lungs(locally_normalised(image))
    assert (found.x, found.y) == pytest.approx((x, y), abs=0.04)
    assert (found.width, found.height) == pytest.approx((width, height), abs=0.08)
    lungs = lung_outlines(image)
    assert dice(filled(tuple(lungs.points), (96, 96)), filled(tuple(drawn), (96, 96))) > 0.93
    assert implausible(lungs, (96, 96)) is None


def test_an_image_that_is_not_square_has_its_lungs_in_its_own_cells() -> None:
    square = LungBox(0.5, 0.5, 0.6, 0.6, 1.0).outlines((96, 96))
    landscape = LungBox(0.5, 0.5, 0.6, 0.6, 1.0).outlines((80, 96))
    np.testing.assert_allclose(square - landscape, np.broadcast_to([0, 8], square.shape))


def test_the_shifts_are_the_cheapest_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 5 points and 3 places, against all 243 paths; the ends are joined by going round."""
    monkeypatch.setattr(outlines, "POINTS", 5)
    monkeypatch.setattr(outlines, "_STEPS", 1)
    monkeypatch.setattr(outlines, "_AWAY", np.arange(-1, 2, dtype=np.float32))
    monkeypatch.setattr(outlines, "_EARLY", 0)
    monkeypatch.setattr(outlines, "_ORDER", np.arange(5))
    gain = np.random.default_rng(0).normal(0, 0.2, (2, 5, 3)).astype(np.float32)

    def cost(lung: int, path: tuple[int, ...]) -> float:
        holds = sum(outlines._HOLD * d**2 - float(gain[lung, k, d + 1]) for k, d in enumerate(path))
        return holds + sum(outlines._BEND * (a - b) ** 2 for a, b in itertools.pairwise(path))

    found = outlines._shifts(gain)
    for lung in range(2):
        best = min(itertools.product((-1, 0, 1), repeat=5), key=lambda path: cost(lung, path))
        assert tuple(found[lung]) == best


def test_the_contrast_is_of_an_edge_from_dark_to_bright() -> None:
    drawn = LungBox(0.5, 0.46, 0.74, 0.67, 1.0).outlines((96, 96))
    image = np.where(filled(tuple(drawn), (96, 96)), 0.2, 0.8).astype(np.float32)
    assert min(lung_outlines(image).contrast) > 1
    assert implausible(lung_outlines(1 - image), (96, 96)) is not None


def lungs_at(**changes: object) -> LungOutlines:
    """Plausible lungs in 96 x 96 cells, then changed."""
    points = LungBox(0.5, 0.5, 0.7, 0.6, 1.0).outlines((96, 96))
    return replace(LungOutlines(points, 0.6, (0.8, 0.8)), **changes)  # type: ignore[arg-type]


def test_each_reason_against_a_pair_of_lungs() -> None:
    points = lungs_at().points
    middle = points.mean(axis=1, keepdims=True)
    narrow = np.stack([np.ones((1, 2)), np.full((1, 2), (0.35, 1.0))])
    reasons = {
        "no place where the image resembles two lungs": lungs_at(likeness=0.2),
        "lungs without clear edges": lungs_at(contrast=(0.1, 0.9)),
        "lungs that reach out of the image": lungs_at(points=points + np.array([40.0, 0.0])),
        "lungs of an implausible size": lungs_at(points=middle + (points - middle) * 0.3),
        "lungs of very different sizes": lungs_at(points=middle + (points - middle) * narrow),
        "lungs in implausible places": lungs_at(points=points[::-1]),
    }
    assert implausible(lungs_at(), (96, 96)) is None
    assert {implausible(lungs, (96, 96)) for lungs in reasons.values()} == set(reasons)
    for reason, lungs in reasons.items():
        assert implausible(lungs, (96, 96)) == reason


def test_the_area_of_an_outline() -> None:
    angles = np.arange(2000) * 2 * np.pi / 2000
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert area_of(np.stack([circle, 2 * circle[::-1]])) == pytest.approx([np.pi, 4 * np.pi], rel=1e-4)


def test_a_filled_polygon_has_the_cells_whose_centres_it_holds() -> None:
    polygon = LungBox(0.5, 0.5, 0.7, 0.6, 1.0).outlines((96, 96))[0] + [0.3, 0.2]
    rows, columns = np.mgrid[:96, :96]
    centres = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    expected = points_in_poly(centres, polygon).reshape(96, 96)
    np.testing.assert_array_equal(filled((polygon,), (96, 96)), expected)


def test_the_thorax_goes_down_as_far_on_both_sides() -> None:
    right = np.array([[0.0, 0.0], [40.0, 0.0], [40.0, 80.0], [0.0, 80.0]])
    left = np.array([[60.0, 0.0], [100.0, 0.0], [100.0, 40.0]])
    hull = thorax_around(np.concatenate([right, left]))
    assert hull[hull[:, 0] > 100][:, 1].max() == pytest.approx(83)


def test_the_thorax_is_the_hull_with_a_wall_on_each_side() -> None:
    square = np.array([[0.0, 0.0], [100.0, 0.0], [100.0, 50.0], [0.0, 50.0], [50.0, 25.0]])
    hull = thorax_around(square)
    wall = 100 * CHEST_WALL
    assert hull.min(axis=0) == pytest.approx([-wall, -wall])
    assert hull.max(axis=0) == pytest.approx([100 + wall, 50 + wall])
    chest = LungsAndThorax.within((square[:4] * 0.5 + 20,), (96, 96))
    assert (chest.lungs & ~chest.thorax).sum() == 0
    assert chest.thorax.sum() > chest.lungs.sum()
