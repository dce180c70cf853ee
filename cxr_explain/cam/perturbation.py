"""Rules that change something and look at the scores: inputs (Score-CAM) or activations (Ablation, Recipro).

One changed pass serves all K classes. Scores are logits. Where a paper divides by the score, or by the range
of the map, that positive factor is left out, see `cxr_explain.cam.gradient`; and a division by a logit, which
may be negative, would turn the map over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from cxr_explain.cam.evidence import Evidence
from cxr_explain.models.base import BLACK
from cxr_explain.options import check_at_least, check_option

Fill = Literal["black", "grey"]
"""What is seen where a mask is 0."""

Weighting = Literal["softmax", "none"]
"""How the increases of the channels become their weights."""

_BASELINES: dict[Fill, float] = {"black": BLACK, "grey": 0.0}
_ROUNDING = 1e-4  # of a score: no more is left where the same is computed in batches of another size
_AT_ONCE = 64  # changed activations in one go
_ELEMENTS = 2**25  # and numbers in them: 128 MiB of float32


@dataclass(frozen=True)
class ScoreCAM:
    """Score-CAM: sum over c of w_c^k a_c, where w_c^k tells what is left of the score behind the mask of a_c.

    A channel is interpolated to the input's size and scaled to [0, 1]; where it is 1 the input shows, where
    it is 0 the baseline. The increase of the class's logit over that of the bare baseline is the channel's
    score, and the softmax of the scores over the channels is its weight.

    A channel that is the same everywhere has no such mask: it shows nothing of the input, so its increase is
    0, and no pass is needed. Channels with one and the same mask, such as those that are active at the same
    single position, share one pass. Neither changes the result.

    With the softmax all weights are positive and sum to 1 over the channels, whatever the class: only the
    differences between channels count, not how far a class's score rises, and a large spread of logits leaves
    a few channels with all the weight. `normalise="none"` keeps the increases themselves, so that a channel
    whose mask lowers the score counts against the class.

    pytorch-grad-cam and torch-cam take the softmax of the logits over the channels, too. Both multiply the
    input by the mask, which in these units fades to mid grey (`baseline="grey"`) and not to black. Of
    the two, pytorch-grad-cam interpolates with corners aligned, and torch-cam scales before it interpolates;
    here the scaling comes after, as in the paper's algorithm. The authors' own code has the softmax over the
    classes instead, which means nothing where several findings may be present at once.

    Args:
        channels: how many channels are tried in each image, those whose activations vary most over it (ties:
            the first); None for all. The softmax is over these alone.
        baseline: what is seen where a mask is 0: "black" (-1024), or "grey" (0, the middle of the range).
        normalise: what turns the increases into weights: "softmax", as in the paper, or "none".
        batch_size: number of masked inputs in one forward pass; bounds the memory.

    Raises:
        OptionError: no channel, no input in a pass, or another baseline or weighting.

    Source:
        Wang et al., Score-CAM, CVPR Workshops 2020, algorithm 1; without the final ReLU.

    >>> ScoreCAM(channels=64).title
    'Score-CAM'
    """

    title: ClassVar[str] = "Score-CAM"

    channels: int | None = None
    baseline: Fill = "black"
    normalise: Weighting = "softmax"
    batch_size: int = 16

    def __post_init__(self) -> None:
        check_option("baseline", self.baseline, Fill)
        check_option("normalise", self.normalise, Weighting)
        check_at_least(1, batch_size=self.batch_size)
        if self.channels is not None:
            check_at_least(1, channels=self.channels)

    def __call__(self, evidence: Evidence) -> Tensor:
        """Give (B, K, I, J)."""
        tried = most_varied(evidence.activations, self.channels)
        weights = evidence.pick(self._increases(evidence, tried))
        if self.normalise == "softmax":
            weights = weights.softmax(dim=2)
        return torch.einsum("bkm,bmij->bkij", weights, tried)

    def _increases(self, evidence: Evidence, tried: Tensor) -> Tensor:
        """(B, M, N): all logits behind the mask of each channel, less those of the baseline."""
        masks = ChannelMasks.of(tried)
        model = evidence.classifier
        empty = _BASELINES[self.baseline]
        logits = [model.logits(torch.full_like(evidence.inputs[:1], empty))]
        for part in evidence.track(_parts(len(masks.patterns), self.batch_size), self.title):
            shown = evidence.inputs[masks.image[part].to(evidence.inputs.device)].to(tried.device)
            seen = empty + (shown - empty) * masks.at(part, shown.shape[-2:])
            logits.append(model.logits(seen, batch_size=self.batch_size))
        table = torch.cat(logits).to(tried.dtype)
        return (table - table[0])[masks.row]


def most_varied(activations: Tensor, count: int | None) -> Tensor:
    """The channels of each image that vary most over its positions, in their order: (B, M, I, J).

    >>> a = torch.tensor([[[[1.0, 1.0]], [[0.0, 3.0]], [[0.0, 1.0]]]])
    >>> most_varied(a, 2)[0, :, 0].tolist()
    [[0.0, 3.0], [0.0, 1.0]]
    """
    if count is None or count >= activations.shape[1]:
        return activations
    spread = activations.double().var(dim=(2, 3), correction=0)
    order = spread.argsort(dim=1, descending=True, stable=True)[:, :count].sort(dim=1).values
    return activations.take_along_dim(order[:, :, None, None], dim=1)


@dataclass(frozen=True, eq=False)
class ChannelMasks:
    """The distinct masks of the channels of B images.

    Args:
        patterns: (P, I, J) in [0, 1], on the activations' grid.
        image: (P,), for each pattern the index of the image that it belongs to.
        row: (B, M), for each channel 1 + the index of the channel's pattern; 0 for a constant channel, which
            has none.
    """

    patterns: Tensor
    image: Tensor
    row: Tensor

    @classmethod
    def of(cls, activations: Tensor) -> ChannelMasks:
        """Scale each channel of (B, M, I, J) to [0, 1], and keep each pattern of an image once."""
        row = torch.zeros(activations.shape[:2], dtype=torch.int64, device=activations.device)
        patterns: list[Tensor] = []
        counts: list[int] = []
        for number, channels in enumerate(activations):
            varied = channels.amax(dim=(1, 2)) > channels.amin(dim=(1, 2))
            distinct, which = torch.unique(_scaled(channels[varied]), dim=0, return_inverse=True)
            row[number, varied] = which + 1 + sum(counts)
            patterns.append(distinct)
            counts.append(len(distinct))
        image = torch.arange(len(counts), device=row.device).repeat_interleave(row.new_tensor(counts))
        return cls(torch.cat(patterns), image, row)

    def at(self, part: slice, size: Sequence[int]) -> Tensor:
        """Some of the masks at the input's size, in [0, 1]: (P, 1, H, W)."""
        # Interpolation may pass beside the grid's highest and lowest position: scaled at the input's size.
        grown = F.interpolate(self.patterns[part, None], tuple(size), mode="bilinear", align_corners=False)
        return _scaled(grown)


def _scaled(maps: Tensor) -> Tensor:
    """To [0, 1] over the last two dimensions; what is the same everywhere becomes 0."""
    if maps.numel() == 0:
        return maps
    low = maps.amin(dim=(-2, -1), keepdim=True)
    spread = maps.amax(dim=(-2, -1), keepdim=True) - low
    return (maps - low) / spread.where(spread != 0, 1)


def ablation_cam(evidence: Evidence) -> Tensor:
    """Ablation-CAM: sum over c of (y^k - y_c^k) a_c, where y_c^k is the score with a_c set to 0.

    Behind global average pooling and a linear layer the drop is w_c times the mean of a_c: no further pass.
    For any other head each channel takes one pass, except those that are 0 already.

    The paper divides each drop by y^k. That would be one factor for the whole class map; here y is a logit,
    negative for most findings, and the division would turn evidence for into evidence against.

    pytorch-grad-cam divides by it. Where a layer's smallest activation is not 0, it also sets the channel to
    that less 1e7, and not to 0.

    Source:
        Desai and Ramaswamy, Ablation-CAM, WACV 2020; without the division and the final ReLU.
    """
    a = evidence.activations
    head = evidence.forward.head
    if head is not None:
        drops = head.of(evidence.classes) * a.mean(dim=(-2, -1))[:, None]
    else:
        drops = _drops(evidence)
    return torch.einsum("bkc,bcij->bkij", drops.to(a.dtype), a)


def _drops(evidence: Evidence) -> Tensor:
    """(B, K, C): the scores less those without each channel; 0 for a channel that is 0 in each image."""
    a = evidence.forward.activations
    alive = (a != 0).any(dim=(0, 2, 3)).nonzero()[:, 0]
    drops = evidence.activations.new_zeros(*evidence.classes.shape, a.shape[1])
    for part in evidence.track(torch.split(alive, _at_once(a)), "Ablation-CAM"):
        variants = a[:, None].repeat(1, len(part), 1, 1, 1)
        variants[:, torch.arange(len(part), device=a.device), part] = 0
        without = evidence.pick(evidence.forward.logits_of(variants))
        drops[:, :, part] = (evidence.scores[..., None] - without).to(drops)
    return _felt(evidence, drops)


@dataclass(frozen=True)
class ReciproCAM:
    """Recipro-CAM: at each position, the score when all activations but those at this position are 0.

    The score of no activations at all is taken off, so that the bias of the head is evidence for nothing. The
    authors' code scales each map to [0, 1] instead, after which nothing speaks against a class any more.

    Behind global average pooling and a linear layer no further pass is needed: the map is CAM's, divided by
    I J. For any other head each position takes one pass, except those without any activation.

    Args:
        gaussian: keep the positions around, too, with the weights (1 2 1)^T (1 2 1) / 16, 1/4 at the position
            itself. Off by default, as in the authors' code. Theirs, where it is on, spreads the activations
            of the one position over its neighbours; this one lets the neighbours' own through.

    Source:
        Byun and Lee, Recipro-CAM, arXiv 2209.14074; without the softmax over classes and the scaling.

    >>> ReciproCAM().title
    'Recipro-CAM'
    """

    title: ClassVar[str] = "Recipro-CAM"

    gaussian: bool = False

    def __call__(self, evidence: Evidence) -> Tensor:
        """Give (B, K, I, J)."""
        head = evidence.forward.head
        if head is None:
            return self._by_passes(evidence)
        a = evidence.activations
        local = torch.einsum("bkc,bcij->bkij", head.of(evidence.classes).to(a.dtype), a)
        return self._seen_through(local.flatten(0, 1)[:, None]).reshape(local.shape) / local[0, 0].numel()

    def _by_passes(self, evidence: Evidence) -> Tensor:
        a = evidence.forward.activations
        I, J = a.shape[-2:]  # noqa: E741 - the paper's letters
        # Where nothing is seen the increase is 0, and not what rounding would leave of it.
        seen = self._seen_through((a != 0).any(dim=1, keepdim=True).to(a)).flatten(1) != 0
        nothing = evidence.pick(evidence.forward.logits_of(torch.zeros_like(a)[:, None]))
        increases = evidence.activations.new_zeros(*evidence.classes.shape, I * J)
        for part in evidence.track(torch.split(seen.any(dim=0).nonzero()[:, 0], _at_once(a)), self.title):
            kept = self._seen_through(F.one_hot(part, I * J).to(a).reshape(-1, 1, I, J))
            scores = evidence.pick(evidence.forward.logits_of(a[:, None] * kept[None]))
            increases[:, :, part] = (scores - nothing).to(increases)
        return torch.unflatten(_felt(evidence, increases.where(seen[:, None], 0)), 2, (I, J))

    def _seen_through(self, maps: Tensor) -> Tensor:
        """Maps (P, 1, I, J) under the window at each position; outside of the grid is nothing."""
        if not self.gaussian:
            return maps
        side = maps.new_tensor([0.25, 0.5, 0.25])
        return F.conv2d(maps, torch.outer(side, side)[None, None], padding=1)


def _felt(evidence: Evidence, effects: Tensor) -> Tensor:
    """Changes of scores, (B, K, M); 0 where no gradient ties the score to the layer, and all are rounding."""
    small = (effects.abs() <= _ROUNDING * evidence.scores.abs().to(effects)[..., None]).all(dim=2)
    if not small.any():
        return effects
    reached = (evidence.gradients != 0).flatten(2).any(dim=2)
    return effects.masked_fill((small & ~reached)[..., None], 0)


def _at_once(activations: Tensor) -> int:
    """How many changed copies of a batch's activations fit into the memory that is set aside for them."""
    return max(1, min(_AT_ONCE, _ELEMENTS // activations.numel()))


def _parts(length: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]
