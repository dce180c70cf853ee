"""Deletion and insertion of many maps of one image, which share the frames that are the same.

A frame is the image with some cells shown, and a baseline in the others. Two maps that delete the same cells
first give the same frames, and the probabilities of all classes come from one pass of a frame: so Grad-CAM of
the first rank is scored for all ranks at the price of one, and a map that differs from another one in its
weakest cells alone costs a few passes. What is measured of a curve is the package's own
(`cxr_explain.measures.faithfulness.Curve`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxr_explain.errors import OptionError
from cxr_explain.measures.faithfulness import Curve
from cxr_explain.measures.order import cell_order, over_pixels
from cxr_explain.options import check_at_least

Probabilities = Callable[[Tensor], NDArray[np.float64]]
"""From frames (n, C, S, S) to the probabilities of N classes, (n, N)."""


@dataclass(frozen=True)
class Curves:
    """Both curves of M maps, each watched in N classes.

    Args:
        deletion: of (M, N) curves.
        insertion: of (M, N) curves.
        passes: number of frames that were scored.
        asked: number of frames that the maps have, each by itself.
    """

    deletion: Curve
    insertion: Curve
    passes: int
    asked: int

    @property
    def measures(self) -> dict[str, NDArray[np.float64]]:
        """Table 3's four numbers, (M, N) each."""
        return {
            "IAUC": self.insertion.area,
            "IC": self.insertion.correlation,
            "DAUC": self.deletion.area,
            "DC": self.deletion.correlation,
        }


def curves(
    probabilities: Probabilities,
    image: Tensor,
    baselines: Mapping[str, Tensor],
    maps: Tensor,
    *,
    steps: int,
    seed: int = 0,
    batch_size: int = 16,
) -> Curves:
    """Score every frame of all maps once.

    Whole cells go or come, the largest values first, as signed as they are; equals in a random order, which
    is the same for all maps. A map with more cells than steps changes several at a time.

    Args:
        probabilities: of N classes.
        image: (C, S, S).
        baselines: (C, S, S) each, what is left where cells were deleted, and what cells are inserted into, by
            "deletion" and "insertion".
        maps: (M, I, J), cells of equal size.
        steps: T, at most; a map of fewer cells has one step a cell.
        seed: seed of the order among equals.
        batch_size: number of frames in one pass.

    Raises:
        OptionError: cells of unequal size, or no step.
    """
    check_at_least(1, steps=steps)
    if any(pixels % cells for pixels, cells in zip(image.shape[-2:], maps.shape[-2:], strict=True)):
        raise OptionError(
            f"maps of {tuple(maps.shape[-2:])} cells", expected=f"a divisor of {tuple(image.shape[-2:])}"
        )
    step, fractions, saliency = _schedule(maps.detach().double().cpu(), steps, seed)
    changed = step[:, None] < torch.arange(len(fractions))[:, None, None]  # (M, T + 1, I, J)
    shown = torch.stack([~changed, changed]).flatten(0, 2)
    of_insertion = (torch.arange(len(shown)) >= len(shown) // 2) & ~shown.flatten(1).all(1)
    frames, which = np.unique(
        torch.cat([of_insertion[:, None], shown.flatten(1)], 1).numpy(), axis=0, return_inverse=True
    )
    blanks = torch.stack([baselines["deletion"], baselines["insertion"]])
    found = [
        probabilities(_frames(image, blanks, part, maps.shape[-2:]))
        for part in torch.split(torch.from_numpy(frames), batch_size)
    ]
    scores = np.concatenate(found)[which.reshape(2, len(maps), -1)]  # (2, M, T + 1, N)
    by_class = np.moveaxis(scores, -1, 2)
    shape = by_class.shape[1:]
    about = np.broadcast_to(fractions, shape), np.broadcast_to(saliency[:, None], (*shape[:2], shape[2] - 1))
    gone, come = (
        Curve(about[0], each, about[1], inserted=inserted)
        for each, inserted in zip(by_class, (False, True), strict=True)
    )
    return Curves(gone, come, len(frames), len(shown))


def _schedule(maps: Tensor, steps: int, seed: int) -> tuple[Tensor, NDArray[np.float64], NDArray[np.float64]]:
    """The step of each cell, (M, I, J); the shares that have changed, (T + 1,); each step's mean, (M, T)."""
    count = maps[0].numel()
    steps = min(steps, count)
    step = cell_order(maps, seed=seed) * steps // count
    sizes = torch.bincount(step[0].flatten(), minlength=steps).double()  # the same for each map
    sums = torch.zeros((len(maps), steps), dtype=torch.float64).scatter_add_(
        1, step.flatten(1), maps.flatten(1)
    )
    fractions = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]) / count
    return step, fractions.numpy(), (sums / sizes).numpy()


def _frames(image: Tensor, blanks: Tensor, rows: Tensor, cells: torch.Size) -> Tensor:
    """(n, 1 + I J) bool -> (n, C, S, S)."""
    shown = over_pixels(rows[:, 1:].reshape(-1, *cells), (image.shape[-2], image.shape[-1]))
    return torch.where(shown[:, None], image, blanks[rows[:, 0].long()])
