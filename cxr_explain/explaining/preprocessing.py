"""From a Radiograph to the model's square, with the exact way back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from cxr_explain.errors import ImageTooLargeError
from cxr_explain.geometry import Geometry
from cxr_explain.options import Fit
from cxr_explain.radiograph import VALUE_RANGE, Radiograph
from cxr_explain.support.torchvision_repair import xrv_module

if TYPE_CHECKING:
    import torch

_LARGEST_SQUARE = 100_000_000  # pixels with margins; a spine of 10,000 rows has as many
_MOST_TIMES = 2  # the pixels of the radiograph, where it is larger still


@dataclass(frozen=True, eq=False)
class ModelInput:
    """One radiograph as the model sees it.

    Args:
        radiograph: where it comes from.
        tensor: (1, S, S) float32 in [-1024, 1024].
        geometry: where the square lies in the radiograph.
        steps: every preprocessing step so far, the reader's included.
        further: pathologies whose class maps are wanted whatever their rank.
    """

    radiograph: Radiograph
    tensor: torch.Tensor
    geometry: Geometry
    steps: tuple[str, ...]
    further: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the tensor: the same for a file that was written anew without loss."""
        return hashlib.sha256(self.tensor.numpy().tobytes()).hexdigest()


def prepare(
    radiograph: Radiograph, size: int, *, fit: Fit = "crop", xrv_compatible: bool = False
) -> ModelInput:
    """Cut the centred square and resize it to the model's size.

    The resizer is torch's antialiased bilinear interpolation. Unlike TorchXRayVision's default (scikit-image
    with a constant border of mid grey) it leaves the outermost rows and columns uncontaminated.

    Args:
        radiograph: what to show the model.
        size: side S of the model's input.
        fit: "crop" keeps TorchXRayVision's centre crop; "pad" adds black margins and loses nothing.
        xrv_compatible: use TorchXRayVision's own XRayCenterCrop and XRayResizer, to the last bit.

    Raises:
        ImageTooLargeError: a long, thin image that margins would make many times larger.

    >>> model_input = prepare(Radiograph.from_array(np.zeros((30, 40), np.float32)), 20)
    >>> model_input.tensor.shape, model_input.geometry.left
    (torch.Size([1, 20, 20]), 5)
    """
    geometry = Geometry.fit_square(radiograph.shape, size, fit)
    _check_margins(geometry)
    if xrv_compatible:
        tensor, how = _with_xrv_transforms(radiograph, geometry), "torchxrayvision XRayResizer, scikit-image"
    else:
        tensor, how = _resize(_cut(radiograph, geometry), size), "torch, bilinear, antialiased"
    steps = (_square_step(geometry), f"resized to {size} x {size} ({how})")
    return ModelInput(radiograph, tensor, geometry, (*radiograph.steps, *steps))


def _check_margins(geometry: Geometry) -> None:
    """Refuse a square that takes much more memory than the radiograph itself."""
    height, width = geometry.radiograph_shape
    if geometry.side**2 > max(_LARGEST_SQUARE, _MOST_TIMES * height * width):
        raise ImageTooLargeError(
            f"{height} x {width} pixels, with margins {geometry.side} x {geometry.side}",
            expected=f"at most {_LARGEST_SQUARE:,} pixels with margins",
            remedy='Leave out the margins with fit="crop" / --fit crop.',
        )


def _cut(radiograph: Radiograph, geometry: Geometry) -> torch.Tensor:
    import torch
    from torch.utils.dlpack import from_dlpack

    left, top, right, bottom = geometry.seen_box
    pixels = radiograph.pixels[top:bottom, left:right]
    try:
        seen = from_dlpack(pixels)  # without a copy: what follows only reads
    except (BufferError, TypeError):  # NumPy before 2.1 and torch before 2.9 share no read-only array
        seen = torch.from_numpy(np.array(pixels))
    if geometry.fit == "crop":
        return seen
    before_x, before_y = left - geometry.left, top - geometry.top
    margins = (
        before_x,
        geometry.side - before_x - (right - left),
        before_y,
        geometry.side - before_y - (bottom - top),
    )
    return torch.nn.functional.pad(seen, margins, value=VALUE_RANGE[0])


def _resize(square: torch.Tensor, size: int) -> torch.Tensor:
    import torch

    if square.shape[-1] == size:
        return square[None].clone()  # the model's input is never the radiograph itself
    resized = torch.nn.functional.interpolate(
        square[None, None], size=(size, size), mode="bilinear", antialias=True
    )
    return resized[0].clamp_(*VALUE_RANGE)


def _with_xrv_transforms(radiograph: Radiograph, geometry: Geometry) -> torch.Tensor:
    import torch

    datasets = xrv_module("datasets")
    pixels = np.array(radiograph.pixels)[None]
    if geometry.fit == "pad":
        pixels = _cut(radiograph, geometry).numpy()[None]
    resize = datasets.XRayResizer(geometry.model_size, engine="skimage")
    return torch.from_numpy(resize(datasets.XRayCenterCrop()(pixels)))


def _square_step(geometry: Geometry) -> str:
    height, width = geometry.radiograph_shape
    if height == width:
        return f"already square ({width} x {height})"
    if geometry.fit == "crop":
        lost, axis = (
            (width - geometry.side, "columns") if width > height else (height - geometry.side, "rows")
        )
        return (
            f"centre crop to {geometry.side} x {geometry.side} of {width} x {height} ({lost} {axis} not seen)"
        )
    return f"padded with black to {geometry.side} x {geometry.side} from {width} x {height}"
