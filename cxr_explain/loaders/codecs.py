"""Decoding of one grey DICOM frame, by the codec trusted most for each transfer syntax.

Pillow for 8-bit JPEG, GDCM for lossless and 12-bit JPEG, CharLS (pyjpegls) for JPEG-LS, OpenJPEG (pylibjpeg)
for JPEG 2000 and HTJ2K, pydicom itself for RLE and uncompressed data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import JpegImagePlugin
from pydicom import uid
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder

from cxr_explain.errors import CorruptImageError, UnsupportedImageError
from cxr_explain.loaders.codestream import FrameHeader, check_agrees, parse_j2k, parse_jpeg

StoredPixels = NDArray[np.integer]


@dataclass(frozen=True)
class FrameFormat:
    """How the data set says that its frames are stored.

    Args:
        syntax: the transfer syntax.
        rows: height in pixels.
        columns: width in pixels.
        frames: how many frames there are.
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
class Codec:
    """A transfer syntax family: its name for people, its header, and pydicom's plugin for it."""

    name: str
    parse: Callable[[bytes], FrameHeader] | None = None
    plugin: str = ""


_CODECS: dict[str, Codec] = {
    uid.ImplicitVRLittleEndian: Codec("uncompressed data"),
    uid.ExplicitVRLittleEndian: Codec("uncompressed data"),
    uid.ExplicitVRBigEndian: Codec("uncompressed big endian data"),
    uid.DeflatedExplicitVRLittleEndian: Codec("deflated data"),
    uid.RLELossless: Codec("RLE", None, "pydicom"),
    uid.JPEGBaseline8Bit: Codec("JPEG baseline", parse_jpeg),
    uid.JPEGExtended12Bit: Codec("JPEG extended", parse_jpeg),
    uid.JPEGLossless: Codec("JPEG lossless", parse_jpeg),
    uid.JPEGLosslessSV1: Codec("JPEG lossless", parse_jpeg),
    uid.JPEGLSLossless: Codec("JPEG-LS lossless", parse_jpeg, "pyjpegls"),
    uid.JPEGLSNearLossless: Codec("JPEG-LS near-lossless", parse_jpeg, "pyjpegls"),
    uid.JPEG2000Lossless: Codec("JPEG 2000 lossless", parse_j2k, "pylibjpeg"),
    uid.JPEG2000: Codec("JPEG 2000", parse_j2k, "pylibjpeg"),
    uid.HTJ2KLossless: Codec("HTJ2K lossless", parse_j2k, "pylibjpeg"),
    uid.HTJ2KLosslessRPCL: Codec("HTJ2K lossless", parse_j2k, "pylibjpeg"),
    uid.HTJ2K: Codec("HTJ2K", parse_j2k, "pylibjpeg"),
}
_BASELINE_PROCESSES = frozenset({0xC0, 0xC1, 0xC2})
# GDCM writes DCT frames of "16 bits", which ISO 10918-1 table B.2 does not know, and misreads them itself.
_EXTENDED_12 = (0xC1, 12)
_LOSSLESS_PROCESS = 0xC3
_MAX_FRAMES = 1_000_000


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


def decode_frame(dataset: pydicom.Dataset, layout: FrameFormat, index: int) -> StoredPixels:
    """Decode one frame to (rows, columns) native uint8, int8, uint16 or int16.

    Raises:
        CorruptImageError: truncated, or contradicting the header.
        UnsupportedImageError: a compressed stream of another kind than grey.
    """
    codec = codec_for(layout.syntax)
    header = None
    source = b""
    if layout.syntax.is_encapsulated:
        source = _encoded_frame(dataset, layout, index)
        if codec.parse is not None:
            header = codec.parse(source)
            check_agrees(header, layout.rows, layout.columns)
    if header is None or codec.plugin:
        frame = _decode_with_pydicom(dataset, codec, index)
    elif header.process in _BASELINE_PROCESSES and header.precision == 8:
        frame = _decode_with_pillow(source)
    elif header.process == _LOSSLESS_PROCESS or (header.process, header.precision) == _EXTENDED_12:
        frame = _decode_with_gdcm(source, header, layout)
    else:
        raise UnsupportedImageError(
            f"a JPEG frame of process FF{header.process:02X} with {header.precision} bits",
            expected="baseline with 8 bits, extended with 12, or lossless",
        )
    return _as_native(frame, layout)


def _encoded_frame(dataset: pydicom.Dataset, layout: FrameFormat, index: int) -> bytes:
    if layout.frames > _MAX_FRAMES:
        raise CorruptImageError(f"{layout.frames} frames", expected=f"at most {_MAX_FRAMES}")
    try:
        return bytes(get_frame(dataset.PixelData, index, number_of_frames=layout.frames))
    except MemoryError:
        raise
    except Exception:
        raise CorruptImageError(
            f"no frame {index} in the compressed pixel data",
            remedy="The file is truncated or damaged: transfer it again.",
        ) from None


def _decode_with_pydicom(dataset: pydicom.Dataset, codec: Codec, index: int) -> StoredPixels:
    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    try:
        array, _ = decoder.as_array(dataset, index=index, raw=True, decoding_plugin=codec.plugin)
    except MemoryError:
        raise
    except Exception as error:
        raise _undecodable(codec.name, error) from None
    return array


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
    precision of the stream, GDCM decodes it.
    """
    import gdcm

    gdcm.Trace.WarningOff()
    gdcm.Trace.ErrorOff()
    allocated = 8 if header.precision <= 8 else 16
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
    image.SetPixelFormat(
        gdcm.PixelFormat(1, allocated, header.precision, header.precision - 1, int(layout.signed))
    )
    text = image.GetBuffer()
    raw = b"" if text is None else text.encode("utf-8", "surrogateescape")
    if len(raw) != layout.rows * layout.columns * allocated // 8:
        raise CorruptImageError(
            "JPEG data that GDCM cannot decode", remedy="The file is damaged or truncated."
        )
    frame = np.frombuffer(raw, f"<{'i' if layout.signed else 'u'}{allocated // 8}")
    unused = allocated - header.precision
    return ((frame << unused) >> unused).reshape(layout.rows, layout.columns)


def _as_native(frame: StoredPixels, layout: FrameFormat) -> StoredPixels:
    if frame.shape != (layout.rows, layout.columns) or frame.dtype.kind not in "iu" or frame.itemsize > 2:
        raise CorruptImageError(
            f"decoded pixels of shape {frame.shape} and type {frame.dtype}",
            expected=f"({layout.rows}, {layout.columns}) integers of 8 or 16 bits",
        )
    native = frame.astype(frame.dtype.newbyteorder("="), copy=False)
    if layout.signed and native.dtype.kind == "u":
        native = native.view(f"i{native.itemsize}")
    return np.ascontiguousarray(native)


def _undecodable(name: str, error: Exception) -> CorruptImageError:
    """Name what is known without passing on a text that may quote the header."""
    return CorruptImageError(
        f"{name} pixel data that cannot be decoded ({type(error).__name__})",
        expected="complete pixel data that agrees with the header",
        remedy="The file is damaged or truncated.",
    )
