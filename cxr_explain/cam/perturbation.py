"""Rules that change something and look at the scores: inputs (Score-CAM) or activations (Ablation, Recipro).

One changed pass serves all K classes. Scores are logits. Where a paper divides by the score, or by the range
of the map, that positive factor is left out, see `cxr_explain.cam.gradient`; and a division by a logit, which
may be negative, would turn the map over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from cxr_explain.cam.evidence import Evidence
from cxr_explain.errors import OptionError

BLACK = -1024.0
"""The darkest input; 0 is mid grey."""

_VARIANTS = 64  # activations with something changed that are held at once


@dataclass(frozen=True)
class ScoreCAM:
    """Score-CAM: sum over c of s_c^k a_c, where s_c^k is what is left of the score behind the mask of a_c.

    Each channel, interpolated to the input's size and scaled to [0, 1], lets the input through where it is 1
    and black where it is 0; the increase of score over an all-black input is the channel's weight. A channel
    that is the same everywhere masks nothing in particular and adds nothing.

    Args:
        channels: how many channels are tried, those that vary most over the image; None for all.
        normalise: "softmax" over the channels, as the paper's algorithm has it; "none" takes the increases
            themselves, so that channels that lower the score count against the class.
        batch_size: masked inputs in one forward pass.

    Source:
        Wang et al., Score-CAM, CVPR Workshops 2020, equations 6 to 8 and algorithm 1, with a black baseline.

    >>> ScoreCAM(channels=64).title
    'Score-CAM'
    """

    title: ClassVar[str] = "Score-CAM"

    channels: int | None = None
    normalise: Literal["softmax", "none"] = "softmax"
    batch_size: int = 32

    def __post_init__(self) -> None:
        if (self.channels is not None and self.channels < 1) or self.batch_size < 1:
            raise OptionError(
                f"channels={self.channels}, batch_size={self.batch_size}", expected="1 or more of each"
            )
        if self.normalise not in ("softmax", "none"):
            raise OptionError(f"normalise={self.normalise!r}", expected="one of softmax, none")

    def __call__(self, evidence: Evidence) -> Tensor:
        """Give (B, K, I, J)."""
        maps = [
            self._of_one(evidence, number)
            for number in evidence.track(range(len(evidence.inputs)), "Score-CAM")
        ]
        return torch.stack(maps)

    def _of_one(self, evidence: Evidence, number: int) -> Tensor:
        a = evidence.activations[number]
        chosen = self._chosen(a)
        if len(chosen) == 0:
            return a.new_zeros(evidence.classes.shape[1], *a.shape[1:])
        increases = self._increases(evidence, number, a[chosen])
        weights = increases.softmax(dim=1) if self.normalise == "softmax" else increases
        return torch.einsum("kc,cij->kij", weights.to(a.dtype), a[chosen])

    def _chosen(self, a: Tensor) -> Tensor:
        """Channels that vary over the image, in their order; the most varied where not all are wanted."""
        spread = a.flatten(1).double().var(dim=1, correction=0)
        varied = (a.flatten(1).amax(1) > a.flatten(1).amin(1)).nonzero()[:, 0]
        if self.channels is None or len(varied) <= self.channels:
            return varied
        order = spread[varied].argsort(descending=True, stable=True)
        return varied[order[: self.channels]].sort().values

    def _increases(self, evidence: Evidence, number: int, a: Tensor) -> Tensor:
        """(K, C): the classes' logits behind each mask, less those of an all-black input."""
        image = evidence.inputs[number].to(a.device)
        classes = evidence.classes[number]
        model = evidence.classifier
        black = model.logits(torch.full_like(image, BLACK)[None])[0, classes]
        scores = [
            model.logits(BLACK + (image - BLACK) * masks, batch_size=self.batch_size)[:, classes]
            for masks in _masks(a, image.shape[-2:], self.batch_size)
        ]
        return (torch.cat(scores) - black).T


def _masks(a: Tensor, size: torch.Size, count: int) -> Iterator[Tensor]:
    """(M, 1, S, S) in [0, 1], `count` channels at a time."""
    for part in a[:, None].split(count):
        masks = F.interpolate(part, tuple(size), mode="bilinear", align_corners=False)
        low = masks.amin(dim=(2, 3), keepdim=True)
        spread = masks.amax(dim=(2, 3), keepdim=True) - low
        yield (masks - low) / spread.where(spread > 0, 1)


def ablation_cam(evidence: Evidence) -> Tensor:
    """Ablation-CAM: sum over c of (y^k - y_c^k) a_c, where y_c^k is the score without channel c.

    Behind global average pooling and a linear layer the drop is w_c times the mean of a_c: no further pass.

    Source:
        Desai and Ramaswamy, Ablation-CAM, WACV 2020, equations 2 to 4, without the division by y^k.
    """
    a = evidence.activations
    head = evidence.forward.head
    if head is not None:
        drops = head.of(evidence.classes) * a.mean(dim=(-2, -1))[:, None]
    else:
        drops = evidence.scores[..., None] - _scores_without_each_channel(evidence)
    return torch.einsum("bkc,bcij->bkij", drops.to(a.dtype), a)


def _scores_without_each_channel(evidence: Evidence) -> Tensor:
    """(B, K, C)."""
    a = evidence.forward.activations
    C = a.shape[1]
    scores = []
    for part in evidence.track(torch.arange(C, device=a.device).split(_VARIANTS), "Ablation-CAM"):
        kept = torch.ones(len(part), C, dtype=a.dtype, device=a.device)
        kept[torch.arange(len(part)), part] = 0
        scores.append(evidence.pick(evidence.forward.logits_of(a[:, None] * kept[:, :, None, None])))
    return torch.cat(scores, dim=2)


@dataclass(frozen=True)
class ReciproCAM:
    """Recipro-CAM: at each position, the score of the activations around it alone.

    The score of no activations at all is taken off, so that the bias of the head is evidence for nothing.
    Behind global average pooling and a linear layer no further pass is needed.

    Args:
        gaussian: weigh the 3 x 3 positions around by a Gaussian; False takes the one position.

    Source:
        Byun and Lee, Recipro-CAM, arXiv 2209.14074, section 3, without the scaling of each map to [0, 1].

    >>> ReciproCAM().title
    'Recipro-CAM'
    """

    title: ClassVar[str] = "Recipro-CAM"

    gaussian: bool = True

    def __call__(self, evidence: Evidence) -> Tensor:
        """Give (B, K, I, J)."""
        head = evidence.forward.head
        if head is None:
            return self._by_passes(evidence)
        a = evidence.activations
        local = torch.einsum("bkc,bcij->bkij", head.of(evidence.classes).to(a.dtype), a)
        masked = F.conv2d(local.flatten(0, 1)[:, None], self._kernel(a), padding=1)
        return masked.reshape(local.shape) / (a.shape[-2] * a.shape[-1])

    def _by_passes(self, evidence: Evidence) -> Tensor:
        a = evidence.forward.activations
        I, J = a.shape[-2:]  # noqa: E741 - the paper's letters
        windows = F.conv2d(torch.eye(I * J).reshape(-1, 1, I, J).to(a), self._kernel(a), padding=1)
        scores = [
            evidence.pick(evidence.forward.logits_of(a[:, None] * part[None]))
            for part in evidence.track(windows.split(_VARIANTS), self.title)
        ]
        nothing = evidence.pick(evidence.forward.logits_of(torch.zeros_like(a)[:, None]))
        return (torch.cat(scores, dim=2) - nothing).unflatten(2, (I, J))

    def _kernel(self, a: Tensor) -> Tensor:
        """(1, 1, 3, 3), 1 in the middle."""
        side = a.new_tensor([0.5, 1.0, 0.5] if self.gaussian else [0.0, 1.0, 0.0])
        return torch.outer(side, side)[None, None]
