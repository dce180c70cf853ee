"""What findings do to a chest: they fill lung, turn lung to air, or change other tissue."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np

from cxr_explain.phantom.chest import WATER, Chest
from cxr_explain.phantom.solids import Image


@dataclass(frozen=True, eq=False)
class Change:
    """One finding's effect along each ray; (H, W) each, or None for no such effect.

    Args:
        filled: mm of lung that now attenuate as water does.
        emptied: mm of lung that now are air.
        added: change of the line integral outside of the lung's own.
    """

    filled: Image | None = None
    emptied: Image | None = None
    added: Image | None = None


def apply_changes(chest: Chest, changes: list[Change]) -> Image:
    """(H, W) line integral of the chest with all changes at once.

    No ray has more lung filled or emptied than it has lung; filling comes first. Vessels vanish with the
    lung around them: there is no contrast between blood and what fills the lung.
    """
    aerated, integral = chest.lung, chest.other
    filled, emptied, added = (
        _sum(getattr(change, effect) for change in changes) for effect in ("filled", "emptied", "added")
    )
    if filled is not None:
        filled = np.minimum(filled, aerated)
        aerated = aerated - filled
        integral = integral + np.float32(WATER) * filled
    if emptied is not None:
        aerated = np.maximum(aerated - emptied, 0)
    if added is not None:
        integral = integral + added
    share = (aerated / np.maximum(chest.lung, np.float32(1e-3))).astype(np.float32, copy=False)
    return np.asarray(integral + chest.lung_attenuation * aerated + chest.vessel_attenuation * share)


def _sum(images: Iterable[Image | None]) -> Image | None:
    """The sum of what is there, None if nothing is."""
    there = [image for image in images if image is not None]
    return reduce(operator.add, there) if there else None
