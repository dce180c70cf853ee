"""Where the files of a data set are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cxr_explain.errors import ManifestError
from cxr_explain.reference.problems import quoted

_DEEPEST = 4
"""How many folders deep images are looked for: NIH's are one or two deep, VinDr-CXR's and RSNA's one."""


def folder_of(source: str | os.PathLike[str]) -> Path:
    """The folder of a data set.

    Raises:
        ManifestError: no folder.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise ManifestError("no folder", expected="the folder of the data set", source=folder)
    return folder


def first_file(folder: Path, *patterns: str) -> Path | None:
    """The first file whose name matches, of the first pattern that any matches; None without one."""
    for pattern in patterns:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if found:
            return found[0]
    return None


def required_file(folder: Path, *patterns: str) -> Path:
    """The first file whose name matches, of the first pattern that any matches.

    Raises:
        ManifestError: no such file.
    """
    found = first_file(folder, *patterns)
    if found is None:
        raise ManifestError(f"no {patterns[0]}", expected=f"one of {', '.join(patterns)}", source=folder)
    return found


def paths_of(names: Iterable[str], images: Path, *, otherwise: str, ending: str | None = None) -> list[str]:
    """Paths of image files below a folder, by their names; each folder is listed once.

    Args:
        names: of the image files.
        images: the folder that the paths are relative to.
        otherwise: the folder named for a file that is not there, relative to `images`; may be empty.
        ending: of a file that is not there, such as ".dcm", where the names are without extensions; None
            where they have them.

    Returns:
        POSIX paths in the order of the names; whether each file is there is `check_manifest`'s matter.

    Raises:
        ManifestError: one name in two folders.
    """
    wanted = list(names)
    there = _found(frozenset(wanted), images, by_stem=ending is not None)
    prefix = f"{otherwise}/" if otherwise else ""
    return [there.get(name, f"{prefix}{name}{ending or ''}") for name in wanted]


def _found(names: frozenset[str], images: Path, *, by_stem: bool) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for path, file in _files(images):
        name = os.path.splitext(file)[0] if by_stem else file
        if name not in names:
            continue
        if found.setdefault(name, path) != path:
            raise ManifestError(
                f"{quoted(name)} as {quoted(found[name])} and as {quoted(path)}",
                expected="each image once",
                remedy="Name the folder of the images to take.",
                source=images,
            )
    return found


def _files(root: Path) -> Iterator[tuple[str, str]]:
    """(path, name) of the files below a folder; linked folders are not entered."""
    pending = [("", 0)]
    while pending:
        prefix, depth = pending.pop()
        try:
            with os.scandir(f"{root}/{prefix}") as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue  # a folder that may not be read: its images count as missing
        for entry in listed:
            if not entry.is_dir():
                yield prefix + entry.name, entry.name
            elif depth < _DEEPEST and (depth == 0 or not entry.is_symlink()):
                pending.append((f"{prefix}{entry.name}/", depth + 1))
