"""ROAD: pixels are taken away without a trace of their shape, the salient ones first or last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cxr_explain.errors import OptionError
from cxr_explain.measures.faithfulness import Rows
from cxr_explain.measures.imputation import fill_in
from cxr_explain.measures.order import pixel_order, saliency_of
from cxr_explain.measures.subject import (
    BATCH,
    Score,
    check_maps,
    probabilities,
)
from cxr_explain.options import check_at_least

PERCENTAGES = (10, 20, 30, 40, 50, 60, 70, 80, 90)
NOISE = 0.01 * 2048
"""Standard deviation of what is added to a filled pixel: a hundredth of the range of the inputs."""


def road(
    score: Score,
    inputs: Tensor,
    classes: Tensor,
    maps: Tensor,
    *,
    percentages: Sequence[int] = PERCENTAGES,
    noise: float = NOISE,
    seed: int = 0,
    batch_size: int = BATCH,
) -> Rows:
    """The mean over percentages p of (score without the p % least salient - without the p % most) / 2.

    Half of the distance, so that it lies in [-0.5, 0.5], 0 at chance. The pixels are ordered by the positive
    part of the map, interpolated bilinearly; equals go cell by cell in a random order. Those taken away are
    filled from what is around them.

    Args:
        score: gives the model's logits.
        inputs: (B, 1, S, S) in [-1024, 1024].
        classes: (B, K).
        maps: (B, K, I, J).
        percentages: p, the percentages of the pixels that are taken away, between 0 and 100.
        noise: standard deviation of the noise on filled pixels, in units of [-1024, 1024].
        seed: seed of the random noise and of the random order among pixels of equal saliency; over many
            images, give each another seed.
        batch_size: number of images filled and scored at a time.

    Returns:
        (B, K); higher is better.

    Raises:
        OptionError: shapes that do not fit, maps that are not finite, or percentages out of range.
        ModelError: scores that are not numbers.

    Source:
        Rong et al., A Consistent and Efficient Evaluation Strategy for Attribution Methods, ICML 2022; halved
        and combined as pytorch-grad-cam's ROADCombined does it.

    >>> inputs, classes = torch.zeros(1, 1, 8, 8), torch.tensor([[0]])
    >>> road(lambda x: x.mean(dim=(2, 3)), inputs, classes, torch.rand(1, 1, 4, 4), percentages=(50,)).shape
    (1, 1)
    """
    check_maps(inputs, classes, maps)
    check_at_least(1, batch_size=batch_size)
    if not percentages or not all(0 < p < 100 for p in percentages):
        raise OptionError(f"percentages {tuple(percentages)}", expected="some between 0 and 100")
    height, width = inputs.shape[-2:]
    places = pixel_order(saliency_of(maps), (height, width), seed=seed)
    draws = noise * torch.randn((height, width), generator=torch.Generator().manual_seed(seed))
    first, end = _taken(height * width, percentages)
    shape = (*classes.shape, len(first))
    scores = []
    for part in torch.split(torch.arange(classes.numel() * len(first)), batch_size):
        b, k, each = torch.unravel_index(part, shape)
        place = places[b, k]
        gone = (first[each, None, None] <= place) & (place < end[each, None, None])
        holes, image = gone[:, None].to(inputs.device), inputs[b.to(inputs.device)]
        images = torch.where(holes, fill_in(image, holes) + draws.to(inputs), image)
        scores.append(probabilities(score, images, classes[b, k][:, None])[:, 0])
    least, most = np.split(np.concatenate(scores).reshape(shape), 2, axis=-1)
    return np.asarray((least - most).mean(axis=-1) / 2)


def _taken(pixels: int, percentages: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The places of what is taken away, from the first and before the end, (2 P,) each.

    The least salient pixels at each percentage, then the most salient ones.
    """
    counts = torch.tensor([round(pixels * p / 100) for p in percentages])
    none, every = torch.zeros_like(counts), torch.full_like(counts, pixels)
    return torch.cat([pixels - counts, none]), torch.cat([every, counts])
