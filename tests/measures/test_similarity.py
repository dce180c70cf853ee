"""How alike maps are: SciPy and scikit-image one map at a time, the definitions read aloud, known answers."""

from __future__ import annotations

import math
from dataclasses import astuple, fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr, spearmanr
from skimage.metrics import structural_similarity

from cxr_explain.errors import OptionError
from cxr_explain.measures.similarity import (
    Similarity,
    pearson,
    similarity,
    spearman,
    ssim,
    unrelated,
    window,
)

MEASURES = (ssim, spearman, pearson)
SHAPES = [(3, 3), (7, 7), (14, 14), (16, 24), (28, 20), (40, 33), (100, 90)]

tied = arrays(np.float64, (4, 5), elements=st.integers(-3, 3).map(float))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Signed maps of chance."""
    return np.random.default_rng(seed).normal(size=shape)


def related(*shape: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two maps that have much, but not all, in common."""
    one = noise(*shape, seed=seed)
    return one, one + 0.7 * noise(*shape, seed=seed + 1)


def shown(saliency: np.ndarray) -> np.ndarray:
    """The positive part from 0 to 1, as a figure has it."""
    positive = np.array([[max(float(value), 0.0) for value in row] for row in saliency])
    return (positive - positive.min()) / (positive.max() - positive.min())


def slow_ranks(values: list[float]) -> list[float]:
    """One more than the number of smaller values; equal values share the mean of their places."""
    return [sum(b < a for b in values) + (sum(b == a for b in values) + 1) / 2 for a in values]


def slow_pearson(one: list[float], other: list[float]) -> float:
    """Covariance over both standard deviations; NaN where there is none."""
    mean_a, mean_b = math.fsum(one) / len(one), math.fsum(other) / len(other)
    product = math.fsum((a - mean_a) * (b - mean_b) for a, b in zip(one, other, strict=True))
    squares = math.fsum((a - mean_a) ** 2 for a in one) * math.fsum((b - mean_b) ** 2 for b in other)
    return product / math.sqrt(squares) if squares else math.nan


def slow_ssim(one: np.ndarray, other: np.ndarray, width: int) -> float:
    """Equation 13 of Wang et al. in every window that lies within the map, and the mean of it."""
    a, b = shown(one), shown(other)
    found = []
    for i in range(a.shape[0] - width + 1):
        for j in range(a.shape[1] - width + 1):
            x, y = (part[i : i + width, j : j + width].flatten().tolist() for part in (a, b))
            count = len(x)
            mx, my = math.fsum(x) / count, math.fsum(y) / count
            vx = math.fsum((value - mx) ** 2 for value in x) / (count - 1)
            vy = math.fsum((value - my) ** 2 for value in y) / (count - 1)
            both = math.fsum((p - mx) * (q - my) for p, q in zip(x, y, strict=True)) / (count - 1)
            above = (2 * mx * my + 0.01**2) * (2 * both + 0.03**2)
            found.append(above / ((mx**2 + my**2 + 0.01**2) * (vx + vy + 0.03**2)))
    return math.fsum(found) / len(found)


def numbers(found: Similarity) -> list[float]:
    """Of a single pair: SSIM, ranks, ranks of magnitudes, Pearson."""
    return [float(each) for each in astuple(found)]


@pytest.mark.parametrize("shape", SHAPES)
def test_ranks_and_products_are_scipy_s_map_by_map(shape: tuple[int, int]) -> None:
    one, other = related(2, 3, *shape)
    one[0], other[1] = one[0].round(), other[1].round()  # with ties
    found = similarity(one, other)
    for index in np.ndindex(2, 3):
        a, b = one[index].ravel(), other[index].ravel()
        assert found.spearman[index] == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)
        assert found.spearman_absolute[index] == pytest.approx(spearmanr(abs(a), abs(b)).statistic, abs=1e-12)
        assert found.pearson[index] == pytest.approx(pearsonr(a, b).statistic, abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_ssim_is_scikit_image_s_with_the_same_flat_window(shape: tuple[int, int]) -> None:
    """There, too, variances are unbiased by default, and windows that leave the map are left out."""
    one, other = related(2, 2, *shape)
    found = ssim(one, other)
    for index in np.ndindex(2, 2):
        expected = structural_similarity(
            shown(one[index]), shown(other[index]), win_size=window(*shape), data_range=1
        )
        assert found[index] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", [(3, 3), (7, 9), (16, 17)])
def test_ssim_is_its_equation_window_by_window(shape: tuple[int, int]) -> None:
    one, other = related(*shape)
    assert ssim(one, other) == pytest.approx(slow_ssim(one, other, window(*shape)), abs=1e-12)


@given(tied, tied)
def test_ties_share_their_ranks(one: np.ndarray, other: np.ndarray) -> None:
    a, b = one.ravel().tolist(), other.ravel().tolist()
    expected = slow_pearson(slow_ranks(a), slow_ranks(b))
    assert spearman(one, other) == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert pearson(one, other) == pytest.approx(slow_pearson(a, b), abs=1e-12, nan_ok=True)


def test_equal_maps_are_alike_and_opposite_ones_are_opposite() -> None:
    values = noise(14, 14)
    assert numbers(similarity(values, values)) == pytest.approx([1, 1, 1, 1], abs=1e-12)
    _, signed, magnitudes, linear = numbers(similarity(values, -values))
    assert (signed, magnitudes, linear) == pytest.approx((-1, 1, -1), abs=1e-12)


def test_ssim_sees_the_positive_part_alone() -> None:
    values = noise(14, 14)
    deeper = np.where(values < 0, 5 * values, values)
    assert ssim(values, deeper) == pytest.approx(1, abs=1e-12)
    assert pearson(values, deeper) < 0.95


def test_ranks_ignore_what_bends_a_scale_and_pearson_does_not() -> None:
    values = noise(14, 14)
    assert spearman(values, np.exp(3 * values)) == pytest.approx(1, abs=1e-12)
    assert pearson(values, np.exp(3 * values)) < 0.9


def test_maps_of_chance_have_nothing_in_common() -> None:
    found = similarity(noise(50, 4, 14, 14), noise(50, 4, 14, 14, seed=1))
    assert [abs(each.mean()) < 0.02 for each in astuple(found)[1:]] == [True] * 3


@settings(max_examples=25)
@given(tied, tied, st.sampled_from([1e-300, 1e-9, 0.3, 7.0, 1e300]))
def test_nothing_depends_on_scale_or_order(one: np.ndarray, other: np.ndarray, scale: float) -> None:
    plain = numbers(similarity(one, other))
    assert numbers(similarity(scale * one, other)) == pytest.approx(plain, abs=1e-9, nan_ok=True)
    assert numbers(similarity(other, one)) == pytest.approx(plain, abs=1e-9, nan_ok=True)
    assert all(math.isnan(value) or -1 - 1e-12 <= value <= 1 + 1e-12 for value in plain)


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e200, 1.7e308])
def test_no_size_of_the_values_underflows_or_overflows(scale: float) -> None:
    values = noise(14, 14)
    values /= np.abs(values).max()
    found = numbers(similarity(scale * values, values))
    assert found == pytest.approx([1, 1, 1, 1], abs=1e-2 if scale < 1e-307 else 1e-9)


@pytest.mark.parametrize("level", [0.0, 1.0, -3.0, 1e-30, 1e30])
def test_a_flat_map_is_not_estimable(level: float) -> None:
    flat = np.full((14, 14), level)
    for found in (similarity(flat, noise(14, 14)), similarity(noise(14, 14), flat), similarity(flat, flat)):
        assert all(math.isnan(value) for value in numbers(found))


def test_the_rounding_of_a_constant_is_flat_and_a_hundred_thousandth_is_not() -> None:
    values = noise(14, 14)
    values /= np.ptp(values)
    rounded = np.float32(1 / 3) * (1 + np.float32(2e-7) * values)
    assert all(math.isnan(value) for value in numbers(similarity(rounded, values)))
    assert numbers(similarity(1 + 1e-5 * values, values))[1] == pytest.approx(1)


def test_magnitudes_may_be_flat_where_signs_are_not() -> None:
    signs = np.sign(noise(14, 14))
    found = similarity(signs, signs)
    assert found.spearman == pytest.approx(1)
    assert math.isnan(found.spearman_absolute)


def test_a_map_without_a_positive_part_has_no_ssim() -> None:
    against = -np.abs(noise(14, 14)) - 1
    found = numbers(similarity(against, against))
    assert math.isnan(found[0])
    assert found[1:] == pytest.approx([1, 1, 1])


def test_a_map_narrower_than_a_window_has_no_ssim() -> None:
    one, other = related(4, 2, 9)
    assert np.isnan(ssim(one, other)).all()
    assert np.isfinite(spearman(one, other)).all()


def test_a_flat_map_leaves_its_neighbours_in_the_batch_alone() -> None:
    one, other = related(2, 3, 14, 14)
    one[0, 1] = 5
    for measure in MEASURES:
        found, each = measure(one, other), (0, 2)
        assert np.isnan(found).tolist() == [[False, True, False], [False] * 3]
        np.testing.assert_allclose(found[each], measure(one[each], other[each]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0, 3), (2, 0), (1, 2, 3)])
def test_leading_axes_are_kept_empty_ones_too(batch: tuple[int, ...]) -> None:
    one, other = related(*batch, 7, 7)
    found = similarity(one, other)
    assert {getattr(found, field.name).shape for field in fields(found)} == {batch}
    assert all(each.dtype == np.float64 for each in astuple(found))


def test_tensors_lists_and_small_types_are_compared_in_float64() -> None:
    one, other = (each.astype(np.float32) for each in related(14, 14))
    expected = numbers(similarity(one.astype(np.float64), other.astype(np.float64)))
    assert numbers(similarity(torch.from_numpy(one), torch.from_numpy(other))) == expected
    assert numbers(similarity(one.tolist(), other.tolist())) == expected


def test_inputs_stay_as_they_are() -> None:
    one, other = related(2, 14, 14)
    copies = one.copy(), other.copy()
    similarity(one, other)
    np.testing.assert_array_equal([one, other], copies)


def test_unrelated_maps_are_those_of_the_next_image() -> None:
    values = noise(3, 2, 14, 14)
    found = unrelated(values)
    for image, k in np.ndindex(3, 2):
        pair = similarity(values[image, k], values[(image + 1) % 3, k])
        assert numbers(pair) == pytest.approx([each[image, k] for each in astuple(found)], abs=1e-12)


def test_the_window_is_odd_and_follows_the_shorter_side() -> None:
    widths = [window(side, 300) for side in range(3, 300)]
    assert all(width % 2 for width in widths)
    assert widths == sorted(widths)
    assert (min(widths), max(widths)) == (3, 11)
    assert window(14, 224) == window(224, 14) == window(14, 14) == 3
    assert all(width <= side for side, width in zip(range(3, 300), widths, strict=True))


@pytest.mark.parametrize("measure", [*MEASURES, similarity])
def test_maps_that_cannot_be_compared_are_refused(measure: object) -> None:
    assert callable(measure)
    for one, other in (((2, 7, 7), (7, 7)), ((7, 7), (7, 8)), ((7,), (7,)), ((3, 0, 7), (3, 0, 7))):
        with pytest.raises(OptionError, match="of one shape"):
            measure(np.zeros(one), np.zeros(other))
    for bad in (np.nan, np.inf, -np.inf):
        holed = noise(7, 7)
        holed[3, 3] = bad
        with pytest.raises(OptionError, match="finite maps"):
            measure(holed, noise(7, 7))
        with pytest.raises(OptionError, match="finite maps"):
            measure(noise(7, 7), holed)


@pytest.mark.parametrize("shape", [(7, 7), (1, 7, 7), (0, 2, 7, 7)])
def test_one_image_has_no_other(shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match="B >= 2 images"):
        unrelated(np.zeros(shape))
