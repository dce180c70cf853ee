"""Arrays to look at: maps over the radiograph, at the resolution of the page rather than of the detector.

At a pixel x with grey value g, fused maps m_k and colours c_k::

    t(x) = sum over k of max(m_k(x), 0)                    ELU and GELU leave negatives: no evidence
    a(x) = max_opacity * (t(x) / max over x of t) ** 0.75  opacity: strength relative within the image
    c(x) = sum over k of max(m_k(x), 0) c_k / t(x)         colours mix where two pathologies meet
    out  = (1 - a) g + a c

A class with a second sign s has lines across it, black on a light colour and white on a dark one, b_k.
Instead of c_k stands::

    c_k(x) = (1 - 0.5 h_s(x)) c_k + 0.5 h_s(x) b_k         h_s: soft lines, 0 to 1; see `hatch`

The exponent lifts weaker evidence to where an eye can see it on grey; the key's ramp has it too.

Each map is interpolated by itself before the mixing, so that a border shows the mixture of the colours on
either side and no third one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from cxr_explain.errors import OptionError, OutputError
from cxr_explain.explaining.explanation import Explanation
from cxr_explain.figures.palette import ClassStyle, Rgb, class_styles, reads_black
from cxr_explain.geometry import Geometry
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.arrays import Floats, Mask, Points, Shape

if TYPE_CHECKING:  # whoever draws figures alone need not wait for torch
    from torch import Tensor

    from cxr_explain.explaining.batch_maps import BatchMaps

MAX_OPACITY = 0.6
"""Opacity of the strongest evidence: the anatomy below stays readable."""

GAMMA = 0.75
"""Exponent of the opacity."""

CONTOUR_LEVEL = 0.5
"""Outlines enclose what reaches this share of the pathology's own peak."""

SLIVER = 0.001
"""An outline around less than this share of the model's square, or narrower than a tenth of a cell, is not
drawn unless it is the pathology's largest: it would be a dot or a stray line, and no region."""

FAINT = 0.15
"""A map whose peak is below this share of the strongest one gets no outline: half of next to nothing is
noise, and a line would give it the weight of the evidence beside it."""

BLANK = 0.38
"""Grey behind the maps of an explanation that was loaded without its radiograph."""

_DIMMED = 0.42
_UNSEEN = 2  # the hatch of what the model did not see; over a class, it is never dimmed
_HATCHES = 36  # lines of the hatch along the longer side
_HATCH_OPACITY = 0.4
_SIGN_OPACITY = 0.5
_FLAT_OPACITY = 0.45
_CONTOUR_SIDE = 320  # bilinear maps of a few cells need no more for a smooth outline


@dataclass(frozen=True, eq=False)
class Overlay:
    """The fused map laid over the radiograph.

    Args:
        rgb: (h, w, 3) uint8.
        peak: the largest sum of evidence at a pixel, to which the opacities are relative; 0 without any.
    """

    rgb: NDArray[np.uint8]
    peak: float


def display_shape(radiograph_shape: Shape, longest: int) -> Shape:
    """Height and width that keep the aspect with a longest side of `longest` samples.

    >>> display_shape((4000, 2000), 300)
    (300, 150)
    """
    height, width = radiograph_shape
    scale = longest / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def shape_within(radiograph_shape: Shape, longest: int | None) -> Shape:
    """The radiograph's own height and width, or smaller ones where a side is longer than `longest`.

    >>> shape_within((400, 200), 300), shape_within((400, 200), 900), shape_within((400, 200), None)
    ((300, 150), (400, 200), (400, 200))
    """
    side = max(radiograph_shape)
    return display_shape(radiograph_shape, min(longest or side, side))


def grey(display: NDArray[np.uint8], shape: Shape) -> Floats:
    """The radiograph's display image in [0, 1] at another size, antialiased.

    >>> grey(np.full((400, 300), 255, np.uint8), (4, 3)).max()
    np.float32(1.0)
    """
    image = Image.fromarray(np.ascontiguousarray(display))
    # What is far larger is first averaged down to three times the size: seven times as fast, and within two
    # grey levels of the one step.
    resized = image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(resized, np.float32) / np.float32(255)


def grey_or_plain(radiograph: Radiograph | None, shape: Shape) -> Floats:
    """The radiograph's display image in [0, 1] at another size; plain grey without a radiograph."""
    return np.full(shape, BLANK, np.float32) if radiograph is None else grey(radiograph.display, shape)


def hatch_period(shape: Shape) -> int:
    """Distance in samples of the lines that hatch what the model did not see, in a picture of (h, w)."""
    return max(4, max(shape) // _HATCHES)


def fuse_over(
    background: ArrayLike,
    maps: Iterable[ArrayLike],
    colours: Sequence[Rgb],
    *,
    signs: Sequence[int] | None = None,
    period: int = 12,
    max_opacity: float = MAX_OPACITY,
    peak: float | None = None,
) -> Overlay:
    """Lay K maps over a grey image by the formula at the top of this module.

    Args:
        background: (h, w) grey levels in [0, 1].
        maps: K maps (h, w), taken one at a time, so that K does not multiply the memory.
        colours: red, green and blue of the K maps, in [0, 1].
        signs: second sign of each map, 0 for none, which all have by default.
        period: distance in samples of the lines of a second sign.
        max_opacity: opacity of the strongest evidence.
        peak: the sum of evidence to which the opacity is relative; by default the largest that is there.

    Raises:
        OutputError: maps that are not finite.

    >>> fuse_over([[0.0, 0.0]], [[[1.0, 0.5]]], [(1.0, 0.0, 0.0)]).rgb[0].tolist()
    [[153, 0, 0], [90, 0, 0]]
    """
    base = np.asarray(background, np.float32)
    tint = tint_of(base.shape, maps, colours, signs=signs, period=period, max_opacity=max_opacity, peak=peak)
    planes = tint.colour + (1 - tint.opacity) * base
    return Overlay(np.stack([to_bytes(plane) for plane in planes], axis=-1), tint.peak)


@dataclass(frozen=True, eq=False)
class Tint:
    """What is laid over an image, before it is.

    Args:
        colour: (3, h, w), the colours times the opacity, a c.
        opacity: (h, w), the opacity a.
        peak: as in `Overlay`.
    """

    colour: Floats
    opacity: Floats
    peak: float


def tint_of(
    shape: Shape,
    maps: Iterable[ArrayLike],
    colours: Sequence[Rgb],
    *,
    signs: Sequence[int] | None = None,
    period: int = 12,
    max_opacity: float = MAX_OPACITY,
    peak: float | None = None,
) -> Tint:
    """The colours and opacities of K maps (h, w); for the options see `fuse_over`."""
    total = np.zeros(shape, np.float32)
    mixed = np.zeros((3, *shape), np.float32)  # plane by plane: twice as fast as pixel by pixel
    for values, colour, sign in zip(maps, colours, signs or [0] * len(colours), strict=True):
        strength = np.maximum(np.asarray(values, np.float32), 0)
        if not np.isfinite(strength).all():
            raise OutputError("maps with values that are not finite", expected="finite maps")
        if strength.any():
            total += strength
            for plane, share in zip(mixed, colour, strict=True):
                plane += strength * np.float32(share)
            if sign:
                lines = strength * hatch(shape, period, sign) * np.float32(_SIGN_OPACITY)
                for plane, share in zip(mixed, colour, strict=True):
                    plane += lines * np.float32((0.0 if reads_black(colour) else 1.0) - share)
    peak = float(total.max(initial=0.0)) if peak is None else peak
    if not peak > 0:
        return Tint(mixed, total, 0.0)
    opacity = np.float32(max_opacity) * np.minimum(total / np.float32(peak), 1) ** np.float32(GAMMA)
    mixed *= opacity / np.maximum(total, np.finfo(np.float32).tiny)  # a c
    return Tint(mixed, opacity, peak)


def fused_overlay(
    explanation: Explanation,
    radiograph: Radiograph | None = None,
    *,
    maps: NDArray[np.float32] | None = None,
    shown: Iterable[int] | None = None,
    max_opacity: float = MAX_OPACITY,
    longest: int | None = None,
    colours: Mapping[str, str] | None = None,
) -> NDArray[np.uint8]:
    """The fused map over the radiograph, hatched where the model did not see; see `Explanation.overlay`.

    Args:
        explanation: the explanation to draw.
        radiograph: the radiograph below; by default the explanation's own, and plain grey where it has none.
        maps: (K, I, J), other maps than the explanation's.
        shown: ranks to show, from 1; all by default.
        max_opacity: opacity of the strongest evidence.
        longest: pixels along the longer side, no more than the radiograph has; by default all.
        colours: colour of a pathology by name, where it is not the package's own; see `class_styles`.

    Returns:
        (h, w, 3).

    Raises:
        OptionError: a colour that is none.
    """
    styles = class_styles(explanation.ranking.pathologies, colours)
    radiograph = radiograph or explanation.radiograph
    shape = shape_within(explanation.geometry.radiograph_shape, longest)
    base = grey_or_plain(radiograph, shape)
    return maps_over(
        base, explanation, styles, hatch_period(shape), maps=maps, shown=shown, max_opacity=max_opacity
    ).rgb


def maps_over(
    background: Floats,
    explanation: Explanation,
    styles: Sequence[ClassStyle],
    period: int,
    *,
    maps: NDArray[np.float32] | None = None,
    shown: Iterable[int] | None = None,
    max_opacity: float = MAX_OPACITY,
    peak: float | None = None,
) -> Overlay:
    """Lay the maps of an explanation over a grey image, in the colours of their pathologies.

    Args:
        background: (h, w) in [0, 1], covering the whole radiograph.
        explanation: the explanation to draw.
        styles: how each of the K pathologies is drawn, in the order of their ranks.
        period: distance in samples of the lines that hatch what the model did not see, and second signs.
        maps: (K, I, J), other maps than the explanation's.
        shown: ranks to show, from 1; all by default.
        max_opacity: opacity of the strongest evidence.
        peak: as for `fuse_over`.
    """
    geometry, maps = explanation.geometry, explanation.maps if maps is None else maps
    ranks = sorted(range(1, len(maps) + 1) if shown is None else shown)
    # Of the evidence alone: a strong cell among negatives would shrink to a speck between its neighbours.
    fields = (geometry.maps_to_radiograph(np.maximum(maps[rank - 1], 0), background.shape) for rank in ranks)
    shown_styles = [styles[rank - 1] for rank in ranks]
    over = fuse_over(
        background,
        fields,
        [style.rgb for style in shown_styles],
        signs=[style.sign for style in shown_styles],
        period=period,
        max_opacity=max_opacity,
        peak=peak,
    )
    return Overlay(mark_unseen(over.rgb, geometry, period), over.peak)


def winners_over(
    background: Floats, explanation: Explanation, styles: Sequence[ClassStyle], period: int
) -> NDArray[np.uint8]:
    """Fill each cell with the flat colour of the pathology whose class map is largest there.

    A cell where no class map is positive keeps its grey: nothing speaks for any of them there.

    Args:
        background: (h, w) in [0, 1], covering the whole radiograph.
        explanation: the explanation to draw.
        styles: how each of the K pathologies is drawn, in the order of their ranks.
        period: distance in samples of the lines that hatch what the model did not see.
    """
    geometry, class_maps = explanation.geometry, explanation.class_maps
    rgb = np.repeat(background[..., None], 3, axis=2)
    if explanation.ranking.k:
        winner = np.where(class_maps.max(axis=0) > 0, explanation.winner, -1)
        (rows, rows_seen), (columns, columns_seen) = (
            geometry.nearest_cells(cells, axis, samples)
            for axis, (cells, samples) in enumerate(zip(winner.shape, background.shape, strict=True))
        )
        shown = np.where(rows_seen[:, None] & columns_seen, winner[rows[:, None], columns], -1)
        for at, style in enumerate(styles):
            where = shown == at
            flat = swatch(style, background.shape, period)[where].astype(np.float32) / np.float32(255)
            rgb[where] = (1 - _FLAT_OPACITY) * rgb[where] + _FLAT_OPACITY * flat
    return mark_unseen(to_bytes(rgb), geometry, period)


def evidence_peak(maps: NDArray[np.float32], geometry: Geometry) -> float:
    """The largest sum of evidence anywhere in the radiograph, to which opacities are relative.

    Args:
        maps: (K, I, J).
        geometry: where the maps lie.
    """
    total = np.maximum(maps, 0).sum(axis=0) if len(maps) else np.zeros((1, 1), np.float32)
    shape = shape_within(geometry.radiograph_shape, _CONTOUR_SIDE)
    return float(geometry.maps_to_radiograph(total, shape).max())


def colour_map_over(
    background: ArrayLike, values: ArrayLike, *, max_opacity: float = 0.8
) -> NDArray[np.uint8]:
    """Lay one scalar map over a grey image in viridis, relative to its own peak.

    The opacity rises with the square root of the strength, so that weak evidence still tints the image.

    Args:
        background: (h, w) grey levels in [0, 1].
        values: (h, w), one map; negative values count as no evidence.
        max_opacity: opacity at the map's peak, in (0, 1].

    >>> colour_map_over([[0.5]], [[0.0]]).tolist()
    [[[127, 127, 127]]]
    """
    base = np.asarray(background, np.float32)[..., None]
    strength = np.maximum(np.asarray(values, np.float32), 0)
    peak = strength.max(initial=0.0)
    if not peak > 0:
        return to_bytes(np.repeat(base, 3, axis=2))
    strength = strength / peak
    opacity = (max_opacity * np.sqrt(strength))[..., None]
    colour = matplotlib.colormaps["viridis"](strength)[..., :3].astype(np.float32)
    return to_bytes((1 - opacity) * base + opacity * colour)


def mark_unseen(rgb: NDArray[np.uint8], geometry: Geometry, period: int) -> NDArray[np.uint8]:
    """Dim and hatch what the model did not see.

    Args:
        rgb: (h, w, 3), covering the whole radiograph.
        geometry: where the model's square lies.
        period: distance of the hatch's lines in samples.

    >>> strip = mark_unseen(np.full((2, 4, 3), 200, np.uint8), Geometry.fit_square((2, 4), 2), 8)
    >>> (strip[0, 1:3] == 200).all(), (strip[0, 0] < 200).all()
    (np.True_, np.True_)
    """
    unseen = unseen_mask(rgb.shape[:2], geometry)
    if not unseen.any():
        return rgb
    lines = hatch(rgb.shape[:2], period, _UNSEEN)[unseen][:, None] * np.float32(_HATCH_OPACITY)
    dimmed = rgb[unseen].astype(np.float32) / 255 * np.float32(_DIMMED)
    marked = rgb.copy()
    marked[unseen] = to_bytes(dimmed * (1 - lines) + lines * np.float32(0.8))
    return marked


def hatch(shape: Shape, period: int, sign: int) -> Floats:
    """(h, w) in [0, 1]: diagonal lines with soft edges, 1 in their middle.

    Args:
        shape: height and width in samples.
        period: distance of the lines along a row, in samples.
        sign: from 1: lines down, lines up, both; then from the start.

    >>> hatch((2, 4), 4, 1)[0].round(2).tolist(), hatch((2, 4), 4, 1)[1].round(2).tolist()
    ([1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0])
    """
    # A triangle wave along the row, so that the lines have soft edges at any resolution; each row is shifted.
    wave = np.abs(np.arange(shape[1] + period) % period - period / 2) / (period / 2)
    shifted = sliding_window_view(np.clip((wave - 0.72) / 0.2, 0, 1).astype(np.float32), shape[1])
    rows = np.arange(shape[0])
    drawn = [(-rows,), (rows,), (-rows, rows)][(sign - 1) % 3]
    lines: Floats = np.maximum.reduce([shifted[each % period] for each in drawn])
    return lines


def swatch(style: ClassStyle, shape: Shape, period: int) -> NDArray[np.uint8]:
    """(h, w, 3): the colour of a pathology with its second sign, as keys show it.

    Args:
        style: how the pathology is drawn.
        shape: height and width in samples.
        period: distance in samples of the lines of a second sign.
    """
    everywhere = np.ones(shape, np.float32)
    return fuse_over(
        np.zeros(shape), [everywhere], [style.rgb], signs=[style.sign], period=period, max_opacity=1
    ).rgb


def unseen_mask(shape: Shape, geometry: Geometry) -> Mask:
    """(h, w): which samples of the radiograph the model did not see, judged at their centres."""
    left, top, right, bottom = geometry.seen_box
    x = (np.arange(shape[1]) + 0.5) * geometry.radiograph_shape[1] / shape[1]
    y = (np.arange(shape[0]) + 0.5) * geometry.radiograph_shape[0] / shape[0]
    return ~(((y >= top) & (y < bottom))[:, None] & ((x >= left) & (x < right))[None, :])


def outlines(
    values: ArrayLike, geometry: Geometry, level: float = CONTOUR_LEVEL, *, closed: bool = False
) -> list[Points]:
    """Lines (n, 2) of (x, y) in the radiograph's pixels around what reaches a share of the map's own peak.

    Those of specks are left out, see `SLIVER`.

    Args:
        values: (I, J), one map.
        geometry: where the map lies on the radiograph.
        level: share of the map's own peak, in (0, 1).
        closed: lead what reaches the radiograph's edge along it, back to where it began; in a figure such a
            line ends at the edge.

    >>> lines = outlines([[0, 0, 0], [0, 1, 0], [0, 0, 0]], Geometry.fit_square((30, 30), 30))
    >>> len(lines), np.round(lines[0].mean(axis=0)).tolist()
    (1, [15.0, 15.0])
    >>> corner = outlines([[1, 0], [0, 0]], Geometry.fit_square((30, 30), 30), closed=True)[0]
    >>> (corner[0] == corner[-1]).all(), corner.min()
    (np.True_, np.float64(0.0))
    """
    # Imported here: scikit-image costs 0.2 s that a caller without outlines need not pay.
    from skimage.measure import find_contours

    shape = display_shape(geometry.radiograph_shape, _CONTOUR_SIDE)
    field = geometry.maps_to_radiograph(np.maximum(np.asarray(values, np.float32), 0), shape)
    if not field.max() > 0:
        return []
    height, width = geometry.radiograph_shape
    scale = (width / shape[1], height / shape[0])
    padded = np.pad(field, 1, mode="edge")  # the outline may then run off the image's edge, not stop short
    if closed:
        padded = np.pad(padded, 1)
    lines = find_contours(padded, level * float(field.max()))
    first = 1.5 if closed else 0.5  # where the radiograph begins in what was padded
    found = [np.clip((line[:, ::-1] - first) * scale, 0, (width, height)) for line in lines]
    areas = [_area(line) for line in found]
    least, narrowest = SLIVER * geometry.side**2, 0.1 * geometry.side / max(np.shape(values))
    return [
        line
        for line, area in zip(found, areas, strict=True)
        if area == max(areas) or area >= max(least, narrowest * _length(line) / 2)
    ]


def mask_outlines(mask: Mask) -> list[Points]:
    """Lines (n, 2) of (x, y) in the radiograph's pixels around the parts of a mask (H, W)."""
    from skimage.measure import find_contours

    step = max(1, max(mask.shape) // (4 * _CONTOUR_SIDE))
    padded = np.pad(mask[::step, ::step].astype(np.float32), 1)
    return [(line[:, ::-1] - 0.5) * step for line in find_contours(padded, 0.5)]


def _area(line: Points) -> float:
    """Area inside a closed line; of an open one, which ends at the image's edge, as if it were closed."""
    x, y = line.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


def _length(line: Points) -> float:
    return float(np.hypot(*np.diff(line, axis=0).T).sum())


def strong(maps: NDArray[np.float32]) -> Mask:
    """(K,): which of K maps (K, I, J) get an outline: those with positive evidence that is not faint.

    >>> strong(np.float32([[[1.0]], [[0.1]], [[-1.0]]])).tolist()
    [True, False, False]
    """
    peaks = maps.max(axis=(1, 2), initial=0)
    return np.asarray((peaks > 0) & (peaks >= FAINT * peaks.max(initial=0)))


def peak_point(values: ArrayLike, geometry: Geometry) -> tuple[float, float] | None:
    """(x, y) in the radiograph of the centre of the strongest cell.

    None without positive evidence, and where it lies in the margin of `fit="pad"`: there is nothing to mark
    there; the explanation's notes say so.

    >>> peak_point([[0.0, 2.0], [0.0, 0.0]], Geometry.fit_square((40, 40), 20))
    (30.0, 10.0)
    """
    point = geometry.peak_of(values)
    return point if point is not None and geometry.sees(point) else None


def to_bytes(values: Floats) -> NDArray[np.uint8]:
    """[0, 1] to 0 ... 255."""
    return (np.clip(values, 0, 1) * 255).astype(np.uint8)


def batch_overlays(batch: BatchMaps, inputs: Tensor) -> NDArray[np.uint8]:
    """The fused maps of a batch over its inputs: (B, H, W, 3) uint8.

    Args:
        batch: maps of B inputs.
        inputs: (B, C, H, W), the inputs that were explained; each is stretched from its own minimum to its
            own maximum, and several channels are averaged.

    Raises:
        OptionError: another number of inputs.
    """
    if inputs.ndim != 4 or len(inputs) != len(batch):
        raise OptionError(
            f"inputs of shape {tuple(inputs.shape)}", expected=f"the ({len(batch)}, C, H, W) explained"
        )
    shape = (inputs.shape[2], inputs.shape[3])
    pictures = []
    for image, background in enumerate(_grey_of(inputs)):
        maps = batch.maps_in_inputs(image, shape).float().cpu().numpy()
        styles = class_styles(batch.rankings[image].pathologies)
        colours, signs = [style.rgb for style in styles], [style.sign for style in styles]
        period = hatch_period(shape)
        pictures.append(fuse_over(background, maps, colours, signs=signs, period=period).rgb)
    return np.stack(pictures)


def _grey_of(inputs: Tensor) -> Floats:
    """(B, H, W) in [0, 1]."""
    grey = np.asarray(inputs.detach().cpu().float()).mean(axis=1, dtype=np.float32)
    low, high = grey.min(axis=(1, 2), keepdims=True), grey.max(axis=(1, 2), keepdims=True)
    stretched: Floats = (grey - low) / np.maximum(high - low, np.finfo(np.float32).tiny)
    return stretched
