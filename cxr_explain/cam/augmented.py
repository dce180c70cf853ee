"""Augmented Grad-CAM: a finer map than the layer has, from several views of the same radiograph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from cxr_explain.cam.evidence import Evidence
from cxr_explain.cam.gradient import grad_cam
from cxr_explain.cam.views import View
from cxr_explain.errors import OptionError

_SOFTENING = 0.02  # of the total variation, as a share of the map's peak, so that it has a gradient at zero


@dataclass(frozen=True)
class AugmentedGradCAM:
    """Augmented Grad-CAM: the fine map h whose views, made coarse, are the Grad-CAMs of the views.

    h minimises the sum of (1 / 2L) sum over l of ||D A_l h - g_l||^2 f^2, of variation * TV(h), and of
    (shrinkage / 2) ||h||^2, where g_l is Grad-CAM of view l, A_l moves a map as the view moved the input, and
    D averages f x f fine cells. A fixed number of accelerated gradient steps: the result is always the same.

    Args:
        views: L, the plain one included.
        factor: f, fine cells a side for each cell of the layer.
        largest_angle: of the turned views in degrees.
        largest_shift: of the shifted views, as a share of the side.
        variation: weight of the total variation, for a map whose peak is 1.
        shrinkage: weight of the squared norm, likewise.
        steps: of the descent.
        seed: of the views.

    Source:
        Morbidelli et al., Augmented Grad-CAM: Heat-Maps Super Resolution Through Augmentation, ICASSP 2020,
        equation 3; there solved by subgradient descent.

    >>> AugmentedGradCAM(views=4).title
    'Augmented Grad-CAM'
    """

    title: ClassVar[str] = "Augmented Grad-CAM"

    views: int = 12
    factor: int = 2
    largest_angle: float = 10.0
    largest_shift: float = 0.08
    variation: float = 0.01
    shrinkage: float = 0.01
    steps: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.views, self.factor, self.steps) < 1:
            raise OptionError(
                f"{self.views} views, factor {self.factor}, {self.steps} steps", expected="1 or more of each"
            )
        if not (self.variation >= 0 and self.shrinkage >= 0):
            raise OptionError(
                f"variation={self.variation}, shrinkage={self.shrinkage}", expected="weights of 0 or more"
            )

    def __call__(self, evidence: Evidence) -> Tensor:
        """Give (B, K, f I, f J)."""
        views = self._drawn_views()
        coarse = [
            grad_cam(evidence if view == View() else evidence.at(view.of(evidence.inputs)))
            for view in evidence.track(views, self.title)
        ]
        stack = torch.stack(coarse)
        peak = stack.abs().amax(dim=(0, 3, 4))[..., None, None]  # of each map: others asked for do not matter
        unit = peak.where(peak > 0, 1)
        with torch.inference_mode(False):
            return self._fine((stack / unit).clone(), views) * unit

    def _drawn_views(self) -> list[View]:
        """The plain view, and random ones around it."""
        generator = torch.Generator().manual_seed(self.seed)
        draws = torch.rand(self.views - 1, 3, dtype=torch.float64, generator=generator) * 2 - 1
        return [View()] + [
            View(
                angle=self.largest_angle * angle,
                right=self.largest_shift * right,
                down=self.largest_shift * down,
            )
            for angle, right, down in draws.tolist()
        ]

    def _fine(self, coarse: Tensor, views: Sequence[View]) -> Tensor:
        """Nesterov's accelerated descent from the plain view's map, interpolated."""
        step = 1 / (1 + 8 * self.variation / _SOFTENING + self.shrinkage)
        h = F.interpolate(coarse[0], scale_factor=self.factor, mode="bilinear", align_corners=False)
        ahead, momentum = h, 1.0
        for _ in range(self.steps):
            before = h
            h = ahead - step * self._gradient(ahead, coarse, views)
            after = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
            ahead, momentum = h + (momentum - 1) / after * (h - before), after
        return h

    def _gradient(self, h: Tensor, coarse: Tensor, views: Sequence[View]) -> Tensor:
        with torch.enable_grad():
            h = h.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.objective(h, coarse, views), h)
        return gradient

    def objective(self, h: Tensor, coarse: Tensor, views: Sequence[View]) -> Tensor:
        """What h minimises, summed over B and K.

        Args:
            h: (B, K, f I, f J).
            coarse: (L, B, K, I, J).
            views: L.
        """
        misfit: Tensor | int = sum(
            (F.avg_pool2d(view.on(h), self.factor) - g).square().sum()
            for view, g in zip(views, coarse, strict=True)
        )
        data = misfit * self.factor**2 / (2 * len(views))
        return data + self.variation * _total_variation(h) + self.shrinkage / 2 * h.square().sum()


def _total_variation(h: Tensor) -> Tensor:
    """The sum of gradient lengths, softened near zero."""
    down = F.pad(h.diff(dim=-2), (0, 0, 0, 1))
    right = F.pad(h.diff(dim=-1), (0, 1))
    return (down.square() + right.square() + _SOFTENING**2).sqrt().sum()
