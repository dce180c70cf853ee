"""Decoding of one grey DICOM frame, by the codec trusted most for each transfer syntax.

Pillow for 8-bit JPEG, GDCM for lossless and 12-bit JPEG, CharLS (pyjpegls) for JPEG-LS, OpenJPEG (pylibjpeg)
for JPEG 2000 and HTJ2K, pydicom itself for uncompressed data. RLE is decoded here: pydicom unpacks whatever
comes, before it asks how much there should be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
import pydicom
from PIL import JpegImagePlugin
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from cxr_explain.errors import CorruptImageError, CxrExplainError, UnsupportedImageError
from cxr_explain.loaders.codestream import (
    FrameHeader,
    check_agrees,
    is_padding,
    parse_j2k,
    parse_jpeg,
    parse_jpeg_ls,
)
from cxr_explain.loaders.encapsulated import encoded_frame
from cxr_explain.loaders.jpeg import check_jpeg
from cxr_explain.loaders.limits import Limits
from cxr_explain.loaders.rle import decode_rle
from cxr_explain.loaders.stored_bits import StoredPixels, Words, settle_bits


@dataclass(frozen=True)
class FrameFormat:
    """How the data set says that its frames are stored.

    Args:
        syntax: the transfer syntax.
        rows: height in pixels.
        columns: width in pixels.
        frames: number of frames.
        bits_allocated: 8 or 16.
        bits_stored: bits in use.
        signed: two's complement.
    """

    syntax: uid.UID
    rows: int
    columns: int
    frames: int
    bits_allocated: int
    bits_stored: int
    signed: bool


@dataclass(frozen=True)
class Decoded:
    """A decoded frame.

    Args:
        stored: (rows, columns) samples.
        layout: how they are stored, as far as frame and header together say.
        warnings: what the two contradict each other in.
    """

    stored: StoredPixels
    layout: FrameFormat
    warnings: list[str]


@dataclass(frozen=True)
class Codec:
    """A transfer syntax family: its name for people, its header, and pydicom's plugin for it."""

    name: str
    parse: Callable[[bytes, Limits], FrameHeader] | None = None
    plugin: str = ""


_CODECS: dict[str, Codec] = {
    uid.ImplicitVRLittleEndian: Codec("uncompressed data"),
    uid.ExplicitVRLittleEndian: Codec("uncompressed data"),
    uid.ExplicitVRBigEndian: Codec("uncompressed big endian data"),
    uid.DeflatedExplicitVRLittleEndian: Codec("deflated data"),
    uid.RLELossless: Codec("RLE"),
    uid.JPEGBaseline8Bit: Codec("JPEG baseline", parse_jpeg),
    uid.JPEGExtended12Bit: Codec("JPEG extended", parse_jpeg),
    uid.JPEGLossless: Codec("JPEG lossless", parse_jpeg),
    uid.JPEGLosslessSV1: Codec("JPEG lossless", parse_jpeg),
    uid.JPEGLSLossless: Codec("JPEG-LS lossless", parse_jpeg_ls, "pyjpegls"),
    uid.JPEGLSNearLossless: Codec("JPEG-LS near-lossless", parse_jpeg_ls, "pyjpegls"),
    uid.JPEG2000Lossless: Codec("JPEG 2000 lossless", parse_j2k, "pylibjpeg"),
    uid.JPEG2000: Codec("JPEG 2000", parse_j2k, "pylibjpeg"),
    uid.HTJ2KLossless: Codec("HTJ2K lossless", parse_j2k, "pylibjpeg"),
    uid.HTJ2KLosslessRPCL: Codec("HTJ2K lossless", parse_j2k, "pylibjpeg"),
    uid.HTJ2K: Codec("HTJ2K", parse_j2k, "pylibjpeg"),
}
_LOSSY = frozenset(
    {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K}
)
_BASELINE_PROCESSES = frozenset({0xC0, 0xC1, 0xC2})
# GDCM writes DCT frames of "16 bits", which ISO 10918-1 table B.2 does not know, and misreads them itself.
_EXTENDED_12 = (0xC1, 12)
_LOSSLESS_PROCESS = 0xC3
# Noise grows by a tenth where it is compressed; profiles, comments and previews come on top.
_LONGEST_OF_PLAIN, _LONGEST_APPENDIX = 1.5, 4 * 2**20


def installed_codecs() -> dict[str, bool]:
    """The transfer syntaxes that are known, by their names for people; whether a decoder is installed.

    >>> installed_codecs()["RLE"]
    True
    """
    return {codec.name: _is_installed(syntax, codec.plugin) for syntax, codec in _CODECS.items()}


def _is_installed(syntax: str, plugin: str) -> bool:
    decoder = get_decoder(uid.UID(syntax))
    return plugin in decoder.available_plugins if plugin else decoder.is_available


def codec_for(syntax: uid.UID) -> Codec:
    """The codec of a transfer syntax.

    Raises:
        UnsupportedImageError: none of the installed decoders knows it.
    """
    if syntax in _CODECS:
        return _CODECS[syntax]
    known = syntax.name if syntax.name != syntax else "an unknown transfer syntax"
    raise UnsupportedImageError(
        f"pixel data in {known}",
        expected="a still image in a transfer syntax of PS3.5",
        remedy="Convert the file to Explicit VR Little Endian.",
    )


def decode_frame(dataset: pydicom.Dataset, layout: FrameFormat, index: int, limits: Limits) -> Decoded:
    """Decode one frame to (rows, columns) native uint8, int8, uint16 or int16.

    Compressed pixel data are taken out of the data set on the way: they are not kept beside the pixels.

    Raises:
        CorruptImageError: truncated, or contradicting the header.
        UnsupportedImageError: a compressed stream of another kind than grey.
        ImageTooLargeError: a compressed stream of too many scans, tiles or code-blocks.
    """
    if layout.syntax.is_encapsulated:
        source = encoded_frame(dataset.PixelData, index, layout.frames)
        del dataset.PixelData
        words, header, warnings = _decompress(source, layout, limits)
    else:
        words, header, warnings = _native_words(dataset, index), None, []
    samples, bits, bit_warnings = settle_bits(
        _checked(words, layout),
        layout.bits_stored,
        signed=layout.signed,
        lossy=layout.syntax in _LOSSY,
        stream=header,
    )
    allocated = max(layout.bits_allocated, 8 * samples.itemsize)
    layout = replace(layout, bits_stored=bits, bits_allocated=allocated)
    return Decoded(np.ascontiguousarray(samples), layout, [*warnings, *bit_warnings])


def _decompress(
    source: bytes, layout: FrameFormat, limits: Limits
) -> tuple[StoredPixels, FrameHeader | None, list[str]]:
    """Decode a compressed frame, without what follows its end marker."""
    codec = codec_for(layout.syntax)
    _check_length(source, layout)
    if codec.parse is None:
        return _decode_rle(source, layout), None, []
    header = codec.parse(source, limits)
    check_agrees(header, layout.rows, layout.columns)
    limits.check_passes(header.scans, layout.rows, layout.columns)
    rest = source[header.length :]
    warnings = []
    if not is_padding(rest):
        warnings.append(f"{len(rest):,} bytes after the end of the compressed frame are left out")
        source = source[: header.length]
    if codec.plugin:
        packed = encapsulate([source])
        del source, rest
        return _decode_with_pydicom(packed, layout, codec), header, warnings
    if header.process in _BASELINE_PROCESSES and header.precision == 8:
        check_jpeg(source, limits)
        return _decode_with_pillow(source), header, warnings
    if header.process == _LOSSLESS_PROCESS or (header.process, header.precision) == _EXTENDED_12:
        return _decode_with_gdcm(source, header, layout), header, warnings
    raise UnsupportedImageError(
        f"a JPEG frame of process FF{header.process:02X} with {header.precision} bits",
        expected="baseline with 8 bits, extended with 12, or lossless",
    )


def _check_length(source: bytes, layout: FrameFormat) -> None:
    """Refuse a compressed frame that is much longer than its pixels would be without compression."""
    plain = layout.rows * layout.columns * layout.bits_allocated // 8
    if len(source) > _LONGEST_OF_PLAIN * plain + _LONGEST_APPENDIX:
        raise CorruptImageError(
            f"a compressed frame of {len(source):,} bytes for {layout.rows} x {layout.columns} pixels",
            expected=f"fewer than the {plain:,} of the pixels themselves",
            remedy="Convert the file to Explicit VR Little Endian.",
        )


def _native_words(dataset: pydicom.Dataset, index: int) -> StoredPixels:
    """Uncompressed words with all of their bits; pydicom knows the byte orders of 8-bit pixels."""
    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    all_bits: dict[str, Any] = {"correct_unused_bits": False}
    try:
        return decoder.as_array(dataset, index=index, raw=True, **all_bits)[0]
    except (MemoryError, CxrExplainError):
        raise
    except Exception as error:
        raise _undecodable("uncompressed", error) from None


def _decode_rle(source: bytes, layout: FrameFormat) -> StoredPixels:
    try:
        return decode_rle(source, layout.rows, layout.columns, layout.bits_allocated // 8)
    except ValueError as error:
        raise _undecodable("RLE", error) from None


def _decode_with_pydicom(packed: bytes, layout: FrameFormat, codec: Codec) -> StoredPixels:
    """Decode a packed frame to words: unsigned, as pydicom's own corrections trust the stream's depth."""
    decoder = get_decoder(layout.syntax)
    try:
        return decoder.as_array(packed, index=0, raw=True, decoding_plugin=codec.plugin, **_options(layout))[
            0
        ]
    except MemoryError:
        raise
    except Exception as error:
        raise _undecodable(codec.name, error) from None


def _options(layout: FrameFormat) -> dict[str, Any]:
    return {
        "rows": layout.rows,
        "columns": layout.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.bits_stored,
        "pixel_representation": 0,
        "pixel_keyword": "PixelData",
        "apply_j2k_sign_correction": False,
        "apply_jls_sign_correction": False,
        "correct_unused_bits": False,
    }


def _decode_with_pillow(source: bytes) -> StoredPixels:
    # The class itself, not Image.open: the size was checked, and the global bomb limit is not ours.
    try:
        with JpegImagePlugin.JpegImageFile(BytesIO(source)) as image:
            return np.asarray(image)
    except Exception as error:
        raise _undecodable("JPEG", error) from None


def _decode_with_gdcm(source: bytes, header: FrameHeader, layout: FrameFormat) -> StoredPixels:
    """Decode with the stream's own precision.

    pydicom hands GDCM the Bits Stored of the data set and so has to refuse 12-bit JPEG extended; with the
    precision of the stream, GDCM decodes it. Samples of JPEG have no sign, so GDCM is told of none.
    """
    import gdcm

    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    # GDCM ends the process where fewer than 8 bits are said to be stored in 8.
    allocated, stored = (8, 8) if header.precision <= 8 else (16, header.precision)
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(source)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((layout.columns, layout.rows, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    lossless = header.process == _LOSSLESS_PROCESS
    syntax = uid.JPEGLossless if lossless else uid.JPEGExtended12Bit
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    image.SetPixelFormat(gdcm.PixelFormat(1, allocated, stored, stored - 1, 0))
    text = image.GetBuffer()
    raw = b"" if text is None else text.encode("utf-8", "surrogateescape")
    if len(raw) != layout.rows * layout.columns * allocated // 8:
        raise CorruptImageError(
            "JPEG data that GDCM cannot decode", remedy="The file is damaged or truncated."
        )
    return np.frombuffer(raw, f"<u{allocated // 8}").reshape(layout.rows, layout.columns)


def _checked(words: StoredPixels, layout: FrameFormat) -> Words:
    """The words in native byte order and without a sign, where they are such words at all."""
    if words.shape != (layout.rows, layout.columns) or words.dtype.kind not in "iu" or words.itemsize > 2:
        raise CorruptImageError(
            f"decoded pixels of shape {words.shape} and type {words.dtype}",
            expected=f"({layout.rows}, {layout.columns}) integers of 8 or 16 bits",
        )
    native = words.astype(words.dtype.newbyteorder("="), copy=False)
    return native.view(f"u{native.itemsize}")


def _undecodable(name: str, error: Exception) -> CorruptImageError:
    """Name what is known without passing on a text that may quote the header."""
    return CorruptImageError(
        f"{name} pixel data that cannot be decoded ({type(error).__name__})",
        expected="complete pixel data that agrees with the header",
        remedy="The file is damaged or truncated.",
    )
