"""Seg-XRes-CAM: what speaks for a class within a region of interest."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from cxr_explain.cam.evidence import Evidence
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.at_layers import forward_at
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.options import check_at_least, check_option

Box = tuple[float, float, float, float]

Pool = Literal["mean", "max"]
"""What a window keeps of its gradients."""

_SIDE = 224  # samples of the model's square on which a box is drawn


@dataclass(frozen=True)
class SegXResCAM:
    """Seg-XRes-CAM: sum over c of the pooled gradient of the region's score times a_c, position by position.

    Behind global average pooling and a linear layer, each position of the last feature map adds its own share
    to the logit; the region's score is the sum of the shares in it. At the last layer the map is HiResCAM
    within the region. At an earlier layer (`target_layers`) it shows what, inside the region or around it,
    made the network see there what it saw. The gradient is pooled over windows and spread out again, which
    takes off its chequered pattern in early layers.

    Args:
        region: (left, top, right, bottom) as shares of the model's square, 0 to 1; None is all of it.
        window: side of the pooling windows in positions of the layer; 1 pools nothing.
        pool: what is kept of the gradients in a window: their "mean" or their "max".

    Raises:
        OptionError: a region beyond the square or without area, an empty window, or another pool.

    Source:
        Hasany et al., Seg-XRes-CAM: Explaining Spatially Local Regions in Image Segmentation, CVPR Workshops
        2023, section 3; there the score is the sum of a segmentation's logits in the region.

    >>> SegXResCAM(region=(0.5, 0.5, 1, 1)).title
    'Seg-XRes-CAM'
    """

    title: ClassVar[str] = "Seg-XRes-CAM"

    region: Box | None = None
    window: int = 2
    pool: Pool = "mean"

    def __post_init__(self) -> None:
        if self.region is not None and not _is_box(self.region):
            raise OptionError(
                f"the region {self.region}",
                expected="(left, top, right, bottom) with 0 <= left < right <= 1 and 0 <= top < bottom <= 1",
            )
        check_at_least(1, window=self.window)
        check_option("pool", self.pool, Pool)

    def __call__(self, evidence: Evidence) -> Tensor:
        """Give (B, K, I, J)."""
        if self.region is not None:
            evidence = _within(evidence, _drawn(self.region))
        gradients = self._pooled(evidence.gradients)
        return torch.einsum("bkcij,bcij->bkij", gradients, evidence.activations)

    def _pooled(self, gradients: Tensor) -> Tensor:
        if self.window == 1:
            return gradients
        rows, columns = gradients.shape[-2:]
        pool = F.avg_pool2d if self.pool == "mean" else F.max_pool2d
        size = min(self.window, rows), min(self.window, columns)
        pooled = pool(gradients.flatten(0, 1), size, ceil_mode=True)
        spread = pooled.repeat_interleave(size[0], dim=-2).repeat_interleave(size[1], dim=-1)
        return torch.unflatten(spread[..., :rows, :columns], 0, gradients.shape[:2])


def _within(evidence: Evidence, region: Tensor) -> Evidence:
    """The same question to the part of the model that looks at a region: one forward pass."""
    if not isinstance(evidence.classifier, PooledLinearClassifier):
        raise ModelError(
            "a head that is not known to be linear",
            expected="global average pooling and one linear layer, for the score of a region",
            source=evidence.classifier.name,
        )
    classifier = evidence.classifier.restricted(region)
    if evidence.layer is None:
        forward = classifier.forward(evidence.inputs)
    else:
        (forward,) = forward_at(classifier, evidence.inputs, [evidence.layer])
    return replace(evidence, classifier=classifier, forward=forward)


def _is_box(region: Box) -> bool:
    if len(region) != 4:
        return False
    left, top, right, bottom = region
    return 0 <= left < right <= 1 and 0 <= top < bottom <= 1


def _drawn(region: Box) -> Tensor:
    """(S, S) in [0, 1]: how much of each sample lies in the box."""
    left, top, right, bottom = (edge * _SIDE for edge in region)
    start = torch.arange(_SIDE, dtype=torch.float64)
    columns = (torch.clamp(start + 1, max=right) - torch.clamp(start, min=left)).clamp(0, 1)
    rows = (torch.clamp(start + 1, max=bottom) - torch.clamp(start, min=top)).clamp(0, 1)
    return torch.outer(rows, columns)
