"""The frames of compressed pixel data, in their fragments (PS3.5 A.4)."""

from __future__ import annotations

from pydicom.encaps import get_frame

from cxr_explain.errors import CorruptImageError
from cxr_explain.loaders.cut_file import ITEM, TRANSFER_AGAIN

MOST_FRAMES = 1_000_000
"""More than any object has."""

_OFFSET = 4


def encoded_frame(data: bytes, index: int, frames: int) -> bytes:
    """The bytes of one compressed frame.

    Where there is one frame, all fragments are that frame; where there are as many fragments as frames, each
    is one. The Basic Offset Table, which many writers get wrong, decides in other cases only.

    Args:
        data: the value of the Pixel Data, without the sequence's delimiter.
        index: which frame, from 0.
        frames: how many there are.

    Raises:
        CorruptImageError: no such frame.

    >>> item = bytes.fromhex("feff00e0 02000000 abcd")
    >>> encoded_frame(bytes.fromhex("feff00e0 00000000") + item + item, 0, frames=1).hex()
    'abcdabcd'
    """
    table, *fragments = _items(data) or [(0, 0)]
    if fragments and frames == 1:
        return b"".join(data[start:end] for start, end in fragments)
    if len(fragments) == frames:
        start, end = fragments[index]
        return data[start:end]
    try:
        if table[1] - table[0] > _OFFSET * MOST_FRAMES:
            raise ValueError("an offset table of more frames than there can be")
        return bytes(get_frame(data, index, number_of_frames=frames))
    except MemoryError:
        raise
    except Exception:
        raise CorruptImageError(
            f"no frame {index} in the compressed pixel data",
            remedy="The file is truncated or damaged: transfer it again.",
        ) from None


def _items(data: bytes) -> list[tuple[int, int]]:
    """Where the value of each item begins and ends; the first one is the Basic Offset Table."""
    found, position = [], 0
    while data[position : position + 4] == ITEM:
        start = position + 8
        position = start + int.from_bytes(data[position + 4 : start], "little")
        if position > len(data):
            raise CorruptImageError(
                f"a fragment of compressed pixel data that is cut off after {len(data) - start:,} bytes",
                expected=f"{position - start:,}",
                remedy=TRANSFER_AGAIN,
            )
        found.append((start, position))
    return found
