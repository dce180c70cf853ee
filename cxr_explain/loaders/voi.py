"""Values of interest: one LUT or one window (PS3.3 C.11.2, PS3.4 N.2.1), and what to do without one.

No usable VOI in the header is common, so `voi="auto"` has a fallback, always recorded:

- 8 bits stored: the full declared range. Such images were rendered for display when they were made, and the
  result equals the same image kept as a PNG.
- more than 8 bits: the values between the 0.1 % and 99.9 % quantiles of the non-padding pixels. The declared
  range would be faithful to the header, but 12-bit data declared as 16 bits is common and would come out
  nearly black; minimum and maximum would let a single dead pixel or lead marker set the contrast.

A LUT or window that cannot be meant is not applied: one that drives at least 95 % of the pixels into pure
black and pure white, or that leaves them less than a tenth of the grey range. The header's next one takes its
place, and after the last one the fallback. A window asked for by index or by value is applied as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from cxr_explain.errors import CxrExplainError, OptionError
from cxr_explain.loaders.levels import FloatTable, Levels
from cxr_explain.loaders.lut import Lut

_EDGE = 0.002
_MAX_SATURATED = 0.95
_MIN_SPREAD = 0.1
_EIGHT_BITS = 255
_ROBUST = (0.001, 0.999)
_RANGE = re.compile(r"(\S+) to (\S+) (?:scaled|\(0\.1 % to 99\.9 % of the pixels\) stretched)$")
_WINDOW = re.compile(r"window center (\S+) width (\S+) \((\w+)\)")
DISPLAY_STEP = "display image, not what the model sees: "
"""Begins the step that says how the display image was made, where its grey levels are not the pixels'."""

_PAIR = re.compile(r"\s*([-+]?\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*")


@dataclass(frozen=True)
class Window:
    """A window; `function` is the VOI LUT Function of PS3.3 C.11.2.1.2 and .3.

    >>> Window(50.0, 100.0).describe()
    'window center 50 width 100 (LINEAR)'
    """

    center: float
    width: float
    function: str = "LINEAR"

    @property
    def usable(self) -> bool:
        """LINEAR needs a width of at least 1, the others more than 0."""
        finite = np.isfinite(self.center) and np.isfinite(self.width)
        return bool(finite and (self.width >= 1 if self.function == "LINEAR" else self.width > 0))

    def apply(self, x: FloatTable) -> FloatTable:
        """Map values to [0, 1]."""
        if self.function == "SIGMOID":
            return 1 / (1 + np.exp(np.clip(-4 * (x - self.center) / self.width, -700, 700)))
        center, width = self.center, self.width
        if self.function == "LINEAR":
            center, width = center - 0.5, width - 1
        if width == 0:
            return (x > center).astype(np.float64)
        return np.clip((x - center) / width + 0.5, 0, 1)

    def describe(self) -> str:
        """One line for the record of steps."""
        return f"window center {self.center:g} width {self.width:g} ({self.function})"


@dataclass(frozen=True)
class VoiLut:
    """A VOI LUT, scaled by its output range."""

    lut: Lut

    def apply(self, x: FloatTable) -> FloatTable:
        """Map values to [0, 1]."""
        return np.clip(self.lut.apply(x) / self.lut.white, 0, 1)

    def describe(self) -> str:
        """One line for the record of steps."""
        return f"VOI LUT of {len(self.lut.entries)} entries, {self.lut.bits} bits"


Voi: TypeAlias = Window | VoiLut


@dataclass(frozen=True)
class VoiChoice:
    """The parsed `voi=` option."""

    kind: Literal["auto", "none", "index", "window"]
    index: int = 0
    window: Window | None = None


def parse_voi(voi: str | int | None) -> VoiChoice:
    """Read the `voi=` option.

    >>> parse_voi("40/400").window
    Window(center=40.0, width=400.0, function='LINEAR')
    >>> parse_voi(1).index
    1
    """
    if voi is None:
        return VoiChoice("none")
    if isinstance(voi, int) and not isinstance(voi, bool) and voi >= 0:
        return VoiChoice("index", index=voi)
    if isinstance(voi, str):
        if voi.lower() == "auto":
            return VoiChoice("auto")
        if voi.lower() == "none":
            return VoiChoice("none")
        if voi.isdecimal():
            return VoiChoice("index", index=int(voi))
        if match := _PAIR.fullmatch(voi):
            window = Window(float(match[1]), float(match[2]))
            if window.usable:
                return VoiChoice("window", window=window)
    raise OptionError(f"voi={voi!r}", expected='"auto", "none", an index from 0, or "CENTER/WIDTH"')


@dataclass(frozen=True)
class Shown:
    """Levels in [0, 1], with what was done and what a reviewer should know."""

    values: FloatTable
    step: str
    warnings: tuple[str, ...] = ()


def apply_voi(levels: Levels, choice: VoiChoice, available: list[Voi], bits_stored: int) -> Shown:
    """Take the levels from the modality output to the VOI output, scaled to [0, 1].

    Args:
        levels: the modality output.
        choice: the caller's option.
        available: the header's VOI LUTs, then its windows.
        bits_stored: decides on the fallback.

    Raises:
        OptionError: an index that the header does not have.
    """
    if choice.kind == "none":
        return _scale(levels, levels.low, levels.high, "no VOI applied: declared range {} to {} scaled")
    if choice.kind == "window" and choice.window is not None:
        return _asked(levels, choice.window, " as asked for")
    if choice.kind == "index":
        if choice.index >= len(available):
            raise _no_such_index(choice.index, available)
        return _asked(levels, available[choice.index], f", number {choice.index} of the header")
    if not available:
        return _fallback(levels, bits_stored, "no window in the header")
    return _first_usable(levels, available, bits_stored)


def voi_in(steps: Iterable[str], available: Sequence[Voi]) -> Voi | None:
    """By which LUT or window a radiograph was read, as its steps say; None where they say none.

    Args:
        steps: steps that reading took.
        available: the header's VOI LUTs and windows.

    >>> voi_in(["no window in the header: 10 to 19 (0.1 % to 99.9 % of the pixels) stretched"], [])
    Window(center=15.0, width=10.0, function='LINEAR')
    """
    for step in (each.removeprefix(DISPLAY_STEP) for each in steps):
        for voi in available:
            if step == (named := voi.describe()) or step.startswith((f"{named},", f"{named} ")):
                return voi
        if match := _WINDOW.match(step):
            return Window(float(match[1]), float(match[2]), match[3])
        if match := _RANGE.search(step):
            low, high = float(match[1]), float(match[2])
            return Window((low + high + 1) / 2, high - low + 1)
    return None


def _first_usable(levels: Levels, available: list[Voi], bits_stored: int) -> Shown:
    """The header's first LUT or window that fits the pixels, or the fallback where none does."""
    passed_over: list[str] = []
    for number, voi in enumerate(available):
        values = voi.apply(levels.values)
        problem = _problem(levels, values)
        if problem is None:
            which = f", number {number} of the header" if number else f", first of {len(available)}"
            return Shown(values, voi.describe() + (which if len(available) > 1 else ""), tuple(passed_over))
        passed_over.append(f"the header's {voi.describe()} {problem}: not applied")
    other = _fallback(levels, bits_stored, "the header's window does not fit the pixels")
    if _problem(levels, other.values) is None:
        return Shown(other.values, other.step, tuple(passed_over))
    first, problem = available[0], _problem(levels, available[0].apply(levels.values))
    return Shown(first.apply(levels.values), first.describe(), (f"the header's window {problem}",))


def _asked(levels: Levels, voi: Voi, why: str) -> Shown:
    values = voi.apply(levels.values)
    problem = _problem(levels, values)
    return Shown(values, voi.describe() + why, (f"the {voi.describe()} {problem}",) if problem else ())


def _fallback(levels: Levels, bits_stored: int, reason: str) -> Shown:
    """Choose a range where the header gives no usable one; see the module's text for why."""
    if bits_stored <= 8:
        whole = _scale(levels, levels.low, levels.high, reason + ": full range {} to {} scaled")
        # A modality LUT may declare far more than it gives.
        if levels.high <= _EIGHT_BITS or _problem(levels, whole.values) is None:
            return whole
    low, high = levels.quantiles(*_ROBUST)
    if low == high:
        low, high = levels.quantiles(0.0, 1.0)
    if low == high:
        return _scale(levels, levels.low, levels.high, reason + ", constant image: range {} to {} scaled")
    template = reason + ": {} to {} (0.1 % to 99.9 % of the pixels) stretched"
    shown = _scale(levels, low, high, template)
    return Shown(shown.values, shown.step, (f"{reason}: contrast taken from the pixels themselves",))


def _scale(levels: Levels, low: float, high: float, template: str) -> Shown:
    values = np.clip((levels.values - low) / (high - low), 0, 1)
    return Shown(values, template.format(f"{low:g}", f"{high:g}"))


def _problem(levels: Levels, values: FloatTable) -> str | None:
    """Say what makes a VOI unusable for these pixels; None where it is usable, or the image is constant."""
    present = levels.present
    if present.sum() < 2:
        return None
    weights, seen = levels.counts[present], values[present]
    saturated = weights[(seen <= _EDGE) | (seen >= 1 - _EDGE)].sum() / weights.sum()
    if saturated >= _MAX_SATURATED:
        return f"drives {100 * saturated:.1f} % of the pixels to pure black or white"
    low, high = levels.with_values(values, 0, 1).quantiles(*_ROBUST)
    if high - low < _MIN_SPREAD:
        return f"leaves the pixels {100 * (high - low):.1f} % of the grey range"
    return None


def _no_such_index(index: int, available: list[Voi]) -> CxrExplainError:
    found = f"voi={index} where the header has {len(available)} LUTs and windows"
    if not available:
        return OptionError(found, expected='"auto", "none" or "CENTER/WIDTH"')
    return OptionError(found, expected=f"an index from 0 to {len(available) - 1}")
