"""Eigen-CAM against NumPy's singular value decomposition of each image by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import NAMES, images, small_net, small_xrv, snapshot, unsettle
from numpy.typing import NDArray
from torch import Tensor

from cxr_explain import HookedClassifier, Outputs, XRVDenseNet
from cxr_explain.cam.eigen import eigen_cam, first_projection
from cxr_explain.cam.fusion import fuse
from cxr_explain.cam.rules import class_maps
from cxr_explain.errors import ModelError
from cxr_explain.models.base import Classifier

Block = NDArray[np.float64]
CLASSES = torch.tensor([[3, 0, 4], [1, 2, 0]])
extent = st.integers(1, 4)


def linear() -> Classifier:
    return XRVDenseNet(small_xrv(5).double(), Outputs(NAMES), input_size=64)


def hooked() -> Classifier:
    return HookedClassifier(small_net().double(), "5", Outputs(NAMES), input_size=64)


both_heads = pytest.mark.parametrize("build", [linear, hooked])


def literal_projection(activations: Block) -> Block:
    """A V_1 of one image, (C, I, J) -> (I, J): a row of A for each position; the sum is not negative."""
    C, I, J = activations.shape  # noqa: E741
    A = np.zeros((I * J, C))
    for c, i, j in np.ndindex(C, I, J):
        A[i * J + j, c] = activations[c, i, j]
    first = np.linalg.svd(A)[2][0]
    result = np.zeros((I, J))
    for i, j in np.ndindex(I, J):
        result[i, j] = math.fsum(float(A[i * J + j, c]) * float(first[c]) for c in range(C))
    return -result if math.fsum(result.flat) < 0 else result


@given(shape=st.tuples(extent, st.integers(1, 9), extent, extent), seed=st.integers(0, 2**31))
def test_each_map_is_the_papers_projection(shape: tuple[int, int, int, int], seed: int) -> None:
    """Fewer channels than positions, and more; well apart singular values, or there is no first one."""
    a = np.random.default_rng(seed).uniform(0.1, 1, shape) ** 2  # no ReLU leaves less
    found = first_projection(torch.from_numpy(a))
    expected = np.stack([literal_projection(image) for image in a])
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("shape", [(3, 2, 5, 4), (3, 30, 5, 4)])
def test_activations_of_any_sign_have_a_sum_that_is_not_negative(shape: tuple[int, ...]) -> None:
    a = np.random.default_rng(5).standard_normal(shape)
    found = first_projection(torch.from_numpy(a)).numpy()
    np.testing.assert_allclose(found, np.stack([literal_projection(image) for image in a]), atol=1e-10)
    assert (found.sum(axis=(1, 2)) > 0).all()
    assert (found < 0).any()
    np.testing.assert_allclose(first_projection(torch.from_numpy(-a)), found, atol=1e-10)


def test_what_a_relu_left_gives_no_negative_value() -> None:
    """The first singular vectors of a matrix without negative entries have none (Perron and Frobenius)."""
    for classifier in (linear(), hooked()):
        assert (class_maps(classifier, images(), CLASSES, method="eigen-cam") >= -1e-12).all()


@pytest.mark.parametrize("channels", [3, 50])
def test_of_rank_one_it_is_the_pattern_itself(channels: int) -> None:
    rng = np.random.default_rng(0)
    pattern, of_channel = torch.from_numpy(rng.random((4, 5))), torch.from_numpy(rng.random(channels))
    a = of_channel[:, None, None] * pattern
    torch.testing.assert_close(first_projection(a[None])[0], pattern * of_channel.norm())
    torch.testing.assert_close(first_projection(-a[None])[0], pattern * of_channel.norm())


def test_the_stronger_of_two_patterns_that_do_not_meet() -> None:
    """As many channels as positions, then one channel more."""
    a = torch.zeros(1, 4, 2, 2, dtype=torch.float64)
    a[0, 0, 0, 0], a[0, 1, 1, 0], a[0, 1, 1, 1] = 1.3, 1.0, 1.0
    expected = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(first_projection(a)[0], expected)
    torch.testing.assert_close(first_projection(torch.cat([a, a[:, 3:]], dim=1))[0], expected)


def test_its_norm_is_the_first_singular_value() -> None:
    a = torch.randn(2, 7, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first = torch.linalg.svdvals(a.flatten(2))[:, 0]
    torch.testing.assert_close(first_projection(a).flatten(1).norm(dim=1), first)


def test_no_activation_is_a_map_of_zeros_beside_one_that_has_some() -> None:
    a = torch.rand(2, 3, 4, 4)
    a[1] = 0
    found = first_projection(a)
    assert found[0].all()
    assert found[1].tolist() == torch.zeros(4, 4).tolist()


@pytest.mark.parametrize("channels", [3, 40])
@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_activations_of_any_size_that_float32_holds(scale: float, channels: int) -> None:
    """Their squares would be 0 or infinite."""
    a = torch.rand(2, channels, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(first_projection(a * scale) / scale, first_projection(a), rtol=1e-5, atol=0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    a = torch.ones(2, 3, 4, 4)
    a[1, 1, 2, 2] = value
    with pytest.raises(ModelError, match="NaN or infinite"):
        first_projection(a)


@both_heads
def test_of_real_networks(build: Callable[[], Classifier]) -> None:
    classifier = build()
    a = classifier.forward(images()).activations
    before = a.clone()
    maps = class_maps(classifier, images(), CLASSES, method=eigen_cam)
    expected = np.stack([literal_projection(image) for image in a.numpy()])
    np.testing.assert_allclose(maps, expected[:, None].repeat(3, axis=1), rtol=1e-8, atol=1e-10)
    assert torch.equal(a, before)


@both_heads
def test_a_batch_equals_one_image_and_one_class_at_a_time(build: Callable[[], Classifier]) -> None:
    classifier, inputs = build(), images()
    together = class_maps(classifier, inputs, CLASSES, method="eigen-cam")
    for b in range(2):
        for k in range(3):
            alone = class_maps(classifier, inputs[b : b + 1], CLASSES[b, k : k + 1], method="eigen-cam")
            torch.testing.assert_close(alone[0, 0], together[b, k], rtol=1e-9, atol=1e-12)


@both_heads
def test_known_failure_it_says_nothing_about_the_class(build: Callable[[], Classifier]) -> None:
    """One map for all classes: equation 4 gives it to the best rank, and the others have no evidence."""
    maps = class_maps(build(), images(), CLASSES, method="eigen-cam")
    assert torch.equal(maps, maps[:, :1].expand_as(maps))
    other = class_maps(build(), images(), CLASSES.flip(1), method="eigen-cam")
    assert torch.equal(other, maps)
    fused = fuse(maps)
    assert fused.without_evidence.tolist() == [[False, True, True]] * 2
    assert not fused.winner.any()


def test_known_failure_the_heads_weights_play_no_part() -> None:
    module: Any = small_xrv(5).double()
    before = class_maps(XRVDenseNet(module, Outputs(NAMES)), images(), CLASSES, method="eigen-cam")
    with torch.no_grad():
        module.classifier.weight.neg_()
    after = class_maps(XRVDenseNet(module, Outputs(NAMES)), images(), CLASSES, method="eigen-cam")
    assert torch.equal(before, after)


@both_heads
def test_it_asks_for_no_gradient_and_no_other_pass(
    monkeypatch: pytest.MonkeyPatch, build: Callable[[], Classifier]
) -> None:
    classifier, calls = build(), 0
    forward = classifier.forward

    def count(inputs: Tensor) -> Any:
        nonlocal calls
        calls += 1
        return forward(inputs)

    def grad(*_: object, **__: object) -> None:
        raise AssertionError("a gradient")

    monkeypatch.setattr(classifier, "forward", count)
    monkeypatch.setattr(torch.autograd, "grad", grad)
    class_maps(classifier, images(), CLASSES, method="eigen-cam")
    assert calls == 1


@both_heads
def test_the_model_leaves_as_it_came(build: Callable[[], Classifier]) -> None:
    classifier = build()
    unsettle(classifier.module)
    before = snapshot(classifier.module)
    class_maps(classifier, images(), CLASSES, method="eigen-cam")
    assert snapshot(classifier.module) == before


def test_the_model_leaves_as_it_came_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = hooked()
    unsettle(classifier.module)
    before = snapshot(classifier.module)

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(torch.linalg, "eigh", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        class_maps(classifier, images(), CLASSES, method="eigen-cam")
    assert snapshot(classifier.module) == before


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_maps_are_at_least_float32(dtype: torch.dtype) -> None:
    classifier = linear()
    classifier.module.to(dtype)
    maps = class_maps(classifier, images().to(dtype), CLASSES, method="eigen-cam")
    assert maps.dtype == torch.promote_types(dtype, torch.float32)
    assert torch.isfinite(maps).all()
