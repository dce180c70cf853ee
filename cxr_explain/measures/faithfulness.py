"""Whether the score depends on what a map marks: deletion and insertion curves.

Rows are kept: results are (B, K), one number for each image and class, NaN where it is not estimable.
Saliency is the positive part of a class map. Scores are the class's own sigmoid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxr_explain.errors import OptionError
from cxr_explain.measures.order import cell_of_pixel, cell_order, over_pixels, saliency_of
from cxr_explain.measures.subject import (
    BATCH,
    Baseline,
    Score,
    baseline_of,
    check_maps,
    probabilities,
)
from cxr_explain.options import check_at_least

STEPS = 14 * 14
"""At most: the cells of the maps that the published protocol was made for."""

Rows = NDArray[np.float64]

_ROUNDING = 1e-12  # as a share of the largest value: the sums over an image's pixels round to less


@dataclass(frozen=True, eq=False)
class Curve:
    """A class's probability while an image goes, or comes, the most salient cells first.

    Args:
        fractions: (B, K, T + 1), the share of pixels that have changed, from 0 to 1.
        scores: (B, K, T + 1), the probability then.
        saliency: (B, K, T), the mean saliency of the pixels of each step.
        inserted: pixels came in, rather than went.
    """

    fractions: Rows
    scores: Rows
    saliency: Rows
    inserted: bool

    @property
    def area(self) -> Rows:
        """(B, K), the area below the curve by the trapezoid rule: DAUC (low is good) or IAUC (high is)."""
        heights = (self.scores[..., 1:] + self.scores[..., :-1]) / 2
        return np.asarray((heights * np.diff(self.fractions, axis=-1)).sum(axis=-1))

    @property
    def correlation(self) -> Rows:
        """(B, K), Pearson's r of each step's saliency and what it did to the score: DC or IC; high is good.

        What a step did is the fall of the score where pixels go, and its rise where they come. NaN where all
        steps are alike in either.
        """
        change = np.diff(self.scores, axis=-1) * (1 if self.inserted else -1)
        return pearson(self.saliency, change)


def deletion(
    score: Score,
    inputs: Tensor,
    classes: Tensor,
    maps: Tensor,
    *,
    baseline: Baseline = "blur",
    steps: int = STEPS,
    seed: int = 0,
    batch_size: int = BATCH,
) -> Curve:
    """Blank out the most salient cells first, and watch the score fall.

    Whole cells of the map go, each with the pixels whose centres lie in it. A map with more cells than steps
    loses several at a time. Cells of equal saliency go in a random order, the same one for every image and
    class of a call; over many images, give each another seed, and the luck averages out.

    Args:
        score: gives the model's logits.
        inputs: (B, 1, S, S) in [-1024, 1024].
        classes: (B, K), whose probability is watched.
        maps: (B, K, I, J), not finer than the inputs.
        baseline: what is left where pixels went. RISE leaves black; but black holes, which no radiograph has,
            change the score by themselves, so that any cells seem to matter.
        steps: T, at most; a map of fewer cells has one step a cell.
        seed: seed of the random order among cells of equal saliency.
        batch_size: number of images scored at a time.

    Raises:
        OptionError: shapes that do not fit, maps that are not finite, or no step.
        ModelError: scores that are not numbers.

    Source:
        Petsiuk et al., RISE, BMVC 2018 (the areas); Gomez et al., Metrics for saliency map evaluation of deep
        learning explanation methods, ICPRAI 2022 (the correlations).

    >>> inputs, classes = torch.zeros(1, 1, 8, 8), torch.tensor([[0]])
    >>> curve = deletion(lambda x: x.mean(dim=(2, 3)) / 100, inputs, classes, torch.rand(1, 1, 4, 4))
    >>> curve.scores.shape, curve.area.shape
    ((1, 1, 17), (1, 1))
    """
    schedule = _Schedule.of(inputs, classes, maps, steps, seed)
    blank = baseline_of(inputs, baseline)
    scores = _scores(score, inputs, blank, classes, schedule, batch_size)
    return Curve(schedule.fractions, scores, schedule.saliency, inserted=False)


def insertion(
    score: Score,
    inputs: Tensor,
    classes: Tensor,
    maps: Tensor,
    *,
    baseline: Baseline = "blur",
    steps: int = STEPS,
    seed: int = 0,
    batch_size: int = BATCH,
) -> Curve:
    """Put the most salient cells back first, and watch the score rise.

    What :func:`deletion` takes away comes in here, in the same order; it has the same arguments, errors and
    source. A blurred image has no new edges where cells come in; a black one would have them around each.

    >>> inputs, classes = torch.zeros(1, 1, 8, 8), torch.tensor([[0]])
    >>> maps = torch.rand(1, 1, 4, 4)
    >>> curve = insertion(lambda x: x.mean(dim=(2, 3)) / 100, inputs, classes, maps, steps=4)
    >>> curve.scores.shape
    (1, 1, 5)
    """
    schedule = _Schedule.of(inputs, classes, maps, steps, seed)
    blank = baseline_of(inputs, baseline)
    scores = _scores(score, blank, inputs, classes, schedule, batch_size)
    return Curve(schedule.fractions, scores, schedule.saliency, inserted=True)


def pearson(one: Rows, other: Rows) -> Rows:
    """Pearson's r along the last axis; NaN where either is constant, but for rounding.

    >>> pearson(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])).item()
    1.0
    """
    pair = [_standardised(each) for each in (one, other)]
    return np.asarray(np.clip((pair[0] * pair[1]).sum(axis=-1), -1, 1))


def _standardised(values: Rows) -> Rows:
    """Mean 0 and norm 1 along the last axis; NaN for a constant."""
    size = np.abs(values).max(axis=-1, keepdims=True, initial=0)
    values = values / np.where(size > 0, size, 1)  # first, so that no square under- or overflows
    deviation = values - values.mean(axis=-1, keepdims=True)
    norm = np.sqrt((deviation**2).sum(axis=-1, keepdims=True))
    return np.where(norm > _ROUNDING, deviation / np.where(norm > 0, norm, 1), np.nan)


@dataclass(frozen=True, eq=False)
class _Schedule:
    """Which cells change at which step.

    Args:
        step: (B, K, I, J) int64, the step at which each cell changes, from 0 to T - 1.
        fractions: (B, K, T + 1), the share of pixels that have changed before each step and at the end.
        saliency: (B, K, T), the mean saliency of the pixels that change at each step.
    """

    step: Tensor
    fractions: Rows
    saliency: Rows

    @classmethod
    def of(cls, inputs: Tensor, classes: Tensor, maps: Tensor, steps: int, seed: int) -> _Schedule:
        check_maps(inputs, classes, maps)
        cells, pixels = tuple(maps.shape[-2:]), tuple(inputs.shape[-2:])
        check_at_least(1, steps=steps)
        if any(c > p for c, p in zip(cells, pixels, strict=True)):
            raise OptionError(f"maps of {cells} cells", expected=f"at most the {pixels} pixels of the inputs")
        saliency = saliency_of(maps)
        count = saliency[0, 0].numel()
        step = cell_order(saliency, seed=seed) * min(steps, count) // count
        area = _areas(cells, pixels).expand_as(saliency)
        changed, mass = (_by_step(step, each, min(steps, count)) for each in (area, area * saliency))
        gone = np.concatenate([np.zeros_like(changed[..., :1]), changed.cumsum(axis=-1)], axis=-1)
        return cls(step, gone / gone[..., -1:], mass / changed)


def _areas(cells: tuple[int, ...], pixels: tuple[int, ...]) -> Tensor:
    """(I, J) float64: the pixels of each cell."""
    rows, columns = (
        torch.bincount(cell_of_pixel(c, p), minlength=c) for c, p in zip(cells, pixels, strict=True)
    )
    return (rows[:, None] * columns).double()


def _by_step(step: Tensor, values: Tensor, steps: int) -> Rows:
    """(B, K, T): the sum of the cells' values of each step."""
    sums = torch.zeros((*step.shape[:2], steps), dtype=torch.float64)
    return sums.scatter_add_(-1, step.flatten(2), values.flatten(2)).numpy()


def _scores(
    score: Score,
    before: Tensor,
    after: Tensor,
    classes: Tensor,
    schedule: _Schedule,
    batch_size: int,
) -> Rows:
    """(B, K, T + 1)."""
    check_at_least(1, batch_size=batch_size)
    shape = schedule.fractions.shape
    found = []
    for part in torch.split(torch.arange(schedule.fractions.size), batch_size):  # all stages of all maps
        b, k, stage = torch.unravel_index(part, shape)
        when = over_pixels(schedule.step[b, k], (before.shape[-2], before.shape[-1]))
        changed = (when < stage[:, None, None])[:, None].to(before.device)
        images = torch.where(changed, after[b.to(after.device)], before[b.to(before.device)])
        found.append(probabilities(score, images, classes[b, k][:, None])[:, 0])
    return np.concatenate(found).reshape(shape)
