"""Where a path of this machine leads, found without asking another machine."""

from __future__ import annotations

import errno
import os
from pathlib import Path, PurePath

_AUTOMOUNTERS = frozenset({"net", "afs", "network"})
"""Folders of the root, below which a name is taken for a host to be asked: autofs, AFS, macOS."""

_MOST_LINKS = 40  # as Linux has it


class LeadsToHostError(OSError):
    """A path that leads to another machine."""


def host_of(path: PurePath) -> str | None:
    r"""The host that is asked for a path: of a UNC path, or below a folder that mounts hosts by their names.

    '' is for that folder itself, which names none yet.

    >>> host_of(PurePath("/net/server/images")), host_of(PurePath("/data/net/images"))
    ('server', None)
    """
    if path.drive.startswith(("\\\\", "//")):
        return path.drive.casefold()
    parts = path.parts[1:] if path.root and not path.drive else ()
    if not parts or parts[0].casefold() not in _AUTOMOUNTERS:
        return None
    return "/".join(parts[1:2]).casefold()


def followed(folder: Path, path: str) -> Path:
    """What a path in a folder leads to, links followed, but never to a host that the folder is not on.

    As `Path.resolve`, but each link is read before anybody looks at what it leads to: one to `/net/host`
    costs no request.

    Args:
        folder: an absolute path.
        path: relative to the folder; it need not exist.

    Raises:
        LeadsToHostError: the path, or a link on the way, leads to another machine.
        OSError: links in a circle.

    >>> followed(Path("/data"), "nowhere/../a").as_posix()
    '/data/a'
    """
    here, rest, links = Path(folder.anchor), [*_reversed(Path(path)), *_reversed(folder)], 0
    while rest:
        part = rest.pop()
        step = here.parent if part == ".." else here / part
        if host_of(step) not in (None, "", host_of(folder)):
            raise LeadsToHostError(errno.EREMOTE, "a path to another machine", os.fspath(folder / path))
        target = None if part == ".." else _target(step)
        if target is None:
            here = step
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(folder / path))
        here = Path(target.anchor) if target.is_absolute() else here
        rest += _reversed(target)
    return here


def is_inside(folder: Path, path: str) -> bool:
    """Whether no link on the way from a folder to what is in it leads out.

    Args:
        folder: the folder, which is wherever its own links lead.
        path: relative to the folder; it need not exist.

    Raises:
        OSError: links in a circle.

    >>> is_inside(Path("/data"), "a/b.png"), is_inside(Path("/data"), "../b.png")
    (True, False)
    """
    root = Path(os.path.realpath(folder))
    try:
        return followed(root, path).is_relative_to(root)
    except LeadsToHostError:
        return False


def leads_to_host(folder: Path, path: str) -> bool:
    """Whether what is in a folder leads to another machine; that one is not asked.

    Args:
        folder: an absolute path.
        path: relative to the folder; it need not exist.
    """
    try:
        followed(folder, path)
    except LeadsToHostError:
        return True
    except OSError:
        return False
    return False


def _reversed(path: Path) -> list[str]:
    """The parts of a path without the root, the last one first."""
    return list(reversed(path.parts[1:] if path.anchor else path.parts))


def _target(path: Path) -> Path | None:
    """Where a link leads; None for what is none."""
    try:
        return Path(os.readlink(path))
    except OSError:
        return None
