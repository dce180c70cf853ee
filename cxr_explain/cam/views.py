"""One radiograph seen several times: turned, shifted, equalised, noisier; and the way back for the maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from cxr_explain.loaders.equalisation import equalising_table
from cxr_explain.models.base import BLACK

_WHITE = 1024.0
_LARGEST = 255  # level of grey


@dataclass(frozen=True)
class View:
    """A change of the input that a map can follow.

    Args:
        angle: angle of the rotation in degrees, counter-clockwise as displayed.
        right: shift to the right, as a share of the image's side.
        down: shift downwards, as a share of the image's side.
        contrast: factor on the input's values around 0, the mid grey.
        brightness: what is added to the input's values, which lie in [-1024, 1024].
        flip: whether left and right are mirrored. The heart is then on the right: no chest the model knows.
        gamma: power of the values from black, 0, to white, 1; above 1 darkens the greys between.
        equalised: whether each image's histogram is equalised, see :func:`equalise`; gamma, contrast and
            brightness come after it.
        noise: standard deviation of Gaussian noise that is added to the input's values. Every image gets the
            same pattern, so that its result does not depend on the batch it is in.
        seed: seed of the noise.

    >>> noisy = View(noise=20.0, seed=1).of(torch.zeros(2, 1, 64, 64))
    >>> round(noisy[0].std().item()), bool((noisy[0] == noisy[1]).all())
    (20, True)
    """

    angle: float = 0.0
    right: float = 0.0
    down: float = 0.0
    contrast: float = 1.0
    brightness: float = 0.0
    flip: bool = False
    gamma: float = 1.0
    equalised: bool = False
    noise: float = 0.0
    seed: int = 0

    def of(self, inputs: Tensor) -> Tensor:
        """The changed inputs, (B, 1, S, S); what comes in from outside is black."""
        seen = inputs if self._in_place else _sample(inputs, self._towards, outside=BLACK)
        if self.equalised:
            seen = equalise(seen)
        if self.gamma != 1:
            seen = BLACK + (_WHITE - BLACK) * _unit(seen) ** self.gamma
        changed = seen * self.contrast + self.brightness
        return (changed + self._pattern(inputs) if self.noise else changed).clamp(BLACK, _WHITE)

    def _pattern(self, inputs: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return (self.noise * torch.randn(inputs.shape[1:], generator=generator)).to(inputs)

    def on(self, maps: Tensor) -> Tensor:
        """Maps (B, K, I, J) of the plain input as they would lie on the changed one; 0 from outside."""
        return maps if self._in_place else _sample(maps, self._towards)

    def undone(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of the changed input, back in place; and how much of each position came back, 0 to 1."""
        if self._in_place:
            return maps, torch.ones_like(maps[:1, :1])
        return _sample(maps, self._back), _sample(torch.ones_like(maps[:1, :1]), self._back)

    @property
    def _in_place(self) -> bool:
        return not (self.angle or self.right or self.down or self.flip)

    @property
    def _matrix(self) -> Tensor:
        """3 x 3, from plain to changed, in coordinates from -1 to 1."""
        turn = math.radians(self.angle)
        cos, sin, side = math.cos(turn), math.sin(turn), -1.0 if self.flip else 1.0
        return torch.tensor(
            [
                [side * cos, sin, 2 * self.right],
                [-side * sin, cos, 2 * self.down],
                [0.0, 0.0, 1.0],
            ],
            dtype=torch.float64,
        )

    @property
    def _towards(self) -> Tensor:
        """Where each position of the changed input comes from."""
        return torch.inverse(self._matrix)

    @property
    def _back(self) -> Tensor:
        return self._matrix


def equalise(inputs: Tensor) -> Tensor:
    """Each image with its histogram equalised in 8 bits, as MIMIC-CXR-JPG and CheXpert were published.

    See `cxr_explain.loaders.equalisation.equalising_table`.

    Args:
        inputs: (B, 1, S, S) in [-1024, 1024]; 256 levels of grey are told apart.

    >>> equalise(torch.tensor([[[[-1024.0, -100.0, -90.0, 0.0]]]])).round()
    tensor([[[[-1024.,  -341.,   341.,  1024.]]]])
    """
    return torch.stack([_equalised(image) for image in inputs]) if len(inputs) else inputs


def _equalised(image: Tensor) -> Tensor:
    levels = (_unit(image) * _LARGEST).round().long()
    histogram = levels.flatten().bincount(minlength=_LARGEST + 1)
    table = torch.from_numpy(equalising_table(histogram.cpu().numpy())).to(image)
    return (BLACK + (_WHITE - BLACK) * table / _LARGEST)[levels]


def _unit(inputs: Tensor) -> Tensor:
    """From black, 0, to white, 1."""
    return ((inputs - BLACK) / (_WHITE - BLACK)).clamp(0, 1)


def _sample(images: Tensor, matrix: Tensor, *, outside: float = 0.0) -> Tensor:
    """Bilinear; exact, but for rounding, for shifts by whole pixels."""
    fine = images.to(torch.promote_types(images.dtype, torch.float32))  # half a grid would miss its pixels
    theta = matrix[:2].to(fine).expand(len(fine), -1, -1)
    grid = F.affine_grid(theta, list(fine.shape), align_corners=False)
    seen = F.grid_sample(fine - outside, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return (seen + outside).to(images.dtype)
