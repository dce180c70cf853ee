"""The arrays of a saved explanation, read from its `.npz` file within what its record declares.

A few bytes of a compressed archive may declare, and unpack to, any size. So the head of each array is read
first, and no more is unpacked than the maps of so many pathologies take.
"""

from __future__ import annotations

import io
import re
import zipfile
from math import prod
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from cxr_explain.support.archives import open_zip
from cxr_explain.support.bounded import quoted

MOST_VALUES = 2**25
"""In the maps of one explanation: 32 pathologies at 1024 x 1024, and 128 MiB."""

_NAMES = ("class_maps", "maps")
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_MAGIC = b"\x93NUMPY\x01\x00"  # of the format's first version, as NumPy writes plain arrays
_HEADER = re.compile(
    rb"{'descr': '<f4', 'fortran_order': (True|False), 'shape': \((\d{1,9}), (\d{1,9}), (\d{1,9})\), } *\n"
)
_LONGEST_HEADER = 1024


def packed_maps(class_maps: NDArray[np.float32], maps: NDArray[np.float32]) -> bytes:
    """The content of the `.npz` file."""
    content = io.BytesIO()
    np.savez_compressed(content, class_maps=class_maps, maps=maps)
    return content.getvalue()


def unpacked_maps(
    content: bytes, pathologies: int, side: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The class maps and the fused map by class, (K, I, J) float32 each.

    Args:
        content: the `.npz` file.
        pathologies: K.
        side: side of the model's input, in pixels: no map is larger.

    Raises:
        ValueError: other arrays, or larger ones; also BadZipFile, EOFError, KeyError, NotImplementedError,
            OSError, RuntimeError, struct.error and zlib.error, as the libraries have it.

    >>> maps = np.ones((2, 7, 7), np.float32)
    >>> unpacked_maps(packed_maps(maps, maps), 2, 224)[0].shape
    (2, 7, 7)
    >>> unpacked_maps(packed_maps(maps, maps), 3, 224)
    Traceback (most recent call last):
    ValueError: class_maps of shape (2, 7, 7) for 3 pathologies and an input of 224 x 224 pixels
    """
    with open_zip(content, len(_NAMES)) as archive:
        class_maps, maps = (_array(archive, name, pathologies, side) for name in _NAMES)
    if class_maps.shape != maps.shape:
        raise ValueError(f"maps of shapes {class_maps.shape} and {maps.shape}")
    return class_maps, maps


def _array(archive: zipfile.ZipFile, name: str, pathologies: int, side: int) -> NDArray[np.float32]:
    entry = archive.getinfo(f"{name}.npy")
    if entry.compress_type not in _COMPRESSIONS:
        raise ValueError(f"{name} in a compression of kind {entry.compress_type}")
    with archive.open(entry) as stream:
        shape, order = _head(stream, name)
        values = prod(shape)
        if shape[0] != pathologies or not all(0 < each <= side for each in shape[1:]) or values > MOST_VALUES:
            raise ValueError(
                f"{name} of shape {shape} for {pathologies} pathologies and an input of "
                f"{side} x {side} pixels"
            )
        content = stream.read(4 * values)
        if len(content) != 4 * values or stream.read(1):
            raise ValueError(f"{name} of another length than shape {shape} has")
    return np.frombuffer(content, np.float32).reshape(shape, order=order)


def _head(stream: IO[bytes], name: str) -> tuple[tuple[int, ...], Literal["C", "F"]]:
    """Shape and order of an array, as NumPy writes them before three-dimensional float32."""
    start = stream.read(len(_MAGIC) + 2)
    text = stream.read(min(int.from_bytes(start[-2:], "little"), _LONGEST_HEADER))
    found = _HEADER.fullmatch(text)
    if not start.startswith(_MAGIC) or not found:
        raise ValueError(f"{name} that is no float32 array (K, I, J), but {quoted(text)}")
    is_fortran, *shape = found.groups()
    return tuple(map(int, shape)), "F" if is_fortran == b"True" else "C"
