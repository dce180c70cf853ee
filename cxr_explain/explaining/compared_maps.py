"""Class maps beside others of the same radiograph: how much of each stays.

Region: the positions of the model's square where a map has at least half of the map's peak, on a grid of the
model's own pixels (bilinear, half-pixel centres). A figure outlines the fused map at half the peak, too.

Stability: the intersection over union of a map's region and of the same pathology's region in another map of
the same radiograph, averaged over these other maps; 0 where the other map has no positive value. The other
map is brought back in place first, and what it does not show is left out of both.

Peak stays: the share of the other maps whose peak, brought back, lies within `geometry.TOLERANCE` of the
map's own. A map has a peak where one cell is largest, and positive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from cxr_explain.cam.views import View
from cxr_explain.explaining.stability import MapStability, Stability
from cxr_explain.geometry import TOLERANCE

NOISE = 20.48
"""Standard deviation of the noise, in units of the model's input: a hundredth of the range."""

_SHIFT = 1 / 56  # half a cell of 28 x 28: no whole cell of any map of 7, 14 or 28, which would be one again
_DRAWS = 4
_HALF = 0.5
_SHOWN = 0.999  # of a position: what rounding leaves of a whole one
_ROUNDING = 1e-6

OtherMaps = tuple[str, View, Mapping[str, Tensor]]
"""What other maps are of, in words; how their input was changed; and the maps by pathology, (I, J) each, of
any extent over the square that the model was shown."""


def stability_of(
    pathologies: Sequence[str], maps: Tensor, others: Sequence[OtherMaps], size: int
) -> Stability:
    """Compare class maps with others of the same radiograph.

    Args:
        pathologies: names of the K maps.
        maps: (K, I, J), signed.
        others: maps of each view or model.
        size: side S of the model's input.

    >>> corner = torch.zeros(1, 4, 4); corner[0, 0, 0] = 1
    >>> stability_of(["Mass"], corner, [("itself", View(), {"Mass": corner[0]})], 16)["Mass"]
    1.0
    """
    own = dict(zip(pathologies, maps, strict=True))
    compared: dict[str, list[tuple[float, View, Tensor]]] = {name: [] for name in own}
    for _, view, there in others:
        for name, share in _overlaps_by_name(own, there, view, size).items():
            compared[name].append((share, view, there[name]))
    found = {
        name: MapStability(
            sum(share for share, _, _ in known) / len(known),
            _share_that_stays(own[name], known),
            len(known),
        )
        for name, known in compared.items()
        if known
    }
    return Stability(tuple(said for said, _, _ in others), found)


def views_of(size: int) -> dict[str, View]:
    """The eight views by which stability is measured, in words.

    Four shifts by a 56th of the side, whole pixels, and four draws of Gaussian noise with a fixed seed.

    Args:
        size: side S of the model's input.

    >>> list(views_of(224))[0], views_of(224)["shifted right by 4 of 224 pixels"].right * 224
    ('shifted right by 4 of 224 pixels', 4.0)
    """
    pixels = max(round(size * _SHIFT), 1)
    by = pixels / size
    shifts = {"right": View(right=by), "left": View(right=-by), "down": View(down=by), "up": View(down=-by)}
    return {
        **{f"shifted {way} by {pixels} of {size} pixels": view for way, view in shifts.items()},
        **{f"noise of SD {NOISE}, seed {seed}": View(noise=NOISE, seed=seed) for seed in range(_DRAWS)},
    }


def overlaps(maps: Tensor, others: Tensor, view: View, size: int) -> list[float | None]:
    """Intersection over union of the regions of K maps of one radiograph with those of K others.

    Args:
        maps: (K, I, J), of the input as it is.
        others: (K, I', J'), of the input as the view has it.
        view: how the others' input was changed.
        size: side S of the grid on which they are compared.

    Returns:
        K shares, 0 to 1; None where the first map has no positive value, and where neither region is in sight
        of both.

    >>> whole, left = torch.ones(1, 4, 4), torch.tensor([[[1.0, 1.0, 0.0, 0.0]] * 4])
    >>> [overlaps(*pair, View(), 4) for pair in ((whole, left), (-whole, left), (whole, -left))]
    [[0.5], [None], [0.0]]
    """
    back, seen = view.undone(_fine(others, size))
    in_sight = seen[0] > _SHOWN
    here = in_sight & _region(_fine(maps, size)[0], maps)
    there = in_sight & _region(back[0], others)
    both, either = (found.sum(dim=(1, 2)).tolist() for found in (here & there, here | there))
    positive = (maps.amax(dim=(1, 2)) > 0).tolist()
    return [
        shared / union if known and union else None
        for shared, union, known in zip(both, either, positive, strict=True)
    ]


def _fine(maps: Tensor, size: int) -> Tensor:
    """(K, I, J) -> (1, K, S, S)."""
    return F.interpolate(maps[None], size=(size, size), mode="bilinear", align_corners=False)


def _region(fine: Tensor, maps: Tensor) -> Tensor:
    """(K, S, S) bool: where maps have at least half of their peaks; nowhere without a positive one."""
    peaks = maps.amax(dim=(1, 2))[:, None, None]
    return (fine >= _HALF * peaks) & (peaks > 0)


def _overlaps_by_name(
    own: Mapping[str, Tensor], others: Mapping[str, Tensor], view: View, size: int
) -> dict[str, float]:
    """What is estimable of the pathologies that both have."""
    shared = [name for name in own if name in others]
    if not shared:
        return {}
    maps, there = (torch.stack([by_name[name] for name in shared]) for by_name in (own, others))
    found = zip(shared, overlaps(maps, there, view, size), strict=True)
    return {name: share for name, share in found if share is not None}


def _share_that_stays(values: Tensor, others: Sequence[tuple[float, View, Tensor]]) -> float | None:
    own = _peak(values)
    if own is None:
        return None
    stays = [
        peak is not None
        and torch.dist(own, peak - torch.tensor([view.down, view.right])).item() <= TOLERANCE + _ROUNDING
        for view, peak in ((view, _peak(other)) for _, view, other in others)
    ]
    return sum(stays) / len(stays)


def _peak(values: Tensor) -> Tensor | None:
    """(down, across) of the centre of the largest cell, as shares of the side; None without a single one."""
    at = (values == values.max()).nonzero()
    if len(at) != 1 or not values.max() > 0:
        return None
    return (at[0] + 0.5) / torch.tensor(values.shape)
