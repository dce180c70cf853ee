"""The training loop, which goes on where it was stopped."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.phantom_model.examples import Examples
from benchmarks.phantom_model.network import SLOWER, Network
from benchmarks.phantom_model.objective import Batch, parts
from benchmarks.phantom_model.settings import Settings, Weights
from cxr_explain.errors import OutputError
from cxr_explain.support.whole_file import write_output


def fit(
    network: Network,
    examples: Examples,
    settings: Settings,
    *,
    state: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[int]:
    """Train a network in place; yields the number of each epoch when it is done.

    The order and the augmentation of an epoch are drawn from the seed and the epoch's number alone.

    Args:
        network: the network.
        examples: what it sees.
        settings: epochs, rate, and what counts.
        state: file that holds all that the next epoch depends on, written after each; if it is there,
            training goes on from it.
        say: takes lines of progress.

    Raises:
        OutputError: a state of another training.
    """
    each = settings.images // 2 if settings.paired else settings.images
    steps = len(examples) // each
    optimiser, schedule = _optimiser(network.train(), settings.rate, steps * settings.epochs)
    training = {"network": network, "optimiser": optimiser, "schedule": schedule}
    first = _restored(state, training, settings) if state and state.exists() else 0
    report = _Report(first * steps, steps * settings.epochs, say)
    for epoch in range(first, settings.epochs):
        draw = torch.Generator().manual_seed(1000 * settings.seed + epoch)
        order = torch.randperm(len(examples), generator=draw)[: steps * each].reshape(steps, each).numpy()
        for chosen in order:
            batch = _augmented(_batch(examples, chosen, settings), draw)
            losses = _losses(network, batch, settings.weights)
            optimiser.zero_grad()
            ramp = min(1.0, report.step / settings.ramp) if settings.ramp else 1.0
            _total(losses, settings.weights, ramp).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            report(epoch, losses)
        if state:
            _keep(state, training, settings, epoch + 1)
        yield epoch


def _total(losses: dict[str, Tensor], weights: Weights, ramp: float) -> Tensor:
    shares = {name: getattr(weights, name) * (1 if name in {"cell", "owner"} else ramp) for name in losses}
    return torch.stack([shares[name] * loss for name, loss in losses.items()]).sum()


def areas_of(examples: Examples, cells: int) -> Tensor:
    """(F,) median number of cells of a map of cells x cells that each finding touches, where it is."""
    touched = [
        (at_cells(torch.from_numpy(some), cells) > 0).sum((-2, -1)).numpy()
        for some in np.array_split(examples.cover[:, 0], max(1, len(examples) // 256))
    ]
    columns = np.concatenate(touched).T
    return torch.tensor([float(np.median(column[column > 0])) for column in columns], dtype=torch.float32)


def at_cells(cover: Tensor, cells: int) -> Tensor:
    """(..., I, J) shares in 255ths as (..., cells, cells) shares in [0, 1]; none becomes 0 that was not."""
    whole = cover.float() / 255
    return F.adaptive_avg_pool2d(whole.flatten(0, -4), cells).unflatten(0, cover.shape[:-3])


def _restored(path: Path, training: dict[str, Any], settings: Settings) -> int:
    """Take up a kept state; returns the number of epochs that are done."""
    kept = torch.load(io.BytesIO(path.read_bytes()), weights_only=True)
    if kept["settings"] != json.dumps(asdict(settings)):
        raise OutputError(
            "the state of a training with other settings",
            expected=f"a state of the same settings, to go on from; its settings: {kept['settings']}",
            source=path,
            remedy="Choose another name for the weights, or remove the file.",
        )
    for name, each in training.items():
        each.load_state_dict(kept[name])
    return int(kept["epochs"])


def _keep(path: Path, training: dict[str, Any], settings: Settings, epochs: int) -> None:
    content = io.BytesIO()
    kept = {name: each.state_dict() for name, each in training.items()}
    torch.save(kept | {"settings": json.dumps(asdict(settings)), "epochs": epochs}, content)
    write_output(path, content.getvalue(), "the state of a training")


def _optimiser(network: Network, rate: float, steps: int) -> tuple[Any, Any]:
    """AdamW and one cycle of its rate."""
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
    rates = [rate, rate, rate * SLOWER]
    return optimiser, torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=steps, pct_start=0.15)


def _batch(examples: Examples, chosen: NDArray[np.int64], settings: Settings) -> Batch:
    shown = slice(2 if settings.paired else 1)
    return Batch(
        inputs=torch.from_numpy(examples.pixels[chosen, shown]).float()[:, :, None],
        cover=at_cells(torch.from_numpy(examples.cover[chosen, shown]), settings.cells),
        labels=torch.from_numpy(examples.labels[chosen, shown]).float(),
        removed=torch.from_numpy(examples.removed[chosen]),
    )


def _augmented(batch: Batch, draw: torch.Generator) -> Batch:
    """Other contrast, brightness and noise; both of a pair get the same."""
    each = (len(batch.inputs), 1, 1, 1, 1)
    contrast = 1 + 0.1 * torch.randn(each, generator=draw)
    brightness = 40 * torch.randn(each, generator=draw)
    grain = torch.randn(len(batch.inputs), 1, *batch.inputs.shape[2:], generator=draw)
    noise = 15 * torch.rand(each, generator=draw) * grain
    inputs = (batch.inputs * contrast + brightness + noise).clamp(-1024, 1024)
    return Batch(inputs, batch.cover, batch.labels, batch.removed)


def _losses(network: Network, batch: Batch, weights: Weights) -> dict[str, Tensor]:
    evidence, logits = network(batch.inputs.flatten(0, 1))
    shape = batch.inputs.shape[:2]
    counted = weights.counted
    return parts(evidence.unflatten(0, shape), logits.unflatten(0, shape), network.kappa, batch, counted)


class _Report:
    """A line of progress now and then."""

    def __init__(self, step: int, steps: int, say: Callable[[str], None], every: int = 50) -> None:
        self.step, self._steps, self._say, self._every = step, steps, say, every
        self._mean: dict[str, float] = {}
        self._first, self._start = step, time.monotonic()

    def __call__(self, epoch: int, losses: dict[str, Tensor]) -> None:
        self.step += 1
        for name, loss in losses.items():
            self._mean[name] = 0.98 * self._mean.get(name, loss.item()) + 0.02 * loss.item()
        if self.step % self._every == 0 or self.step == self._steps:
            means = "  ".join(f"{name} {mean:.3f}" for name, mean in self._mean.items())
            passed = (time.monotonic() - self._start) / 60
            left = passed * (self._steps - self.step) / (self.step - self._first)
            self._say(
                f"epoch {epoch + 1}  step {self.step}/{self._steps}  {means}  "
                f"{passed:.1f} min, {left:.0f} to go"
            )
