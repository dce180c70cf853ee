"""Paths in a manifest: POSIX, relative to a folder, and never out of that folder."""

from __future__ import annotations

import re
from pathlib import Path

from cxr_explain.errors import ManifestError
from cxr_explain.reference.problems import quoted
from cxr_explain.support.links import followed, is_inside

_LONGEST = 4096
_PLAIN = re.compile(r"(?:[A-Za-z0-9_][\w .()&+-]{0,200}/)*[A-Za-z0-9_][\w .()&+-]{0,200}", re.ASCII)
_DRIVE = re.compile(r"^[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def path_problem(path: str) -> str | None:
    """What forbids a path in a manifest; None where nothing does.

    >>> path_problem("images/00000001_000.png") is None
    True
    >>> path_problem("../secret.png")
    "the path '../secret.png', which has a part '..'"
    """
    if len(path) <= _LONGEST and _PLAIN.fullmatch(path):
        return None
    reason = _reason(path)
    return reason and f"the path {quoted(path)}, which {reason}"


def without_root(path: str) -> str:
    r"""A path of another machine as a relative POSIX path, for finding a file by its name.

    >>> without_root(r"C:\data\images\a.png"), without_root("/data/./a.png")
    ('data/images/a.png', 'data/a.png')
    """
    parts = _DRIVE.sub("", path.strip().replace("\\", "/"), count=1).split("/")
    return "/".join(part for part in parts if part not in ("", "."))


def stem_of(path: str) -> str:
    """The name of a file without its extension; the last number of a UID is none.

    >>> stem_of("p1/a.png"), stem_of("1.2.840.10008")
    ('a', '1.2.840.10008')
    """
    name = path.rpartition("/")[2]
    stem, _, ending = name.rpartition(".")
    return stem if stem and not ending.isdecimal() else name


def file_inside(folder: Path, path: str) -> Path:
    """The file that a manifest's path names; links are followed as long as they stay in the folder.

    Args:
        folder: the folder of the images, or of the masks.
        path: path as the manifest has it, relative to the folder.

    Returns:
        The resolved path; the file may not exist.

    Raises:
        ManifestError: a path that a manifest may not have, or a link that leaves the folder.
    """
    problem = path_problem(path)
    if problem:
        raise ManifestError(problem, expected="a path relative to its folder")
    try:
        root = folder.resolve()
        found = followed(root, path) if is_inside(root, path) else None
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a name beyond the limits
        raise ManifestError(
            f"the path {quoted(path)}, which cannot be followed ({type(error).__name__})"
        ) from None
    if found is None:
        raise ManifestError(
            f"the path {quoted(path)}, which leaves its folder through a link",
            expected="files inside of the folder",
            remedy="Name the folder that holds the files themselves.",
        )
    return found


def _reason(path: str) -> str | None:
    if not path:
        return "is empty"
    if _CONTROL.search(path):
        return "has a control character"
    if "\\" in path:
        return "has a backslash"
    if path.startswith("/") or _DRIVE.match(path):
        return "is absolute"
    if len(path) > _LONGEST:
        return f"has more than {_LONGEST} characters"
    odd = next((part for part in path.split("/") if part in ("", ".", "..")), None)
    return None if odd is None else f"has a part {odd!r}"
