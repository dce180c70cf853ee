"""The greyscale chain of PS3.4 N.2: modality, values of interest, polarity once, scale to the value range."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pydicom
from numpy.typing import NDArray

from cxr_explain.errors import CorruptImageError
from cxr_explain.loaders.codecs import FrameFormat
from cxr_explain.loaders.equalisation import equalise, to_eight_bits
from cxr_explain.loaders.header import given, items, number, numbers, text
from cxr_explain.loaders.levels import Levels, count_levels, look_up
from cxr_explain.loaders.lut_items import read_lut
from cxr_explain.loaders.shutter import read_shutter
from cxr_explain.loaders.stored_bits import StoredPixels
from cxr_explain.loaders.voi import Shown, Voi, VoiChoice, VoiLut, Window, apply_voi
from cxr_explain.options import Rendering
from cxr_explain.radiograph import VALUE_RANGE

_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_MOST_VOIS = 100
_SHAPES = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}


@dataclass(frozen=True)
class Rendered:
    """Pixels, and how they came about.

    Args:
        pixels: (H, W) float32 in [-1024, 1024].
        steps: the steps that were taken, in order.
        voi: the one of them that chose the values of interest.
        warnings: what a reviewer should know.
        shutter: whether something is behind a display shutter.
    """

    pixels: NDArray[np.float32]
    steps: list[str]
    voi: str
    warnings: list[str]
    shutter: bool


def render(
    dataset: pydicom.Dataset,
    stored: StoredPixels,
    layout: FrameFormat,
    choice: VoiChoice,
    *,
    rendering: Rendering = "plain",
) -> Rendered:
    """Take stored pixels through the whole chain.

    Args:
        dataset: the header.
        stored: (H, W) stored values.
        layout: how they are stored.
        choice: the values of interest, in a plain rendering.
        rendering: "equalised" takes 8 bits and the equalisation of their histogram in the place of the VOI.

    Raises:
        CorruptImageError: a transform that contradicts itself, or an image of padding only.
        OptionError: a VOI that the header does not have.
    """
    steps: list[str] = []
    warnings: list[str] = []
    shutter = read_shutter(dataset, layout.rows, layout.columns, warnings)
    if shutter is not None:
        steps.append(shutter.describe())
    visible = stored if shutter is None else stored[~shutter.hidden]
    levels = count_levels(visible, *_declared_range(layout))
    levels = _leave_out_padding(dataset, levels, layout, steps, warnings)
    levels = _apply_modality(dataset, levels, steps, warnings)
    if rendering == "equalised":
        shown = Shown(to_eight_bits(levels), "no VOI applied: smallest to largest value scaled to 8 bits")
    else:
        available = available_voi(dataset, signed=levels.low < 0, warnings=warnings)
        shown = apply_voi(levels, choice, available, layout.bits_stored)
    steps.append(shown.step)
    warnings += shown.warnings
    values = _apply_polarity(dataset, shown.values, steps, warnings)
    if rendering == "equalised":
        values = equalise(levels, values, steps, warnings)
    # After polarity, so that padding is black in MONOCHROME1 too (PS3.3 C.7.5.1.1.2).
    values = np.where(levels.padding, 0.0, values)
    low, high = VALUE_RANGE
    table = (low + (high - low) * values).astype(np.float32)
    steps.append("scaled to [-1024, 1024]")
    if len(np.unique(table[levels.present])) < 2:
        warnings.append("all pixels have one value")
    pixels = look_up(stored, table)
    if shutter is not None:
        pixels[shutter.hidden] = low
    return Rendered(pixels, steps, shown.step, warnings, shutter=shutter is not None)


def _declared_range(layout: FrameFormat) -> tuple[float, float]:
    if layout.signed:
        return -(2.0 ** (layout.bits_stored - 1)), 2.0 ** (layout.bits_stored - 1) - 1
    return 0.0, 2.0**layout.bits_stored - 1


def _leave_out_padding(
    dataset: pydicom.Dataset, levels: Levels, layout: FrameFormat, steps: list[str], warnings: list[str]
) -> Levels:
    """Mark the Pixel Padding Value, or the range up to its limit (PS3.3 C.7.5.1.1.2)."""
    if not given(dataset, "PixelPaddingValue"):
        return levels
    first = _stored_number(dataset, "PixelPaddingValue", layout)
    last = _stored_number(dataset, "PixelPaddingRangeLimit", layout)
    if first is None:
        warnings.append("the pixel padding value is invalid: not applied")
        return levels
    low, high = sorted((first, first if last is None else last))
    padding = (levels.values >= low) & (levels.values <= high)
    covered = levels.counts[padding].sum() / levels.counts.sum()
    if covered == 1:
        raise CorruptImageError("an image of padding only", expected="pixels besides the Pixel Padding Value")
    named = f"value {low:g}" if low == high else f"values {low:g} to {high:g}"
    if covered > 0:
        steps.append(f"padding (stored {named}, {100 * covered:.1f} % of the pixels) left out, shown black")
    return replace(levels, padding=padding)


def _stored_number(dataset: pydicom.Dataset, keyword: str, layout: FrameFormat) -> float | None:
    """Read an attribute whose sign follows the pixels; writers put either VR (US or SS)."""
    value = number(dataset, keyword)
    if value is None:
        return None
    for bits in (layout.bits_stored, layout.bits_allocated):
        if layout.signed and 2 ** (bits - 1) <= value < 2**bits:
            value -= 2**bits
    if not layout.signed and value < 0:
        value += 2**layout.bits_allocated
    half = 2 ** (layout.bits_allocated - 1)
    fits = -half <= value < half if layout.signed else 0 <= value < 2 * half
    return value if fits else None


def _apply_modality(
    dataset: pydicom.Dataset, levels: Levels, steps: list[str], warnings: list[str]
) -> Levels:
    """Apply the Modality LUT Sequence, or else slope and intercept (PS3.3 C.11.1)."""
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    rescales = (slope, intercept) not in ((None, None), (1.0, 0.0))
    sequence = items(dataset, "ModalityLUTSequence")
    if sequence:
        lut = read_lut(sequence[0], dataset, "modality LUT", signed=levels.low < 0, warnings=warnings)
        if lut is None or not 8 <= lut.bits <= 16:
            raise CorruptImageError("a Modality LUT that contradicts itself")
        if rescales:
            warnings.append("modality LUT and rescale slope or intercept both present: the LUT was applied")
        steps.append(f"modality LUT of {len(lut.entries)} entries, {lut.bits} bits")
        return levels.with_values(lut.apply(levels.values), 0.0, lut.declared)
    if ("RescaleSlope" in dataset and slope is None) or ("RescaleIntercept" in dataset and intercept is None):
        warnings.append("rescale slope or intercept invalid or empty: taken as 1 and 0")
    if not rescales:
        return levels
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    if slope == 0 or abs(slope) > 1e9 or abs(intercept) > 1e12 or abs(slope) < 1e-9:
        raise CorruptImageError(
            f"rescale slope {slope:g} and intercept {intercept:g}", expected="a usable slope"
        )
    low, high = sorted((levels.low * slope + intercept, levels.high * slope + intercept))
    steps.append(f"rescaled with slope {slope:g} and intercept {intercept:g}")
    return levels.with_values(levels.values * slope + intercept, low, high)


def available_voi(dataset: pydicom.Dataset, *, signed: bool, warnings: list[str]) -> list[Voi]:
    """The header's VOI LUTs, then its windows; invalid ones are left out and named.

    Args:
        dataset: the header.
        signed: whether the output of the modality transform can be negative.
        warnings: what is left out is added here.
    """
    found: list[Voi] = []
    for item in items(dataset, "VOILUTSequence")[: _MOST_VOIS + 1]:
        lut = read_lut(item, dataset, "VOI LUT", signed=signed, warnings=warnings)
        if lut is None:
            warnings.append("a VOI LUT of the header is invalid: left out")
            continue
        found.append(VoiLut(lut))
        if not lut.fits:
            ends = f"declares {lut.bits} bits and its entries end at {lut.peak:g}"
            warnings.append(f"a VOI LUT of the header {ends}: scaled by this largest entry")
    found += _windows(dataset, warnings)
    if len(found) > _MOST_VOIS:
        warnings.append(
            f"more than {_MOST_VOIS} LUTs and windows in the header: the first {_MOST_VOIS} are read"
        )
    return found[:_MOST_VOIS]


def _windows(dataset: pydicom.Dataset, warnings: list[str]) -> list[Voi]:
    centers, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    for keyword, values in (("WindowCenter", centers), ("WindowWidth", widths)):
        if given(dataset, keyword) and not values:
            warnings.append(f"{keyword} of the header is unreadable: left out")
            return []
    if len(centers) != len(widths):
        warnings.append("window centers and widths of the header do not pair up: left out")
        return []
    found: list[Voi] = []
    function = _voi_function(dataset, warnings)
    for center, width in list(zip(centers, widths, strict=True))[: _MOST_VOIS + 1]:
        window = Window(center, width, function)
        if window.usable:
            found.append(window)
        else:
            warnings.append(f"window width {width:g} of the header is invalid ({function}): left out")
    return found


def _voi_function(dataset: pydicom.Dataset, warnings: list[str]) -> str:
    function = (text(dataset, "VOILUTFunction") or "LINEAR").upper()
    if function in _FUNCTIONS:
        return function
    warnings.append("VOI LUT function of an unknown name: taken as LINEAR")
    return "LINEAR"


def _apply_polarity(
    dataset: pydicom.Dataset, values: NDArray[np.float64], steps: list[str], warnings: list[str]
) -> NDArray[np.float64]:
    """Invert MONOCHROME1, once; the Presentation LUT Shape says the same thing again (PS3.3 C.11.6.1.2)."""
    photometric = (text(dataset, "PhotometricInterpretation") or "").upper()
    shape = (text(dataset, "PresentationLUTShape") or "").upper()
    if shape and shape != _SHAPES[photometric]:
        named = shape if shape in _SHAPES.values() else "of an unknown name"
        warnings.append(f"presentation LUT shape {named} contradicts {photometric}: {photometric} followed")
    if photometric == "MONOCHROME1":
        steps.append("inverted once (MONOCHROME1)")
        return 1 - values
    return values
