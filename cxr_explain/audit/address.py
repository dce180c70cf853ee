"""How places are named: what is a folder of this machine, what only a URL reaches, and what is shown."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.request import url2pathname

from cxr_explain.errors import AuditError
from cxr_explain.reference.problems import quoted
from cxr_explain.support.links import followed, host_of

_URL = re.compile(r"[a-z][a-z0-9+.-]+(?:::[^/]*)*://", re.IGNORECASE)  # also chains: simplecache::s3://
_FILE_URL = re.compile(
    r"(?:file|local):(?=/)(?://(?P<host>[^/?#]*))?(?P<path>[^?#]*)(?P<rest>.*)", re.IGNORECASE | re.DOTALL
)
_UNC = re.compile(r"[\\/]{2}")
_KEY = re.compile(r"//(?:[^/?]*@|[^/?@]*(?<!:):(?!:|\d*(?:[/?#]|$)).*@)")  # a key's slash may be unescaped
_HALF_A_KEY = re.compile(r"//[^/]*(?<!:):(?!:|\d*(?:/|$))[^/]*")
_LAST_SLASHES = re.compile(r"(?<![:/])/+$")
_LONGEST_SHOWN = 200


def folder_of(where: str | os.PathLike[str]) -> Path | None:
    """The folder of this machine that a place is; None for one that only a URL reaches.

    A `file://` URL of this machine is the same as the plain path, and may be percent-encoded.

    Args:
        where: a folder or a URL, as the user named it.

    Raises:
        AuditError: a `file://` URL of another machine, or with more in it than a path.

    Source:
        RFC 8089, section 2: the host is empty or "localhost", or the file is another machine's.

    >>> folder_of("file://localhost/runs/a%20b").as_posix(), folder_of("s3://bucket/runs")
    ('/runs/a b', None)
    """
    text = os.fspath(where)
    url = _FILE_URL.fullmatch(text)
    if url is None:
        return None if _URL.match(text) else Path(text)
    is_ours = (url["host"] or "").casefold() in ("", "localhost")
    if not is_ours or not url["path"] or url["rest"] or "%00" in url["path"]:
        raise AuditError(
            "a file:// URL that is not a path alone" if is_ours else "a file:// URL of another machine",
            expected="a folder of this machine, such as file:///folder",
            remedy="Name the folder by its path.",
            source=without_secrets(text),
        )
    return Path(url2pathname(url["path"]))


def folder_told_by(document: str, where: str) -> str:
    """The folder of this machine that a document of a run names; it may name no other machine.

    Whoever wrote the document chose the host, and an object store is asked with the reader's own keys.

    Args:
        document: the document's name, for the message.
        where: what it says.

    Raises:
        AuditError: a URL, a path of another host, or no absolute path.

    >>> folder_told_by("place.json", "s3://bucket/images")
    Traceback (most recent call last):
    cxr_explain.errors.AuditError: s3://bucket/images: found a place that only place.json names, and ...
    """
    try:
        folder = folder_of(where)
        if folder is not None and _is_here(folder) and not _UNC.match(where):
            return str(folder)
    except (AuditError, OSError, ValueError):  # which is no folder of this machine
        pass
    raise AuditError(
        f"a place that only {document} names, and that may be on another machine",
        expected="a folder of this machine",
        remedy="If you know the place, name it with --images, images=.",
        source=_in_a_message(where),
    )


def without_secrets(where: str) -> str:
    """A place as it is shown and kept: a URL without keys, tokens and options.

    >>> without_secrets("s3://key:secret@bucket/runs?region=eu-west-1"), without_secrets("runs/a?b")
    ('s3://bucket/runs', 'runs/a?b')
    """
    if not (_URL.match(where) or _FILE_URL.match(where)):
        return where
    path = re.split(r"[?#]", _KEY.sub("//", where), maxsplit=1)[0]
    return _LAST_SLASHES.sub("", _HALF_A_KEY.sub("//...", path))


def _is_here(folder: Path) -> bool:
    """Whether no name or link in it leads beyond this machine."""
    if not folder.is_absolute() or _UNC.match(str(folder)):
        return False
    root = Path(folder.anchor)
    return host_of(followed(root, str(folder.relative_to(root)))) is None


def _in_a_message(where: str) -> str:
    """A text of unknown origin."""
    shown = without_secrets(where)
    return shown if shown.isprintable() and len(shown) <= _LONGEST_SHOWN else quoted(shown)
