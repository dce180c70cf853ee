"""What the registry of weights knows better than TorchXRayVision's own models, once they are loaded.

That is of resnet50-res512-all alone: two outputs were never trained, and the thresholds are of sigmoids of
sigmoids; see `cxr_explain.weights.registry.ENTRIES`. Names and thresholds that somebody has set since are
left as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from cxr_explain.models.base import Outputs
from cxr_explain.weights.registry import WeightsEntry, known_entry


def put_right(outputs: Outputs, module: nn.Module) -> Outputs:
    """The outputs of a model, with names and operating points as they are meant.

    Args:
        outputs: as the model says them.
        module: the model, or one that holds it.
    """
    for part in module.modules():
        weights = getattr(part, "weights", None)
        entry = known_entry(weights) if isinstance(weights, str) else None
        if entry is not None and _of_two_sigmoids(outputs, entry):
            return _put_right(outputs, entry)
    return outputs


def _of_two_sigmoids(outputs: Outputs, entry: WeightsEntry) -> bool:
    """Whether the thresholds are the published ones, each the sigmoid of a probability."""
    if len(outputs.operating_points) != len(entry.operating_points):
        return False
    mine, meant = (_tensor(points) for points in (outputs.operating_points, entry.operating_points))
    return torch.allclose(mine, meant.sigmoid(), rtol=0, atol=1e-6, equal_nan=True)


def _put_right(outputs: Outputs, entry: WeightsEntry) -> Outputs:
    named = zip(entry.pathologies, outputs.pathologies, strict=True)
    same = all(known in ("", name) for known, name in named)
    names = entry.pathologies if same else outputs.pathologies
    return replace(outputs, pathologies=names, operating_points=entry.operating_points)


def _tensor(points: Sequence[float | None]) -> Tensor:
    return torch.tensor([math.nan if point is None else point for point in points], dtype=torch.float64)
