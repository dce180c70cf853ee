"""How sure a class map is: what stays of it when nothing that matters changes, or in another model.

What is compared, and how, :mod:`cxr_explain.explaining.compared_maps` says. Figures are drawn without torch,
and so this module does not import it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from cxr_explain.support.strict_json import from_plain

MEANING = "mean intersection over union of the region of at least half the peak with that of each other map"
"""The number in one sentence, as the JSON file has it."""


@dataclass(frozen=True)
class MapStability:
    """How far one class map is the same in other maps of the same radiograph.

    Args:
        stability: mean overlap of the regions, 0 to 1.
        peak_stays: share of the other maps whose peak is where this one's is, 0 to 1; None where this map has
            several peaks of the same height.
        compared: number of other maps.
    """

    stability: float
    peak_stays: float | None
    compared: int

    def __post_init__(self) -> None:
        shares = (self.stability, *(() if self.peak_stays is None else (self.peak_stays,)))
        if not all(0 <= share <= 1 for share in shares) or self.compared < 1:
            raise ValueError("a share below 0 or above 1, or of nothing")


@dataclass(frozen=True)
class Stability:
    """How far the class maps of one radiograph are the same in other maps of it.

    Args:
        over: what the other maps are of, in words: each view, or each other model.
        maps: by pathology; one whose map has no positive value has no entry, and neither has one that no
            other model predicts.

    >>> Stability(("noise",), {"Mass": MapStability(0.8, 1.0, 1)})["Mass"]
    0.8
    """

    over: tuple[str, ...]
    maps: Mapping[str, MapStability]

    def __getitem__(self, pathology: str) -> float:
        return self.maps[pathology].stability

    @classmethod
    def from_document(cls, document: Any) -> Self:
        """Back from `to_document`.

        Raises:
            LookupError, TypeError, ValueError, AttributeError: a document that says something else.
        """
        over = from_plain(_Over, {"over": document["over"]}).over
        return cls(over, {name: from_plain(MapStability, each) for name, each in document["maps"].items()})

    def to_document(self) -> dict[str, Any]:
        """What JSON can hold: the meaning, over what, and three numbers for each pathology."""
        return {
            "meaning": MEANING,
            "over": list(self.over),
            "maps": {name: vars(each) for name, each in self.maps.items()},
        }


@dataclass(frozen=True)
class _Over:
    over: tuple[str, ...]
