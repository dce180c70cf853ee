"""Whether the Pixel Data is of the kind and the length that the header says, before anything is decoded."""

from __future__ import annotations

import pydicom
from pydicom.dataelem import DataElement, RawDataElement

from cxr_explain.errors import CorruptImageError
from cxr_explain.loaders.codecs import FrameFormat
from cxr_explain.loaders.codestream import kind_of
from cxr_explain.loaders.cut_file import ITEM, TRANSFER_AGAIN

_CONTRADICTION = "The transfer syntax and the pixel data contradict each other: export the image again."
_UNDEFINED = 0xFFFFFFFF


def declared_length(element: DataElement | RawDataElement) -> int | None:
    """The bytes that the element's own header says; None where it leaves them undefined (PS3.5 7.1.3)."""
    if isinstance(element, RawDataElement):
        return None if element.length == _UNDEFINED else element.length
    return None if element.is_undefined_length else 0


def check_pixel_data(dataset: pydicom.Dataset, layout: FrameFormat) -> list[str]:
    """Refuse pixel data that are cut off, or that contradict the header.

    Returns:
        A warning where there are more than the header says.

    Raises:
        CorruptImageError: too few bytes, or compressed where the transfer syntax says uncompressed, or the
            other way round.
    """
    element = dataset.get_item("PixelData")
    data = bytes(element.value) if isinstance(element.value, bytes | bytearray) else b""
    expected = layout.rows * layout.columns * layout.frames * layout.bits_allocated // 8
    declared, in_items = declared_length(element), data.startswith(ITEM)
    if layout.syntax.is_encapsulated:
        if not in_items:
            raise _uncompressed(len(data), expected, layout)
        return []
    if declared is None or (in_items and len(data) != expected):
        raise CorruptImageError(
            f"compressed pixel data ({kind_of(data[:4096])}) under the transfer syntax {layout.syntax.name}",
            expected="uncompressed pixel data",
            remedy=_CONTRADICTION,
        )
    if len(data) < expected:
        raise _too_few(len(data), expected, layout, cut=declared > len(data))
    unused = len(data) - expected
    return [f"{unused:,} bytes after the pixels of the header are left out"] if unused > 1 else []


def _uncompressed(found: int, expected: int, layout: FrameFormat) -> CorruptImageError:
    exact = ", exactly what the header's pixels take" if found == expected else ""
    kind = f"uncompressed pixel data ({found:,} bytes{exact})" if found else "pixel data of no bytes"
    return CorruptImageError(
        f"{kind} under the transfer syntax {layout.syntax.name}",
        expected="compressed frames",
        remedy=_CONTRADICTION if found else TRANSFER_AGAIN,
    )


def _too_few(found: int, expected: int, layout: FrameFormat, *, cut: bool) -> CorruptImageError:
    if cut:
        return CorruptImageError(
            f"{found:,} bytes of pixel data, cut off at the end of the file",
            expected=f"{expected:,}",
            remedy=TRANSFER_AGAIN,
        )
    return CorruptImageError(
        f"{found:,} bytes of pixel data",
        expected=f"{expected:,} for {layout.rows} x {layout.columns} pixels",
        remedy="The header and the pixel data contradict each other: export the image again.",
    )
