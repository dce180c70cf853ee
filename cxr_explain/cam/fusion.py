"""FM-G-CAM: the fusion of K class maps into one (arXiv 2312.05975, equations 4 to 6), and nothing else.

Everything here takes tensors and returns tensors; it needs nothing else of this package but the rule that
makes class maps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cxr_explain.cam.grad_cam import grad_cam_weights, weighted_sum
from cxr_explain.errors import OptionError
from cxr_explain.options import Activation, Normalisation, check_option

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "elu": F.elu, "gelu": F.gelu}
_NORM_DIMS: dict[str, tuple[int, ...]] = {
    "joint": (-3, -2, -1),  # equation 6: the whole (K, I, J) block
    "per-class": (-2, -1),  # each class map by itself
    "released": (-2,),  # each column of each class map, as the authors' package does
}


@dataclass(frozen=True, eq=False)
class FusedMaps:
    """One fused map for each image: at each position, only the strongest of K classes keeps its evidence.

    Args:
        maps: (B, K, I, J), filtered (if `fused`), normalised and activated; equation 6. At least float32.
        class_maps: (B, K, I, J), the raw signed maps that were fused; equation 3.
        winner: (B, I, J) int64, the rank whose class map is largest at each position; -1 where K is 0.
        normalisation: "joint", "per-class" or "released".
        activation: "relu", "elu" or "gelu".
        fused: False where equation 4 was left out, so that each class keeps its whole map.
        without_gradient: (B, K) bool, classes whose maps are empty because no gradient of their scores
            reaches the layer; None where nobody asked.

    >>> fused = fuse(torch.tensor([[[[3.0, 1.0]], [[0.0, 2.0]]]]))
    >>> fused.winner.tolist(), (fused.maps > 0).tolist()
    ([[[0, 1]]], [[[[True, False]], [[False, True]]]])
    """

    maps: Tensor
    class_maps: Tensor
    winner: Tensor
    normalisation: Normalisation
    activation: Activation
    fused: bool = True
    without_gradient: Tensor | None = None

    @property
    def without_evidence(self) -> Tensor:
        """(B, K) bool: classes that win nowhere with positive evidence. A state, not an error.

        Those that no gradient ties to the layer are not among them: of these nothing is known.
        """
        nowhere = ~(self.maps > 0).flatten(2).any(dim=2)
        return nowhere if self.without_gradient is None else nowhere & ~self.without_gradient


def fm_g_cam(
    activations: Tensor,
    weights_or_gradients: Tensor,
    *,
    normalisation: Normalisation = "joint",
    activation: Activation = "relu",
) -> FusedMaps:
    """Fused multi-class Grad-CAM of a batch, from tensors alone.

    Args:
        activations: a, (B, C, I, J), of the target layer.
        weights_or_gradients: for the K ranked classes, best first: either alpha, (B, K, C), or the gradients
            dy^k / da, (B, K, C, I, J), which are averaged over i, j (equation 2). Where the head is global
            average pooling and a linear layer with weight w, alpha^k = w^k / (I J) without any gradient.
        normalisation: "joint" divides by the L2 norm of the whole (K, I, J) block (equation 6), "per-class"
            divides each map by its own, "released" each column of each map (the authors' package).
        activation: "relu" keeps what speaks for a class; "elu" and "gelu" keep a trace of the rest.

    Returns:
        FusedMaps; blocks without any evidence stay zero.

    Raises:
        OptionError: shapes that do not fit, or an unknown normalisation or activation.

    Source:
        Silva and Bird, FM-G-CAM: A Holistic Approach for Explainable AI in Computer Vision, arXiv 2312.05975.

    >>> a = torch.rand(2, 8, 7, 7)
    >>> fm_g_cam(a, torch.randn(2, 3, 8)).maps.shape
    torch.Size([2, 3, 7, 7])
    """
    if weights_or_gradients.ndim == 5:
        if weights_or_gradients.shape[-2:] != activations.shape[-2:]:
            raise OptionError(
                f"gradients of shape {tuple(weights_or_gradients.shape)}",
                expected=f"(B, K, C, I, J) with the activations' {tuple(activations.shape)}",
            )
        weights_or_gradients = grad_cam_weights(weights_or_gradients)
    return fuse(
        weighted_sum(activations, weights_or_gradients),
        normalisation=normalisation,
        activation=activation,
    )


def fuse(
    class_maps: Tensor,
    *,
    normalisation: Normalisation = "joint",
    activation: Activation = "relu",
    fused: bool = True,
) -> FusedMaps:
    """Fuse class maps of any rule: filter (equation 4), normalise and activate (equation 6).

    Args:
        class_maps: R, (B, K, I, J), ranked best first; ties go to the better rank.
        normalisation: "joint" divides by the L2 norm of the whole (K, I, J) block, "per-class" divides each
            map by its own norm, "released" each column of each map (the authors' package).
        activation: "relu" keeps what speaks for a class; "elu" and "gelu" keep a trace of the rest.
        fused: whether the filter is applied; without it the maps are scaled together, but each class keeps
            its whole map.

    Raises:
        OptionError: maps of another shape, or an unknown normalisation or activation.

    >>> fused = fuse(torch.tensor([[[[3.0, 0.0]], [[1.0, 4.0]]]]))
    >>> fused.maps.flatten().tolist()
    [0.6000000238418579, 0.0, 0.0, 0.800000011920929]
    """
    if class_maps.ndim != 4 or not class_maps.is_floating_point():
        raise OptionError(
            f"{class_maps.dtype} class maps of shape {tuple(class_maps.shape)}", expected="float (B, K, I, J)"
        )
    check_option("normalisation", normalisation, Normalisation)
    check_option("activation", activation, Activation)
    class_maps = class_maps.to(torch.promote_types(class_maps.dtype, torch.float32))
    strongest, winner = _keep_strongest(class_maps)
    normalised = _divide_by_norm(strongest if fused else class_maps, _NORM_DIMS[normalisation])
    return FusedMaps(
        _ACTIVATIONS[activation](normalised), class_maps, winner, normalisation, activation, fused
    )


def _keep_strongest(class_maps: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 4. argmax returns the first of equal maxima, which is the better rank."""
    if class_maps.shape[1] == 0:
        return class_maps, torch.full_like(class_maps.sum(dim=1), -1, dtype=torch.int64)
    winner = class_maps.argmax(dim=1)
    ranks = torch.arange(class_maps.shape[1], device=class_maps.device).view(1, -1, 1, 1)
    return class_maps.where(ranks == winner[:, None], 0), winner


def _divide_by_norm(maps: Tensor, dims: tuple[int, ...]) -> Tensor:
    """L2-normalise over `dims`; zero blocks stay zero.

    Scaled by the largest magnitude first, so that the squares of tiny maps do not underflow.
    """
    if maps.numel() == 0:
        return maps
    peak = maps.abs().amax(dim=dims, keepdim=True)
    scaled = maps / peak.where(peak > 0, 1)
    norm: Tensor = torch.linalg.vector_norm(scaled, dim=dims, keepdim=True)
    return scaled / norm.where(norm > 0, 1)
