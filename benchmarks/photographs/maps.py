"""The maps of one photograph that table 3 compares, and those that answer its questions."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from cxr_explain.cam.fusion import fuse
from cxr_explain.cam.grad_cam import weighted_sum

K = 5
"""Classes of a photograph, the most probable ones: the paper's table has five ranks."""

Part = Literal["table", "released", "whole"]
PARTS: tuple[Part, ...] = ("table", "released", "whole")
"""What is measured, in order: table 3, the released normalisation, fused maps of all ranks together."""

FUSED, OWN = "FM-G-CAM", "Grad-CAM"


def maps_of(activations: Tensor, weights: Tensor, part: Part) -> dict[str, Tensor]:
    """The maps by name, (M, I, J) each; M is K, one for each rank, or 1 for a map of all classes together.

    Each is what its figure is drawn from: of FM-G-CAM the rank's own part of the fused map, of Grad-CAM the
    class map behind a ReLU. ELU and GELU leave negative values, which go last.

    Args:
        activations: (1, C, I, J).
        weights: alpha of the K classes, best first, (1, K, C).
        part: which maps.
    """
    raw = weighted_sum(activations.double(), weights.double())
    fused = {name: fuse(raw, normalisation=name).maps[0] for name in ("joint", "per-class", "released")}
    if part == "released":
        return {"released": fused["released"]}
    if part == "whole":
        return {f"whole, {name}": maps.amax(dim=0, keepdim=True) for name, maps in fused.items()}
    return {
        FUSED: fused["joint"],
        OWN: raw[0].clamp(min=0),
        "per-class": fused["per-class"],
        "elu": fuse(raw, activation="elu").maps[0],
        "gelu": fuse(raw, activation="gelu").maps[0],
    }
