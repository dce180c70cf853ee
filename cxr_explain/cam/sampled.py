"""Rules that look at several inputs: noisy copies (Smooth Grad-CAM++), or a path from black (Integrated)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cxr_explain.cam.evidence import Evidence
from cxr_explain.cam.gradient import grad_cam_plus_plus, occurrence_weighted
from cxr_explain.models.base import BLACK
from cxr_explain.options import check_at_least


@dataclass(frozen=True)
class SmoothGradCAMPlusPlus:
    """Smooth Grad-CAM++: Grad-CAM++ of derivatives that are averaged over noisy copies of the input.

    With g_n the gradient at copy n: the score's derivative is the mean of g_n; the second and third
    derivative of exp(score) are the means of g_n^2 and g_n^3. Each copy counts the same: exp(score) is left
    out, as in Grad-CAM++ here. The activations, also those in Grad-CAM++'s denominator, are those of the
    input itself.

    Behind global average pooling and a linear layer every copy has the same derivatives: the map is
    Grad-CAM++'s, and no copy is run.

    The noise is one pattern for each copy, the same for every image, so that an image's map does not depend
    on its neighbours in the batch. A copy may leave [-1024, 1024].

    Args:
        copies: number of noisy copies; each takes one forward pass, for all classes.
        sigma: standard deviation of the noise, as a share of the image's own range of values; SmoothGrad's
            authors use 0.1 to 0.2.
        seed: seed of the random noise.

    Raises:
        OptionError: no copy, or a sigma that is negative or not finite.

    Note:
        torch-cam 0.5 differs: its map is of the last copy's activations and first derivative, not of the
        image's and of the mean; it sums a g^3 over the positions, as MONAI does in `grad_cam_plus_plus`; and
        its noise has one standard deviation, whatever the input's range. Its numerator of alpha, the second
        derivative, is ours, and right, as Grad-CAM++ shows.

    Source:
        Omeiza et al., Smooth Grad-CAM++, arXiv 1908.01224; the numerator after Grad-CAM++, as the paper
        prints the first derivative there. Sigma and range after Smilkov et al., SmoothGrad, arXiv 1706.03825.

    >>> SmoothGradCAMPlusPlus(copies=2).title
    'Smooth Grad-CAM++'
    """

    title: ClassVar[str] = "Smooth Grad-CAM++"

    copies: int = 8
    sigma: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least(1, copies=self.copies)
        check_at_least(0, sigma=self.sigma)

    def __call__(self, evidence: Evidence) -> Tensor:
        """Give (B, K, I, J)."""
        if evidence.forward.head is not None:
            return grad_cam_plus_plus(evidence)
        first = second = third = torch.zeros((), device=evidence.activations.device)
        noise = torch.Generator().manual_seed(self.seed)
        for _ in evidence.track(range(self.copies), self.title):
            g = evidence.at(self._noisy(evidence.inputs, noise)).gradients
            first, second, third = first + g, second + g**2, third + g**3
        third_by_second = torch.where(second > 0, third / second.where(second > 0, 1), 0)
        return occurrence_weighted(evidence.activations, first / self.copies, third_by_second)

    def _noisy(self, inputs: Tensor, noise: torch.Generator) -> Tensor:
        spread = inputs.amax(dim=(1, 2, 3), keepdim=True) - inputs.amin(dim=(1, 2, 3), keepdim=True)
        pattern = torch.randn(inputs.shape[1:], generator=noise).to(inputs)
        return inputs + self.sigma * spread * pattern


@dataclass(frozen=True)
class IntegratedGradCAM:
    """Integrated Grad-CAM: Grad-CAM's weights along a path from black to the input, times what appears on it.

    (1 / (m C)) sum over t = 1 ... m of sum over c of alpha_c(x_t) (a_c(x_t) - a_c(black)), where
    x_t = black + (t / m) (x - black), and alpha_c the mean of g_c. The last x_t is the input itself.

    Behind global average pooling and a linear layer the map sums to the mean of y(x_t) - y(black) over the
    steps, divided by C: to the mean rise of the score along the path, not to its whole rise, as what appears
    is counted from black at each step. Any other head gives no such sum.

    Args:
        steps: m, the number of steps along the path; each takes one forward pass, for all classes.

    Raises:
        OptionError: no step.

    Note:
        The authors' code rectifies the map of each step, which keeps what spoke for the class on the way
        alone; here maps are signed. Its steps are 0 to m - 1, which with many steps is the same.

    Source:
        Sattarzadeh et al., Integrated Grad-CAM, ICASSP 2021, arXiv 2102.07805, and the authors' code; with
        1 / C as in Grad-CAM here and with black as the baseline.

    >>> IntegratedGradCAM(steps=4).title
    'Integrated Grad-CAM'
    """

    title: ClassVar[str] = "Integrated Grad-CAM"

    steps: int = 16

    def __post_init__(self) -> None:
        check_at_least(1, steps=self.steps)

    def __call__(self, evidence: Evidence) -> Tensor:
        """Give (B, K, I, J)."""
        way = evidence.inputs - BLACK
        start = evidence.at(torch.full_like(evidence.inputs, BLACK)).activations
        maps = torch.zeros((), dtype=start.dtype, device=start.device)
        for step in evidence.track(range(1, self.steps + 1), self.title):
            here = evidence.at(BLACK + way * (step / self.steps)) if step < self.steps else evidence
            maps = maps + torch.einsum(
                "bkc,bcij->bkij", here.weights.to(start.dtype), here.activations - start
            )
        return maps / (self.steps * start.shape[1])
