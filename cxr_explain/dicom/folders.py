"""Where the objects of many sources are written: a folder for each, which no other source's objects enter."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Final

from pydicom import Dataset

from cxr_explain.dicom.content import MANUFACTURER
from cxr_explain.dicom.kinds import OBJECT_KINDS
from cxr_explain.errors import OptionError
from cxr_explain.explaining.many import make_output_folder
from cxr_explain.explaining.output_names import names_for
from cxr_explain.loaders.header import parse_header, text
from cxr_explain.support.whole_file import output_errors, safe_stem, write_together

COPY: Final = "radiograph.dcm"
"""The de-identified copy of a source, beside the objects that refer to it."""

FILES: Final = (*(f"{kind}.dcm" for kind in OBJECT_KINDS), COPY)
"""All that is ever written into the folder of a source."""


class ObjectFolders:
    """The folders of one run.

    What an earlier run wrote is replaced by the objects of the same source alone: theirs refer to it.

    Args:
        output: folder for the folders; made if it is missing.

    Raises:
        OutputError: it cannot be made.
    """

    def __init__(self, output: Path) -> None:
        make_output_folder(output)
        self.output = output
        self._taken: dict[str, Hashable] = {}

    def folder(self, name: str, *, instance: str, sha256: str, source: Hashable = None) -> Path:
        """The folder of a source, which is not made yet.

        Args:
            name: what the folder is called, made a safe name, if no other source has a folder of that name.
            instance: SOP Instance UID of the source.
            sha256: hexadecimal digest of the source's file.
            source: what tells the source from others of this run, such as its path; by default its digest.
        """
        mine = sha256 if source is None else source
        plain = safe_stem(name) or sha256[:12]
        free = next(each for each in names_for(plain, sha256) if self._may_have(each, instance, mine))
        self._taken[free.casefold()] = mine
        return self.output / free

    def _may_have(self, name: str, instance: str, source: Hashable) -> bool:
        known = self._taken.get(name.casefold())
        return known == source if known is not None else not _is_of_another(self.output / name, instance)


def write_objects(folder: Path, files: Mapping[str, bytes], outdated: Iterable[str] = ()) -> None:
    """Write what belongs to one source: all of it, or nothing.

    Args:
        folder: as `ObjectFolders.folder` gave it.
        files: content by name.
        outdated: names of files of an earlier run that would not belong to these.

    Raises:
        OutputError: a folder that cannot be written to.
    """
    with output_errors("DICOM objects", folder):
        write_together(folder, files)
        for name in outdated:
            (folder / name).unlink(missing_ok=True)


def check_new_or_empty(output: Path) -> None:
    """Refuse a folder in which there is something.

    Raises:
        OptionError: there is.
    """
    if os.path.lexists(output) and (not output.is_dir() or any(output.iterdir())):
        raise OptionError(
            "a folder that is not empty, for files that are de-identified without a key",
            expected="a new folder: what an earlier run wrote has other unique identifiers",
            remedy="Name another folder, or a key with --deidentify-key.",
            source=output,
        )


def _is_of_another(folder: Path, instance: str) -> bool:
    """Whether files lie there that would be replaced, and that are of another source, or of another maker."""
    if not os.path.lexists(folder):
        return False
    if folder.is_symlink() or not folder.is_dir():
        return True
    there = (folder / name for name in FILES if os.path.lexists(folder / name))
    return not all(_is_of(path, instance) for path in there)


def _is_of(path: Path, instance: str) -> bool:
    """Whether a file is an object of ours that refers to a source, or the copy of the source itself."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        header = parse_header(path)
        if path.name == COPY:
            return text(header, "SOPInstanceUID") == instance
        return text(header, "Manufacturer") == MANUFACTURER and instance in _referred_to(header)
    except Exception:  # of a file that anybody may have put there
        return False


def _referred_to(header: Dataset) -> set[str]:
    return {str(each.value) for each in header.iterall() if each.keyword == "ReferencedSOPInstanceUID"}
