"""Grad-CAM's weighting rule and the class maps it gives (FM-G-CAM, arXiv 2312.05975, equations 2 and 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from cxr_explain.errors import OptionError


def grad_cam_weights(gradients: Tensor) -> Tensor:
    """Equation 2: alpha_c^k is the mean over i, j of dy^k / da_c.

    Args:
        gradients: (B, K, C, I, J), the gradient of each class score with respect to the activations.

    Returns:
        (B, K, C), at least float32.

    >>> grad_cam_weights(torch.ones(1, 2, 3, 4, 4)).shape
    torch.Size([1, 2, 3])
    """
    dtype = torch.promote_types(gradients.dtype, torch.float32)
    return gradients.mean(dim=(-2, -1), dtype=dtype)


def weighted_sum(activations: Tensor, weights: Tensor) -> Tensor:
    """Equation 3: R^k = (1/C) sum_c alpha_c^k a_c.

    Args:
        activations: a, (B, C, I, J).
        weights: alpha, (B, K, C).

    Returns:
        (B, K, I, J), signed: what speaks against a class is negative. At least float32.

    Raises:
        OptionError: shapes that do not fit.
    """
    B, C, I, J = _shape(activations, 4, "(B, C, I, J)")  # noqa: E741 - the paper's letters
    if weights.ndim != 3 or weights.shape[0] != B or weights.shape[2] != C:
        raise OptionError(f"weights of shape {tuple(weights.shape)}", expected=f"({B}, K, {C})")
    dtype = torch.promote_types(torch.promote_types(activations.dtype, weights.dtype), torch.float32)
    flat = activations.to(dtype).reshape(B, C, I * J)
    return (weights.to(dtype) @ flat).div_(C).reshape(B, weights.shape[1], I, J)


def _shape(tensor: Tensor, ndim: int, expected: str) -> torch.Size:
    if tensor.ndim != ndim or not tensor.is_floating_point():
        raise OptionError(f"{tensor.dtype} activations of shape {tuple(tensor.shape)}", expected=expected)
    return tensor.shape
