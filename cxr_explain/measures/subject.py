"""What a metric may ask of the model it judges, and how inputs are blanked out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from cxr_explain.errors import ModelError, OptionError
from cxr_explain.models.base import BLACK
from cxr_explain.options import check_option

Score = Callable[[Tensor], Tensor]
"""From inputs (N, 1, S, S) to (N, outputs) whose sigmoids are the probabilities: `Classifier.log_odds`."""

Explain = Callable[[Tensor, Tensor], Tensor]
"""From inputs (B, 1, S, S) and classes (B, K) to class maps (B, K, I, J)."""

Baseline = Literal["black", "blur", "mean"]
"""What stands where there is no image: black, the image out of focus, or its own mean."""

BATCH = 32
"""Images scored at a time, unless told otherwise."""

BLUR = 1 / 14
"""Standard deviation of the blur as a share of the side: no rib is left, the lungs are."""


def baseline_of(inputs: Tensor, kind: Baseline) -> Tensor:
    """The blank that belongs to each input, (B, 1, S, S).

    Args:
        inputs: (B, 1, S, S) in [-1024, 1024].
        kind: "black" is -1024, the value of no dose at all, where 0 would be a mid grey; "blur" is a Gaussian
            of S / 14 pixels; "mean" is one grey.

    Raises:
        OptionError: another kind.

    >>> baseline_of(torch.zeros(1, 1, 28, 28), "black").unique()
    tensor([-1024.])
    """
    check_option("baseline", kind, Baseline)
    if kind == "black":
        return torch.full_like(inputs, BLACK)
    if kind == "mean":
        return inputs.mean(dim=(2, 3), keepdim=True).expand_as(inputs)
    return _blurred(inputs, inputs.shape[-1] * BLUR)


def _blurred(inputs: Tensor, sigma: float) -> Tensor:
    radius = min(int(3 * sigma + 0.5), inputs.shape[-1] - 1)
    offsets = torch.arange(-radius, radius + 1, dtype=inputs.dtype, device=inputs.device)
    kernel = torch.exp(-0.5 * (offsets / max(sigma, 1e-6)) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(inputs, (radius,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))


class OnceScored:
    """A score that is asked once for each input, whoever asks, and gives the same row again.

    Curves of deletion and insertion share their ends, maps that mark nothing share all their images, and the
    image itself is scored by every measure. Inputs are told apart by a digest of their values: what is kept
    of each is its row of scores.

    Args:
        score: the score that is asked.

    >>> asked = []
    >>> def brightness(inputs):
    ...     asked.append(len(inputs))
    ...     return inputs.mean(dim=(2, 3))
    >>> score = OnceScored(brightness)
    >>> score(torch.tensor([1.0, 2.0, 1.0])[:, None, None, None]).flatten().tolist()
    [1.0, 2.0, 1.0]
    >>> score(torch.tensor([2.0])[:, None, None, None]).item(), asked
    (2.0, [2])
    """

    def __init__(self, score: Score) -> None:
        self._score = score
        self._known: dict[bytes, Tensor] = {}

    def __call__(self, inputs: Tensor) -> Tensor:
        """(N, 1, S, S) -> (N, outputs)."""
        keys = _digests(inputs)
        new = {key: row for row, key in enumerate(keys) if key not in self._known}
        if new:
            rows = torch.tensor(sorted(new.values()), device=inputs.device)
            self._keep([keys[row] for row in rows.tolist()], self._score(inputs[rows]))
        return torch.stack([self._known[key] for key in keys])

    def learn(self, inputs: Tensor, scores: Tensor) -> None:
        """Keep scores that are known from elsewhere, (N, outputs) of inputs (N, 1, S, S)."""
        self._keep(_digests(inputs), scores)

    def _keep(self, keys: Sequence[bytes], scores: Tensor) -> None:
        self._known.update(zip(keys, scores.detach().clone(), strict=True))


def _digests(inputs: Tensor) -> list[bytes]:
    values = inputs.detach().cpu().contiguous().numpy()
    return [blake2b(image, digest_size=16).digest() for image in values]


@torch.inference_mode()
def probabilities(score: Score, inputs: Tensor, classes: Tensor) -> NDArray[np.float64]:
    """Each class's own sigmoid, in one pass: inputs (N, 1, S, S), classes (N, K) -> (N, K).

    Raises:
        OptionError: a class that the model does not have.
        ModelError: scores of another shape, or that are not numbers.

    >>> classes = torch.zeros(2, 1, dtype=torch.int64)
    >>> probabilities(lambda x: x.mean(dim=(2, 3)), torch.zeros(2, 1, 4, 4), classes).tolist()
    [[0.5], [0.5]]
    """
    logits = score(inputs)
    if logits.ndim != 2 or len(logits) != len(inputs):
        raise ModelError(
            f"scores of shape {tuple(logits.shape)} for {len(inputs)} images", expected="(N, outputs)"
        )
    own = classes.to(logits.device)
    if own.numel() and not 0 <= int(own.min()) <= int(own.max()) < logits.shape[1]:
        raise OptionError(
            f"classes {int(own.min())} to {int(own.max())}", expected=f"0 to {logits.shape[1] - 1}"
        )
    result = torch.sigmoid(logits.gather(1, own).double()).cpu().numpy()
    if np.isnan(result).any():
        raise ModelError("scores with NaN", expected="a number for each class")
    return result


def check_maps(inputs: Tensor, classes: Tensor, maps: Tensor) -> None:
    """Refuse shapes that do not belong together, maps of nothing, and maps that are not finite.

    Raises:
        OptionError: says which.
    """
    if inputs.ndim != 4 or inputs.shape[1] != 1 or inputs.shape[2] != inputs.shape[3]:
        raise OptionError(f"inputs of shape {tuple(inputs.shape)}", expected="(B, 1, S, S)")
    if classes.ndim != 2 or maps.ndim != 4 or maps.shape[:2] != classes.shape:
        raise OptionError(
            f"maps of shape {tuple(maps.shape)} for classes {tuple(classes.shape)}",
            expected="(B, K, I, J) for (B, K)",
        )
    if len(inputs) != len(maps):
        raise OptionError(f"{len(maps)} images' maps for {len(inputs)} inputs", expected="as many of both")
    if 0 in maps.shape:
        raise OptionError(f"maps of shape {tuple(maps.shape)}", expected="an image, a class and a cell")
    if not torch.isfinite(maps).all():
        raise OptionError("maps with NaN or infinite values", expected="finite maps")
