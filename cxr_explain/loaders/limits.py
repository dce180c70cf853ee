"""What reading one file may take: one account for all readers, settled before the work.

Everything follows from the largest number of pixels that is decoded. A file, and what it inflates to, has at
most so many bytes, and everything in it that is no pixel is counted in parts: elements, items and values of a
data set, chunks, segments, tags, tiles, code-blocks. Each of them costs some time and some hundred bytes.

Together they bound the memory: reading takes at most 18 bytes for each pixel that is allowed, and less than
20 s of a processor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cxr_explain.errors import CorruptImageError, ImageTooLargeError

DEFAULT_MAX_PIXELS: Final = 50_000_000
"""Nearly three times the largest flat-panel detector in clinical use (43 cm at 0.1 mm: 18 megapixels)."""

_BYTES_PER_PIXEL, _LEAST_BYTES = 4, 64 * 2**20
_PIXELS_PER_PART, _LEAST_PARTS = 250, 200_000
_PASSES = 40
_BYTES_PER_PART = 32
_RAISE: Final = "Raise the limit with max_pixels= / --max-pixels where you trust the file."


@dataclass(frozen=True)
class Limits:
    """How much may be asked of a reader.

    Args:
        max_pixels: the largest number of pixels that is decoded; everything else follows from it.

    >>> Limits().check_pixels(4000, 4000)
    >>> Limits().check_pixels(10_000, 10_000)
    Traceback (most recent call last):
    cxr_explain.errors.ImageTooLargeError: found 10000 x 10000 = 100,000,000 pixels; expected at most \
50,000,000. Raise the limit with max_pixels= / --max-pixels where you trust the file.
    """

    max_pixels: int = DEFAULT_MAX_PIXELS

    @property
    def bytes(self) -> int:
        """The most bytes of a file, or of what it inflates to."""
        return max(_LEAST_BYTES, _BYTES_PER_PIXEL * self.max_pixels)

    @property
    def parts(self) -> int:
        """The most parts of a file."""
        return max(_LEAST_PARTS, self.max_pixels // _PIXELS_PER_PART)

    def check_pixels(self, rows: int, columns: int) -> None:
        """Refuse an empty image, or one of too many pixels, by what its header declares.

        Raises:
            CorruptImageError: no pixels.
            ImageTooLargeError: too many.
        """
        if rows < 1 or columns < 1:
            raise CorruptImageError(f"an image of {rows} x {columns} pixels", expected="at least 1 x 1")
        if rows * columns > self.max_pixels:
            raise ImageTooLargeError(
                f"{rows} x {columns} = {rows * columns:,} pixels",
                expected=f"at most {self.max_pixels:,}",
                remedy=_RAISE,
            )

    def check_bytes(self, count: int, what: str) -> None:
        """Refuse what takes too much memory as it lies there.

        Args:
            count: its bytes, or how many of them were met.
            what: what they are.

        Raises:
            ImageTooLargeError: too many.
        """
        if count > self.bytes:
            raise ImageTooLargeError(
                f"{what} of more than {self.bytes / 2**20:.0f} MiB",
                expected=f"at most {_BYTES_PER_PIXEL} bytes for each of {self.max_pixels:,} pixels",
                remedy=_RAISE,
            )

    def check_parts(self, count: int, what: str) -> None:
        """Refuse what has too many parts, each of which is to be handled.

        Args:
            count: how many there are, or were met.
            what: what they are, in the plural.

        Raises:
            ImageTooLargeError: too many.
        """
        if count > self.parts:
            raise ImageTooLargeError(
                f"more than {self.parts:,} {what}", expected="the header of a radiograph", remedy=_RAISE
            )

    def check_passes(self, passes: int, rows: int, columns: int) -> None:
        """Refuse a picture whose pixels are gone over again and again.

        Raises:
            ImageTooLargeError: more than forty times for the largest picture that is decoded.
        """
        self.check_parts(passes, "scans")
        if passes * rows * columns > _PASSES * self.max_pixels:
            raise ImageTooLargeError(
                f"{passes:,} scans of {rows} x {columns} pixels",
                expected=f"at most {max(_PASSES * self.max_pixels // (rows * columns), _PASSES):,}",
                remedy=_RAISE,
            )


class Meter:
    """Counts the parts of one file while they are met, and refuses what is beyond the limit.

    Once spent it stays so: libraries swallow exceptions, and whoever called them asks again.

    Args:
        limits: what may be met.

    >>> meter = Meter(Limits(1))
    >>> meter.spend(200_000)
    >>> meter.spend(1)
    Traceback (most recent call last):
    cxr_explain.errors.ImageTooLargeError: found more than 200,000 elements, items and values; expected the \
header of a radiograph. Raise the limit with max_pixels= / --max-pixels where you trust the file.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._spent = 0

    def spend(self, parts: int) -> None:
        """Count parts.

        Raises:
            ImageTooLargeError: there were too many.
        """
        self._spent += parts
        self.check()

    def check(self) -> None:
        """Say it again where there were too many parts.

        Raises:
            ImageTooLargeError: there were too many.
        """
        self.limits.check_parts(self._spent, "elements, items and values")


def parts_of(data: bytes) -> int:
    """The parts that a value counts as, which is taken apart: numbers are smaller than texts.

    >>> parts_of(b"1.5"), parts_of(bytes(64))
    (1, 2)
    """
    return max(1, len(data) // _BYTES_PER_PART, data.count(b"\\"))
