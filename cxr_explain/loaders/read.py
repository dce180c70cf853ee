"""The boundary of the loaders: one file in, one Radiograph or one clear error out."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cxr_explain.errors import (
    CorruptImageError,
    CxrExplainError,
    ImageNotFoundError,
    ImageTooLargeError,
    NotAnImageError,
    OptionError,
    UnreadableImageError,
    naming,
)
from cxr_explain.loaders.decode_settings import DecodeSettings, check_rendering
from cxr_explain.loaders.formats import FORMATS, FormatReader, ImageFormat
from cxr_explain.loaders.limits import DEFAULT_MAX_PIXELS, Limits
from cxr_explain.loaders.scope import quiet_decoders
from cxr_explain.loaders.sniff import describe, is_own_figure, sniff
from cxr_explain.loaders.voi import parse_voi
from cxr_explain.options import Rendering
from cxr_explain.radiograph import Radiograph

_REMEDIES: Final = {
    "a Git LFS pointer": "Run `git lfs pull` to fetch the file.",
    **dict.fromkeys(("a ZIP archive", "a gzip archive"), "Unpack it first."),
    **dict.fromkeys(
        ("a GIF image", "an AVIF image", "a JPEG 2000 file", "a bare JPEG 2000 codestream"),
        "Save it as an 8 or 16-bit grey PNG.",
    ),
    **dict.fromkeys(
        ("a NumPy array file", "a NIfTI volume", "an NRRD volume", "a MetaImage header"),
        "Radiograph.from_array takes a slice of it as an array.",
    ),
}


def read_radiograph(
    path: str | os.PathLike[str],
    *,
    voi: str | int | None = "auto",
    xrv_compatible: bool = False,
    frame: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    metadata: Sequence[str] = (),
    rendering: Rendering = "plain",
) -> Radiograph:
    """Read a chest radiograph of any of the formats in `cxr_explain.loaders.formats`, told apart by content.

    DICOM is one of them, and so are PNG, JPEG and TIFF.

    A DICOM image takes the steps of PS3.3 C.8.11.3 and PS3.4 N.2: decode, drop the bits above Bits Stored,
    leave out what a display shutter or padding hides, modality LUT, VOI, polarity once, scale by the VOI
    output range. Every step is recorded on the Radiograph, and so is what of the header is not applied. It
    reads the same whatever pydicom is set to.

    Args:
        path: the file.
        voi: the values of interest of a DICOM image. "auto" takes the header's first LUT or window that
            fits the pixels, else a fallback (see `cxr_explain.loaders.voi`); an index takes one of the
            header's LUTs and windows, counted in that order; "none" or None scales the modality output by
            its declared range; "CENTER/WIDTH" (for example "2048/4096") is a window of your own. Rasters
            have no VOI.
        xrv_compatible: reproduce torchxrayvision's reader (`xrv.utils.load_image`) bit for bit instead;
            `display` still takes the path above. Values outside of [-1024, 1024], which that reader gives
            for negative stored values, are kept and named in the warnings.
        frame: index of the frame of a multi-frame object.
        max_pixels: limit against decompression bombs, checked before decoding. What a file and its header
            may take besides follows from it, see `cxr_explain.loaders.limits`.
        metadata: DICOM attributes to return, by keyword; absent ones are left out. What you ask for is
            returned as it is, patient data included.
        rendering: the grey levels that the model sees. "plain" are those of the steps above. "equalised" are
            the stored values after scaling to 8 bits, polarity and histogram equalisation, as the JPEGs of
            MIMIC-CXR-JPG and CheXpert were made (see `cxr_explain.loaders.equalisation`); `display`, which
            figures show, stays plain, and `voi` acts on it alone.

    Raises:
        ImageNotFoundError: no such file.
        UnreadableImageError: a file that may not or cannot be read.
        NotAnImageError: unknown bytes, a folder, or an object without pixels.
        UnsupportedImageError: an image that is no grey radiograph ready for display.
        CorruptImageError: truncated or contradictory data.
        ImageTooLargeError: more pixels than `max_pixels`, or more bytes or parts than follow from it.
        OptionError: an argument with a value that it may not have.

    >>> import tempfile, PIL.Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     PIL.Image.new("L", (40, 50), 255).save(f"{folder}/white.png")
    ...     radiograph = read_radiograph(f"{folder}/white.png")
    >>> radiograph.shape, radiograph.format, float(radiograph.pixels.max())
    ((50, 40), 'PNG', 1024.0)
    """
    path = _path(path)
    with naming(path):
        parse_voi(voi)
        _check_options(frame, max_pixels)
        check_rendering(rendering, xrv_compatible=xrv_compatible)
        return read_radiograph_bytes(
            read_bounded(path, Limits(max_pixels)),
            Path(path).stem,
            voi=voi,
            xrv_compatible=xrv_compatible,
            frame=frame,
            max_pixels=max_pixels,
            metadata=metadata,
            rendering=rendering,
        )


def read_radiograph_bytes(
    data: bytes,
    stem: str,
    *,
    voi: str | int | None = "auto",
    xrv_compatible: bool = False,
    frame: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    metadata: Sequence[str] = (),
    rendering: Rendering = "plain",
) -> Radiograph:
    """Read a radiograph from a file's bytes, such as those that a server sent; see `read_radiograph`.

    Args:
        data: the bytes.
        stem: name of the radiograph, unless it repeats patient data of the header.
        voi: as for `read_radiograph`, and so are the others.
        xrv_compatible: reproduce torchxrayvision's reader.
        frame: index of the frame of a multi-frame object.
        max_pixels: the most pixels that an image may have.
        metadata: DICOM attributes to return, by keyword.
        rendering: the grey levels that the model sees.

    Raises:
        RadiographError: as `read_radiograph` does, but for what is said of files.
        OptionError: an argument with a value that it may not have.

    >>> read_radiograph_bytes(b"something", "a")
    Traceback (most recent call last):
    cxr_explain.errors.NotAnImageError: found ...; expected ...
    """
    choice = parse_voi(voi)
    _check_options(frame, max_pixels)
    check_rendering(rendering, xrv_compatible=xrv_compatible)
    Limits(max_pixels).check_bytes(len(data), "a file")
    known = _format_of(data)
    settings = DecodeSettings(
        format=known.name,
        sha256=hashlib.sha256(data).hexdigest(),
        stem=stem,
        voi=choice,
        xrv_compatible=xrv_compatible,
        frame=frame,
        max_pixels=max_pixels,
        metadata=tuple(metadata),
        rendering=rendering,
    )
    return _decode(known.load(), data, settings)


def _path(given: str | os.PathLike[str]) -> str:
    try:
        return os.fsdecode(given)
    except TypeError:
        raise OptionError(
            f"{type(given).__name__} where a file is named",
            expected="the path of a file",
            remedy="Radiograph.from_array takes pixels.",
        ) from None


def _format_of(data: bytes) -> ImageFormat:
    known = sniff(data)
    if known is None:
        expected = ", ".join(each.name for each in FORMATS)
        raise NotAnImageError(describe(data), expected=expected, remedy=_remedy_for(data))
    if is_own_figure(data):
        raise NotAnImageError(
            "a figure that cxr-explain drew",
            expected="a radiograph",
            remedy="Give the radiograph that it was drawn from.",
        )
    return known


def _decode(read: FormatReader, data: bytes, settings: DecodeSettings) -> Radiograph:
    """Read; nothing but this package's own errors comes out."""
    try:
        with quiet_decoders():
            return read(data, settings)
    except CxrExplainError:
        raise
    except MemoryError:
        raise ImageTooLargeError(
            f"a {settings.format} file that needs more memory than there is",
            remedy="Lower max_pixels= / --max-pixels to refuse such files early.",
        ) from None
    except Exception as error:
        # The text of an unexpected exception may quote the header, so only its type is passed on.
        raise CorruptImageError(
            f"a {settings.format} file that cannot be decoded ({type(error).__name__})",
            remedy="Check that the file was transferred completely.",
        ) from None


def _check_options(frame: int | None, max_pixels: int) -> None:
    if isinstance(frame, bool) or not isinstance(frame, int | None) or (frame is not None and frame < 0):
        raise OptionError(f"frame={frame!r}", expected="an index from 0, or None")
    if isinstance(max_pixels, bool) or not isinstance(max_pixels, int) or max_pixels < 1:
        raise OptionError(f"max_pixels={max_pixels!r}", expected="a whole number of pixels from 1")


def read_bounded(path: str | os.PathLike[str], limits: Limits) -> bytes:
    """Read a file once, so that the digest is of the very bytes that are decoded.

    Args:
        path: the file.
        limits: how many bytes it may have.

    Raises:
        ImageNotFoundError: no such file.
        NotAnImageError: a folder, or no regular file.
        UnreadableImageError: a file that may not or cannot be read.
        ImageTooLargeError: more bytes than the limit.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise NotAnImageError(
                "a folder" if stat.S_ISDIR(mode) else "no regular file",
                expected="one image file",
                remedy="Name the files one by one." if stat.S_ISDIR(mode) else None,
            )
        with open(path, "rb") as stream:
            data = stream.read(limits.bytes + 1)
    except (FileNotFoundError, NotADirectoryError):
        what = "a link that leads nowhere" if os.path.islink(path) else "no such file"
        raise ImageNotFoundError(what, remedy="Check the path.") from None
    except PermissionError:
        raise UnreadableImageError(
            "a file that may not be read", remedy="Check the permissions of the file and its folder."
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a valid path"
        raise UnreadableImageError(f"a file that cannot be read ({reason})") from None
    limits.check_bytes(len(data), "a file")
    return data


def _remedy_for(data: bytes) -> str | None:
    return _REMEDIES.get(describe(data))
