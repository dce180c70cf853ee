"""Where the maps of a class that MS-COCO outlines lie: the pointing game and the energy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from benchmarks.photographs.categories import Instances, category_of_class
from benchmarks.photographs.maps import FUSED, OWN, maps_of
from benchmarks.photographs.measuring import top_classes
from benchmarks.photographs.network import SIDE, centred_square, read_photograph
from cxr_explain.measures.localisation import centre_hit, peak_hit, random_hit
from cxr_explain.measures.overlap import energy_in_mask
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.support.arrays import Mask

BEST = f"{OWN} of rank 1"
TOGETHER = f"{FUSED}, the category's ranks together"
"""What a reader sees of a dog where three ranks are breeds: the sum of their parts."""


@dataclass(frozen=True)
class Pointed:
    """One class of a photograph beside the outlines of its category.

    Args:
        photograph: its name.
        rank: from 1.
        category: MS-COCO's.
        hits: `peak_hit` of each map by its name; None where a map is empty.
        energies: share of the map's saliency in the mask; None where a map is empty.
        random: the mask's share of the square: hit and energy of an even map.
        centre: hit of the square's centre.
        first: no better rank is of the same category.
    """

    photograph: str
    rank: int
    category: str
    hits: dict[str, float | None]
    energies: dict[str, float | None]
    random: float
    centre: float
    first: bool


def pointed(folder: Path, classifier: PooledLinearClassifier) -> Iterator[Pointed]:
    """Every class among the K of a photograph whose things are outlined in what the network sees."""
    instances = Instances(folder / "instances.json")
    category = category_of_class(classifier.pathologies)
    for name in sorted(instances.photographs):
        masks = instances.masks(name)
        image = read_photograph(folder / "images" / f"{name}.jpg")
        forward, _, classes = top_classes(classifier, image)
        maps = maps_of(forward.activations, forward.weights(torch.tensor([classes])), "table")
        of_rank = [category.get(each) for each in classes]
        for rank, one in enumerate(of_rank):
            mask = _seen(masks[one]) if one in masks else None
            if one is None or mask is None or not mask.any():
                continue
            alike = [each == one for each in of_rank]
            shown = {
                FUSED: maps[FUSED][rank],
                OWN: maps[OWN][rank],
                BEST: maps[OWN][0],
                TOGETHER: maps[FUSED][alike].sum(dim=0),
            }
            fine = {key: _over_pixels(cells) for key, cells in shown.items()}
            yield Pointed(
                name,
                rank + 1,
                one,
                {key: peak_hit(values, mask) for key, values in fine.items()},
                {key: energy_in_mask(values, mask) for key, values in fine.items()},
                random_hit(mask) or 0.0,
                centre_hit(mask) or 0.0,
                first=alike.index(True) == rank,
            )


def _seen(mask: Mask) -> Mask:
    """The mask in the network's square."""
    height, width = mask.shape
    square = Image.fromarray(mask).crop(centred_square(width, height))
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.NEAREST), bool)


def _over_pixels(cells: torch.Tensor) -> NDArray[np.float64]:
    """(I, J) -> (S, S), bilinear, as figures show it."""
    fine = F.interpolate(cells[None, None], (SIDE, SIDE), mode="bilinear", align_corners=False)
    return np.asarray(fine[0, 0].numpy())
