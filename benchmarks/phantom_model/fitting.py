"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.phantom_model.examples import Examples
from benchmarks.phantom_model.network import Network
from benchmarks.phantom_model.objective import Batch, Weights, parts
from benchmarks.phantom_model.settings import Stage

DEFAULT = Weights()


def fit(
    network: Network,
    examples: Examples,
    stage: Stage,
    *,
    pairs: int,
    seed: int,
    weights: Weights = DEFAULT,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[int]:
    """Train a network in place for one stage; yields the number of each epoch when it is done.

    Args:
        network: the network.
        examples: the stage's pairs.
        stage: epochs, rate and ramp.
        pairs: pairs a step.
        seed: of the order; the augmentation draws from torch's own generator.
        weights: of the objective's parts.
        say: takes lines of progress.
    """
    order = np.random.default_rng(seed)
    steps = len(examples) // pairs
    optimiser, schedule = _optimiser(network.train(), stage.rate, steps * stage.epochs)
    report = _Report(steps * stage.epochs, say)
    for epoch in range(stage.epochs):
        for chosen in order.permutation(len(examples))[: steps * pairs].reshape(steps, -1):
            losses = _losses(network, _augmented(_batch(examples, chosen)))
            optimiser.zero_grad()
            ramp = min(1.0, report.step / stage.ramp) if stage.ramp else 1.0
            _total(losses, weights, ramp).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            report(epoch, losses)
        yield epoch


def _total(losses: dict[str, Tensor], weights: Weights, ramp: float) -> Tensor:
    shares = {name: getattr(weights, name) * (1 if name in {"cell", "owner"} else ramp) for name in losses}
    return torch.stack([shares[name] * loss for name, loss in losses.items()]).sum()


def areas_of(examples: Examples) -> Tensor:
    """(F,) median number of cells that each finding touches, where it is."""
    cells = (examples.cover[:, 0] > 0).sum(axis=(-2, -1))
    return torch.tensor([float(np.median(column[column > 0])) for column in cells.T], dtype=torch.float32)


def _optimiser(network: Network, rate: float, steps: int) -> tuple[Any, Any]:
    """AdamW and one cycle of its rate.

    The directions go slower: each step moves every entry by about the rate, all channels add up, and kappa
    multiplies the sum, so that at the body's rate the logits would jump by dozens.
    """
    body = list(network.densenet.features.parameters())
    groups = [
        {"params": [parameter for parameter in body if parameter.ndim == 4], "weight_decay": 1e-4},
        {
            "params": [*(parameter for parameter in body if parameter.ndim < 4), network.bias],
            "weight_decay": 0,
        },
        {"params": [network.directions], "weight_decay": 0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=rate)
    rates = [rate, rate, rate / 10]
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=steps, pct_start=0.15)


def _batch(examples: Examples, chosen: NDArray[np.int64]) -> Batch:
    return Batch(
        inputs=torch.from_numpy(examples.pixels[chosen]).float()[:, :, None],
        cover=torch.from_numpy(examples.cover[chosen]).float() / 255,
        labels=torch.from_numpy(examples.labels[chosen]).float(),
        removed=torch.from_numpy(examples.removed[chosen]),
    )


def _augmented(batch: Batch) -> Batch:
    """Other contrast, brightness and noise; both of a pair get the same."""
    each = (len(batch.inputs), 1, 1, 1, 1)
    contrast, brightness = 1 + 0.1 * torch.randn(each), 40 * torch.randn(each)
    noise = 15 * torch.rand(each) * torch.randn(len(batch.inputs), 1, *batch.inputs.shape[2:])
    inputs = (batch.inputs * contrast + brightness + noise).clamp(-1024, 1024)
    return Batch(inputs, batch.cover, batch.labels, batch.removed)


def _losses(network: Network, batch: Batch) -> dict[str, Tensor]:
    evidence, logits = network(batch.inputs.flatten(0, 1))
    pairs = batch.inputs.shape[:2]
    return parts(evidence.unflatten(0, pairs), logits.unflatten(0, pairs), network.kappa, batch)


class _Report:
    """A line of progress now and then."""

    def __init__(self, steps: int, say: Callable[[str], None], every: int = 50) -> None:
        self.step, self._steps, self._say, self._every = 0, steps, say, every
        self._mean: dict[str, float] = {}
        self._start = time.monotonic()

    def __call__(self, epoch: int, losses: dict[str, Tensor]) -> None:
        self.step += 1
        for name, loss in losses.items():
            self._mean[name] = 0.98 * self._mean.get(name, loss.item()) + 0.02 * loss.item()
        if self.step % self._every == 0:
            means = "  ".join(f"{name} {mean:.3f}" for name, mean in self._mean.items())
            minutes = (time.monotonic() - self._start) / 60
            self._say(f"epoch {epoch + 1}  step {self.step}/{self._steps}  {means}  {minutes:.1f} min")
