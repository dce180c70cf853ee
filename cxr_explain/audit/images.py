"""Where the images of a manifest are: a folder of this machine or of an object store, or a PACS."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from cxr_explain.audit.address import folder_of
from cxr_explain.audit.remote import remote_images
from cxr_explain.errors import OptionError, UnreadableImageError
from cxr_explain.loaders.limits import Limits
from cxr_explain.loaders.read import read_bounded
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.links import is_inside, leads_to_host

Links = Literal["inside", "here", "anywhere"]
"""Where a link in the folder may lead: no further than the folder, this machine, or another's folder."""


class ImageFolder:
    """The images of a manifest; no path leaves their folder.

    It can be pickled, and opens its object store or its server anew in each process, which has credentials of
    its own.

    Args:
        where: a folder, a URL that pyarrow or fsspec can read from, or `dicomweb+` and the address of a
            DICOMweb server.
        links: where links in the folder may lead.

    Raises:
        OptionError: no such folder, or a DICOMweb server over plain http on another machine.
        AuditError: a `file://` URL of another machine.
        DicomWebError: no address of a DICOMweb server, or one with a password in it.
        MissingExtraError: no DICOMweb client is installed.
    """

    def __init__(self, where: str | os.PathLike[str], *, links: Links = "inside") -> None:
        folder = folder_of(where)
        self.folder = None if folder is None else _resolved(folder)
        self.where = os.fspath(where) if self.folder is None else str(self.folder)
        self.links = links
        if self.folder is not None and not os.path.isdir(self.folder):
            raise OptionError(
                "no folder of images", expected="the folder that the manifest's paths are relative to",
                source=os.fspath(where),
            )  # fmt: skip
        self._remote = remote_images(self.where) if self.folder is None else None

    def __reduce__(self) -> tuple[Any, ...]:
        return _image_folder, (self.where, self.links)

    def read(self, path: str, settings: ReadSettings) -> Radiograph:
        """Read one image.

        Args:
            path: as the manifest has it, whose reader has refused `..` and absolute ones.
            settings: how to read the image.

        Raises:
            RadiographError: a file that `read_radiograph` refuses; a link that leads out of the folder; or an
                image that cannot be fetched.
            AuditError: no image of this folder can be fetched.
        """
        if self._remote is not None:
            return settings.read_bytes(self._remote.fetched(path), self._remote.stem(path))
        return settings.read(self._inside(self.local(), path))

    def content(self, path: str, settings: ReadSettings) -> bytes:
        """The bytes of one image's file.

        Args:
            path: as for `read`.
            settings: how the image is read, which limits its size.

        Raises:
            RadiographError: as for `read`, but for what is in the file.
            AuditError: no image of this folder can be fetched.
        """
        if self._remote is not None:
            return self._remote.fetched(path)
        return read_bounded(self._inside(self.local(), path), Limits(settings.max_pixels))

    def local(self) -> Path:
        """The folder itself, for files that are read in place.

        Raises:
            OptionError: an object store or a server.
        """
        if self.folder is None:
            raise OptionError(
                "a place beyond this machine, from which no masks are read",
                expected="a folder of this machine",
                remedy="Name a copy with --images, images=.",
            )
        return self.folder

    def _inside(self, folder: Path, path: str) -> Path:
        if self._leads_out(folder, path):
            raise UnreadableImageError(
                "a link that leads out of the image folder",
                expected="a file inside it",
                remedy="Allow it with --follow-links, if the links are yours.",
            )
        return folder / path

    def _leads_out(self, folder: Path, path: str) -> bool:
        try:
            if self.links == "inside":
                return not is_inside(folder, path)
            return self.links == "here" and leads_to_host(folder, path)
        except (OSError, ValueError):  # links in a circle, a name that no file can have
            return False  # reading it says what is wrong


def _resolved(folder: Path) -> Path:
    """The folder behind its links; a name that no folder can have as it is."""
    try:
        return Path(os.path.realpath(folder))
    except (OSError, ValueError):
        return folder


def _image_folder(where: str, links: Links) -> ImageFolder:
    return ImageFolder(where, links=links)
