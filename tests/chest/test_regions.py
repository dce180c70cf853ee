"""Shares of the saliency in regions: known answers, the definition read aloud, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cxr_explain.chest.regions import Regions, regions_of
from cxr_explain.chest.shares import BORDER, saliency_shares, shares_in
from cxr_explain.errors import OptionError
from cxr_explain.geometry import Geometry
from cxr_explain.options import Fit
from cxr_explain.phantom import Patient, render, to_radiograph
from cxr_explain.phantom.patient import Device
from cxr_explain.radiograph import Radiograph

SIZE = 224
SHARES = ("outside_thorax", "outside_lungs", "border", "markers")
EVEN = 1 - (1 - 2 * BORDER) ** 2
"""The border's share of the area, without margins."""


@lru_cache(maxsize=4)
def chest(size: int = 256, seed: int = 1) -> Radiograph:
    patient = Patient(seed=seed, devices=(Device.MARKER,), brightness=-0.05)
    return to_radiograph(render(patient, (), size=size))


def flat(height: int, width: int, value: float = 0.0) -> Radiograph:
    return Radiograph.from_array(np.full((height, width), value, np.float32))


def of_image(pixels: np.ndarray, view: str | None = None) -> Radiograph:
    return Radiograph.from_array(np.ascontiguousarray(pixels), view=view)


def boxed(shape: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """(h, w) with left, top, right, bottom set."""
    mask = np.zeros(shape, bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def made_up(**changes: object) -> Regions:
    """Regions on 20 x 20 cells of a radiograph of 100 x 100 pixels."""
    shape = (20, 20)
    regions = Regions(
        shape=shape,
        radiograph_shape=(100, 100),
        lungs=boxed(shape, (4, 5, 8, 15)) | boxed(shape, (12, 5, 16, 15)),
        thorax=boxed(shape, (3, 4, 17, 16)),
        markers=boxed(shape, (0, 0, 4, 2)),
        inside=(0.0, 0.0, 100.0, 100.0),
        reasons={},
        outlines={},
    )
    return replace(regions, **changes)  # type: ignore[arg-type]


def values(shares: object) -> list[float | None]:
    return [getattr(shares, name) for name in SHARES]


# -- known answers ----


def test_even_saliency_lies_in_each_region_by_its_area() -> None:
    shares = shares_in(made_up(), np.ones((3, 7, 7)), Geometry.fit_square((100, 100), SIZE))
    assert values(shares) == pytest.approx([1 - 14 * 12 / 400, 1 - 80 / 400, EVEN, 8 / 400], abs=1e-9)


def test_saliency_within_one_region_alone() -> None:
    geometry, maps = Geometry.fit_square((100, 100), SIZE), np.zeros((2, 20, 20))
    maps[1, 0, 1] = 3.0  # spreads by half a cell at most: over cells of the marker alone
    shares = shares_in(made_up(markers=boxed((20, 20), (0, 0, 4, 3))), maps, geometry)
    assert shares.markers == pytest.approx(1.0)
    assert shares.outside_lungs == pytest.approx(1.0)
    maps[:] = 0
    maps[0, 10, 6] = 1.0
    shares = shares_in(made_up(), maps, geometry)
    assert values(shares) == pytest.approx([0.0, 0.0, 0.0, 0.0], abs=1e-9)


def test_negative_values_are_no_saliency() -> None:
    geometry, maps = Geometry.fit_square((100, 100), SIZE), np.zeros((2, 20, 20))
    maps[0, 10, 6], maps[1, 0, 0] = 1.0, -5.0
    assert shares_in(made_up(), maps, geometry).markers == 0.0


@pytest.mark.parametrize("maps", [np.zeros((2, 7, 7)), -np.ones((2, 7, 7)), np.zeros((0, 7, 7))])
def test_without_saliency_there_is_no_share(maps: np.ndarray) -> None:
    shares = shares_in(made_up(), maps, Geometry.fit_square((100, 100), SIZE))
    assert values(shares) == [None] * 4
    assert set(shares.reasons.values()) == {"no saliency"}
    assert set(shares.reasons) == set(SHARES)


def test_a_region_that_is_not_known_has_no_share_and_a_reason() -> None:
    regions = made_up(lungs=None, thorax=None, reasons={"outside_lungs": "no lungs"})
    shares = shares_in(regions, np.ones((1, 7, 7)), Geometry.fit_square((100, 100), SIZE))
    assert values(shares)[:2] == [None, None]
    assert shares.border == pytest.approx(EVEN, abs=1e-9)
    assert shares.reasons == {"outside_lungs": "no lungs"}


def test_only_what_the_model_saw_counts() -> None:
    """Of 100 x 200 pixels, a crop sees the middle: what lies beside it does not count."""
    geometry = Geometry.fit_square((100, 200), SIZE)
    shape = (20, 40)
    regions = made_up(
        shape=shape,
        radiograph_shape=(100, 200),
        lungs=boxed(shape, (0, 0, 20, 20)),
        thorax=boxed(shape, (10, 0, 30, 20)),
        markers=boxed(shape, (0, 0, 10, 20)),
        inside=(0.0, 0.0, 200.0, 100.0),
    )
    shares = shares_in(regions, np.ones((1, 7, 7)), geometry)
    assert values(shares) == pytest.approx([0.0, 0.5, EVEN, 0.0], abs=1e-9)


def test_the_border_is_of_the_radiograph_and_not_of_the_padding() -> None:
    geometry = Geometry.fit_square((100, 200), SIZE, fit="pad")
    regions = made_up(radiograph_shape=(100, 200), inside=(0.0, 0.0, 200.0, 100.0))
    assert shares_in(regions, np.ones((1, 8, 8)), geometry).border == pytest.approx(EVEN, abs=1e-9)


def test_margins_belong_to_the_border_and_the_band_begins_within_them() -> None:
    regions = made_up(inside=(20.0, 0.0, 100.0, 100.0))
    shares = shares_in(regions, np.ones((1, 7, 7)), Geometry.fit_square((100, 100), SIZE))
    assert shares.border == pytest.approx(1 - 0.8 * (1 - EVEN), abs=1e-9)


def test_scaling_the_maps_changes_nothing() -> None:
    geometry, maps = Geometry.fit_square((100, 100), SIZE), np.random.default_rng(0).random((3, 7, 7))
    plain = values(shares_in(made_up(), maps, geometry))
    for factor in (1e-30, 1e30, 1e300):
        assert values(shares_in(made_up(), maps * factor, geometry)) == pytest.approx(plain, rel=1e-6)


# -- the definition ----


def slow_shares(regions: Regions, maps: np.ndarray, geometry: Geometry) -> list[float | None]:
    """Walk over the cells; in the middle of what is seen of each read the maps by hand."""
    h, w = regions.shape
    height, width = regions.radiograph_shape
    left, top, right, bottom = geometry.seen_box
    box = [max(regions.inside[0], left), max(regions.inside[1], top)]
    box += [min(regions.inside[2], right), min(regions.inside[3], bottom)]
    band = BORDER * (box[2] - box[0]), BORDER * (box[3] - box[1])
    inner = (box[0] + band[0], box[1] + band[1], box[2] - band[0], box[3] - band[1])
    total, sums = 0.0, dict.fromkeys(SHARES, 0.0)
    for i, j in np.ndindex(h, w):
        cell = (j * width / w, i * height / h, (j + 1) * width / w, (i + 1) * height / h)
        part = max(cell[0], left), max(cell[1], top), min(cell[2], right), min(cell[3], bottom)
        centre = ((part[0] + part[2]) / 2, (part[1] + part[3]) / 2)
        seen = overlap(cell, (left, top, right, bottom))
        value = seen * math.fsum(read(maps[k], centre, geometry) for k in range(len(maps)))
        total += value
        sums["outside_thorax"] += 0 if regions.thorax[i, j] else value
        sums["outside_lungs"] += 0 if regions.lungs[i, j] else value
        sums["markers"] += value if regions.markers[i, j] else 0
        sums["border"] += value * (1 - overlap(cell, inner) / seen if seen else 1)
    return [sums[name] / total if total else None for name in SHARES]


def overlap(cell: tuple[float, ...], box: tuple[float, ...]) -> float:
    """The share of a cell that lies in a box."""
    wide = max(0.0, min(cell[2], box[2]) - max(cell[0], box[0])) / (cell[2] - cell[0])
    return wide * max(0.0, min(cell[3], box[3]) - max(cell[1], box[1])) / (cell[3] - cell[1])


def read(cells: np.ndarray, at: tuple[float, float], geometry: Geometry) -> float:
    """Bilinear interpolation of the positive part, cells' centres at one half."""
    I, J = cells.shape  # noqa: E741
    x = min(max((at[0] - geometry.left) / geometry.side * J - 0.5, 0), J - 1)
    y = min(max((at[1] - geometry.top) / geometry.side * I - 0.5, 0), I - 1)
    result = 0.0
    for i, j in np.ndindex(I, J):
        weight = max(0.0, 1 - abs(y - i)) * max(0.0, 1 - abs(x - j))
        result += weight * max(float(cells[i, j]), 0.0)
    return result


@settings(max_examples=25, deadline=None)
@given(
    arrays(np.float64, (2, 3, 4), elements=st.integers(-2, 3).map(float)),
    st.sampled_from([(100, 100), (100, 160), (130, 100)]),
    st.sampled_from(["crop", "pad"]),
)
def test_the_shares_are_their_definition(maps: np.ndarray, shape: tuple[int, int], fit: Fit) -> None:
    geometry = Geometry.fit_square(shape, SIZE, fit)
    regions = made_up(radiograph_shape=shape, inside=(7.0, 0.0, float(shape[1]), shape[0] - 4.0))
    expected = slow_shares(regions, maps, geometry)
    found = values(shares_in(regions, maps, geometry))
    assert found == pytest.approx(expected, abs=1e-12)


# -- the regions of an image ----


def test_lungs_lie_in_the_thorax_and_have_outlines_in_pixels() -> None:
    regions = regions_of(chest())
    assert regions.reasons == {}
    assert regions.lungs is not None
    assert regions.thorax is not None
    assert (regions.lungs & ~regions.thorax).sum() <= 0.01 * regions.lungs.sum()
    assert 0.15 < regions.lungs.mean() < regions.thorax.mean() < 0.8
    assert len(regions.outlines["lungs"]) == 2
    assert np.concatenate(regions.outlines["lungs"]).max() > regions.shape[0]  # pixels, not cells


def test_the_result_is_the_same_each_time_and_leaves_the_radiograph_alone() -> None:
    radiograph, maps = chest(), np.random.default_rng(1).random((3, 7, 7))
    before = radiograph.display.copy()
    geometry = Geometry.fit_square(radiograph.shape, SIZE)
    first, second = (saliency_shares(maps, geometry, radiograph) for _ in range(2))
    assert first == second
    np.testing.assert_array_equal(radiograph.display, before)


@pytest.mark.parametrize("factor", [2, 3])
def test_repeating_pixels_changes_nothing(factor: int) -> None:
    small, maps = chest(), np.random.default_rng(2).random((3, 7, 7))
    large = of_image(np.kron(small.pixels, np.ones((factor, factor), np.float32)), small.view)
    shares = [saliency_shares(maps, Geometry.fit_square(r.shape, SIZE), r) for r in (small, large)]
    assert values(shares[0]) == pytest.approx(values(shares[1]), abs=1e-9)
    assert None not in values(shares[0])


def test_a_finer_rendering_of_the_same_chest_has_about_the_same_shares() -> None:
    maps = np.random.default_rng(2).random((3, 7, 7))
    coarse, fine = (
        values(saliency_shares(maps, Geometry.fit_square(r.shape, SIZE), r)) for r in (chest(256), chest(512))
    )
    assert coarse == pytest.approx(fine, abs=0.05)


def test_what_is_no_upright_frontal_chest_has_no_lungs() -> None:
    pixels = chest().pixels
    noise = np.random.default_rng(0).uniform(-1024, 1024, (200, 200))
    for image in (-pixels, pixels.T, pixels[:, ::-1].T, noise, noise * 0, noise * 0 - 1024, noise * 0 + 1024):
        regions = regions_of(of_image(image.astype(np.float32)))
        assert regions.lungs is regions.thorax is None
        assert regions.reasons["outside_thorax"] == regions.reasons["outside_lungs"] != ""
        assert regions.outlines["lungs"] == regions.outlines["thorax"] == ()


@pytest.mark.parametrize("view", ["LL", "LATERAL", "rl"])
def test_a_lateral_view_has_no_lungs_whatever_it_shows(view: str) -> None:
    regions = regions_of(of_image(chest().pixels, view))
    assert regions.lungs is None
    assert regions.reasons["outside_lungs"] == f"a view that is not frontal: {view}"


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (63, 200), (3, 3), (2000, 1), (64, 64), (65, 131)])
def test_tiny_and_narrow_images_give_no_wrong_region(shape: tuple[int, int]) -> None:
    shares = saliency_shares(np.ones((1, 7, 7)), Geometry.fit_square(shape, SIZE), flat(*shape))
    assert shares.outside_thorax is shares.outside_lungs is None
    assert shares.border == pytest.approx(EVEN, abs=1e-9)
    assert shares.markers == (None if min(shape) < 64 else 0.0)
    assert ("markers" in shares.reasons) == (min(shape) < 64)


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_constant_images_of_any_shape_have_the_border_alone(fit: Fit) -> None:
    for shape in ((300, 300), (151, 449), (1200, 97)):
        geometry = Geometry.fit_square(shape, SIZE, fit)
        shares = saliency_shares(np.ones((2, 5, 5)), geometry, flat(*shape, 512.0))
        assert shares.border == pytest.approx(EVEN, abs=1e-9)
        assert shares.outside_lungs is None


def test_a_collimated_margin_is_found_and_belongs_to_the_border() -> None:
    pixels = chest().pixels.copy()
    pixels[:, :26] = -1024
    radiograph = of_image(pixels)
    assert regions_of(radiograph).inside[0] == pytest.approx(26, abs=1.5)


def test_saliency_on_a_marker_is_on_a_marker() -> None:
    pixels = np.full((300, 300), -700, np.float32)
    pixels[20:44, 250:254] = pixels[40:44, 250:266] = 1000
    maps = np.zeros((1, 75, 75))
    maps[0, 8, 63] = 1.0
    shares = saliency_shares(maps, Geometry.fit_square((300, 300), SIZE), of_image(pixels))
    assert shares.markers == pytest.approx(1.0)
    assert shares.outside_lungs is None


# -- refusals ----


@pytest.mark.parametrize(
    ("maps", "shape"),
    [
        (np.ones((7, 7)), (100, 100)),
        (np.full((1, 7, 7), np.nan), (100, 100)),
        (np.full((1, 7, 7), np.inf), (100, 100)),
        (np.ones((1, 7, 7)), (100, 101)),
    ],
)
def test_what_does_not_fit_is_refused(maps: np.ndarray, shape: tuple[int, int]) -> None:
    with pytest.raises(OptionError):
        saliency_shares(maps, Geometry.fit_square(shape, SIZE), flat(100, 100))
