"""The SHA-256 of each weights file: pinned by the package, or recorded at its first use; then compared.

Nobody publishes digests of these weights, so the first use is trusted and every change after it is shown.
The records live in the user's state folder, not beside the weights: a shared, read-only weights folder works,
and whoever may write there cannot change the record. Each weights file has its own small record, written
whole and moved into place, so that concurrent processes need no lock. The weights that come with this package
are pinned instead, in a `.sha256` file beside them that is written when they are trained.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from pathlib import Path

from cxr_explain.errors import CxrExplainWarning, WeightsIntegrityError
from cxr_explain.support.shell import shell_word
from cxr_explain.support.whole_file import write_whole
from cxr_explain.weights.folder import state_folder

_REINSTALL = "Install cxr-explain again."


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def pin_path(weights: Path) -> Path:
    """Return the place of the pinned digest of bundled weights."""
    return weights.with_name(f"{weights.name}.sha256")


def pinned_digest(weights: Path) -> str:
    """Return the digest that the package pins for bundled weights.

    Raises:
        WeightsIntegrityError: no pin, or none that names this file.
    """
    try:
        digest, name = pin_path(weights).read_text(encoding="ascii").split()
    except (OSError, ValueError) as error:
        raise _unreadable_pin(weights) from error
    if name.removeprefix("*") != weights.name or len(digest) != 64:
        raise _unreadable_pin(weights)
    return digest


def check_pin(weights: Path, digest: str) -> None:
    """Raise where the package pins another digest for the bundled file `weights`.

    Raises:
        WeightsIntegrityError: no pin, or other bytes than those pinned.
    """
    pinned = pinned_digest(weights)
    if digest != pinned:
        raise WeightsIntegrityError(
            f"SHA-256 {digest}",
            expected=f"{pinned}, as the package pins it",
            remedy=_REINSTALL,
            source=weights,
        )


def record_path(weights: Path) -> Path | None:
    """Return the place of the record for the file `weights`; None for a user without a home folder."""
    folder = state_folder()
    if folder is None:
        return None
    # The folder is resolved, the file name is not: a link that is turned to another file must be noticed.
    location = weights.parent.resolve() / weights.name
    key = hashlib.sha256(os.fsencode(location)).hexdigest()[:12]
    return folder / f"{weights.name}.{key}.json"


def recorded_digest(weights: Path) -> str | None:
    """Return the digest recorded for the file `weights`, or None before its first use."""
    record = record_path(weights)
    if record is None:
        return None
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError) and not os.access(record.parent, os.X_OK):
            return None  # another user's home folder: there can be no record
        raise _unreadable(record) from error
    digest = content.get("sha256") if isinstance(content, dict) else None
    if not isinstance(digest, str):
        raise _unreadable(record)
    return digest


def check_digest(weights: Path, digest: str) -> None:
    """Raise where another digest was recorded for the file `weights`.

    Raises:
        WeightsIntegrityError: the bytes are not those of the first use.
    """
    recorded = recorded_digest(weights)
    if recorded is not None and recorded != digest:
        raise WeightsIntegrityError(
            f"SHA-256 {digest}",
            expected=f"{recorded}, as recorded in {record_path(weights)}",
            remedy="The file has changed since its first use. If you know why, accept it with "
            f"`cxr-explain weights verify --accept {shell_word(weights)}`, or delete the record; "
            "else delete the file and fetch it again.",
            source=weights,
        )


def record_digest(weights: Path, digest: str, *, replace: bool = False) -> None:
    """Record the digest of the file `weights`, unless one is recorded already.

    A state folder that cannot be written, or a user without one, gives a
    :class:`~cxr_explain.errors.CxrExplainWarning`: the weights can be used, but a later change of the file
    will go unnoticed.

    Args:
        weights: the weights file.
        digest: SHA-256 of the file, in hexadecimal.
        replace: whether `digest` takes the place of the one recorded.
    """
    if not replace and recorded_digest(weights) is not None:
        return
    record = record_path(weights)
    if record is None:
        _warn_unrecorded(weights, "this user has no home folder: HOME or XDG_STATE_HOME would name one")
        return
    content = {"file": str(weights.parent.resolve() / weights.name), "sha256": digest}
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        write_whole(record, f"{json.dumps(content, indent=2)}\n".encode())
    except OSError as error:
        _warn_unrecorded(weights, f"{record.parent}: {error.strerror}")


def _warn_unrecorded(weights: Path, reason: str) -> None:
    warnings.warn(
        f"The SHA-256 of {weights.name} could not be recorded ({reason}); "
        "a later change of that file will go unnoticed.",
        CxrExplainWarning,
        stacklevel=3,
    )


def _unreadable_pin(weights: Path) -> WeightsIntegrityError:
    return WeightsIntegrityError(
        "no pinned SHA-256 that can be read",
        expected=f"a line '<SHA-256>  {weights.name}'",
        remedy=_REINSTALL,
        source=pin_path(weights),
    )


def _unreadable(record: Path) -> WeightsIntegrityError:
    return WeightsIntegrityError(
        "a digest record that cannot be read",
        expected="JSON with a `sha256`",
        remedy="Delete the record to trust the weights file as it is now.",
        source=record,
    )
