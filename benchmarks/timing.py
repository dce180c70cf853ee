"""Paired timing: each call is set against a bare forward pass right before and right after it.

Noise of a shared machine drifts over seconds. A ratio of two medians feels it; a ratio of neighbours does
not, and its median over many rounds is stable where each single time is not.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

Clock = Literal["wall", "cpu"]
CLOCKS: dict[Clock, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass
class Samples:
    """Times of one contestant in seconds, and each divided by the mean of its two neighbours."""

    times: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    failure: str | None = None

    @property
    def median_ms(self) -> float:
        return statistics.median(self.times) * 1e3

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def ratio_quartiles(self) -> tuple[float, float]:
        if len(self.ratios) < 2:
            return self.ratio, self.ratio
        low, _, high = statistics.quantiles(self.ratios, n=4, method="inclusive")
        return low, high


def measure(
    bare: Callable[[], object],
    contestants: dict[str, Callable[[], object]],
    rounds: dict[str, int],
    *,
    clock: Clock = "wall",
) -> tuple[list[float], dict[str, Samples]]:
    """Time all contestants, interleaved; one that fails is recorded with its reason and left out from there.

    Args:
        bare: what every time is divided by.
        contestants: what is timed, by key.
        rounds: how often each is timed; the rare ones are spread over all rounds.
        clock: "wall", or "cpu" for the time this process spent computing (one thread: immune to neighbours).

    Returns:
        The bare times in seconds, and the samples of each contestant.
    """
    samples = {key: Samples() for key in contestants}
    for key, run in contestants.items():
        _guarded(samples[key], run)  # warm-up
    bare()
    most = max(rounds.values())
    before = seconds(bare, clock)
    bare_times = [before]
    for number in range(most):
        for key in _order(list(contestants), number):
            if samples[key].failure or not _is_due(number, rounds[key], most):
                continue
            took = _guarded(samples[key], partial(seconds, contestants[key], clock))
            after = seconds(bare, clock)
            bare_times.append(after)
            if took is not None:
                samples[key].times.append(took)
                samples[key].ratios.append(took / ((before + after) / 2))
            before = after
    return bare_times, samples


def seconds(run: Callable[[], object], clock: Clock) -> float:
    """One call, with the garbage of earlier ones collected before the clock starts."""
    gc.collect()
    now = CLOCKS[clock]
    start = now()
    run()
    return now() - start


def _guarded(samples: Samples, run: Callable[[], float | object]) -> float | None:
    try:
        return run()  # type: ignore[return-value]
    except Exception as error:  # a peer may fail in any way; the table says how
        samples.failure = f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
        return None


def _order(keys: list[str], number: int) -> list[str]:
    """Start each round at another contestant."""
    shift = number % max(len(keys), 1)
    return keys[shift:] + keys[:shift]


def _is_due(number: int, wanted: int, most: int) -> bool:
    """Spread `wanted` rounds evenly over `most`."""
    return (number * wanted) // most != ((number - 1) * wanted) // most
