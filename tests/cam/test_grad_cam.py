"""Equations 2 and 3 by themselves."""

from __future__ import annotations

import literal
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cxr_explain.cam.grad_cam import grad_cam_weights, weighted_sum
from cxr_explain.errors import OptionError

extent = st.integers(1, 4)


@given(extent, st.integers(1, 18), extent, extent, extent, st.integers(0, 2**31))
def test_both_equal_the_literal_reading(B: int, K: int, C: int, I: int, J: int, seed: int) -> None:  # noqa: E741, N803
    rng = np.random.default_rng(seed)
    activations, gradients = rng.standard_normal((B, C, I, J)), rng.standard_normal((B, K, C, I, J))
    weights = grad_cam_weights(torch.from_numpy(gradients))
    np.testing.assert_allclose(weights, literal.alphas(gradients), atol=1e-12)
    maps = weighted_sum(torch.from_numpy(activations), weights)
    np.testing.assert_allclose(maps, literal.class_maps(activations, weights.numpy()), atol=1e-12)


def test_constant_gradients_are_their_own_mean() -> None:
    weights = torch.randn(2, 3, 4, dtype=torch.float64)
    gradients = weights[..., None, None].expand(2, 3, 4, 5, 6)
    torch.testing.assert_close(grad_cam_weights(gradients), weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_maps_are_at_least_float32(dtype: torch.dtype) -> None:
    expected = torch.promote_types(dtype, torch.float32)
    assert grad_cam_weights(torch.ones(1, 1, 1, 2, 2, dtype=dtype)).dtype == expected
    ones = torch.ones(1, 1, 2, 2, dtype=dtype)
    assert weighted_sum(ones, torch.ones(1, 1, 1, dtype=dtype)).dtype == expected


def test_the_division_by_channels_is_there() -> None:
    assert weighted_sum(torch.ones(1, 4, 1, 1), torch.ones(1, 1, 4)).item() == 1.0


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(OptionError, match=r"expected \(2, K, 3\)"):
        weighted_sum(torch.rand(2, 3, 4, 4), torch.rand(2, 1, 4))
