"""The stack of several layers' maps: loops over numbers, and LayerCAM along a DenseNet."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import NAMES, images, randomise, small_net
from numpy.typing import NDArray
from torch import Tensor, nn

from cxr_explain import HookedClassifier, Outputs, XRVDenseNet
from cxr_explain.cam.fusion import fuse
from cxr_explain.cam.layers import combine_layers
from cxr_explain.cam.rules import class_maps
from cxr_explain.errors import OptionError

Block = NDArray[np.float64]
CLASSES = torch.tensor([[4, 0, 2], [1, 1, 3]])
side = st.integers(1, 5)


def literal_bilinear(one: Block, rows: int, columns: int) -> Block:
    """Pixels are areas: the centre of output i lies at (i + 1/2) I / rows - 1/2; edges are repeated."""
    I, J = one.shape  # noqa: E741
    result = np.zeros((rows, columns))

    def between(index: int, inside: int, outside: int) -> tuple[int, int, float]:
        at = max((index + 0.5) * inside / outside - 0.5, 0.0)
        low = min(math.floor(at), inside - 1)
        return low, min(low + 1, inside - 1), at - low

    for i, j in np.ndindex(rows, columns):
        (top, bottom, down), (left, right, across) = between(i, I, rows), between(j, J, columns)
        above = one[top, left] * (1 - across) + one[top, right] * across
        below = one[bottom, left] * (1 - across) + one[bottom, right] * across
        result[i, j] = above * (1 - down) + below * down
    return result


def literal_stack(layers: list[Block]) -> Block:
    """Divide by an image's largest magnitude, tanh(2 x), to the finest grid, the largest of the layers."""
    rows, columns = max((maps.shape[2:] for maps in layers), key=math.prod)
    B, K = layers[0].shape[:2]
    result = np.full((B, K, rows, columns), -math.inf)
    for maps in layers:
        for b in range(B):
            peak = max(abs(float(value)) for value in maps[b].flat)
            for k in range(K):
                scaled = np.vectorize(lambda x, peak=peak: math.tanh(2 * x / peak) if peak else 0.0)(
                    maps[b, k]
                )
                result[b, k] = np.maximum(result[b, k], literal_bilinear(scaled, rows, columns))
    return result


@given(st.lists(st.tuples(side, side), min_size=1, max_size=3), st.integers(1, 3), st.integers(0, 2**31))
def test_it_is_the_literal_stack(sides: list[tuple[int, int]], K: int, seed: int) -> None:  # noqa: N803
    rng = np.random.default_rng(seed)
    layers = [rng.standard_normal((2, K, *each)) * 10.0 ** rng.integers(-6, 6) for each in sides]
    found = combine_layers([torch.from_numpy(maps) for maps in layers])
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, literal_stack(layers), atol=1e-12)


def test_known_answer() -> None:
    coarse, fine = torch.tensor([[[[5.0]]]]), torch.tensor([[[[0.0, 4.0], [2.0, -4.0]]]])
    expected = torch.full((1, 1, 2, 2), math.tanh(2.0))
    torch.testing.assert_close(combine_layers([coarse, fine]), expected)
    against = combine_layers([-coarse, fine])
    expected = torch.tensor([[[[0.0, math.tanh(2.0)], [math.tanh(1.0), -math.tanh(2.0)]]]])
    torch.testing.assert_close(against, expected)


def test_a_layers_scale_does_not_matter_but_the_classes_scale_within_it_does() -> None:
    coarse, fine = torch.rand(2, 3, 4, 4) - 0.5, torch.rand(2, 3, 8, 8) - 0.5
    found = combine_layers([coarse, fine])
    torch.testing.assert_close(combine_layers([coarse * 1e-4, fine * 1e4]), found, rtol=1e-4, atol=1e-6)
    weaker = coarse.clone()
    weaker[:, 1] *= 0.1
    assert not torch.allclose(combine_layers([weaker, fine])[:, 1], found[:, 1])
    assert found.abs().max() <= 1


def test_the_order_of_the_layers_does_not_matter() -> None:
    maps = [torch.randn(2, 3, size, size) for size in (2, 7, 4)]
    torch.testing.assert_close(combine_layers(maps), combine_layers(maps[::-1]))


def test_images_do_not_mix() -> None:
    maps = [torch.randn(2, 3, size, size) for size in (4, 8)]
    alone = torch.cat([combine_layers([each[b : b + 1] for each in maps]) for b in range(2)])
    torch.testing.assert_close(combine_layers(maps), alone)


def test_the_strongest_class_of_a_position_stays_the_strongest_of_one_layer() -> None:
    """Scaled together: the fusion of one layer's stack has the winners of the layer itself."""
    maps = torch.randn(2, 3, 6, 6)
    assert torch.equal(fuse(combine_layers([maps])).winner, fuse(maps).winner)


def test_layers_without_any_evidence_stay_zero() -> None:
    zeros = torch.zeros(1, 2, 4, 4)
    assert (combine_layers([zeros, torch.zeros(1, 2, 2, 2)]) == 0).all()
    fine = torch.randn(1, 2, 8, 8)
    torch.testing.assert_close(combine_layers([zeros, fine]), combine_layers([fine]).clamp(min=0))


def test_no_class_gives_no_map() -> None:
    assert combine_layers([torch.zeros(2, 0, 4, 4), torch.zeros(2, 0, 8, 6)]).shape == (2, 0, 8, 6)


def test_what_is_not_finite_is_never_hidden() -> None:
    maps = torch.ones(1, 1, 4, 4)
    broken = maps.clone()
    broken[..., 1, 1] = math.nan
    assert combine_layers([maps, broken]).isnan().any()


@pytest.mark.parametrize(
    "shapes",
    [[], [(1, 2, 4, 4), (1, 3, 4, 4)], [(1, 2, 4, 4), (2, 2, 4, 4)], [(2, 4, 4), (2, 4, 4)]],
    ids=["none", "other classes", "other images", "no image axis"],
)
def test_maps_that_do_not_belong_together_are_refused(shapes: list[tuple[int, ...]]) -> None:
    with pytest.raises(OptionError, match=r"maps of shapes .*expected \(B, K, I, J\)"):
        combine_layers([torch.zeros(shape) for shape in shapes])


# -- along a DenseNet --


def densenet() -> nn.Module:
    """The four blocks and three transitions of a DenseNet-121, with two layers a block."""
    from torchxrayvision.models import DenseNet

    torch.manual_seed(0)
    module = DenseNet(
        growth_rate=4, block_config=(2, 2, 2, 2), num_init_features=8, bn_size=2, num_classes=len(NAMES)
    )
    with torch.no_grad():
        module.features.conv0.weight /= 500
    return randomise(module)


FIRST, SECOND, THIRD = (f"features.transition{number}.relu" for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("layers", "expected"),
    [((FIRST,), 56), ((SECOND,), 28), ((THIRD,), 14), ((FIRST, SECOND), 56), ((THIRD, SECOND), 28), ((), 7)],
)
def test_layercam_along_a_densenet_has_the_finest_layers_grid(layers: tuple[str, ...], expected: int) -> None:
    classifier = XRVDenseNet(densenet(), Outputs(NAMES))
    maps = class_maps(classifier, images(2, 224), CLASSES, method="layercam", layers=layers)
    assert maps.shape == (2, 3, expected, expected)
    assert maps.abs().amax(dim=(2, 3)).min() > 0
    assert torch.isfinite(fuse(maps).maps).all()


def test_a_stack_is_made_of_its_layers_own_maps_in_one_forward_pass() -> None:
    module = densenet()
    classifier = XRVDenseNet(module, Outputs(NAMES))
    alone = [
        class_maps(classifier, images(2, 224), CLASSES, method="layercam", layers=[name])
        for name in (FIRST, SECOND)
    ]
    passes: list[int] = []
    module.features.conv0.register_forward_hook(lambda *_: passes.append(1))  # type: ignore[union-attr]
    found = class_maps(classifier, images(2, 224), CLASSES, method="layercam", layers=[FIRST, SECOND])
    assert passes == [1]
    torch.testing.assert_close(found, combine_layers(alone), rtol=1e-4, atol=1e-6)


def test_one_layer_is_not_scaled() -> None:
    """Its maps are the rule's own, so that the fusion sees what it sees of the target layer."""
    classifier = HookedClassifier(small_net(), "5", Outputs(NAMES), input_size=64)
    own: Tensor = class_maps(classifier, images(), CLASSES, method="layercam")
    torch.testing.assert_close(
        class_maps(classifier, images(), CLASSES, method="layercam", layers=["5"]), own
    )
