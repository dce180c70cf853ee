"""Rules that read the attention of a transformer: LeGrad, and attention relevance.

Both run the model once more, with the weights of the attention kept (`models/attention.py`), and take all
classes' gradients in one batched call. The scores of that pass must be those of the plain one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cxr_explain.cam.evidence import Evidence
from cxr_explain.cam.registry import LAYER_RULES
from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.attention import AttentionPass, attention_pass
from cxr_explain.models.grids import TokenGrid
from cxr_explain.options import check_at_least

_MEMORY = 2**30
"""Bytes that the gradients of several classes may take; those of one class take what they need."""


@dataclass(frozen=True)
class LeGrad:
    """LeGrad: how much more the score of each block would be, if its tokens attended more to a patch.

    E_j is the mean over blocks l, heads h and tokens i of max(ds_l / dA_lhij, 0), at the patches j. A is the
    attention of the block, and s_l its own score: what the model's norm, pooling and head make of the
    block's tokens. Where the head reads the class token alone, i is that token.

    The map is not negative, as in the paper; the paper scales it to [0, 1] at the end, which is left to the
    fusion here. The authors' code for CLIP pools the mean of all tokens; here each model pools as it does.

    Args:
        blocks: the number of blocks that are read, from the last one; None for all, as in the paper. The
            authors' code takes two where nothing is said.

    Raises:
        OptionError: no block.

    Source:
        Bousselham et al., LeGrad: An Explainability Method for Vision Transformers via Feature Formation
        Sensitivity, ICCV 2025 (arXiv 2404.03214), section 3, and the authors' code, legrad-torch 1.1.

    >>> LeGrad(blocks=4).title
    'LeGrad'
    """

    title: ClassVar[str] = "LeGrad"
    attention: ClassVar[bool] = True

    blocks: int | None = None

    def __post_init__(self) -> None:
        if self.blocks is not None:
            check_at_least(1, blocks=self.blocks)

    def __call__(self, evidence: Evidence) -> Tensor:
        """Give (B, K, I, J)."""
        seen = _pass_of(evidence, self.title, by_block=True, blocks=self.blocks)
        parts = _in_parts(evidence.classes, seen.weights[:1])
        by_block = [
            torch.stack([each.clamp(min=0).mean(dim=(2, 3)) for each in seen.gradients_by_block(classes)])
            for classes in parts
        ]
        return _on_grid(torch.cat(by_block, dim=1).mean(dim=0), seen.encoder.grid)


@dataclass(frozen=True)
class AttentionRelevance:
    """Attention relevance: what the tokens that the head reads took from each patch, through all blocks.

    R = I; for each block, R <- R + A' R with A' = the mean over heads of max(dy/dA * A, 0), A the block's
    attention and y the score. The map is the class token's row of R at the patches. Where the head reads the
    mean of the patches, as other models do, it is the mean of their rows of R - I; where it reads both,
    the mean of these two. Which tokens are read is seen by their gradient.

    Source:
        Chefer, Gur and Wolf, Generic Attention-model Explainability for Interpreting Bi-Modal and
        Encoder-Decoder Transformers, ICCV 2021 (arXiv 2103.15679), equations 5 and 6, self-attention alone.

    >>> AttentionRelevance().title
    'Attention relevance'
    """

    title: ClassVar[str] = "Attention relevance"
    attention: ClassVar[bool] = True

    def __call__(self, evidence: Evidence) -> Tensor:
        """Give (B, K, I, J)."""
        seen = _pass_of(evidence, self.title)
        rows = [_relevance(seen, classes) for classes in _in_parts(evidence.classes, seen.weights)]
        return _on_grid(torch.cat(rows), seen.encoder.grid)


def _relevance(seen: AttentionPass, classes: Tensor) -> Tensor:
    """(K, B, T): the rows of R - I of the tokens that the head reads, from the last block to the first."""
    at_tokens, at_weights = seen.attention_gradients(classes)
    start = row = _read(at_tokens, seen.encoder.grid.skip)
    for weights, gradients in zip(reversed(seen.weights), reversed(at_weights), strict=True):
        taken = (gradients * weights.detach()).clamp(min=0).mean(dim=2)
        row = row + (row[..., None, :] @ taken.to(row))[..., 0, :]
    return row - start


def _read(at_tokens: Tensor, skip: int) -> Tensor:
    """(K, B, T): how much of what the head reads is each token, by the gradient (K, B, T, C) there.

    The class tokens together count as much as the patches together; a token without a gradient is not read.

    >>> _read(torch.tensor([[[[1.0], [0.5], [0.5]]]]), skip=1).tolist()
    [[[0.5, 0.25, 0.25]]]
    """
    reached = (at_tokens != 0).any(dim=-1).to(torch.promote_types(at_tokens.dtype, torch.float32))
    kinds = reached[..., :skip], reached[..., skip:]
    shares = [kind / kind.sum(dim=-1, keepdim=True).clamp(min=1) for kind in kinds]
    share = torch.cat(shares, dim=-1)
    return share / share.sum(dim=-1, keepdim=True).clamp(min=1)


def _pass_of(
    evidence: Evidence, title: str, *, by_block: bool = False, blocks: int | None = None
) -> AttentionPass:
    """The model's attention, in a pass whose scores are those of the plain one."""
    if evidence.layer is not None:
        raise OptionError(
            f"target_layers={evidence.layer!r} with {title}, which reads the attention of every block",
            expected="no target_layers",
        )
    otherwise = f"Choose a rule that reads a layer: {', '.join(LAYER_RULES)}."
    seen = attention_pass(
        evidence.classifier, evidence.inputs, title, by_block=by_block, blocks=blocks, otherwise=otherwise
    )
    plain = evidence.forward.logits
    off = (seen.logits.detach() - plain).abs().max()
    rounding = max(seen.rounding, torch.finfo(seen.logits.dtype).eps, torch.finfo(plain.dtype).eps)
    if not off <= rounding**0.5 * (1 + plain.abs().max()):
        raise ModelError(
            f"scores that are off by {float(off):.2g} where the attention is computed by its definition",
            expected="the model's own scores: softmax(q k^T / sqrt(d)) v, without dropout",
            remedy=otherwise,
            source=evidence.classifier.name,
        )
    return seen


def _in_parts(classes: Tensor, weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """So many classes at a time that the gradients at these weights stay within `_MEMORY`; at least one."""
    of_one = sum(each.numel() * each.element_size() for each in weights)
    parts: tuple[Tensor, ...] = classes.split(max(1, _MEMORY // of_one), dim=1)
    return parts


def _on_grid(values: Tensor, grid: TokenGrid) -> Tensor:
    """(K, B, T) values of tokens -> (B, K, I, J) of the patches."""
    return grid(values.permute(1, 2, 0))
