"""The arithmetic of torchxrayvision's own readers (1.5.7, `utils.py`), operation for operation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxr_explain.errors import UnsupportedImageError
from cxr_explain.radiograph import VALUE_RANGE

if TYPE_CHECKING:  # it brings pydicom, which a raster image can do without
    from cxr_explain.loaders.stored_bits import StoredPixels


def xrv_dicom_pixels(
    stored: StoredPixels, bits_allocated: int, bits_stored: int, monochrome1: bool
) -> tuple[NDArray[np.float32], list[str]]:
    """Scale as `read_xray_dcm` does: by 2^BitsStored - 1, without modality LUT, VOI or padding.

    The integer type matters: MONOCHROME1 is inverted before the conversion to float.

    Raises:
        UnsupportedImageError: an image that torchxrayvision's reader refuses, too.

    >>> xrv_dicom_pixels(np.array([[0, 255]], np.uint8), 8, 8, True)[0].tolist()
    [[1024.0, -1024.0]]
    """
    largest = 2**bits_stored - 1
    data = stored.astype(f"{stored.dtype.kind}{bits_allocated // 8}", copy=False)
    steps = ["XRV-compatible: no modality LUT, no VOI, padding kept"]
    if monochrome1:
        try:
            data = largest - data
        except OverflowError:
            raise _refused("signed MONOCHROME1 pixels") from None
        steps.append("inverted once (MONOCHROME1)")
    return _normalize(data, largest), [*steps, f"scaled to [-1024, 1024] by 2^{bits_stored} - 1"]


def xrv_raster_pixels(samples: NDArray[np.generic]) -> tuple[NDArray[np.float32], list[str]]:
    """Scale as `load_image` does: by 255, first channel only.

    Raises:
        UnsupportedImageError: more than 8 bits, where that reader raises too.
    """
    if samples.dtype != np.uint8:
        raise _refused("a raster image of more than 8 bits")
    channel = samples[:, :, 0] if samples.ndim == 3 else samples
    steps = ["XRV-compatible: first channel, no EXIF orientation, no alpha", "scaled to [-1024, 1024] by 255"]
    return _normalize(channel, 255), steps


def xrv_warnings(pixels: NDArray[np.float32], *, shutter: bool) -> list[str]:
    """Name what the model was never shown; it is what torchxrayvision's reader gives."""
    low, high = VALUE_RANGE
    found = ["XRV-compatible: what is behind the display shutter is in the pixels"] if shutter else []
    if pixels.min() < low or pixels.max() > high:
        named = f"from {pixels.min():g} to {pixels.max():g}, outside of [-1024, 1024]"
        found.append(f"XRV-compatible values {named}")
    return found


def _normalize(data: NDArray[np.generic], largest: int) -> NDArray[np.float32]:
    if int(data.max()) > largest:
        raise _refused(f"a stored value of {data.max()} with {largest} as the largest")
    scaled = (2 * (data.astype(np.float32) / largest) - 1.0) * 1024
    return np.ascontiguousarray(scaled, dtype=np.float32)


def _refused(found: str) -> UnsupportedImageError:
    return UnsupportedImageError(
        f"{found}, which torchxrayvision's reader refuses",
        expected="what that reader takes, in XRV-compatible mode",
        remedy="Read it without xrv_compatible.",
    )
