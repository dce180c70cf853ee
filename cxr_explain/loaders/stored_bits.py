"""Which bits of a decoded word are the sample, and which is its sign (PS3.5 8.1.1).

The sample of a word is in the lowest bits, as many as Bits Stored. Those above may hold anything: zeros,
copies of the sign, overlay planes of old writers, rubbish. A codec keeps words, whatever their bits mean, so
that after every codec alike the bits above are dropped, and the sign is taken from the header's bits.

Two headers are not believed, and named. One says fewer bits than the picture has: dropping the others would
wrap each bright region to black. One says more bits than the compressed frame, whose negative values would
then be taken for large ones. Such a picture is told from overlays and rubbish by how its neighbouring pixels
differ: a wrong reading tears them apart, so that the right one is the smoother.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxr_explain.errors import CorruptImageError
from cxr_explain.loaders.codestream import FrameHeader
from cxr_explain.support.shares import percent

Words = NDArray[np.unsignedinteger]
StoredPixels = NDArray[np.integer]
# Noise is as rough in two's complement as without: a tie is the header's.
_CLEARLY = 0.9
_OVERSHOOT = 1.25
_MUCH, _EVERY = 0.5, 8
_BAND = 2**20


def settle_bits(
    words: Words, bits_stored: int, *, signed: bool, lossy: bool = False, stream: FrameHeader | None = None
) -> tuple[StoredPixels, int, list[str]]:
    """Turn decoded words into samples.

    Args:
        words: (rows, columns) unsigned, as the decoder gave them.
        bits_stored: Bits Stored of the header.
        signed: whether the header says two's complement.
        lossy: whether the codec may overshoot the largest sample a little, which is neither rubbish nor a
            wrong header.
        stream: the compressed frame's own header, where there is one.

    Returns:
        The samples, signed or not as the header says; how many bits they have; warnings.

    Raises:
        CorruptImageError: negative samples under a header that says unsigned.

    >>> settle_bits(np.array([[0x1FFF, 0xF801]], np.uint16), 12, signed=True)[0].tolist()
    [[-1, -2047]]
    """
    if bits_stored > 8 * words.itemsize:
        words = words.astype(np.uint16)
    if stream is not None and stream.signed:
        words = _with_own_sign(words, stream.precision, signed)
    samples = _within(words, bits_stored, signed)
    if samples is None:
        samples = _read(words, bits_stored, signed)
        above = (words >> bits_stored != 0) & (samples.view(words.dtype) != words)
        if above.any():
            return _settle_bits_above(words, samples, bits_stored, above, lossy)
    if signed and stream is not None and not stream.signed and stream.precision < bits_stored:
        narrow = _read(words, stream.precision, signed)
        if _roughness(narrow) < _CLEARLY * _roughness(samples):
            named = f"the header says {bits_stored} bits stored, the compressed frame has {stream.precision}"
            return narrow, stream.precision, [f"{named}: its sign bit is taken"]
    return samples, bits_stored, _sign_warnings(words, samples, bits_stored)


def _sign_warnings(words: Words, samples: StoredPixels, bits: int) -> list[str]:
    """Name a Pixel Representation under which the picture is torn, and without which it is smooth.

    It is followed all the same: a picture of black and white alone may be either.
    """
    signed = samples.dtype.kind == "i"
    some = slice(None, None, _EVERY)
    other = _read(words[some], bits, signed=True) if not signed else words[some] & (2**bits - 1)
    if _roughness(other) >= _MUCH * _roughness(samples[some]):
        return []
    header, picture = ("signed", "unsigned") if signed else ("unsigned", "signed")
    return [f"the header says {header} pixels, and the picture is smooth as {picture} ones: is it torn?"]


def _settle_bits_above(
    words: Words, samples: StoredPixels, bits_stored: int, above: NDArray[np.bool_], lossy: bool
) -> tuple[StoredPixels, int, list[str]]:
    """Tell a picture that goes on into the bits above from what does not belong to it."""
    whole = words.view(samples.dtype)
    if _roughness(whole) >= _roughness(samples):
        share = f"{percent(above.mean())} of the pixels"
        return samples, bits_stored, [f"bits above the {bits_stored} stored, set in {share}, are dropped"]
    if lossy and int(whole.max()) < _OVERSHOOT * 2 ** (bits_stored - (samples.dtype.kind == "i")):
        return whole, bits_stored, []
    bits = _bits_of(whole)
    return whole, bits, [f"the header says {bits_stored} bits stored, the picture has {bits}: all are read"]


def _with_own_sign(words: Words, precision: int, signed: bool) -> Words:
    """Words of a frame that says that its samples are signed: the sign is extended to the word."""
    samples = _read(words, precision, signed=True)
    if not signed and int(samples.min()) < 0:
        raise CorruptImageError(
            "a compressed frame with negative samples under a header that says unsigned",
            expected="Pixel Representation 1, or an unsigned frame",
            remedy="Header and frame contradict each other: export the image again.",
        )
    return samples.view(words.dtype)


def _within(words: Words, bits: int, signed: bool) -> StoredPixels | None:
    """The words as they are, where nothing is above their bits but copies of the sign."""
    whole = words.view(_kind(words, signed))
    limit = 2 ** (bits - 1) if signed else 2**bits
    fits = int(whole.max()) < limit and int(whole.min()) >= -limit
    return whole if fits else None


def _read(words: Words, bits: int, signed: bool) -> StoredPixels:
    """The lowest bits of each word, in two's complement where signed."""
    unused = 8 * words.itemsize - bits
    return (words << unused).view(_kind(words, signed)) >> unused


def _kind(words: Words, signed: bool) -> np.dtype[np.integer]:
    return np.dtype(f"{'i' if signed else 'u'}{words.itemsize}")


def _bits_of(samples: StoredPixels) -> int:
    low, high = int(samples.min()), int(samples.max())
    sign = int(samples.dtype.kind == "i")
    return sign + max(high.bit_length(), (~low).bit_length() if low < 0 else 0)


def _roughness(samples: StoredPixels) -> int:
    """The sum of the steps between neighbours in a row; some rows at a time, as the steps are wide."""
    height = max(1, _BAND // samples.shape[1])
    bands = (samples[top : top + height].astype(np.int32) for top in range(0, len(samples), height))
    return sum(int(np.abs(np.diff(band, axis=1)).sum(dtype=np.int64)) for band in bands)
