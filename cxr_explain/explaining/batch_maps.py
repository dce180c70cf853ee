"""What is known of a batch of model inputs: rankings and fused maps, as tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from cxr_explain.cam.fusion import FusedMaps
from cxr_explain.display import overlays_of
from cxr_explain.explaining.provenance import LogitDistance
from cxr_explain.explaining.ranking import Ranking


@dataclass(frozen=True, eq=False)
class BatchMaps:
    """Rankings and fused maps of one batch of model inputs.

    Args:
        rankings: one for each image.
        fused: (1, K, I, J) for each image; K differs where the ranking says so.
        gradient: "closed form", "autograd", or "none" where the method needs none.
        notes: for each image, what else a reader should know of the maps; () where there is nothing.
        finer: for each image, how far the logits of finer maps lie from the model's own; None where maps are
            native.

    >>> import torch
    >>> from cxr_explain.cam.fusion import fuse
    >>> from cxr_explain.explaining.ranking import rank
    >>> batch = BatchMaps((rank([2.0], ["Mass"]),), (fuse(torch.ones(1, 1, 7, 7)),), "closed form")
    >>> batch.maps_in_inputs(0, (14, 14)).shape
    torch.Size([1, 14, 14])
    """

    rankings: tuple[Ranking, ...]
    fused: tuple[FusedMaps, ...]
    gradient: str
    notes: tuple[tuple[str, ...], ...] = ()
    finer: tuple[LogitDistance | None, ...] = ()

    def __len__(self) -> int:
        return len(self.rankings)

    def maps_in_inputs(self, image: int, shape: tuple[int, int]) -> Tensor:
        """The fused map of one image by class, bilinear (half-pixel centres) over its input: (K, H, W).

        Args:
            image: its place in the batch.
            shape: (H, W) of the input.
        """
        maps = self.fused[image].maps
        if maps.shape[1] == 0:
            return maps.new_zeros((0, *shape))
        return F.interpolate(maps, size=shape, mode="bilinear", align_corners=False)[0]

    def overlays(self, inputs: Tensor) -> NDArray[np.uint8]:
        """The fused maps over the inputs, to log or to look at: (B, H, W, 3) uint8.

        A pathology has the same colour wherever it ranks; each input is stretched from its own minimum to
        its own maximum, and several channels are averaged.

        Args:
            inputs: (B, C, H, W), those that were explained.

        Raises:
            OptionError: another number of inputs.
        """
        return overlays_of(self, inputs)
