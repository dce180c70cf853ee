"""One radiograph: pixels as the model's family expects them, and what is known about them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from cxr_explain.display import html_of, png_of
from cxr_explain.errors import CorruptImageError, OptionError

VALUE_RANGE = (-1024.0, 1024.0)
"""TorchXRayVision's value range: black and white of the display."""

AS_PIXELS: NDArray[np.uint8] = np.empty((0, 0), np.uint8)
"""Given as `Radiograph.display`: what the pixels show, made of them when somebody looks at it."""

PHANTOM_WARNING = "This is a phantom, not a patient."
"""What every radiograph of a phantom says among its warnings."""

PHANTOM_MAKER = ("cxr-explain", "phantom")
"""How the files of a phantom say so: Manufacturer and Manufacturer's Model Name, or a PNG's Software."""

PHANTOM_PATIENT = "COMPUTED"
"""What the Patient ID of a phantom begins with; a hyphen and the phantom's number follow."""

PHANTOM_DATE = "20000101"
"""The date of every phantom."""

_BLOCK = 2**15


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A decoded radiograph and its provenance; the arrays are read-only.

    Args:
        pixels: (H, W) float32 in [-1024, 1024], -1024 is black, polarity as displayed (air is dark).
        display: (H, W) uint8, what a viewer would show; differs from `pixels` only in depth, except in
            XRV-compatible mode, where the pixels skip the display transforms that a viewer applies.
            `AS_PIXELS` makes it of the pixels, when it is looked at.
        sha256: hexadecimal digest of the file's bytes.
        id: a name for output files that does not repeat patient data from the header.
        format: the file's format, such as "DICOM" or "PNG" (`cxr_explain.loaders.formats` has them all);
            "array" where there was no file.
        view: "PA", "AP", "LL", ... as the header has it; None where unknown.
        laterality: "L", "R", "B", "U" as the header has it; None where unknown.
        patient_orientation: direction of rows and columns, for example ("L", "F"); None where unknown.
        pixel_spacing: (row, column) spacing in mm, as the header has it; None where unknown.
        pixel_spacing_source: the attribute the spacing came from; None where unknown.
        steps: the preprocessing steps taken so far, in order, for people to read.
        warnings: what a reviewer should know about this file.
        frame: index of the frame read; None for a single-frame object.
        xrv_compatible: whether the reader reproduced torchxrayvision's own; None where no reader made the
            pixels, such as those of an array or a phantom.
        metadata: header attributes that the caller asked for, by keyword.
        phantom: a computed phantom of `cxr_explain.phantom`, nobody's chest; the warnings say it too.

    >>> radiograph = Radiograph.from_array(np.zeros((4, 5), np.float32))
    >>> radiograph.shape
    (4, 5)
    """

    pixels: NDArray[np.float32] = field(repr=False)
    display: NDArray[np.uint8] = field(repr=False)
    sha256: str
    id: str
    format: str
    view: str | None = None
    laterality: str | None = None
    patient_orientation: tuple[str, str] | None = None
    pixel_spacing: tuple[float, float] | None = None
    pixel_spacing_source: (
        Literal["PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"] | None
    ) = None
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    frame: int | None = None
    xrv_compatible: bool | None = None
    metadata: dict[str, str] = field(default_factory=dict, repr=False)
    phantom: bool = False

    def __post_init__(self) -> None:
        if self.phantom and PHANTOM_WARNING not in self.warnings:
            object.__setattr__(self, "warnings", (PHANTOM_WARNING, *self.warnings))
        if self.pixels.ndim != 2 or 0 in self.pixels.shape:
            raise CorruptImageError(f"pixels of shape {self.pixels.shape}", expected="(H, W) with H, W >= 1")
        if self.pixels.dtype != np.float32 or not _are_finite(self.pixels):
            raise CorruptImageError(
                f"{self.pixels.dtype} pixels with non-finite values or another type",
                expected="finite float32 pixels",
            )
        self.pixels.setflags(write=False)
        if self.display is AS_PIXELS:
            object.__delattr__(self, "display")  # `__getattr__` makes it
            return
        if self.display.shape != self.pixels.shape or self.display.dtype != np.uint8:
            raise CorruptImageError(
                f"a display image of {self.display.dtype} {self.display.shape}",
                expected=f"uint8 {self.pixels.shape}",
            )
        self.display.setflags(write=False)

    if not TYPE_CHECKING:  # where it would stand for any attribute

        def __getattr__(self, name: str) -> Any:
            """The display image, at the first look at it."""
            if name != "display":
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            display = to_display(self.pixels)
            display.setflags(write=False)
            object.__setattr__(self, name, display)
            return display

    def display_at(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.uint8]:
        """The display image where these rows and columns cross; the rest of it is not made for that.

        Args:
            rows: (h,) indices.
            columns: (w,) indices.

        >>> radiograph = Radiograph.from_array(np.array([[-1024.0, 0.0, 1024.0]]))
        >>> radiograph.display_at(np.array([0]), np.array([1, 2])).tolist()
        [[128, 255]]
        """
        if "display" in vars(self):
            return self.display[rows][:, columns]
        return to_display(self.pixels[rows][:, columns])

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def without_pixels(self) -> Self:
        """The same with black pixels that take no memory, for what is known of it beside them.

        >>> Radiograph.from_array(np.ones((4, 5), np.float32) * 9).without_pixels().pixels.max()
        np.float32(0.0)
        """
        slim = copy.copy(self)
        object.__setattr__(slim, "pixels", np.broadcast_to(np.float32(0), self.shape))
        object.__setattr__(slim, "display", np.broadcast_to(np.uint8(0), self.shape))
        return slim

    def _repr_html_(self) -> str:
        return html_of(self)

    def _repr_png_(self) -> bytes:
        return png_of(self)

    @classmethod
    def from_array(
        cls,
        pixels: NDArray[np.floating],
        *,
        id: str = "array",  # noqa: A002 - the field's name
        view: str | None = None,
    ) -> Radiograph:
        """Wrap pixels that already are in TorchXRayVision's range.

        Args:
            pixels: (H, W) in [-1024, 1024].
            id: a name for output files.
            view: the projection, where known.

        Raises:
            OptionError: values outside of [-1024, 1024], or in [0, 1] as of an image that was not scaled.

        >>> Radiograph.from_array(np.full((2, 2), 1024.0)).display.max()
        np.uint8(255)
        """
        import hashlib

        kind = np.asarray(pixels).dtype
        values = np.array(pixels, dtype=np.float32)
        low, high = VALUE_RANGE
        if kind.kind in "ub":
            raise _unscaled(f"{kind} values, which cannot be below 0", "x / maximum")
        if values.size and (np.nanmin(values) < low or np.nanmax(values) > high):
            raise _unscaled(f"values from {values.min():g} to {values.max():g}", "x / maximum")
        if values.size and values.min() >= 0 and 0 < values.max() <= 1:
            raise _unscaled("values within [0, 1]", "x")
        return cls(
            pixels=values,
            display=AS_PIXELS,
            sha256=hashlib.sha256(values.tobytes()).hexdigest(),
            id=id,
            format="array",
            view=view,
            steps=("pixels given as an array in [-1024, 1024]",),
        )


def _are_finite(pixels: NDArray[np.float32]) -> bool:
    """A sum is finite only where all its terms are, and takes no memory; a large one may not be even then."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(pixels.sum()) or np.isfinite(pixels).all())


def _unscaled(found: str, unit: str) -> OptionError:
    return OptionError(
        found, expected="values in [-1024, 1024]", remedy=f"Scale first: (2 * {unit} - 1) * 1024."
    )


def to_display(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Map [-1024, 1024] to 0 ... 255, rounded; some at a time, for memory and the processor's cache."""
    low, high = VALUE_RANGE
    display = np.empty(pixels.shape, np.uint8)
    values, levels = pixels.reshape(-1), display.reshape(-1)
    for start in range(0, values.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        levels[block] = np.rint((np.clip(values[block], low, high) - low) * (255.0 / (high - low)))
    return display
