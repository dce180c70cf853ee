"""After training: one temperature, a bias for each output, and operating points."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from benchmarks.phantom_model.network import Network


@torch.no_grad()
def logits_of(network: Network, pixels: NDArray[np.int16]) -> Tensor:
    """(N, F) logits of (N, S, S) inputs, in evaluation mode."""
    training = network.training
    network.eval()
    logits = [
        network(torch.from_numpy(some).float()[:, None])[1]
        for some in np.array_split(pixels, max(1, len(pixels) // 32))
    ]
    network.train(training)
    return torch.cat(logits)


def calibrate(network: Network, logits: Tensor, labels: Tensor) -> Tensor:
    """Fit one temperature and a bias for each output to these phantoms; returns the new logits.

    Args:
        network: changed in place.
        logits: (N, F) of phantoms at their own prevalence.
        labels: (N, F) 0 or 1; NaN where a finding is hidden and counts as neither.
    """
    log_scale = torch.zeros((), requires_grad=True)
    shift = torch.zeros(logits.shape[1], requires_grad=True)
    known = ~labels.isnan()
    optimiser = torch.optim.LBFGS([log_scale, shift], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.binary_cross_entropy_with_logits((logits * log_scale.exp() + shift)[known], labels[known])
        loss.backward()
        return loss

    optimiser.step(closure)
    with torch.no_grad():
        network.directions.mul_(log_scale.exp())
        network.bias.mul_(log_scale.exp()).add_(shift)
        return logits * log_scale.exp() + shift


def operating_points(logits: Tensor, labels: Tensor) -> tuple[float | None, ...]:
    """The probability at which sensitivity + specificity is largest (Youden's J), for each output.

    The point lies midway, in logits, between the lowest value called positive and the next one below.

    >>> operating_points(torch.tensor([[-2.0], [-1.0], [1.0], [2.0]]), torch.tensor([[0.0], [0], [1], [1]]))
    (0.5,)
    """
    points: list[float | None] = []
    for values, truth in zip(logits.T, labels.T, strict=True):
        known = ~truth.isnan()
        if len(truth[known].unique()) < 2:  # nothing to tell apart
            points.append(None)
            continue
        order = values[known].argsort(descending=True)
        values, truth = values[known][order], truth[known][order]
        gain = truth.cumsum(0) / truth.sum() - (1 - truth).cumsum(0) / (1 - truth).sum()
        best = int(gain[:-1].argmax())
        points.append(round(float(((values[best] + values[best + 1]) / 2).sigmoid()), 6))
    return tuple(points)
