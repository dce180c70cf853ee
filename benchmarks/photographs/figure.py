"""The picture of a photograph's maps: to be looked at, not published: it is somebody's photograph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch.nn import functional as F

from benchmarks.photographs.maps import FUSED, OWN, K, maps_of
from benchmarks.photographs.measuring import top_classes
from benchmarks.photographs.network import SIDE, read_photograph
from cxr_explain.figures.overlay import tint_of
from cxr_explain.figures.palette import Rgb, class_styles
from cxr_explain.models.pooled_linear import PooledLinearClassifier
from cxr_explain.support.arrays import Floats


def draw(path: Path, classifier: PooledLinearClassifier, into: Path) -> None:
    """The photograph, its fused map with a colour a class, and the K class maps in the same colours.

    Args:
        path: the photograph.
        classifier: the network.
        into: the figure's file.
    """
    image = read_photograph(path)
    forward, probabilities, classes = top_classes(classifier, image)
    maps = maps_of(forward.activations, forward.weights(torch.tensor([classes])), "table")
    names = [classifier.pathologies[each] for each in classes]
    colours = [to_rgb(style.colour) for style in class_styles(names)]
    shown: Floats = (image.permute(1, 2, 0) * 128 + 127).div(255).clamp(0, 1).numpy()
    panels = [("photograph", shown), (FUSED, _over(shown, maps[FUSED], colours))]
    for k, (name, probability) in enumerate(zip(names, probabilities[classes].tolist(), strict=True)):
        title = f"{OWN} of {k + 1}: {name}, softmax {probability:.3f}"
        panels.append((title, _over(shown, maps[OWN][k : k + 1], colours[k : k + 1])))
    figure = Figure(figsize=(3 * (2 + K), 3.3), layout="constrained")
    for axes, (title, picture) in zip(figure.subplots(1, 2 + K), panels, strict=True):
        axes.imshow(picture)
        axes.set_title(title, fontsize=7)
        axes.set_axis_off()
    figure.savefig(into, dpi=120)


def _over(shown: Floats, maps: torch.Tensor, colours: Sequence[Rgb]) -> Floats:
    """(S, S, 3) under maps (K, I, J), each in its colour, as opaque as it is strong."""
    fine = F.interpolate(maps[None].clamp(min=0), (SIDE, SIDE), mode="bilinear", align_corners=False)[0]
    tint = tint_of((SIDE, SIDE), list(fine.numpy()), colours)
    return np.moveaxis(tint.colour, 0, -1) + (1 - tint.opacity[..., None]) * shown
