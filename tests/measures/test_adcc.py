"""ADCC and its parts: the equations read aloud, and known answers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from cxr_explain.errors import ModelError, OptionError
from cxr_explain.measures.adcc import Adcc, adcc, harmonic, normalised
from cxr_explain.measures.order import random_maps
from cxr_explain.measures.subject import Baseline, Explain, baseline_of

FIRST = torch.tensor([[0]])
REGION = torch.zeros(6, 6, dtype=torch.float64)
REGION[1:4, 2:4] = 1  # 6 of 36 pixels
BRIGHT = torch.full((1, 1, 6, 6), 1024.0, dtype=torch.float64)
LOW, HIGH = 0.1, 0.9


def linear(inputs: Tensor) -> Tensor:
    """(N, 1): the logit of a probability that rises from 0.1 to 0.9 with the mean of the region."""
    shown = ((inputs + 1024) / 2048 * REGION).sum(dim=(2, 3)) / REGION.sum()
    return torch.logit(LOW + (HIGH - LOW) * shown)


def crooked(inputs: Tensor) -> Tensor:
    """(N, 3) of fixed weights, with a square so that pixels interact."""
    side = inputs.shape[-1]
    draws = torch.randn((side * side, 3), dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    flat = inputs.flatten(1).double() / 1024
    return (flat @ draws + (flat**2) @ draws.flip(1)) / 3


def thirds(inputs: Tensor, classes: Tensor) -> Tensor:
    """A rule of explanation, (B, K, 3, 3): the means of 3 x 3 cells, of another sign for odd classes."""
    cells = torch.nn.functional.adaptive_avg_pool2d(inputs, 3) / 1024 + 0.3
    return cells * (1 - 2 * (classes % 2))[..., None, None]


def always(maps: Tensor) -> Explain:
    """A rule that says the same of every image."""
    return lambda inputs, classes: maps


def scans(count: int, side: int, seed: int = 0) -> Tensor:
    """Inputs of chance, float64 in [-1024, 1024]."""
    return random_maps((count, 1, side, side), seed=seed) * 2048 - 1024


def slow_mask(saliency: np.ndarray, side: int) -> np.ndarray:
    """The normalised map between its cell centres, pixel by pixel."""
    mask = np.zeros((side, side))
    for row, column in np.ndindex(mask.shape):
        y, x = (
            min(max((at + 0.5) * cells / side - 0.5, 0), cells - 1)
            for at, cells in zip((row, column), saliency.shape, strict=True)
        )
        for i, j in np.ndindex(saliency.shape):
            mask[row, column] += max(0, 1 - abs(y - i)) * max(0, 1 - abs(x - j)) * saliency[i, j]
    return mask


def slow_normalised(values: np.ndarray) -> np.ndarray:
    """(x - min) / (max - min) of the positive part."""
    positive = [max(float(value), 0.0) for value in values.flat]
    low, high = min(positive), max(positive)
    if low == high:
        return np.full(values.shape, float(high > 0))
    return np.array([(value - low) / (high - low) for value in positive]).reshape(values.shape)


def slow_coherency(one: np.ndarray, other: np.ndarray) -> float:
    """Half of 1 + Pearson's r of the positive parts; 0 where one of them is even."""
    x, y = ([max(float(value), 0.0) for value in each.flat] for each in (one, other))
    if len(set(x)) == 1 or len(set(y)) == 1:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1] + 1) / 2


def slow_parts(image: Tensor, blank: Tensor, index: int, values: Tensor) -> list[float]:
    """Average drop, increase, coherency, complexity and ADCC of one map of one image (1, 1, S, S)."""
    shown = slow_normalised(values.numpy())
    mask = torch.from_numpy(slow_mask(shown, image.shape[-1]))
    masked = image * mask + blank * (1 - mask)
    y, y_e = (1 / (1 + math.exp(-float(crooked(each)[0, index]))) for each in (image, masked))
    drop, increase = max(0.0, y - y_e) / y, float(y_e > y)
    coherency = slow_coherency(values.numpy(), thirds(masked, torch.tensor([[index]]))[0, 0].numpy())
    complexity = math.fsum(shown.flat) / shown.size
    parts = coherency, 1 - complexity, 1 - drop
    return [
        drop,
        increase,
        coherency,
        complexity,
        0.0 if min(parts) <= 0 else 3 / sum(1 / each for each in parts),
    ]


def columns(parts: Adcc) -> list[np.ndarray]:
    return [parts.average_drop, parts.increase, parts.coherency, parts.complexity, parts.adcc]


@pytest.mark.parametrize("baseline", ["black", "blur", "mean"])
@pytest.mark.parametrize("side", [6, 8])
def test_each_part_is_its_definition(side: int, baseline: Baseline) -> None:
    inputs, classes = scans(3, side), torch.tensor([[0, 2], [1, 0], [2, 1]])
    maps = thirds(inputs, classes)
    blank = baseline_of(inputs, baseline)
    found = columns(adcc(crooked, thirds, inputs, classes, maps, baseline=baseline))
    for b, k in np.ndindex(3, 2):
        expected = slow_parts(inputs[b : b + 1], blank[b : b + 1], int(classes[b, k]), maps[b, k])
        np.testing.assert_allclose([each[b, k] for each in found], expected, rtol=1e-9, atol=1e-12)
    assert len(np.unique(found[1])) == 2  # scores that fell, and scores that rose


def test_a_perfect_map_loses_nothing() -> None:
    perfect = REGION[None, None]
    parts = adcc(linear, always(perfect), BRIGHT, FIRST, perfect)
    assert [each.item() for each in columns(parts)] == pytest.approx([0, 0, 1, 1 / 6, 3 / (1 + 6 / 5 + 1)])


def test_an_inverted_and_an_empty_map_lose_all_there_is() -> None:
    for maps in (1 - REGION[None, None], torch.zeros(1, 1, 6, 6), -torch.ones(1, 1, 6, 6)):
        parts = adcc(linear, always(maps), BRIGHT, FIRST, maps)
        assert parts.average_drop.item() == pytest.approx((HIGH - LOW) / HIGH)
        assert parts.increase.item() == 0


def test_an_empty_and_an_even_map_win_nothing() -> None:
    for value, complexity, drop in ((0.0, 0, (HIGH - LOW) / HIGH), (0.7, 1, 0)):
        maps = torch.full((1, 1, 3, 3), value)
        parts = adcc(linear, always(maps), BRIGHT, FIRST, maps)
        found = parts.complexity.item(), parts.coherency.item(), parts.adcc.item(), parts.average_drop.item()
        assert found == pytest.approx((complexity, 0, 0, drop))


def test_one_cell_is_even() -> None:
    maps = torch.ones(1, 1, 1, 1)
    parts = adcc(linear, always(maps), BRIGHT, FIRST, maps)
    assert (parts.average_drop.item(), parts.complexity.item(), parts.adcc.item()) == (0, 1, 0)


def test_coherency_is_1_for_the_same_map_0_for_its_inverse_and_0_where_none_came_back() -> None:
    maps = random_maps((1, 1, 3, 3), seed=0)
    for again, expected in (
        (maps, 1),
        (5 * maps, 1),
        (1 - maps, 0),
        (torch.zeros_like(maps), 0),
        (torch.full_like(maps, 0.3), 0),
        (-maps, 0),
    ):
        assert adcc(linear, always(again), BRIGHT, FIRST, maps).coherency.item() == pytest.approx(expected)


def test_the_rule_is_asked_about_the_masked_image_and_its_class() -> None:
    inputs, classes = scans(2, 6), torch.tensor([[0, 2], [1, 0]])
    maps = random_maps((2, 2, 6, 6), seed=1)
    asked: list[tuple[Tensor, Tensor]] = []

    def explain(images: Tensor, of: Tensor) -> Tensor:
        asked.append((images.clone(), of.clone()))
        return torch.ones(*of.shape, 6, 6)

    adcc(crooked, explain, inputs, classes, maps)
    for k, (images, of) in enumerate(asked):
        shown = normalised(maps[:, k : k + 1])
        assert torch.equal(of, classes[:, k : k + 1])
        np.testing.assert_allclose(images, inputs * shown - 1024 * (1 - shown))
    assert len(asked) == 2


def test_a_rise_is_an_increase_and_no_drop() -> None:
    def against(inputs: Tensor) -> Tensor:
        return -linear(inputs)

    maps = 1 - REGION[None, None]
    parts = adcc(against, always(maps), BRIGHT, FIRST, maps)
    assert (parts.average_drop.item(), parts.increase.item()) == (0, 1)


def test_a_score_of_zero_cannot_drop() -> None:
    parts = adcc(
        lambda x: torch.full((len(x), 1), -math.inf), thirds, BRIGHT, FIRST, random_maps((1, 1, 3, 3), seed=0)
    )
    assert (parts.average_drop.item(), parts.increase.item()) == (0, 0)


def test_many_images_and_classes_are_each_as_alone() -> None:
    inputs, classes = scans(3, 8), torch.tensor([[0, 2], [1, 0], [2, 1]])
    maps = thirds(inputs, classes) + random_maps((3, 2, 3, 3), seed=1)
    together = columns(adcc(crooked, thirds, inputs, classes, maps, baseline="blur"))
    for b, k in np.ndindex(3, 2):
        one = (slice(b, b + 1), slice(k, k + 1))
        alone = adcc(crooked, thirds, inputs[b : b + 1], classes[one], maps[one], baseline="blur")
        for column, single in zip(together, columns(alone), strict=True):
            np.testing.assert_allclose(column[one], single, rtol=1e-12, atol=1e-12)


def test_maps_of_another_scale_have_the_same_parts() -> None:
    inputs, maps = scans(1, 6), random_maps((1, 1, 3, 3), seed=1)
    one, other = (columns(adcc(crooked, thirds, inputs, FIRST, each)) for each in (maps, 40 * maps))
    np.testing.assert_allclose(one, other)


def test_adcc_leaves_what_it_was_given() -> None:
    given_ = scans(1, 6), FIRST.clone(), random_maps((1, 1, 3, 3), seed=1) - 0.5
    kept = [each.clone() for each in given_]
    adcc(crooked, thirds, *given_)
    assert all(map(torch.equal, given_, kept))


@given(arrays(np.float64, (3, 4), elements=st.integers(-3, 3).map(float)))
def test_normalisation_is_its_definition(values: np.ndarray) -> None:
    found = normalised(torch.from_numpy(values)[None, None])[0, 0]
    np.testing.assert_allclose(found, slow_normalised(values))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_the_harmonic_mean_is_its_definition_and_0_with_a_0(parts: list[float]) -> None:
    parts = [0.0 if part < 1e-300 else part for part in parts]
    found = harmonic(*map(np.array, parts)).item()
    expected = 0.0 if 0 in parts else len(parts) / math.fsum(1 / part for part in parts)
    assert found == pytest.approx(expected)


def test_the_harmonic_mean_of_means_is_not_the_mean_of_the_rows() -> None:
    first, second = np.array([0.2, 1.0]), np.array([1.0, 0.2])
    assert harmonic(first.mean(), second.mean()).item() == pytest.approx(0.6)
    assert harmonic(first, second).mean() == pytest.approx(1 / 3)


def test_what_does_not_fit_is_refused() -> None:
    maps = torch.ones(1, 1, 3, 3)
    refused: list[Callable[[], object]] = [
        lambda: adcc(linear, thirds, BRIGHT, FIRST, torch.ones(1, 2, 3, 3)),
        lambda: adcc(linear, thirds, BRIGHT, FIRST, torch.ones(2, 1, 3, 3)),
        lambda: adcc(linear, thirds, BRIGHT[0], FIRST, maps),
        lambda: adcc(linear, thirds, BRIGHT, FIRST, maps * math.nan),
        lambda: adcc(linear, thirds, BRIGHT, FIRST + 1, maps),
        lambda: adcc(linear, thirds, BRIGHT, FIRST, maps, baseline="white"),  # type: ignore[arg-type]
    ]
    for call in refused:
        with pytest.raises(OptionError, match="expected"):
            call()
    with pytest.raises(ModelError, match="NaN"):
        adcc(lambda x: x.mean(dim=(2, 3)) * math.nan, thirds, BRIGHT, FIRST, maps)
