"""The blanks, the scores and the refusals that all faithfulness metrics share."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from cxr_explain.errors import ModelError, OptionError
from cxr_explain.measures.subject import (
    baseline_of,
    check_maps,
    probabilities,
)

FIRST = torch.tensor([[0]])


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Inputs of chance, float64 in [-1024, 1024]."""
    draws = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return draws * 2048 - 1024


def three_outputs(inputs: Tensor) -> Tensor:
    """(N, 3): -1, 0 and 2 times the mean of the image, in hundreds."""
    return inputs.mean(dim=(2, 3)) / 100 * torch.tensor([-1.0, 0.0, 2.0], dtype=inputs.dtype)


def test_black_is_no_dose_and_not_the_middle_of_the_range() -> None:
    blank = baseline_of(noise(2, 1, 8, 8), "black")
    assert blank.shape == (2, 1, 8, 8)
    assert (blank == -1024).all()


def test_the_mean_is_each_image_s_own() -> None:
    inputs = noise(2, 1, 6, 6)
    blank = baseline_of(inputs, "mean")
    assert blank.shape == inputs.shape
    for image, each in zip(inputs, blank, strict=True):
        own = math.fsum(image.flatten().tolist()) / 36
        np.testing.assert_allclose(each, own)


@pytest.mark.parametrize("side", [1, 2, 3, 28, 45])
def test_the_blur_is_scipy_s_gaussian_of_a_fourteenth_of_the_side(side: int) -> None:
    """Of radius 3 standard deviations, and mirrored at the border without the outermost pixel twice."""
    inputs = noise(2, 1, side, side)
    blank = baseline_of(inputs, "blur")
    for image, each in zip(inputs, blank, strict=True):
        expected = gaussian_filter(image[0].numpy(), side / 14, mode="mirror", truncate=3)
        np.testing.assert_allclose(each[0], expected, rtol=1e-10, atol=1e-9)


def test_an_even_image_is_its_own_blur_and_its_own_mean() -> None:
    even = torch.full((1, 1, 30, 30), 321.0, dtype=torch.float64)
    for kind in ("blur", "mean"):
        np.testing.assert_allclose(baseline_of(even, kind), even)


def test_a_blank_leaves_its_image_alone_and_keeps_its_dtype() -> None:
    inputs = noise(1, 1, 14, 14).float()
    before = inputs.clone()
    for kind in ("black", "blur", "mean"):
        assert baseline_of(inputs, kind).dtype == torch.float32
    assert torch.equal(inputs, before)


def test_probabilities_are_the_sigmoids_of_each_image_s_own_classes() -> None:
    inputs = noise(3, 1, 4, 4)
    classes = torch.tensor([[0, 2], [2, 1], [1, 1]])
    found = probabilities(three_outputs, inputs, classes)
    logits = three_outputs(inputs).tolist()
    expected = [[1 / (1 + math.exp(-logits[n][k])) for k in classes[n].tolist()] for n in range(3)]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected)


def test_infinite_logits_are_certain() -> None:
    certain = probabilities(
        lambda x: torch.tensor([[-math.inf, math.inf]]), noise(1, 1, 2, 2), FIRST.new_tensor([[0, 1]])
    )
    assert certain.tolist() == [[0.0, 1.0]]


def test_scores_are_made_without_a_graph() -> None:
    weight = torch.ones(1, requires_grad=True)

    def score(inputs: Tensor) -> Tensor:
        logits = inputs.mean(dim=(2, 3)) * weight
        assert not logits.requires_grad
        return logits

    probabilities(score, torch.zeros(1, 1, 2, 2), FIRST)


@pytest.mark.parametrize(
    "score",
    [
        lambda x: x.mean(),
        lambda x: x.mean(dim=(1, 2, 3)),
        lambda x: x.mean(dim=3),
        lambda x: x.mean(dim=(2, 3))[:1],
        lambda x: x.mean(dim=(2, 3)) * math.nan,
    ],
)
def test_scores_that_are_none_are_refused(score: object) -> None:
    with pytest.raises(ModelError, match="expected"):
        probabilities(score, torch.ones(2, 1, 4, 4), torch.zeros(2, 1, dtype=torch.int64))  # type: ignore[arg-type]


def test_only_the_classes_asked_for_must_be_numbers() -> None:
    half = probabilities(lambda x: torch.tensor([[0.0, math.nan]]), torch.zeros(1, 1, 2, 2), FIRST)
    assert half.item() == 0.5


@pytest.mark.parametrize("index", [-1, 3])
def test_a_class_that_the_model_does_not_have_is_refused(index: int) -> None:
    with pytest.raises(OptionError, match="0 to 2"):
        probabilities(three_outputs, torch.zeros(1, 1, 2, 2), torch.tensor([[0, index]]))


def test_another_blank_is_refused() -> None:
    with pytest.raises(OptionError, match="black, blur, mean"):
        baseline_of(torch.zeros(1, 1, 4, 4), "grey")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("inputs", "classes", "maps", "message"),
    [
        ((8, 8), (1, 1), (1, 1, 2, 2), "inputs of shape"),
        ((1, 3, 8, 8), (1, 1), (1, 1, 2, 2), "inputs of shape"),
        ((1, 1, 8, 6), (1, 1), (1, 1, 2, 2), "inputs of shape"),
        ((1, 1, 8, 8), (1,), (1, 1, 2, 2), "maps of shape .* for classes"),
        ((1, 1, 8, 8), (1, 1), (1, 2, 2), "maps of shape .* for classes"),
        ((1, 1, 8, 8), (1, 2), (1, 1, 2, 2), "maps of shape .* for classes"),
        ((2, 1, 8, 8), (1, 1), (1, 1, 2, 2), "1 images' maps for 2 inputs"),
        ((1, 1, 8, 8), (1, 1), (1, 1, 0, 2), "an image, a class and a cell"),
        ((1, 1, 8, 8), (1, 0), (1, 0, 2, 2), "an image, a class and a cell"),
        ((0, 1, 8, 8), (0, 1), (0, 1, 2, 2), "an image, a class and a cell"),
    ],
)
def test_shapes_that_do_not_belong_together_are_refused(
    inputs: tuple[int, ...], classes: tuple[int, ...], maps: tuple[int, ...], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        check_maps(torch.zeros(inputs), torch.zeros(classes, dtype=torch.int64), torch.zeros(maps))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_maps_that_are_not_finite_are_refused(value: float) -> None:
    maps = torch.zeros(1, 1, 2, 2)
    check_maps(torch.zeros(1, 1, 8, 8), FIRST, maps)
    maps[0, 0, 1, 0] = value
    with pytest.raises(OptionError, match="finite"):
        check_maps(torch.zeros(1, 1, 8, 8), FIRST, maps)
