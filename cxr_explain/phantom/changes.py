"""What findings do to a chest: they fill lung, turn lung to air, or change other tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cxr_explain.phantom.chest import WATER, Chest
from cxr_explain.phantom.solids import Image, total


@dataclass(frozen=True, eq=False)
class Change:
    """One finding's effect along each ray; (H, W) each.

    Args:
        filled: mm of lung that now attenuate as water does.
        emptied: mm of lung that now are air.
        added: change of the line integral outside of the lung's own.
    """

    filled: Image
    emptied: Image
    added: Image


def apply_changes(chest: Chest, changes: list[Change]) -> Image:
    """(H, W) line integral of the chest with all changes at once.

    No ray has more lung filled or emptied than it has lung; filling comes first. Vessels vanish with the
    lung around them: there is no contrast between blood and what fills the lung.
    """
    lung, mu = chest.lung, chest.lung_attenuation
    filled = np.minimum(total((change.filled for change in changes), chest.grid), lung)
    emptied = np.minimum(total((change.emptied for change in changes), chest.grid), lung - filled)
    aerated = np.maximum(lung - filled - emptied, 0)
    share = aerated / np.maximum(lung, np.float32(1e-3))
    vessels = chest.vessels * share * (np.float32(WATER) - mu)
    added = total((change.added for change in changes), chest.grid)
    return total((mu * aerated, vessels, np.float32(WATER) * filled, added, chest.other), chest.grid)
