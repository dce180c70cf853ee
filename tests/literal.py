"""Equations 2 to 6 of arXiv 2312.05975, read aloud: nested loops over numbers, nothing of the package."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Block = NDArray[np.float64]


def alphas(gradients: Block) -> Block:
    """Equation 2: alpha_c^k is the sum of dy^k / da_c over i, j, divided by their number."""
    B, K, C, I, J = gradients.shape  # noqa: E741
    result = np.zeros((B, K, C))
    for b in range(B):
        for k in range(K):
            for c in range(C):
                result[b, k, c] = math.fsum(float(value) for value in gradients[b, k, c].flat) / (I * J)
    return result


def class_maps(activations: Block, weights: Block) -> Block:
    """Equation 3: R^k at i, j is the sum over c of alpha_c^k a_c, divided by the number of channels."""
    B, C, I, J = activations.shape  # noqa: E741
    K = weights.shape[1]
    result = np.zeros((B, K, I, J))
    for b, k, i, j in np.ndindex(B, K, I, J):
        terms = [float(weights[b, k, c]) * float(activations[b, c, i, j]) for c in range(C)]
        result[b, k, i, j] = math.fsum(terms) / C
    return result


def keep_strongest(maps: Block) -> Block:
    """Equation 4: at each position only the class with the largest R keeps it; ties go to the better rank."""
    B, K, I, J = maps.shape  # noqa: E741
    result = np.zeros_like(maps)
    for b, i, j in np.ndindex(B, I, J):
        best = 0
        for k in range(1, K):
            if maps[b, k, i, j] > maps[b, best, i, j]:
                best = k
        if K:
            result[b, best, i, j] = maps[b, best, i, j]
    return result


def normalise(maps: Block, how: str) -> Block:
    """Equation 6 without its ReLU, or one of the two other norms; a block of zeros stays as it is."""
    B, K, _, J = maps.shape
    result = maps.copy()
    for b in range(B):
        if how == "joint":
            blocks = [np.index_exp[b]]
        elif how == "per-class":
            blocks = [np.index_exp[b, k] for k in range(K)]
        else:
            blocks = [np.index_exp[b, k, :, j] for k in range(K) for j in range(J)]
        for block in blocks:
            norm = math.sqrt(math.fsum(float(value) ** 2 for value in maps[block].flat))
            if norm > 0:
                result[block] = maps[block] / norm
    return result


def activate(maps: Block, how: str) -> Block:
    """ReLU, ELU or GELU of each number."""
    result = np.zeros_like(maps)
    for index in np.ndindex(maps.shape):
        x = float(maps[index])
        if how == "relu":
            result[index] = max(x, 0.0)
        elif how == "elu":
            result[index] = x if x > 0 else math.expm1(x)
        else:
            result[index] = x * 0.5 * (1 + math.erf(x / math.sqrt(2)))
    return result


def fused(activations: Block, weights: Block, normalisation: str, activation: str) -> Block:
    """The fused map by class, (B, K, I, J)."""
    return activate(normalise(keep_strongest(class_maps(activations, weights)), normalisation), activation)
