"""What is particular to GPUs: copies that wait for all that was asked before, and short convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from cxr_explain.explaining.batch_maps import BatchMaps
from cxr_explain.options import Dtype

_WITH_TF32 = (8, 0)  # compute capability


def batch_on_cpu(batch: BatchMaps) -> BatchMaps:
    """A batch whose maps are on the CPU.

    >>> from cxr_explain.cam.fusion import fuse
    >>> from cxr_explain.explaining.ranking import rank
    >>> batch = BatchMaps((rank([2.0], ["Mass"]),), (fuse(torch.ones(1, 1, 7, 7)),), "closed form")
    >>> batch_on_cpu(batch) is batch
    True
    """
    return batch if all(each.maps.device.type == "cpu" for each in batch.fused) else gathered(batch)


def gathered(batch: BatchMaps) -> BatchMaps:
    """The same, wherever the maps are: all that is known of them, in one copy."""
    states = [each.without_gradient for each in batch.fused]
    there = [
        *(each.class_maps for each in batch.fused),
        *(each.maps for each in batch.fused),
        *(each.winner for each in batch.fused),
        *(state for state in states if state is not None),
    ]
    here = iter(in_one_copy(there))
    class_maps, maps, winners = ([next(here) for _ in batch.fused] for _ in range(3))
    reached = [None if state is None else next(here) for state in states]
    fused = tuple(
        replace(
            each, class_maps=class_maps[at], maps=maps[at], winner=winners[at], without_gradient=reached[at]
        )
        for at, each in enumerate(batch.fused)
    )
    return replace(batch, fused=fused)


def in_one_copy(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same tensors on the CPU, laid one after the other on their device and copied together.

    Args:
        tensors: tensors of one device, with values that float32 holds, such as maps, ranks and truths.

    >>> [each.dtype for each in in_one_copy([torch.ones(2, 3), torch.tensor([True])])]
    [torch.float32, torch.bool]
    """
    if not tensors:
        return []
    together = torch.cat([each.detach().reshape(-1).float() for each in tensors]).cpu()
    parts = together.split([each.numel() for each in tensors])
    return [part.view(each.shape).to(each.dtype) for part, each in zip(parts, tensors, strict=True)]


def notes_on_precision(device: torch.device, dtype: Dtype) -> tuple[str, ...]:
    """What a reader should know of "float32" on a GPU: torch lets convolutions be shorter than that.

    Args:
        device: where the model is.
        dtype: the arithmetic that was asked for.

    >>> notes_on_precision(torch.device("cpu"), "float32")
    ()
    """
    if device.type != "cuda" or dtype != "float32" or not convolves_in_tf32():
        return ()
    if torch.cuda.get_device_capability(device) < _WITH_TF32:
        return ()
    return ("convolutions in TF32, of three significant digits, as torch.backends.cudnn.allow_tf32 is on",)


def convolves_in_tf32() -> bool:
    """Whether torch lets convolutions of float32 be computed in TF32 where a GPU has it; its default."""
    found: str | None = getattr(getattr(torch.backends.cudnn, "conv", None), "fp32_precision", None)
    return torch.backends.cudnn.allow_tf32 if found is None else found == "tf32"
