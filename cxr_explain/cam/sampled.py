"""Rules that look at several inputs: noisy copies (Smooth Grad-CAM++), or a path from black (Integrated)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cxr_explain.cam.evidence import Evidence
from cxr_explain.cam.gradient import occurrence_weighted
from cxr_explain.cam.perturbation import BLACK
from cxr_explain.errors import OptionError


@dataclass(frozen=True)
class SmoothGradCAMPlusPlus:
    """Smooth Grad-CAM++: Grad-CAM++ of derivatives that are averaged over noisy copies of the input.

    The activations are those of the input itself. The noise is one pattern for each copy, the same for every
    image, so that an image's map does not depend on its neighbours in the batch.

    Args:
        copies: how many.
        sigma: standard deviation of the noise, as a share of the image's own range of values.
        seed: of the noise.

    Source:
        Omeiza et al., Smooth Grad-CAM++, arXiv 1908.01224, section 3: means of the first, second and third
        derivatives in Grad-CAM++'s equations; sigma and range after Smilkov et al., SmoothGrad.

    >>> SmoothGradCAMPlusPlus(copies=2).title
    'Smooth Grad-CAM++'
    """

    title: ClassVar[str] = "Smooth Grad-CAM++"

    copies: int = 8
    sigma: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.copies < 1 or not self.sigma >= 0:
            raise OptionError(
                f"{self.copies} copies with sigma {self.sigma}", expected="1 or more, with 0 or more"
            )

    def __call__(self, evidence: Evidence) -> Tensor:
        """Give (B, K, I, J)."""
        inputs = evidence.inputs
        spread = inputs.amax(dim=(1, 2, 3), keepdim=True) - inputs.amin(dim=(1, 2, 3), keepdim=True)
        noise = torch.Generator().manual_seed(self.seed)
        first = second = third = torch.zeros((), device=evidence.activations.device)
        for _ in evidence.track(range(self.copies), self.title):
            pattern = torch.randn(inputs.shape[1:], dtype=inputs.dtype, generator=noise).to(inputs.device)
            g = evidence.at(inputs + self.sigma * spread * pattern).gradients
            first, second, third = first + g, second + g**2, third + g**3
        means = (total / self.copies for total in (first, second, third))
        return occurrence_weighted(evidence.activations, *means)


@dataclass(frozen=True)
class IntegratedGradCAM:
    """Integrated Grad-CAM: Grad-CAM's weights along a path from black to the input, times what appears on it.

    (1 / m) sum over t = 1 ... m of sum over c of alpha_c(x_t) (a_c(x_t) - a_c(black)), where
    x_t = black + (t / m) (x - black).

    Args:
        steps: m.

    Source:
        Sattarzadeh et al., Integrated Grad-CAM, ICASSP 2021, equations 5 to 7, with (1 / C) as in Grad-CAM
        here and with black as the baseline.

    >>> IntegratedGradCAM(steps=4).title
    'Integrated Grad-CAM'
    """

    title: ClassVar[str] = "Integrated Grad-CAM"

    steps: int = 16

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise OptionError(f"{self.steps} steps", expected="1 or more")

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
