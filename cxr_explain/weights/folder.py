"""Where weights lie, and where this package keeps what it must remember about them."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from cxr_explain.errors import WeightsNotFoundError
from cxr_explain.support.cache_root import cache_root

if TYPE_CHECKING:
    from cxr_explain.weights.registry import WeightsEntry

WEIGHTS_DIR_VARIABLE = "CXR_EXPLAIN_WEIGHTS_DIR"


def weights_folder(weights_dir: str | PathLike[str] | None = None) -> Path:
    """Return the folder of the weights: the argument, else the environment's, else TorchXRayVision's own.

    Args:
        weights_dir: an explicit folder; `~` is expanded.

    Returns:
        `weights_dir`, `$CXR_EXPLAIN_WEIGHTS_DIR`, or `~/.torchxrayvision/models_data`. It need not exist.

    Raises:
        WeightsNotFoundError: a folder in the home folder of a user who has none.

    >>> weights_folder("/srv/weights").as_posix()
    '/srv/weights'
    """
    chosen = weights_dir or os.environ.get(WEIGHTS_DIR_VARIABLE) or "~/.torchxrayvision/models_data"
    folder = _expanded(chosen)
    if folder is None:
        raise WeightsNotFoundError(
            f"no home folder for {os.fspath(chosen)}",
            expected="HOME, or a user with a home folder",
            remedy=f"Name the weights folder in full: --weights-dir, or {WEIGHTS_DIR_VARIABLE}.",
        )
    return folder


def place_of(entry: WeightsEntry, weights_dir: str | PathLike[str] | None = None) -> Path:
    """Return where the file of a registry's entry belongs: in the weights folder, or in this package."""
    if entry.bundled:
        return Path(__file__).parent / "bundled" / entry.file_name
    return weights_folder(weights_dir) / entry.file_name


def state_folder() -> Path | None:
    """Return the folder of this user's digest records, after the XDG base directory specification.

    None for a user without a home folder, as a container's often is.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    # The specification: a relative path is invalid and is to be ignored.
    root = Path(base) if os.path.isabs(base) else _expanded("~/.local/state")
    return root and root / "cxr-explain" / "weights"


def cache_folder() -> Path | None:
    """Return the folder of exported models; None for a user without a home folder.

    >>> cache_folder().name
    'engines'
    """
    root = cache_root()
    return None if root is None else Path(root, "engines")


def _expanded(path: str | PathLike[str]) -> Path | None:
    """The path with its `~` expanded; None where nobody knows the home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return None
