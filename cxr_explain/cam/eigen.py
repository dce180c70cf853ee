"""Eigen-CAM: what the activations have most in common, whatever the class."""

from __future__ import annotations

import torch
from torch import Tensor

from cxr_explain.cam.evidence import Evidence
from cxr_explain.errors import ModelError


def eigen_cam(evidence: Evidence) -> Tensor:
    """Eigen-CAM: the activations, projected on their first right singular vector.

    The same map for every class, so that a fusion gives everything to the best rank; and the head's weights
    play no part. The singular vector's sign is arbitrary: here the projection's sum is not negative.

    Source:
        Muhammad and Yeasin, Eigen-CAM, IJCNN 2020, equations 2 and 3; not centred, as there.
    """
    maps = first_projection(evidence.activations)
    return maps[:, None].expand(-1, evidence.classes.shape[1], -1, -1)


def first_projection(activations: Tensor) -> Tensor:
    """A V_1 of the matrix A, (I J, C), of each image: (B, C, I, J) -> (B, I, J).

    V_1 is the first eigenvector of A^T A; where C is larger than I J, A V_1 comes from that of A A^T, U_1, as
    U_1 times the first singular value.

    Raises:
        ModelError: activations that are not finite; they have no singular vectors.

    >>> first_projection(torch.ones(1, 4, 1, 1)).item()
    2.0
    """
    if not torch.isfinite(activations).all():
        raise ModelError("activations with NaN or infinite values", expected="finite activations")
    peak = activations.abs().amax(dim=(1, 2, 3))[:, None, None]
    flat = activations.flatten(2).transpose(1, 2) / peak.where(peak > 0, 1)  # A^T A squares them
    if flat.shape[1] <= flat.shape[2]:
        values, vectors = torch.linalg.eigh(flat @ flat.transpose(1, 2))
        projection = vectors[..., -1] * values[..., -1:].clamp(min=0).sqrt()
    else:
        _, vectors = torch.linalg.eigh(flat.transpose(1, 2) @ flat)
        projection = (flat @ vectors[..., -1:])[..., 0]
    sign = torch.where(projection.sum(dim=1, keepdim=True) < 0, -1.0, 1.0).to(projection.dtype)
    return torch.unflatten(projection * sign * peak[..., 0], 1, tuple(activations.shape[-2:]))
