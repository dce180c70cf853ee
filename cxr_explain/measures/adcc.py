"""Average Drop, Increase in Confidence, Coherency, Complexity, and their harmonic mean ADCC.

Rows are kept: results are (B, K). A map is shown to the model as a mask: min-max normalised after its ReLU,
interpolated to the input, 1 where the image stays and 0 where it fades to black.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from cxr_explain.measures.faithfulness import Rows, pearson
from cxr_explain.measures.subject import (
    Baseline,
    Explain,
    Score,
    baseline_of,
    check_maps,
    probabilities,
)


@dataclass(frozen=True, eq=False)
class Adcc:
    """The parts of ADCC, (B, K) each, in [0, 1].

    Args:
        average_drop: max(0, y - y_e) / y, where y_e is the probability behind the mask; low is good.
        increase: 1 where y_e > y; its mean is the Increase in Confidence.
        coherency: (r + 1) / 2, where r compares the map with that of the masked image; high is good.
        complexity: the mean of the normalised map; low is good.
    """

    average_drop: Rows
    increase: Rows
    coherency: Rows
    complexity: Rows

    @property
    def adcc(self) -> Rows:
        """(B, K), the harmonic mean of coherency, 1 - complexity and 1 - average drop."""
        return harmonic(self.coherency, 1 - self.complexity, 1 - self.average_drop)


def harmonic(*parts: Rows) -> Rows:
    """The harmonic mean of numbers in [0, 1], 0 where one is 0.

    Of rows it gives rows; of means over images it gives what the published tables call ADCC, which is another
    number than the mean of the rows.

    >>> harmonic(np.array(0.5), np.array(1.0)).round(3).item()
    0.667
    """
    stack = np.stack([np.asarray(part, np.float64) for part in parts])
    none = (stack <= 0).any(axis=0)
    return np.where(none, 0.0, len(stack) / (1 / np.where(none, 1.0, stack)).sum(axis=0))


def adcc(
    score: Score,
    explain: Explain,
    inputs: Tensor,
    classes: Tensor,
    maps: Tensor,
    *,
    baseline: Baseline = "black",
) -> Adcc:
    """Show the model what a map marks, and explain what it then says.

    A map without positive evidence hides everything, and has coherency 0; one that is the same everywhere
    hides nothing, and has complexity 1. Neither wins: ADCC is 0 for both. Where the masked image's map is
    empty or flat, nothing of the explanation came back, and coherency is 0 too.

    Args:
        score: gives the model's logits.
        explain: the rule that made the maps.
        inputs: (B, 1, S, S) in [-1024, 1024].
        classes: (B, K).
        maps: (B, K, I, J).
        baseline: what the image fades to.

    Raises:
        OptionError: shapes that do not fit, or maps that are not finite.
        ModelError: scores that are not numbers.

    Source:
        Chattopadhyay et al., Grad-CAM++, WACV 2018, section 4.1 (drop and increase); Poppi et al., Revisiting
        the Evaluation of Class Activation Mapping, CVPR Workshops 2021, equations 4 to 8.

    >>> import torch
    >>> inputs, classes = torch.zeros(1, 1, 8, 8), torch.tensor([[0]])
    >>> parts = adcc(lambda x: x.mean(dim=(2, 3)), lambda x, k: x[..., ::4, ::4] + 1024, inputs, classes,
    ...              torch.rand(1, 1, 2, 2))
    >>> parts.adcc.shape
    (1, 1)
    """
    check_maps(inputs, classes, maps)
    shown = normalised(maps)
    masks = F.interpolate(shown.to(inputs), tuple(inputs.shape[-2:]), mode="bilinear", align_corners=False)
    blank = baseline_of(inputs, baseline)
    y = probabilities(score, inputs, classes)
    results = [
        _of_rank(
            score, explain, blank + (inputs - blank) * masks[:, k, None], classes[:, k, None], maps[:, k]
        )
        for k in range(classes.shape[1])
    ]
    y_e, coherency = (np.stack(rows, axis=1) for rows in zip(*results, strict=True))
    drop = np.maximum(y - y_e, 0) / np.maximum(y, np.finfo(np.float64).tiny)
    return Adcc(drop, (y_e > y).astype(np.float64), coherency, shown.mean(dim=(2, 3)).cpu().numpy())


def normalised(maps: Tensor) -> Tensor:
    """The positive part of each map, scaled to [0, 1]; a flat one is all 0 without any evidence, else all 1.

    >>> import torch
    >>> normalised(torch.tensor([[-1.0, 2.0, 4.0]])[None])[0].tolist()
    [[0.0, 0.5, 1.0]]
    """
    positive = maps.detach().clamp(min=0).double()
    low, high = positive.amin(dim=(-2, -1), keepdim=True), positive.amax(dim=(-2, -1), keepdim=True)
    flat = high == low
    scaled = (positive - low) / (high - low).where(~flat, 1)
    return scaled.where(~flat, (high > 0).double())


def _of_rank(
    score: Score, explain: Explain, masked: Tensor, classes: Tensor, maps: Tensor
) -> tuple[Rows, Rows]:
    """Probability behind the mask and coherency of one class of each image, (B,) each."""
    again = explain(masked, classes)[:, 0]  # first: a score that remembers knows this pass then
    y_e = probabilities(score, masked, classes)[:, 0]
    r = pearson(*(each.detach().clamp(min=0).double().flatten(1).cpu().numpy() for each in (maps, again)))
    return y_e, np.where(np.isnan(r), 0.0, (np.nan_to_num(r) + 1) / 2)
