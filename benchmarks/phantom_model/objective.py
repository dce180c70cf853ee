"""What the phantom model is trained for: that its evidence is the finding, and where the finding is.

The network ends in global average pooling and a linear layer, so a logit is the mean of its evidence
e^k_ij = w^k . a_ij over the map, plus a bias. That evidence is the class map of Grad-CAM (equation 3, up
to a constant), so it can be supervised like a segmentation, without any second derivative.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Weights:
    """How much each part of the objective counts."""

    label: float = 1.0
    cell: float = 1.0
    owner: float = 0.5
    fall: float = 0.5
    others: float = 0.1


@dataclass(frozen=True, eq=False)
class Batch:
    """Pairs as tensors.

    Args:
        inputs: (B, 2, 1, S, S).
        cover: (B, 2, F, I, J) in [0, 1].
        labels: (B, 2, F) 0 or 1.
        removed: (B,) index of the finding that the second lacks.
    """

    inputs: Tensor
    cover: Tensor
    labels: Tensor
    removed: Tensor


def parts(evidence: Tensor, logits: Tensor, kappa: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Each part of the objective, averaged over the batch.

    Args:
        evidence: (B, 2, F, I, J), scaled so that 1 is what a cell within a finding should have.
        logits: (B, 2, F).
        kappa: (F,) what a finding's evidence is multiplied by in its class map.
        batch: what is in the images.
    """
    return {
        "label": F.binary_cross_entropy_with_logits(logits, batch.labels),
        "cell": _cell_loss(evidence, batch.cover),
        "owner": _owner_loss(evidence * (kappa / kappa.log().mean().exp())[:, None, None], batch.cover),
        "fall": _fall_loss(logits, batch.removed),
        "others": _others_loss(logits, batch.removed),
    }


def _targets(cover: Tensor) -> tuple[Tensor, Tensor]:
    """Cells that are within a finding, and cells that are outside; the rim between counts as neither.

    The best covered cell of a finding is within, even if a small nodule covers little of it.
    """
    most = cover.amax(dim=(-2, -1), keepdim=True).clamp(1e-6, 0.5)
    inside = (cover >= most) & (cover > 0)
    near = F.max_pool2d(cover.flatten(0, 1), 3, 1, 1).view_as(cover) > 0
    return inside.to(cover.dtype), (~near).to(cover.dtype)


def _cell_loss(evidence: Tensor, cover: Tensor, steep: float = 8.0) -> Tensor:
    """Binary cross-entropy of each cell, cells within and cells outside weighted alike for each finding."""
    inside, outside = _targets(cover)
    score = steep * (evidence - 0.5)
    positive = (F.softplus(-score) * inside).sum((-2, -1)) / inside.sum((-2, -1)).clamp(min=1)
    negative = F.softplus(score) * outside
    # the mean over the map would let a few wrong cells pass: the worst 32 count as much as all
    hardest = negative.flatten(-2).topk(32).values.mean(-1)
    negative = negative.sum((-2, -1)) / outside.sum((-2, -1)).clamp(min=1)
    return (positive + negative + 0.5 * hardest).mean()


def _owner_loss(evidence: Tensor, cover: Tensor) -> Tensor:
    """Cells that one finding alone covers: its evidence leads all others' by a margin, as fusion asks."""
    inside, _ = _targets(cover)
    alone = inside * ((cover > 0).sum(2, keepdim=True) == 1)
    own = (evidence * alone).sum(2, keepdim=True)
    lead = F.softplus(6 * (evidence + 0.5 - own)) / 6
    cells = alone.sum(2)
    return ((lead * (1 - alone)).sum(2) * cells).sum() / cells.sum().clamp(min=1)


def _fall_loss(logits: Tensor, removed: Tensor, margin: float = 4.0) -> Tensor:
    """The logit of the removed finding falls by a margin."""
    fall = (logits[:, 0] - logits[:, 1]).gather(1, removed[:, None])
    return F.softplus(margin - fall).mean()


def _others_loss(logits: Tensor, removed: Tensor) -> Tensor:
    """The other logits stay."""
    change = F.smooth_l1_loss(logits[:, 0], logits[:, 1], reduction="none")
    return change.scatter(1, removed[:, None], 0.0).mean()
