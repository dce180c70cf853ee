"""Which pixels change first: the order that a class map gives them, and maps of chance to compare with.

Saliency is the positive part of a class map. Equals go in a random order, drawn from a seed, so that a map
which says nothing is worth what chance is worth, wherever in the image the finding lies.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def saliency_of(maps: Tensor) -> Tensor:
    """The positive part of class maps, in float64 on the CPU."""
    return maps.detach().double().cpu().clamp(min=0)


def random_maps(shape: tuple[int, ...], *, seed: int) -> Tensor:
    """Maps of chance: each cell uniform in [0, 1), float64.

    Args:
        shape: (B, K, I, J), or any other.
        seed: seed of the random numbers.

    >>> random_maps((2, 1, 7, 7), seed=0).shape
    torch.Size([2, 1, 7, 7])
    """
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def cell_order(saliency: Tensor, *, seed: int) -> Tensor:
    """The place of each cell when the most salient goes first.

    Args:
        saliency: (..., I, J).
        seed: seed of the random order among equals, which is the same for every map of the block.

    Returns:
        int64 of the same shape, 0 for the first.

    >>> cell_order(torch.tensor([[0.5, 2.0], [1.0, 0.0]]), seed=0)
    tensor([[2, 0],
            [1, 3]])
    """
    return _places(saliency, _shuffle(saliency.shape[-2] * saliency.shape[-1], seed))


def pixel_order(saliency: Tensor, size: tuple[int, int], *, seed: int) -> Tensor:
    """The place of each pixel when the map is interpolated bilinearly and the most salient pixel goes first.

    Equals go cell by cell. Were they scattered pixel by pixel, what is taken away could be read off its
    neighbours, and a map of many zeros would seem better than it is.

    Args:
        saliency: (..., I, J), 4 dimensions.
        size: (H, W) of the image.
        seed: seed of the random order among equals, which is the same for every map of the block.

    Returns:
        (..., H, W) int64, 0 for the first.

    >>> pixel_order(torch.tensor([[[[2.0, 1.0]]]]), (1, 4), seed=0)
    tensor([[[[0, 1, 2, 3]]]])
    """
    I, J = saliency.shape[-2:]  # noqa: E741 - the field's letters
    fine = F.interpolate(saliency, size, mode="bilinear", align_corners=False)
    fine = fine.float()  # single precision: equals that were rounded apart are equals
    rank_of_cell = torch.empty(I * J, dtype=torch.long)
    rank_of_cell[_shuffle(I * J, seed)] = torch.arange(I * J)
    by_cell = over_pixels(rank_of_cell.reshape(I, J), size).flatten().argsort(stable=True)
    return _places(fine, by_cell)


def over_pixels(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., I, J) -> (..., H, W): each pixel takes the value of the cell that its centre lies in.

    >>> over_pixels(torch.tensor([[1, 2]]), (1, 5))
    tensor([[1, 1, 2, 2, 2]])
    """
    rows, columns = (cell_of_pixel(c, p) for c, p in zip(cells.shape[-2:], size, strict=True))
    return cells[..., rows[:, None].to(cells.device), columns.to(cells.device)]


def cell_of_pixel(cells: int, pixels: int) -> Tensor:
    """(pixels,) int64: along one side, the cell that each pixel's centre lies in; of two, the later one.

    >>> cell_of_pixel(2, 5)
    tensor([0, 0, 1, 1, 1])
    """
    return (2 * torch.arange(pixels) + 1) * cells // (2 * pixels)


def _shuffle(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _places(values: Tensor, among_equals: Tensor) -> Tensor:
    """The place of each of the last two dimensions' values, the largest first, equals as they are listed."""
    flat = values.flatten(-2)
    ranked = flat[..., among_equals].argsort(dim=-1, descending=True, stable=True)
    positions = among_equals.expand_as(ranked).gather(-1, ranked)
    places = torch.empty_like(positions)
    places.scatter_(-1, positions, torch.arange(flat.shape[-1]).expand_as(positions))
    return places.reshape(values.shape)
