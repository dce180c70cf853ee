"""Any rule, averaged over several views of the same radiograph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cxr_explain.cam.evidence import Evidence
from cxr_explain.cam.registry import Method
from cxr_explain.cam.rules import Rule, named_rule
from cxr_explain.cam.views import View
from cxr_explain.errors import OptionError

_SHIFT = 1 / 28  # half a cell of a 14 x 14 map, a quarter of one of 7 x 7

_TRACE = 1e-3  # of a view: what interpolation leaves by rounding where a view shows nothing

SHIFTS_AND_CONTRAST = (
    View(),
    View(right=_SHIFT),
    View(right=-_SHIFT),
    View(down=_SHIFT),
    View(down=-_SHIFT),
    View(contrast=0.9),
)
"""Views of a chest that are all views of a chest; a mirrored one is not."""


@dataclass(frozen=True)
class Smoothed:
    """The mean of a rule's maps over several views, each brought back in place.

    A position that a view does not show is averaged over the views that do.

    Args:
        method: name of the rule, or a function from `Evidence` to signed class maps (B, K, I, J).
        views: the views that are averaged over.

    Raises:
        OptionError: an unknown method, or no view.

    >>> Smoothed("layercam").title
    'LayerCAM, smoothed over 6 views'
    """

    method: Method | Rule = "grad-cam"
    views: tuple[View, ...] = SHIFTS_AND_CONTRAST

    def __post_init__(self) -> None:
        named_rule(self.method)
        if not self.views:
            raise OptionError("no view", expected="one or more")

    @property
    def title(self) -> str:
        """The rule's, and over how many views."""
        return f"{named_rule(self.method).title}, smoothed over {len(self.views)} views"

    @property
    def attention(self) -> bool:
        """Whether the rule reads the attention of a transformer, and no layer's activations."""
        return named_rule(self.method).attention

    def __call__(self, evidence: Evidence) -> Tensor:
        """Give (B, K, I, J)."""
        rule = named_rule(self.method).rule
        total = seen = torch.zeros((), device=evidence.activations.device)
        for view in evidence.track(self.views, self.title):
            there = evidence if view == View() else evidence.at(view.of(evidence.inputs))
            maps, part = view.undone(rule(there))
            total, seen = total + maps, seen + part
        shown = seen > _TRACE
        return torch.where(shown, total / seen.where(shown, 1), 0)
