"""Looking through a folder: its files, and whatever is passed over, by its reason and by its name."""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from cxr_explain.loaders.sniff import is_dicomdir, is_own_figure, sniff

_SNIFFED_BYTES = 2048
_SHOWN = 5

LINKED_FOLDER = "linked folders, which are searched where they are named themselves"
NOWHERE = "links that lead nowhere"
SPECIAL = "pipes and devices"
FORBIDDEN = "folders that may not be read"
INDEX = "the index of a disc"
FIGURES = "figures that cxr-explain drew"


class FolderSearch:
    """The files below a folder, and what was passed over on the way.

    Linked files are files; linked folders are not entered, as they may lead round in a circle.

    Args:
        folder: the folder.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as name:
    ...     Path(name, "gone.png").symlink_to("nowhere")
    ...     search = FolderSearch(Path(name))
    ...     list(search.files()), [note.removeprefix(name) for note in search.notes()]
    ([], [": passed over links that lead nowhere: 'gone.png'"])
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._passed_over: dict[str, list[str]] = defaultdict(list)

    def files(self) -> Iterator[Path]:
        """The files, hidden ones too; a file that may not be read is one, and fails under its own name."""
        for where, folders, names in os.walk(self.folder, onerror=self._forbidden):
            for path in (Path(where, name) for name in folders):
                if path.is_symlink():
                    self.pass_over(path, LINKED_FOLDER)
            for path in (Path(where, name) for name in names):
                reason = _no_file(path)
                if reason is None:
                    yield path
                else:
                    self.pass_over(path, reason)

    def pass_over(self, path: Path, reason: str) -> None:
        """Note what is not taken.

        Args:
            path: a file or a folder below this one.
            reason: what it is, in the plural.
        """
        self._passed_over[reason].append(os.path.relpath(path, self.folder))

    def notes(self) -> list[str]:
        """What was passed over, a line for each reason."""
        return [
            f"{self.folder}: passed over {reason}: {_named(names)}"
            for reason, names in sorted(self._passed_over.items())
        ]

    def _forbidden(self, error: OSError) -> None:
        self.pass_over(Path(error.filename), FORBIDDEN)


def kind_of(path: Path) -> str | None:
    """What a file is by its first bytes: a format's name, "DICOMDIR", "figure", or None where it is no image.

    Raises:
        OSError: a file that cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_SNIFFED_BYTES)
    found = sniff(head)
    if found is None:
        return None
    if is_own_figure(head):
        return "figure"
    return "DICOMDIR" if found.name == "DICOM" and is_dicomdir(head) else found.name


def _no_file(path: Path) -> str | None:
    try:
        return None if stat.S_ISREG(path.stat().st_mode) else SPECIAL
    except (FileNotFoundError, NotADirectoryError):
        return NOWHERE
    except OSError:  # a circle of links; or a file that may not be looked at
        return NOWHERE if path.is_symlink() else None


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, sorted(names)[:_SHOWN])) + more
