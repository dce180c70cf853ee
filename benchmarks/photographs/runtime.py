"""What FM-G-CAM costs beside K Grad-CAMs, on the same network with the same image."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchmarks.photographs.maps import K
from benchmarks.timing import Clock, measure
from cxr_explain.cam.fusion import fm_g_cam
from cxr_explain.cam.grad_cam import grad_cam_weights, weighted_sum
from cxr_explain.models.pooled_linear import PooledLinearClassifier, pooled_linear


def runtime(
    classifier: PooledLinearClassifier, image: Tensor, *, rounds: int = 20, clock: Clock = "cpu"
) -> Iterator[str]:
    """Median times as lines of Markdown; each is set against bare passes before and after it.

    Args:
        classifier: the network, run by torch.
        image: (3, S, S).
        rounds: number of times.
        clock: "cpu", which with one thread hardly feels other processes, or "wall".
    """
    inputs = image[None]
    ranked = classifier.logits(inputs).topk(K).indices

    def fused() -> object:
        forward = classifier.forward(inputs)
        top = forward.logits.topk(K).indices
        return fm_g_cam(forward.activations, forward.weights(top))

    def one_by_one() -> object:
        maps = []
        for k in range(K):
            forward = classifier.forward(inputs)
            maps.append(weighted_sum(forward.activations, forward.weights(ranked[:, k : k + 1])))
        return maps

    def by_backward_passes() -> object:
        return [_literal(classifier, inputs, int(k)) for k in ranked[0]]

    contestants = {
        "bare forward pass, again": lambda: classifier.logits(inputs),
        f"FM-G-CAM of K = {K}: one pass": fused,
        f"{K} Grad-CAMs, a pass each": one_by_one,
        f"{K} Grad-CAMs, each a pass and a backward pass through the network": by_backward_passes,
    }
    bare, samples = measure(
        lambda: classifier.logits(inputs), contestants, dict.fromkeys(contestants, rounds), clock=clock
    )
    yield f"Bare forward pass {sorted(bare)[len(bare) // 2] * 1e3:.1f} ms (median, {clock} clock)."
    yield ""
    yield "| maps of one photograph | median ms | ratio to bare (quartiles) |"
    yield "|---|--:|--:|"
    for name, each in samples.items():
        low, high = each.ratio_quartiles
        yield f"| {name} | {each.median_ms:.1f} | {each.ratio:.2f} ({low:.2f} to {high:.2f}) |"


def _literal(classifier: PooledLinearClassifier, inputs: Tensor, index: int) -> Tensor:
    """Grad-CAM as common libraries compute it: a forward pass with a graph, and its whole backward pass."""
    with classifier.undisturbed(), torch.enable_grad():
        given = inputs.clone().requires_grad_()
        activations = classifier.body(given)
        score = pooled_linear(activations, classifier.head)[0, index]
        gradients, _ = torch.autograd.grad(score, (activations, given))
    return weighted_sum(activations.detach(), grad_cam_weights(gradients[:, None]))
