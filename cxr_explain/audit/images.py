"""Where the images of a manifest are: a folder of this machine, or one of an object store."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from cxr_explain.audit.place import Place, is_url, place_at
from cxr_explain.errors import AuditError, ImageNotFoundError, OptionError, UnreadableImageError
from cxr_explain.loaders.settings import ReadSettings
from cxr_explain.radiograph import Radiograph
from cxr_explain.support.whole_file import staging_folder


class ImageFolder:
    """The images of a manifest; no path leaves their folder.

    It can be pickled, and opens its object store anew in each process.

    Args:
        where: a folder, or a URL that pyarrow or fsspec can read from.
        follow_links: whether links in the folder may lead out of it.

    Raises:
        OptionError: no such folder.
    """

    def __init__(self, where: str | os.PathLike[str], *, follow_links: bool = False) -> None:
        self.is_remote = is_url(where)
        self.where = os.fspath(where) if self.is_remote else os.path.realpath(where)
        self.follow_links = follow_links
        if not self.is_remote and not os.path.isdir(self.where):  # also of a name that no folder can have
            raise OptionError(
                "no folder of images", expected="the folder that the manifest's paths are relative to",
                source=os.fspath(where),
            )  # fmt: skip
        self._place: Place | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _image_folder, (self.where, self.follow_links)

    def read(self, path: str, settings: ReadSettings) -> Radiograph:
        """Read one image.

        Args:
            path: as the manifest has it, whose reader has refused `..` and absolute ones.
            settings: how to read the image.

        Raises:
            RadiographError: a file that `read_radiograph` refuses; a link that leads out of the folder; or an
                object that cannot be fetched.
        """
        if not self.is_remote:
            return settings.read(self._inside(path))
        self._place = self._place or place_at(self.where)
        try:
            data = self._place.read(path)
        except AuditError as error:
            missing = isinstance(error.__cause__, FileNotFoundError)
            kind = ImageNotFoundError if missing else UnreadableImageError
            raise kind(error.found, expected="an object of the image folder") from error
        with staging_folder(Path(gettempdir())) as folder:
            local = folder / Path(path).name
            local.write_bytes(data)
            return settings.read(local)

    def _inside(self, path: str) -> Path:
        full = Path(self.where) / path
        if not self.follow_links and self._leads_out(full):
            raise UnreadableImageError(
                "a link that leads out of the image folder",
                expected="a file inside it",
                remedy="Allow it with --follow-links, if the links are yours.",
            )
        return full

    def _leads_out(self, full: Path) -> bool:
        try:
            return not full.resolve().is_relative_to(self.where)
        except (OSError, RuntimeError, ValueError):  # links in a circle, a name that no file can have
            return False  # reading it says what is wrong


def _image_folder(where: str, follow_links: bool) -> ImageFolder:
    return ImageFolder(where, follow_links=follow_links)
