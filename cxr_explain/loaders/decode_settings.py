"""How one file is to be decoded: what the boundary hands to the reader of a format."""

from __future__ import annotations

from dataclasses import dataclass

from cxr_explain.errors import OptionError
from cxr_explain.loaders.limits import DEFAULT_MAX_PIXELS, Limits
from cxr_explain.loaders.voi import VoiChoice
from cxr_explain.options import Rendering, check_option
from cxr_explain.support.whole_file import safe_stem

_TINY = 32


@dataclass(frozen=True)
class DecodeSettings:
    """The caller's options, and what is known of the file besides its bytes.

    Args:
        format: name of the file's format, as in `cxr_explain.loaders.formats.FORMATS`.
        sha256: hexadecimal digest of the file's bytes.
        stem: the file's name without folder and extension.
        voi: the parsed `voi=` option.
        xrv_compatible: whether to reproduce torchxrayvision's own reader.
        frame: index of the frame asked for, from 0; None where none was.
        max_pixels: largest number of pixels that is decoded; all other limits follow from it.
        metadata: keywords of the DICOM attributes to return.
        rendering: the grey levels that the model sees.
    """

    format: str
    sha256: str
    stem: str
    voi: VoiChoice
    xrv_compatible: bool = False
    frame: int | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS
    metadata: tuple[str, ...] = ()
    rendering: Rendering = "plain"

    @property
    def limits(self) -> Limits:
        """What reading the file may take."""
        return Limits(self.max_pixels)

    @property
    def hashed_id(self) -> str:
        """A name that says nothing about the patient."""
        return self.sha256[:12]

    @property
    def safe_id(self) -> str:
        """The stem with nothing in it that a file name should not have."""
        return safe_stem(self.stem) or self.hashed_id


def check_rendering(rendering: Rendering, *, xrv_compatible: bool) -> None:
    """Refuse a rendering that there is not, or one that torchxrayvision's reader does not have.

    Raises:
        OptionError: either.

    >>> check_rendering("equalised", xrv_compatible=True)
    Traceback (most recent call last):
    cxr_explain.errors.OptionError: found rendering='equalised' with xrv_compatible=True; expected one of ...
    """
    check_option("rendering", rendering, Rendering)
    if rendering != "plain" and xrv_compatible:
        raise OptionError(
            f"rendering={rendering!r} with xrv_compatible=True",
            expected="one of the two",
            remedy="torchxrayvision's own reader equalises nothing.",
        )


def size_warnings(rows: int, columns: int) -> list[str]:
    """Name an image too small to show a chest."""
    if min(rows, columns) < _TINY:
        return [f"only {rows} x {columns} pixels: too small for a reading"]
    return []
