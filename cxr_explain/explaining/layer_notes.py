"""What a reader should know of the layers that were explained, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

from torch import Tensor

from cxr_explain.explaining.provenance import LogitDistance
from cxr_explain.explaining.ranking import Ranking
from cxr_explain.models.attention import Encoder
from cxr_explain.models.base import ForwardPass
from cxr_explain.models.finer import FinerPass
from cxr_explain.models.grids import remark_on
from cxr_explain.pathologies import readable


def notes_on_layers(
    layers: Sequence[str],
    passes: Sequence[ForwardPass],
    inputs: Tensor,
    rankings: Sequence[Ranking],
    unreached: Sequence[Tensor],
    way_out: Callable[[], str],
) -> tuple[tuple[str, ...], ...]:
    """For each image: how a layer's output was read, maps of another shape, and what no gradient reaches.

    Args:
        layers: names of the layers.
        passes: the forward pass at each of them.
        inputs: model inputs, (B, C, H, W).
        rankings: one for each image.
        unreached: (B, K) for each layer, as `without_gradient` gives it, the ranked pathologies first.
        way_out: gives a sentence that names better layers; asked only where one is needed.
    """
    common = [note for each in zip(layers, passes, strict=True) for note in _on_shape(*each, inputs, way_out)]
    states = [each.tolist() for each in unreached]  # at once: a GPU is waited for each time
    return tuple(
        (*common, *_on_gradients(ranking, layers, [each[image] for each in states], way_out))
        for image, ranking in enumerate(rankings)
    )


def notes_on_attention(
    encoder: Encoder | None, rankings: Sequence[Ranking], unreached: Tensor
) -> tuple[tuple[str, ...], ...]:
    """For each image: which blocks a rule read the attention of, and what no gradient reaches.

    Args:
        encoder: the blocks.
        rankings: one for each image.
        unreached: (B, K), maps that are empty, the ranked pathologies first.
    """
    read = (
        ()
        if encoder is None
        else (f"The attention of {len(encoder.blocks)} blocks is read; {encoder.note}.",)
    )
    return tuple(
        (*read, *_on_gradients(ranking, ["any attention"], [states], lambda: ""))
        for ranking, states in zip(rankings, unreached.tolist(), strict=True)
    )


def logit_distances(forward: ForwardPass, rankings: Sequence[Ranking]) -> tuple[LogitDistance | None, ...]:
    """For each image: how far the logits of finer maps lie from the model's own.

    Args:
        forward: the forward pass.
        rankings: one for each image.
    """
    if not isinstance(forward, FinerPass):
        return (None,) * len(rankings)
    apart = (forward.dense_logits - forward.logits).abs().double().tolist()
    return tuple(
        _distance([row[prediction.index] for prediction in ranking.top])
        for row, ranking in zip(apart, rankings, strict=True)
    )


def _distance(apart: Sequence[float]) -> LogitDistance | None:
    return LogitDistance(max(apart), fmean(apart)) if apart else None


def _on_shape(layer: str, forward: ForwardPass, inputs: Tensor, way_out: Callable[[], str]) -> Iterator[str]:
    yield from (f"{note}." for note in forward.notes)
    remark = remark_on(forward.activations.shape[-2:], inputs.shape[-2:])
    if remark:
        yield f"{layer} {remark}. {way_out()}".strip()


def _on_gradients(
    ranking: Ranking, layers: Sequence[str], unreached: Sequence[Sequence[bool]], way_out: Callable[[], str]
) -> Iterator[str]:
    for layer, states in zip(layers, unreached, strict=True):
        absent = [name for name, state in zip(ranking.pathologies, states, strict=False) if state]
        if absent:
            whose = "" if len(absent) == ranking.k else f" of {', '.join(map(readable, absent))}"
            yield f"No gradient{whose} reaches {layer}: there is no map, for or against. {way_out()}".strip()
