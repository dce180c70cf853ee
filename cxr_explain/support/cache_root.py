"""Where this package keeps what it can make again; imports next to nothing, as each `--help` asks."""

from __future__ import annotations

import os

CACHE_DIR_VARIABLE = "CXR_EXPLAIN_CACHE_DIR"


def cache_root() -> str | None:
    """The folder of `$CXR_EXPLAIN_CACHE_DIR`, else this user's, after the XDG base directory specification.

    None for a user without a home folder.

    >>> os.path.isabs(cache_root())
    True
    """
    chosen, base = os.environ.get(CACHE_DIR_VARIABLE), os.environ.get("XDG_CACHE_HOME", "")
    if not chosen:  # the specification has a relative path ignored
        chosen = os.path.join(base if os.path.isabs(base) else "~/.cache", "cxr-explain")
    root = os.path.expanduser(chosen)
    return None if root.startswith("~") else root
