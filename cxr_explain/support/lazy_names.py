"""Public names of a package that are loaded when they are first used, so that importing it costs nothing."""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False  # see the package's own
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def lazy_names(
    package: str, homes: Mapping[str, tuple[str, ...]]
) -> tuple[list[str], Callable[[str], Any], Callable[[], list[str]]]:
    """What a package has as its `__all__`, `__getattr__` and `__dir__`.

    Args:
        package: the package's own `__name__`.
        homes: the public names in each module of the package; modules relative to the package.

    >>> names, get, listed = lazy_names("cxr_explain", {"explaining.ranking": ("rank",)})
    >>> names, get("rank").__name__, "rank" in listed()
    (['rank'], 'rank', True)
    """
    home = {name: module for module, names in homes.items() for name in names}
    there = vars(sys.modules[package])

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = there[name] = getattr(import_module(f"{package}.{home[name]}"), name)
        return value

    return sorted(home), get, lambda: sorted({*there, *home})
