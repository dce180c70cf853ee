"""Whether class maps stay when nothing that matters changes: repetition, noise, greys, mirroring, shifts.

Rows are kept: results are (B, K), NaN where one is not estimable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cxr_explain.cam.views import View
from cxr_explain.errors import OptionError
from cxr_explain.measures.faithfulness import Rows
from cxr_explain.measures.similarity import Similarity, similarity
from cxr_explain.measures.subject import Explain, Score
from cxr_explain.models.base import BLACK
from cxr_explain.options import check_at_least

_WHITE = 1024.0
_LEAST = 3  # cells of a side that can be compared

SIGMA = 20.48
"""Standard deviation of the noise, unless told otherwise: a hundredth of the range of the inputs."""

CONTRAST = 0.9
"""Factor on the contrast, unless told otherwise."""

GAMMA = 1.25
"""Power of the greys, unless told otherwise: middle grey becomes a fifth darker."""


@dataclass(frozen=True, eq=False)
class Repeatability:
    """The largest difference of a map made twice, as a share of the map's peak; (B, K) each, 0 for none.

    Args:
        again: the same batch once more; 0 for any rule without chance.
        alone: each image without the others; what arithmetic in another order leaves, 1e-5 or less.
        reversed: the images in the opposite order; what arithmetic in another order leaves, 1e-5 or less.
    """

    again: Rows
    alone: Rows
    reversed: Rows


@dataclass(frozen=True, eq=False)
class Perturbed:
    """What a change of the input did to the maps and to the scores; (B, K) each.

    A map that moves while its score stays, or stays while its score moves, does not explain the score.

    Args:
        similarity: similarity of the maps before and after.
        map_change: the L2 norm of their difference, as a share of that of the map before; NaN for a map of
            zeros.
        logit_change: the logit after, less the logit before.
    """

    similarity: Similarity
    map_change: Rows
    logit_change: Rows


def repeatability(explain: Explain, inputs: Tensor, classes: Tensor) -> Repeatability:
    """Make the maps of the same images again, one by one, and in the opposite order.

    Args:
        explain: makes the class maps.
        inputs: (B, 1, S, S).
        classes: (B, K).

    >>> found = repeatability(lambda x, k: x[..., ::4, ::4], torch.rand(2, 1, 8, 8), torch.tensor([[0], [0]]))
    >>> found.again.tolist()
    [[0.0], [0.0]]
    """
    maps = explain(inputs, classes)
    alone = [explain(inputs[b : b + 1], classes[b : b + 1]) for b in range(len(inputs))]
    reversed_ = explain(inputs.flip(0), classes.flip(0)).flip(0)
    return Repeatability(
        _difference(maps, explain(inputs, classes)),
        _difference(maps, torch.cat(alone)),
        _difference(maps, reversed_),
    )


def under_noise(
    score: Score, explain: Explain, inputs: Tensor, classes: Tensor, *, sigma: float = SIGMA, seed: int = 0
) -> Perturbed:
    """Add Gaussian noise, cut off at black and white.

    Every image gets the same pattern, so that its result does not depend on the batch it is in.

    Args:
        score: gives the model's logits.
        explain: makes the class maps.
        inputs: (B, 1, S, S) in [-1024, 1024].
        classes: (B, K).
        sigma: standard deviation, in units of the inputs; the default is a hundredth of their range.
        seed: seed of the noise.

    Raises:
        OptionError: a sigma that is negative, or no number.

    >>> inputs, classes = torch.rand(2, 1, 8, 8), torch.tensor([[0], [0]])
    >>> found = under_noise(lambda x: x.mean((2, 3)), lambda x, k: x[..., ::2, ::2], inputs, classes, sigma=0)
    >>> found.similarity.pearson.round(6).tolist(), found.logit_change.tolist()
    ([[1.0], [1.0]], [[0.0], [0.0]])
    """
    check_at_least(0, sigma=sigma)
    return _perturbed(score, explain, inputs, View(noise=sigma, seed=seed).of(inputs), classes)


def under_exposure(
    score: Score,
    explain: Explain,
    inputs: Tensor,
    classes: Tensor,
    *,
    contrast: float = CONTRAST,
    brightness: float = 0.0,
) -> Perturbed:
    """Scale the contrast around mid grey and add to the brightness, cut off at black and white.

    Args:
        score: gives the model's logits.
        explain: makes the class maps.
        inputs: (B, 1, S, S) in [-1024, 1024].
        classes: (B, K).
        contrast: factor by which the contrast is scaled; 1 leaves it.
        brightness: what is added, in units of the inputs; 0 leaves it.

    Raises:
        OptionError: a contrast that is not above 0, or a brightness that is no number.

    >>> inputs, classes = torch.rand(1, 1, 8, 8), torch.tensor([[0]])
    >>> found = under_exposure(lambda x: x.mean((2, 3)), lambda x, k: x[..., ::2, ::2], inputs, classes)
    >>> found.similarity.pearson.round(4).tolist()
    [[1.0]]
    """
    if not (0 < contrast < float("inf") and np.isfinite(brightness)):
        raise OptionError(
            f"contrast {contrast}, brightness {brightness}", expected="a factor above 0 and a finite number"
        )
    return _perturbed(score, explain, inputs, inputs * contrast + brightness, classes)


def under_gamma(
    score: Score, explain: Explain, inputs: Tensor, classes: Tensor, *, gamma: float = GAMMA
) -> Perturbed:
    """Raise the greys, from black, 0, to white, 1, to a power: another curve from dose to grey.

    Args:
        score: gives the model's logits.
        explain: makes the class maps.
        inputs: (B, 1, S, S) in [-1024, 1024].
        classes: (B, K).
        gamma: the power; 1 leaves the image.

    Raises:
        OptionError: a gamma that is not above 0.

    >>> inputs, classes = torch.rand(1, 1, 8, 8), torch.tensor([[0]])
    >>> found = under_gamma(lambda x: x.mean((2, 3)), lambda x, k: x[..., ::2, ::2], inputs, classes, gamma=1)
    >>> found.similarity.pearson.round(4).tolist()
    [[1.0]]
    """
    if not 0 < gamma < float("inf"):
        raise OptionError(f"gamma={gamma}", expected="a power above 0")
    return _perturbed(score, explain, inputs, View(gamma=gamma).of(inputs), classes)


def under_equalisation(score: Score, explain: Explain, inputs: Tensor, classes: Tensor) -> Perturbed:
    """Equalise the histogram of each image, as MIMIC-CXR-JPG and CheXpert were published.

    See :func:`~cxr_explain.cam.views.equalise`. It is the largest of the changes of grey here: nothing moves,
    but a model that was trained on images as they are has hardly seen such.

    Args:
        score: gives the model's logits.
        explain: makes the class maps.
        inputs: (B, 1, S, S) in [-1024, 1024].
        classes: (B, K).

    >>> inputs, classes = torch.linspace(-1024, 1024, 256).reshape(1, 1, 16, 16), torch.tensor([[0]])
    >>> found = under_equalisation(lambda x: x.mean((2, 3)), lambda x, k: x[..., ::2, ::2], inputs, classes)
    >>> found.similarity.pearson.round(4).tolist()  # an image of all greys alike is as it was
    [[1.0]]
    """
    return _perturbed(score, explain, inputs, View(equalised=True).of(inputs), classes)


def flip_equivariance(explain: Explain, inputs: Tensor, classes: Tensor) -> Similarity:
    """Compare each map with that of the mirrored image, mirrored back.

    A chest is no mirror image of itself, and a model has seen few with the heart on the right: 1 is to be
    expected of an operator, not of a model.

    Args:
        explain: makes the class maps.
        inputs: (B, 1, S, S).
        classes: (B, K).

    >>> inputs, classes = torch.rand(2, 1, 8, 8), torch.tensor([[0], [0]])
    >>> flip_equivariance(lambda x, k: x[..., ::2, ::2], inputs, classes).pearson.shape
    (2, 1)
    """
    mirrored = explain(inputs.flip(-1), classes).flip(-1)
    return _compared(explain(inputs, classes), mirrored)


def shift_equivariance(
    explain: Explain, inputs: Tensor, classes: Tensor, *, cells: tuple[int, int] = (0, 1)
) -> Similarity:
    """Compare each map with that of the image shifted by whole cells, where both show the same.

    Nothing is interpolated. Left out are the cells that came in, which are black in the image, those that
    went out, and one more on either side of what is left, which saw the new border.

    Args:
        explain: makes the class maps.
        inputs: (B, 1, S, S); S must be a multiple of the map's extent along which it is shifted.
        classes: (B, K).
        cells: shift in cells of the map, (down, right); negative for up and left.

    Raises:
        OptionError: no shift, one that is no whole number of pixels, or one that leaves less than 3 cells.

    >>> inputs, classes = torch.rand(2, 1, 16, 16), torch.tensor([[0], [0]])
    >>> shift_equivariance(lambda x, k: x[..., ::2, ::2], inputs, classes).pearson.round(6).tolist()
    [[1.0], [1.0]]
    """
    before = explain(inputs, classes)
    size, grid = inputs.shape[-2:], before.shape[-2:]
    _check_shift(cells, tuple(size), tuple(grid))
    pixels = tuple(by * side // extent for by, side, extent in zip(cells, size, grid, strict=True))
    shifted = torch.full_like(inputs, BLACK)
    _part(shifted, _arrived(pixels, size)).copy_(_part(inputs, _left(pixels, size)))
    after = explain(shifted, classes)
    inner = [slice(1, -1) if by else slice(None) for by in cells]
    was, moved = _part(before, _left(cells, grid)), _part(after, _arrived(cells, grid))
    return _compared(_part(was, inner), _part(moved, inner))


def _check_shift(cells: tuple[int, int], size: tuple[int, ...], grid: tuple[int, ...]) -> None:
    moved = [(by, side, extent) for by, side, extent in zip(cells, size, grid, strict=True) if by]
    whole = all(side % extent == 0 for _, side, extent in moved)
    enough = all(extent - abs(by) - 2 >= _LEAST for by, _, extent in moved)
    if not (moved and whole and enough):
        raise OptionError(
            f"a shift by {cells} cells of maps of {grid} for inputs of {size}",
            expected=f"a shift by 1 to I - {_LEAST + 2} cells, and inputs that are a multiple of the maps",
        )


def _part(values: Tensor, slices: Sequence[slice]) -> Tensor:
    rows, columns = slices
    return values[..., rows, columns]


def _left(by: tuple[int, ...], size: torch.Size) -> tuple[slice, ...]:
    """Where that lies before a shift which stays inside."""
    return tuple(slice(max(-n, 0), extent - max(n, 0)) for n, extent in zip(by, size, strict=True))


def _arrived(by: tuple[int, ...], size: torch.Size) -> tuple[slice, ...]:
    """Where the same lies after the shift."""
    return _left(tuple(-n for n in by), size)


def _perturbed(score: Score, explain: Explain, inputs: Tensor, changed: Tensor, classes: Tensor) -> Perturbed:
    changed = changed.clamp(BLACK, _WHITE)
    before, after = (_rows(explain(images, classes)) for images in (inputs, changed))
    norm = np.linalg.norm(before, axis=(-2, -1))
    moved = np.linalg.norm(after - before, axis=(-2, -1))
    return Perturbed(
        similarity(before, after),
        np.where(norm > 0, moved / np.where(norm > 0, norm, 1), np.nan),
        _logits(score, changed, classes) - _logits(score, inputs, classes),
    )


def _logits(score: Score, inputs: Tensor, classes: Tensor) -> Rows:
    logits = score(inputs)
    return _rows(logits.gather(1, classes.to(logits.device)))


def _difference(maps: Tensor, others: Tensor) -> Rows:
    """(B, K), as a share of the larger peak; 0 for two maps of zeros."""
    peak = torch.maximum(maps.abs(), others.abs()).amax(dim=(-2, -1))
    largest = (maps - others).abs().amax(dim=(-2, -1))
    return _rows(largest / peak.where(peak > 0, 1))


def _compared(one: Tensor, other: Tensor) -> Similarity:
    return similarity(_rows(one), _rows(other))


def _rows(values: Tensor) -> Rows:
    return values.detach().double().cpu().numpy()
