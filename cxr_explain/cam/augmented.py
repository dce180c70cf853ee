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
from cxr_explain.options import check_at_least

_SOFTENING = 0.02  # of the total variation, as a share of the map's peak, so that it has a gradient at zero


@dataclass(frozen=True)
class AugmentedGradCAM:
    """Augmented Grad-CAM: the fine map h whose views, made coarse, are the Grad-CAMs of the views.

    h minimises the sum of (1 / 2L) sum over l of ||D A_l h - g_l||^2 f^2, of variation * TV(h), and of
    (shrinkage / 2) ||h||^2, where g_l is Grad-CAM of view l, A_l moves a map as the view moved the input, and
    D averages f x f fine cells. A fixed number of accelerated gradient steps: the result is always the same.

    Args:
        views: L, the number of views, with the plain one.
        factor: f, the number of fine cells along each side of a cell of the layer.
        largest_angle: largest angle by which a view is turned, in degrees.
        largest_shift: largest shift of a view, as a share of the image's side.
        variation: weight of the total variation, for a map whose peak is 1.
        shrinkage: weight of the squared norm, for a map whose peak is 1.
        steps: number of steps of the gradient descent.
        seed: seed of the random angles and shifts of the views.

    Raises:
        OptionError: no view, no fine cell or no step; or a negative weight.

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
        check_at_least(1, views=self.views, factor=self.factor, steps=self.steps)
        check_at_least(0, variation=self.variation, shrinkage=self.shrinkage)

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
            h: the fine maps, (B, K, f I, f J).
            coarse: Grad-CAM of each view, (L, B, K, I, J).
            views: the L views.
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
