"""What the phantom model is trained for: that its evidence is the finding, and where the finding is.

The network ends in global average pooling and a linear layer, so a logit is the mean of its evidence
e^k_ij = w^k . a_ij over the map, plus a bias. That evidence is the class map of Grad-CAM (equation 3, up
to a constant), so it can be supervised like a segmentation, without any second derivative.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from benchmarks.phantom_model.settings import Weights

HARDEST = 2 / 49
"""The worst of the cells outside of a finding that count as much as all: 32 of 784, 2 of 49."""

RIM = 1 / 28
"""Width of the rim around a finding that counts neither as within nor as outside, as a share of the map's
side: a cell of 28 x 28; of 7 x 7, none."""


@dataclass(frozen=True, eq=False)
class Batch:
    """B examples as tensors; V is 2 for pairs, the second without a finding of the first, else 1.

    Args:
        inputs: (B, V, 1, S, S).
        cover: (B, V, F, I, J) in [0, 1].
        labels: (B, V, F) 0 or 1.
        removed: (B,) index of the finding that the second lacks.
    """

    inputs: Tensor
    cover: Tensor
    labels: Tensor
    removed: Tensor


def parts(
    evidence: Tensor, logits: Tensor, kappa: Tensor, batch: Batch, counted: Iterable[str] = Weights().counted
) -> dict[str, Tensor]:
    """Each part of the objective, averaged over the batch.

    Args:
        evidence: (B, V, F, I, J), scaled so that 1 is what a cell within a finding should have; I and J are
            those of the batch's cover.
        logits: (B, V, F).
        kappa: (F,) what a finding's evidence is multiplied by in its class map.
        batch: what is in the images; the parts fall and others need pairs.
        counted: names of the parts.
    """
    relative = (kappa / kappa.log().mean().exp())[:, None, None]
    known: dict[str, Callable[[], Tensor]] = {
        "label": lambda: F.binary_cross_entropy_with_logits(logits, batch.labels),
        "cell": lambda: _cell_loss(evidence, batch.cover),
        "owner": lambda: _owner_loss(evidence * relative, batch.cover),
        "fall": lambda: _fall_loss(logits, batch.removed),
        "others": lambda: _others_loss(logits, batch.removed),
    }
    return {name: known[name]() for name in counted}


def _targets(cover: Tensor) -> tuple[Tensor, Tensor]:
    """Cells that are within a finding, and cells that are outside; the rim between counts as neither.

    The best covered cell of a finding is within, even if a small nodule covers little of it.
    """
    most = cover.amax(dim=(-2, -1), keepdim=True).clamp(1e-6, 0.5)
    inside = (cover >= most) & (cover > 0)
    rim = round(RIM * cover.shape[-1])
    near = F.max_pool2d(cover.flatten(0, 1), 2 * rim + 1, 1, rim).view_as(cover) > 0
    return inside.to(cover.dtype), (~near).to(cover.dtype)


def _cell_loss(evidence: Tensor, cover: Tensor, steep: float = 8.0) -> Tensor:
    """Binary cross-entropy of each cell, cells within and cells outside weighted alike for each finding."""
    inside, outside = _targets(cover)
    score = steep * (evidence - 0.5)
    positive = (F.softplus(-score) * inside).sum((-2, -1)) / inside.sum((-2, -1)).clamp(min=1)
    negative = F.softplus(score) * outside
    # the mean over the map would let a few wrong cells pass: the worst count as much as all
    worst = max(1, round(HARDEST * cover[0, 0, 0].numel()))
    hardest = negative.flatten(-2).topk(worst).values.mean(-1)
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
