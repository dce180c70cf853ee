"""One class map out of those of several layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from cxr_explain.errors import OptionError

GAMMA = 2.0
"""Factor in the tanh that lifts the weaker parts of a map."""


def combine_layers(maps: Sequence[Tensor]) -> Tensor:
    """Stack the maps of several layers as LayerCAM does: scale each, then keep the largest at each position.

    Each layer's maps are divided by the largest magnitude among the K classes of an image, so that classes
    stay comparable and layers become so; then tanh(2 x) lifts what is weak; then the maps are interpolated
    bilinearly to the finest of the layers.

    Args:
        maps: the class maps of each layer, (B, K, I, J); I and J may differ between layers.

    Returns:
        (B, K, I, J) of the finest layer, in [-1, 1].

    Raises:
        OptionError: no map, or maps of different images or classes.

    Maps are signed: of two layers the one that speaks for a class, or less against it, has the last word.

    Source:
        Jiang et al., LayerCAM, IEEE TIP 30 (2021) 5875, there of one class, after a ReLU, and with the tanh
        for early layers alone; torch-cam has it for each layer, in this order.

    >>> coarse, fine = torch.tensor([[[[1.0]]]]), torch.tensor([[[[0.0, 4.0], [1.0, 0.0]]]])
    >>> combine_layers([coarse, fine]).shape
    torch.Size([1, 1, 2, 2])
    """
    if not maps or any(each.ndim != 4 for each in maps) or len({each.shape[:2] for each in maps}) != 1:
        raise OptionError(
            f"maps of shapes {[tuple(each.shape) for each in maps]}",
            expected="(B, K, I, J) with one B and one K",
        )
    finest = max((tuple(each.shape[-2:]) for each in maps), key=lambda shape: shape[0] * shape[1])
    if maps[0].shape[1] == 0:
        return maps[0].new_zeros(*maps[0].shape[:2], *finest)
    scaled = [torch.tanh(GAMMA * _by_strongest(each)) for each in maps]
    resized = [F.interpolate(each, finest, mode="bilinear", align_corners=False) for each in scaled]
    return torch.stack(resized).amax(dim=0)


def _by_strongest(maps: Tensor) -> Tensor:
    """Divide by the largest magnitude of an image's K maps; an image without any stays zero."""
    peak = maps.abs().amax(dim=(1, 2, 3), keepdim=True)
    return maps / peak.where(peak > 0, 1)
