"""Samples and batches of data sets: TorchXRayVision's dictionaries, and bare tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cxr_explain.errors import OptionError
from cxr_explain.radiograph import Radiograph

Sample = Mapping[str, Any]
"""What `dataset[i]` of TorchXRayVision gives: "img" (1, H, W) in [-1024, 1024], "idx", "lab"."""


def radiograph_of(sample: Sample) -> Radiograph:
    """The radiograph of one sample of a TorchXRayVision data set, at whatever size its transforms left it.

    Args:
        sample: a mapping with "img", (1, H, W) or (H, W) in [-1024, 1024]; "idx" names it.

    Raises:
        OptionError: no image, several channels, or another range of values.

    >>> radiograph_of({"img": torch.zeros(1, 4, 5), "idx": 7}).id
    'sample-7'
    """
    pixels = _image(sample)
    if pixels.ndim == 3 and len(pixels) == 1:
        pixels = pixels[0]
    if pixels.ndim != 2:
        raise OptionError(f'"img" of shape {tuple(pixels.shape)}', expected="(1, H, W) or (H, W)")
    name = f"sample-{int(sample['idx'])}" if "idx" in sample else "sample"
    return Radiograph.from_array(pixels.detach().cpu().numpy(), id=name)


def inputs_of(batch: Tensor | Sample) -> Tensor:
    """The model inputs of a batch, (B, C, H, W): the batch itself, or "img" of a collated dictionary.

    A single sample becomes a batch of one.

    Raises:
        OptionError: no image.

    >>> inputs_of({"img": torch.zeros(1, 4, 5)}).shape
    torch.Size([1, 1, 4, 5])
    """
    if isinstance(batch, Tensor):
        return batch
    image = _image(batch)
    return image[None] if image.ndim == 3 else image


def _image(sample: Sample) -> Tensor:
    if not isinstance(sample, Mapping):
        raise OptionError(f"a {type(sample).__name__}", expected='a tensor, or a mapping with "img"')
    if "img" not in sample:
        raise OptionError(
            f"the keys {', '.join(map(str, sample))}", expected='"img", as samples of TorchXRayVision have it'
        )
    return torch.as_tensor(sample["img"])
