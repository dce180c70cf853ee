"""Rules over activations and their gradients, one formula each.

Each takes a, (B, C, I, J), and g = dy^k / da, (B, K, C, I, J), and gives the signed class maps (B, K, I, J).
Papers end in a ReLU, which is the fusion's, or the figure's. A positive factor that is the same all over one
class map is left out where a paper has one (exp(y) in Grad-CAM++): it does not change the map, but would
decide the fusion by how probable a class is, and not by where its evidence lies.

Behind global average pooling and a linear layer g is the same at every position. XGrad-CAM and HiResCAM are
then CAM times 1 / (I J), Grad-CAM is CAM times 1 / (C I J), and LayerCAM is CAM with the positive weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cxr_explain.cam.evidence import Evidence
from cxr_explain.cam.grad_cam import weighted_sum


def cam(evidence: Evidence) -> Tensor:
    """CAM: sum over c of w_c^k a_c, with the weights of the linear layer behind the pooling.

    Raises:
        ModelError: the head is another one.

    Source:
        Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016, equation 2.
    """
    return torch.einsum("bkc,bcij->bkij", evidence.head.of(evidence.classes), evidence.activations)


def grad_cam(evidence: Evidence) -> Tensor:
    """Grad-CAM: (1 / C) sum over c of the mean of g_c, times a_c; the default.

    Source:
        Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2, with FM-G-CAM's 1 / C (its equation 3).
    """
    return weighted_sum(evidence.activations, evidence.weights)


def grad_cam_plus_plus(evidence: Evidence) -> Tensor:
    """Grad-CAM++: positive gradients, averaged with weights that count each occurrence of a pattern.

    Made for activations behind a ReLU. Where they may be negative, the weights' denominator may cancel, and
    one channel may then outweigh all others.

    Note:
        Libraries differ from the equation. pytorch-grad-cam adds 1e-6 to a denominator of the size of g^2,
        which is often smaller: its weights are then nearly sums of g^3. torch-cam 0.5 divides a copy of
        alpha: its weights are sums of g^3. MONAI sums a g^3 over the positions, where the equation has g^3 of
        the one position times the sum of a; the same only where g is the same everywhere. The authors'
        released code also divides each channel's alpha by its sum.

    Source:
        Chattopadhyay et al., Grad-CAM++, WACV 2018 (arXiv 1710.11063), equation 19 and the weights before it.
    """
    return occurrence_weighted(evidence.activations, evidence.gradients, evidence.gradients)


def occurrence_weighted(activations: Tensor, first: Tensor, third_by_second: Tensor) -> Tensor:
    """Grad-CAM++ of given derivatives: the sum over c of w_c a_c.

    w_c is the sum over ij of alpha_ij max(g_ij, 0). Equation 19 has alpha = g^2 / (2 g^2 + g^3 * sum of a_c
    over the positions); here it is 1 / (2 + third / second * sum of a_c), as powers of a small gradient
    underflow.

    Args:
        activations: a, (B, C, I, J).
        first: first derivative of the score, (B, K, C, I, J).
        third_by_second: third derivative of exp(score) divided by the second, (B, K, C, I, J): g, where the
            derivatives are g^3 and g^2. A denominator of 0 gives an alpha of 0.

    Returns:
        The class maps, (B, K, I, J).

    >>> g = torch.ones(1, 3, 2, 4, 4)
    >>> occurrence_weighted(torch.ones(1, 2, 4, 4), g, g).shape
    torch.Size([1, 3, 4, 4])
    """
    total = activations.sum(dim=(-2, -1), keepdim=True)[:, None]
    denominator = 2 + total * third_by_second
    alpha = torch.where(denominator != 0, 1 / denominator.where(denominator != 0, 1), 0)
    weights = (alpha * first.clamp(min=0)).sum(dim=(-2, -1))
    return torch.einsum("bkc,bcij->bkij", weights, activations)


def xgrad_cam(evidence: Evidence) -> Tensor:
    """XGrad-CAM: gradients averaged with each channel's own activations as weights.

    A channel whose activations sum to zero has no such weights, and adds nothing. The map sums to the same as
    HiResCAM's: its axiom of conservation, as far as the head allows.

    Source:
        Fu et al., Axiom-based Grad-CAM, BMVC 2020 (arXiv 2008.02312), and the authors' code.
    """
    a = evidence.activations[:, None]
    total = a.sum(dim=(-2, -1), keepdim=True)
    shares = torch.where(total != 0, a / total.where(total != 0, 1), 0)
    weights = (shares * evidence.gradients).sum(dim=(-2, -1))
    return torch.einsum("bkc,bcij->bkij", weights, evidence.activations)


def hirescam(evidence: Evidence) -> Tensor:
    """HiResCAM: sum over c of g_c a_c, position by position.

    Where the head is linear, the map sums to the score less its bias.

    Source:
        Draelos and Carin, Use HiResCAM instead of Grad-CAM, arXiv 2011.08891, and the authors' code.
    """
    return torch.einsum("bkcij,bcij->bkij", evidence.gradients, evidence.activations)


def layercam(evidence: Evidence) -> Tensor:
    """LayerCAM: sum over c of max(g_c, 0) a_c, position by position; for earlier layers, too.

    Source:
        Jiang et al., LayerCAM, IEEE TIP 30 (2021) 5875, and the authors' code.
    """
    return torch.einsum("bkcij,bcij->bkij", evidence.gradients.clamp(min=0), evidence.activations)
