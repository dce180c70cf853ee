"""How files are read: the settings that the command line, the record of an audit and MONAI share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any, TypedDict

from cxr_explain.loaders.decode_settings import check_rendering
from cxr_explain.loaders.limits import DEFAULT_MAX_PIXELS
from cxr_explain.loaders.read import read_radiograph, read_radiograph_bytes
from cxr_explain.loaders.voi import parse_voi
from cxr_explain.options import Rendering
from cxr_explain.radiograph import Radiograph


class ReadOptions(TypedDict, total=False):
    """The keyword arguments of `read_radiograph` that change pixels; see `ReadSettings`."""

    voi: str | int | None
    xrv_compatible: bool
    frame: int | None
    max_pixels: int
    rendering: Rendering


@dataclass(frozen=True)
class ReadSettings:
    """How radiographs are read; see `read_radiograph` for each.

    Args:
        voi: the values of interest of a DICOM image.
        xrv_compatible: reproduce torchxrayvision's reader.
        frame: index of the frame of a multi-frame object.
        max_pixels: the most pixels that an image may have.
        rendering: the grey levels that the model sees.

    Raises:
        OptionError: values of interest that nobody can read, or a rendering that does not go with
            torchxrayvision's reader, said before any file is.

    >>> ReadSettings(voi="none").max_pixels
    50000000
    """

    voi: str | int | None = "auto"
    xrv_compatible: bool = False
    frame: int | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS
    rendering: Rendering = "plain"

    def __post_init__(self) -> None:
        parse_voi(self.voi)
        check_rendering(self.rendering, xrv_compatible=self.xrv_compatible)

    def said(self) -> dict[str, Any]:
        """As records and journals keep it: without a plain rendering, as before there was another.

        >>> "rendering" in ReadSettings().said(), ReadSettings(rendering="equalised").said()["rendering"]
        (False, 'equalised')
        """
        said = asdict(self)
        if self.rendering == "plain":
            del said["rendering"]
        return said

    def read(self, path: str | PathLike[str]) -> Radiograph:
        """Read one file; see `read_radiograph`."""
        return read_radiograph(path, **vars(self))

    def read_bytes(self, data: bytes, stem: str) -> Radiograph:
        """Read a file's bytes, such as those that a server sent; see `read_radiograph_bytes`."""
        return read_radiograph_bytes(data, stem, **vars(self))
