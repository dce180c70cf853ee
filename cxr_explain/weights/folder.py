"""Where weights lie, and where this package keeps what it must remember about them."""

from __future__ import annotations

import os
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cxr_explain.weights.registry import WeightsEntry

WEIGHTS_DIR_VARIABLE = "CXR_EXPLAIN_WEIGHTS_DIR"


def weights_folder(weights_dir: str | PathLike[str] | None = None) -> Path:
    """Return the folder of the weights: the argument, else the environment's, else TorchXRayVision's own.

    Args:
        weights_dir: an explicit folder; `~` is expanded.

    Returns:
        `weights_dir`, `$CXR_EXPLAIN_WEIGHTS_DIR`, or `~/.torchxrayvision/models_data`. It need not exist.

    >>> weights_folder("/srv/weights").as_posix()
    '/srv/weights'
    """
    chosen = weights_dir or os.environ.get(WEIGHTS_DIR_VARIABLE) or "~/.torchxrayvision/models_data"
    return Path(chosen).expanduser()


def place_of(entry: WeightsEntry, weights_dir: str | PathLike[str] | None = None) -> Path:
    """Return where the file of a registry's entry belongs: in the weights folder, or in this package."""
    if entry.bundled:
        return Path(__file__).parent / "bundled" / entry.file_name
    return weights_folder(weights_dir) / entry.file_name


def state_folder() -> Path:
    """Return the folder of this user's digest records, after the XDG base directory specification."""
    base = os.environ.get("XDG_STATE_HOME", "")
    # The specification: a relative path is invalid and is to be ignored.
    root = Path(base) if os.path.isabs(base) else Path("~/.local/state").expanduser()
    return root / "cxr-explain" / "weights"
