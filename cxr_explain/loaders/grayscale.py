"""The greyscale chain of PS3.4 N.2: modality, values of interest, polarity once, scale to the value range."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pydicom
from numpy.typing import NDArray

from cxr_explain.errors import CorruptImageError
from cxr_explain.loaders.codecs import FrameFormat, StoredPixels
from cxr_explain.loaders.header import element, items, number, numbers, raw_element, text
from cxr_explain.loaders.levels import Levels, count_levels, look_up
from cxr_explain.loaders.voi import Lut, Voi, VoiChoice, VoiLut, Window, apply_voi
from cxr_explain.radiograph import VALUE_RANGE, to_display

_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_SHAPES = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}
_MAX_LUT_ENTRIES = 65536


@dataclass(frozen=True)
class Rendering:
    """Pixels for the model and for the eye, and how they came about."""

    pixels: NDArray[np.float32]
    display: NDArray[np.uint8]
    steps: list[str]
    warnings: list[str]


def render(
    dataset: pydicom.Dataset, stored: StoredPixels, layout: FrameFormat, choice: VoiChoice
) -> Rendering:
    """Take stored pixels through the whole chain.

    Raises:
        CorruptImageError: a transform that contradicts itself, or an image of padding only.
        OptionError: a VOI that the header does not have.
    """
    steps: list[str] = []
    warnings: list[str] = []
    levels = count_levels(stored, *_declared_range(layout))
    levels = _leave_out_padding(dataset, levels, layout, steps, warnings)
    levels = _apply_modality(dataset, levels, steps, warnings)
    shown = apply_voi(levels, choice, _available_voi(dataset, levels, warnings), layout.bits_stored)
    steps.append(shown.step)
    if shown.warning:
        warnings.append(shown.warning)
    values = _apply_polarity(dataset, shown.values, steps, warnings)
    # After polarity, so that padding is black in MONOCHROME1 too (PS3.3 C.7.5.1.1.2).
    values = np.where(levels.padding, 0.0, values)
    low, high = VALUE_RANGE
    table = (low + (high - low) * values).astype(np.float32)
    steps.append("scaled to [-1024, 1024]")
    if len(np.unique(table[levels.present])) < 2:
        warnings.append("all pixels have one value")
    return Rendering(
        pixels=look_up(stored, table),
        display=look_up(stored, to_display(table)),
        steps=steps,
        warnings=warnings,
    )


def _declared_range(layout: FrameFormat) -> tuple[float, float]:
    if layout.signed:
        return -(2.0 ** (layout.bits_stored - 1)), 2.0 ** (layout.bits_stored - 1) - 1
    return 0.0, 2.0**layout.bits_stored - 1


def _leave_out_padding(
    dataset: pydicom.Dataset, levels: Levels, layout: FrameFormat, steps: list[str], warnings: list[str]
) -> Levels:
    """Mark the Pixel Padding Value, or the range up to its limit (PS3.3 C.7.5.1.1.2)."""
    if element(dataset, "PixelPaddingValue") is None:
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
    if layout.signed and value >= 2 ** (layout.bits_allocated - 1):
        value -= 2**layout.bits_allocated
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
        lut = _read_lut(sequence[0], dataset, levels.low)
        if lut is None:
            raise CorruptImageError("a Modality LUT that contradicts itself")
        if rescales:
            warnings.append("modality LUT and rescale slope or intercept both present: the LUT was applied")
        steps.append(f"modality LUT of {len(lut.entries)} entries, {lut.bits} bits")
        return levels.with_values(lut.apply(levels.values), 0.0, lut.high)
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


def _available_voi(dataset: pydicom.Dataset, levels: Levels, warnings: list[str]) -> list[Voi]:
    """The header's VOI LUTs, then its windows; invalid ones are left out and named."""
    found: list[Voi] = []
    for item in items(dataset, "VOILUTSequence"):
        lut = _read_lut(item, dataset, levels.low)
        if lut is None:
            warnings.append("a VOI LUT of the header is invalid: left out")
        else:
            found.append(VoiLut(lut))
    centers, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    present = element(dataset, "WindowCenter") is not None or element(dataset, "WindowWidth") is not None
    if present and (len(centers) != len(widths) or not centers):
        warnings.append("window centers and widths of the header do not pair up: left out")
        return found
    function = _voi_function(dataset, warnings)
    for center, width in zip(centers, widths, strict=True):
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


def _read_lut(item: pydicom.Dataset, dataset: pydicom.Dataset, lowest_input: float) -> Lut | None:
    """Read a LUT item; None where descriptor and data contradict each other (PS3.3 C.11.1.1)."""
    descriptor = numbers(item, "LUTDescriptor")
    if len(descriptor) != 3:
        return None
    # The number of entries and the depth are unsigned even where the VR says SS; 0 entries mean 65536.
    count = int(descriptor[0]) % _MAX_LUT_ENTRIES or _MAX_LUT_ENTRIES
    first, bits = int(descriptor[1]), int(descriptor[2])
    if lowest_input < 0 and first >= 2**15:
        first -= 2**16
    if lowest_input >= 0 and first < 0:
        first += 2**16
    if not 8 <= bits <= 16:
        return None
    entries = _lut_entries(item, count, little_endian=dataset.original_encoding[1] is not False)
    return None if entries is None else Lut(entries.astype(np.float64), first, bits)


def _lut_entries(
    item: pydicom.Dataset, count: int, *, little_endian: bool
) -> NDArray[np.unsignedinteger] | None:
    """LUT data as numbers: 16-bit words, bytes, or bytes packed two to a word."""
    data = raw_element(item, "LUTData")
    value = None if data is None else data.value
    if isinstance(value, bytes | bytearray):
        raw = bytes(value)
    elif value is None or isinstance(value, str):
        return None
    else:
        try:
            words = np.atleast_1d(np.asarray(value, np.int64)) & 0xFFFF
        except (TypeError, ValueError, OverflowError):
            return None
        raw, little_endian = words.astype("<u2").tobytes(), True
    if len(raw) >= 2 * count:
        return np.frombuffer(raw, "<u2" if little_endian else ">u2", count)
    if count <= len(raw) <= count + 1:
        return np.frombuffer(raw, np.uint8, count)
    return None


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
